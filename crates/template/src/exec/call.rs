//! Calls: how many arguments, of which types, and what a function does.

use super::{Result, Slot, State};
use crate::ast::{Node, Operand};
use crate::builtin;
use crate::confd::{self, Data};
use crate::format;
use crate::function::{Function, Param};
use crate::value::Value;

impl<'a> State<'a> {
    /// Calls a function; `arguments` begins with the function itself, or is empty.
    pub(super) fn function(
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
            return self
                .error(format!("wrong number of args for {name}: want {fixed} got {count}"));
        }
        if matches!(function, Function::And | Function::Or) {
            return self.and_or(dot, function, given, last);
        }
        let param = |index: usize| {
            let fixed = signature.fixed.get(index).copied();
            fixed.or(signature.variadic).unwrap_or(Param::Any)
        };
        let mut boxed = 0_u64;
        let mut values = Vec::with_capacity(count);
        for (index, operand) in given.iter().enumerate() {
            let slot = self.argument(dot, param(index), operand)?;
            boxed |= u64::from(slot.boxed) << index.min(63);
            values.push(slot.value);
        }
        if let Some(last) = last {
            let callee = last.value.clone();
            values.push(self.validate(last, param(given.len()))?.value);
            if function == Function::Call && given.is_empty() {
                let text = call(&reflected(&callee), &callee);
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
        boxed: u64,
    ) -> std::result::Result<Value, String> {
        use std::cmp::Ordering::{Equal, Less};
        let ordering = || builtin::compare(&values[0], &values[1]);
        Ok(match function {
            Function::Call => {
                let name = callee.map(ToString::to_string).unwrap_or_default();
                return Err(call(&name, &values[0]));
            }
            Function::Html => Value::String(builtin::escape_html(&builtin::joined(values)?)),
            Function::Js => Value::String(builtin::escape_js(&builtin::joined(values)?)),
            Function::Urlquery => Value::String(builtin::escape_query(&builtin::joined(values)?)),
            Function::Index => builtin::index(&values[0], &values[1..])?,
            Function::Slice => builtin::slice(&values[0], &values[1..], boxed >> 1)?,
            Function::Len => builtin::length(&values[0], boxed & 1 == 1)?,
            Function::Not => Value::Bool(!values[0].is_true()),
            Function::Print => Value::text(format::sprint(values)?),
            Function::Println => Value::text(format::sprintln(values)?),
            Function::Printf => match &values[0] {
                Value::String(text) => Value::text(format::sprintf(text.as_bytes(), &values[1..])?),
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
                let mut data = Data { scope: self.program.scope, reads: &mut self.reads };
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

/// How Go's reflection shows a value that was piped into `call`.
fn reflected(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_lossy(),
        value => format!("<{} Value>", value.type_name()),
    }
}

/// What a result costs in steps: bytes are cheap, elements are not.
fn cost(value: &Value) -> usize {
    const BYTES_PER_STEP: usize = 8;
    match value {
        Value::String(text) => text.len() / BYTES_PER_STEP,
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.entries.len(),
        _ => 0,
    }
}
