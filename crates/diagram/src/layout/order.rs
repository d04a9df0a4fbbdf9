//! In which order the boxes of a column stand.

use std::collections::{BTreeMap, VecDeque};

use super::Graph;

/// How often all columns are gone through.
const SWEEPS_MAX: usize = 64;
/// How often neighbours are exchanged in a sweep.
const ROUNDS_MAX: usize = 24;
/// With more pieces of lines than this, one start has to do.
const LARGE: usize = 3000;
/// After so many sweeps without a better order it ends.
const PATIENCE: usize = 10;

/// A box in its column, or the place where a long line passes a column.
#[derive(Debug, Clone)]
pub(super) struct Vertex {
    /// Index of the box; none where a line passes.
    pub of: Option<usize>,
    /// Its column.
    pub column: usize,
    /// Segments to the column on the left and on the right.
    pub left: Vec<usize>,
    /// The same on the right.
    pub right: Vec<usize>,
}

/// A line, or the piece of one between two neighbouring columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    /// Vertex at the left end.
    pub from: usize,
    /// Vertex at the right end.
    pub to: usize,
    /// Where on the left box a turned line ends, as a share of its height.
    pub from_share: f64,
    /// Where on the right box it ends.
    pub to_share: f64,
}

/// Boxes and passing lines in columns.
pub(super) struct Columns {
    /// All vertices; the boxes are the first.
    pub vertices: Vec<Vertex>,
    /// All segments.
    pub segments: Vec<Segment>,
    /// The segments of each line, from left to right.
    pub chains: Vec<Vec<usize>>,
    /// The vertices of each column, from top to bottom.
    pub columns: Vec<Vec<usize>>,
    /// The place of each vertex in its column.
    rows: Vec<usize>,
}

impl Columns {
    /// Boxes in their columns, long lines cut into pieces.
    pub(super) fn new(
        graph: &Graph,
        forward: &[(usize, usize)],
        turned: &[bool],
        ranks: &[usize],
    ) -> Self {
        let vertex = |of, column| Vertex { of, column, left: Vec::new(), right: Vec::new() };
        let boxes = ranks.iter().enumerate();
        let mut columns = Self {
            vertices: boxes.map(|(index, rank)| vertex(Some(index), *rank)).collect(),
            segments: Vec::new(),
            chains: Vec::new(),
            columns: Vec::new(),
            rows: Vec::new(),
        };
        let mut passing = BTreeMap::new();
        let mut pieces = BTreeMap::new();
        for (index, (line, &(from, to))) in graph.lines.iter().zip(forward).enumerate() {
            let share = line.port / graph.boxes[line.to].height.max(1.0);
            let (mut chain, mut last) = (Vec::new(), from);
            for column in ranks[from] + 1..=ranks[to] {
                // Lines to the same port go the same way as soon as they are in the same column.
                let way = if turned[index] { (index, 0) } else { (to, line.port.to_bits()) };
                let next = if column == ranks[to] {
                    to
                } else {
                    *passing.entry((turned[index], way, column)).or_insert_with(|| {
                        columns.vertices.push(vertex(None, column));
                        columns.vertices.len() - 1
                    })
                };
                let end = |is_end: bool| if is_end { share } else { 0.5 };
                let shared = (from != last).then_some((last, next, way));
                if let Some(known) = shared.and_then(|key| pieces.get(&key)) {
                    chain.push(*known);
                } else {
                    let new = columns.segments.len();
                    pieces.extend(shared.map(|key| (key, new)));
                    chain.push(new);
                    columns.vertices[last].right.push(new);
                    columns.vertices[next].left.push(new);
                    columns.segments.push(Segment {
                        from: last,
                        to: next,
                        from_share: end(turned[index] && last == from),
                        to_share: end(!turned[index] && next == to),
                    });
                }
                last = next;
            }
            columns.chains.push(chain);
        }
        columns
    }

