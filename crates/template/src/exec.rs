//! The evaluator: walks the trees, as Go's does, and writes what comes out.
//!
//! A value remembers whether it came out of an interface ([`Slot::boxed`]): Go's error texts and
//! its treatment of nil depend on it. Steps, depth and output are limited, so that no template can
//! hang or fill the process that renders it.

mod call;
mod eval;
mod include;

use crate::ast::{Branch, BranchKind, Call, List, Node, Pipe, ROOT, Statement, Variable};
use crate::format;
use crate::parse::Trees;
use crate::quote::{quote, quote_text};
use crate::scope::Scope;
use crate::value::Value;
use crate::{ExecError, Limits, Options, Reads};

type Result<T> = std::result::Result<T, Box<ExecError>>;

/// A value under evaluation.
#[derive(Debug, Clone, Default)]
struct Slot {
    value: Value,
    /// Whether it is held by an interface: an element of `[]interface {}` and the like.
    boxed: bool,
}

impl Slot {
    #[inline]
    fn plain(value: Value) -> Self {
        Self { value, boxed: false }
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
#[derive(Clone, Copy)]
pub(crate) struct Program<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a [u8],
    pub(crate) trees: &'a Trees,
    pub(crate) options: &'a Options,
    pub(crate) scope: &'a dyn Scope,
    pub(crate) limits: Limits,
}

/// What goes on through a source that includes another.
#[derive(Default)]
struct Progress {
    output: Vec<u8>,
    reads: Reads,
    steps: u64,
    depth: usize,
    included: include::Included,
}

/// Renders the tree that has the program's name.
pub(crate) fn execute(program: Program<'_>, dot: Value) -> Result<(Vec<u8>, Reads)> {
    let progress = Progress { output: Vec::with_capacity(OUTPUT_FIRST), ..Progress::default() };
    let (done, result) = run(program, dot, progress);
    result.map(|()| (done.output, done.reads))
}

/// Bytes that are set aside at first; most files are smaller.
const OUTPUT_FIRST: usize = 4096;

fn run(program: Program<'_>, dot: Value, progress: Progress) -> (Progress, Result<()>) {
    let mut state = State {
        program,
        tree_name: program.name.as_bytes(),
        progress,
        variables: vec![(ROOT, Slot::plain(dot.clone()))],
        frame: 0,
        node: None,
        pool: Vec::new(),
    };
    let result = match program.trees.get(program.name.as_bytes()) {
        Some(list) => state.list(&Slot::plain(dot), list).map(|_| ()),
        None => {
            let name = quote_text(program.name);
            state.error(format!("{name} is an incomplete or empty template"))
        }
    };
    (state.progress, result)
}

struct State<'a> {
    program: Program<'a>,
    /// The template that is executed, for errors.
    tree_name: &'a [u8],
    progress: Progress,
    /// Those of the template under way begin at `frame`; before them are its callers'.
    variables: Vec<(u32, Slot)>,
    frame: usize,
    /// What is evaluated, for errors.
    node: Option<&'a dyn Node>,
    /// Lists of arguments that are free to be used again.
    pool: Vec<Vec<Value>>,
}

impl<'a> State<'a> {
    #[cold]
    fn error<T>(&self, text: impl AsRef<str>) -> Result<T> {
        let text = text.as_ref();
        let Some(node) = self.node else {
            return Err(Box::new(ExecError {
                message: format!("template: {}: {text}", String::from_utf8_lossy(self.tree_name)),
                line: 0,
                column: 0,
            }));
        };
        let before = &self.program.text[..node.position().min(self.program.text.len())];
        let column = before.len() - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let (name, tree) = (self.program.name, quote(self.tree_name, '"', false));
        Err(Box::new(ExecError {
            message: format!(
                "template: {name}:{line}:{column}: executing {tree} at <{node}>: {text}"
            ),
            line,
            column,
        }))
    }

    /// Counts work that grows with data.
    #[inline]
    fn charge(&mut self, steps: usize) -> Result<()> {
        self.progress.steps += steps as u64;
        match self.progress.steps > self.program.limits.steps_max {
            true => {
                let steps_max = self.program.limits.steps_max;
                self.error(format!("exceeded maximum number of steps ({steps_max})"))
            }
            false => Ok(()),
        }
    }

    #[inline]
    fn enter(&mut self) -> Result<()> {
        self.progress.depth += 1;
        match self.progress.depth > self.program.limits.depth_max {
            true => {
                let depth_max = self.program.limits.depth_max;
                self.error(format!("exceeded maximum template depth ({depth_max})"))
            }
            false => Ok(()),
        }
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.progress.output.len() + bytes.len() > self.program.limits.output_max {
            return self.too_long();
        }
        self.progress.output.extend_from_slice(bytes);
        Ok(())
    }

    #[cold]
    fn too_long(&self) -> Result<()> {
        let output_max = self.program.limits.output_max;
        self.error(format!("exceeded maximum output size ({output_max} bytes)"))
    }

