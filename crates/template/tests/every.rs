//! Every function that there is, by what its own documentation says of it: confd's, abtreece's,
//! consul-template's, sprig's and ours. One that is not named here fails the last test.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use brickyard_template::{MapScope, Moment, Service, Text, World, functions, parse};

use crate::On;

/// A machine of which everything is known.
struct Machine;

impl World for Machine {
    fn now(&self) -> Option<Moment> {
        // Go's own example: the fifth second of the fourth minute and so on, in Denver.
        let zone = "MST".to_owned();
        Some(Moment { seconds: 1_136_239_445, nanoseconds: 0, offset_s: -7 * 3600, zone })
    }

    fn hostname(&self) -> Option<String> {
        Some("box".to_owned())
    }

    fn addresses(&self, host: &str) -> Vec<IpAddr> {
        match host {
            "db" => ["10.0.0.2", "10.0.0.1", "fd00::1"]
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
            _ => Vec::new(),
        }
    }

    fn services(&self, service: &str, protocol: &str, domain: &str) -> Vec<Service> {
        let one =
            |target: &str, port| Service { target: target.into(), port, priority: 1, weight: 2 };
        match (service, protocol, domain) {
            ("sip", "udp", "example.org") => vec![one("b.", 2), one("a.", 1)],
            _ => Vec::new(),
        }
    }

    fn interface_addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        match name {
            "lo" => Ok(["127.0.0.1", "::1"].iter().filter_map(|text| text.parse().ok()).collect()),
            name => Err(format!("no such network interface: {name}")),
        }
    }

    fn file_exists(&self, path: &str) -> bool {
        path == "/etc/passwd"
    }

    fn decrypt(&self, encrypted: &[u8]) -> Result<Vec<u8>, String> {
        Ok(encrypted.iter().rev().copied().collect())
    }

    fn source(&self, name: &str) -> Result<Text, String> {
        match name {
            "part" => Ok(Text::from("[{{.}}]")),
            name => Err(format!("there is no template `{name}`")),
        }
    }
}

