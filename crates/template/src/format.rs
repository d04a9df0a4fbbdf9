//! Go's `fmt`: verbs, flags, widths, and its way to say that a verb does not fit.

use crate::float;
use crate::quote::{char_count, decode, is_print, quote};
use crate::value::{PAIR, UintType, Value};

/// Widths and precisions beyond this are refused, as in Go.
const NUMBER_MAX: i64 = 1_000_000;

/// How deep values that are printed nest.
pub(crate) const DEPTH_MAX: usize = 200;

/// The largest text that a function makes: a few nested calls could otherwise ask for terabytes.
pub(crate) const VALUE_BYTES_MAX: usize = 64 << 20;

/// What is said beyond it.
pub(crate) fn too_large() -> String {
    format!("the result is larger than {VALUE_BYTES_MAX} bytes or nests deeper than {DEPTH_MAX}")
}

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    width: Option<usize>,
    precision: Option<usize>,
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    plus_v: bool,
    sharp_v: bool,
}

/// Collects what is printed.
#[derive(Debug, Default)]
struct Printer {
    output: Vec<u8>,
    /// Whether something was left out because the output is too large.
    full: bool,
    flags: Flags,
    /// Inside of `%!x(...)`: methods are not asked.
    erroring: bool,
}

/// `Sprint`: a space between neighbours of which neither is a text.
pub(crate) fn sprint(values: &[Value]) -> Result<Vec<u8>, String> {
    let mut printer = Printer::default();
    let mut after_text = false;
    for (index, value) in values.iter().enumerate() {
        let is_text = matches!(value, Value::String(_));
        if index > 0 && !is_text && !after_text {
            printer.put(b" ");
        }
        printer.argument(value, 'v');
        after_text = is_text;
    }
    printer.finish()
}

/// `Sprintln`: always a space between, and a new line at the end.
pub(crate) fn sprintln(values: &[Value]) -> Result<Vec<u8>, String> {
    let mut printer = Printer::default();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            printer.put(b" ");
        }
        printer.argument(value, 'v');
    }
    printer.put(b"\n");
    printer.finish()
}

/// One value by one verb without flags.
pub(crate) fn verb(value: &Value, verb: char) -> String {
    let mut printer = Printer::default();
    printer.value(value, verb, 0);
    String::from_utf8_lossy(&printer.output).into_owned()
}

/// `Sprintf`.
pub(crate) fn sprintf(format: &[u8], values: &[Value]) -> Result<Vec<u8>, String> {
    let mut scan = Scan {
        format,
        at: 0,
        values,
        argument: 0,
        reordered: false,
        good_index: true,
        after_index: false,
        printer: Printer::default(),
    };
    scan.run();
    scan.printer.finish()
}

/// A format under way.
struct Scan<'a> {
    format: &'a [u8],
    at: usize,
    values: &'a [Value],
    argument: usize,
    reordered: bool,
    good_index: bool,
    after_index: bool,
    printer: Printer,
}

