//! SVG for people: a page in the reader's light or dark colours, without scripts or anything fetched.
//!
//! Lines that lead to the same box have the same colour. Pointing at a line or a box says what it is.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

use crate::layout::{self, Graph, Layout, Point, Size};
use crate::{Diagram, Kind, Line, LineKind, Node};

const MARGIN: f64 = 28.0;
/// Height of the headline and the space below it.
const HEADLINE: f64 = 40.0;
/// Height of the legend and the space above it.
const LEGEND: f64 = 44.0;
const LEGEND_WIDTH: f64 = 560.0;
const PADDING: f64 = 11.0;
const NAME_HEIGHT: f64 = 19.0;
const IMAGE_HEIGHT: f64 = 15.0;
const ROW_HEIGHT: f64 = 18.0;
const VOLUME_HEIGHT: f64 = 27.0;
/// Sizes of letters.
const NAME_SIZE: f64 = 13.0;
const SMALL_SIZE: f64 = 10.5;
/// Every letter of a monospaced font is about so wide, by its size.
const LETTER: f64 = 0.605;
/// Columns of text after which an image is shortened.
const IMAGE_MAX: usize = 34;
/// How far an arrow's head reaches.
const HEAD: f64 = 7.0;
/// How many colours lines have; the style sheet names them.
const COLOURS: usize = 8;

/// The diagram as a document of its own.
#[must_use]
pub fn draw(diagram: &Diagram) -> String {
    let sizes: Vec<Size> = diagram.nodes.iter().map(size).collect();
    let lines = diagram.lines.iter().map(|line| ends(diagram, &sizes, line));
    let graph = Graph { lines: lines.collect(), boxes: sizes };
    let layout = layout::layout(&graph);
    let width = (layout.size.0 + 2.0 * MARGIN).max(LEGEND_WIDTH);
    let height = layout.size.1 + 2.0 * MARGIN + HEADLINE + LEGEND;
    let mut out = String::new();
    let name = escaped(&diagram.name);
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" \
         viewBox=\"0 0 {w} {h}\" role=\"img\" aria-label=\"Boxes and lines of {name}\">",
        w = number(width),
        h = number(height),
    );
    let _ = writeln!(out, "<title>{name}</title>\n<style>{STYLE}</style>");
    out.push_str("<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n");
    let _ = writeln!(
        out,
        "<text class=\"headline\" x=\"{}\" y=\"{}\">{name}</text>",
        number(MARGIN),
        number(MARGIN + 14.0)
    );
    let _ = writeln!(
        out,
        "<g transform=\"translate({} {})\">",
        number(MARGIN),
        number(MARGIN + HEADLINE)
    );
    let colours = colours(diagram, &layout);
    // What lines share is drawn once, and full where it is of any of them.
    let mut lines: Vec<(&Line, &Vec<Point>)> = diagram.lines.iter().zip(&layout.routes).collect();
    lines.sort_by_key(|(line, _)| line.kind);
    let mut drawn = BTreeSet::new();
    for (line, route) in lines {
        let mut points = route.clone();
        if points.is_empty() {
            let port = ends(diagram, &graph.boxes, line).port;
            points = loop_points(layout.boxes[line.from], port);
        }
        draw_line(&mut out, diagram, line, points, colours[line.to], &mut drawn);
    }
    for (index, node) in diagram.nodes.iter().enumerate() {
        let (corner, width) = layout.boxes[index];
        let own = graph.boxes[index];
        let width = if node.kind == Kind::Volume { own.width } else { width };
        draw_node(&mut out, node, corner, Size { width, ..own }, colours[index]);
    }
    out.push_str("</g>\n");
    draw_legend(&mut out, MARGIN, height - MARGIN);
    out.push_str("</svg>\n");
    out
}

/// Colours by place, so that neighbours differ.
fn colours(diagram: &Diagram, layout: &Layout) -> Vec<usize> {
    let mut targets: Vec<usize> = diagram.lines.iter().map(|line| line.to).collect();
    targets.sort_unstable();
    targets.dedup();
    let place = |index: usize| layout.boxes[index].0;
    targets.sort_by(|one, other| {
        let (one, other) = (place(*one), place(*other));
        one.x.total_cmp(&other.x).then_with(|| one.y.total_cmp(&other.y))
    });
    let mut colours = vec![0; diagram.nodes.len()];
    targets.iter().enumerate().for_each(|(rank, index)| colours[*index] = rank % COLOURS);
    colours
}

