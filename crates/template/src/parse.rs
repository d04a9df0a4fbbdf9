//! The parser: items into trees, with Go's error texts.
//!
//! The look-ahead of three items, and the line that an error names (that of the item read last),
//! are part of what users see, so they work exactly as in Go.

use std::collections::BTreeMap;

use crate::ast::{
    Branch, BranchKind, Call, Command, List, Operand, OperandKind, Pipe, ROOT, Statement, Variable,
};
use crate::function;
use crate::lex;
use crate::lex::{Item, Kind, Lexer};
use crate::number::parse_literal;
use crate::quote::{self, quote_text, unquote};
use crate::value::Text;

/// How deep actions and parentheses nest. Walking a tree takes stack, and this fits a thread of
/// 2 MiB with room to spare.
const NESTING_MAX: usize = 500;

/// How many variables are known at one place; looking for one takes time in proportion.
const VARIABLES_MAX: usize = 10_000;

/// A template cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// Go's text: `template: NAME:LINE: ...`.
    pub message: String,
    /// The line, from 1.
    pub line: usize,
    /// The byte where the parser was.
    pub offset: usize,
}

/// The templates of a text by name.
pub(crate) type Trees = BTreeMap<Text, List>;

type Result<T> = std::result::Result<T, ParseError>;

/// Parses a text into the trees that it defines, its own under `name`.
pub(crate) fn parse(name: &str, text: &[u8], delimiters: (&str, &str)) -> Result<Trees> {
    let nothing = Item { kind: Kind::Eof, position: 0, text: b"", line: 0 };
    let or = |given: &'_ str, usual: &'static [u8]| match given {
        "" => usual.to_vec(),
        given => given.as_bytes().to_vec(),
    };
    let (left, right) = (or(delimiters.0, lex::LEFT), or(delimiters.1, lex::RIGHT));
    let mut parser = Parser {
        name,
        lexer: Lexer::new(text, &left, &right),
        items: [nothing; 3],
        peek_count: 0,
        action_line: 0,
        trees: BTreeMap::new(),
        frame: Frame::default(),
        nesting: 0,
        numbers: BTreeMap::new(),
    };
    let list = parser.parse()?;
    parser.add(name.into(), list)?;
    Ok(parser.trees)
}

struct Parser<'a> {
    name: &'a str,
    lexer: Lexer<'a>,
    items: [Item<'a>; 3],
    peek_count: usize,
    /// Where the action under way began; 0 outside of actions.
    action_line: usize,
    trees: Trees,
    frame: Frame,
    nesting: usize,
    /// Every name of a variable has one number.
    numbers: BTreeMap<&'a [u8], u32>,
}

/// What belongs to the tree under way; a definition inside of another begins anew.
struct Frame {
    variables: Vec<u32>,
    range_depth: usize,
}

impl Default for Frame {
    fn default() -> Self {
        Self { variables: vec![ROOT], range_depth: 0 }
    }
}

/// How a list of statements ended.
enum ListEnd {
    End,
    Else,
}

impl ListEnd {
    fn text(&self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

/// One step of a list.
enum Step {
    Statement(Statement),
    End(ListEnd),
}

/// What the clause of a block is called in messages.
const BLOCK: &str = "block clause";

impl<'a> Parser<'a> {
    fn show(&self, item: &Item<'_>) -> String {
        let text = || quote::lossy(item.text);
        match item.kind {
            Kind::Eof => "EOF".to_owned(),
            Kind::Error => self.lexer.error.clone().into_owned(),
            kind if kind.is_keyword() => format!("<{}>", text()),
            _ if item.text.len() > 10 => {
                // Ten characters, as they are; more of them are more than ten bytes.
                let end = (0..10).fold(0, |at, _| match item.text.get(at..) {
                    Some(rest) if !rest.is_empty() => at + quote::decode(rest).1,
                    _ => at,
                });
                format!("{}...", quote::quote(&item.text[..end], '"', false))
            }
            _ => quote::quote(item.text, '"', false),
        }
    }

    fn next(&mut self) -> Item<'a> {
        if self.peek_count > 0 {
            self.peek_count -= 1;
        } else {
            self.items[0] = self.lexer.next_item();
        }
        self.items[self.peek_count]
    }

    fn backup(&mut self) {
        self.peek_count += 1;
    }

    fn backup2(&mut self, first: Item<'a>) {
        self.items[1] = first;
        self.peek_count = 2;
    }

    fn backup3(&mut self, first: Item<'a>, second: Item<'a>) {
        self.items[1] = second;
        self.items[2] = first;
        self.peek_count = 3;
    }

    fn peek(&mut self) -> Item<'a> {
        if self.peek_count == 0 {
            self.peek_count = 1;
            self.items[0] = self.lexer.next_item();
        }
        self.items[self.peek_count - 1]
    }

