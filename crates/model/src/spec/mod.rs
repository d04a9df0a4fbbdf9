//! The Compose Specification as data: every key with its shape, how two files of it are merged, and
//! what the engine does with it.
//!
//! The tables are read by everybody who has to know a key: by [`canonical`](crate::canonical), which
//! checks a file and writes it out in full, by [`merge`](crate::merge), by the output (their order is
//! the one in which Compose shows keys), and by the manual. Their source is the specification's text and
//! its JSON Schema, <https://github.com/compose-spec/compose-spec>.

mod deploy;
pub(crate) mod extension;
mod keys;
mod manual;
mod service;
mod top;

pub use extension::schema;
pub(crate) use keys::KeyOf;
pub use manual::{extension_manual, manual};
pub(crate) use service::SERVICE;
pub(crate) use top::TOP;

/// What a value looks like when it is written in full.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// Anything; it stays as it is.
    Any,
    /// Text; a number or a truth counts as its text.
    Text,
    /// A path of the host, absolute in the end.
    Path,
    /// A directory of the host, or an address from which one is fetched.
    Context,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Number,
    /// A time as Go writes it.
    Duration,
    /// A size; written as a number of bytes.
    Bytes,
    /// Permission bits, shown in octal.
    Mode,
    /// Permission bits, shown as a number.
    ModeNumber,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// A list.
    List(&'static Shape),
    /// A list; of a single one, the brackets may be missing.
    OneOrMore(&'static Shape),
    /// Names given by the user, each with a value.
    Map(&'static Shape),
    /// Names with texts or nothing, also as a list of `NAME=TEXT`.
    Pairs,
    /// Keys of the specification.
    Section(&'static Section),
    /// What may also be written in a short way.
    Short(Short, &'static Shape),
}

/// Which short way of writing a value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    /// A directory for `build`.
    Build,
    /// A text that a shell would split into words.
    Command,
    /// A text for a shell, instead of a list.
    Test,
    /// A list of names, for a mapping in which nothing is said of them.
    Names,
    /// A list of `NAME=VALUE`, for a mapping.
    Assignments,
    /// A list of services, for a mapping to conditions.
    Dependencies,
    /// A service's name.
    Extends,
    /// A path.
    EnvFile,
    /// A path.
    Include,
    /// `HOST:CONTAINER:PERMISSIONS`.
    Device,
    /// `ADDRESS:HOST:CONTAINER/PROTOCOL`, whose ranges stand for several ports.
    Port,
    /// `SOURCE:TARGET:MODES`.
    Mount,
    /// A secret's name.
    Secret,
    /// A config's name.
    Config,
    /// One limit for soft and hard.
    Limit,
    /// `all`.
    Gpus,
    /// A mapping of hosts to addresses, for a list of `HOST=ADDRESS`.
    Hosts,
    /// `default`, or a list of names and sockets.
    Ssh,
}

/// Keys that belong together.
pub(crate) struct Section {
    /// What it is, for messages: `a service`.
    pub name: &'static str,
    /// Its keys, in the order in which Compose shows them.
    pub keys: &'static [Key],
    /// Those that must be there.
    pub required: &'static [&'static str],
    /// Whether `x-...` keys may stand in it.
    pub extensible: bool,
    /// What its keys mean to each other.
    pub rule: Rule,
}

/// What keys of one section mean to each other, where the shapes alone do not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing.
    None,
    /// `external` with a name in it is the former way to write both.
    External,
    /// As `External`; a local volume of a directory has a path among its options.
    Volume,
    /// The source of a bind is a path.
    Mount,
    /// Protocol and mode have defaults.
    Port,
    /// It is seen in a directory of its own.
    Secret,
    /// A condition and that it is required are defaults.
    Dependency,
    /// Without a number, all devices are meant.
    DeviceRequest,
    /// A file is required.
    EnvFile,
}

impl Section {
    /// One with nothing special to it.
    const fn new(name: &'static str, keys: &'static [Key]) -> Self {
        Self { name, keys, required: &[], extensible: true, rule: Rule::None }
    }

    const fn requires(self, required: &'static [&'static str]) -> Self {
        Self { required, ..self }
    }

    const fn closed(self) -> Self {
        Self { extensible: false, ..self }
    }

    const fn with(self, rule: Rule) -> Self {
        Self { rule, ..self }
    }

    /// The row of a key.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.place(name).map(|place| &self.keys[place])
    }

    /// Which of the keys it is.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        let first = name.as_bytes().first();
        let is_near =
            |key: &Key| key.name.len() == name.len() && key.name.as_bytes().first() == first;
        self.keys.iter().position(|key| is_near(key) && key.name == name)
    }
}

/// One key of the specification.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// How a later file's value comes to an earlier one's.
    pub merge: Merge,
    /// What the native engine does with it.
    pub native: Support,
}

/// How the value of a later file comes to the one of an earlier file.
#[derive(Clone, Copy)]
pub(crate) enum Merge {
    /// Mappings key by key, lists one behind the other, everything else is replaced.
    Usual,
    /// It is replaced whole.
    Replace,
    /// Elements of a list that stand for the same are replaced, the others come behind.
    Unique(KeyOf),
    /// Key by key where both name the same driver or one names none; otherwise it is replaced.
    SameDriver,
}

/// What an engine does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// What it says.
    Yes,
    /// What it says, in the cases that are named.
    Partly(&'static str),
    /// Nothing, and that does no harm: a warning with the reason.
    Ignored(&'static str),
    /// It refuses the service: an error with the reason.
    No(&'static str),
}

/// A key that is honoured.
const fn key(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, merge: Merge::Usual, native: Support::Yes }
}

impl Key {
    const fn partly(self, cases: &'static str) -> Self {
        Self { native: Support::Partly(cases), ..self }
    }

    const fn ignored(self, reason: &'static str) -> Self {
        Self { native: Support::Ignored(reason), ..self }
    }

    const fn no(self, reason: &'static str) -> Self {
        Self { native: Support::No(reason), ..self }
    }

    const fn replaced(self) -> Self {
        Self { merge: Merge::Replace, ..self }
    }

    const fn unique(self, key: KeyOf) -> Self {
        Self { merge: Merge::Unique(key), ..self }
    }

    const fn by_driver(self) -> Self {
        Self { merge: Merge::SameDriver, ..self }
    }
}

const TEXTS: Shape = Shape::List(&Shape::Text);
const TEXT_OR_TEXTS: Shape = Shape::OneOrMore(&Shape::Text);
const OPTIONS: Shape = Shape::Map(&Shape::Text);
const COMMAND: Shape = Shape::Short(Short::Command, &TEXTS);
const HOSTS: Shape = Shape::Short(Short::Hosts, &TEXTS);
