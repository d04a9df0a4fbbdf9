//! A layered layout: boxes in columns from left to right, each as far right as its lines demand, and in
//! each column in an order in which few lines cross.
//!
//! It is the method of Sugiyama, Tagawa and Toda (1981) in the four steps of Gansner, Koutsofios, North
//! and Vo, "A Technique for Drawing Directed Graphs" (1993): turn circles, give columns ([`rank`]), order
//! each column ([`order`]), give places ([`place`]). What hangs together is laid out on its own, and the
//! parts are then put side by side.

mod order;
mod place;
mod rank;

/// What is laid out.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// The boxes.
    pub boxes: Vec<Size>,
    /// The lines between them.
    pub lines: Vec<Line>,
}

/// How large a box is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// From left to right.
    pub width: f64,
    /// From top to bottom.
    pub height: f64,
}

/// A line from one box to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Index of the box where it begins.
    pub from: usize,
    /// Index of the box where it ends.
    pub to: usize,
    /// How far below the upper edge of the box it ends.
    pub port: f64,
}

/// A place on the drawing, from its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Downwards.
    pub y: f64,
}

/// Where everything is.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// Size of the whole.
    pub size: (f64, f64),
    /// The upper left corner of each box and how wide it is: all boxes of a column are as wide as the
    /// widest.
    pub boxes: Vec<(Point, f64)>,
    /// Through which points each line goes: pairs of which every second step is level. A line from a box
    /// to itself has none.
    pub routes: Vec<Vec<Point>>,
    /// How often lines cross between columns.
    pub crossings: usize,
}

/// Space between the parts of a drawing.
const PART_GAP: f64 = 36.0;
/// How much wider than high a drawing of many parts is to be.
const ASPECT: f64 = 1.6;

/// Lays a graph out. It depends on nothing but the graph.
#[must_use]
pub fn layout(graph: &Graph) -> Layout {
    let mut parts = parts(graph);
    let mut whole = Layout {
        boxes: vec![(Point::default(), 0.0); graph.boxes.len()],
        routes: vec![Vec::new(); graph.lines.len()],
        ..Layout::default()
    };
    let laid: Vec<Layout> = parts.iter().map(|part| connected(&part.graph)).collect();
    let widest = laid.iter().map(|part| part.size.0).fold(0.0, f64::max);
    let area: f64 =
        laid.iter().map(|part| (part.size.0 + PART_GAP) * (part.size.1 + PART_GAP)).sum();
    let room = widest.max((area * ASPECT).sqrt());
    let (mut at, mut shelf) = (Point::default(), 0.0_f64);
    for (part, laid) in parts.iter_mut().zip(laid) {
        if at.x > 0.0 && at.x + laid.size.0 > room {
            at = Point { x: 0.0, y: at.y + shelf + PART_GAP };
            shelf = 0.0;
        }
        let moved = |point: Point| Point { x: point.x + at.x, y: point.y + at.y };
        for (index, (corner, width)) in part.boxes.iter().zip(laid.boxes) {
            whole.boxes[*index] = (moved(corner), width);
        }
        for (index, route) in part.lines.iter().zip(laid.routes) {
            whole.routes[*index] = route.into_iter().map(moved).collect();
        }
        whole.crossings += laid.crossings;
        whole.size.0 = whole.size.0.max(at.x + laid.size.0);
        whole.size.1 = whole.size.1.max(at.y + laid.size.1);
        shelf = shelf.max(laid.size.1);
        at.x += laid.size.0 + PART_GAP;
    }
    whole
}

/// What hangs together, and which boxes and lines of the whole it is made of.
struct Part {
    graph: Graph,
    boxes: Vec<usize>,
    lines: Vec<usize>,
}

/// The parts, those with most boxes first.
fn parts(graph: &Graph) -> Vec<Part> {
    let mut neighbours = vec![Vec::new(); graph.boxes.len()];
    for line in &graph.lines {
        neighbours[line.from].push(line.to);
        neighbours[line.to].push(line.from);
    }
    let mut part_of = vec![usize::MAX; graph.boxes.len()];
    let mut parts: Vec<Part> = Vec::new();
    for start in 0..graph.boxes.len() {
        if part_of[start] != usize::MAX {
            continue;
        }
        let number = parts.len();
        part_of[start] = number;
        let mut boxes = vec![start];
        let mut next = 0;
        while next < boxes.len() {
            for &other in &neighbours[boxes[next]] {
                if part_of[other] == usize::MAX {
                    part_of[other] = number;
                    boxes.push(other);
                }
            }
            next += 1;
        }
        boxes.sort_unstable();
        parts.push(Part { graph: Graph::default(), boxes, lines: Vec::new() });
    }
    let mut inner = vec![0; graph.boxes.len()];
    for part in &mut parts {
        part.graph.boxes = part.boxes.iter().map(|index| graph.boxes[*index]).collect();
        part.boxes.iter().enumerate().for_each(|(place, index)| inner[*index] = place);
    }
    for (index, line) in graph.lines.iter().enumerate().filter(|(_, line)| line.from != line.to) {
        let part = &mut parts[part_of[line.from]];
        part.graph.lines.push(Line { from: inner[line.from], to: inner[line.to], ..*line });
        part.lines.push(index);
    }
    parts.sort_by_key(|part| std::cmp::Reverse(part.boxes.len()));
    parts
}

/// Lays out what hangs together and has no line from a box to itself.
fn connected(graph: &Graph) -> Layout {
    let ends: Vec<(usize, usize)> = graph.lines.iter().map(|line| (line.from, line.to)).collect();
    let turned = rank::back_lines(graph.boxes.len(), &ends);
    let forward: Vec<(usize, usize)> = ends
        .iter()
        .zip(&turned)
        .map(|(&(from, to), turned)| if *turned { (to, from) } else { (from, to) })
        .collect();
    let ranks = rank::ranks(graph.boxes.len(), &forward);
    let mut columns = order::Columns::new(graph, &forward, &turned, &ranks);
    let crossings = columns.untangle();
    Layout { crossings, ..place::places(graph, &columns, &turned) }
}
