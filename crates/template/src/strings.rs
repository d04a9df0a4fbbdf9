//! Functions on texts: confd's, those of its successors, and what users of Sprig expect.

use regex::bytes::{NoExpand, Regex};

use crate::confd::check_items;
use crate::format::{VALUE_BYTES_MAX, sprint, too_large};
use crate::function::Origin::{Abtreece, Confd, ConsulTemplate, Sprig};
use crate::function::Param::{Any, Int, String as Str, Strings};
use crate::function::{Answer, Definition, Run, bytes, int, text};
use crate::lex::find;
use crate::quote::{decode, lossy, quote};
use crate::value::{Text, Value};

/// Functions on texts.
pub(crate) const TABLE: &[Definition] = &[
    Confd.row("base", &[Str], Run::Pure(base), "the last part of a path"),
    Confd.row("dir", &[Str], Run::Pure(dir), "all but the last part of a path"),
    Confd.row(
        "split",
        &[Str, Str],
        Run::Pure(split),
        "the parts of a text between separators; at an empty one, its characters",
    ),
    Confd.row(
        "join",
        &[Strings, Str],
        Run::Pure(join),
        "the elements of a list with a separator between them",
    ),
    Confd.row("toUpper", &[Str], Run::Pure(upper), "in upper case"),
    Confd.row("toLower", &[Str], Run::Pure(lower), "in lower case"),
    Confd.row(
        "contains",
        &[Str, Str],
        Run::Pure(contains),
        "whether the first text has the second in it",
    ),
    Confd.row(
        "trimSuffix",
        &[Str, Str],
        Run::Pure(trim_suffix),
        "the first text without the second at its end",
    ),
    Confd.row(
        "replace",
        &[Str, Str, Str, Int],
        Run::Pure(replace),
        "`replace s old new n`: the first `n` places of `old` in `s` replaced; all of them for -1",
    ),
    Abtreece.row(
        "trimPrefix",
        &[Str, Str],
        Run::Pure(trim_prefix),
        "the first text without the second at its beginning",
    ),
    Abtreece.row("repeat", &[Int, Str], Run::Pure(repeat), "a text so many times"),
    Abtreece.row("nospace", &[Str], Run::Pure(no_space), "without white space"),
    Abtreece.row("snakecase", &[Str], Run::Pure(snake), "as `snake_case`"),
    Abtreece.row("kebabcase", &[Str], Run::Pure(kebab), "as `kebab-case`"),
    Abtreece.row("camelcase", &[Str], Run::Pure(camel), "as `camelCase`"),
    Abtreece.row(
        "indent",
        &[Int, Str],
        Run::Pure(indent),
        "each line with so many spaces before it",
    ),
    Abtreece.row("nindent", &[Int, Str], Run::Pure(nindent), "a new line, then `indent`"),
    Abtreece
        .row("quote", &[], Run::Pure(double_quoted), "in double quotes, with Go's escapes")
        .and_more(Any),
    Abtreece.row("squote", &[], Run::Pure(single_quoted), "in single quotes").and_more(Any),
    Abtreece.row(
        "regexMatch",
        &[Str, Str],
        Run::Pure(regex_match),
        "whether the expression, which comes first, is found in the text",
    ),
    Abtreece.row(
        "regexFind",
        &[Str, Str],
        Run::Pure(regex_find),
        "the first match of the expression, or nothing",
    ),
    Abtreece.row(
        "regexReplaceAll",
        &[Str, Str, Str],
        Run::Pure(regex_replace),
        "`regexReplaceAll expression text replacement`; `${1}` is a group",
    ),
    Sprig.row(
        "regexReplaceAllLiteral",
        &[Str, Str, Str],
        Run::Pure(regex_replace_literal),
        "the same without groups",
    ),
    Sprig.row(
        "regexFindAll",
        &[Str, Str, Int],
        Run::Pure(regex_find_all),
        "up to so many matches; all of them for -1",
    ),
    Sprig.row(
        "regexSplit",
        &[Str, Str, Int],
        Run::Pure(regex_split),
        "the parts between matches, at most so many; all of them for -1",
    ),
    Sprig.row(
        "regexQuoteMeta",
        &[Str],
        Run::Pure(regex_quote),
        "an expression that matches the text itself",
    ),
    Sprig.row("trim", &[Str], Run::Pure(trim), "without white space at both ends"),
    ConsulTemplate.row("trimSpace", &[Str], Run::Pure(trim), "without white space at both ends"),
    Sprig.row(
        "trimAll",
        &[Str, Str],
        Run::Pure(trim_all),
        "the second text without characters of the first at both ends",
    ),
    Sprig.row("upper", &[Str], Run::Pure(upper), "in upper case"),
    Sprig.row("lower", &[Str], Run::Pure(lower), "in lower case"),
    Sprig.row("title", &[Str], Run::Pure(title), "each word with a capital"),
    Sprig.row("untitle", &[Str], Run::Pure(untitle), "each word without a capital"),
    Sprig.row(
        "hasPrefix",
        &[Str, Str],
        Run::Pure(has_prefix),
        "whether the second text begins with the first",
    ),
    Sprig.row(
        "hasSuffix",
        &[Str, Str],
        Run::Pure(has_suffix),
        "whether the second text ends with the first",
    ),
    Sprig.row(
        "substr",
        &[Int, Int, Str],
        Run::Pure(substr),
        "the bytes from the first to before the second number; to the end for -1",
    ),
    Sprig.row(
        "trunc",
        &[Int, Str],
        Run::Pure(trunc),
        "the first bytes; for a negative number, the last ones",
    ),
    Sprig.row("splitList", &[Str, Str], Run::Pure(split_list), "`split` with the separator first"),
    Sprig.row("cat", &[], Run::Pure(cat), "the arguments with spaces between them").and_more(Any),
];

