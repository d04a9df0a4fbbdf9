//! The command.

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let code = match arguments.get(1).map(String::as_str) {
        Some("__worker") => brickyard_engine::native::worker_main(),
        Some("__monitor") => brickyard_engine::native::monitor_main(&arguments[2..]),
        Some("__exec") => brickyard_engine::native::exec_main(),
        Some("__file") => brickyard_engine::native::file_main(),
        _ => 2,
    };
    std::process::exit(code);
}
