//! DOT, the language of Graphviz: <https://graphviz.org/doc/info/lang.html>.

use std::fmt::Write as _;

use crate::{Diagram, Kind, LineKind, Node};

/// The diagram as a `digraph`.
#[must_use]
pub fn draw(diagram: &Diagram) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "digraph {} {{", quoted(&diagram.name));
    out.push_str("  rankdir=LR\n  node [shape=record fontname=\"Helvetica\" fontsize=11]\n");
    out.push_str("  edge [fontname=\"Helvetica\" fontsize=9]\n");
    for node in &diagram.nodes {
        let style = match node.kind {
            Kind::Service => "style=rounded",
            Kind::External => "style=dashed",
            Kind::Volume => "shape=cylinder",
        };
        let _ = writeln!(out, "  {} [{style} label=\"{}\"]", id(node), label(node));
    }
    for line in &diagram.lines {
        let (from, to) = (&diagram.nodes[line.from], &diagram.nodes[line.to]);
        let mut end = id(to);
        if let Some(endpoint) = line.endpoint {
            let _ = write!(end, ":e{endpoint}");
        }
        let style = match line.kind {
            LineKind::Need => "style=solid",
            LineKind::Derived => "style=dashed",
            LineKind::Mount => "style=dotted arrowhead=none",
        };
        let _ = write!(out, "  {} -> {end} [{style}", id(from));
        let words = line.alias.iter().map(String::as_str).chain(line.notes.iter().copied());
        let words: Vec<&str> = words.collect();
        if !words.is_empty() {
            let _ = write!(out, " label={}", quoted(&words.join(", ")));
        }
        out.push_str("]\n");
    }
    out.push_str("}\n");
    out
}

/// What a box is called: services by their names, and others so that they cannot be taken for one.
fn id(node: &Node) -> String {
    match node.kind {
        Kind::Service => quoted(&node.name),
        Kind::External => quoted(&format!("external {}", node.name)),
        Kind::Volume => quoted(&format!("volume {}", node.name)),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The fields of a record, from top to bottom.
fn label(node: &Node) -> String {
    let mut head = node.name.clone();
    if node.replicas != 1 {
        let _ = write!(head, " ×{}", node.replicas);
    }
    let mut label = field(&head);
    if let Some(image) = &node.image {
        let _ = write!(label, "\\n{}", field(image));
    }
    for (place, endpoint) in node.endpoints.iter().enumerate() {
        let mut text = endpoint.shown();
        if !endpoint.published.is_empty() {
            let _ = write!(text, " ← {}", endpoint.published.join(", "));
        }
        let _ = write!(label, "|<e{place}> {}", field(&text));
    }
    label
}

/// A record's field, with what would end it made plain.
fn field(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if matches!(c, '\\' | '"' | '{' | '}' | '|' | '<' | '>') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
