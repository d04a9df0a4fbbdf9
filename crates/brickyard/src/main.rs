//! `brickyard`: service management for containers.
//!
//! This file only tells the hidden helper processes (single-threaded, never tokio) from the
//! commands that people type.

mod cli;
mod commands;
mod complete;
mod context;
mod error;
mod output;
mod relay;
mod terminal;
mod ui;

use camino::Utf8Path;

fn main() {
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let rest = arguments.get(2..).unwrap_or_default();
    let program = arguments.first().map_or("", String::as_str);
    if Utf8Path::new(program).file_name() == Some("confd") {
        std::process::exit(brickyard_confd::main(program, arguments.get(1..).unwrap_or_default()));
    }
    let code = match arguments.get(1).map(String::as_str) {
        Some("__worker") => brickyard_engine::native::worker_main(),
        Some("__monitor") => brickyard_engine::native::monitor_main(rest),
        Some("__exec") => brickyard_engine::native::exec_main(),
        Some("__file") => brickyard_engine::native::file_main(),
        Some("__copy") => brickyard_engine::native::copy_main(),
        Some("__attend") => commands::run::attend::main(rest),
        Some("__front") => match rest {
            [root] => brickyard_front::process::main(Utf8Path::new(root)),
            _ => 2,
        },
        // Before anything else, as it runs often and briefly.
        Some("confd") => brickyard_confd::main(program, rest),
        _ => cli::main(),
    };
    std::process::exit(code);
}
