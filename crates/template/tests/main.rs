//! Templates as their users write them: against what real Go prints, the functions that read data,
//! limits, and anything at all.

mod anything;
mod data;
mod differential;
mod every;
mod functions;
mod golden;
mod limits;
mod manual;

use brickyard_template::{MapScope, parse};

/// What comes out, or the text of the error.
fn render(scope: &MapScope, text: &str) -> String {
    match parse("t", text) {
        Err(error) => format!("PARSE {error}"),
        Ok(template) => match template.render(scope) {
            Err(error) => format!("EXEC {error}"),
            Ok(rendered) => String::from_utf8_lossy(&rendered.output).into_owned(),
        },
    }
}