/// A value as a text, as it prints; nothing for nil.
pub(crate) fn plain(value: &Value) -> Result<Text, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Nil => Ok(Text::default()),
        value => sprint(std::slice::from_ref(value)).map(Text::from),
    }
}

fn base(values: &[Value]) -> Answer {
    // Paths are cut at slashes, which no character of several bytes has in it.
    let path = bytes(values, 0);
    if path.is_empty() {
        return Ok(Value::text("."));
    }
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let start = memchr::memrchr(b'/', &path[..end]).map_or(0, |slash| slash + 1);
    Ok(Value::text(match &path[start..end] {
        b"" => b"/",
        name => name,
    }))
}

fn dir(values: &[Value]) -> Answer {
    Ok(Value::text(brickyard_core::path::dir(&text(values, 0))))
}

pub(crate) fn check_bytes(count: usize) -> Result<(), String> {
    match count <= VALUE_BYTES_MAX {
        true => Ok(()),
        false => Err(too_large()),
    }
}

/// Cuts a text at a separator, at every character when it is empty, into at most so many parts.
fn cut<'a>(text: &'a [u8], separator: &[u8], most: usize) -> Result<Vec<&'a [u8]>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while parts.len() + 1 < most {
        let (head, tail) = match separator.is_empty() {
            true if rest.is_empty() => return Ok(parts),
            true => {
                let width = decode(rest).1;
                if width == rest.len() {
                    break;
                }
                rest.split_at(width)
            }
            false => match find(rest, separator) {
                Some(at) => (&rest[..at], &rest[at + separator.len()..]),
                None => break,
            },
        };
        check_items(parts.len())?;
        parts.push(head);
        rest = tail;
    }
    parts.push(rest);
    Ok(parts)
}

fn split(values: &[Value]) -> Answer {
    cut(bytes(values, 0), bytes(values, 1), usize::MAX).map(Value::strings)
}

fn split_list(values: &[Value]) -> Answer {
    cut(bytes(values, 1), bytes(values, 0), usize::MAX).map(Value::strings)
}

fn join(values: &[Value]) -> Answer {
    let Value::List(list) = &values[0] else {
        return Ok(Value::text(""));
    };
    let texts = list.items().iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    let texts: Vec<&[u8]> = texts.iter().map(Text::as_bytes).collect();
    join_bytes(&texts, bytes(values, 1)).map(Value::text)
}

fn join_bytes(texts: &[&[u8]], separator: &[u8]) -> Result<Vec<u8>, String> {
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    check_bytes(bytes.saturating_add(texts.len().saturating_mul(separator.len())))?;
    Ok(texts.join(separator))
}

fn replace(values: &[Value]) -> Answer {
    let (old, new) = (bytes(values, 1), bytes(values, 2));
    let most = usize::try_from(int(values, 3)).unwrap_or(usize::MAX);
    let mut parts;
    if old.is_empty() {
        // An empty text is found before every character and at the end.
        parts = vec![&b""[..]];
        if most > 0 {
            parts.extend(cut(bytes(values, 0), old, most)?);
            let characters = parts.len() - 1;
            let last = parts.last().copied().unwrap_or_default();
            let whole = last.is_empty() || decode(last).1 == last.len();
            if characters > 0 && whole && characters < most {
                parts.push(b"");
            }
            if characters == 0 {
                parts.push(b"");
            }
        } else {
            parts = vec![bytes(values, 0)];
        }
    } else {
        parts = cut(bytes(values, 0), old, most.saturating_add(1))?;
    }
    join_bytes(&parts, new).map(Value::text)
}

