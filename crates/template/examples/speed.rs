//! How long it takes to parse and to render the template of the bars: 100 rows, some 500 values
//! appended, 4.4 KB. Prints one line of JSON, in nanoseconds; Go's figures are
//! printed by `scripts/go-oracle --speed`, for the same template.

use std::hint::black_box;
use std::time::Instant;

use brickyard_template::{MapScope, parse};

const TEMPLATE: &str = include_str!("../oracle/speed.tmpl");
const ROUNDS: usize = 21;
const PER_ROUND: u32 = 200;

/// The median of some rounds, in nanoseconds for one turn.
fn median(mut turn: impl FnMut()) -> u128 {
    let mut rounds: Vec<u128> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..PER_ROUND).for_each(|_| turn());
            start.elapsed().as_nanos() / u128::from(PER_ROUND)
        })
        .collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn main() {
    let mut scope = MapScope::new([("/app/name", "shop"), ("/app/port", "8080")]);
    for row in 0..100 {
        let (key, value) = (format!("/app/upstream/web{row:03}"), format!("10.0.1.{row:03}:8080"));
        scope.insert(key, value);
    }
    let template = parse("speed", TEMPLATE).expect("the template is good");
    let rendered = template.render(&scope).expect("its data are there");
    let parse_ns = median(|| {
        black_box(parse("speed", black_box(TEMPLATE)).is_ok());
    });
    let render_ns = median(|| {
        black_box(template.render(black_box(&scope)).is_ok());
    });
    println!(
        "{{\"engine\":\"brickyard\",\"template_bytes\":{},\"output_bytes\":{},\"parse_ns\":{parse_ns},\"render_ns\":{render_ns}}}",
        TEMPLATE.len(),
        rendered.output.len()
    );
}
