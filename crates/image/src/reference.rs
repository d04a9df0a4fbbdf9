//! Image names: `redis`, `redis:latest` and `docker.io/library/redis:latest` are the same one.

use crate::{Error, Result};

/// Longest name, so that its escaped form fits a file name.
const LENGTH_MAX: usize = 180;

/// The short form with a tag by which an image is kept, as `redis:latest`.
///
/// # Errors
/// When the text is no image name.
pub fn normalise(name: &str) -> Result<String> {
    let bad = |rule| Error::Name { name: name.to_owned(), rule };
    if name.is_empty() || name.len() > LENGTH_MAX {
        return Err(bad("it has from 1 to 180 characters"));
    }
    let (repository, tag) = split_tag(name);
    let repository = ["docker.io/", "index.docker.io/"]
        .iter()
        .find_map(|registry| repository.strip_prefix(registry))
        .unwrap_or(repository);
    let repository = repository.strip_prefix("library/").unwrap_or(repository);
    let part_is_good = |part: &str| {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-:".contains(c);
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.chars().all(good)
    };
    if !repository.split('/').all(part_is_good) {
        return Err(bad("its parts are lower-case letters, digits, `.`, `_` and `-`"));
    }
    let tag = tag.unwrap_or("latest");
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if tag.is_empty() || tag.starts_with(['.', '-']) || !tag.chars().all(good) {
        return Err(bad("its tag is letters, digits, `.`, `_` and `-`"));
    }
    Ok(format!("{repository}:{tag}"))
}

/// A colon in the last part begins a tag; in an earlier one it belongs to a registry's port.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

/// The file name under which a normalised name is kept.
pub(crate) fn file_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 8);
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out.push_str(".json");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_names_are_equal() {
        for (name, expected) in [
            ("redis", "redis:latest"),
            ("redis:7-Alpine", "redis:7-Alpine"),
            ("docker.io/library/redis", "redis:latest"),
            ("library/redis:latest", "redis:latest"),
            ("docker.io/me/app", "me/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
        ] {
            assert_eq!(normalise(name).unwrap(), expected, "{name}");
        }
        for bad in ["", "Redis", "a//b", "../x", "a:", "a:b c", "/etc", "a@b", "a/../b"] {
            assert!(normalise(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn file_names_stay_in_their_directory() {
        assert_eq!(file_name("me/app:v1"), "me%2Fapp%3Av1.json");
    }
}
