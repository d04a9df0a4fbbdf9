//! Templates by chance: mostly of the right types, so that most of them render, with some of the wrong
//! ones, and some that are broken.

use brickyard_testkit::Random;
use serde_json::{Value, json};

use super::Case;

/// What an expression is meant to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Any,
    Text,
    Int,
    Bool,
    List,
    Map,
    /// Of times.
    Layout,
}

const TEXTS: &[&str] = &[
    "\"\"",
    "\"a\"",
    "\"b c\"",
    "\"héllo\"",
    "`raw {{ \\n`",
    "\"<a href='x'>&\"",
    "\"1\"",
    "\"-7\"",
    "\"true\"",
    "\"\\x41\\u00e9\\t\"",
    "\"/app/a\"",
    "\"/app/*\"",
    "\"/nope\"",
    "\"YWJj\"",
    "\"%d%%\"",
    "\"a,b,,c\"",
    "\",\"",
    "\"[1, 2.5, null]\"",
    "\"{\\\"k\\\": [1]}\"",
    "\"\\xff\"",
    "\"日本\"",
];
const NANOSECONDS: &[u64] = &[0, 1, 120_000_000, 999_999_999, 1_002_003];
const LAYOUTS: &[&str] = &[
    "\"2006-01-02T15:04:05Z07:00\"",
    "\"Mon, 02 Jan 2006 15:04:05 -0700\"",
    "\"Monday, January _2 2006, 3:04:05.000 PM MST\"",
    "\"06-1-2 03h4m5s .999 .000000 ,00 pm\"",
    "\"002 __2 Z0700 Z07 -07 -07:00:00\"",
    "\"2006 20 05 January1 Januaryx Sunday\"",
    "\"15:04:05.999999999\"",
    "\"héllo 2 02\"",
    "\"\"",
];
const INTS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "3",
    "10",
    "42",
    "0x1F",
    "0b11",
    "0o17",
    "017",
    "1_000",
    "'a'",
    "'\\n'",
    "'é'",
    "9223372036854775807",
    "-9223372036854775808",
    "255",
];
const FLOATS: &[&str] = &[
    "0.5", "1.5", "-2.25", "1e3", "1e21", "1e-7", ".5", "1.", "0x1p4", "1e100", "3.0", "100000.0",
];
const FIELDS: &[&str] = &[
    ".s",
    ".n",
    ".f",
    ".t",
    ".nul",
    ".l",
    ".m",
    ".m.a",
    ".m.b",
    ".m.c",
    ".m.c.d",
    ".e",
    ".em",
    ".z",
    ".html",
    ".u",
    ".big",
    ".neg",
    ".i",
    ".nope",
    ".m.nope",
    ".s.nope",
    ".nope.nope",
    ".l.x",
    ".Upper",
];
const WORDS: &[&str] = &["x", " ", "\n", "  y\n", "{", "}", "{ {", "é", "\t", "a b", "\n\n", "'\""];
const VERBS: &[char] = &[
    'v', 'v', 'd', 's', 'q', 'x', 'X', 't', 'T', 'b', 'c', 'o', 'O', 'U', 'e', 'E', 'f', 'F', 'g',
    'G', 'z', '%',
];
const TOKENS: &[&str] = &[
    "{{", "}}", "-", "|", "{{end}}", "{{else}}", "(", ")", "\"", "`", "$x", ".", ":=", "=", ",",
    " ", "range", "if", "with", "define", "template", "block", "/*", "*/", "nil", "break", "'",
    "\\", "0x", "1", "{{- ", " -}}", "\n", "\u{e9}",
];

/// A function, and the types of its arguments.
type Call = (&'static str, &'static [Type]);

