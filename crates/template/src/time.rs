//! Go's `time.Time` as a value: methods, durations, and formatting by layouts.
//!
//! Where the clock hangs comes with the moment itself, so that nothing here needs a table of zones.

use std::any::Any;
use std::rc::Rc;

use crate::confd::check_items;
use crate::function::Origin::{Confd, ConsulTemplate, Sprig};
use crate::function::Param::{
    self, Any as Anything, Duration as Span, Int, String as Str, Time as Instant,
};
use crate::function::{Answer, Data, Definition, Run, bytes, int, text};
use crate::scope::Moment;
use crate::value::{Opaque, Text, Value};

/// Functions on time.
pub(crate) const TABLE: &[Definition] = &[
    Confd.row(
        "datetime",
        &[],
        Run::Data(now),
        "the moment, a `time.Time` with its methods: `datetime.Format \"2006-01-02\"`, `.Year`, `.Unix`, ...",
    ),
    Sprig.row("now", &[], Run::Data(now), "the same as `datetime`"),
    Sprig.row("date", &[Str, Anything], Run::Pure(date), "a time by a layout, which comes first"),
    Sprig.row(
        "unixEpoch",
        &[Instant],
        Run::Pure(unix_epoch),
        "the seconds since 1970 of a time, as a text",
    ),
    ConsulTemplate
        .row(
            "timestamp",
            &[],
            Run::Data(timestamp),
            "the moment in UTC, by RFC 3339 or a layout; `unix` for seconds since 1970",
        )
        .and_more(Str),
];

const SECOND: i64 = 1_000_000_000;
const DAY_S: i64 = 86_400;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const STRING: &str = "2006-01-02 15:04:05.999999999 -0700 MST";
const RFC3339: &str = "2006-01-02T15:04:05Z07:00";

fn now(_: &[Value], data: &mut Data<'_>) -> Answer {
    let moment = data.world("datetime")?.now().ok_or("there is no clock")?;
    Ok(Value::Opaque(Rc::new(Time(moment))))
}

/// The time that a value holds.
pub(crate) fn time(value: &Value) -> Option<&Time> {
    match value {
        Value::Opaque(opaque) => opaque.as_any().downcast_ref(),
        _ => None,
    }
}

fn date(values: &[Value]) -> Answer {
    match time(&values[1]) {
        Some(time) => Ok(Value::text(time.format_bytes(bytes(values, 0)))),
        None => Err(format!("wrong type: expected time.Time; got {}", values[1].type_name())),
    }
}

fn unix_epoch(values: &[Value]) -> Answer {
    Ok(Value::text(time(&values[0]).map_or(0, |time| time.0.seconds).to_string()))
}

fn timestamp(values: &[Value], data: &mut Data<'_>) -> Answer {
    let moment = data.world("timestamp")?.now().ok_or("there is no clock")?;
    check_items(values.len())?;
    let time = Time(moment).utc();
    Ok(Value::text(match &*text(values, 0) {
        "" => time.format(RFC3339),
        "unix" => time.0.seconds.to_string(),
        layout => time.format(layout),
    }))
}

/// A `time.Time`.
#[derive(Debug, Clone)]
pub(crate) struct Time(pub(crate) Moment);

/// What a calendar and a clock show.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    year_day: i64,
    week_day: i64,
    second: i64,
}

/// Days since 1970 of a date. Years begin in March here, so that a leap day is the last of its year.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

impl Time {
    fn utc(&self) -> Self {
        Self(Moment { offset_s: 0, zone: "UTC".to_owned(), ..self.0.clone() })
    }

    fn civil(&self) -> Civil {
        let local = self.0.seconds.saturating_add(i64::from(self.0.offset_s));
        let days = local.div_euclid(DAY_S);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year + era * 400 + i64::from(month <= 2);
        Civil {
            year,
            month,
            day,
            year_day: days - days_of(year, 1, 1) + 1,
            week_day: (days + 4).rem_euclid(7),
            second: local.rem_euclid(DAY_S),
        }
    }

    /// Nanoseconds since 1970.
    fn nanoseconds(&self) -> i128 {
        i128::from(self.0.seconds) * i128::from(SECOND) + i128::from(self.0.nanoseconds)
    }

    /// The time since 1970 in a unit of so many nanoseconds; what does not fit wraps, as in Go.
    fn unix(&self, unit: i64) -> Value {
        Value::Int(self.nanoseconds().div_euclid(i128::from(unit)) as i64)
    }

    fn plus(&self, nanoseconds: i64) -> Self {
        let total = i64::from(self.0.nanoseconds) + nanoseconds.rem_euclid(SECOND);
        let carried = nanoseconds.div_euclid(SECOND) + total.div_euclid(SECOND);
        Self(Moment {
            seconds: self.0.seconds.saturating_add(carried),
            nanoseconds: u32::try_from(total.rem_euclid(SECOND)).unwrap_or_default(),
            ..self.0.clone()
        })
    }