    /// Puts vertices into their columns in the order in which one meets them, from the left or from the
    /// right. Depth first, a tree is without crossings from the beginning; breadth first, what is near
    /// stays together.
    fn fill(&mut self, from_left: bool, deep: bool) {
        let width = self.vertices.iter().map(|vertex| vertex.column + 1).max().unwrap_or(0);
        self.columns = vec![Vec::new(); width];
        self.rows = vec![0; self.vertices.len()];
        let mut seen = vec![false; self.vertices.len()];
        let mut starts: Vec<usize> = (0..self.vertices.len()).collect();
        starts.sort_by_key(|index| {
            let column = self.vertices[*index].column;
            if from_left { column } else { width - column }
        });
        for start in starts {
            let mut waiting = VecDeque::from([start]);
            while let Some(at) = if deep { waiting.pop_back() } else { waiting.pop_front() } {
                if std::mem::replace(&mut seen[at], true) {
                    continue;
                }
                let vertex = &self.vertices[at];
                self.columns[vertex.column].push(at);
                let left = vertex.left.iter().map(|segment| self.segments[*segment].from);
                let right = vertex.right.iter().map(|segment| self.segments[*segment].to);
                let mut next: Vec<usize> = right.chain(left).collect();
                if deep {
                    next.reverse();
                }
                waiting.extend(next);
            }
        }
        (0..width).for_each(|column| self.number(column));
    }

    fn number(&mut self, column: usize) {
        for (row, vertex) in self.columns[column].iter().enumerate() {
            self.rows[*vertex] = row;
        }
    }

    /// Orders columns so that lines cross rarely; returns how often they do.
    pub(super) fn untangle(&mut self) -> usize {
        let mut best = usize::MAX;
        let mut kept = Vec::new();
        let large = self.segments.len() > LARGE;
        let starts: [(bool, bool, Middle); 4] = [
            (true, true, mean),
            (false, false, median),
            (true, true, median),
            (false, false, mean),
        ];
        for (from_left, deep, middle) in starts.into_iter().take(if large { 1 } else { 4 }) {
            if best > 0 {
                self.fill(from_left, deep);
                self.improve(middle, &mut best, &mut kept);
            }
        }
        self.columns = kept;
        (0..self.columns.len()).for_each(|column| self.number(column));
        best
    }

    /// Sweeps over the columns as long as it gets better.
    fn improve(&mut self, middle: Middle, best: &mut usize, kept: &mut Vec<Vec<usize>>) {
        let mut own_best = usize::MAX;
        let mut without = 0;
        let last = self.columns.len() - 1;
        for sweep in 0..SWEEPS_MAX {
            let crossings = self.crossings();
            without += 1;
            if crossings < own_best {
                (own_best, without) = (crossings, 0);
            }
            if crossings < *best {
                *best = crossings;
                kept.clone_from(&self.columns);
            }
            if *best == 0 || without == PATIENCE {
                break;
            }
            let rightwards = sweep % 2 == 0;
            for step in 1..=last {
                let column = if rightwards { step } else { last - step };
                // Now and then those that could stand either way stand the other way.
                if sweep % 4 > 1 {
                    self.columns[column].reverse();
                }
                self.sort(column, rightwards, middle);
            }
            self.transpose();
        }
    }

    /// Orders a column by where the other ends of its lines are.
    fn sort(&mut self, column: usize, by_left: bool, middle: Middle) {
        let mut keyed: Vec<(f64, usize)> = Vec::new();
        for &vertex in &self.columns[column] {
            let mut ends = self.ends(vertex, by_left);
            ends.sort_by(f64::total_cmp);
            keyed.push((middle(&ends).unwrap_or_else(|| row(self.rows[vertex])), vertex));
        }
        keyed.sort_by(|one, other| one.0.total_cmp(&other.0));
        self.columns[column] = keyed.into_iter().map(|(_, vertex)| vertex).collect();
        self.number(column);
    }

    /// Where the other ends of a vertex's lines are: the row, and within it how far down.
    fn ends(&self, vertex: usize, at_left: bool) -> Vec<f64> {
        let vertex = &self.vertices[vertex];
        let segments = if at_left { &vertex.left } else { &vertex.right };
        segments.iter().map(|segment| self.end(*segment, at_left)).collect()
    }

    fn end(&self, segment: usize, at_left: bool) -> f64 {
        let segment = &self.segments[segment];
        let (vertex, share) = match at_left {
            true => (segment.from, segment.from_share),
            false => (segment.to, segment.to_share),
        };
        row(self.rows[vertex]) + share.clamp(0.0, 0.99)
    }