    fn list(&mut self, dot: &Slot, list: &'a List) -> Result<Flow> {
        self.enter()?;
        for statement in &list.nodes {
            self.charge(1)?;
            let flow = self.statement(dot, statement)?;
            if flow != Flow::Normal {
                self.progress.depth -= 1;
                return Ok(flow);
            }
        }
        self.progress.depth -= 1;
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
            Value::Int(number) => self.write(format::Decimal::of(*number).as_bytes()),
            value => match format::sprint(std::slice::from_ref(value)) {
                Ok(shown) => self.write(&shown),
                Err(text) => self.error(text),
            },
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
            Value::Int(_) | Value::Uint(..) => count = self.range_numbers(branch, &value)?,
            Value::List(list) => {
                let boxed = list.holds_any();
                // Elements are read one by one: what happens to them meanwhile is seen, as in Go.
                for index in 0..list.len() {
                    let Some(value) = list.items().get(index).cloned() else {
                        break;
                    };
                    count += 1;
                    let index = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
                    let item = Slot { value, boxed };
                    if !self.iteration(branch, Slot::plain(index), item)? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                let boxed = map.holds_any();
                let entries = map.entries().clone();
                self.charge(entries.len())?;
                for (key, value) in entries {
                    count += 1;
                    let key = Slot::plain(Value::String(key));
                    let item = Slot { value, boxed };
                    if !self.iteration(branch, key, item)? {
                        break;
                    }
                }
            }
            Value::Opaque(opaque) if opaque.number().is_some() => {
                let number = Value::Int(opaque.number().unwrap_or_default());
                count = self.range_numbers(branch, &number)?;
            }
            other => {
                let shown = format::verb(other, 'v');
                return self.error(format!("range can't iterate over {shown}"));
            }
        }
        match &branch.otherwise {
            Some(otherwise) if count == 0 => match self.list(dot, otherwise)? {
                // As in Go, a `break` there ends this range, which is over anyway.
                Flow::Break => Ok(Flow::Normal),
                flow => Ok(flow),
            },
            _ => Ok(Flow::Normal),
        }
    }

    /// Ranges over the numbers below one; how many turns it took.
    fn range_numbers(&mut self, branch: &'a Branch, value: &Value) -> Result<usize> {
        if branch.pipe.declarations.len() > 1 {
            let end = format::verb(value, 'v');
            return self.error(format!("can't use {end} to iterate over more than one variable"));
        }
        let (end, kind) = match value {
            Value::Uint(end, kind) => (*end, Some(*kind)),
            Value::Int(end) => (u64::try_from(*end).unwrap_or(0), None),
            _ => (0, None),
        };
        let mut count = 0;
        for number in 0..end {
            count += 1;
            let item = match kind {
                Some(kind) => Value::Uint(number, kind),
                None => Value::Int(i64::try_from(number).unwrap_or(i64::MAX)),
            };
            if !self.iteration(branch, Slot::default(), Slot::plain(item))? {
                break;
            }
        }
        Ok(count)
    }

    /// One turn of a range; whether there is to be another.
    fn iteration(&mut self, branch: &'a Branch, index: Slot, item: Slot) -> Result<bool> {
        self.charge(1)?;
        let mark = self.variables.len();
        let pipe = &branch.pipe;
        if !pipe.declarations.is_empty() {
            self.declare_turn(pipe, index, &item)?;
        }
        let flow = self.list(&item, &branch.list)?;
        self.variables.truncate(mark);
        Ok(flow != Flow::Break)
    }

    /// Gives a range's variables their values for a turn.
    fn declare_turn(&mut self, pipe: &'a Pipe, index: Slot, item: &Slot) -> Result<()> {
        let mark = self.variables.len();
        match (pipe.declarations.as_slice(), pipe.is_assign) {
            ([], _) => {}
            ([one], true) => self.set(one, item.clone())?,
            ([first, second, ..], true) => {
                self.set(first, index)?;
                self.set(second, item.clone())?;
            }
            ([_], false) => self.variables[mark - 1].1 = item.clone(),
            ([..], false) => {
                self.variables[mark - 1].1 = item.clone();
                self.variables[mark - 2].1 = index;
            }
        }
        Ok(())
    }

    fn template(&mut self, dot: &Slot, call: &'a Call) -> Result<()> {
        let found = self.program.trees.get_key_value(call.name.as_bytes());
        let Some((name, list)) = found else {
            let name = quote(call.name.as_bytes(), '"', false);
            return self.error(format!("template {name} not defined"));
        };
        let dot = match &call.pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Slot::default(),
        };
        let mark = self.variables.len();
        let frame = std::mem::replace(&mut self.frame, mark);
        self.variables.push((ROOT, dot.clone()));
        let tree_name = std::mem::replace(&mut self.tree_name, name.as_bytes());
        let _ = self.list(&dot, list)?;
        self.tree_name = tree_name;
        self.variables.truncate(mark);
        self.frame = frame;
        Ok(())
    }

    fn set(&mut self, variable: &'a Variable, slot: Slot) -> Result<()> {
        match self.find(variable)? {
            Some(at) => {
                self.variables[at].1 = slot;
                Ok(())
            }
            None => self.error(format!("undefined variable: {}", variable.name)),
        }
    }

    /// Where a variable is; looking far costs steps.
    #[inline]
    fn find(&mut self, variable: &Variable) -> Result<Option<usize>> {
        const LOOKS_PER_STEP: usize = 32;
        let known = &self.variables[self.frame..];
        let distance = known.iter().rev().position(|(known, _)| *known == variable.number);
        self.charge(distance.unwrap_or_default() / LOOKS_PER_STEP)?;
        Ok(distance.map(|distance| self.variables.len() - 1 - distance))
    }
}
