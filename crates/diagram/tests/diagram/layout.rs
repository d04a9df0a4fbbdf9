//! What holds for every layout, and what is known of some.

use brickyard_diagram::layout::{Graph, Layout, Line, Size, layout};
use proptest::prelude::*;

const HEIGHT: f64 = 50.0;

fn graph(boxes: usize, ends: &[(usize, usize)]) -> Graph {
    let line = |&(from, to): &(usize, usize)| Line { from, to, port: HEIGHT / 2.0 };
    Graph {
        boxes: vec![Size { width: 100.0, height: HEIGHT }; boxes],
        lines: ends.iter().map(line).collect(),
    }
}

/// The columns of boxes, from the left.
fn columns(layout: &Layout) -> Vec<usize> {
    let mut lefts: Vec<f64> = layout.boxes.iter().map(|(corner, _)| corner.x).collect();
    lefts.sort_by(f64::total_cmp);
    lefts.dedup();
    let place = |x: f64| lefts.iter().position(|left| *left == x).expect("it is one of them");
    layout.boxes.iter().map(|(corner, _)| place(corner.x)).collect()
}

#[test]
fn what_leads_to_another_stands_left_of_it() {
    let layout = layout(&graph(4, &[(0, 1), (1, 2), (0, 3), (3, 2)]));
    assert_eq!(columns(&layout), [0, 1, 2, 1]);
    assert_eq!(layout.crossings, 0);
}

#[test]
fn a_chain_is_a_straight_line() {
    let layout = layout(&graph(4, &[(0, 1), (1, 2), (2, 3), (0, 3)]));
    let tops: Vec<f64> = layout.boxes.iter().map(|(corner, _)| corner.y).collect();
    assert!((tops[1] - tops[2]).abs() < 0.5, "{tops:?}");
}

#[test]
fn a_circle_has_one_line_that_leads_back() {
    let layout = layout(&graph(3, &[(0, 1), (1, 2), (2, 0)]));
    let leads_back = |route: &Vec<brickyard_diagram::layout::Point>| route[0].x > route[1].x;
    assert_eq!(layout.routes.iter().filter(|route| leads_back(route)).count(), 1);
}

#[test]
fn a_line_from_a_box_to_itself_has_no_route() {
    let layout = layout(&graph(2, &[(0, 0), (0, 1)]));
    assert!(layout.routes[0].is_empty());
    assert_eq!(layout.routes[1].len(), 2);
}

#[test]
fn nothing_is_laid_out_as_nothing() {
    assert_eq!(layout(&graph(0, &[])).size, (0.0, 0.0));
}

#[test]
fn boxes_without_lines_stand_side_by_side() {
    let layout = layout(&graph(12, &[]));
    let rows: std::collections::BTreeSet<i64> =
        layout.boxes.iter().map(|(corner, _)| corner.y as i64).collect();
    assert!((2..=5).contains(&rows.len()), "{rows:?}");
}

/// Everything to everything: the number of crossings is known, whatever the order.
#[test]
fn crossings_are_counted() {
    for (left, right) in [(2, 2), (3, 4), (5, 7), (12, 9)] {
        // Different ports, so that no two lines are one.
        let mut wanted = graph(left + right, &[]);
        for from in 0..left {
            for to in 0..right {
                wanted.lines.push(Line { from, to: left + to, port: HEIGHT / 2.0 });
            }
        }
        let pairs = |count: usize| count * (count - 1) / 2;
        assert_eq!(layout(&wanted).crossings, pairs(left) * pairs(right), "{left} and {right}");
    }
}

/// A hub far on the right: its lines run together, and none of the boxes between is hit.
#[test]
fn lines_to_one_port_run_together() {
    let mut ends = vec![(0, 1), (1, 2), (2, 3)];
    ends.extend((4..20).map(|from| (from, 0)));
    ends.extend((4..20).map(|from| (from, 3)));
    let layout = layout(&graph(20, &ends));
    let last: std::collections::BTreeSet<String> = layout.routes[19..]
        .iter()
        .map(|route| format!("{:?}", &route[route.len() - 2..]))
        .collect();
    assert_eq!(last.len(), 1, "{last:?}");
}

