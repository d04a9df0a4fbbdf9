//! Where the boxes of ordered columns stand, and how the lines go.

use super::order::{Columns, Segment};
use super::{Graph, Layout, Point};

/// Space between two boxes of a column.
const BOX_GAP: f64 = 18.0;
/// Space between a passing line and a box.
const LINE_GAP: f64 = 12.0;
/// Space between two passing lines.
const LINES_GAP: f64 = 9.0;
/// Space between two columns, for a few lines.
const COLUMN_GAP: f64 = 64.0;
/// More space for each line between two columns, up to a limit.
const COLUMN_GAP_LINE: f64 = 2.0;
const COLUMN_GAP_MAX: f64 = 190.0;
/// How often boxes are moved to where their lines are straight.
const SWEEPS: usize = 24;

/// Places for everything.
pub(super) fn places(graph: &Graph, columns: &Columns, turned: &[bool]) -> Layout {
    let heights = heights(graph, columns);
    let tops = tops(columns, &heights);
    let lefts = lefts(graph, columns);
    let width = lefts.last().map_or(0.0, |(left, width)| left + width);
    let bottoms = tops.iter().zip(&heights).map(|(top, height)| top + height);
    let height = bottoms.fold(0.0, f64::max);
    let mut boxes = vec![(Point::default(), 0.0); graph.boxes.len()];
    for (index, vertex) in columns.vertices.iter().enumerate() {
        if let Some(of) = vertex.of {
            let (x, width) = lefts[vertex.column];
            boxes[of] = (Point { x, y: tops[index] }, width);
        }
    }
    let starts = starts(columns, turned, &tops, &heights);
    let routes = columns.chains.iter().enumerate().map(|(line, chain)| {
        let mut points = Vec::with_capacity(chain.len() * 2);
        for (piece, segment) in chain.iter().enumerate() {
            let Segment { from, to, from_share, to_share } = columns.segments[*segment];
            let (left, width) = lefts[columns.vertices[from].column];
            let begins = piece == 0 && !turned[line];
            let ends = piece + 1 == chain.len() && turned[line];
            let y = |vertex: usize, share: f64| tops[vertex] + heights[vertex] * share;
            let from_y = if begins { starts[line] } else { y(from, from_share) };
            let to_y = if ends { starts[line] } else { y(to, to_share) };
            points.push(Point { x: left + width, y: from_y });
            points.push(Point { x: lefts[columns.vertices[to].column].0, y: to_y });
        }
        if turned[line] {
            points.reverse();
        }
        points
    });
    Layout { size: (width, height), boxes, routes: routes.collect(), crossings: 0 }
}

fn heights(graph: &Graph, columns: &Columns) -> Vec<f64> {
    let heights = columns.vertices.iter().map(|vertex| match vertex.of {
        Some(of) => graph.boxes[of].height,
        None => 0.0,
    });
    heights.collect()
}

/// Left edge and width of each column.
fn lefts(graph: &Graph, columns: &Columns) -> Vec<(f64, f64)> {
    let mut left = 0.0;
    let mut lefts = Vec::with_capacity(columns.columns.len());
    for column in &columns.columns {
        let boxes = column.iter().filter_map(|vertex| columns.vertices[*vertex].of);
        let width = boxes.map(|of| graph.boxes[of].width).fold(0.0, f64::max);
        let lines: usize = column.iter().map(|vertex| columns.vertices[*vertex].right.len()).sum();
        let lines = f64::from(u32::try_from(lines).unwrap_or(u32::MAX));
        lefts.push((left, width));
        left += width + (COLUMN_GAP + COLUMN_GAP_LINE * lines).min(COLUMN_GAP_MAX);
    }
    lefts
}

/// Where each line leaves its box: spread over its side in the order of the other ends.
fn starts(columns: &Columns, turned: &[bool], tops: &[f64], heights: &[f64]) -> Vec<f64> {
    let mut leaving: Vec<Vec<(f64, usize)>> = vec![Vec::new(); columns.vertices.len() * 2];
    for (line, chain) in columns.chains.iter().enumerate() {
        let (Some(first), Some(last)) = (chain.first(), chain.last()) else {
            continue;
        };
        // A turned line leaves at the left side.
        let (at, other, share) = match turned[line] {
            false => {
                let segment = &columns.segments[*first];
                (segment.from * 2, segment.to, segment.to_share)
            }
            true => {
                let segment = &columns.segments[*last];
                (segment.to * 2 + 1, segment.from, segment.from_share)
            }
        };
        leaving[at].push((tops[other] + heights[other] * share, line));
    }
    let mut starts = vec![0.0; columns.chains.len()];
    for (at, mut lines) in leaving.into_iter().enumerate() {
        lines.sort_by(|one, other| one.0.total_cmp(&other.0));
        let parts = f64::from(u32::try_from(lines.len() + 1).unwrap_or(u32::MAX));
        let mut share = 0.0;
        for (_, line) in lines {
            share += 1.0 / parts;
            starts[line] = tops[at / 2] + heights[at / 2] * share;
        }
    }
    starts
}

