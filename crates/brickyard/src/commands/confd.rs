//! `confd`.

use clap::Args;

use crate::error::CommandError;

/// Keep configuration files of this host up to date: confd's command, with its own flags and files
///
/// `brickyard confd -h` lists the flags. A link named `confd` to this program does the same.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
#[command(after_help = "Example: brickyard confd -onetime -backend env")]
pub(crate) struct ConfdArgs {
    /// confd's flags
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

/// It has a runtime of its own, so it is not run within another one.
pub(crate) fn run(args: &ConfdArgs) -> Result<(), CommandError> {
    match brickyard_confd::main("confd", &args.flags) {
        0 => Ok(()),
        code => Err(CommandError::Code(code)),
    }
}