    fn plus_date(&self, years: i64, months: i64, days: i64) -> Self {
        // Far beyond the calendar, and far from overflowing.
        let bound = |number: i64| number.clamp(-100_000_000, 100_000_000);
        let civil = self.civil();
        let month = civil.month - 1 + bound(months);
        let year = civil.year + bound(years) + month.div_euclid(12);
        let days = days_of(year, month.rem_euclid(12) + 1, 1) + civil.day - 1 + bound(days);
        let seconds = days * DAY_S + civil.second - i64::from(self.0.offset_s);
        Self(Moment { seconds, ..self.0.clone() })
    }

    /// [`Self::format`] of a layout that may be no text: each byte stands for itself.
    fn format_bytes(&self, layout: &[u8]) -> Vec<u8> {
        let spread: String = layout.iter().copied().map(char::from).collect();
        // What is put in is ASCII, names of zones too.
        self.format(&spread).chars().map(|letter| u8::try_from(letter).unwrap_or(b'?')).collect()
    }

    /// Go's `Format`.
    pub(crate) fn format(&self, layout: &str) -> String {
        let civil = self.civil();
        let mut shown = String::new();
        let mut rest = layout;
        while !rest.is_empty() {
            let (before, chunk, after) = next_chunk(rest);
            shown.push_str(before);
            self.chunk(&civil, chunk, &mut shown);
            rest = after;
        }
        shown
    }

    fn chunk(&self, civil: &Civil, chunk: &str, shown: &mut String) {
        let (hour, minute, second) =
            (civil.second / 3600, civil.second / 60 % 60, civil.second % 60);
        let half = if hour % 12 == 0 { 12 } else { hour % 12 };
        let name = |names: &[&'static str], at: i64| {
            usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or_default()
        };
        let short = |name: &'static str| name.get(..3).unwrap_or(name);
        shown.push_str(&match chunk {
            "January" => name(&MONTHS, civil.month - 1).to_owned(),
            "Jan" => short(name(&MONTHS, civil.month - 1)).to_owned(),
            "Monday" => name(&DAYS, civil.week_day).to_owned(),
            "Mon" => short(name(&DAYS, civil.week_day)).to_owned(),
            "MST" => self.zone(),
            "2006" => format!("{:04}", civil.year),
            "06" => format!("{:02}", civil.year.rem_euclid(100)),
            "01" => format!("{:02}", civil.month),
            "1" => civil.month.to_string(),
            "02" => format!("{:02}", civil.day),
            "_2" => format!("{:2}", civil.day),
            "2" => civil.day.to_string(),
            "002" => format!("{:03}", civil.year_day),
            "__2" => format!("{:3}", civil.year_day),
            "15" => format!("{hour:02}"),
            "03" => format!("{half:02}"),
            "3" => half.to_string(),
            "04" => format!("{minute:02}"),
            "4" => minute.to_string(),
            "05" => format!("{second:02}"),
            "5" => second.to_string(),
            "PM" => if hour >= 12 { "PM" } else { "AM" }.to_owned(),
            "pm" => if hour >= 12 { "pm" } else { "am" }.to_owned(),
            chunk if chunk.starts_with(['Z', '-']) => self.offset(chunk),
            chunk if chunk.starts_with(['.', ',']) => self.fraction(chunk),
            _ => String::new(),
        });
    }

    fn zone(&self) -> String {
        if !self.0.zone.is_empty() {
            return self.0.zone.clone();
        }
        match self.0.offset_s % 3600 {
            0 => self.offset("-07"),
            _ => self.offset("-0700"),
        }
    }

    fn offset(&self, layout: &str) -> String {
        if self.0.offset_s == 0 && layout.starts_with('Z') {
            return "Z".to_owned();
        }
        let sign = if self.0.offset_s < 0 { '-' } else { '+' };
        let total = self.0.offset_s.unsigned_abs();
        let colon = if layout.contains(':') { ":" } else { "" };
        let mut shown = format!("{sign}{:02}", total / 3600);
        let digits = layout.bytes().filter(u8::is_ascii_digit).count();
        if digits >= 4 {
            shown.push_str(&format!("{colon}{:02}", total / 60 % 60));
        }
        if digits >= 6 {
            shown.push_str(&format!("{colon}{:02}", total % 60));
        }
        shown
    }

