//! The graph of services: in which order they start, and who is at the other end of whose lines.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use brickyard_core::ServiceName;

use crate::types::System;

/// Services in levels: those of one level may start at the same time, after all earlier levels.
///
/// `depends_on` always counts. A need counts unless both ends are in one cycle, as lines may be
/// circular and starts may not.
#[must_use]
pub fn start_order(system: &System) -> Vec<Vec<ServiceName>> {
    let hard = hard_edges(system);
    let mut all = hard.clone();
    for (name, service) in &system.services {
        let targets = service.needs.values().map(|line| &line.to.service);
        let inside = targets.filter(|target| system.services.contains_key(*target));
        all.entry(name).or_default().extend(inside);
    }
    let component = components(&all);
    let mut waiting: Edges<'_> = hard;
    for (name, targets) in &all {
        let outside = targets.iter().filter(|target| component[*target] != component[name]);
        waiting.entry(name).or_default().extend(outside);
    }
    levels(waiting)
}

/// Services with a line to `target`, or that depend on it.
#[must_use]
pub fn dependents_of(system: &System, target: &ServiceName) -> BTreeSet<ServiceName> {
    let leads_there = |name: &&ServiceName| {
        let service = &system.services[*name];
        service.depends_on.contains_key(target)
            || service.needs.values().any(|line| line.to.service == *target)
    };
    system.services.keys().filter(leads_there).cloned().collect()
}

/// One circle of `depends_on` for every group of services that wait for each other, each as the
/// services in waiting order: the first waits for the second, and the last for the first.
#[must_use]
pub fn start_cycles(system: &System) -> Vec<Vec<ServiceName>> {
    let edges = hard_edges(system);
    let mut cycles = Vec::new();
    // Mostly nobody waits for himself, and that is soon seen.
    if is_acyclic(&edges) {
        return cycles;
    }
    let component = components(&edges);
    let mut seen = BTreeSet::new();
    for name in edges.keys() {
        if !seen.insert(component[name]) {
            continue;
        }
        let inside = |other: &ServiceName| component[other] == component[name];
        if let Some(cycle) = shortest_circle(&edges, name, inside) {
            cycles.push(cycle.into_iter().cloned().collect());
        }
    }
    cycles
}

type Edges<'a> = BTreeMap<&'a ServiceName, BTreeSet<&'a ServiceName>>;

fn hard_edges(system: &System) -> Edges<'_> {
    let edges = system.services.iter().map(|(name, service)| {
        let targets = service.depends_on.keys();
        let defined = targets.filter(|other| system.services.contains_key(*other));
        (name, defined.collect())
    });
    edges.collect()
}

/// Whether all can be put one after the other.
fn is_acyclic(edges: &Edges<'_>) -> bool {
    let number: HashMap<&ServiceName, usize> =
        edges.keys().enumerate().map(|(number, name)| (*name, number)).collect();
    let targets: Vec<Vec<usize>> =
        edges.values().map(|targets| targets.iter().map(|name| number[name]).collect()).collect();
    let mut waited_for = vec![0_usize; targets.len()];
    targets.iter().flatten().for_each(|target| waited_for[*target] += 1);
    let mut free: Vec<usize> = (0..targets.len()).filter(|at| waited_for[*at] == 0).collect();
    let mut count = 0;
    while let Some(at) = free.pop() {
        count += 1;
        for &target in &targets[at] {
            waited_for[target] -= 1;
            if waited_for[target] == 0 {
                free.push(target);
            }
        }
    }
    count == targets.len()
}

/// Breadth first from `start` back to `start`.
fn shortest_circle<'a>(
    edges: &Edges<'a>,
    start: &'a ServiceName,
    inside: impl Fn(&ServiceName) -> bool,
) -> Option<Vec<&'a ServiceName>> {
    let mut paths = std::collections::VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = paths.pop_front() {
        let last = path[path.len() - 1];
        for next in edges[last].iter().copied().filter(|next| inside(next)) {
            if next == start {
                return Some(path);
            }
            if seen.insert(next) {
                let mut longer = path.clone();
                longer.push(next);
                paths.push_back(longer);
            }
        }
    }
    None
}

/// Strongly connected components: two services have the same number when each reaches the other.
///
/// Kosaraju's algorithm with stacks of its own, as a chain of thousands of services must not
/// overflow the thread's.
fn components<'a>(edges: &Edges<'a>) -> BTreeMap<&'a ServiceName, usize> {
    let mut reversed: Edges<'a> = edges.keys().map(|name| (*name, BTreeSet::new())).collect();
    for (name, targets) in edges {
        for target in targets {
            reversed.entry(target).or_default().insert(name);
        }
    }
    let mut finished = Vec::new();
    let mut seen = BTreeSet::new();
    for name in edges.keys() {
        walk(edges, name, &mut seen, &mut finished);
    }
    let mut component = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (number, name) in finished.into_iter().rev().enumerate() {
        let mut members = Vec::new();
        walk(&reversed, name, &mut seen, &mut members);
        component.extend(members.into_iter().map(|member| (member, number)));
    }
    component
}

/// Depth first; appends what it reaches in the order in which it is done with it.
fn walk<'a>(
    edges: &Edges<'a>,
    start: &'a ServiceName,
    seen: &mut BTreeSet<&'a ServiceName>,
    finished: &mut Vec<&'a ServiceName>,
) {
    if !seen.insert(start) {
        return;
    }
    let mut stack = vec![(start, edges[start].iter())];
    while let Some((name, rest)) = stack.last_mut() {
        match rest.next() {
            Some(next) if seen.insert(next) => stack.push((next, edges[*next].iter())),
            Some(_) => {}
            None => {
                finished.push(name);
                stack.pop();
            }
        }
    }
}

/// Peels off what waits for nothing, again and again. What waits in a circle comes last, in one
/// level, so that every service is in the result.
fn levels(mut waiting: Edges<'_>) -> Vec<Vec<ServiceName>> {
    let mut levels = Vec::new();
    while !waiting.is_empty() {
        let free = waiting.iter().filter(|(_, targets)| targets.is_empty());
        let mut ready: Vec<&ServiceName> = free.map(|(name, _)| *name).collect();
        if ready.is_empty() {
            ready = waiting.keys().copied().collect();
        }
        for name in &ready {
            waiting.remove(*name);
        }
        for targets in waiting.values_mut() {
            ready.iter().for_each(|name| {
                targets.remove(*name);
            });
        }
        levels.push(ready.into_iter().cloned().collect());
    }
    levels
}
