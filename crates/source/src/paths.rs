//! Paths that are asked for together.

use std::collections::HashSet;

use crate::covers;

/// Paths, of which one asks whether some of them covers a key: how many there are does not matter.
#[derive(Debug, Clone)]
pub(crate) struct Paths(HashSet<String>);

impl Paths {
    pub(crate) fn new(paths: &[String]) -> Self {
        Self(paths.iter().map(|path| path.trim_end_matches('/').to_owned()).collect())
    }

    /// Whether one of them covers a key.
    pub(crate) fn cover(&self, key: &str) -> bool {
        let above = key.match_indices('/').filter_map(|(at, _)| key.get(..at));
        self.0.contains(key) || above.into_iter().any(|path| self.0.contains(path))
    }
}

/// Paths without those that others cover already.
pub(crate) fn outermost(paths: &[String]) -> Vec<String> {
    let mut sorted: Vec<&String> = paths.iter().collect();
    // By their parts, so that what a path covers follows it without anything between.
    sorted.sort_by(|a, b| a.split('/').cmp(b.split('/')));
    let mut kept: Vec<String> = Vec::new();
    for path in sorted {
        if !kept.last().is_some_and(|known| covers(known, path)) {
            kept.push(path.clone());
        }
    }
    kept
}

/// What is watched for outermost paths: each of them, or where there are more than `max` the
/// directory above them all.
pub(crate) fn watched(paths: &[String], max: usize) -> Vec<String> {
    match paths.len() > max {
        true => vec![common_directory(paths)],
        false => paths.to_vec(),
    }
}

/// The directory that has all of the paths.
pub(crate) fn common_directory(paths: &[String]) -> String {
    let mut common = paths.first().cloned().unwrap_or_default();
    while !paths.iter().all(|path| covers(&common, path)) {
        let end = common.trim_end_matches('/').rfind('/').unwrap_or(0);
        common.truncate(end);
    }
    if common.is_empty() { "/".to_owned() } else { common }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn paths_that_others_cover_are_not_asked_for() {
        let paths = strings(&["/b", "/a/x", "/a", "/a-b", "/a/x/y", "/b"]);
        assert_eq!(outermost(&paths), strings(&["/a", "/a-b", "/b"]));
        assert_eq!(outermost(&strings(&["/a-b", "/a/b", "/a"])), strings(&["/a", "/a-b"]));
        assert_eq!(outermost(&strings(&["/", "/a"])), strings(&["/"]));
    }

    #[test]
    fn a_key_is_covered_by_any_path_above_it() {
        let paths = strings(&["/", "/a", "/a/b", "/a/", "/x/y"]);
        for path in &paths {
            let alone = Paths::new(std::slice::from_ref(path));
            for key in ["/", "/a", "/a/b", "/a/b/c", "/ab", "/a-b/c", "/x", "/x/yz", "/x/y/z", ""] {
                assert_eq!(alone.cover(key), covers(path, key), "{path} {key}");
            }
        }
    }

    #[test]
    fn many_paths_are_watched_by_the_directory_above_them() {
        let paths = strings(&["/a/b/c", "/a/b/d"]);
        assert_eq!(watched(&paths, 2), paths);
        assert_eq!(watched(&paths, 1), strings(&["/a/b"]));
        assert_eq!(common_directory(&strings(&["/a/b", "/a/b/d"])), "/a/b");
        assert_eq!(common_directory(&strings(&["/ab", "/a"])), "/");
    }
}
