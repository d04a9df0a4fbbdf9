//! For a terminal: one row for each box, and on the left the lines, as version control systems draw
//! history. Everything leads downwards; what a line meets from above is where it ends.

use unicode_width::UnicodeWidthStr;

use crate::{Diagram, Kind, Line, LineKind, Node};

/// What a piece of the drawing is, for those who colour it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A line, or an image.
    Faint,
    /// A box's name.
    Name,
    /// Anything else.
    Plain,
}

/// The rails may be as wide as this; beyond it, names follow directly instead of standing in a column.
const ALIGNED_MAX: usize = 24;

/// The diagram as lines of text.
#[must_use]
pub fn draw(diagram: &Diagram, paint: &dyn Fn(Part, &str) -> String) -> String {
    let rows = rows(diagram);
    let heads: Vec<String> = diagram.nodes.iter().map(head).collect();
    let provided: Vec<String> = diagram.nodes.iter().map(provided).collect();
    let widest = |words: &[String]| words.iter().map(|word| word.width()).max().unwrap_or(0);
    let (head_width, provided_width) = (widest(&heads), widest(&provided));
    let rail_width = rows.iter().map(|row| row.rails.width()).max().unwrap_or(0);
    let mut out = String::new();
    for row in &rows {
        out += &paint(Part::Faint, &row.rails);
        if let Some(node) = row.node {
            let aligned = if rail_width > ALIGNED_MAX { row.rails.width() } else { rail_width };
            let needs = needs(diagram, node);
            let cells = [
                (Part::Name, &heads[node], head_width),
                (Part::Plain, &provided[node], provided_width),
                (Part::Faint, &needs, 0),
            ];
            let mut gap = aligned + 1 - row.rails.width();
            for (part, words, width) in cells {
                if !words.is_empty() {
                    out += &" ".repeat(std::mem::take(&mut gap));
                    out += &paint(part, words);
                }
                if width > 0 {
                    gap += width - words.width() + 2;
                }
            }
        }
        out.push('\n');
    }
    out
}

fn head(node: &Node) -> String {
    let what = match node.kind {
        Kind::Service => "",
        Kind::External => " (external)",
        Kind::Volume => " (volume)",
    };
    match node.replicas {
        1 => format!("{}{what}", node.name),
        count => format!("{} ×{count}{what}", node.name),
    }
}

/// What lines can lead to.
fn provided(node: &Node) -> String {
    let endpoints = node.endpoints.iter().map(|endpoint| match endpoint.published.as_slice() {
        [] => endpoint.shown(),
        published => format!("{} ← {}", endpoint.shown(), published.join(" ")),
    });
    endpoints.collect::<Vec<_>>().join(", ")
}

/// Where lines lead.
fn needs(diagram: &Diagram, from: usize) -> String {
    let lines = diagram.lines.iter().filter(|line| line.from == from);
    let arrow = |line: &Line| match line.kind {
        LineKind::Need => "→",
        LineKind::Derived => "⇢",
        LineKind::Mount => "▸",
    };
    let phrases = lines.map(|line| format!("{} {}", arrow(line), diagram.phrase(line)));
    phrases.collect::<Vec<_>>().join("  ")
}

/// A line of text.
struct Row {
    rails: String,
    node: Option<usize>,
}

fn rows(diagram: &Diagram) -> Vec<Row> {
    let order = order(diagram);
    let mut row_of = vec![0; diagram.nodes.len()];
    order.iter().enumerate().for_each(|(row, node)| row_of[*node] = row);
    let mut rails: Vec<Option<usize>> = Vec::new();
    let mut rows = Vec::new();
    let mut ended = None;
    for &node in &order {
        let own = column(&mut rails, |rail| rail == Some(node));
        // Two boxes that have nothing to do with each other are not to look joined.
        if ended == Some(own) {
            let signs = rails.iter().map(|rail| if rail.is_some() { '│' } else { ' ' });
            rows.push(Row { rails: spaced(signs, ' '), node: None });
        }
        let signs = rails.iter().enumerate().map(|(place, rail)| match rail {
            _ if place == own => sign(diagram.nodes[node].kind),
            Some(_) => '│',
            None => ' ',
        });
        rows.push(Row { rails: spaced(signs, ' '), node: Some(node) });
        rails[own] = None;
        let mut targets: Vec<usize> =
            diagram.lines.iter().filter(|line| line.from == node).map(|line| line.to).collect();
        // What lies above is named beside the box alone.
        targets.retain(|target| row_of[*target] > row_of[node]);
        targets.sort_by_key(|target| row_of[*target]);
        targets.dedup();
        if let Some(rails) = joined(&mut rails, own, &targets) {
            rows.push(Row { rails, node: None });
        }
        ended = rails[own].is_none().then_some(own);
        while rails.last() == Some(&None) {
            rails.pop();
        }
    }
    rows
}