    fn fraction(&self, layout: &str) -> String {
        let digits = format!("{:09}", self.0.nanoseconds);
        let count = layout.len() - 1;
        let mut digits: String =
            digits.chars().chain(std::iter::repeat('0')).take(count.min(9)).collect();
        if layout.ends_with('9') {
            digits.truncate(digits.trim_end_matches('0').len());
            if digits.is_empty() {
                return String::new();
            }
        }
        format!("{}{digits}", &layout[..1])
    }
}

/// The pieces that are told by their text alone, longer ones before those that they begin with.
const CHUNKS: [&str; 36] = [
    "January",
    "Jan",
    "Monday",
    "Mon",
    "MST",
    "002",
    "01",
    "02",
    "03",
    "04",
    "05",
    "06",
    "15",
    "1",
    "2006",
    "2",
    "__2",
    "_2",
    "3",
    "4",
    "5",
    "PM",
    "pm",
    "-070000",
    "-07:00:00",
    "-0700",
    "-07:00",
    "-07",
    "Z070000",
    "Z07:00:00",
    "Z0700",
    "Z07:00",
    "Z07",
    ".0",
    ".9",
    ",0",
];

/// The text before the first piece of a layout that means something, the piece, the rest.
fn next_chunk(layout: &str) -> (&str, &str, &str) {
    for (at, _) in layout.char_indices() {
        let rest = &layout[at..];
        let Some(length) = chunk_length(rest) else {
            continue;
        };
        // `_2006` is an underscore before a year.
        let at = if rest.starts_with("_2006") { at + 1 } else { at };
        return (&layout[..at], &layout[at..at + length], &layout[at + length..]);
    }
    (layout, "", "")
}

fn chunk_length(rest: &str) -> Option<usize> {
    if rest.starts_with("_2006") {
        return Some(4);
    }
    if let Some(digits) = rest.strip_prefix(['.', ',']) {
        let first = digits.chars().next().filter(|first| matches!(first, '0' | '9'))?;
        let count = digits.len() - digits.trim_start_matches(first).len();
        let ends = !digits[count..].starts_with(|next: char| next.is_ascii_digit());
        return ends.then_some(1 + count);
    }
    let found = CHUNKS.iter().find(|chunk| rest.starts_with(**chunk))?;
    // `Januar` and `Month` are words.
    let is_word = matches!(*found, "Jan" | "Mon")
        && rest[3..].starts_with(|next: char| next.is_ascii_lowercase());
    (!is_word).then_some(found.len())
}

impl Opaque for Time {
    fn type_name(&self) -> &str {
        "time.Time"
    }

    fn text(&self) -> Text {
        self.format(STRING).into()
    }