/// Calls by what they give, with the types of their arguments.
const CALLS: &[(Type, &[Call])] = &[
    (
        Type::Text,
        &[
            ("print", &[Type::Any, Type::Any]),
            ("println", &[Type::Any]),
            ("html", &[Type::Text]),
            ("js", &[Type::Text]),
            ("urlquery", &[Type::Text]),
            ("getv", &[Type::Text, Type::Text]),
            ("getenv", &[Type::Text, Type::Text]),
            ("toUpper", &[Type::Text]),
            ("toLower", &[Type::Text]),
            ("replace", &[Type::Text, Type::Text, Type::Text, Type::Int]),
            ("trimSuffix", &[Type::Text, Type::Text]),
            ("base", &[Type::Text]),
            ("dir", &[Type::Text]),
            ("base64Encode", &[Type::Text]),
            ("slice .u 1", &[]),
            ("printf", &[]),
            ("datetime.Format", &[Type::Layout]),
            ("(datetime.UTC).Format", &[Type::Layout]),
            ("(datetime.AddDate 0 1 -40).Format", &[Type::Layout]),
            ("(datetime.Add 86399999999999).Format", &[Type::Layout]),
            ("datetime.Month.String", &[]),
            ("datetime.Weekday.String", &[]),
            ("datetime.String", &[]),
            ("datetime.Date", &[]),
            ("datetime.ISOWeek", &[]),
            ("datetime.Zone", &[]),
            ("(datetime.AddDate 1 -13 400).String", &[]),
            ("(datetime.Truncate 3600000000000).String", &[]),
            ("(datetime.Round 60000000000).String", &[]),
            ("((datetime.AddDate 0 0 1).Sub datetime).String", &[]),
            ("join (sortByLength (split \"ccc,a,bb,d\" \",\")) \"-\"", &[]),
        ],
    ),
    (
        Type::Int,
        &[
            ("len", &[Type::Text]),
            ("len", &[Type::List]),
            ("add", &[Type::Int, Type::Int]),
            ("sub", &[Type::Int, Type::Int]),
            ("mul", &[Type::Int, Type::Int]),
            ("div 7 2", &[]),
            ("mod -7 3", &[]),
            ("index .l 1", &[]),
            ("atoi \"17\"", &[]),
            ("datetime.Year", &[]),
            ("datetime.YearDay", &[]),
            ("datetime.Hour", &[]),
            ("datetime.Nanosecond", &[]),
            ("datetime.Day", &[]),
        ],
    ),
    (
        Type::Bool,
        &[
            ("eq", &[Type::Int, Type::Int, Type::Int]),
            ("eq", &[Type::Text, Type::Text]),
            ("eq .n", &[Type::Any]),
            ("ne", &[Type::Text, Type::Text]),
            ("lt", &[Type::Int, Type::Int]),
            ("le", &[Type::Text, Type::Text]),
            ("gt", &[Type::Text, Type::Text]),
            ("ge", &[Type::Int, Type::Int]),
            ("not", &[Type::Any]),
            ("and", &[Type::Any, Type::Any]),
            ("or", &[Type::Any, Type::Any, Type::Any]),
            ("contains", &[Type::Text, Type::Text]),
            ("exists", &[Type::Text]),
            ("parseBool \"true\"", &[]),
            ("datetime.IsZero", &[]),
            ("datetime.Before (datetime.Add 1)", &[]),
        ],
    ),
    (
        Type::List,
        &[
            ("split", &[Type::Text, Type::Text]),
            ("getvs \"/app/*\"", &[]),
            ("gets \"/app/*\"", &[]),
            ("gets", &[Type::Text]),
            ("jsonArray \"[1, [2], {}]\"", &[]),
            ("slice .l 1 3", &[]),
            ("seq", &[Type::Int, Type::Int]),
            ("seq 1 3", &[]),
            ("reverse", &[Type::List]),
            ("reverse (gets \"/app/*\")", &[]),
            ("sortByLength (split \"bb,a,,ccc\" \",\")", &[]),
            ("sortKVByLength (gets \"/*/*\")", &[]),
            ("reverse (sortKVByLength (gets \"/app/*\"))", &[]),
        ],
    ),
    (
        Type::Map,
        &[
            ("json (getv \"/json\")", &[]),
            ("map", &[Type::Text, Type::Any]),
            ("map \"k\" 1 \"j\"", &[Type::Any]),
            ("index", &[Type::Map, Type::Text]),
            ("get \"/app/a\"", &[]),
            ("get \"/text\"", &[]),
        ],
    ),
];

/// Makes cases.
pub(crate) struct Generator {
    random: Random,
    /// Variables that are declared here, the innermost last.
    variables: Vec<String>,
    /// Loops around here.
    loops: usize,
    /// Templates that are defined.
    defined: usize,
}

impl Generator {
    pub(crate) fn new(random: Random) -> Self {
        Self { random, variables: Vec::new(), loops: 0, defined: 0 }
    }