fn map_case(source: &[u8], map: impl Fn(char) -> char) -> Text {
    lossy(source).chars().map(map).collect::<String>().into()
}

/// The one upper-case character of a character; Go does not make two of one.
fn upper_char(found: char) -> char {
    let mut mapped = found.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => match u32::from(found) {
            number @ 0x1f80..=0x1faf if number & 8 == 0 => char::from_u32(number + 8),
            number @ (0x1fb3 | 0x1fc3 | 0x1ff3) => char::from_u32(number + 9),
            _ => None,
        }
        .unwrap_or(found),
    }
}

fn lower_char(found: char) -> char {
    // Of the two that the capital with a dot becomes, Go takes the first.
    found.to_lowercase().next().unwrap_or(found)
}

fn upper(values: &[Value]) -> Answer {
    let source = bytes(values, 0);
    Ok(match source.is_ascii() {
        true => Value::text(source.to_ascii_uppercase()),
        false => Value::String(map_case(source, upper_char)),
    })
}

fn lower(values: &[Value]) -> Answer {
    let source = bytes(values, 0);
    Ok(match source.is_ascii() {
        true => Value::text(source.to_ascii_lowercase()),
        false => Value::String(map_case(source, lower_char)),
    })
}

fn contains(values: &[Value]) -> Answer {
    Ok(Value::Bool(find(bytes(values, 0), bytes(values, 1)).is_some()))
}

fn trim_suffix(values: &[Value]) -> Answer {
    let source = bytes(values, 0);
    Ok(Value::text(source.strip_suffix(bytes(values, 1)).unwrap_or(source)))
}

fn trim_prefix(values: &[Value]) -> Answer {
    let source = bytes(values, 0);
    Ok(Value::text(source.strip_prefix(bytes(values, 1)).unwrap_or(source)))
}

fn repeat(values: &[Value]) -> Answer {
    let count = usize::try_from(int(values, 0)).unwrap_or(0);
    let source = bytes(values, 1);
    check_bytes(source.len().saturating_mul(count))?;
    Ok(Value::text(source.repeat(count)))
}

fn no_space(values: &[Value]) -> Answer {
    let kept = text(values, 0).chars().filter(|found| !found.is_whitespace()).collect::<String>();
    Ok(Value::text(kept))
}

