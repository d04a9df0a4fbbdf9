//! A check command's arguments, in which `{{.src}}` is the file to be checked.

use std::collections::BTreeMap;

use crate::value::{Text, Value};
use crate::{ExecError, MapScope, ParseError};

/// An argument of a check command cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// It is no template.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// It cannot be rendered.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

/// Renders each argument with `src` as its only datum.
///
/// # Errors
/// When an argument is no template or does not render.
pub fn expand_check(arguments: &[String], src: &str) -> Result<Vec<String>, CheckError> {
    let entries = BTreeMap::from([(Text::from("src"), Value::text(src))]);
    let dot = Value::map_of("map[string]string", entries);
    let expand = |argument: &String| {
        let template = crate::parse("check", argument)?;
        let rendered = template.render_with(&MapScope::default(), dot.clone())?;
        Ok(String::from_utf8_lossy(&rendered.output).into_owned())
    };
    arguments.iter().map(expand).collect()
}
