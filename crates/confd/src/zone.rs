//! The machine's time zone, read from its one file: whoever looks it up by name searches through the
//! whole database of zones first, which takes as long as all else that a single run does.

use std::sync::OnceLock;

use jiff::tz::TimeZone;

/// Where zones are by their names.
const ZONES: &str = "/usr/share/zoneinfo";

/// The machine's time zone, or the one of the variable `TZ`; UTC where neither says anything.
pub(crate) fn local() -> TimeZone {
    static LOCAL: OnceLock<TimeZone> = OnceLock::new();
    LOCAL.get_or_init(|| find(std::env::var("TZ").ok().as_deref())).clone()
}

fn find(variable: Option<&str>) -> TimeZone {
    let path = match variable.map(|text| text.strip_prefix(':').unwrap_or(text)) {
        None => "/etc/localtime".to_owned(),
        Some("") => return TimeZone::UTC,
        Some(path) if path.starts_with('/') => path.to_owned(),
        Some(name) => format!("{ZONES}/{name}"),
    };
    let file = std::fs::read(path).ok().and_then(|bytes| TimeZone::tzif("local", &bytes).ok());
    let rule = || variable.and_then(|text| TimeZone::posix(text).ok());
    file.or_else(rule).unwrap_or(TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_a_file_or_a_rule() {
        let offset =
            |variable: &str| find(Some(variable)).to_offset(jiff::Timestamp::UNIX_EPOCH).seconds();
        assert_eq!(offset("CET-1"), 3600);
        assert_eq!(offset(""), 0);
        assert_eq!(offset("no/such zone"), 0);
    }
}