fn render(text: &str) -> String {
    let mut scope = MapScope::new([
        ("/app/a", "2"),
        ("/app/b", "1"),
        ("/app/sub/c", "3"),
        ("/json", r#"{"n": 12345678, "l": ["x"]}"#),
        ("/secret", "terces"),
    ]);
    scope.env =
        BTreeMap::from([("SET".to_owned(), "e".to_owned()), ("NIL".to_owned(), String::new())]);
    scope.lines.insert(
        "db".to_owned(),
        brickyard_template::LineValue {
            host: "10.0.0.2".to_owned(),
            port: 6379,
            address: "/s/e/db/1/redis".to_owned(),
            instances: Vec::new(),
        },
    );
    match parse("t", text) {
        Err(error) => format!("PARSE {error}"),
        Ok(template) => match template.render(&On(scope, Machine)) {
            Err(error) => {
                let text = error.to_string();
                format!("ERROR {}", text.rsplit(": ").next().unwrap_or_default())
            }
            Ok(rendered) => String::from_utf8_lossy(&rendered.output).into_owned(),
        },
    }
}

/// What is between the braces, and what comes out.
const CASES: &[(&str, &str)] = &[
    ("and 1 0 2", "0"),
    ("and 1 2", "2"),
    ("call 1", "ERROR non-function 1 of type int"),
    ("eq 1 2 1", "true"),
    ("ge 2 2", "true"),
    ("gt 2 2", "false"),
    (r#"html "<a>""#, "&lt;a&gt;"),
    (r#"index (list "a" "b") 1"#, "b"),
    (r#"js "it's""#, r#"it\'s"#),
    ("le 1 2", "true"),
    (r#"len "abc""#, "3"),
    ("lt 2 1", "false"),
    ("ne 1 2", "true"),
    ("not 0", "true"),
    (r#"or 0 "" "x""#, "x"),
    (r#"print 1 2 "a""#, "1 2a"),
    (r#"printf "%05.1f %q" 3.14159 "x""#, r#"003.1 "x""#),
    (r#"println "a" 1"#, "a 1\n"),
    (r#"slice "abcd" 1 3"#, "bc"),
    (r#"urlquery "a b&c""#, "a+b%26c"),
    ("add 1 2", "3"),
    (r#"atoi "42""#, "42"),
    (r#"atoi "x""#, "ERROR invalid syntax"),
    (r#"base "/a/b.c""#, "b.c"),
    (r#"base64Decode "aGk=""#, "hi"),
    (r#"base64Encode "hi""#, "aGk="),
    (r#"(cget "/secret").Value"#, "secret"),
    (r#"range cgets "/secret"}}{{.Value}}{{end"#, "secret"),
    (r#"cgetv "/secret""#, "secret"),
    (r#"cgetvs "/secret""#, "[secret]"),
    (r#"contains "seafood" "foo""#, "true"),
    (r#"datetime.Format "2006-01-02 15:04:05 MST""#, "2006-01-02 15:04:05 MST"),
    (r#"dir "/a/b/c""#, "/a/b"),
    ("div 7 2", "3"),
    (r#"exists "/app/a""#, "true"),
    (r#"exists "/app""#, "false"),
    (r#"fileExists "/etc/passwd""#, "true"),
    (r#"fileExists "/nope""#, "false"),
    (r#"(get "/app/a").Key"#, "/app/a"),
    (r#"getenv "SET""#, "e"),
    (r#"getenv "NIL" "d""#, "d"),
    (r#"range gets "/app/*"}}{{.Key}};{{end"#, "/app/a;/app/b;"),
    (r#"getv "/app/a""#, "2"),
    (r#"getv "/nope" "d""#, "d"),
    (r#"getvs "/app/*""#, "[1 2]"),
    (r#"join (split "a,b" ",") "-""#, "a-b"),
    (r#"(json (getv "/json")).n"#, "1.2345678e+07"),
    (r#"index (jsonArray "[1.5, 2]") 0"#, "1.5"),
    (r#"lookupIP "db""#, "[10.0.0.1 10.0.0.2 fd00::1]"),
    (r#"lookupIPV4 "db""#, "[10.0.0.1 10.0.0.2]"),
    (r#"lookupIPV6 "db""#, "[fd00::1]"),
    (r#"lookupIP "nobody""#, "[]"),
    (r#"range lookupSRV "sip" "udp" "example.org"}}{{.Target}}:{{.Port}};{{end"#, "a.:1;b.:2;"),
    (r#"ls "/app""#, "[a b sub]"),
    (r#"lsdir "/app""#, "[sub]"),
    (r#"map "k" 1"#, "map[k:1]"),
    (r#"map "k""#, "ERROR invalid map call"),
    ("mod 7 4", "3"),
    ("mul 3 4", "12"),
    (r#"parseBool "t""#, "true"),
    (r#"replace "oink oink" "k" "ky" 1"#, "oinky oink"),
    (r#"reverse (split "a,b,c" ",")"#, "[c b a]"),
    ("seq 2 4", "[2 3 4]"),
    ("seq 4 2", "[]"),
    (r#"sortByLength (split "ccc,a,bb" ",")"#, "[a bb ccc]"),
    (r#"range sortKVByLength (gets "/app/*")}}{{.Key}};{{end"#, "/app/a;/app/b;"),
    (r#"split "a:b" ":""#, "[a b]"),
    ("sub 5 3", "2"),
    (r#"toLower "AbC""#, "abc"),
    (r#"toUpper "abc""#, "ABC"),
    (r#"trimSuffix "a.conf" ".conf""#, "a"),
    ("append (list 1 2) 3", "[1 2 3]"),
    (r#"camelcase "http_server""#, "httpServer"),
    (r#"coalesce "" 0 "x""#, "x"),
    (r#"default "d" """#, "d"),
    (r#"default "d" "v""#, "v"),
    (r#"dict "a" 1 "b" 2"#, "map[a:1 b:2]"),
    ("empty (list)", "true"),
    (r#"empty "x""#, "false"),
    (r#"(fromJson "{\"a\": [1]}").a"#, "[1]"),
    (r#"hasKey (dict "a" 1) "a""#, "true"),
    ("hostname", "box"),
    (r#"include "part" 7"#, "[7]"),
    (r#"indent 2 "a\nb""#, "  a\n  b"),
    (r#"kebabcase "FirstName""#, "first-name"),
    (r#"keys (dict "b" 1 "a" 2)"#, "[a b]"),
    (r#"list 1 "b""#, "[1 b]"),
    (r#"lookupIfaceIPV4 "lo""#, "127.0.0.1"),
    (r#"lookupIfaceIPV6 "lo""#, "::1"),
    (r#"nindent 1 "a""#, "\n a"),
    (r#"nospace " h e ""#, "he"),
    (r#"pluck "a" (dict "a" 1) (dict "b" 2) (dict "a" 3)"#, "[1 3]"),
    (r#"quote "a\"b""#, r#""a\"b""#),
    (r#"regexFind "[a-z]+" "12ab3""#, "ab"),
    (r#"regexMatch "^a.c$" "abc""#, "true"),
    (r#"regexReplaceAll "a(x*)b" "-ab-axxb-" "${1}W""#, "-W-xxW-"),
    (r#"repeat 3 "ab""#, "ababab"),
    (r#"sha256sum "abc""#, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (r#"snakecase "FirstName""#, "first_name"),
    (r#"squote "a""#, "'a'"),
    (r#"ternary "y" "n" true"#, "y"),
    (r#"toJson (dict "a" "<b>")"#, r#"{"a":"\u003cb\u003e"}"#),
    (r#"toPrettyJson (dict "a" 1)"#, "{\n  \"a\": 1\n}"),
    (r#"trimPrefix "v1.2" "v""#, "1.2"),
    (r#"values (dict "b" 1 "a" 2)"#, "[2 1]"),
    ("divide 2 10", "5"),
    (r#"env "SET""#, "e"),
    (r#"in (list "a" "b") "b""#, "true"),
    ("range loop 3}}{{.}}{{end", "012"),
    ("range loop 2 4}}{{.}}{{end", "23"),
    ("modulo 4 7", "3"),
    ("multiply 2 5", "10"),
    (r#"parseFloat "1.5""#, "1.5"),
    (r#"parseInt "12""#, "12"),
    (r#"(parseJSON "{\"a\": \"b\"}").a"#, "b"),
    (r#"(parseYAML "a: [1, x]").a"#, "[1 x]"),
    (r#"sha256Hex "abc""#, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ("subtract 2 10", "8"),
    ("timestamp", "2006-01-02T22:04:05Z"),
    (r#"timestamp "unix""#, "1136239445"),
    (r#"toJSON (list 1 "a")"#, r#"[1,"a"]"#),
    (r#"toJSONPretty (dict "a" 1)"#, "{\n  \"a\": 1\n}"),
    (r#"toTOML (dict "a" 1)"#, "a = 1"),
    (r#"toYAML (dict "a" (list 1 "x"))"#, "a:\n- 1\n- x"),
    (r#"trimSpace "  a ""#, "a"),
    ("add1 2", "3"),
    ("addf 1.5 2 3", "6.5"),
    (r#"b64dec "aGk=""#, "hi"),
    (r#"b64enc "hi""#, "aGk="),
    (r#"cat "a" 1 "b""#, "a 1 b"),
    ("ceil 1.1", "2"),
    (r#"compact (list 1 0 "" "a")"#, "[1 a]"),
    ("concat (list 1 2) (list 3)", "[1 2 3]"),
    (r#"date "2006-01-02" now"#, "2006-01-02"),
    (r#"dig "a" "b" "d" (dict "a" (dict "b" 1))"#, "1"),
    (r#"dig "a" "x" "d" (dict "a" (dict "b" 1))"#, "d"),
    ("divf 10 2 4", "1.25"),
    (r#"fail "no way""#, "ERROR no way"),
    ("first (list 1 2)", "1"),
    (r#"float "2.5""#, "2.5"),
    (r#"float64 "2.5""#, "2.5"),
    ("floor 1.9", "1"),
    (r#"(fromYaml "a: b").a"#, "b"),
    ("has 4 (list 1 4)", "true"),
    (r#"hasPrefix "cat" "catch""#, "true"),
    (r#"hasSuffix "ch" "catch""#, "true"),
    ("initial (list 1 2 3)", "[1 2]"),
    (r#"int "12""#, "12"),
    ("int64 12.9", "12"),
    ("kindOf (list 1)", "slice"),
    ("last (list 1 2)", "2"),
    (r#"lower "AB""#, "ab"),
    ("max 1 3 2", "3"),
    (r#"md5sum "abc""#, "900150983cd24fb0d6963f7d28e17f72"),
    (r#"merge (dict "a" 1) (dict "a" 2 "b" 3)"#, "map[a:1 b:3]"),
    ("min 3 1 2", "1"),
    ("mulf 1.5 2", "3"),
    ("now.Year", "2006"),
    (r#"omit (dict "a" 1 "b" 2) "a""#, "map[b:2]"),
    (r#"pick (dict "a" 1 "b" 2) "a""#, "map[a:1]"),
    ("prepend (list 2 3) 1", "[1 2 3]"),
    ("push (list 1) 2", "[1 2]"),
    (r#"regexFindAll "[2,4,6,8]" "123456789" -1"#, "[2 4 6 8]"),
    (r#"regexQuoteMeta "1.2.3""#, r#"1\.2\.3"#),
    (r#"regexReplaceAllLiteral "a(x*)b" "-ab-axxb-" "${1}""#, "-${1}-${1}-"),
    (r#"regexSplit "z+" "pizza" -1"#, "[pi a]"),
    (r#"required "must be" "x""#, "x"),
    (r#"required "must be" """#, "ERROR must be"),
    ("rest (list 1 2 3)", "[2 3]"),
    (r#"set (dict "a" 1) "b" 2"#, "map[a:1 b:2]"),
    (r#"sha1sum "abc""#, "a9993e364706816aba3e25717850c26c9cd0d89d"),
    (r#"sortAlpha (list "b" "a")"#, "[a b]"),
    (r#"splitList "$" "a$b""#, "[a b]"),
    ("subf 7.5 2 3", "2.5"),
    (r#"substr 0 5 "hello world""#, "hello"),
    (r#"title "hello world""#, "Hello World"),
    ("toString 12", "12"),
    ("toStrings (list 1 2)", "[1 2]"),
    (r#"toToml (dict "a" "b")"#, r#"a = "b""#),
    (r#"toYaml (dict "a" "b")"#, "a: b"),
    (r#"trim "  a ""#, "a"),
    (r#"trimAll "$" "$5.00""#, "5.00"),
    (r#"trunc 5 "hello world""#, "hello"),
    (r#"trunc -5 "hello world""#, "world"),
    (r#"typeOf "a""#, "string"),
    ("uniq (list 1 1 2)", "[1 2]"),
    ("unixEpoch now", "1136239445"),
    (r#"unset (dict "a" 1 "b" 2) "a""#, "map[b:2]"),
    ("until 3", "[0 1 2]"),
    ("untilStep 3 6 2", "[3 5]"),
    (r#"untitle "Hello World""#, "hello world"),
    (r#"upper "ab""#, "AB"),
    ("without (list 1 2 3) 2", "[1 3]"),
    (r#"line "db""#, "10.0.0.2:6379"),
];

#[test]
fn every_function_does_what_its_documentation_says() {
    let mut wrong = Vec::new();
    for (action, expected) in CASES {
        let found = render(&format!("{{{{{action}}}}}"));
        if found != *expected {
            wrong.push(format!("{action}\n  expected {expected:?}\n  found    {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_function_is_without_a_case() {
    let words: BTreeSet<&str> = CASES
        .iter()
        .flat_map(|(action, _)| action.split(|c: char| !c.is_ascii_alphanumeric()))
        .collect();
    let missing: Vec<&str> = functions()
        .into_iter()
        .map(|found| found.name)
        .filter(|name| !words.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
