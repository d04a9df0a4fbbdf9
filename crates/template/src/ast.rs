//! The parsed template, and its text as error messages show it.

use std::fmt;

use crate::function::Function;
use crate::quote::quote;
use crate::value::Text;

/// Something that an error can be about.
pub(crate) trait Node: fmt::Display {
    /// Its byte offset in the template.
    fn position(&self) -> usize;
}

#[derive(Debug, Clone, Default)]
pub(crate) struct List {
    pub(crate) nodes: Vec<Statement>,
}

#[derive(Debug, Clone)]
pub(crate) enum Statement {
    Text { position: usize, text: Text },
    Action { position: usize, pipe: Pipe },
    Branch(Branch),
    Template(Call),
    Break { position: usize },
    Continue { position: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BranchKind {
    If,
    With,
    Range,
}

#[derive(Debug, Clone)]
pub(crate) struct Branch {
    pub(crate) kind: BranchKind,
    pub(crate) pipe: Pipe,
    pub(crate) list: List,
    pub(crate) otherwise: Option<List>,
}

/// `{{template "name" pipe}}`.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) position: usize,
    pub(crate) name: Text,
    pub(crate) pipe: Option<Pipe>,
}

#[derive(Debug, Clone)]
pub(crate) struct Pipe {
    pub(crate) position: usize,
    pub(crate) is_assign: bool,
    pub(crate) declarations: Vec<Variable>,
    pub(crate) commands: Vec<Command>,
}

#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) position: usize,
    pub(crate) arguments: Vec<Operand>,
}

/// A variable with fields: `$x.a.b`. The name has its `$`, and one number in the whole text.
#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub(crate) name: Text,
    pub(crate) number: u32,
    pub(crate) fields: Vec<Text>,
}

/// The number of `$` itself.
pub(crate) const ROOT: u32 = 0;

#[derive(Debug, Clone)]
pub(crate) struct Number {
    pub(crate) text: Text,
    pub(crate) int: Option<i64>,
    pub(crate) is_uint: bool,
    pub(crate) float: Option<f64>,
    pub(crate) complex: Option<(f64, f64)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub(crate) position: usize,
    pub(crate) kind: OperandKind,
}

#[derive(Debug, Clone)]
pub(crate) enum OperandKind {
    Identifier { name: Text, function: Function },
    Variable(Variable),
    Dot,
    Nil,
    Field(Vec<Text>),
    Chain { base: Box<Operand>, fields: Vec<Text> },
    Bool(bool),
    Number(Number),
    String { quoted: Text, value: Text },
    Pipe(Pipe),
}

impl List {
    /// Whether nothing but space would come out.
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.iter().all(|node| match node {
            Statement::Text { text, .. } => text.as_bytes().trim_ascii().is_empty(),
            _ => false,
        })
    }
}

impl Node for Statement {
    fn position(&self) -> usize {
        match self {
            Self::Text { position, .. }
            | Self::Action { position, .. }
            | Self::Break { position }
            | Self::Continue { position } => *position,
            Self::Branch(branch) => branch.pipe.position,
            Self::Template(call) => call.position,
        }
    }
}

impl Node for Pipe {
    fn position(&self) -> usize {
        self.position
    }
}

impl Node for Command {
    fn position(&self) -> usize {
        self.position
    }
}

impl Node for Operand {
    fn position(&self) -> usize {
        self.position
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nodes.iter().try_for_each(|node| node.fmt(f))
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { text, .. } => text.fmt(f),
            Self::Action { pipe, .. } => write!(f, "{{{{{pipe}}}}}"),
            Self::Branch(branch) => branch.fmt(f),
            Self::Template(call) => call.fmt(f),
            Self::Break { .. } => f.write_str("{{break}}"),
            Self::Continue { .. } => f.write_str("{{continue}}"),
        }
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.kind {
            BranchKind::If => "if",
            BranchKind::With => "with",
            BranchKind::Range => "range",
        };
        write!(f, "{{{{{word} {}}}}}{}", self.pipe, self.list)?;
        if let Some(otherwise) = &self.otherwise {
            write!(f, "{{{{else}}}}{otherwise}")?;
        }
        f.write_str("{{end}}")
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{template {}", quote(self.name.as_bytes(), '"', false))?;
        if let Some(pipe) = &self.pipe {
            write!(f, " {pipe}")?;
        }
        f.write_str("}}")
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, variable) in self.declarations.iter().enumerate() {
            let before = if index > 0 { ", " } else { "" };
            write!(f, "{before}{}", variable.name)?;
        }
        if !self.declarations.is_empty() {
            f.write_str(if self.is_assign { " = " } else { " := " })?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            let before = if index > 0 { " | " } else { "" };
            write!(f, "{before}{command}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, argument) in self.arguments.iter().enumerate() {
            let before = if index > 0 { " " } else { "" };
            f.write_str(before)?;
            argument.fmt_in_command(f)?;
        }
        Ok(())
    }
}

impl Operand {
    fn fmt_in_command(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Pipe(pipe) => write!(f, "({pipe})"),
            _ => write!(f, "{self}"),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Identifier { name, .. } => name.fmt(f),
            OperandKind::Variable(variable) => {
                variable.name.fmt(f)?;
                variable.fields.iter().try_for_each(|field| write!(f, ".{field}"))
            }
            OperandKind::Dot => f.write_str("."),
            OperandKind::Nil => f.write_str("nil"),
            OperandKind::Field(fields) => fields.iter().try_for_each(|field| write!(f, ".{field}")),
            OperandKind::Chain { base, fields } => {
                base.fmt_in_command(f)?;
                fields.iter().try_for_each(|field| write!(f, ".{field}"))
            }
            OperandKind::Bool(value) => write!(f, "{value}"),
            OperandKind::Number(number) => number.text.fmt(f),
            OperandKind::String { quoted, .. } => quoted.fmt(f),
            OperandKind::Pipe(pipe) => write!(f, "{pipe}"),
        }
    }
}
