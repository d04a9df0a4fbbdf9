//! Expressions: pipelines, commands, operands, fields, and their types as arguments.

use super::{Result, Slot, State};
use crate::MissingKey;
use crate::ast::{Command, Number, Operand, OperandKind, Pipe, Variable};
use crate::confd;
use crate::function::Param;
use crate::value::{Text, Value};

impl<'a> State<'a> {
    pub(super) fn pipeline(&mut self, dot: &Slot, pipe: &'a Pipe) -> Result<Slot> {
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
                true => self.set(variable, slot.clone())?,
                false => self.variables.push((variable.number, slot.clone())),
            }
        }
        self.progress.depth -= 1;
        Ok(slot)
    }

    #[inline]
    fn not_a_function(&self, arguments: &[Operand], last: Option<&Slot>) -> Result<()> {
        match arguments.len() > 1 || last.is_some() {
            true => {
                let first = &arguments[0];
                self.error(format!("can't give argument to non-function {first}"))
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
                return self.function(dot, function, name, command, arguments, last);
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
            OperandKind::String { value, .. } => Ok(Slot::plain(Value::String(value.clone()))),
            OperandKind::Number(number) => self.ideal(number).map(Slot::plain),
            _ => self
                .error(format!("can't handle assignment of {operand} to empty interface argument")),
        }
    }

    fn ideal(&self, number: &Number) -> Result<Value> {
        let text = &number.text;
        let bytes = text.as_bytes();
        if let Some((real, imaginary)) = number.complex {
            return Ok(Value::Complex(real, imaginary));
        }
        let has = |wanted: &[u8]| bytes.iter().any(|byte| wanted.contains(byte));
        let is_hex = matches!(bytes, [b'0', b'x' | b'X', _, ..]) && !has(b"pP");
        let looks_real = !is_hex && !bytes.starts_with(b"'") && has(b".eEpP");
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
        let Some(at) = self.find(variable)? else {
            return self.error(format!("undefined variable: {}", variable.name));
        };
        let slot = self.variables[at].1.clone();
        if variable.fields.is_empty() {
            if !arguments.is_empty() {
                self.not_a_function(arguments, last.as_ref())?;
            }
            return Ok(slot);
        }
        self.fields(dot, slot, operand, &variable.fields, arguments, last)
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
        fields: &'a [Text],
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
        name: &'a Text,
        node: &'a Operand,
        arguments: &'a [Operand],
        last: Option<Slot>,
        receiver: &Slot,
    ) -> Result<Slot> {
        let strict = self.program.options.missing_key == MissingKey::Error;
        if receiver.is_invalid() {
            return match strict {
                true => self.error(format!("nil data; no entry for key {name:?}")),
                false => Ok(Slot::default()),
            };
        }
        let has_arguments = arguments.len() > 1 || last.is_some();
        match &receiver.value {
            Value::Nil => {
                let type_name = receiver.type_name();
                return self.error(format!("nil pointer evaluating {type_name}.{name}"));
            }
            Value::Opaque(opaque) => {
                if let Some(params) = opaque.method(&name.to_lossy()) {
                    return self.method(
                        dot,
                        (opaque.as_ref(), params),
                        name,
                        node,
                        arguments,
                        last,
                    );
                }
                if let Some(why) = opaque.refusal(&name.to_lossy()) {
                    let got = arguments.len().saturating_sub(1) + usize::from(last.is_some());
                    return self.error(match got {
                        0 => why.to_owned(),
                        got => format!("wrong number of args for {name}: want 0 got {got}"),
                    });
                }
            }
            Value::Pair(_) | Value::Record(_) => {
                if let Some(value) = receiver.value.field(name.as_bytes()) {
                    if has_arguments {
                        return self.error(format!(
                            "{name} has arguments but cannot be invoked as function"
                        ));
                    }
                    return Ok(Slot::plain(value));
                }
            }
            Value::Map(map) => {
                if has_arguments {
                    return self.error(format!("{name} is not a method but has arguments"));
                }
                return match map.entries().get(name) {
                    Some(found) => Ok(Slot { value: found.clone(), boxed: map.holds_any() }),
                    None if strict => self.error(format!("map has no entry for key {name:?}")),
                    None => Ok(Slot::default()),
                };
            }
            _ => {}
        }
        let type_name = receiver.type_name();
        self.error(format!("can't evaluate field {name} in type {type_name}"))
    }

    /// Any operand as it is, for a chain.
    pub(super) fn operand(&mut self, dot: &Slot, operand: &'a Operand) -> Result<Slot> {
        self.node = Some(operand);
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Slot::default()),
            OperandKind::Field(fields) => self.fields(dot, dot.clone(), operand, fields, &[], None),
            OperandKind::Variable(variable) => self.variable(dot, operand, variable, &[], None),
            OperandKind::Pipe(pipe) => self.pipeline(dot, pipe),
            OperandKind::Identifier { name, function } => {
                self.function(dot, function, name, operand, &[], None)
            }
            OperandKind::Chain { .. } => self.chain(dot, operand, &[], None),
            OperandKind::Bool(_) | OperandKind::Number(_) | OperandKind::String { .. } => {
                self.constant(operand)
            }
        }
    }

    /// An operand as an argument of a type.
    pub(super) fn argument(
        &mut self,
        dot: &Slot,
        param: Param,
        operand: &'a Operand,
    ) -> Result<Slot> {
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
            (Param::String, OperandKind::String { value, .. }) => {
                Ok(Slot::plain(Value::String(value.clone())))
            }
            (Param::String, _) => self.error(format!("expected string; found {operand}")),
            (Param::Int | Param::Duration, OperandKind::Number(Number { int: Some(int), .. })) => {
                Ok(Slot::plain(match param {
                    Param::Duration => crate::time::duration(*int),
                    _ => Value::Int(*int),
                }))
            }
            (Param::Bool, OperandKind::Bool(value)) => Ok(Slot::plain(Value::Bool(*value))),
            (Param::Bool, _) => self.error(format!("expected bool; found {operand}")),
            (Param::Int | Param::Duration, _) => {
                self.error(format!("expected integer; found {operand}"))
            }
            (Param::Strings | Param::Pairs | Param::Map | Param::Time, _) => {
                let type_name = param.type_name();
                self.error(format!("can't handle {operand} for arg of type {type_name}"))
            }
        }
    }

    #[inline]
    pub(super) fn validate(&self, slot: Slot, param: Param) -> Result<Slot> {
        match (param, &slot.value) {
            (Param::String, Value::String(_)) | (Param::Int, Value::Int(_)) => Ok(slot),
            _ => self.validate_slowly(slot, param),
        }
    }

    fn validate_slowly(&self, slot: Slot, param: Param) -> Result<Slot> {
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
            (Param::Bool, Value::Bool(_)) => true,
            (Param::Duration | Param::Time, Value::Opaque(opaque)) => {
                opaque.type_name() == type_name
            }
            (Param::Map, Value::Map(map)) => map.type_name() == type_name,
            (Param::Strings, Value::List(list)) => list.type_name() == type_name,
            // A named slice type is assignable to its unnamed one.
            (Param::Pairs, Value::List(list)) => {
                list.type_name() == type_name || list.type_name() == confd::PAIRS
            }
            _ => false,
        };
        match fits {
            true => Ok(slot),
            false => {
                let found = slot.value.type_name();
                self.error(format!("wrong type for value; expected {type_name}; got {found}"))
            }
        }
    }
}
