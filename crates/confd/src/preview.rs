//! One template by itself, outside of any run.

use std::collections::BTreeMap;

use brickyard_source::{Entries, Update};
use brickyard_template::{Rendered, Template};
use camino::Utf8Path;

use crate::context::Machine;
use crate::data::{Data, View};

/// Renders a template with these keys and variables; what it includes lies in `directory`.
///
/// # Errors
/// Go's text of what fails.
pub fn render(
    template: &Template,
    entries: Entries,
    environment: &BTreeMap<String, String>,
    directory: &Utf8Path,
) -> Result<Rendered, String> {
    let mut data = Data::default();
    let _ = data.apply(Update::All(entries));
    let machine = Machine { templates: directory.to_owned(), keyring: None };
    let view = View {
        data: &data,
        paths: &["/".to_owned()],
        prefix: "/",
        matches_text: false,
        environment,
        world: &machine,
    };
    template.render(&view).map_err(|err| err.to_string())
}