    fn method(&self, name: &str) -> Option<&'static [Param]> {
        Some(match name {
            "Year" | "Month" | "Day" | "Hour" | "Minute" | "Second" | "Nanosecond" | "YearDay"
            | "Weekday" | "Unix" | "UnixMilli" | "UnixMicro" | "UnixNano" | "UTC" | "Local"
            | "IsZero" | "String" => &[],
            "Format" => &[Str],
            "Add" | "Truncate" | "Round" => &[Span],
            "AddDate" => &[Int, Int, Int],
            "Sub" | "After" | "Before" | "Equal" | "Compare" => &[Instant],
            _ => return None,
        })
    }

    fn refusal(&self, name: &str) -> Option<&'static str> {
        Some(match name {
            "Date" => "function Date has 3 return values; should be 1 or 2",
            "Clock" => "function Clock has 3 return values; should be 1 or 2",
            "ISOWeek" => {
                "invalid function signature for ISOWeek: second return value should be error; is int"
            }
            "Zone" => {
                "invalid function signature for Zone: second return value should be error; is int"
            }
            _ => return None,
        })
    }

    fn call(&self, name: &str, values: &[Value]) -> Answer {
        let civil = self.civil();
        let other = || values.first().and_then(time).map_or(0, Self::nanoseconds);
        let span = values.first().and_then(|value| match value {
            Value::Opaque(opaque) => opaque.number(),
            _ => None,
        });
        let span = span.unwrap_or(0);
        let order = || self.nanoseconds().cmp(&other());
        let opaque = |time: Self| Value::Opaque(Rc::new(time));
        Ok(match name {
            "Year" => Value::Int(civil.year),
            "Month" => named("time.Month", civil.month, &MONTHS, civil.month - 1),
            "Day" => Value::Int(civil.day),
            "Hour" => Value::Int(civil.second / 3600),
            "Minute" => Value::Int(civil.second / 60 % 60),
            "Second" => Value::Int(civil.second % 60),
            "Nanosecond" => Value::Int(i64::from(self.0.nanoseconds)),
            "YearDay" => Value::Int(civil.year_day),
            "Weekday" => named("time.Weekday", civil.week_day, &DAYS, civil.week_day),
            "Unix" => Value::Int(self.0.seconds),
            "UnixMilli" => self.unix(1_000_000),
            "UnixMicro" => self.unix(1000),
            "UnixNano" => self.unix(1),
            "UTC" => opaque(self.utc()),
            "Local" => opaque(self.clone()),
            "IsZero" => {
                Value::Bool(self.0.seconds == days_of(1, 1, 1) * DAY_S && self.0.nanoseconds == 0)
            }
            "String" => Value::String(self.text()),
            "Format" => Value::text(self.format_bytes(bytes(values, 0))),
            "Add" => opaque(self.plus(span)),
            "AddDate" => opaque(self.plus_date(int(values, 0), int(values, 1), int(values, 2))),
            "Truncate" | "Round" if span <= 0 => opaque(self.clone()),
            "Truncate" => opaque(self.plus(-self.since_zero(span))),
            "Round" => match self.since_zero(span) {
                past if past + past < span => opaque(self.plus(-past)),
                past => opaque(self.plus(span - past)),
            },
            "Sub" => {
                // A duration has 64 bits, and ends there.
                let most = (i128::from(i64::MIN), i128::from(i64::MAX));
                duration((self.nanoseconds() - other()).clamp(most.0, most.1) as i64)
            }
            "After" => Value::Bool(order().is_gt()),
            "Before" => Value::Bool(order().is_lt()),
            "Equal" => Value::Bool(order().is_eq()),
            "Compare" => Value::Int(order() as i64),
            _ => return Err("there is no such method".to_owned()),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Time {
    /// How far a time is past the last multiple of a duration since the year 1, as Go counts.
    fn since_zero(&self, span: i64) -> i64 {
        let seconds = i128::from(self.0.seconds) - i128::from(days_of(1, 1, 1)) * i128::from(DAY_S);
        let total = seconds * i128::from(SECOND) + i128::from(self.0.nanoseconds);
        i64::try_from(total.rem_euclid(i128::from(span))).unwrap_or_default()
    }
}

/// A number of a type with names for its values.
#[derive(Debug, Clone)]
struct Named {
    type_name: &'static str,
    number: i64,
    name: String,
}

fn named(type_name: &'static str, number: i64, names: &[&str], at: i64) -> Value {
    let name = usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or_default();
    Value::Opaque(Rc::new(Named { type_name, number, name: name.to_owned() }))
}

/// A `time.Duration` of nanoseconds.
pub(crate) fn duration(nanoseconds: i64) -> Value {
    let name = duration_text(nanoseconds);
    Value::Opaque(Rc::new(Named { type_name: "time.Duration", number: nanoseconds, name }))
}

fn duration_text(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let part = |unit: u64, digits: usize, name: &str| {
        let fraction = format!("{:0digits$}", total % unit);
        let fraction = fraction.trim_end_matches('0');
        match fraction {
            "" => format!("{sign}{}{name}", total / unit),
            fraction => format!("{sign}{}.{fraction}{name}", total / unit),
        }
    };
    match total {
        0 => return "0s".to_owned(),
        1..1000 => return format!("{sign}{total}ns"),
        1000..1_000_000 => return part(1000, 3, "µs"),
        1_000_000..1_000_000_000 => return part(1_000_000, 6, "ms"),
        _ => {}
    }
    let seconds = total / 1_000_000_000;
    let fraction = format!("{:09}", total % 1_000_000_000);
    let fraction = match fraction.trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{rest}{fraction}s"),
        (0, _) => format!("{sign}{minutes}m{rest}{fraction}s"),
        _ => format!("{sign}{hours}h{minutes}m{rest}{fraction}s"),
    }
}

impl Opaque for Named {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn text(&self) -> Text {
        self.name.as_str().into()
    }

    fn number(&self) -> Option<i64> {
        Some(self.number)
    }

    fn method(&self, name: &str) -> Option<&'static [Param]> {
        let is_duration = self.type_name == "time.Duration";
        match name {
            "String" => Some(&[]),
            "Hours" | "Minutes" | "Seconds" | "Milliseconds" | "Microseconds" | "Nanoseconds"
                if is_duration =>
            {
                Some(&[])
            }
            _ => None,
        }
    }

    fn call(&self, name: &str, _: &[Value]) -> Answer {
        Ok(match name {
            "Hours" => Value::Float(self.number as f64 / 3.6e12),
            "Minutes" => Value::Float(self.number as f64 / 6e10),
            "Seconds" => Value::Float(self.number as f64 / 1e9),
            "Milliseconds" => Value::Int(self.number / 1_000_000),
            "Microseconds" => Value::Int(self.number / 1000),
            "Nanoseconds" => Value::Int(self.number),
            _ => Value::String(self.text()),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
