//! The evaluator: walks the trees, as Go's does, and writes what comes out.
//!
//! A value remembers whether it came out of an interface ([`Slot::boxed`]): Go's error texts and
//! its treatment of nil depend on it. Steps, depth and output are limited, so that no template can
//! hang or fill the process that renders it.

use std::collections::BTreeMap;

use crate::ast::{
    Branch, BranchKind, Call, Command, List, Node, Number, Operand, OperandKind, Pipe, Statement,
    Variable,
};
use crate::builtin;
use crate::confd::{self, Data};
use crate::format;
use crate::function::{Function, Param};
use crate::quote::quote_text;
use crate::scope::Scope;
use crate::value::{Text, Value};
use crate::{ExecError, Limits, Reads};

type Result<T> = std::result::Result<T, Box<ExecError>>;

/// A value under evaluation.
#[derive(Debug, Clone, Default)]
struct Slot {
    value: Value,
    /// Whether it is held by an interface: an element of `[]interface {}` and the like.
    boxed: bool,
}

impl Slot {
    fn plain(value: Value) -> Self {
        Self {
            value,
            boxed: false,
        }
    }

    /// Go's zero `reflect.Value`, as against a nil that an interface holds.
    fn is_invalid(&self) -> bool {
        self.value.is_nil() && !self.boxed
    }

    fn type_name(&self) -> &str {
        match self.boxed {
            true => "interface {}",
            false => self.value.type_name(),
        }
    }
}

/// How a list ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
enum Flow {
    Normal,
    Break,
    Continue,
}

/// What is executed, and with what.
pub(crate) struct Program<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    pub(crate) trees: &'a BTreeMap<String, List>,
    pub(crate) scope: &'a dyn Scope,
    pub(crate) limits: Limits,
}

/// Renders the tree that has the program's name.
pub(crate) fn execute(program: &Program<'_>, dot: Value) -> Result<(Vec<u8>, Reads)> {
    let mut state = State {
        program,
        tree_name: program.name,
        output: Vec::new(),
        reads: Reads::default(),
        variables: vec![("$", Slot::plain(dot.clone()))],
        node: None,
        steps: 0,
        depth: 0,
    };
    let Some(list) = program.trees.get(program.name) else {
        let name = quote_text(program.name);
        return state.error(format!("{name} is an incomplete or empty template"));
    };
    let _ = state.list(&Slot::plain(dot), list)?;
    Ok((state.output, state.reads))
}

struct State<'a> {
    program: &'a Program<'a>,
    /// The template that is executed, for errors.
    tree_name: &'a str,
    output: Vec<u8>,
    reads: Reads,
    variables: Vec<(&'a str, Slot)>,
    /// What is evaluated, for errors.
    node: Option<&'a dyn Node>,
    steps: u64,
    depth: usize,
}

impl<'a> State<'a> {
    fn error<T>(&self, text: impl AsRef<str>) -> Result<T> {
        let text = text.as_ref();
        let Some(node) = self.node else {
            return Err(Box::new(ExecError {
                message: format!("template: {}: {text}", self.tree_name),
                line: 0,
                column: 0,
            }));
        };
        let before = &self.program.text[..node.position().min(self.program.text.len())];
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = 1 + before.matches('\n').count();
        let (name, tree) = (self.program.name, quote_text(self.tree_name));
        Err(Box::new(ExecError {
            message: format!(
                "template: {name}:{line}:{column}: executing {tree} at <{node}>: {text}"
            ),
            line,
            column,
        }))
    }

    /// Counts work that grows with data.
    fn charge(&mut self, steps: usize) -> Result<()> {
        self.steps += steps as u64;
        match self.steps > self.program.limits.steps_max {
            true => {
                let steps_max = self.program.limits.steps_max;
                self.error(format!("exceeded maximum number of steps ({steps_max})"))
            }
            false => Ok(()),
        }
    }

    fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        match self.depth > self.program.limits.depth_max {
            true => {
                let depth_max = self.program.limits.depth_max;
                self.error(format!("exceeded maximum template depth ({depth_max})"))
            }
            false => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.output.len() + bytes.len() > self.program.limits.output_max {
            let output_max = self.program.limits.output_max;
            return self.error(format!("exceeded maximum output size ({output_max} bytes)"));
        }
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    fn list(&mut self, dot: &Slot, list: &'a List) -> Result<Flow> {
        self.enter()?;
        for statement in &list.nodes {
            self.charge(1)?;
            let flow = self.statement(dot, statement)?;
            if flow != Flow::Normal {
                self.depth -= 1;
                return Ok(flow);
            }
        }
        self.depth -= 1;
        Ok(Flow::Normal)
    }

    fn statement(&mut self, dot: &Slot, statement: &'a Statement) -> Result<Flow> {
        self.node = Some(statement);
        match statement {
            Statement::Text { text, .. } => self.write(text.as_bytes())?,
            Statement::Action { pipe, .. } => {
                let slot = self.pipeline(dot, pipe)?;
                if pipe.declarations.is_empty() {
                    self.node = Some(statement);
                    self.print(&slot.value)?;
                }
            }
            Statement::Branch(branch) => return self.branch(dot, branch, statement),
            Statement::Template(call) => self.template(dot, call)?,
            Statement::Break { .. } => return Ok(Flow::Break),
            Statement::Continue { .. } => return Ok(Flow::Continue),
        }
        Ok(Flow::Normal)
    }

    fn print(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Nil => self.write(b"<no value>"),
            Value::String(text) => self.write(text.as_bytes()),
            value => {
                let shown = format::sprint(std::slice::from_ref(value));
                self.write(&shown)
            }
        }
    }

    fn branch(&mut self, dot: &Slot, branch: &'a Branch, node: &'a dyn Node) -> Result<Flow> {
        let mark = self.variables.len();
        let flow = match branch.kind {
            BranchKind::Range => self.range(dot, branch, node),
            BranchKind::If | BranchKind::With => self.condition(dot, branch),
        };
        self.variables.truncate(mark);
        flow
    }

    fn condition(&mut self, dot: &Slot, branch: &'a Branch) -> Result<Flow> {
        let slot = self.pipeline(dot, &branch.pipe)?;
        match (slot.value.is_true(), &branch.otherwise) {
            (true, _) if branch.kind == BranchKind::With => self.list(&slot, &branch.list),
            (true, _) => self.list(dot, &branch.list),
            (false, Some(otherwise)) => self.list(dot, otherwise),
            (false, None) => Ok(Flow::Normal),
        }
    }

    fn range(&mut self, dot: &Slot, branch: &'a Branch, node: &'a dyn Node) -> Result<Flow> {
        self.node = Some(node);
        let value = self.pipeline(dot, &branch.pipe)?.value;
        let mut count = 0_usize;
        match &value {
            Value::Nil => {}
            Value::Int(end) => {
                if branch.pipe.declarations.len() > 1 {
                    return self.error(format!(
                        "can't use {end} to iterate over more than one variable"
                    ));
                }
                for number in 0..*end {
                    count += 1;
                    if !self.iteration(branch, Slot::default(), Slot::plain(Value::Int(number)))? {
                        break;
                    }
                }
            }
            Value::List(list) => {
                let boxed = list.holds_any();
                for (index, item) in list.items.iter().enumerate() {
                    count += 1;
                    let index = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
                    let item = Slot {
                        value: item.clone(),
                        boxed,
                    };
                    if !self.iteration(branch, Slot::plain(index), item)? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                let boxed = map.holds_any();
                for (key, item) in &map.entries {
                    count += 1;
                    let key = Slot::plain(Value::String(key.clone()));
                    let item = Slot {
                        value: item.clone(),
                        boxed,
                    };
                    if !self.iteration(branch, key, item)? {
                        break;
                    }
                }
            }
            other => {
                let shown = format::verb(other, 'v');
                return self.error(format!("range can't iterate over {shown}"));
            }
        }
        match &branch.otherwise {
            Some(otherwise) if count == 0 => self.list(dot, otherwise),
            _ => Ok(Flow::Normal),
        }
    }

    /// One turn of a range; whether there is to be another.
    fn iteration(&mut self, branch: &'a Branch, index: Slot, item: Slot) -> Result<bool> {
        self.charge(1)?;
        let mark = self.variables.len();
        let pipe = &branch.pipe;
        match (pipe.declarations.as_slice(), pipe.is_assign) {
            ([], _) => {}
            ([one], true) => self.set(&one.parts[0], item.clone())?,
            ([first, second, ..], true) => {
                self.set(&first.parts[0], index)?;
                self.set(&second.parts[0], item.clone())?;
            }
            ([_], false) => self.variables[mark - 1].1 = item.clone(),
            ([..], false) => {
                self.variables[mark - 1].1 = item.clone();
                self.variables[mark - 2].1 = index;
            }
        }
        let flow = self.list(&item, &branch.list)?;
        self.variables.truncate(mark);
        Ok(flow != Flow::Break)
    }

    fn template(&mut self, dot: &Slot, call: &'a Call) -> Result<()> {
        let Some((name, list)) = self.program.trees.get_key_value(&call.name) else {
            return self.error(format!("template {} not defined", quote_text(&call.name)));
        };
        let dot = match &call.pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Slot::default(),
        };
        let variables = std::mem::replace(&mut self.variables, vec![("$", dot.clone())]);
        let tree_name = std::mem::replace(&mut self.tree_name, name);
        let _ = self.list(&dot, list)?;
        self.tree_name = tree_name;
        self.variables = variables;
        Ok(())
    }

