//! `man`.

use camino::Utf8PathBuf;
use clap::Args;

use crate::cli;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui, count};

/// Write the manual's pages, one for each command
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard man /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Directory; it is made when it is missing
    directory: Utf8PathBuf,
}

pub(crate) fn run(ui: &Ui, _: &Context, args: &ManArgs) -> Result<(), CommandError> {
    let directory = &args.directory;
    let failed = |err| CommandError::usage(format!("cannot write to `{directory}`: {err}"));
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(cli::command(), directory).map_err(failed)?;
    let pages = std::fs::read_dir(directory).map_err(failed)?.count();
    ui.say(&format!("{} {} in {directory}", ui.paint(Role::Good, "wrote"), count(pages, "page")));
    Ok(())
}