impl Scan<'_> {
    fn run(&mut self) {
        while self.at < self.format.len() {
            self.good_index = true;
            self.after_index = false;
            let rest = &self.format[self.at..];
            let text = rest.iter().position(|byte| *byte == b'%').unwrap_or(rest.len());
            self.printer.put(&rest[..text]);
            self.at += text;
            if self.at >= self.format.len() {
                break;
            }
            self.at += 1;
            self.directive();
        }
        self.extra();
    }

    fn directive(&mut self) {
        self.printer.flags = Flags::default();
        self.flags();
        self.index();
        self.width();
        self.precision();
        if !self.after_index {
            self.index();
        }
        if self.at >= self.format.len() {
            self.printer.push("%!(NOVERB)");
            return;
        }
        let (verb, size) = decode(&self.format[self.at..]);
        let verb = verb.unwrap_or(char::REPLACEMENT_CHARACTER);
        self.at += size;
        if verb == '%' {
            self.printer.push("%");
        } else if !self.good_index {
            self.printer.push(&format!("%!{verb}(BADINDEX)"));
        } else if let Some(value) = self.values.get(self.argument) {
            let flags = &mut self.printer.flags;
            if matches!(verb, 'v' | 'w') {
                (flags.sharp_v, flags.sharp) = (flags.sharp, false);
                (flags.plus_v, flags.plus) = (flags.plus, false);
            }
            self.printer.argument(value, verb);
            self.argument += 1;
        } else {
            self.printer.push(&format!("%!{verb}(MISSING)"));
        }
    }

    fn flags(&mut self) {
        let flags = &mut self.printer.flags;
        while let Some(found) = self.format.get(self.at) {
            match found {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => return,
            }
            self.at += 1;
        }
    }

    /// `[3]`: the argument that comes next.
    fn index(&mut self) {
        self.after_index = false;
        if self.format.get(self.at) != Some(&b'[') {
            return;
        }
        self.reordered = true;
        let rest = &self.format[self.at..];
        let close = rest.iter().position(|byte| *byte == b']').filter(|_| rest.len() >= 3);
        let Some(close) = close else {
            self.good_index = false;
            self.at += 1;
            return;
        };
        let number = std::str::from_utf8(&rest[1..close]).ok();
        let number = number.filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()));
        let number = number.and_then(|text| text.parse::<usize>().ok());
        self.at += close + 1;
        let Some(number) = number else {
            self.good_index = false;
            return;
        };
        self.after_index = true;
        match number.checked_sub(1).filter(|index| *index < self.values.len()) {
            Some(index) => self.argument = index,
            None => self.good_index = false,
        }
    }

    fn number(&mut self) -> Option<usize> {
        let mut number: Option<i64> = None;
        while let Some(digit) = self.format.get(self.at).filter(|byte| byte.is_ascii_digit()) {
            let value = number.unwrap_or_default();
            if value > NUMBER_MAX {
                self.at = self.format.len();
                return None;
            }
            number = Some(value * 10 + i64::from(digit - b'0'));
            self.at += 1;
        }
        number.and_then(|number| usize::try_from(number).ok())
    }

    /// The number that `*` takes from the arguments.
    fn star(&mut self) -> Option<i64> {
        self.at += 1;
        self.after_index = false;
        let value = self.values.get(self.argument)?;
        self.argument += 1;
        let number = match value {
            Value::Int(number) => Some(*number),
            Value::Uint(number, _) => i64::try_from(*number).ok(),
            _ => None,
        };
        number.filter(|number| (-NUMBER_MAX..=NUMBER_MAX).contains(number))
    }

    fn width(&mut self) {
        if self.format.get(self.at) != Some(&b'*') {
            self.printer.flags.width = self.number();
            if self.after_index && self.printer.flags.width.is_some() {
                self.good_index = false;
            }
            return;
        }
        match self.star() {
            None => self.printer.push("%!(BADWIDTH)"),
            Some(width) => {
                let flags = &mut self.printer.flags;
                flags.width = usize::try_from(width.unsigned_abs()).ok();
                if width < 0 {
                    flags.minus = true;
                    flags.zero = false;
                }
            }
        }
    }

    fn precision(&mut self) {
        let is_dot = self.format.get(self.at) == Some(&b'.');
        if !is_dot || self.at + 1 >= self.format.len() {
            return;
        }
        self.at += 1;
        if self.after_index {
            self.good_index = false;
        }
        self.index();
        if self.format.get(self.at) == Some(&b'*') {
            let precision = self.star().and_then(|number| usize::try_from(number).ok());
            self.printer.flags.precision = precision;
            if precision.is_none() {
                self.printer.push("%!(BADPREC)");
            }
        } else {
            self.printer.flags.precision = Some(self.number().unwrap_or_default());
        }
    }

    fn extra(&mut self) {
        if self.reordered || self.argument >= self.values.len() {
            return;
        }
        self.printer.flags = Flags::default();
        self.printer.push("%!(EXTRA ");
        for (index, value) in self.values[self.argument..].iter().enumerate() {
            if index > 0 {
                self.printer.push(", ");
            }
            if value.is_nil() {
                self.printer.push("<nil>");
            } else {
                self.printer.push(value.type_name());
                self.printer.push("=");
                self.printer.argument(value, 'v');
            }
        }
        self.printer.push(")");
    }
}