    fn next_non_space(&mut self) -> Item<'a> {
        loop {
            let item = self.next();
            if item.kind != Kind::Space {
                return item;
            }
        }
    }

    fn peek_non_space(&mut self) -> Item<'a> {
        let item = self.next_non_space();
        self.backup();
        item
    }

    fn error<T>(&self, text: impl AsRef<str>) -> Result<T> {
        let line = self.items[0].line;
        Err(ParseError {
            message: format!("template: {}:{line}: {}", self.name, text.as_ref()),
            line,
            offset: self.items[0].position,
        })
    }

    fn unexpected<T>(&self, item: &Item<'a>, context: &str) -> Result<T> {
        if item.kind != Kind::Error {
            return self.error(format!("unexpected {} in {context}", self.show(item)));
        }
        let mut extra = String::new();
        if self.action_line != 0 && self.action_line != item.line {
            extra = format!(" in action started at {}:{}", self.name, self.action_line);
            if self.lexer.error.ends_with(" action") {
                extra = extra[" in action".len()..].to_owned();
            }
        }
        self.error(format!("{}{extra}", self.show(item)))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Item<'a>> {
        let item = self.next_non_space();
        match item.kind == kind {
            true => Ok(item),
            false => self.unexpected(&item, context),
        }
    }

    fn enter(&mut self, text: &str) -> Result<()> {
        self.nesting += 1;
        match self.nesting > NESTING_MAX {
            true => self.error(text),
            false => Ok(()),
        }
    }

    fn add(&mut self, name: Text, list: List) -> Result<()> {
        match self.trees.get(&name) {
            Some(known) if !known.is_empty() => match list.is_empty() {
                true => Ok(()),
                false => self.error(format!(
                    "template: multiple definition of template {}",
                    quote::quote(name.as_bytes(), '"', false)
                )),
            },
            _ => {
                self.trees.insert(name, list);
                Ok(())
            }
        }
    }

    fn parse(&mut self) -> Result<List> {
        let mut list = List::default();
        while self.peek().kind != Kind::Eof {
            if self.peek().kind == Kind::LeftDelim {
                let delim = self.next();
                if self.next_non_space().kind == Kind::Define {
                    self.definition()?;
                    continue;
                }
                self.backup2(delim);
            }
            match self.text_or_action()? {
                Step::Statement(statement) => list.nodes.push(statement),
                Step::End(end) => return self.error(format!("unexpected {}", end.text())),
            }
        }
        Ok(list)
    }

    fn definition(&mut self) -> Result<()> {
        const CONTEXT: &str = "define clause";
        let item = self.next_non_space();
        let name = self.template_name(&item, CONTEXT)?;
        self.expect(Kind::RightDelim, CONTEXT)?;
        self.body(name, CONTEXT)
    }

    /// The list of a definition, with variables of its own.
    fn body(&mut self, name: Text, context: &str) -> Result<()> {
        let outer = std::mem::take(&mut self.frame);
        let clause = self.items[0];
        let (list, end) = self.item_list()?;
        if let ListEnd::Else = end {
            if context == BLOCK {
                // Go complains in the name of the tree around, which has read no further.
                self.items[0] = clause;
            }
            return self.error(format!("unexpected {} in {context}", end.text()));
        }
        self.add(name, list)?;
        self.frame = outer;
        Ok(())
    }

    fn item_list(&mut self) -> Result<(List, ListEnd)> {
        let mut list = List::default();
        while self.peek_non_space().kind != Kind::Eof {
            match self.text_or_action()? {
                Step::Statement(statement) => list.nodes.push(statement),
                Step::End(end) => return Ok((list, end)),
            }
        }
        self.error("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Result<Step> {
        let item = self.next_non_space();
        match item.kind {
            Kind::Text => Ok(Step::Statement(Statement::Text {
                position: item.position,
                text: item.text.into(),
            })),
            Kind::LeftDelim => {
                self.action_line = item.line;
                let step = self.action()?;
                self.action_line = 0;
                Ok(step)
            }
            _ => self.unexpected(&item, "input"),
        }
    }

    fn action(&mut self) -> Result<Step> {
        let item = self.next_non_space();
        let statement = match item.kind {
            Kind::Block => self.block()?,
            Kind::Break | Kind::Continue => self.loop_control(&item)?,
            Kind::Else => return self.otherwise(),
            Kind::End => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Step::End(ListEnd::End));
            }
            Kind::If => Statement::Branch(self.control(BranchKind::If)?),
            Kind::Range => Statement::Branch(self.control(BranchKind::Range)?),
            Kind::With => Statement::Branch(self.control(BranchKind::With)?),
            Kind::Template => self.template()?,
            _ => {
                self.backup();
                let position = self.peek().position;
                let pipe = self.pipeline("command", Kind::RightDelim)?;
                Statement::Action { position, pipe }
            }
        };
        Ok(Step::Statement(statement))
    }

    fn loop_control(&mut self, item: &Item<'a>) -> Result<Statement> {
        let word = quote::lossy(item.text);
        let next = self.next_non_space();
        if next.kind != Kind::RightDelim {
            return self.unexpected(&next, &format!("{{{{{word}}}}}"));
        }
        if self.frame.range_depth == 0 {
            return self.error(format!("{{{{{word}}}}} outside {{{{range}}}}"));
        }
        let position = item.position;
        Ok(match item.kind {
            Kind::Break => Statement::Break { position },
            _ => Statement::Continue { position },
        })
    }

    fn otherwise(&mut self) -> Result<Step> {
        // `else if` and `else with` go on in the control that the `else` belongs to.
        if !matches!(self.peek_non_space().kind, Kind::If | Kind::With) {
            self.expect(Kind::RightDelim, "else")?;
        }
        Ok(Step::End(ListEnd::Else))
    }

    fn control(&mut self, kind: BranchKind) -> Result<Branch> {
        let context = match kind {
            BranchKind::If => "if",
            BranchKind::With => "with",
            BranchKind::Range => "range",
        };
        self.enter("max nesting depth exceeded")?;
        let variable_count = self.frame.variables.len();
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let in_range = usize::from(kind == BranchKind::Range);
        self.frame.range_depth += in_range;
        let (list, end) = self.item_list()?;
        self.frame.range_depth -= in_range;
        let otherwise = match end {
            ListEnd::End => None,
            ListEnd::Else => Some(self.else_list(kind)?),
        };
        self.frame.variables.truncate(variable_count);
        self.nesting -= 1;
        Ok(Branch { kind, pipe, list, otherwise })
    }

    fn else_list(&mut self, kind: BranchKind) -> Result<List> {
        let next = self.peek().kind;
        let chained = match kind {
            BranchKind::If => next == Kind::If,
            BranchKind::With => next == Kind::With,
            BranchKind::Range => false,
        };
        if chained {
            self.next();
            let branch = self.control(kind)?;
            return Ok(List { nodes: vec![Statement::Branch(branch)] });
        }
        let (list, end) = self.item_list()?;
        match end {
            ListEnd::End => Ok(list),
            ListEnd::Else => self.error(format!("expected end; found {}", end.text())),
        }
    }

    fn block(&mut self) -> Result<Statement> {
        let item = self.next_non_space();
        let name = self.template_name(&item, BLOCK)?;
        let pipe = self.pipeline(BLOCK, Kind::RightDelim)?;
        self.enter("max nesting depth exceeded")?;
        self.body(name.clone(), BLOCK)?;
        self.nesting -= 1;
        Ok(Statement::Template(Call { position: item.position, name, pipe: Some(pipe) }))
    }

    fn template(&mut self) -> Result<Statement> {
        const CONTEXT: &str = "template clause";
        let item = self.next_non_space();
        let name = self.template_name(&item, CONTEXT)?;
        let mut pipe = None;
        if self.next_non_space().kind != Kind::RightDelim {
            self.backup();
            pipe = Some(self.pipeline(CONTEXT, Kind::RightDelim)?);
        }
        Ok(Statement::Template(Call { position: item.position, name, pipe }))
    }

    fn template_name(&mut self, item: &Item<'a>, context: &str) -> Result<Text> {
        match item.kind {
            Kind::String | Kind::RawString => self.unquoted(item),
            _ => self.unexpected(item, context),
        }
    }

    fn unquoted(&self, item: &Item<'a>) -> Result<Text> {
        match unquote(item.text) {
            Ok(text) => Ok(text),
            Err(_) => self.error("invalid syntax"),
        }
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe> {
        let mut pipe = Pipe {
            position: self.peek_non_space().position,
            is_assign: false,
            declarations: Vec::new(),
            commands: Vec::new(),
        };
        while self.declaration(context, &mut pipe)? {}
        loop {
            let item = self.next_non_space();
            if item.kind == end {
                self.check_pipeline(&pipe, context)?;
                return Ok(pipe);
            }
            match item.kind {
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.backup();
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&item, context),
            }
        }
    }

    /// Reads `$x :=`, `$x =` or `$x,`; whether another declaration has to follow.
    fn declaration(&mut self, context: &str, pipe: &mut Pipe) -> Result<bool> {
        let variable = self.peek_non_space();
        if variable.kind != Kind::Variable {
            return Ok(false);
        }
        self.next();
        // A space between the variable and what follows must be given back, too: it tells
        // `$x .y` from `$x.y`.
        let after = self.peek();
        let next = self.peek_non_space();
        let is_comma = next.kind == Kind::Char && next.text == b",";
        if !is_comma && !matches!(next.kind, Kind::Assign | Kind::Declare) {
            match after.kind {
                Kind::Space => self.backup3(variable, after),
                _ => self.backup2(variable),
            }
            return Ok(false);
        }
        self.next_non_space();
        pipe.is_assign |= next.kind == Kind::Assign;
        let variable = self.variable(&variable);
        self.frame.variables.push(variable.number);
        if self.frame.variables.len() > VARIABLES_MAX {
            return self.error("too many variables");
        }
        pipe.declarations.push(variable);
        if !is_comma {
            return Ok(false);
        }
        if context == "range" && pipe.declarations.len() < 2 {
            return match self.peek_non_space().kind {
                Kind::Variable | Kind::RightDelim | Kind::RightParen => Ok(true),
                _ => self.error("range can only initialize variables"),
            };
        }
        self.error(format!("too many declarations in {context}"))
    }

    fn check_pipeline(&self, pipe: &Pipe, context: &str) -> Result<()> {
        if pipe.commands.is_empty() {
            return self.error(format!("missing value for {context}"));
        }
        for (index, command) in pipe.commands.iter().enumerate().skip(1) {
            if let OperandKind::Bool(_)
            | OperandKind::Dot
            | OperandKind::Nil
            | OperandKind::Number(_)
            | OperandKind::String { .. } = command.arguments[0].kind
            {
                let stage = index + 1;
                return self.error(format!("non executable command in pipeline stage {stage}"));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command> {
        let mut command =
            Command { position: self.peek_non_space().position, arguments: Vec::new() };
        loop {
            self.peek_non_space();
            if let Some(operand) = self.operand()? {
                command.arguments.push(operand);
            }
            let item = self.next();
            match item.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.backup(),
                Kind::Pipe => {}
                _ => return self.unexpected(&item, "operand"),
            }
            break;
        }
        match command.arguments.is_empty() {
            true => self.error("empty command"),
            false => Ok(command),
        }
    }

    /// A term with the fields that follow it.
    fn operand(&mut self) -> Result<Option<Operand>> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        if self.peek().kind != Kind::Field {
            return Ok(Some(term));
        }
        let position = self.peek().position;
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            fields.push(self.next().text[1..].into());
        }
        let kind = match term.kind {
            OperandKind::Field(mut parts) => {
                parts.append(&mut fields);
                OperandKind::Field(parts)
            }
            OperandKind::Variable(mut variable) => {
                variable.fields.append(&mut fields);
                OperandKind::Variable(variable)
            }
            OperandKind::Bool(_)
            | OperandKind::String { .. }
            | OperandKind::Number(_)
            | OperandKind::Nil
            | OperandKind::Dot => {
                let term = match &term.kind {
                    OperandKind::String { quoted, .. } => {
                        quote::quote(quoted.as_bytes(), '"', false)
                    }
                    _ => quote_text(&term.to_string()),
                };
                return self.error(format!("unexpected . after term {term}"));
            }
            _ => OperandKind::Chain { base: Box::new(term), fields },
        };
        Ok(Some(Operand { position, kind }))
    }

    fn term(&mut self) -> Result<Option<Operand>> {
        let item = self.next_non_space();
        let kind = match item.kind {
            Kind::Identifier => match function::find(item.text) {
                Some(function) => OperandKind::Identifier { name: item.text.into(), function },
                None => {
                    let name = quote::quote(item.text, '"', false);
                    return self.error(format!("function {name} not defined"));
                }
            },
            Kind::Dot => OperandKind::Dot,
            Kind::Nil => OperandKind::Nil,
            Kind::Variable => OperandKind::Variable(self.use_variable(&item)?),
            Kind::Field => OperandKind::Field(vec![item.text[1..].into()]),
            Kind::Bool => OperandKind::Bool(item.text == b"true"),
            Kind::CharConstant | Kind::Complex | Kind::Number => {
                match parse_literal(item.text, item.kind) {
                    Ok(number) => OperandKind::Number(number),
                    Err(text) => return self.error(text),
                }
            }
            Kind::LeftParen => {
                self.enter("max expression depth exceeded")?;
                let pipe = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.nesting -= 1;
                return Ok(Some(Operand {
                    position: pipe.position,
                    kind: OperandKind::Pipe(pipe),
                }));
            }
            Kind::String | Kind::RawString => {
                OperandKind::String { value: self.unquoted(&item)?, quoted: item.text.into() }
            }
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        Ok(Some(Operand { position: item.position, kind }))
    }

    fn use_variable(&mut self, item: &Item<'a>) -> Result<Variable> {
        let variable = self.variable(item);
        match self.frame.variables.contains(&variable.number) {
            true => Ok(variable),
            false => {
                let name = quote::quote(item.text, '"', false);
                self.error(format!("undefined variable {name}"))
            }
        }
    }

    fn variable(&mut self, item: &Item<'a>) -> Variable {
        let number = match item.text {
            b"$" => ROOT,
            name => {
                let next = u32::try_from(self.numbers.len() + 1).unwrap_or(u32::MAX);
                *self.numbers.entry(name).or_insert(next)
            }
        };
        Variable { name: item.text.into(), number, fields: Vec::new() }
    }
}
