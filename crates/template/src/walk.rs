//! What can be seen in a template without rendering it.

use std::collections::BTreeSet;

use crate::ast::{Command, List, Operand, OperandKind, Pipe, Statement};
use crate::value::Text;

/// The literal aliases that `line` is called with, as `line "db"` or `"db" | line`.
pub(crate) fn lines_used<'a>(trees: impl Iterator<Item = &'a List>) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for tree in trees {
        pipes(tree, &mut |pipe| {
            for (index, command) in pipe.commands.iter().enumerate() {
                let before = index.checked_sub(1).and_then(|before| pipe.commands.get(before));
                lines.extend(line_alias(command, before));
            }
        });
    }
    lines
}

fn line_alias(command: &Command, before: Option<&Command>) -> Option<String> {
    match &command.arguments[0].kind {
        OperandKind::Identifier { function, .. } if function.name == "line" => {}
        _ => return None,
    }
    let alias = match command.arguments.get(1) {
        Some(alias) => alias,
        None => before?.arguments.first()?,
    };
    match &alias.kind {
        OperandKind::String { value, .. } => Some(value.to_lossy()),
        _ => None,
    }
}

/// The names of all templates that are called.
pub(crate) fn templates_called<'a>(trees: impl Iterator<Item = &'a List>) -> BTreeSet<&'a Text> {
    let mut called = BTreeSet::new();
    for tree in trees {
        statements(tree, &mut |statement| {
            if let Statement::Template(call) = statement {
                called.insert(&call.name);
            }
        });
    }
    called
}

fn statements<'a>(list: &'a List, visit: &mut impl FnMut(&'a Statement)) {
    for statement in &list.nodes {
        visit(statement);
        if let Statement::Branch(branch) = statement {
            statements(&branch.list, visit);
            branch.otherwise.iter().for_each(|otherwise| statements(otherwise, visit));
        }
    }
}

fn pipes<'a>(list: &'a List, visit: &mut impl FnMut(&'a Pipe)) {
    statements(list, &mut |statement| {
        let pipe = match statement {
            Statement::Action { pipe, .. } => Some(pipe),
            Statement::Branch(branch) => Some(&branch.pipe),
            Statement::Template(call) => call.pipe.as_ref(),
            Statement::Text { .. } | Statement::Break { .. } | Statement::Continue { .. } => None,
        };
        pipe.into_iter().for_each(|pipe| nested(pipe, visit));
    });
}

fn nested<'a>(pipe: &'a Pipe, visit: &mut impl FnMut(&'a Pipe)) {
    visit(pipe);
    let operands = pipe.commands.iter().flat_map(|command| &command.arguments);
    operands.for_each(|operand| inside(operand, visit));
}

fn inside<'a>(operand: &'a Operand, visit: &mut impl FnMut(&'a Pipe)) {
    match &operand.kind {
        OperandKind::Pipe(pipe) => nested(pipe, visit),
        OperandKind::Chain { base, .. } => inside(base, visit),
        _ => {}
    }
}