    /// Exchanges neighbours as long as that spares crossings.
    fn transpose(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut improved = false;
            for column in 0..self.columns.len() {
                improved |= self.transpose_column(column);
            }
            if !improved {
                break;
            }
        }
    }

    /// Exchanges neighbours of a column; whether any were is returned.
    fn transpose_column(&mut self, column: usize) -> bool {
        let mut order = std::mem::take(&mut self.columns[column]);
        // The ends lie in other columns, and stay where they are.
        let sorted_ends = |vertex: &usize| {
            [true, false].map(|at_left| {
                let mut ends = self.ends(*vertex, at_left);
                ends.sort_by(f64::total_cmp);
                ends
            })
        };
        let mut ends: Vec<[Vec<f64>; 2]> = order.iter().map(sorted_ends).collect();
        let mut improved = false;
        for _ in 0..ROUNDS_MAX {
            let mut exchanged = false;
            for row in 1..order.len() {
                let (above, below) = (&ends[row - 1], &ends[row]);
                let sides = [0, 1].map(|side| {
                    let (above, below) = (&above[side], &below[side]);
                    (inversions(above, below), inversions(below, above))
                });
                if sides[0].1 + sides[1].1 < sides[0].0 + sides[1].0 {
                    order.swap(row - 1, row);
                    ends.swap(row - 1, row);
                    exchanged = true;
                }
            }
            improved |= exchanged;
            if !exchanged {
                break;
            }
        }
        self.columns[column] = order;
        self.number(column);
        improved
    }

    /// How often lines cross between all columns.
    fn crossings(&self) -> usize {
        let mut count = 0;
        for column in &self.columns {
            let mut ends = Vec::new();
            for segment in column.iter().flat_map(|vertex| &self.vertices[*vertex].right) {
                ends.push((self.end(*segment, true), self.end(*segment, false)));
            }
            ends.sort_by(|one, other| {
                one.0.total_cmp(&other.0).then_with(|| one.1.total_cmp(&other.1))
            });
            let mut ends: Vec<f64> = ends.into_iter().map(|(_, end)| end).collect();
            count += sorted_inversions(&mut ends);
        }
        count
    }
}

fn row(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Where several ends are, as one place; none of none.
type Middle = fn(&[f64]) -> Option<f64>;

fn mean(ends: &[f64]) -> Option<f64> {
    (!ends.is_empty()).then(|| ends.iter().sum::<f64>() / row(ends.len()))
}

/// The weighted median of Gansner and others, of what is sorted: the one in the middle, or between the
/// two that are, nearer to where the ends are dense.
fn median(ends: &[f64]) -> Option<f64> {
    let middle = ends.len() / 2;
    Some(match ends {
        [] => return None,
        [one, other] => (one + other) / 2.0,
        _ if ends.len() % 2 == 1 => ends[middle],
        [first, .., last] => {
            let (left, right) = (ends[middle - 1] - first, last - ends[middle]);
            match left + right > 0.0 {
                true => (ends[middle - 1] * right + ends[middle] * left) / (left + right),
                false => ends[middle],
            }
        }
        [only] => *only,
    })
}

/// How many pairs of `above` and `below`, which are sorted, are in the wrong order.
fn inversions(above: &[f64], below: &[f64]) -> usize {
    let behind = |end: &f64| above.len() - above.partition_point(|one| one <= end);
    let before = |end: &f64| below.partition_point(|one| one < end);
    match above.len() < below.len() {
        true => above.iter().map(before).sum(),
        false => below.iter().map(behind).sum(),
    }
}

/// How many pairs are in the wrong order, by merging; `list` is sorted afterwards.
fn sorted_inversions(list: &mut [f64]) -> usize {
    if list.len() < 2 {
        return 0;
    }
    let middle = list.len() / 2;
    let (above, below) = list.split_at_mut(middle);
    let mut count = sorted_inversions(above) + sorted_inversions(below);
    let (mut merged, mut next) = (Vec::with_capacity(list.len()), 0);
    let (above, below) = list.split_at(middle);
    for end in below {
        while next < above.len() && above[next] <= *end {
            merged.push(above[next]);
            next += 1;
        }
        count += above.len() - next;
        merged.push(*end);
    }
    merged.extend_from_slice(&above[next..]);
    list.copy_from_slice(&merged);
    count
}
