//! What the instructions without files put into the configuration.

use crate::yard::{Yard, shown};

#[test]
fn every_instruction_counts() {
    let yard = Yard::new(
        r#"ARG BASE=scratch
ARG VERSION=1
FROM ${BASE}
ARG VERSION
ARG NAME=default OTHER="a b"
ARG TARGETOS
MAINTAINER someone
ENV A=1 B="two words" \
    C=$VERSION-${NAME:-x}
ENV D all of this
ENV A=${A}2
LABEL x.y="z $NAME" "quoted key"=v
WORKDIR /srv
WORKDIR app/$TARGETOS
USER 1000:1000
EXPOSE 80 53/udp 8000-8001
VOLUME ["/data", "/more"]
VOLUME /third
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=5s --retries=2 CMD curl -f "http://x" || exit 1
SHELL ["/bin/bash", "-c"]
ENTRYPOINT exec "$A"
CMD ["a", "b c"]
"#,
    )
    .arg("NAME", "given");
    let config = yard.image().config;
    assert_eq!(config.env, ["A=12", "B=two words", "C=1-given", "D=all of this"]);
    let labels: Vec<String> =
        config.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["maintainer=someone", "quoted key=v", "x.y=z given"]);
    assert_eq!(
        (config.working_dir.as_str(), config.user.as_str()),
        ("/srv/app/linux", "1000:1000")
    );
    let ports: Vec<&str> = config.exposed_ports.keys().map(String::as_str).collect();
    assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]);
    let volumes: Vec<&str> = config.volumes.keys().map(String::as_str).collect();
    assert_eq!(volumes, ["/data", "/more", "/third"]);
    assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
    let check = config.healthcheck.unwrap();
    assert_eq!(check.test, ["CMD-SHELL", "curl -f \"http://x\" || exit 1"]);
    assert_eq!((check.interval, check.retries), (5_000_000_000, 2));
    assert_eq!(config.entrypoint.unwrap(), ["/bin/bash", "-c", "exec \"$A\""]);
    assert_eq!(config.cmd.unwrap(), ["a", "b c"]);
}

#[test]
fn a_new_entrypoint_drops_the_arguments_of_the_base() {
    let yard = Yard::new("FROM scratch\nCMD [\"old\"]\nHEALTHCHECK CMD [\"x\"]\n");
    yard.image();
    let yard = yard.file("Dockerfile", "FROM built\nENTRYPOINT [\"new\"]\nHEALTHCHECK NONE\n");
    let config = yard.image().config;
    assert_eq!((config.cmd, config.entrypoint), (None, Some(vec!["new".to_owned()])));
    assert_eq!(config.healthcheck.unwrap().test, ["NONE"]);
}

#[test]
fn arguments_that_nothing_declares_are_named() {
    let yard = Yard::new("FROM scratch\n").arg("TYPO", "1");
    let built = yard.try_build().unwrap();
    assert_eq!(shown(&built.warnings), "BY0207 no ARG declares the build argument `TYPO`");
}
