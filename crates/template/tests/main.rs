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

use brickyard_template::{LineError, LineValue, MapScope, Pair, Scope, Text, World, parse};

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

/// Keys, variables and lines, on a machine of which something is known.
struct On<W>(MapScope, W);

impl<W: World> Scope for On<W> {
    fn value(&self, key: &str) -> Option<Text> {
        self.0.value(key)
    }

    fn keys(&self, prefix: &str) -> Vec<Pair> {
        self.0.keys(prefix)
    }

    fn env(&self, name: &str) -> Option<String> {
        self.0.env(name)
    }

    fn line(&self, alias: &str) -> Result<LineValue, LineError> {
        self.0.line(alias)
    }

    fn world(&self) -> Option<&dyn World> {
        Some(&self.1)
    }
}