impl Printer {
    fn fits(&mut self, count: usize) -> bool {
        self.full |= self.output.len() + count > VALUE_BYTES_MAX;
        !self.full
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.fits(bytes.len()) {
            self.output.extend_from_slice(bytes);
        }
    }

    fn finish(self) -> Result<Vec<u8>, String> {
        match self.full {
            true => Err(too_large()),
            false => Ok(self.output),
        }
    }

    fn push(&mut self, text: &str) {
        self.put(text.as_bytes());
    }

    fn padding(&mut self, width: usize) {
        let byte = match self.flags.zero && !self.flags.minus {
            true => b'0',
            false => b' ',
        };
        if self.fits(width) {
            self.output.resize(self.output.len() + width, byte);
        }
    }

    fn pad(&mut self, bytes: &[u8]) {
        let missing = self.flags.width.unwrap_or(0).saturating_sub(char_count(bytes));
        if !self.flags.minus {
            self.padding(missing);
        }
        self.put(bytes);
        if self.flags.minus {
            self.padding(missing);
        }
    }

    fn pad_with_spaces(&mut self, bytes: &[u8]) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(bytes);
        self.flags.zero = zero;
    }

    fn bad_verb(&mut self, value: &Value, verb: char) {
        self.erroring = true;
        self.push(&format!("%!{verb}("));
        if value.is_nil() {
            self.push("<nil>");
        } else {
            self.push(value.type_name());
            self.push("=");
            self.value(value, 'v', 0);
        }
        self.push(")");
        self.erroring = false;
    }

    /// A value as an argument: here nil is a nil interface.
    fn argument(&mut self, value: &Value, verb: char) {
        match (value, verb) {
            (Value::Nil, 'T' | 'v') => self.pad(b"<nil>"),
            (Value::Nil, _) => self.bad_verb(value, verb),
            (_, 'T') => self.string(value, value.type_name().as_bytes(), 's'),
            (_, 'p') => self.bad_verb(value, verb),
            _ => self.value(value, verb, 0),
        }
    }

    fn value(&mut self, value: &Value, verb: char, depth: usize) {
        let has_method = matches!(verb, 'v' | 's' | 'x' | 'X' | 'q');
        let asks_method = has_method && !self.erroring && !self.flags.sharp_v;
        if let Some(text) = value.own_text().filter(|_| asks_method) {
            return self.string(value, text.as_bytes(), verb);
        }
        match value {
            Value::Nil => self.nil(depth),
            Value::Bool(truth) => match verb {
                't' | 'v' => self.pad(if *truth { b"true" } else { b"false" }),
                _ => self.bad_verb(value, verb),
            },
            Value::Int(number) => self.integer(value, number.unsigned_abs(), *number < 0, verb),
            Value::Uint(number, _) => self.integer(value, *number, false, verb),
            Value::Float(number) => self.float(value, *number, verb),
            Value::Complex(real, imaginary) => self.complex(value, *real, *imaginary, verb),
            Value::String(text) => self.string(value, text.as_bytes(), verb),
            Value::Opaque(opaque) => match opaque.number() {
                Some(number) => self.integer(value, number.unsigned_abs(), number < 0, verb),
                None => self.push("{}"),
            },
            Value::List(_) | Value::Map(_) | Value::Pair(_) | Value::Record(_) => {
                self.composite(value, verb, depth);
            }
        }
    }

    fn composite(&mut self, value: &Value, verb: char, depth: usize) {
        // One value can hold another many times, level by level: what is too large or too deep to
        // print ends here, not after all of it was visited.
        self.full |= depth > DEPTH_MAX;
        if self.full {
            return;
        }
        match value {
            Value::List(list) => {
                let (open, close) = self.brackets(list.type_name(), "[", "]");
                self.push(&open);
                for (index, item) in list.items().iter().enumerate() {
                    self.separator(index);
                    self.value(item, verb, depth + 1);
                }
                self.push(close);
            }
            Value::Map(map) => {
                let (open, close) = self.brackets(map.type_name(), "map[", "]");
                self.push(&open);
                for (index, (key, item)) in map.entries().iter().enumerate() {
                    self.separator(index);
                    self.value(&Value::String(key.clone()), verb, depth + 1);
                    self.push(":");
                    self.value(item, verb, depth + 1);
                }
                self.push(close);
            }
            Value::Pair(pair) => {
                let fields = [("Key", pair.key()), ("Value", pair.value())];
                let fields = fields.map(|(name, text)| (name, Value::String(text.clone())));
                self.fields(PAIR, &fields, verb, depth);
            }
            Value::Record(record) => self.fields(record.type_name, &record.fields, verb, depth),
            _ => {}
        }
    }

    fn fields(&mut self, type_name: &str, fields: &[(&str, Value)], verb: char, depth: usize) {
        let (open, close) = self.brackets(type_name, "{", "}");
        self.push(&open);
        for (index, (name, item)) in fields.iter().enumerate() {
            self.separator(index);
            if self.flags.plus_v || self.flags.sharp_v {
                self.push(name);
                self.push(":");
            }
            self.value(item, verb, depth + 1);
        }
        self.push(close);
    }

    /// A nil that an interface holds; the verb does not matter inside of a composite.
    fn nil(&mut self, depth: usize) {
        self.push(match (self.flags.sharp_v, depth) {
            (true, 1..) => "interface {}(nil)",
            _ => "<nil>",
        });
    }

    /// How a composite begins and ends: `%#v` puts its type before braces.
    fn brackets(&self, type_name: &str, open: &str, close: &'static str) -> (String, &'static str) {
        match self.flags.sharp_v {
            true => (format!("{type_name}{{"), "}"),
            false => (open.to_owned(), close),
        }
    }

    fn separator(&mut self, index: usize) {
        if index > 0 {
            self.push(if self.flags.sharp_v { ", " } else { " " });
        }
    }

    fn string(&mut self, value: &Value, bytes: &[u8], verb: char) {
        match verb {
            'v' if self.flags.sharp_v => self.quoted(bytes),
            'v' | 's' => self.pad(truncate(bytes, self.flags.precision)),
            'x' => self.hex_bytes(bytes, false),
            'X' => self.hex_bytes(bytes, true),
            'q' => self.quoted(bytes),
            _ => self.bad_verb(value, verb),
        }
    }

    fn quoted(&mut self, bytes: &[u8]) {
        let bytes = truncate(bytes, self.flags.precision);
        if self.flags.sharp && can_backquote(bytes) {
            let mut raw = vec![b'`'];
            raw.extend(bytes);
            raw.push(b'`');
            return self.pad(&raw);
        }
        let text = quote(bytes, '"', self.flags.plus);
        self.pad(text.as_bytes());
    }

    fn hex_bytes(&mut self, bytes: &[u8], upper: bool) {
        let length = self.flags.precision.unwrap_or(bytes.len()).min(bytes.len());
        if length == 0 {
            let width = self.flags.width.unwrap_or(0);
            return self.padding(width);
        }
        let prefix = match (self.flags.sharp, upper) {
            (false, _) => "",
            (true, false) => "0x",
            (true, true) => "0X",
        };
        let mut text = prefix.to_owned();
        for (index, byte) in bytes[..length].iter().enumerate() {
            if self.flags.space && index > 0 {
                text.push(' ');
                text.push_str(prefix);
            }
            text.push_str(&match upper {
                true => format!("{byte:02X}"),
                false => format!("{byte:02x}"),
            });
        }
        self.pad(text.as_bytes());
    }

    fn integer(&mut self, value: &Value, magnitude: u64, negative: bool, verb: char) {
        let is_unsigned = matches!(value, Value::Uint(..));
        match verb {
            'v' if self.flags.sharp_v && is_unsigned => {
                let sharp = std::mem::replace(&mut self.flags.sharp, true);
                self.digits(format!("{magnitude:x}"), magnitude, false, 'v');
                self.flags.sharp = sharp;
            }
            'v' | 'd' => self.digits(magnitude.to_string(), magnitude, negative, 'd'),
            'b' => self.digits(format!("{magnitude:b}"), magnitude, negative, 'b'),
            'o' | 'O' => self.digits(format!("{magnitude:o}"), magnitude, negative, verb),
            'x' => self.digits(format!("{magnitude:x}"), magnitude, negative, 'x'),
            'X' => self.digits(format!("{magnitude:X}"), magnitude, negative, 'X'),
            'c' => {
                let found = character(magnitude, negative);
                self.pad(found.encode_utf8(&mut [0; 4]).as_bytes());
            }
            'q' => {
                let found = character(magnitude, negative);
                let mut bytes = [0; 4];
                let bytes = found.encode_utf8(&mut bytes).as_bytes();
                let text = quote(bytes, '\'', self.flags.plus);
                self.pad(text.as_bytes());
            }
            'U' => self.unicode(magnitude, negative),
            _ => self.bad_verb(value, verb),
        }
    }

    /// Puts sign, prefix, zeros and padding around the digits of a whole number.
    fn digits(&mut self, digits: String, magnitude: u64, negative: bool, verb: char) {
        let flags = self.flags;
        let has_sign = negative || flags.plus || flags.space;
        let precision = match (flags.precision, flags.width) {
            (Some(0), _) if magnitude == 0 => {
                self.flags.zero = false;
                self.padding(flags.width.unwrap_or(0));
                self.flags.zero = flags.zero;
                return;
            }
            (Some(precision), _) => precision,
            (None, Some(width)) if flags.zero && !flags.minus => {
                width.saturating_sub(usize::from(has_sign))
            }
            _ => 0,
        };
        let zeros = "0".repeat(precision.saturating_sub(digits.len()));
        let leads_with_zero = digits.starts_with('0') || !zeros.is_empty();
        let prefix = match verb {
            'b' if flags.sharp => "0b",
            'o' if flags.sharp && !leads_with_zero => "0",
            'x' | 'v' if flags.sharp => "0x",
            'X' if flags.sharp => "0X",
            'O' if flags.sharp && !leads_with_zero => "0o0",
            'O' => "0o",
            _ => "",
        };
        let sign = match (negative, flags.plus, flags.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        self.pad_with_spaces(format!("{sign}{prefix}{zeros}{digits}").as_bytes());
    }

    fn unicode(&mut self, magnitude: u64, negative: bool) {
        let number = match negative {
            true => magnitude.wrapping_neg(),
            false => magnitude,
        };
        let precision = self.flags.precision.unwrap_or(4).max(4);
        let mut text = format!("U+{number:0precision$X}");
        let found = u32::try_from(number).ok().and_then(char::from_u32);
        if let Some(found) = found.filter(|found| self.flags.sharp && is_print(*found)) {
            text.push_str(&format!(" '{found}'"));
        }
        self.pad_with_spaces(text.as_bytes());
    }

    fn float(&mut self, value: &Value, number: f64, verb: char) {
        let (verb, precision) = match verb {
            'v' => ('g', None),
            'b' | 'g' | 'G' | 'x' | 'X' => (verb, None),
            'f' | 'e' | 'E' => (verb, Some(6)),
            'F' => ('f', Some(6)),
            _ => return self.bad_verb(value, verb),
        };
        let flags = self.flags;
        let precision = flags.precision.or(precision);
        let text = float::format(number, verb, precision);
        let (sign, mut body) = match text.strip_prefix(['+', '-']) {
            Some(body) => (text[..1].to_owned(), body.to_owned()),
            None => ("+".to_owned(), text),
        };
        let sign = match sign.as_str() {
            "+" if flags.plus => "+",
            "+" if flags.space => " ",
            "+" if body == "Inf" => "+",
            "+" => "",
            _ => "-",
        };
        if body == "Inf" || body == "NaN" {
            return self.pad_with_spaces(format!("{sign}{body}").as_bytes());
        }
        if flags.sharp && verb != 'b' {
            body = sharp_float(&body, verb, precision);
        }
        let length = sign.len() + body.len();
        let width = flags.width.unwrap_or(0);
        if !sign.is_empty() && flags.zero && !flags.minus && width > length {
            self.push(sign);
            self.padding(width - length);
            return self.push(&body);
        }
        self.pad(format!("{sign}{body}").as_bytes());
    }

    fn complex(&mut self, value: &Value, real: f64, imaginary: f64, verb: char) {
        if !"vbgGxXfFeE".contains(verb) {
            return self.bad_verb(value, verb);
        }
        let plus = self.flags.plus;
        self.push("(");
        self.float(value, real, verb);
        self.flags.plus = true;
        self.float(value, imaginary, verb);
        self.push("i)");
        self.flags.plus = plus;
    }
}