    fn set(&mut self, name: &str, slot: Slot) -> Result<()> {
        match self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| *known == name)
        {
            Some((_, known)) => {
                *known = slot;
                Ok(())
            }
            None => self.error(format!("undefined variable: {name}")),
        }
    }

    fn pipeline(&mut self, dot: &Slot, pipe: &'a Pipe) -> Result<Slot> {
        self.enter()?;
        self.charge(1)?;
        self.node = Some(pipe);
        let mut last: Option<Slot> = None;
        for command in &pipe.commands {
            let mut slot = self.command(dot, command, last)?;
            slot.boxed = false;
            last = Some(slot);
        }
        let slot = last.unwrap_or_default();
        for variable in &pipe.declarations {
            match pipe.is_assign {
                true => self.set(&variable.parts[0], slot.clone())?,
                false => self.variables.push((&variable.parts[0], slot.clone())),
            }
        }
        self.depth -= 1;
        Ok(slot)
    }

    fn not_a_function(&self, arguments: &[Operand], last: Option<&Slot>) -> Result<()> {
        match arguments.len() > 1 || last.is_some() {
            true => {
                let first = &arguments[0];
                let shown = Command {
                    position: 0,
                    arguments: vec![first.clone()],
                };
                let shown = match &first.kind {
                    OperandKind::Pipe(pipe) => pipe.to_string(),
                    _ => shown.to_string(),
                };
                self.error(format!("can't give argument to non-function {shown}"))
            }
            false => Ok(()),
        }
    }

    fn command(&mut self, dot: &Slot, command: &'a Command, last: Option<Slot>) -> Result<Slot> {
        let first = &command.arguments[0];
        let arguments = command.arguments.as_slice();
        match &first.kind {
            OperandKind::Field(fields) => {
                self.node = Some(first);
                return self.fields(dot, dot.clone(), first, fields, arguments, last);
            }
            OperandKind::Chain { .. } => return self.chain(dot, first, arguments, last),
            OperandKind::Identifier { name, function } => {
                self.node = Some(first);
                return self.function(dot, *function, name, command, arguments, last);
            }
            OperandKind::Pipe(pipe) => {
                self.not_a_function(arguments, last.as_ref())?;
                return self.pipeline(dot, pipe);
            }
            OperandKind::Variable(variable) => {
                return self.variable(dot, first, variable, arguments, last);
            }
            _ => {}
        }
        self.node = Some(first);
        self.not_a_function(arguments, last.as_ref())?;
        match &first.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => self.error("nil is not a command"),
            _ => self.constant(first),
        }
    }

    /// The value of a literal that nothing else is known about.
    fn constant(&mut self, operand: &'a Operand) -> Result<Slot> {
        self.node = Some(operand);
        match &operand.kind {
            OperandKind::Bool(value) => Ok(Slot::plain(Value::Bool(*value))),
            OperandKind::String { value, .. } => Ok(Slot::plain(value.clone())),
            OperandKind::Number(number) => self.ideal(number).map(Slot::plain),
            _ => self.error(format!(
                "can't handle assignment of {operand} to empty interface argument"
            )),
        }
    }

    fn ideal(&self, number: &Number) -> Result<Value> {
        let text = &number.text;
        if let Some((real, imaginary)) = number.complex {
            return Ok(Value::Complex(real, imaginary));
        }
        let is_hex = text.len() > 2
            && (text.starts_with("0x") || text.starts_with("0X"))
            && !text.contains(['p', 'P']);
        let looks_real =
            !is_hex && !text.starts_with('\'') && text.contains(['.', 'e', 'E', 'p', 'P']);
        match (number.float, number.int) {
            (Some(float), _) if looks_real => Ok(Value::Float(float)),
            (_, Some(int)) => Ok(Value::Int(int)),
            _ if number.is_uint => self.error(format!("{text} overflows int")),
            _ => Ok(Value::Nil),
        }
    }

    fn variable(
        &mut self,
        dot: &Slot,
        operand: &'a Operand,
        variable: &'a Variable,
        arguments: &'a [Operand],
        last: Option<Slot>,
    ) -> Result<Slot> {
        self.node = Some(operand);
        let name = &variable.parts[0];
        let found = self.variables.iter().rev().find(|(known, _)| known == name);
        let Some((_, slot)) = found else {
            return self.error(format!("undefined variable: {name}"));
        };
        let slot = slot.clone();
        if variable.parts.len() == 1 {
            if !arguments.is_empty() {
                self.not_a_function(arguments, last.as_ref())?;
            }
            return Ok(slot);
        }
        self.fields(dot, slot, operand, &variable.parts[1..], arguments, last)
    }

    fn chain(
        &mut self,
        dot: &Slot,
        operand: &'a Operand,
        arguments: &'a [Operand],
        last: Option<Slot>,
    ) -> Result<Slot> {
        self.node = Some(operand);
        let OperandKind::Chain { base, fields } = &operand.kind else {
            return self.error("internal error: not a chain");
        };
        let receiver = self.operand(dot, base)?;
        self.fields(dot, receiver, operand, fields, arguments, last)
    }

    fn fields(
        &mut self,
        dot: &Slot,
        mut receiver: Slot,
        node: &'a Operand,
        fields: &'a [String],
        arguments: &'a [Operand],
        last: Option<Slot>,
    ) -> Result<Slot> {
        let mut last = last;
        for (index, field) in fields.iter().enumerate() {
            receiver = match index + 1 == fields.len() {
                true => self.field(dot, field, node, arguments, last.take(), &receiver)?,
                false => self.field(dot, field, node, &[], None, &receiver)?,
            };
        }
        Ok(receiver)
    }

    fn field(
        &mut self,
        dot: &Slot,
        name: &'a str,
        node: &'a Operand,
        arguments: &'a [Operand],
        last: Option<Slot>,
        receiver: &Slot,
    ) -> Result<Slot> {
        if receiver.is_invalid() {
            return Ok(Slot::default());
        }
        let type_name = receiver.type_name();
        let has_arguments = arguments.len() > 1 || last.is_some();
        match &receiver.value {
            Value::Nil => {
                return self.error(format!("nil pointer evaluating {type_name}.{name}"));
            }
            Value::Opaque(opaque) => {
                let mut values = Vec::new();
                for argument in arguments.iter().skip(1) {
                    values.push(self.argument(dot, Param::Any, argument)?.value);
                }
                values.extend(last.map(|last| last.value));
                match opaque.call(name, &values) {
                    Some(Ok(value)) => return Ok(Slot::plain(value)),
                    Some(Err(text)) => {
                        self.node = Some(node);
                        return self.error(format!("error calling {name}: {text}"));
                    }
                    None => {}
                }
            }
            Value::Record(record) => {
                if let Some((_, value)) = record.fields.iter().find(|(known, _)| *known == name) {
                    if has_arguments {
                        return self.error(format!(
                            "{name} has arguments but cannot be invoked as function"
                        ));
                    }
                    return Ok(Slot::plain(value.clone()));
                }
            }
            Value::Map(map) => {
                if has_arguments {
                    return self.error(format!("{name} is not a method but has arguments"));
                }
                let found = map.entries.get(&Text::from(name));
                let boxed = found.is_some() && map.holds_any();
                let value = found.cloned().unwrap_or_default();
                return Ok(Slot { value, boxed });
            }
            _ => {}
        }
        self.error(format!("can't evaluate field {name} in type {type_name}"))
    }

    /// Any operand as it is, for a chain.
    fn operand(&mut self, dot: &Slot, operand: &'a Operand) -> Result<Slot> {
        self.node = Some(operand);
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Slot::default()),
            OperandKind::Field(fields) => self.fields(dot, dot.clone(), operand, fields, &[], None),
            OperandKind::Variable(variable) => self.variable(dot, operand, variable, &[], None),
            OperandKind::Pipe(pipe) => self.pipeline(dot, pipe),
            OperandKind::Identifier { name, function } => {
                self.function(dot, *function, name, operand, &[], None)
            }
            OperandKind::Chain { .. } => self.chain(dot, operand, &[], None),
            OperandKind::Bool(_) | OperandKind::Number(_) | OperandKind::String { .. } => {
                self.constant(operand)
            }
        }
    }

    /// An operand as an argument of a type.
    fn argument(&mut self, dot: &Slot, param: Param, operand: &'a Operand) -> Result<Slot> {
        match (&operand.kind, param) {
            (OperandKind::Nil, _) => {
                self.node = Some(operand);
                match param.can_be_nil() {
                    true => Ok(Slot::default()),
                    false => self.error(format!("cannot assign nil to {}", param.type_name())),
                }
            }
            (OperandKind::Bool(_) | OperandKind::Number(_) | OperandKind::String { .. }, _) => {
                self.literal(param, operand)
            }
            _ => {
                let slot = self.operand(dot, operand)?;
                self.validate(slot, param)
            }
        }
    }

    fn literal(&mut self, param: Param, operand: &'a Operand) -> Result<Slot> {
        self.node = Some(operand);
        match (param, &operand.kind) {
            (Param::Any, _) => self.constant(operand),
            (Param::String, OperandKind::String { value, .. }) => Ok(Slot::plain(value.clone())),
            (Param::String, _) => self.error(format!("expected string; found {operand}")),
            (Param::Int, OperandKind::Number(Number { int: Some(int), .. })) => {
                Ok(Slot::plain(Value::Int(*int)))
            }
            (Param::Int, _) => self.error(format!("expected integer; found {operand}")),
            (Param::Strings | Param::Pairs, _) => {
                let type_name = param.type_name();
                self.error(format!(
                    "can't handle {operand} for arg of type {type_name}"
                ))
            }
        }
    }

    fn validate(&self, slot: Slot, param: Param) -> Result<Slot> {
        let type_name = param.type_name();
        if slot.is_invalid() {
            return match param.can_be_nil() {
                true => Ok(slot),
                false => self.error(format!("invalid value; expected {type_name}")),
            };
        }
        let fits = match (param, &slot.value) {
            (Param::Any, _) => true,
            (Param::String, Value::String(_)) | (Param::Int, Value::Int(_)) => true,
            (Param::Strings, Value::List(list)) => list.type_name == type_name,
            // A named slice type is assignable to its unnamed one.
            (Param::Pairs, Value::List(list)) => {
                list.type_name == type_name || list.type_name == confd::PAIRS
            }
            _ => false,
        };
        match fits {
            true => Ok(slot),
            false => {
                let found = slot.value.type_name();
                self.error(format!(
                    "wrong type for value; expected {type_name}; got {found}"
                ))
            }
        }
    }

    /// Calls a function; `arguments` begins with the function itself, or is empty.
    fn function(
        &mut self,
        dot: &Slot,
        function: Function,
        name: &'a str,
        node: &'a dyn Node,
        arguments: &'a [Operand],
        last: Option<Slot>,
    ) -> Result<Slot> {
        let signature = function.signature();
        let given = arguments.get(1..).unwrap_or_default();
        let count = given.len() + usize::from(last.is_some());
        let fixed = signature.fixed.len();
        if signature.variadic.is_some() && count < fixed {
            let got = given.len();
            return self.error(format!(
                "wrong number of args for {name}: want at least {fixed} got {got}"
            ));
        }
        if signature.variadic.is_none() && count != fixed {
            return self.error(format!(
                "wrong number of args for {name}: want {fixed} got {count}"
            ));
        }
        if matches!(function, Function::And | Function::Or) {
            return self.and_or(dot, function, given, last);
        }
        let param = |index: usize| {
            let fixed = signature.fixed.get(index).copied();
            fixed.or(signature.variadic).unwrap_or(Param::Any)
        };
        let mut boxed = false;
        let mut values = Vec::with_capacity(count);
        for (index, operand) in given.iter().enumerate() {
            let slot = self.argument(dot, param(index), operand)?;
            boxed |= slot.boxed;
            values.push(slot.value);
        }
        if let Some(last) = last {
            let callee = last.value.clone();
            values.push(self.validate(last, param(given.len()))?.value);
            if function == Function::Call && given.is_empty() {
                let text = call(&format::verb(&callee, 'v'), &callee);
                self.node = Some(node);
                return self.error(format!("error calling {name}: {text}"));
            }
        }
        self.charge(1)?;
        let callee = given.first();
        match self.invoke(function, callee, &values, boxed) {
            Ok(value) => {
                self.charge(cost(&value))?;
                Ok(Slot::plain(value))
            }
            Err(text) => {
                self.node = Some(node);
                self.error(format!("error calling {name}: {text}"))
            }
        }
    }

    /// The two that stop at the first argument that decides.
    fn and_or(
        &mut self,
        dot: &Slot,
        function: Function,
        given: &'a [Operand],
        last: Option<Slot>,
    ) -> Result<Slot> {
        let mut slot = Slot::default();
        for operand in given {
            slot = self.argument(dot, Param::Any, operand)?;
            if slot.value.is_true() == (function == Function::Or) {
                return Ok(slot);
            }
        }
        Ok(last.unwrap_or(slot))
    }

    fn invoke(
        &mut self,
        function: Function,
        callee: Option<&Operand>,
        values: &[Value],
        boxed: bool,
    ) -> std::result::Result<Value, String> {
        use std::cmp::Ordering::{Equal, Less};
        let ordering = || builtin::compare(&values[0], &values[1]);
        Ok(match function {
            Function::Call => {
                let name = callee.map(ToString::to_string).unwrap_or_default();
                return Err(call(&name, &values[0]));
            }
            Function::Html => Value::String(builtin::escape_html(&builtin::joined(values))),
            Function::Js => Value::String(builtin::escape_js(&builtin::joined(values))),
            Function::Urlquery => Value::String(builtin::escape_query(&builtin::joined(values))),
            Function::Index => builtin::index(&values[0], &values[1..])?,
            Function::Slice => builtin::slice(&values[0], &values[1..])?,
            Function::Len => builtin::length(&values[0], boxed)?,
            Function::Not => Value::Bool(!values[0].is_true()),
            Function::Print => Value::text(format::sprint(values)),
            Function::Println => Value::text(format::sprintln(values)),
            Function::Printf => match &values[0] {
                Value::String(text) => Value::text(format::sprintf(text.as_bytes(), &values[1..])),
                _ => Value::Nil,
            },
            Function::Eq => Value::Bool(builtin::equal_any(&values[0], &values[1..])?),
            Function::Ne => Value::Bool(!builtin::equal_any(&values[0], &values[1..])?),
            Function::Lt => Value::Bool(ordering()? == Some(Less)),
            Function::Le => Value::Bool(matches!(ordering()?, Some(Less | Equal))),
            // As in Go, these two are the opposites of the other two, also for what is no number.
            Function::Gt => Value::Bool(!matches!(ordering()?, Some(Less | Equal))),
            Function::Ge => Value::Bool(ordering()? != Some(Less)),
            _ => {
                let mut data = Data {
                    scope: self.program.scope,
                    reads: &mut self.reads,
                };
                confd::call(function, values, &mut data)?
            }
        })
    }
}

/// No value of a template is a function, so `call` can only say so.
fn call(name: &str, callee: &Value) -> String {
    match callee {
        Value::Nil => "call of nil".to_owned(),
        callee => format!("non-function {name} of type {}", callee.type_name()),
    }
}

/// What a result costs in steps: bytes are cheap, elements are not.
fn cost(value: &Value) -> usize {
    const BYTES_PER_STEP: usize = 64;
    match value {
        Value::String(text) => text.len() / BYTES_PER_STEP,
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.entries.len(),
        _ => 0,
    }
}