    pub(crate) fn case(&mut self) -> Case {
        self.variables.clear();
        self.defined = 0;
        let mut text = String::new();
        for _ in 0..=self.random.below(4) {
            text.push_str(&self.statement(0));
        }
        let mut text = text.into_bytes();
        if self.random.one_in(5) {
            for _ in 0..=self.random.below(3) {
                self.break_it(&mut text);
            }
        }
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Case {
            text,
            keys: [
                ("/app/a", "3"),
                ("/app/b", "1"),
                ("/app/sub/x", "2"),
                ("/empty", ""),
                ("/text", "fäther"),
                ("/json", "{\"a\": 1}"),
            ]
            .iter()
            .map(pair)
            .collect(),
            env: [("HOME", "/root"), ("EMPTY", "")].iter().map(pair).collect(),
            seconds: self.seconds(),
            nanoseconds: u32::try_from(*self.random.pick(NANOSECONDS)).expect("it is small"),
            data: self.data(),
        }
    }

    fn data(&mut self) -> Value {
        if self.random.one_in(12) {
            return match self.random.below(5) {
                0 => json!(null),
                1 => json!("text"),
                2 => json!([1, "a"]),
                3 => json!(2.5),
                _ => json!(true),
            };
        }
        json!({
            "s": "hello", "n": 12_345_678, "f": 1.5, "t": true, "nul": null, "l": ["a", "b", 3, null],
            "m": {"b": 2, "a": "x", "c": {"d": "deep"}}, "e": [], "em": {}, "z": 0,
            "html": "<a href='x'>&\"</a>", "u": "héllo wörld", "big": 1e21, "neg": -2.5, "i": 3,
            "Upper": {"Case": [1, 2]},
        })
    }

    /// Damages a template somewhere.
    fn break_it(&mut self, text: &mut Vec<u8>) {
        let length = text.len() as u64;
        let at = usize::try_from(self.random.below(length + 1)).expect("it is small");
        let count = usize::try_from(self.random.below(6)).expect("it is small");
        let end = (at + count).min(text.len());
        match self.random.below(4) {
            0 => drop(text.drain(at..end)),
            1 => {
                let copy = text[at..end].to_vec();
                drop(text.splice(at..at, copy));
            }
            2 if self.random.one_in(4) => text.insert(at, 0xff),
            _ => {
                let token = self.random.pick(TOKENS);
                drop(text.splice(at..at, token.bytes()));
            }
        }
    }

    fn pick(&mut self, all: &[&str]) -> String {
        (*self.random.pick(all)).to_owned()
    }

    /// The marks of an action, which sometimes trim.
    fn marks(&mut self) -> (&'static str, &'static str) {
        let left = if self.random.one_in(8) { "{{- " } else { "{{" };
        let right = if self.random.one_in(8) { " -}}" } else { "}}" };
        (left, right)
    }

    fn action(&mut self, inside: &str) -> String {
        let (left, right) = self.marks();
        format!("{left}{inside}{right}")
    }

    fn body(&mut self, depth: usize) -> String {
        let scope = self.variables.len();
        let mut text = String::new();
        for _ in 0..=self.random.below(2) {
            text.push_str(&self.statement(depth + 1));
        }
        self.variables.truncate(scope);
        text
    }

    fn statement(&mut self, depth: usize) -> String {
        let kinds = if depth > 3 { 9 } else { 17 };
        match self.random.below(kinds) {
            0 | 1 => self.pick(WORDS),
            2..=5 => {
                let pipeline = self.pipeline(0);
                self.action(&pipeline)
            }
            6 => self.assignment(),
            7 => self.action("/* a comment */"),
            8 if self.loops > 0 => {
                let word = self.pick(&["break", "continue"]);
                self.action(&word)
            }
            8 => self.pick(WORDS),
            9 | 10 => self.condition(depth),
            11 | 12 => self.with(depth),
            13 | 14 => self.range(depth),
            15 => self.define(depth),
            _ => {
                let name = self.random.below(3);
                let pipeline = self.pipeline(0);
                let body = self.body(depth);
                match self.random.below(3) {
                    0 => format!("{{{{block \"b{name}\" {pipeline}}}}}{body}{{{{end}}}}"),
                    1 => format!("{{{{template \"d{name}\"}}}}"),
                    _ => format!("{{{{template \"d{name}\" {pipeline}}}}}"),
                }
            }
        }
    }

    fn assignment(&mut self) -> String {
        let pipeline = self.pipeline(0);
        if self.random.one_in(3)
            && let Some(name) = self.variables.last().cloned()
        {
            return self.action(&format!("{name} = {pipeline}"));
        }
        let name = format!("$v{}", self.random.below(4));
        self.variables.push(name.clone());
        self.action(&format!("{name} := {pipeline}"))
    }

