//! `x-brickyard` as data: its keys for messages, and a JSON Schema for editors.

use serde_json::{Map, Value, json};

/// What a value may be.
pub(crate) enum Form {
    /// Text; a number or a truth counts as its text.
    Text,
    /// Text that looks like this, as a regular expression.
    Like(&'static str),
    /// A number of a port.
    Port,
    /// A whole number that is not negative.
    Whole,
    /// Permission bits in octal.
    Mode,
    /// A time as Go writes it.
    Duration,
    /// A time that is longer than nothing.
    LongDuration,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// Nothing.
    Null,
    /// A list of texts, at least one.
    Argv,
    /// A list.
    List(&'static Form),
    /// Names given by the user, each with a value.
    Named(&'static str, &'static Form),
    /// Keys of ours.
    Fields(&'static Fields),
    /// Exactly one key of ours.
    OneField(&'static Fields),
    /// Keys and values of a configuration, nested at will.
    Configuration,
    /// One of several.
    Either(&'static [Form]),
}

/// Keys that belong together.
pub(crate) struct Fields {
    /// The keys.
    pub keys: &'static [Field],
    /// Those that must be there.
    pub required: &'static [&'static str],
}

/// A key.
pub(crate) struct Field {
    /// Its name.
    pub name: &'static str,
    /// What its value may be.
    pub form: Form,
    /// What it means.
    pub about: &'static str,
}

impl Fields {
    const fn new(keys: &'static [Field]) -> Self {
        Self { keys, required: &[] }
    }

    /// The names of all keys.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.keys.iter().map(|key| key.name).collect()
    }
}

const fn field(name: &'static str, form: Form, about: &'static str) -> Field {
    Field { name, form, about }
}

const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";
const VARIABLE: &str = "^[^=]+$";
const TARGET: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}(/[A-Za-z0-9][A-Za-z0-9._-]{0,62})?$";
const HOST_PORT: &str = r"^(\[[A-Za-z0-9._:%-]+\]|[A-Za-z0-9._%-]+):0*[1-9][0-9]{0,4}$";

/// On the top level of a Compose file.
pub(crate) const SYSTEM: Fields = Fields::new(&[
    field(
        "config",
        Form::Configuration,
        "Defaults of the configuration. Nested keys are joined by `/`; `brickyard set` changes a value.",
    ),
    field(
        "external",
        Form::Either(&[Form::Named(NAME, &Form::Named(NAME, &Form::Like(HOST_PORT))), Form::Null]),
        "Boxes that Brickyard does not run: for each its endpoints, as `HOST:PORT`.",
    ),
]);

/// In a service.
pub(crate) const SERVICE: Fields = Fields::new(&[
    field(
        "provides",
        Form::Either(&[
            Form::Named(NAME, &Form::Either(&[Form::Port, Form::Fields(&ENDPOINT)])),
            Form::Null,
        ]),
        "Endpoints: named ports that other services need.",
    ),
    field(
        "needs",
        Form::Either(&[NEEDS, Form::List(&Form::Either(&[Form::Like(TARGET), NEEDS])), Form::Null]),
        "Lines to endpoints of other services, each under an alias.",
    ),
    field(
        "templates",
        Form::Either(&[Form::List(&Form::Fields(&TEMPLATE)), Form::Null]),
        "Files that are rendered into each instance.",
    ),
    field(
        "environment",
        Form::Either(&[
            Form::Named(VARIABLE, &Form::Either(&[Form::Text, Form::Null])),
            Form::Null,
        ]),
        "Variables whose values are templates.",
    ),
]);

const NEEDS: Form =
    Form::Named(NAME, &Form::Either(&[Form::Null, Form::Like(TARGET), Form::Fields(&NEED)]));

/// An endpoint in full.
pub(crate) const ENDPOINT: Fields = Fields {
    keys: &[
        field("port", Form::Port, "The port inside an instance."),
        field("protocol", Form::Text, "`tcp`, which is the default, `http`, or another word."),
        field(
            "health",
            Form::Either(&[
                Form::Word(&["tcp", "http", "none"]),
                Form::Fields(&HEALTH),
                Form::Null,
            ]),
            "How it is checked; a service is healthy when all its endpoints are.",
        ),
    ],
    required: &["port"],
};

/// The check of an endpoint.
pub(crate) const HEALTH: Fields = Fields::new(&[
    field(
        "path",
        Form::Like(r"^\s*/\S*\s*$"),
        "It is asked for by HTTP, and must be answered with 2xx or 3xx.",
    ),
    field(
        "interval",
        Form::Duration,
        "Time between two checks once one has passed; 10s by default.",
    ),
    field("timeout", Form::Duration, "Longest time that a check takes; 2s by default."),
    field("retries", Form::Whole, "So many failures in a row make it unhealthy; 3 by default."),
    field("start_period", Form::Duration, "For so long failures do not count; 10s by default."),
    field(
        "start_interval",
        Form::Duration,
        "Time between two checks before one has passed; 100ms by default.",
    ),
]);

/// A need in full.
pub(crate) const NEED: Fields = Fields::new(&[
    field("to", Form::Like(TARGET), "SERVICE or SERVICE/ENDPOINT; the alias by default."),
    field(
        "on_change",
        Form::Word(&["auto", "reload", "restart", "ignore"]),
        "What follows when the other end changes; `auto` renders templates again, which say how to go on.",
    ),
]);

/// A template.
pub(crate) const TEMPLATE: Fields = Fields {
    keys: &[
        field("src", Form::Text, "The template, a file of the host; relative to the Compose file."),
        field("dest", Form::Like(r"^/(.*[^/])?$"), "The file inside an instance."),
        field("mode", Form::Mode, "Permission bits; 0644 by default."),
        field("uid", Form::Whole, "Owner inside."),
        field("gid", Form::Whole, "Group inside."),
        field(
            "check",
            Form::Argv,
            "A command inside that must accept the file, `{{.src}}`, before it gets into place.",
        ),
        field("check_timeout", Form::LongDuration, "How long the check may take; 30s by default."),
        field(
            "reload",
            Form::Either(&[Form::Word(&["none", "restart"]), Form::OneField(&RELOAD)]),
            "How the instance takes notice of a changed file.",
        ),
        field(
            "reload_timeout",
            Form::LongDuration,
            "How long a command of `reload` may take; 60s by default.",
        ),
    ],
    required: &["src", "dest"],
};

/// How an instance takes notice, where it is more than a word.
pub(crate) const RELOAD: Fields = Fields::new(&[
    field("signal", Form::Text, "A signal to its first process."),
    field("exec", Form::Argv, "A command inside."),
]);

/// A JSON Schema (2020-12) for Compose files that says what `x-brickyard` may hold, and nothing of other keys.
#[must_use]
pub fn schema() -> Value {
    let extension = |fields| json!({"properties": {"x-brickyard": nullable(object(fields))}});
    let services = json!({"type": "object", "additionalProperties": {"$ref": "#/$defs/service"}});
    let mut root = extension(&SYSTEM);
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("x-brickyard in a Compose file");
    root["type"] = json!("object");
    root["properties"]["services"] = services;
    root["$defs"] = json!({
        "service": extension(&SERVICE),
        "configuration": {
            "type": ["object", "null"],
            "additionalProperties": {"anyOf": [
                {"type": ["string", "number", "boolean", "null"]},
                {"$ref": "#/$defs/configuration"},
            ]},
        },
    });
    root
}

fn nullable(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

fn object(fields: &Fields) -> Value {
    let mut properties = Map::new();
    for key in fields.keys {
        let mut schema = of(&key.form);
        schema["description"] = json!(key.about);
        properties.insert(key.name.to_owned(), schema);
    }
    let mut object =
        json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !fields.required.is_empty() {
        object["required"] = json!(fields.required);
    }
    object
}

/// A number, also as text.
fn number(least: u32, most: Option<u32>, digits: &str) -> Value {
    let mut number = json!({"type": "integer", "minimum": least});
    if let Some(most) = most {
        number["maximum"] = json!(most);
    }
    json!({"anyOf": [number, {"type": "string", "pattern": digits}]})
}

fn of(form: &Form) -> Value {
    let like = |pattern: &str| json!({"type": "string", "pattern": pattern});
    match form {
        Form::Text => json!({"type": ["string", "number", "boolean"]}),
        Form::Like(pattern) => like(pattern),
        Form::Port => number(1, Some(65_535), "^0*[1-9][0-9]{0,4}$"),
        Form::Whole => number(0, None, "^[0-9]+$"),
        Form::Mode => number(0, Some(7777), "^(0o)?[0-7]{1,5}$"),
        Form::Duration | Form::LongDuration => {
            let unit = "(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|µs|ms|s|m|h|d|w))+";
            let pattern = like(&format!("^{unit}$"));
            match form {
                Form::LongDuration => pattern,
                _ => json!({"anyOf": [pattern, {"enum": [0, "0"]}]}),
            }
        }
        Form::Word(words) => json!({"enum": words}),
        Form::Null => json!({"type": "null"}),
        Form::Argv => json!({"type": "array", "items": of(&Form::Text), "minItems": 1}),
        Form::List(item) => json!({"type": "array", "items": of(item)}),
        Form::Named(name, value) => json!({
            "type": "object",
            "propertyNames": {"pattern": name},
            "additionalProperties": of(value),
        }),
        Form::Fields(fields) => object(fields),
        Form::OneField(fields) => {
            let mut object = object(fields);
            object["minProperties"] = json!(1);
            object["maxProperties"] = json!(1);
            object
        }
        Form::Configuration => json!({"$ref": "#/$defs/configuration"}),
        Form::Either(forms) => json!({"anyOf": forms.iter().map(of).collect::<Vec<_>>()}),
    }
}
