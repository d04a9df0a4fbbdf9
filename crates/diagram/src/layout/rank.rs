//! In which column each box stands.

use std::collections::VecDeque;

/// Which lines lead back to where one came from: without them, or with them turned, there is no circle.
pub(super) fn back_lines(boxes: usize, ends: &[(usize, usize)]) -> Vec<bool> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut outgoing = vec![Vec::new(); boxes];
    let mut incoming = vec![0_usize; boxes];
    for (line, &(from, to)) in ends.iter().enumerate() {
        outgoing[from].push(line);
        incoming[to] += 1;
    }
    let mut starts: Vec<usize> = (0..boxes).collect();
    starts.sort_by_key(|start| incoming[*start] > 0);
    let mut turned = vec![false; ends.len()];
    let mut state = vec![State::New; boxes];
    for start in starts {
        if state[start] != State::New {
            continue;
        }
        state[start] = State::Open;
        let mut stack = vec![(start, 0)];
        while let Some((at, next)) = stack.last_mut() {
            let Some(&line) = outgoing[*at].get(*next) else {
                state[*at] = State::Done;
                stack.pop();
                continue;
            };
            *next += 1;
            let to = ends[line].1;
            match state[to] {
                State::New => {
                    state[to] = State::Open;
                    stack.push((to, 0));
                }
                State::Open => turned[line] = true,
                State::Done => {}
            }
        }
    }
    turned
}

/// Columns in which each line leads to the right, and all lines together are as short as they can be.
///
/// The shortest assignment is the dual of a flow of greatest cost, which is found by leading what is
/// missing along longest paths; at its end the longest distances are the columns.
pub(super) fn ranks(boxes: usize, forward: &[(usize, usize)]) -> Vec<usize> {
    let mut flow = Flow::new(boxes, forward);
    if forward.len() <= LINES_MAX {
        flow.fill();
    }
    let (distances, _) = flow.longest(&vec![true; boxes]);
    let least = distances.iter().copied().min().unwrap_or(0);
    distances.iter().map(|distance| usize::try_from(distance - least).unwrap_or(0)).collect()
}

/// How many lines are made as short as they can be; with more, boxes stand as far left as they can.
const LINES_MAX: usize = 6000;

/// A flow along lines, each of which has room for any.
struct Flow<'a> {
    lines: &'a [(usize, usize)],
    amounts: Vec<i64>,
    /// How much more than it passes on is still to arrive at each box.
    missing: Vec<i64>,
    outgoing: Vec<Vec<usize>>,
    incoming: Vec<Vec<usize>>,
}

/// How one came to a box: over which line, and whether in its direction.
type Step = Option<(usize, bool)>;

impl<'a> Flow<'a> {
    fn new(boxes: usize, lines: &'a [(usize, usize)]) -> Self {
        let mut flow = Self {
            lines,
            amounts: vec![0; lines.len()],
            missing: vec![0; boxes],
            outgoing: vec![Vec::new(); boxes],
            incoming: vec![Vec::new(); boxes],
        };
        for (line, &(from, to)) in lines.iter().enumerate() {
            flow.missing[from] -= 1;
            flow.missing[to] += 1;
            flow.outgoing[from].push(line);
            flow.incoming[to].push(line);
        }
        flow
    }

    /// Longest ways from the starts: along lines one to the right, and one back where something flows.
    fn longest(&self, starts: &[bool]) -> (Vec<i64>, Vec<Step>) {
        let unreached = i64::MIN;
        let mut distances: Vec<i64> =
            starts.iter().map(|is_start| if *is_start { 0 } else { unreached }).collect();
        let mut steps: Vec<Step> = vec![None; starts.len()];
        let mut queued = starts.to_vec();
        let mut queue: VecDeque<usize> = (0..starts.len()).filter(|at| starts[*at]).collect();
        while let Some(at) = queue.pop_front() {
            queued[at] = false;
            let there = self.outgoing[at].iter().map(|line| (*line, true));
            let back = self.incoming[at].iter().filter(|line| self.amounts[**line] > 0);
            for (line, is_forward) in there.chain(back.map(|line| (*line, false))) {
                let (from, to) = self.lines[line];
                let (next, distance) =
                    if is_forward { (to, distances[at] + 1) } else { (from, distances[at] - 1) };
                if distance > distances[next] {
                    distances[next] = distance;
                    steps[next] = Some((line, is_forward));
                    if !std::mem::replace(&mut queued[next], true) {
                        queue.push_back(next);
                    }
                }
            }
        }
        (distances, steps)
    }

    /// Leads from where too much is to where something is missing, the longest way first.
    fn fill(&mut self) {
        loop {
            let starts: Vec<bool> = self.missing.iter().map(|missing| *missing < 0).collect();
            let (distances, steps) = self.longest(&starts);
            let wanting = (0..self.missing.len()).filter(|at| self.missing[*at] > 0);
            let reached = wanting.filter(|at| distances[*at] > i64::MIN);
            let Some(end) = reached.max_by_key(|at| distances[*at]) else {
                break;
            };
            let (mut way, mut at) = (Vec::new(), end);
            while let Some((line, is_forward)) = steps[at] {
                way.push((line, is_forward));
                at = if is_forward { self.lines[line].0 } else { self.lines[line].1 };
            }
            let back = way.iter().filter(|(_, is_forward)| !is_forward);
            let room = back.map(|(line, _)| self.amounts[*line]).min().unwrap_or(i64::MAX);
            let amount = room.min(self.missing[end]).min(-self.missing[at]);
            for (line, is_forward) in way {
                self.amounts[line] += if is_forward { amount } else { -amount };
            }
            self.missing[end] -= amount;
            self.missing[at] += amount;
        }
    }
}
