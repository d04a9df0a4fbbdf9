//! Templates written in one way: the space within actions, and nothing of what comes out.

use crate::lex::{Item, Kind, LEFT, Lexer, RIGHT};
use crate::{Options, ParseError, parse_with};

/// A template with the space within its actions in order: none beside braces and parentheses, one
/// between words and around `|`, `:=` and `=`, one after a comma. Lines that are broken stay so, and
/// comments and text stay as they are.
///
/// # Errors
/// What is wrong with it, as by [`parse_with`].
pub fn formatted(
    name: &str,
    text: impl AsRef<[u8]>,
    options: Options,
) -> Result<Vec<u8>, ParseError> {
    let text = text.as_ref();
    let own = |own: &str, usual: &[u8]| match own {
        "" => usual.to_vec(),
        own => own.as_bytes().to_vec(),
    };
    let (left, right) = &options.delimiters;
    let (left, right) = (own(left, LEFT), own(right, RIGHT));
    parse_with(name, text, options)?;
    let mut written = Vec::with_capacity(text.len());
    let mut lexer = Lexer::new(text, &left, &right);
    // What is before this is written.
    let mut done = 0;
    loop {
        let item = lexer.next_item();
        match item.kind {
            Kind::Eof | Kind::Error => break,
            Kind::LeftDelim => {
                // Text, comments and space that is trimmed.
                written.extend_from_slice(text.get(done..item.position).unwrap_or_default());
                let mut action = Action::new(&item, &left);
                loop {
                    let item = lexer.next_item();
                    match item.kind {
                        Kind::Eof | Kind::Error => return Ok(text.to_vec()),
                        Kind::RightDelim => {
                            action.end(&item, &right, &mut written);
                            done = item.position + right.len();
                            break;
                        }
                        _ => action.add(item),
                    }
                }
            }
            _ => {}
        }
    }
    written.extend_from_slice(text.get(done..).unwrap_or_default());
    // What was written is read as the same; a template is never changed for its looks.
    Ok(match words(&written, &left, &right) == words(text, &left, &right) {
        true => written,
        false => text.to_vec(),
    })
}

/// Everything but space in actions.
fn words<'a>(text: &'a [u8], left: &'a [u8], right: &'a [u8]) -> Vec<(Kind, &'a [u8])> {
    let mut lexer = Lexer::new(text, left, right);
    let mut words = Vec::new();
    loop {
        let item = lexer.next_item();
        match item.kind {
            Kind::Space => {}
            Kind::Eof | Kind::Error => {
                words.push((item.kind, &b""[..]));
                return words;
            }
            kind => words.push((kind, item.text)),
        }
    }
}

/// An action while it is read.
struct Action<'a> {
    left: &'a [u8],
    /// Where its first item would be without a marker.
    start: usize,
    items: Vec<Item<'a>>,
}

impl<'a> Action<'a> {
    fn new(opening: &Item<'a>, left: &'a [u8]) -> Self {
        Self { left, start: opening.position + left.len(), items: Vec::new() }
    }

    fn add(&mut self, item: Item<'a>) {
        self.items.push(item);
    }

    /// Writes it.
    fn end(&self, closing: &Item<'a>, right: &[u8], into: &mut Vec<u8>) {
        let first = self.items.first().map_or(closing.position, |item| item.position);
        let trims_before = self.items.is_empty() && closing.position > self.start
            || !self.items.is_empty() && first > self.start;
        let last =
            self.items.last().map_or(closing.position, |item| item.position + item.text.len());
        let trims_after = closing.position > last;
        into.extend_from_slice(self.left);
        if trims_before {
            into.extend_from_slice(b"- ");
        }
        let mut before = None;
        for (number, item) in self.items.iter().enumerate() {
            let after = self.items.get(number + 1).map(|item| item.kind);
            match item.kind {
                Kind::Space => self.space(item, before, after, into),
                kind => {
                    // What has no space on a side where it should.
                    let is_apart =
                        |kind: Kind| matches!(kind, Kind::Pipe | Kind::Declare | Kind::Assign);
                    let was_comma = self.is_comma(number.checked_sub(1));
                    let is_next = before.is_some_and(|before| before != Kind::Space);
                    if is_next && (is_apart(kind) || before.is_some_and(is_apart) || was_comma) {
                        into.push(b' ');
                    }
                    into.extend_from_slice(item.text);
                    before = Some(kind);
                    continue;
                }
            }
            before = Some(Kind::Space);
        }
        if trims_after {
            into.extend_from_slice(b" -");
        }
        into.extend_from_slice(right);
    }

    fn is_comma(&self, number: Option<usize>) -> bool {
        let item = number.and_then(|number| self.items.get(number));
        item.is_some_and(|item| item.kind == Kind::Char && item.text == b",")
    }

    fn space(
        &self,
        item: &Item<'a>,
        before: Option<Kind>,
        after: Option<Kind>,
        into: &mut Vec<u8>,
    ) {
        // A broken line is somebody's intention.
        if item.text.contains(&b'\n') {
            into.extend_from_slice(item.text);
            return;
        }
        let is_comma_next = after == Some(Kind::Char);
        let is_inside = matches!(before, None | Some(Kind::LeftParen));
        if !is_inside && !is_comma_next && !matches!(after, None | Some(Kind::RightParen)) {
            into.push(b' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(text: &str) -> String {
        let written = formatted("t", text, Options::default()).expect("it is a template");
        let again = formatted("t", &written, Options::default()).expect("it is one still");
        assert_eq!(again, written, "it is in order: {text}");
        String::from_utf8(written).expect("it was text")
    }

    #[test]
    fn space_in_actions_is_put_in_order_and_nothing_else() {
        for (text, written) in [
            ("a {{  .x  }} b", "a {{.x}} b"),
            ("{{if   eq .x   1 }} y {{ else }} n {{end }}", "{{if eq .x 1}} y {{else}} n {{end}}"),
            ("{{ $x:=.y|len }}{{$x =1}}", "{{$x := .y | len}}{{$x = 1}}"),
            ("{{range $i ,$e:=.}}{{end}}", "{{range $i, $e := .}}{{end}}"),
            ("{{ ( len  .x ) }}{{(.x).y}}", "{{(len .x)}}{{(.x).y}}"),
            (" {{-   .x   -}}  \n", " {{- .x -}}  \n"),
            ("{{ -3 }}{{- -3 -}}", "{{-3}}{{- -3 -}}"),
            (
                "{{/*  kept  */}}{{- /* too */ -}} {{ 1 }}",
                "{{/*  kept  */}}{{- /* too */ -}} {{1}}",
            ),
            ("{{ \"a  b\" | printf `%s  ` }}", "{{\"a  b\" | printf `%s  `}}"),
            ("{{ .x |\n     len }}", "{{.x |\n     len}}"),
            ("no action", "no action"),
            ("", ""),
        ] {
            assert_eq!(format(text), written, "{text}");
        }
    }

    #[test]
    fn delimiters_of_ones_own_are_kept() {
        let options = Options { delimiters: ("[[".into(), "]]".into()), ..Options::default() };
        let written = formatted("t", "{{ x }} [[ .y  ]]", options).expect("it is a template");
        assert_eq!(written, b"{{ x }} [[.y]]");
    }

    #[test]
    fn what_is_no_template_is_said() {
        let wrong = formatted("t", "{{if}}", Options::default()).expect_err("it is none");
        assert_eq!(wrong.to_string(), "template: t:1: missing value for if");
    }
}