fn text_width(text: &str, size: f64) -> f64 {
    f64::from(u32::try_from(text.width()).unwrap_or(u32::MAX)) * size * LETTER
}

/// The words in the upper right corner of a box.
fn badge(node: &Node) -> String {
    match node.kind {
        Kind::External => "external".to_owned(),
        Kind::Service if node.replicas != 1 => format!("×{}", node.replicas),
        Kind::Service | Kind::Volume => String::new(),
    }
}

fn size(node: &Node) -> Size {
    let name = text_width(&node.name, NAME_SIZE);
    if node.kind == Kind::Volume {
        return Size { width: name + 46.0, height: VOLUME_HEIGHT };
    }
    let badge = badge(node);
    let head = if badge.is_empty() { name } else { name + text_width(&badge, SMALL_SIZE) + 12.0 };
    let image = node.image.as_ref().map(|image| text_width(&shortened(image), SMALL_SIZE));
    let rows = node.endpoints.iter().map(|endpoint| {
        let published = endpoint.published.join(" ");
        let gap = if published.is_empty() { 0.0 } else { 18.0 };
        text_width(&endpoint.shown(), SMALL_SIZE) + gap + text_width(&published, SMALL_SIZE)
    });
    let widest = image.into_iter().chain(rows).fold(head, f64::max);
    let rows = f64::from(u32::try_from(node.endpoints.len()).unwrap_or(u32::MAX)) * ROW_HEIGHT;
    let image = if node.image.is_some() { IMAGE_HEIGHT } else { 0.0 };
    Size { width: (widest + 2.0 * PADDING).max(96.0), height: NAME_HEIGHT + image + rows + PADDING }
}

/// How far down a box of this height an endpoint is shown.
fn row_middle(node: &Node, height: f64, endpoint: usize) -> f64 {
    let rows = f64::from(u32::try_from(node.endpoints.len() - endpoint).unwrap_or(u32::MAX));
    height - 4.0 - (rows - 0.5) * ROW_HEIGHT
}

fn ends(diagram: &Diagram, sizes: &[Size], line: &Line) -> layout::Line {
    let height = sizes[line.to].height;
    let port = match line.endpoint {
        Some(endpoint) => row_middle(&diagram.nodes[line.to], height, endpoint),
        None => height / 2.0,
    };
    layout::Line { from: line.from, to: line.to, port }
}

/// An image without the first parts of its name, where it is long.
fn shortened(image: &str) -> String {
    let mut rest = image;
    while rest.width() > IMAGE_MAX
        && let Some((_, shorter)) = rest.split_once('/')
    {
        rest = shorter;
    }
    if rest.width() > IMAGE_MAX {
        let letters: Vec<char> = rest.chars().collect();
        let end = letters[letters.len().saturating_sub(IMAGE_MAX - 1)..].iter();
        return format!("…{}", end.collect::<String>());
    }
    if rest.len() < image.len() { format!("…/{rest}") } else { rest.to_owned() }
}

fn draw_line(
    out: &mut String,
    diagram: &Diagram,
    line: &Line,
    mut points: Vec<Point>,
    colour: usize,
    drawn: &mut BTreeSet<String>,
) {
    let class = match line.kind {
        LineKind::Need => "need",
        LineKind::Derived => "need derived",
        LineKind::Mount => "mount",
    };
    let from = &diagram.nodes[line.from];
    let title = format!("{} → {}", from.name, diagram.phrase(line));
    let _ = writeln!(out, "<g class=\"line {class} c{colour}\"><title>{}</title>", escaped(&title));
    let last = points[points.len() - 1];
    let ahead = if last.x < points[points.len() - 2].x { -1.0 } else { 1.0 };
    let has_head = line.kind != LineKind::Mount;
    let end = points.len() - 1;
    if has_head {
        points[end].x -= ahead * HEAD;
    }
    let pieces = pieces(&points);
    let whole: String = pieces.iter().map(|piece| piece.1.as_str()).collect();
    let start = format!("M{} {}", number(points[0].x), number(points[0].y));
    let _ = write!(out, "<path class=\"wide\" d=\"{start}{whole}\"/>");
    let own = pieces
        .into_iter()
        .filter(|(from, piece)| drawn.insert(format!("{} {from}{piece}", line.to)));
    let own: String = own.map(|(from, piece)| format!("{from}{piece}")).collect();
    let _ = writeln!(out, "<path d=\"{own}\"/>");
    if has_head {
        let (x, y) = (number(last.x), number(last.y));
        let back = number(last.x - ahead * (HEAD + 1.0));
        let (above, below) = (number(last.y - 3.6), number(last.y + 3.6));
        let _ =
            writeln!(out, "<path class=\"head\" d=\"M{x} {y}L{back} {above}L{back} {below}Z\"/>");
    }
    if let Some(alias) = line.alias.as_ref().filter(|_| line.kind != LineKind::Mount) {
        let start = points[0];
        let leftwards = points[1].x < start.x;
        let (x, anchor) = if leftwards { (start.x - 6.0, "end") } else { (start.x + 6.0, "start") };
        let _ = writeln!(
            out,
            "<text class=\"alias\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            number(x),
            number(start.y - 3.0),
            escaped(alias)
        );
    }
    out.push_str("</g>\n");
}