    fn otherwise(&mut self, depth: usize, word: &str) -> String {
        match self.random.below(4) {
            0 => {
                let body = self.body(depth);
                format!("{{{{else}}}}{body}")
            }
            1 if word != "range" => {
                let (pipeline, body) = (self.pipeline(0), self.body(depth));
                let (other, rest) = (self.pick(&["if", "with"]), self.body(depth));
                let word = if self.random.one_in(6) { &other } else { word };
                format!("{{{{else {word} {pipeline}}}}}{body}{{{{else}}}}{rest}")
            }
            _ => String::new(),
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        let pipeline = self.pipeline(0);
        let head = self.action(&format!("if {pipeline}"));
        let (body, rest) = (self.body(depth), self.otherwise(depth, "if"));
        let end = self.action("end");
        format!("{head}{body}{rest}{end}")
    }

    fn with(&mut self, depth: usize) -> String {
        let pipeline = self.pipeline(0);
        let scope = self.variables.len();
        let declared = if self.random.one_in(3) {
            self.variables.push("$w".to_owned());
            "$w := "
        } else {
            ""
        };
        let head = self.action(&format!("with {declared}{pipeline}"));
        let (body, rest) = (self.body(depth), self.otherwise(depth, "with"));
        self.variables.truncate(scope);
        let end = self.action("end");
        format!("{head}{body}{rest}{end}")
    }

    fn range(&mut self, depth: usize) -> String {
        let over = match self.random.below(6) {
            0 => self.pick(&["3", "0", "-1", "2"]),
            1 => self.expression(Type::Map, 0),
            2 => self.pipeline(0),
            _ => self.expression(Type::List, 0),
        };
        let scope = self.variables.len();
        let declared = match self.random.below(4) {
            0 => {
                self.variables.extend(["$k".to_owned(), "$e".to_owned()]);
                "$k, $e := "
            }
            1 => {
                self.variables.push("$e".to_owned());
                "$e := "
            }
            _ => "",
        };
        let head = self.action(&format!("range {declared}{over}"));
        self.loops += 1;
        let body = self.body(depth);
        self.loops -= 1;
        let rest = self.otherwise(depth, "range");
        self.variables.truncate(scope);
        let end = self.action("end");
        format!("{head}{body}{rest}{end}")
    }

    fn define(&mut self, depth: usize) -> String {
        if depth > 0 && !self.random.one_in(6) {
            return self.pick(WORDS);
        }
        let name = self.random.below(3);
        let (variables, loops) = (std::mem::take(&mut self.variables), self.loops);
        self.loops = 0;
        // What is defined calls nothing that is: recursion would only show our bounds.
        let pipeline = self.pipeline(0);
        let word = self.pick(WORDS);
        (self.variables, self.loops) = (variables, loops);
        format!("{{{{define \"d{name}\"}}}}{word}{{{{{pipeline}}}}}{{{{end}}}}")
    }

    /// A pipeline of one to three commands.
    fn pipeline(&mut self, depth: usize) -> String {
        let mut text = self.expression(Type::Any, depth);
        while self.random.one_in(7) {
            let next = match self.random.below(8) {
                0 => "len".to_owned(),
                1 => "printf \"%v|%v\" 1".to_owned(),
                2 => self.pick(&["html", "js", "urlquery", "not", "print", "println"]),
                3 => self.pick(&["toUpper", "toLower", "base", "dir", "base64Encode"]),
                4 => self.pick(&["eq 1", "ne \"a\"", "lt 2", "and true", "or false", "index .l"]),
                5 => format!("printf {}", self.format(1)),
                6 => self.call(depth + 1).unwrap_or_else(|| "print".to_owned()),
                _ => self.pick(&[".s", "1", "\"x\"", "nil", "(print 1)"]),
            };
            text = format!("{text} | {next}");
        }
        text
    }

    fn expression(&mut self, wanted: Type, depth: usize) -> String {
        // Something of another type now and then.
        let wanted = if self.random.one_in(40) { Type::Any } else { wanted };
        if depth > 2 {
            return self.operand(wanted);
        }
        match (wanted, self.random.below(4)) {
            (Type::Any, 0)
            | (Type::Text | Type::Int | Type::Bool | Type::List | Type::Map, 0 | 1) => {
                self.operand(wanted)
            }
            (Type::Any, 1) => self.call(depth).unwrap_or_else(|| ".".to_owned()),
            (Type::Any, _) => {
                let types = [Type::Text, Type::Int, Type::Bool, Type::List, Type::Map];
                let wanted = *self.random.pick(&types);
                self.expression(wanted, depth)
            }
            (wanted, _) => self.typed_call(wanted, depth),
        }
    }

    /// A moment of some century, near the ends of years and months more often than not.
    fn seconds(&mut self) -> i64 {
        let start =
            *self.random.pick(&[-62_135_596_800, -1, 951_782_399, 1_136_239_445, 4_102_444_799]);
        start + i64::try_from(self.random.below(40 * 86_400)).expect("it is small")
    }

    fn operand(&mut self, wanted: Type) -> String {
        match wanted {
            Type::Text => match self.random.below(3) {
                0 => self.pick(&[".s", ".u", ".html", ".m.a", "$.s"]),
                _ => self.pick(TEXTS),
            },
            Type::Int => self.pick(INTS),
            Type::Bool => self.pick(&["true", "false", ".t"]),
            Type::Layout => self.pick(LAYOUTS),
            Type::List => self.pick(&[".l", ".e", "$.l", ".Upper.Case"]),
            Type::Map => self.pick(&[".m", ".em", "$.m", ".", ".m.c"]),
            Type::Any => match self.random.below(9) {
                0 => self.pick(FLOATS),
                1 => self.pick(INTS),
                2 => self.pick(TEXTS),
                3 => self.pick(&[".", "$", "nil", "true", "false", "1i", "2+3i"]),
                4 if !self.variables.is_empty() => {
                    let variables = self.variables.clone();
                    let name = self.random.pick(&variables).clone();
                    match self.random.one_in(5) {
                        true => format!("{name}.a"),
                        false => name,
                    }
                }
                5 => {
                    let inner = self.pipeline(2);
                    let field = if self.random.one_in(6) { ".a" } else { "" };
                    format!("({inner}){field}")
                }
                _ => self.pick(FIELDS),
            },
        }
    }

    /// An argument: what is more than one word stands in parentheses.
    fn argument(&mut self, wanted: Type, depth: usize) -> String {
        let text = self.expression(wanted, depth + 1);
        match text.contains(' ') && !text.starts_with(['"', '`', '(']) {
            true => format!("({text})"),
            false => text,
        }
    }

    fn arguments(&mut self, name: &str, types: &[Type], depth: usize) -> String {
        let mut text = name.to_owned();
        for wanted in types {
            text.push(' ');
            text.push_str(&self.argument(*wanted, depth));
        }
        // One too many, or too few.
        match self.random.below(60) {
            0 => text.push_str(" 1"),
            1 => name.clone_into(&mut text),
            _ => {}
        }
        text
    }

    fn typed_call(&mut self, wanted: Type, depth: usize) -> String {
        use Type::Any;
        let Some((_, choices)) = CALLS.iter().find(|(gives, _)| *gives == wanted) else {
            return self.operand(Any);
        };
        let (name, types) = *self.random.pick(choices);
        match name {
            "printf" => {
                let count = self.random.below(4);
                let mut text = format!("printf {}", self.format(count));
                for _ in 0..count {
                    text.push(' ');
                    text.push_str(&self.argument(Any, depth));
                }
                text
            }
            // Large numbers would only show our bounds.
            "seq" => format!("seq {} {}", self.random.below(4), self.random.below(6)),
            _ => self.arguments(name, types, depth),
        }
    }

    fn call(&mut self, depth: usize) -> Option<String> {
        let types = [Type::Text, Type::Int, Type::Bool, Type::List, Type::Map];
        let wanted = *self.random.pick(&types);
        (depth < 4).then(|| self.typed_call(wanted, depth))
    }

    /// A format for so many arguments, or about so many.
    fn format(&mut self, count: u64) -> String {
        let mut text = String::from("\"");
        for _ in 0..count {
            text.push('%');
            for flag in ['+', '-', '#', ' ', '0'] {
                if self.random.one_in(7) {
                    text.push(flag);
                }
            }
            if self.random.one_in(4) {
                text.push_str(&self.random.below(12).to_string());
            }
            if self.random.one_in(5) {
                text.push('.');
                if !self.random.one_in(4) {
                    text.push_str(&self.random.below(8).to_string());
                }
            }
            if self.random.one_in(30) {
                text.push_str("[1]");
            }
            text.push(*self.random.pick(VERBS));
            if self.random.one_in(2) {
                text.push('|');
            }
        }
        if self.random.one_in(12) {
            text.push_str("%!");
        }
        text.push('"');
        text
    }
}
