//! A Dockerfile as instructions. Nothing is looked up and no variable is replaced here.

use std::ops::Range;
use std::sync::Arc;

use brickyard_core::diagnostic::nearest;
use brickyard_core::size::parse_duration_ms;
use brickyard_core::{Diagnostic, Diagnostics, Source};

use crate::codes;
use crate::lines::{Line, Lines};
use crate::words;

/// A parsed Dockerfile.
#[derive(Debug)]
pub struct Dockerfile {
    /// Its text.
    pub source: Arc<Source>,
    /// The escape character.
    pub escape: char,
    /// `ARG` instructions before the first stage.
    pub arguments: Vec<Instruction>,
    /// Its stages.
    pub stages: Vec<Stage>,
}

/// What `FROM` begins.
#[derive(Debug)]
pub struct Stage {
    /// The base: `scratch`, an earlier stage or an image.
    pub base: Word,
    /// The stage's name.
    pub name: Option<String>,
    /// The instructions after `FROM`.
    pub instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Debug)]
pub struct Instruction {
    /// What it says.
    pub kind: Kind,
    /// Where its keyword stands.
    pub span: Range<usize>,
}

/// A word as written, with quotes and variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The text.
    pub text: String,
    /// Where it stands.
    pub span: Range<usize>,
}

/// What an instruction says.
#[derive(Debug)]
pub enum Kind {
    /// `COPY` and `ADD`.
    Copy(Copy),
    /// `ENV`.
    Env(Vec<(Word, Word)>),
    /// `LABEL`.
    Label(Vec<(Word, Word)>),
    /// `ARG`, with defaults.
    Arg(Vec<(Word, Option<Word>)>),
    /// `WORKDIR`.
    Workdir(Word),
    /// `USER`.
    User(Word),
    /// `EXPOSE`.
    Expose(Vec<Word>),
    /// `VOLUME`.
    Volume(Vec<Word>),
    /// `CMD`.
    Cmd(Command),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `HEALTHCHECK`; absent for `NONE`.
    Healthcheck(Option<Check>),
    /// `STOPSIGNAL`.
    StopSignal(Word),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `MAINTAINER`.
    Maintainer(String),
}

/// `COPY` or `ADD`.
#[derive(Debug)]
pub struct Copy {
    /// Whether it is `ADD`, which unpacks local archives.
    pub add: bool,
    /// Where the sources are, when not in the context.
    pub from: Option<Word>,
    /// `--chown`.
    pub chown: Option<Word>,
    /// `--chmod`.
    pub chmod: Option<Word>,
    /// Sources, at least one.
    pub sources: Vec<Word>,
    /// Destination.
    pub dest: Word,
}

/// A command in JSON or in shell form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Program and arguments.
    Exec(Vec<String>),
    /// A line for the shell.
    Shell(String),
}

/// `HEALTHCHECK CMD`; times in nanoseconds, 0 means the default.
#[derive(Debug)]
pub struct Check {
    /// What is run.
    pub command: Command,
    /// `--interval`.
    pub interval: u64,
    /// `--timeout`.
    pub timeout: u64,
    /// `--start-period`.
    pub start_period: u64,
    /// `--start-interval`.
    pub start_interval: u64,
    /// `--retries`.
    pub retries: u64,
}

const KNOWN: &[&str] = &[
    "FROM",
    "COPY",
    "ADD",
    "ENV",
    "LABEL",
    "WORKDIR",
    "USER",
    "EXPOSE",
    "CMD",
    "ENTRYPOINT",
    "HEALTHCHECK",
    "STOPSIGNAL",
    "VOLUME",
    "ARG",
    "SHELL",
    "MAINTAINER",
    "RUN",
    "ONBUILD",
];

