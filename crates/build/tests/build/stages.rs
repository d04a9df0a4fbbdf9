//! Several stages, and files from one in another.

use crate::yard::{Yard, files};

const STAGES: &str = "
FROM scratch AS assets
COPY a /out/a
COPY b /out/deep/b
FROM scratch AS Unused
COPY missing-but-not-needed /x
FROM assets AS more
COPY c /out/c
FROM scratch
COPY --from=more /out /www
COPY --from=0 /out/a /zero
COPY --from=more /out/*/b /glob/
CMD [\"last\"]
";

fn yard() -> Yard {
    Yard::new(STAGES).file("a", "a").file("b", "b").file("c", "c")
}

#[test]
fn stages_take_from_stages_and_unneeded_ones_are_left_out() {
    let yard = yard();
    let image = yard.image();
    assert_eq!(files(&image.layers[0]), ["www/a", "www/c", "www/deep/b"]);
    assert_eq!(files(&image.layers[1]), ["zero"]);
    assert_eq!(files(&image.layers[2]), ["glob/b"]);
    assert_eq!(image.layers.len(), 3);
}

#[test]
fn a_target_stops_early() {
    let mut yard = yard();
    yard.target = Some("MORE");
    let image = yard.image();
    assert_eq!(image.layers.len(), 3);
    assert_eq!(image.config.cmd, None);
    yard.target = Some("asets");
    assert_eq!(
        yard.findings(),
        "BY0204 the Dockerfile has no stage `asets` (did you mean `assets`?)"
    );
}

#[test]
fn files_come_from_local_images_too() {
    let yard = Yard::new("FROM scratch\nCOPY a /in/a\n").file("a", "a");
    yard.image();
    let yard = yard.file("Dockerfile", "FROM scratch\nCOPY --from=built:latest /in /out\n");
    assert_eq!(files(&yard.image().layers[0]), ["out/a"]);
}