/// Upper edges. Each sweep moves the boxes of a column as near as the order allows to where their lines
/// would be straight.
fn tops(columns: &Columns, heights: &[f64]) -> Vec<f64> {
    let mut tops = vec![0.0; columns.vertices.len()];
    for column in &columns.columns {
        let offsets = offsets(columns, column, heights);
        column.iter().zip(offsets).for_each(|(vertex, offset)| tops[*vertex] = offset);
    }
    for sweep in 0..SWEEPS {
        let at_end = sweep + 4 >= SWEEPS;
        let count = columns.columns.len();
        for step in 0..count {
            let rightwards = sweep % 2 == 0;
            let column = &columns.columns[if rightwards { step } else { count - 1 - step }];
            let sides = (rightwards || at_end, !rightwards || at_end);
            let wished: Vec<(f64, f64)> =
                column.iter().map(|v| wish(columns, *v, sides, &tops, heights)).collect();
            let offsets = offsets(columns, column, heights);
            let placed = nearest(&wished, &offsets);
            column.iter().zip(placed).for_each(|(vertex, top)| tops[*vertex] = top);
        }
    }
    let least = tops.iter().copied().fold(f64::INFINITY, f64::min);
    tops.iter_mut().for_each(|top| *top -= least);
    tops
}

/// Upper edges of a column without any space to spare.
fn offsets(columns: &Columns, column: &[usize], heights: &[f64]) -> Vec<f64> {
    let mut offsets = Vec::with_capacity(column.len());
    let (mut offset, mut last): (f64, Option<usize>) = (0.0, None);
    for &vertex in column {
        if let Some(last) = last {
            let is_box = |vertex: usize| columns.vertices[vertex].of.is_some();
            let gap = match (is_box(last), is_box(vertex)) {
                (true, true) => BOX_GAP,
                (false, false) => LINES_GAP,
                _ => LINE_GAP,
            };
            offset += heights[last] + gap;
        }
        offsets.push(offset);
        last = Some(vertex);
    }
    offsets
}

/// Where a vertex would like its upper edge to be, and how much.
fn wish(
    columns: &Columns,
    vertex: usize,
    (by_left, by_right): (bool, bool),
    tops: &[f64],
    heights: &[f64],
) -> (f64, f64) {
    let (mut sum, mut weights) = (tops[vertex] * 0.01, 0.01);
    let mut add = |other: usize, other_share: f64, share: f64| {
        let passing = [vertex, other].iter().filter(|v| columns.vertices[**v].of.is_none()).count();
        // Long lines are to be straight first of all.
        let weight = [1.0, 2.0, 8.0][passing];
        let end = tops[other] + heights[other] * other_share;
        sum += weight * (end - heights[vertex] * share);
        weights += weight;
    };
    let at = &columns.vertices[vertex];
    for segment in at.left.iter().filter(|_| by_left).map(|segment| &columns.segments[*segment]) {
        add(segment.from, segment.from_share, segment.to_share);
    }
    for segment in at.right.iter().filter(|_| by_right).map(|segment| &columns.segments[*segment]) {
        add(segment.to, segment.to_share, segment.from_share);
    }
    (sum / weights, weights)
}

/// The places nearest to the wished ones, by the sum of weighted squares, that keep the order and the
/// distances. With the offsets taken off it is isotonic regression, solved by pooling neighbours that
/// are in the wrong order.
fn nearest(wished: &[(f64, f64)], offsets: &[f64]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for ((wish, weight), offset) in wished.iter().zip(offsets) {
        let mut pool = (wish - offset, *weight, 1);
        while let Some(last) = pools.pop_if(|last| last.0 > pool.0) {
            let weight = last.1 + pool.1;
            pool = ((last.0 * last.1 + pool.0 * pool.1) / weight, weight, last.2 + pool.2);
        }
        pools.push(pool);
    }
    let flat = pools.iter().flat_map(|(place, _, count)| std::iter::repeat_n(*place, *count));
    flat.zip(offsets).map(|(place, offset)| place + offset).collect()
}
