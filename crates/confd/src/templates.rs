//! Templates, compiled once however many resources use them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::time::SystemTime;

use brickyard_template::{MissingKey, Options, Template};
use camino::{Utf8Path, Utf8PathBuf};

/// By what a file is known to be the same as before.
type Stamp = (u64, u64, Option<SystemTime>);

/// One file read in one way.
type Key = (Utf8PathBuf, (String, String), bool);

/// What is known of one.
struct Known {
    stamp: Stamp,
    template: Result<Rc<Template>, String>,
    /// When its file was last looked at.
    pass: u64,
}

/// Compiled templates.
#[derive(Default)]
pub(crate) struct Templates {
    known: RefCell<HashMap<Key, Known>>,
    pass: Cell<u64>,
}

impl Templates {
    /// From now on files are looked at again, each once.
    pub(crate) fn look_again(&self) {
        self.pass.set(self.pass.get() + 1);
    }

    /// The template of a file.
    pub(crate) fn get(
        &self,
        path: &Utf8Path,
        delimiters: &(String, String),
        error_on_missing_key: bool,
    ) -> Result<Rc<Template>, String> {
        let key = (path.to_owned(), delimiters.clone(), error_on_missing_key);
        let mut known = self.known.borrow_mut();
        let pass = self.pass.get();
        if let Some(known) = known.get(&key).filter(|known| known.pass == pass) {
            return known.template.clone();
        }
        let meta = match std::fs::metadata(path) {
            Ok(meta) => meta,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
                return Err(format!("Missing template: {path}"));
            }
            Err(err) => return Err(format!("Unable to process template {path}, {err}")),
        };
        let stamp = (meta.ino(), meta.size(), meta.modified().ok());
        if let Some(known) = known.get_mut(&key).filter(|known| known.stamp == stamp) {
            known.pass = pass;
            return known.template.clone();
        }
        let template = compile(path, delimiters, error_on_missing_key)
            .map_err(|reason| format!("Unable to process template {path}, {reason}"));
        known.insert(key, Known { stamp, template: template.clone(), pass });
        template
    }
}

fn compile(
    path: &Utf8Path,
    delimiters: &(String, String),
    error_on_missing_key: bool,
) -> Result<Rc<Template>, String> {
    let text = std::fs::read(path).map_err(|err| err.to_string())?;
    let options = Options {
        delimiters: delimiters.clone(),
        missing_key: match error_on_missing_key {
            true => MissingKey::Error,
            false => MissingKey::NoValue,
        },
    };
    let name = path.file_name().unwrap_or_default();
    let template = brickyard_template::parse_with(name, text, options);
    template.map(Rc::new).map_err(|err| err.to_string())
}