/// The words of an identifier, however they are kept apart.
fn words(source: &str) -> Vec<String> {
    let characters: Vec<char> = source.chars().collect();
    let mut words = Vec::new();
    let mut word = String::new();
    for (at, found) in characters.iter().enumerate() {
        if !found.is_alphanumeric() {
            words.push(std::mem::take(&mut word));
            continue;
        }
        let before = at.checked_sub(1).and_then(|before| characters.get(before));
        let after = characters.get(at + 1);
        let begins = found.is_uppercase()
            && before.is_some_and(|before| {
                !before.is_uppercase() || after.is_some_and(|after| after.is_lowercase())
            });
        if begins {
            words.push(std::mem::take(&mut word));
        }
        word.extend(found.to_lowercase());
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn snake(values: &[Value]) -> Answer {
    Ok(Value::text(words(&text(values, 0)).join("_")))
}

fn kebab(values: &[Value]) -> Answer {
    Ok(Value::text(words(&text(values, 0)).join("-")))
}

fn capital(word: &str) -> String {
    let mut rest = word.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

fn camel(values: &[Value]) -> Answer {
    let words = words(&text(values, 0));
    let mut made = words.first().cloned().unwrap_or_default();
    words.iter().skip(1).for_each(|word| made.push_str(&capital(word)));
    Ok(Value::text(made))
}

fn indented(values: &[Value], before: &str) -> Answer {
    let width = usize::try_from(int(values, 0)).unwrap_or(0);
    let source = bytes(values, 1);
    let lines = 1 + memchr::memchr_iter(b'\n', source).count();
    check_bytes(source.len().saturating_add(width.saturating_mul(lines)))?;
    let spaces = " ".repeat(width);
    let mut made = before.as_bytes().to_vec();
    for (at, line) in source.split(|byte| *byte == b'\n').enumerate() {
        if at > 0 {
            made.push(b'\n');
        }
        made.extend(spaces.as_bytes());
        made.extend(line);
    }
    Ok(Value::text(made))
}

fn indent(values: &[Value]) -> Answer {
    indented(values, "")
}

fn nindent(values: &[Value]) -> Answer {
    indented(values, "\n")
}

/// All arguments but nil, each made a text of, with spaces between.
fn spaced(values: &[Value], show: impl Fn(&Text) -> Vec<u8>) -> Answer {
    let given = values.iter().filter(|value| !value.is_nil());
    let shown = given.map(|value| plain(value).map(|text| show(&text)));
    let shown = shown.collect::<Result<Vec<_>, _>>()?;
    let shown: Vec<&[u8]> = shown.iter().map(Vec::as_slice).collect();
    join_bytes(&shown, b" ").map(Value::text)
}

fn double_quoted(values: &[Value]) -> Answer {
    spaced(values, |text| quote(text.as_bytes(), '"', false).into_bytes())
}

fn single_quoted(values: &[Value]) -> Answer {
    spaced(values, |text| [b"'", text.as_bytes(), b"'"].concat())
}

fn cat(values: &[Value]) -> Answer {
    spaced(values, |text| text.as_bytes().to_vec())
}

fn expression(values: &[Value]) -> Result<Regex, String> {
    // A megabyte is plenty for an expression of a configuration file, and few make more of it.
    const SIZE_MAX: usize = 1 << 20;
    let source = text(values, 0);
    let built = regex::bytes::RegexBuilder::new(&source).size_limit(SIZE_MAX).build();
    built.map_err(|error| {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("error parsing regexp: {reason}: `{source}`")
    })
}

fn regex_match(values: &[Value]) -> Answer {
    Ok(Value::Bool(expression(values)?.is_match(bytes(values, 1))))
}

fn regex_find(values: &[Value]) -> Answer {
    let found = expression(values)?;
    let found = found.find(bytes(values, 1)).map(|found| found.as_bytes()).unwrap_or_default();
    Ok(Value::text(found))
}

fn regex_replace(values: &[Value]) -> Answer {
    let made = expression(values)?.replace_all(bytes(values, 1), bytes(values, 2)).into_owned();
    check_bytes(made.len())?;
    Ok(Value::text(made))
}

fn regex_replace_literal(values: &[Value]) -> Answer {
    let with = NoExpand(bytes(values, 2));
    let made = expression(values)?.replace_all(bytes(values, 1), with).into_owned();
    check_bytes(made.len())?;
    Ok(Value::text(made))
}

fn most(values: &[Value]) -> usize {
    usize::try_from(int(values, 2)).unwrap_or(usize::MAX)
}

fn regex_find_all(values: &[Value]) -> Answer {
    let expression = expression(values)?;
    let found = expression.find_iter(bytes(values, 1)).take(most(values));
    Ok(Value::strings(found.map(|found| found.as_bytes())))
}

fn regex_split(values: &[Value]) -> Answer {
    let expression = expression(values)?;
    let source = bytes(values, 1);
    Ok(match most(values) {
        usize::MAX => Value::strings(expression.split(source)),
        most => Value::strings(expression.splitn(source, most)),
    })
}

fn regex_quote(values: &[Value]) -> Answer {
    Ok(Value::text(regex::escape(&text(values, 0))))
}

fn trim(values: &[Value]) -> Answer {
    Ok(match std::str::from_utf8(bytes(values, 0)) {
        Ok(source) => Value::text(source.trim()),
        Err(_) => Value::text(bytes(values, 0).trim_ascii()),
    })
}

fn trim_all(values: &[Value]) -> Answer {
    let (characters, source) = (text(values, 0), text(values, 1));
    Ok(Value::text(source.trim_matches(|found| characters.contains(found))))
}

fn by_word(values: &[Value], map: impl Fn(char) -> char) -> Answer {
    let mut inside = false;
    let map = |found: char| {
        let first = !std::mem::replace(&mut inside, !found.is_whitespace());
        if first { map(found) } else { found }
    };
    Ok(Value::text(text(values, 0).chars().map(map).collect::<String>()))
}

fn title(values: &[Value]) -> Answer {
    by_word(values, upper_char)
}

fn untitle(values: &[Value]) -> Answer {
    by_word(values, lower_char)
}

fn has_prefix(values: &[Value]) -> Answer {
    Ok(Value::Bool(bytes(values, 1).starts_with(bytes(values, 0))))
}

fn has_suffix(values: &[Value]) -> Answer {
    Ok(Value::Bool(bytes(values, 1).ends_with(bytes(values, 0))))
}

fn substr(values: &[Value]) -> Answer {
    let source = bytes(values, 2);
    let start = usize::try_from(int(values, 0)).unwrap_or(0).min(source.len());
    let end = usize::try_from(int(values, 1)).unwrap_or(source.len()).min(source.len());
    Ok(Value::text(source.get(start..end).unwrap_or_default()))
}

fn trunc(values: &[Value]) -> Answer {
    let source = bytes(values, 1);
    let count = usize::try_from(int(values, 0).unsigned_abs()).unwrap_or(usize::MAX);
    let count = count.min(source.len());
    Ok(Value::text(match int(values, 0) < 0 {
        true => &source[source.len() - count..],
        false => &source[..count],
    }))
}
