//! Generated templates rendered by Go's own `text/template` and by ours: output and errors must be the
//! same, byte for byte.
//!
//! `BRICKYARD_CASES` says how many, `BRICKYARD_SEED` which. What differs is shown as small as it can be
//! made. The toolchain comes by `scripts/go`.

mod generate;
mod go;

use brickyard_template::{MapScope, Moment, Value, World, functions, parse};
use brickyard_testkit::Random;
use generate::Generator;
use go::Go;

use crate::On;

/// Cases without more being asked for.
const CASES: u64 = 3000;
/// Without another one being asked for.
const SEED: u64 = 20_240_601;

/// One template with what it may read.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) text: Vec<u8>,
    pub(crate) keys: Vec<(String, String)>,
    pub(crate) env: Vec<(String, String)>,
    /// The moment.
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
    pub(crate) data: serde_json::Value,
}

/// What came out, or the error.
pub(crate) type Answer = Result<Vec<u8>, String>;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What Go's `json.Unmarshal` into `any` makes of a value.
fn value_of(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or(0.0)),
        serde_json::Value::String(text) => Value::text(text.as_str()),
        serde_json::Value::Array(items) => {
            Value::list("[]interface {}", items.iter().map(value_of).collect())
        }
        serde_json::Value::Object(fields) => {
            Value::map(fields.iter().map(|(name, value)| (name.as_str(), value_of(value))))
        }
    }
}

/// The moment of a case, where clocks show an hour more than in Greenwich.
struct At<'a>(&'a Case);

impl World for At<'_> {
    fn now(&self) -> Option<Moment> {
        let Case { seconds, nanoseconds, .. } = *self.0;
        Some(Moment { seconds, nanoseconds, offset_s: 3600, zone: "CET".to_owned() })
    }
}

fn ours(case: &Case) -> Answer {
    let mut scope = MapScope::new(case.keys.iter().cloned());
    scope.env = case.env.iter().cloned().collect();
    let scope = On(scope, At(case));
    let template = parse("t", &case.text).map_err(|err| err.to_string())?;
    let rendered = template.render_with(&scope, value_of(&case.data));
    rendered.map(|rendered| rendered.output).map_err(|err| err.to_string())
}

/// Ours bounds steps, depth and sizes, so that no template can take the machine. Go does not, and is
/// not asked for what it would not end with.
const BOUNDS: [&str; 3] = ["maximum number of steps", "larger than", "depth exceeded"];

fn is_bounded(ours: &Answer) -> bool {
    ours.as_ref().is_err_and(|text| {
        BOUNDS.iter().any(|bound| text.contains(bound)) || text.contains("maximum template depth")
    })
}

fn differs(go: &mut Go, case: &Case) -> Option<(Answer, Answer)> {
    let ours = ours(case);
    if is_bounded(&ours) {
        return None;
    }
    let theirs = go.render(case);
    (theirs != ours && !is_of_others(&theirs)).then_some((theirs, ours))
}

/// Whether Go misses a function that confd does not have either: a damaged name may be one of those
/// that we have from others.
fn is_of_others(theirs: &Answer) -> bool {
    let name = theirs
        .as_ref()
        .err()
        .and_then(|text| text.split_once("function \"")?.1.strip_suffix("\" not defined"));
    name.is_some_and(|name| functions().iter().any(|known| known.name == name))
}

/// Takes away what is not needed for the two to differ.
fn shrink(go: &mut Go, mut case: Case) -> Case {
    let mut length = case.text.len() / 2;
    while length > 0 {
        let mut at = 0;
        while at + length <= case.text.len() {
            let mut smaller = case.clone();
            smaller.text.drain(at..at + length);
            match differs(go, &smaller) {
                Some(_) => case = smaller,
                None => at += length.div_ceil(2),
            }
        }
        length /= 2;
    }
    case
}

#[test]
fn go_says_the_same_of_generated_templates() {
    let (cases, seed) = (number("BRICKYARD_CASES", CASES), number("BRICKYARD_SEED", SEED));
    let mut go = Go::start();
    let mut generator = Generator::new(Random::new(seed));
    let (mut rendered, mut wrong) = (0, Vec::new());
    for at in 0..cases {
        let case = generator.case();
        rendered += u64::from(ours(&case).is_ok());
        if differs(&mut go, &case).is_some() {
            let small = shrink(&mut go, case);
            let (theirs, ours) = differs(&mut go, &small).expect("it still differs");
            let show = |answer: Answer| match answer {
                Ok(output) => format!("{:?}", String::from_utf8_lossy(&output)),
                Err(text) => format!("error {text}"),
            };
            let text = String::from_utf8_lossy(&small.text).into_owned();
            wrong.push(format!(
                "case {at}:\n  {text}\n  go:   {}\n  ours: {}",
                show(theirs),
                show(ours)
            ));
            if wrong.len() == 20 {
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
    // Errors are compared as well, but mere errors would show little.
    assert!(rendered > cases / 4, "only {rendered} of {cases} were rendered");
}
