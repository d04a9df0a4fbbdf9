//! Findings about a place of the tree that more than one stage makes.

use brickyard_core::Diagnostic;
use brickyard_core::diagnostic::nearest;

use crate::codes;
use crate::tree::{Kind, Node, Place, Via};

/// A finding with a place of the tree.
pub(crate) trait AtPlace {
    /// Adds a place, with what to write beside it.
    fn at_place(self, place: &Place, text: impl Into<String>) -> Self;
}

impl AtPlace for Diagnostic {
    fn at_place(self, place: &Place, text: impl Into<String>) -> Self {
        let found = self.at(&place.source, place.span.clone(), text);
        let steps = place.via.as_deref().map(Via::steps).unwrap_or_default();
        steps.into_iter().fold(found, |found, via| {
            found.at(&via.place.source, via.place.span.clone(), via.text.clone())
        })
    }
}

/// A value of another shape than the one that is wanted.
pub(crate) fn wrong_type(what: &str, wanted: &str, node: &Node) -> Diagnostic {
    let is = match &node.kind {
        Kind::Scalar { .. } if node.is_null() => "nothing",
        Kind::Scalar { .. } => "text",
        Kind::Sequence(_) => "a list",
        Kind::Mapping(_) => "a mapping",
    };
    let message = format!("{what} must be {wanted}, and this is {is}");
    Diagnostic::error(codes::WRONG_TYPE, message).at_place(&node.place, "")
}

/// A text that cannot be read as what is wanted.
pub(crate) fn no_value(text: &str, what: &str, wanted: &str, node: &Node) -> Diagnostic {
    let message = format!("`{text}` is no value for {what}: it must be {wanted}");
    Diagnostic::error(codes::BAD_VALUE, message).at_place(&node.place, "")
}

/// A text that is none of a few words.
pub(crate) fn no_word(text: &str, what: &str, words: &[&str], node: &Node) -> Diagnostic {
    let message = format!("`{text}` is no value for {what}: it is one of {}", words.join(", "));
    let mut found = Diagnostic::error(codes::BAD_VALUE, message);
    if let Some(name) = nearest(text, words.iter().copied()) {
        found = found.hint(format!("did you mean `{name}`?"));
    }
    found.at_place(&node.place, "")
}

/// What the engine refuses.
pub(crate) fn cannot_honour(what: &str, place: &Place) -> Diagnostic {
    let message = format!("the native engine cannot honour {what}");
    Diagnostic::error(codes::UNSUPPORTED, message).at_place(place, "")
}

/// What has no effect.
pub(crate) fn no_effect(message: impl Into<String>, place: &Place) -> Diagnostic {
    Diagnostic::warning(codes::NO_EFFECT, message).at_place(place, "")
}
