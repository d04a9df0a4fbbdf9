//! Calls: how many arguments, of which types, and what a function does.

use super::{Result, Slot, State};
use crate::ast::{Node, Operand};
use crate::function::{Data, Function, Param, Run};
use crate::value::{Opaque, Text, Value};

impl<'a> State<'a> {
    /// Calls a function; `arguments` begins with the function itself, or is empty.
    pub(super) fn function(
        &mut self,
        dot: &Slot,
        function: Function,
        name: &'a Text,
        node: &'a dyn Node,
        arguments: &'a [Operand],
        last: Option<Slot>,
    ) -> Result<Slot> {
        let given = arguments.get(1..).unwrap_or_default();
        let count = given.len() + usize::from(last.is_some());
        let fixed = function.fixed.len();
        if function.variadic.is_some() && count < fixed {
            let got = given.len();
            return self.error(format!(
                "wrong number of args for {name}: want at least {fixed} got {got}"
            ));
        }
        if function.variadic.is_none() && count != fixed {
            return self
                .error(format!("wrong number of args for {name}: want {fixed} got {count}"));
        }
        if matches!(function.run, Run::And | Run::Or) {
            return self.and_or(dot, function, given, last);
        }
        let mut values = self.pool.pop().unwrap_or_default();
        let boxed = self.evaluate(dot, function, given, &mut values)?;
        if let Some(last) = last {
            let callee = last.value.clone();
            let param = param(function, given.len());
            values.push(self.validate(last, param)?.value);
            if matches!(function.run, Run::Call) && given.is_empty() {
                let text = call(&reflected(&callee), &callee);
                self.node = Some(node);
                return self.error(format!("error calling {name}: {text}"));
            }
        }
        self.charge(1)?;
        let result = self.invoke(function, given.first(), &values, boxed);
        values.clear();
        self.pool.push(values);
        match result {
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

    /// Evaluates arguments; a bit of what comes back says whether the argument came as an
    /// interface.
    fn evaluate(
        &mut self,
        dot: &Slot,
        function: Function,
        given: &'a [Operand],
        values: &mut Vec<Value>,
    ) -> Result<u64> {
        let mut boxed = 0_u64;
        for (index, operand) in given.iter().enumerate() {
            let slot = self.argument(dot, param(function, index), operand)?;
            boxed |= u64::from(slot.boxed) << index.min(63);
            values.push(slot.value);
        }
        Ok(boxed)
    }

    /// Calls a method of an opaque value.
    pub(super) fn method(
        &mut self,
        dot: &Slot,
        (opaque, params): (&dyn Opaque, &'static [Param]),
        name: &Text,
        node: &'a Operand,
        arguments: &'a [Operand],
        last: Option<Slot>,
    ) -> Result<Slot> {
        let given = arguments.get(1..).unwrap_or_default();
        let count = given.len() + usize::from(last.is_some());
        if count != params.len() {
            let wanted = params.len();
            return self
                .error(format!("wrong number of args for {name}: want {wanted} got {count}"));
        }
        let mut values = Vec::with_capacity(count);
        for (operand, param) in given.iter().zip(params) {
            values.push(self.argument(dot, *param, operand)?.value);
        }
        if let (Some(last), Some(param)) = (last, params.last()) {
            values.push(self.validate(last, *param)?.value);
        }
        self.charge(1)?;
        match opaque.call(&name.to_lossy(), &values) {
            Ok(value) => Ok(Slot::plain(value)),
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
            if slot.value.is_true() == matches!(function.run, Run::Or) {
                return Ok(slot);
            }
        }
        Ok(last.unwrap_or(slot))
    }

    #[inline]
    fn invoke(
        &mut self,
        function: Function,
        callee: Option<&Operand>,
        values: &[Value],
        boxed: u64,
    ) -> std::result::Result<Value, String> {
        match function.run {
            Run::Pure(run) => run(values),
            Run::Boxed(run) => run(values, boxed),
            Run::Data(run) => {
                let scope = self.program.scope;
                run(values, &mut Data { scope, reads: &mut self.progress.reads })
            }
            Run::Include => self.include(values),
            Run::And | Run::Or | Run::Call => {
                let name = callee.map(ToString::to_string).unwrap_or_default();
                Err(call(&name, values.first().unwrap_or(&Value::Nil)))
            }
        }
    }
}

#[inline]
fn param(function: Function, index: usize) -> Param {
    function.fixed.get(index).copied().or(function.variadic).unwrap_or(Param::Any)
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
        Value::List(list) => list.len(),
        Value::Map(map) => map.entries().len(),
        _ => 0,
    }
}
