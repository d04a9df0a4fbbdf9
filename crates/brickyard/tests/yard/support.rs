//! What the tests share.

use brickyard_testkit::Yard;
use serde_json::Value;

/// The binary under test.
pub(crate) const BRICKYARD: &str = env!("CARGO_BIN_EXE_brickyard");

/// An empty yard.
pub(crate) fn yard() -> Yard {
    Yard::new(BRICKYARD)
}

/// A yard that has the image `box`.
pub(crate) fn yard_with_box() -> Yard {
    let yard = yard();
    yard.import_box();
    yard
}

/// Kinds of events with their addresses, as `instance.exited /s/dev/web/1`.
pub(crate) fn kinds(events: &[Value]) -> Vec<String> {
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or("-").to_owned();
    events
        .iter()
        .map(|event| format!("{} {}", text(event, "kind"), text(event, "address")))
        .collect()
}
