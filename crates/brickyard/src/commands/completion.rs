//! `completion`.

use clap::{Args, ValueEnum};
use clap_complete::env::Shells;

use crate::complete::VARIABLE;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::Ui;

/// Print what makes a shell complete commands, flags and services
///
/// Source it where the shell starts: `source <(brickyard completion bash)` in ~/.bashrc or with
/// zsh in ~/.zshrc, `brickyard completion fish | source` in ~/.config/fish/config.fish.
#[derive(Debug, Args)]
#[command(after_help = "Example: source <(brickyard completion bash)")]
pub(crate) struct CompletionArgs {
    /// Shell
    #[arg(value_enum)]
    shell: Shell,
}

/// A shell that is known.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }
}

pub(crate) fn run(ui: &Ui, _: &Context, args: &CompletionArgs) -> Result<(), CommandError> {
    let shells = Shells::builtins();
    let name = args.shell.name();
    let completer = shells
        .completer(name)
        .ok_or_else(|| CommandError::machine(format!("nothing is known of `{name}`")))?;
    let mut script = Vec::new();
    // By its name, not its path: the shell finds the one that is installed when it completes.
    completer.write_registration(VARIABLE, "brickyard", "brickyard", "brickyard", &mut script)?;
    ui.data(&String::from_utf8_lossy(&script));
    Ok(())
}
