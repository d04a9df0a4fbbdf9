//! What explains the command to people and shells.

use std::process::Command;

use crate::support::{BRICKYARD, yard};

#[test]
fn shells_complete_verbs_flags_and_services() {
    let yard = yard();
    let model = "services: {web: {image: box}, worker: {image: box}, db: {image: box}}\n";
    let project = yard.project("help", &[("compose.yaml", model)]);
    // As the script that `completion bash` prints asks.
    let complete = |words: &[&str]| {
        let mut command = Command::new(BRICKYARD);
        command.args(["--", "brickyard"]).args(words).current_dir(project.directory());
        command.env("BRICKYARD_COMPLETE", "bash").env("_CLAP_IFS", "\n");
        command.env("_CLAP_COMPLETE_INDEX", words.len().to_string());
        command.env("_CLAP_COMPLETE_COMP_TYPE", "9").env("_CLAP_COMPLETE_SPACE", "true");
        let out = brickyard_testkit::run(command).ok().stdout;
        out.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["unp"]), ["unpause"]);
    assert_eq!(complete(&["stop", "w"]), ["web", "worker"]);
    assert_eq!(complete(&["logs", "--unt"]), ["--until"]);
    for shell in ["bash", "zsh", "fish"] {
        let script = yard.run(&["completion", shell]).ok().stdout;
        assert!(script.contains("BRICKYARD_COMPLETE"), "{script}");
    }
    let _ = yard.run(&["completion", "csh"]).fails_with(2);
}

#[test]
fn the_manual_has_a_page_for_each_verb() {
    let yard = yard();
    let directory = yard.home().join("man");
    let _ = yard.run(&["man", directory.as_str()]).ok();
    for page in ["brickyard.1", "brickyard-up.1", "brickyard-cp.1", "brickyard-image-import.1"] {
        let text = std::fs::read_to_string(directory.join(page)).expect(page);
        assert!(text.contains(".SH"), "{page}: {text}");
    }
}
