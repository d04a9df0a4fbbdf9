//! `include`: another source rendered in place, with a value as its `.`.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Program, Progress, State};
use crate::Template;
use crate::function::note;
use crate::value::Value;

/// How deep sources include each other.
const DEPTH_MAX: usize = 10;

/// The sources under way, and those that were read.
#[derive(Default)]
pub(super) struct Included {
    stack: Vec<String>,
    parsed: BTreeMap<String, Rc<Template>>,
}

impl State<'_> {
    pub(super) fn include(&mut self, values: &[Value]) -> Result<Value, String> {
        let name = match values.first() {
            Some(Value::String(name)) => name.to_lossy(),
            _ => String::new(),
        };
        let dot = match values {
            [_] => self.variables.first().map(|(_, slot)| slot.value.clone()).unwrap_or_default(),
            [_, dot] => dot.clone(),
            _ => return Err("takes a name and a value".to_owned()),
        };
        let template = self.source(&name)?;
        let program = Program {
            name: &template.name,
            text: &template.text,
            trees: &template.trees,
            ..self.program
        };
        let mut progress = std::mem::take(&mut self.progress);
        let before = std::mem::take(&mut progress.output);
        progress.included.stack.push(name);
        let (mut progress, result) = super::run(program, dot, progress);
        progress.included.stack.pop();
        let made = std::mem::replace(&mut progress.output, before);
        self.progress = progress;
        result.map(|()| Value::text(made)).map_err(|error| error.message)
    }

    fn source(&mut self, name: &str) -> Result<Rc<Template>, String> {
        let Progress { included, reads, .. } = &mut self.progress;
        if included.stack.iter().any(|known| known == name) || self.program.name == name {
            let chain = included.stack.join("` -> `");
            return Err(match chain.as_str() {
                "" => format!("`{name}` includes itself"),
                chain => format!("`{name}` includes itself: `{chain}` -> `{name}`"),
            });
        }
        if included.stack.len() >= DEPTH_MAX {
            return Err(format!("sources include each other more than {DEPTH_MAX} deep"));
        }
        note(&mut reads.sources, name);
        if let Some(found) = included.parsed.get(name) {
            return Ok(Rc::clone(found));
        }
        let world = self.program.scope.world().ok_or("`include` is not available here")?;
        let text = world.source(name)?;
        let parsed = crate::parse_with(name, text.as_bytes(), self.program.options.clone());
        let parsed = Rc::new(parsed.map_err(|error| error.to_string())?);
        included.parsed.insert(name.to_owned(), Rc::clone(&parsed));
        Ok(parsed)
    }
}