/// Trees lead from left to right without any crossing.
fn trees() -> impl Strategy<Value = (usize, Vec<(usize, usize)>)> {
    proptest::collection::vec(any::<prop::sample::Index>(), 1..40).prop_map(|parents| {
        let ends =
            parents.iter().enumerate().map(|(place, parent)| (parent.index(place + 1), place + 1));
        (parents.len() + 1, ends.collect())
    })
}

fn any_graph(
    boxes_max: usize,
    lines_max: usize,
) -> impl Strategy<Value = (usize, Vec<(usize, usize)>)> {
    (1..boxes_max).prop_flat_map(move |boxes| {
        let ends = proptest::collection::vec((0..boxes, 0..boxes), 0..lines_max);
        (Just(boxes), ends)
    })
}

/// The least sum of all lengths, in columns, by trying everything.
fn shortest(boxes: usize, ends: &[(usize, usize)]) -> Option<usize> {
    let mut best = None;
    for code in 0..boxes.pow(u32::try_from(boxes).expect("there are few")) {
        let column = |index: usize| code / boxes.pow(u32::try_from(index).expect("few")) % boxes;
        if ends.iter().all(|(from, to)| column(*from) < column(*to)) {
            let length = ends.iter().map(|(from, to)| column(*to) - column(*from)).sum();
            best = Some(best.map_or(length, |best: usize| best.min(length)));
        }
    }
    best
}

proptest! {
    #[test]
    fn trees_have_no_crossings((boxes, ends) in trees()) {
        prop_assert_eq!(layout(&graph(boxes, &ends)).crossings, 0);
    }

    #[test]
    fn lines_are_as_short_as_they_can_be((boxes, ends) in any_graph(6, 8)) {
        let ends: Vec<(usize, usize)> = ends.into_iter().filter(|(from, to)| from < to).collect();
        // All in one part, so that columns can be told from places.
        let mut ends = ends;
        ends.extend((1..boxes).map(|to| (0, to)));
        let columns = columns(&layout(&graph(boxes, &ends)));
        let length: usize = ends.iter().map(|(from, to)| columns[*to] - columns[*from]).sum();
        prop_assert_eq!(Some(length), shortest(boxes, &ends));
    }

    #[test]
    fn nothing_covers_anything((boxes, ends) in any_graph(24, 50)) {
        let layout = layout(&graph(boxes, &ends));
        let near = 0.01;
        for (index, (one, width)) in layout.boxes.iter().enumerate() {
            prop_assert!(one.x >= -near && one.x + width <= layout.size.0 + near);
            prop_assert!(one.y >= -near && one.y + HEIGHT <= layout.size.1 + near);
            for (other, other_width) in &layout.boxes[index + 1..] {
                let beside = one.x + width <= other.x || other.x + other_width <= one.x;
                let above = one.y + HEIGHT <= other.y + near || other.y + HEIGHT <= one.y + near;
                prop_assert!(beside || above, "{one:?} and {other:?}");
            }
        }
        for (&(from, to), route) in ends.iter().zip(&layout.routes) {
            if from == to {
                continue;
            }
            let (first, last) = (route[0], route[route.len() - 1]);
            let (start, end) = (layout.boxes[from], layout.boxes[to]);
            let leads_back = first.x > last.x;
            let (leaves, arrives) = match leads_back {
                false => (start.0.x + start.1, end.0.x),
                true => (start.0.x, end.0.x + end.1),
            };
            prop_assert!((first.x - leaves).abs() < near && (last.x - arrives).abs() < near);
            prop_assert!(first.y > start.0.y && first.y < start.0.y + HEIGHT);
            prop_assert!((last.y - end.0.y - HEIGHT / 2.0).abs() < near);
            // Where a line passes a column, it is level and hits no box.
            for pair in route[1..route.len() - 1].chunks(2) {
                prop_assert!((pair[0].y - pair[1].y).abs() < near);
                for (corner, width) in &layout.boxes {
                    let (left, right) = (pair[0].x.min(pair[1].x), pair[0].x.max(pair[1].x));
                    let hits = corner.x < right && corner.x + width > left
                        && pair[0].y > corner.y && pair[0].y < corner.y + HEIGHT;
                    prop_assert!(!hits, "{pair:?} hits {corner:?}");
                }
            }
        }
    }
}