/// `#` keeps the point and the zeros behind it.
fn sharp_float(body: &str, verb: char, precision: Option<usize>) -> String {
    let mut digits = match verb {
        'g' | 'G' | 'x' => precision.map_or(6, |digits| i64::try_from(digits).unwrap_or(i64::MAX)),
        _ => 0,
    };
    let exponent = match verb {
        'x' | 'X' => body.find(['p', 'P']),
        _ => body.find(['e', 'E']),
    };
    let (number, tail) = body.split_at(exponent.unwrap_or(body.len()));
    let significant = number.trim_start_matches(['0', '.']).bytes();
    digits -= i64::try_from(significant.filter(|byte| *byte != b'.').count()).unwrap_or_default();
    let mut number = number.to_owned();
    if !number.contains('.') {
        if number == "0" {
            digits -= 1;
        }
        number.push('.');
    }
    number.push_str(&"0".repeat(usize::try_from(digits).unwrap_or_default()));
    number + tail
}

fn character(magnitude: u64, negative: bool) -> char {
    let number = u32::try_from(magnitude).ok().filter(|_| !negative);
    number.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn truncate(bytes: &[u8], precision: Option<usize>) -> &[u8] {
    let Some(precision) = precision else {
        return bytes;
    };
    let mut at = 0;
    for _ in 0..precision {
        if at >= bytes.len() {
            return bytes;
        }
        at += decode(&bytes[at..]).1;
    }
    &bytes[..at]
}

fn can_backquote(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| {
        let is_good = |found: char| {
            found != '\u{feff}'
                && found != '`'
                && found != '\x7f'
                && (found >= ' ' || found == '\t')
        };
        text.chars().all(is_good)
    })
}

/// A byte of a text, as `index` gives it.
pub(crate) fn byte(byte: u8) -> Value {
    Value::Uint(u64::from(byte), UintType::Uint8)
}

/// A whole number in decimal digits, without memory of its own.
pub(crate) struct Decimal {
    bytes: [u8; 20],
    start: usize,
}

impl Decimal {
    pub(crate) fn of(number: i64) -> Self {
        let mut decimal = Self { bytes: [0; 20], start: 20 };
        let mut rest = number.unsigned_abs();
        loop {
            decimal.put(b'0' + u8::try_from(rest % 10).unwrap_or_default());
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            decimal.put(b'-');
        }
        decimal
    }

    fn put(&mut self, byte: u8) {
        // The smallest number has 19 digits and its sign.
        self.start = self.start.saturating_sub(1);
        self.bytes[self.start] = byte;
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}
