//! What changes in a file, as `diff -u` shows it.

/// Lines around a change that are shown.
const CONTEXT: usize = 3;
/// Up to so many lines the shortest difference is looked for; longer files are shown as replaced
/// from the first line that differs to the last.
const LINES_MAX: usize = 2000;

/// One line of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Same(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// The difference of two texts; nothing when there is none.
pub(crate) fn unified(name: &str, before: &[u8], after: &[u8]) -> String {
    let (before, after) = (String::from_utf8_lossy(before), String::from_utf8_lossy(after));
    let (old, new): (Vec<&str>, Vec<&str>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    let lines = compare(&old, &new);
    if lines.iter().all(|line| matches!(line, Line::Same(_))) {
        return String::new();
    }
    let mut text = format!("--- {name}\n+++ {name}\n");
    let is_near = |at: usize| {
        let around = at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(lines.len());
        lines[around].iter().any(|line| !matches!(line, Line::Same(_)))
    };
    let (mut old_at, mut new_at, mut at) = (1, 1, 0);
    while at < lines.len() {
        if !is_near(at) {
            (old_at, new_at, at) = (old_at + 1, new_at + 1, at + 1);
            continue;
        }
        let length = (at..lines.len()).take_while(|at| is_near(*at)).count();
        let hunk = &lines[at..at + length];
        let olds = hunk.iter().filter(|line| !matches!(line, Line::New(_))).count();
        let news = hunk.iter().filter(|line| !matches!(line, Line::Gone(_))).count();
        text.push_str(&format!(
            "@@ -{},{olds} +{},{news} @@\n",
            first(old_at, olds),
            first(new_at, news)
        ));
        for line in hunk {
            let (mark, content) = match line {
                Line::Same(content) => (' ', content),
                Line::Gone(content) => ('-', content),
                Line::New(content) => ('+', content),
            };
            text.push(mark);
            text.push_str(content);
            if !content.ends_with('\n') {
                text.push_str("\n\\ No newline at end of file\n");
            }
        }
        (old_at, new_at, at) = (old_at + olds, new_at + news, at + length);
    }
    text
}

/// Where a hunk begins; one without lines is after the line before.
fn first(at: usize, count: usize) -> usize {
    if count == 0 { at - 1 } else { at }
}

fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_middle, new_middle) =
        (&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]);
    let mut lines: Vec<Line<'a>> = old[..head].iter().map(|line| Line::Same(line)).collect();
    if old_middle.len().max(new_middle.len()) > LINES_MAX {
        lines.extend(old_middle.iter().map(|line| Line::Gone(line)));
        lines.extend(new_middle.iter().map(|line| Line::New(line)));
    } else {
        longest_common(old_middle, new_middle, &mut lines);
    }
    lines.extend(old[old.len() - tail..].iter().map(|line| Line::Same(line)));
    lines
}

/// The difference by the longest common sequence of lines.
fn longest_common<'a>(old: &[&'a str], new: &[&'a str], lines: &mut Vec<Line<'a>>) {
    let width = new.len() + 1;
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    for at in (0..old.len()).rev() {
        for other in (0..new.len()).rev() {
            lengths[at * width + other] = match old[at] == new[other] {
                true => lengths[(at + 1) * width + other + 1] + 1,
                false => lengths[(at + 1) * width + other].max(lengths[at * width + other + 1]),
            };
        }
    }
    let (mut at, mut other) = (0, 0);
    while at < old.len() || other < new.len() {
        if at < old.len() && other < new.len() && old[at] == new[other] {
            lines.push(Line::Same(old[at]));
            (at, other) = (at + 1, other + 1);
        } else if other == new.len()
            || (at < old.len()
                && lengths[(at + 1) * width + other] >= lengths[at * width + other + 1])
        {
            lines.push(Line::Gone(old[at]));
            at += 1;
        } else {
            lines.push(Line::New(new[other]));
            other += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_look_like_diffs() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let new = "1\n2\n3\n4\nfive\n6\n7\n8\n9";
        let expected = "--- f\n+++ f\n@@ -2,8 +2,8 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n-9\n+9\n\\ No newline at end of file\n";
        assert_eq!(unified("f", old.as_bytes(), new.as_bytes()), expected);
        assert_eq!(unified("f", old.as_bytes(), old.as_bytes()), "");
        assert_eq!(unified("f", b"", b"a\n"), "--- f\n+++ f\n@@ -0,0 +1,1 @@\n+a\n");
    }
}
