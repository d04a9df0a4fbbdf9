//! What a user sees when a Dockerfile is wrong.

use crate::yard::Yard;

#[test]
fn all_mistakes_come_at_once_with_their_lines() {
    let yard = Yard::new(
        r#"# comment
ENV TOO=early
FROM scratch
RUN apt-get update && \
    apt-get install x
COYP a b
ONBUILD COPY . .
COPY --parents a /b
COPY only-one
EXPOSE
HEALTHCHECK
ENV =x
RUN <<EOF
FROM nothing
EOF
SHELL /bin/sh
HEALTHCHECK --interval=often CMD x
FROM --platform=x scratch
FROM a b
"#,
    );
    let expected = "\
2:1 BY0201 `ENV` stands before the first FROM
4:1 BY0202 `RUN` is not supported yet
6:1 BY0203 unknown instruction `COYP` (did you mean `COPY`?)
7:1 BY0202 `ONBUILD` is not supported yet
8:6 BY0202 `--parents` of `COPY` is not supported yet
9:1 BY0201 write COPY SOURCE... DESTINATION
10:1 BY0201 `EXPOSE` needs an argument
11:1 BY0201 `HEALTHCHECK` needs an argument
12:5 BY0201 `` is not KEY=VALUE
13:1 BY0202 here-documents in `RUN` are not supported yet
16:7 BY0201 write SHELL [\"PROGRAM\", \"ARGUMENT\"]
17:13 BY0201 `--interval=often` has no valid value
18:6 BY0202 `--platform` of `FROM` is not supported yet
19:1 BY0201 write FROM IMAGE or FROM IMAGE AS NAME";
    assert_eq!(yard.findings(), expected);
}

#[test]
fn sources_that_are_not_there_are_named_with_the_nearest() {
    let yard = Yard::new(
        r"FROM scratch
COPY indx.html \
     ignored /www/
COPY web/ghost /www/
COPY *.css /
ADD https://example.com/x /x
COPY a index.html /not-a-directory
COPY --chown=nobody a /a
COPY --from=nowhere /a /a
COPY [[ /a
EXPOSE http
COPY ${UNCLOSED /a
",
    )
    .file("index.html", "")
    .file("a", "")
    .file("ignored", "")
    .file("web/host", "")
    .file(".dockerignore", "ignored\n");
    let expected = "\
2:6 BY0205 there is no `indx.html` to copy (`index.html` exists; did you mean that?)
4:6 BY0205 there is no `web/ghost` to copy (`web/host` exists; did you mean that?)
5:6 BY0205 there is no `*.css` to copy
6:5 BY0202 the URL `https://example.com/x` is not supported yet
7:19 BY0206 with more than one source the destination must end with `/`
8:6 BY0202 `--chown=nobody` is not supported yet (write numbers, as --chown=1000:1000)
9:6 BY0204 there is no stage or local image `nowhere`
10:6 BY0201 the pattern `[[` is malformed
11:8 BY0201 `http` is no port, as 80 or 80/tcp
12:6 BY0201 `${UNCLOSED` cannot be read: a `}` is missing";
    assert_eq!(yard.findings(), expected);
    let yard = yard.file("Dockerfile", "FROM scratch\nCOPY ignored /x\n");
    let expected = "2:6 BY0205 there is no `ignored` to copy (it is excluded by .dockerignore)";
    assert_eq!(yard.findings(), expected);
}

#[test]
fn bases_that_are_not_there() {
    let yard = Yard::new("FROM scratch\n");
    yard.image();
    let yard = yard.file("Dockerfile", "ARG B=bilt\nFROM $B\n");
    assert_eq!(
        yard.findings(),
        "2:6 BY0204 there is no image `bilt` (an image named `built` exists; did you mean that?)"
    );
    for (text, expected) in [
        ("", "1:1 BY0201 the Dockerfile has no FROM"),
        ("FROM $NONE\n", "1:6 BY0201 the base `$NONE` is empty"),
    ] {
        assert_eq!(Yard::new(text).findings(), expected);
    }
    let yard = Yard::new("FROM scratch\nCOPY a /\n").file(".dockerignore", "ok\n[bad\n");
    assert_eq!(yard.findings(), "2:1 BY0201 the pattern `[bad` is malformed");
    std::fs::remove_file(yard.context().join("Dockerfile")).unwrap();
    assert!(yard.findings().starts_with("BY0200 the Dockerfile"));
}

#[test]
fn a_file_in_the_way_is_named() {
    let yard = Yard::new("FROM scratch\nCOPY a /a\nCOPY a /a/b\n").file("a", "");
    assert_eq!(yard.findings(), "3:8 BY0206 `/a` is no directory in the image");
}