/// Reads a Dockerfile. What could be read comes back beside everything that is wrong.
#[must_use]
pub fn parse(source: &Arc<Source>) -> (Dockerfile, Diagnostics) {
    let mut lines = Lines::new(&source.text);
    let mut parser = Parser {
        escape: lines.escape,
        diagnostics: Vec::new(),
        dockerfile: Dockerfile {
            source: Arc::clone(source),
            escape: lines.escape,
            arguments: Vec::new(),
            stages: Vec::new(),
        },
    };
    while let Some(line) = lines.next() {
        let document = here_document(&line.text);
        parser.line(&line, document.is_some());
        if let Some(end) = document {
            // The text of the document is no instruction.
            while let Some((_, text)) = lines.physical() {
                if text.trim_start_matches('\t') == end {
                    break;
                }
            }
        }
    }
    if parser.dockerfile.stages.is_empty() && parser.diagnostics.is_empty() {
        let found = Diagnostic::error(codes::SYNTAX, "the Dockerfile has no FROM");
        parser.diagnostics.push(found.at(source, 0..0, ""));
    }
    (parser.dockerfile, parser.diagnostics)
}

/// The end mark of a here-document that a RUN, COPY or ADD begins.
fn here_document(text: &str) -> Option<String> {
    let keyword = text.split_whitespace().next()?.to_ascii_uppercase();
    if !matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") {
        return None;
    }
    let word = text.split_whitespace().find_map(|word| word.strip_prefix("<<"))?;
    let word = word.strip_prefix('-').unwrap_or(word);
    let name = word.trim_matches(['"', '\'']);
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(good)).then(|| name.to_owned())
}

struct Parser {
    escape: char,
    diagnostics: Diagnostics,
    dockerfile: Dockerfile,
}

/// An instruction's line, cut into keyword and rest.
struct Cut<'l> {
    line: &'l Line,
    keyword: String,
    keyword_span: Range<usize>,
    /// Offset of the arguments in the line.
    rest_at: usize,
}

impl Cut<'_> {
    fn rest(&self) -> &str {
        &self.line.text[self.rest_at..]
    }

    fn word(&self, range: Range<usize>) -> Word {
        let range = self.rest_at + range.start..self.rest_at + range.end;
        Word { text: self.line.text[range.clone()].to_owned(), span: self.line.span(range) }
    }
}

impl Parser {
    fn error(&mut self, code: brickyard_core::Code, message: String, span: Range<usize>) {
        let found = Diagnostic::error(code, message).at(&self.dockerfile.source, span, "");
        self.diagnostics.push(found);
    }

    fn syntax(&mut self, message: impl Into<String>, span: Range<usize>) {
        self.error(codes::SYNTAX, message.into(), span);
    }

    fn line(&mut self, line: &Line, has_document: bool) {
        let length = line.text.find(char::is_whitespace).unwrap_or(line.text.len());
        let after = &line.text[length..];
        let cut = Cut {
            line,
            keyword: line.text[..length].to_ascii_uppercase(),
            keyword_span: line.span(0..length),
            rest_at: length + (after.len() - after.trim_start().len()),
        };
        if has_document {
            let message = format!("here-documents in `{}` are not supported yet", cut.keyword);
            return self.error(codes::UNSUPPORTED, message, cut.keyword_span);
        }
        if cut.rest().is_empty() && KNOWN.contains(&cut.keyword.as_str()) {
            let message = format!("`{}` needs an argument", cut.keyword);
            return self.syntax(message, cut.keyword_span);
        }
        if cut.keyword == "FROM" {
            return self.from(&cut);
        }
        let Some(kind) = self.kind(&cut) else {
            return;
        };
        let instruction = Instruction { kind, span: cut.keyword_span };
        match self.dockerfile.stages.last_mut() {
            Some(stage) => stage.instructions.push(instruction),
            None if matches!(instruction.kind, Kind::Arg(_)) => {
                self.dockerfile.arguments.push(instruction);
            }
            None => {
                let message = format!("`{}` stands before the first FROM", cut.keyword);
                self.syntax(message, instruction.span);
            }
        }
    }

    fn from(&mut self, cut: &Cut<'_>) {
        let (flags, words) = self.flags_and_words(cut);
        for flag in flags {
            self.unknown_flag(&flag, &cut.keyword);
        }
        let (base, name) = match words.as_slice() {
            [base] => (base, None),
            [base, between, name] if between.text.eq_ignore_ascii_case("as") => {
                (base, Some(name.text.to_ascii_lowercase()))
            }
            _ => {
                return self
                    .syntax("write FROM IMAGE or FROM IMAGE AS NAME", cut.keyword_span.clone());
            }
        };
        self.dockerfile.stages.push(Stage { base: base.clone(), name, instructions: Vec::new() });
    }

