//! Tables for people.

/// Columns as wide as their widest cell; the last one is not padded.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:width$}   "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A size as people read it.
pub(crate) fn size(bytes: u64) -> String {
    in_units(bytes, 1000.0, ["B", "kB", "MB", "GB"])
}

/// A size of memory, whose limits are written in powers of 1024.
pub(crate) fn memory_size(bytes: u64) -> String {
    in_units(bytes, 1024.0, ["B", "KiB", "MiB", "GiB"])
}

fn in_units(bytes: u64, step: f64, units: [&str; 4]) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", units[unit]),
    }
}

/// Lines that are cut where they would be broken on a screen of this width.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let cut_line = |line: &str| match line.chars().count() > width {
        true => line.chars().take(width.saturating_sub(1)).chain(['…', '\n']).collect(),
        false => format!("{line}\n"),
    };
    text.lines().map(cut_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows =
            vec![vec!["a".to_owned(), "bb".to_owned()], vec!["ccc".to_owned(), "d".to_owned()]];
        assert_eq!(table(&["X", "Y"], &rows), "X     Y\na     bb\nccc   d\n");
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_234_567), "1.2 MB");
        assert_eq!(memory_size(64 << 20), "64.0 MiB");
    }

    #[test]
    fn long_lines_are_cut() {
        assert_eq!(cut("abcd\nabcde\n", 4), "abcd\nabc…\n");
    }
}