/// Out of the right side of a box and back into it.
fn loop_points((corner, width): (Point, f64), port: f64) -> Vec<Point> {
    let right = corner.x + width;
    [(0.0, 8.0), (26.0, 8.0), (26.0, port), (0.0, port)]
        .map(|(x, y)| Point { x: right + x, y: corner.y + y })
        .to_vec()
}

/// Curves between columns, and level pieces where a line passes one: to where each begins, and how it
/// goes on.
fn pieces(points: &[Point]) -> Vec<(String, String)> {
    let piece = |(place, pair): (usize, &[Point])| {
        let (from, to) = (pair[0], pair[1]);
        let (x, y) = (number(to.x), number(to.y));
        let bend = (to.x - from.x) / 2.0;
        let (one, other) = (number(from.x + bend), number(to.x - bend));
        let way = match place % 2 == 1 || (from.y - to.y).abs() < 0.05 {
            true => format!("L{x} {y}"),
            false => format!("C{one} {} {other} {y} {x} {y}", number(from.y)),
        };
        (format!("M{} {}", number(from.x), number(from.y)), way)
    };
    points.windows(2).enumerate().map(piece).collect()
}

fn draw_node(out: &mut String, node: &Node, corner: Point, size: Size, colour: usize) {
    let (kind, what) = match node.kind {
        Kind::Service => ("service", "service"),
        Kind::External => ("external", "external box"),
        Kind::Volume => ("volume", "volume"),
    };
    let place = format!("translate({} {})", number(corner.x), number(corner.y));
    let name = escaped(&node.name);
    let _ =
        writeln!(out, "<g class=\"box {kind}\" transform=\"{place}\"><title>{what} {name}</title>");
    let (width, height) = (number(size.width), number(size.height));
    let radius = if node.kind == Kind::Volume { number(size.height / 2.0) } else { number(7.0) };
    let _ = writeln!(out, "<rect width=\"{width}\" height=\"{height}\" rx=\"{radius}\"/>");
    if node.kind == Kind::Volume {
        out.push_str(
            "<path class=\"disk\" d=\"M14 10v7c0 3 10 3 10 0v-7M14 10c0 3 10 3 10 0c0 -3 -10 -3 -10 0z\"/>\n",
        );
        let _ = writeln!(out, "<text class=\"name\" x=\"32\" y=\"18\">{name}</text>\n</g>");
        return;
    }
    let left = number(PADDING);
    let right = number(size.width - PADDING);
    let _ = writeln!(out, "<text class=\"name\" x=\"{left}\" y=\"18\">{name}</text>");
    let badge = badge(node);
    if !badge.is_empty() {
        let _ = writeln!(out, "<text class=\"badge\" x=\"{right}\" y=\"18\">{badge}</text>");
    }
    if let Some(image) = &node.image {
        let shown = escaped(&shortened(image));
        let _ = writeln!(out, "<text class=\"image\" x=\"{left}\" y=\"32\">{shown}</text>");
    }
    for (index, endpoint) in node.endpoints.iter().enumerate() {
        let middle = row_middle(node, size.height, index);
        let baseline = number(middle + 3.6);
        let _ =
            writeln!(out, "<circle class=\"port c{colour}\" cy=\"{}\" r=\"3\"/>", number(middle));
        let shown = escaped(&endpoint.shown());
        let _ = writeln!(out, "<text x=\"{left}\" y=\"{baseline}\">{shown}</text>");
        if !endpoint.published.is_empty() {
            let published = escaped(&endpoint.published.join(" "));
            let _ = writeln!(
                out,
                "<text class=\"published\" x=\"{right}\" y=\"{baseline}\">{published}</text>"
            );
        }
    }
    out.push_str("</g>\n");
}

