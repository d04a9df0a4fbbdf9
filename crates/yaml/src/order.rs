//! The order of a map's keys in what is written: numbers in texts by their size, letters last.

use std::cmp::Ordering;

/// Entries in the order of their keys.
pub(crate) fn sorted<V>(entries: &[(String, V)]) -> Vec<&(String, V)> {
    let mut keyed: Vec<(Vec<char>, &(String, V))> =
        entries.iter().map(|entry| (entry.0.chars().collect(), entry)).collect();
    merge_sort(&mut keyed);
    keyed.into_iter().map(|(_, entry)| entry).collect()
}

/// The order is none in the strict sense (digits after a zero), which the library's sorting refuses.
fn merge_sort<V>(entries: &mut [(Vec<char>, &(String, V))]) {
    if entries.len() < 2 {
        return;
    }
    let (left, right) = entries.split_at_mut(entries.len() / 2);
    merge_sort(left);
    merge_sort(right);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut a, mut b) = (left.iter().cloned().peekable(), right.iter().cloned().peekable());
    while let (Some(first), Some(second)) = (a.peek(), b.peek()) {
        let takes_second = compare(&second.0, &first.0) == Ordering::Less;
        merged.extend(if takes_second { b.next() } else { a.next() });
    }
    merged.extend(a.chain(b));
    entries.clone_from_slice(&merged);
}

fn compare(a: &[char], b: &[char]) -> Ordering {
    let Some(at) = a.iter().zip(b).position(|(a, b)| a != b) else {
        return a.len().cmp(&b.len());
    };
    let (x, y) = (a[at], b[at]);
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // Within a number, a zero is a digit as any other.
    let before = a[..at].iter().rev().take_while(|letter| letter.is_ascii_digit());
    let is_inside = (x == '0' || y == '0') && before.into_iter().any(|letter| *letter != '0');
    let start = i64::from(is_inside);
    let (number_a, length_a) = number(&a[at..], start);
    let (number_b, length_b) = number(&b[at..], start);
    number_a.cmp(&number_b).then(length_a.cmp(&length_b)).then(x.cmp(&y))
}

/// The number that letters begin with, and how many they are.
fn number(letters: &[char], start: i64) -> (i64, usize) {
    let digits = letters.iter().map_while(|letter| letter.to_digit(10));
    digits.fold((start, 0), |(number, length), digit| {
        (number.wrapping_mul(10).wrapping_add(i64::from(digit)), length + 1)
    })
}