    fn kind(&mut self, cut: &Cut<'_>) -> Option<Kind> {
        let whole = cut.word(0..cut.rest().len());
        match cut.keyword.as_str() {
            "COPY" | "ADD" => self.copy(cut).map(Kind::Copy),
            "ENV" => Some(Kind::Env(self.pairs(cut))),
            "LABEL" => Some(Kind::Label(self.pairs(cut))),
            "ARG" => {
                let words = self.words(cut, 0);
                Some(Kind::Arg(words.into_iter().map(argument).collect()))
            }
            "WORKDIR" => Some(Kind::Workdir(whole)),
            "USER" => Some(Kind::User(whole)),
            "STOPSIGNAL" => Some(Kind::StopSignal(whole)),
            "EXPOSE" => Some(Kind::Expose(self.words(cut, 0))),
            "VOLUME" => Some(Kind::Volume(match json_array(cut.rest()) {
                Some(items) => items.into_iter().map(|text| quoted(text, &whole)).collect(),
                None => self.words(cut, 0),
            })),
            "CMD" => Some(Kind::Cmd(command(cut.rest()))),
            "ENTRYPOINT" => Some(Kind::Entrypoint(command(cut.rest()))),
            "HEALTHCHECK" => self.healthcheck(cut).map(Kind::Healthcheck),
            "SHELL" => {
                let shell = json_array(cut.rest()).filter(|words| !words.is_empty());
                if shell.is_none() {
                    self.syntax("write SHELL [\"PROGRAM\", \"ARGUMENT\"]", whole.span);
                }
                shell.map(Kind::Shell)
            }
            "MAINTAINER" => Some(Kind::Maintainer(whole.text)),
            "RUN" | "ONBUILD" => {
                let message = format!("`{}` is not supported yet", cut.keyword);
                self.error(codes::UNSUPPORTED, message, cut.keyword_span.clone());
                None
            }
            keyword => {
                let message = format!("unknown instruction `{keyword}`");
                let mut found = Diagnostic::error(codes::UNKNOWN_INSTRUCTION, message);
                if let Some(near) = nearest(keyword, KNOWN.iter().copied()) {
                    found = found.hint(format!("did you mean `{near}`?"));
                }
                let span = cut.keyword_span.clone();
                self.diagnostics.push(found.at(&self.dockerfile.source, span, ""));
                None
            }
        }
    }

    /// Words from an offset of the arguments on.
    fn words(&self, cut: &Cut<'_>, from: usize) -> Vec<Word> {
        let ranges = words::split(&cut.rest()[from..], self.escape);
        ranges.into_iter().map(|range| cut.word(range.start + from..range.end + from)).collect()
    }

    /// Leading `--flag` words, and the words after them.
    fn flags_and_words(&self, cut: &Cut<'_>) -> (Vec<Word>, Vec<Word>) {
        let mut words = self.words(cut, 0);
        let count = words.iter().take_while(|word| word.text.starts_with("--")).count();
        let rest = words.split_off(count);
        (words, rest)
    }

    fn unknown_flag(&mut self, flag: &Word, keyword: &str) {
        let name = flag.text.split('=').next().unwrap_or_default();
        let message = format!("`{name}` of `{keyword}` is not supported yet");
        self.error(codes::UNSUPPORTED, message, flag.span.clone());
    }

    fn copy(&mut self, cut: &Cut<'_>) -> Option<Copy> {
        let (flags, mut words) = self.flags_and_words(cut);
        let (mut from, mut chown, mut chmod) = (None, None, None);
        for flag in flags {
            let value = |prefix: &str| {
                let text = flag.text.strip_prefix(prefix)?.to_owned();
                let span = flag.span.clone();
                Some(Word { text, span })
            };
            if let Some(value) = value("--chown=") {
                chown = Some(value);
            } else if let Some(value) = value("--chmod=") {
                chmod = Some(value);
            } else if let Some(value) = value("--from=").filter(|_| cut.keyword == "COPY") {
                from = Some(value);
            } else if !matches!(flag.text.as_str(), "--link" | "--link=true" | "--link=false") {
                // Every layer here is independent of those below, which is what --link asks for.
                self.unknown_flag(&flag, &cut.keyword);
            }
        }
        if let Some(first) = words.first().filter(|word| word.text.starts_with('[')) {
            let start = first.span.clone();
            let offset = cut.rest().find('[').unwrap_or_default();
            if let Some(items) = json_array(&cut.rest()[offset..]) {
                let whole = Word { text: String::new(), span: start };
                words = items.into_iter().map(|text| quoted(text, &whole)).collect();
            }
        }
        let dest = words.pop().filter(|_| !words.is_empty());
        let Some(dest) = dest else {
            let message = format!("write {} SOURCE... DESTINATION", cut.keyword);
            self.syntax(message, cut.keyword_span.clone());
            return None;
        };
        Some(Copy { add: cut.keyword == "ADD", from, chown, chmod, sources: words, dest })
    }