/// What the signs mean.
fn draw_legend(out: &mut String, left: f64, bottom: f64) {
    let _ = writeln!(
        out,
        "<g class=\"legend\" transform=\"translate({} {})\">",
        number(left),
        number(bottom - 8.0)
    );
    let mut x = 0.0;
    for (class, words) in
        [("need", "needs"), ("need derived", "needs, derived"), ("mount", "volume")]
    {
        let _ = writeln!(
            out,
            "<g class=\"line {class} c0\"><path d=\"M{} 0h26\"/></g><text x=\"{}\" y=\"3.5\">{words}</text>",
            number(x),
            number(x + 32.0)
        );
        x += 32.0 + text_width(words, SMALL_SIZE) + 22.0;
    }
    let _ = writeln!(
        out,
        "<text class=\"published\" x=\"{}\" y=\"3.5\" style=\"text-anchor:start\">:8080</text>\
         <text x=\"{}\" y=\"3.5\">published on the host</text>",
        number(x),
        number(x + 40.0)
    );
    out.push_str("</g>\n");
}

/// A length with no more digits than eyes can see.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    let short = text.strip_suffix(".0").unwrap_or(&text);
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

/// Text for a document: what has a meaning there is written otherwise, and what may not be there at all
/// is shown as a replacement.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Colours that can be told apart on white and on black, by people who see colours otherwise, too:
/// shades of Paul Tol's "bright" and "muted" schemes.
const STYLE: &str = "
text{font:10.5px ui-monospace,SFMono-Regular,Menlo,'DejaVu Sans Mono',monospace;fill:#3d444d}
.page{fill:#fff}
.headline{font-size:17px;font-weight:700;fill:#1b1f24}
.name{font-size:13px;font-weight:700;fill:#1b1f24}
.image{fill:#77808c}
.badge{text-anchor:end;fill:#77808c}
.published{text-anchor:end;fill:#0b6bcb;font-weight:700}
.alias{font-size:9px;paint-order:stroke;stroke:#fff;stroke-width:3px}
.box rect{fill:#fff;stroke:#b4bcc6;stroke-width:1.2}
.box:hover rect{stroke:#3d444d}
.external rect{fill:#f6f7f9;stroke-dasharray:5 3}
.volume rect{fill:#fdf6e7;stroke:#d8b25c}
.disk{fill:none;stroke:#a9822a;stroke-width:1.1}
.port{stroke:#fff;stroke-width:1}
.line path{fill:none;stroke:currentColor;stroke-width:1.5}
.line .wide{stroke:transparent;stroke-width:9}
.line .head{fill:currentColor;stroke:none}
.derived path{stroke-dasharray:5 3}
.mount path{stroke-dasharray:1.5 3;stroke-linecap:round}
.line:hover .wide{stroke:currentColor;stroke-width:3}
.c0{color:#4477aa;fill:#4477aa}
.c1{color:#cc6677;fill:#cc6677}
.c2{color:#228833;fill:#228833}
.c3{color:#aa4499;fill:#aa4499}
.c4{color:#b8860b;fill:#b8860b}
.c5{color:#2a9d9d;fill:#2a9d9d}
.c6{color:#d1683b;fill:#d1683b}
.c7{color:#6f63bd;fill:#6f63bd}
@media (prefers-color-scheme:dark){
text{fill:#c4ccd6}
.page{fill:#0f1318}
.headline,.name{fill:#f0f3f6}
.image,.badge{fill:#8d96a1}
.published{fill:#6cb6ff}
.alias{stroke:#0f1318}
.box rect{fill:#171c23;stroke:#4a535e}
.box:hover rect{stroke:#c4ccd6}
.external rect{fill:#12161c}
.volume rect{fill:#221c10;stroke:#8a6d2b}
.disk{stroke:#d8b25c}
.port{stroke:#171c23}
}
";