fn sign(kind: Kind) -> char {
    match kind {
        Kind::Service => '●',
        Kind::External => '◌',
        Kind::Volume => '▪',
    }
}

/// The column of which this holds, or else one that is free.
fn column(rails: &mut Vec<Option<usize>>, is_wanted: impl Fn(Option<usize>) -> bool) -> usize {
    let found = rails.iter().position(|rail| is_wanted(*rail));
    found.or_else(|| rails.iter().position(Option::is_none)).unwrap_or_else(|| {
        rails.push(None);
        rails.len() - 1
    })
}

/// Leads a box's lines to the rails of their targets; none when one goes straight down.
fn joined(rails: &mut Vec<Option<usize>>, own: usize, targets: &[usize]) -> Option<String> {
    let before = rails.clone();
    let mut ends = Vec::new();
    for &target in targets {
        let at = match rails.iter().position(|rail| *rail == Some(target)) {
            Some(at) => at,
            None if rails[own].is_none() => own,
            None => column(rails, |_| false),
        };
        rails[at] = Some(target);
        ends.push(at);
    }
    let (first, last) = (ends.iter().min()?.min(&own), ends.iter().max()?.max(&own));
    if first == last {
        return None;
    }
    let span = *first..=*last;
    let mut line = String::new();
    for (place, rail) in rails.iter().enumerate() {
        let is_in = span.contains(&place);
        let was_there = before.get(place).copied().flatten().is_some();
        let is_there = rail.is_some();
        line.push(match (is_in, place == own || ends.contains(&place)) {
            (true, true) => {
                let above = was_there || place == own;
                corner(above, is_there, place > *first, place < *last)
            }
            _ if was_there => '│',
            (true, false) => '─',
            _ => ' ',
        });
        line.push(if span.contains(&place) && place < *last { '─' } else { ' ' });
    }
    Some(line.trim_end().to_owned())
}

/// The sign that leads to these sides.
fn corner(up: bool, down: bool, left: bool, right: bool) -> char {
    match (up, down, left, right) {
        (true, true, true, true) => '┼',
        (true, true, true, false) => '┤',
        (true, true, false, true) => '├',
        (true, true, false, false) => '│',
        (true, false, true, true) => '┴',
        (true, false, true, false) => '╯',
        (true, false, false, true) => '╰',
        (false, true, true, true) => '┬',
        (false, true, true, false) => '╮',
        (false, true, false, true) => '╭',
        _ => '─',
    }
}

fn spaced(signs: impl Iterator<Item = char>, gap: char) -> String {
    let mut line = String::new();
    for sign in signs {
        line.push(sign);
        line.push(gap);
    }
    line.trim_end().to_owned()
}

/// The boxes from top to bottom: each before what its lines lead to, as far as there are no circles.
fn order(diagram: &Diagram) -> Vec<usize> {
    let count = diagram.nodes.len();
    let mut outgoing = vec![Vec::new(); count];
    let mut incoming = vec![0_usize; count];
    for line in &diagram.lines {
        outgoing[line.from].push(line.to);
        incoming[line.to] += 1;
    }
    let mut starts: Vec<usize> = (0..count).collect();
    // The last that is finished comes first.
    starts.sort_by_key(|start| (incoming[*start] > 0, std::cmp::Reverse(*start)));
    let mut seen = vec![false; count];
    let mut finished = Vec::with_capacity(count);
    for start in starts {
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        let mut stack = vec![(start, outgoing[start].len())];
        while let Some((at, rest)) = stack.last_mut() {
            if *rest == 0 {
                finished.push(*at);
                stack.pop();
                continue;
            }
            *rest -= 1;
            let to = outgoing[*at][*rest];
            if !std::mem::replace(&mut seen[to], true) {
                stack.push((to, outgoing[to].len()));
            }
        }
    }
    finished.reverse();
    // What nothing leads to stands right above the first box that it leads to: its lines stay short.
    let mut order: Vec<usize> = Vec::with_capacity(count);
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut row_of = vec![0; count];
    finished.iter().enumerate().for_each(|(row, node)| row_of[*node] = row);
    for node in finished {
        let first = outgoing[node].iter().min_by_key(|target| row_of[**target]);
        match first.filter(|_| incoming[node] == 0) {
            Some(first) => before[*first].push(node),
            None => {
                order.append(&mut before[node]);
                order.push(node);
            }
        }
    }
    order
}