    /// `KEY=VALUE ...`, or the old form `KEY VALUE WITH SPACES`.
    fn pairs(&mut self, cut: &Cut<'_>) -> Vec<(Word, Word)> {
        let words = self.words(cut, 0);
        if words.first().is_some_and(|word| !word.text.contains('=')) {
            let end = words[0].text.len();
            let rest = &cut.rest()[end..];
            let at = end + (rest.len() - rest.trim_start().len());
            if words.len() < 2 {
                self.syntax(format!("`{}` needs a value", cut.keyword), words[0].span.clone());
                return Vec::new();
            }
            return vec![(words[0].clone(), cut.word(at..cut.rest().len()))];
        }
        let mut pairs = Vec::new();
        for word in words {
            match argument(word) {
                (key, Some(value)) if !key.text.is_empty() => pairs.push((key, value)),
                (key, _) => self.syntax(format!("`{}` is not KEY=VALUE", key.text), key.span),
            }
        }
        pairs
    }

    fn healthcheck(&mut self, cut: &Cut<'_>) -> Option<Option<Check>> {
        let (flags, words) = self.flags_and_words(cut);
        let mut check = Check {
            command: Command::Exec(Vec::new()),
            interval: 0,
            timeout: 0,
            start_period: 0,
            start_interval: 0,
            retries: 0,
        };
        for flag in flags {
            let (name, value) = flag.text.split_once('=').unwrap_or((&flag.text, ""));
            let nanoseconds =
                parse_duration_ms(value).map(|millis| millis.saturating_mul(1_000_000));
            let (slot, value) = match name {
                "--interval" => (&mut check.interval, nanoseconds),
                "--timeout" => (&mut check.timeout, nanoseconds),
                "--start-period" => (&mut check.start_period, nanoseconds),
                "--start-interval" => (&mut check.start_interval, nanoseconds),
                "--retries" => (&mut check.retries, value.parse().ok()),
                _ => {
                    self.unknown_flag(&flag, &cut.keyword);
                    continue;
                }
            };
            match value {
                Some(value) => *slot = value,
                None => self.syntax(format!("`{}` has no valid value", flag.text), flag.span),
            }
        }
        let kind = words.first().map(|word| word.text.to_ascii_uppercase());
        match kind.as_deref() {
            Some("NONE") if words.len() == 1 => Some(None),
            Some("CMD") if words.len() > 1 => {
                let at = words[0].span.len();
                let offset = cut.rest().find(&words[0].text).unwrap_or_default() + at;
                check.command = command(cut.rest()[offset..].trim_start());
                Some(Some(check))
            }
            _ => {
                let message = "write HEALTHCHECK NONE or HEALTHCHECK [--interval=...] CMD COMMAND";
                self.syntax(message, cut.keyword_span.clone());
                None
            }
        }
    }
}

/// `NAME` or `NAME=VALUE`.
fn argument(word: Word) -> (Word, Option<Word>) {
    let Some((name, value)) = word.text.split_once('=') else {
        return (word, None);
    };
    let part = |text: &str| Word { text: text.to_owned(), span: word.span.clone() };
    (part(name), Some(part(value)))
}

/// A text from JSON as a word whose spaces survive splitting and whose variables still count.
fn quoted(text: String, whole: &Word) -> Word {
    Word { text, span: whole.span.clone() }
}

fn json_array(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// JSON is the exec form, everything else goes to the shell as it is.
fn command(text: &str) -> Command {
    match json_array(text) {
        Some(words) => Command::Exec(words),
        None => Command::Shell(text.to_owned()),
    }
}
