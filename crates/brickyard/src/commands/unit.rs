//! The systemd unit of a yard's agent.

use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};

use crate::context::{Context, binary};
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Where units that a machine's owner makes belong.
pub(crate) const UNIT_DIR: &str = "/etc/systemd/system";

/// Name of the unit: that of the usual yard is plain, others have their directory in it.
fn name(root: &Utf8Path) -> String {
    match root.as_str() {
        crate::cli::ROOT_DEFAULT => "brickyard.service".to_owned(),
        other => {
            let plain: String =
                other.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            format!("brickyard{plain}.service")
        }
    }
}

/// The unit's text. Only the agent is the unit's own: what it started outlives it, so that an
/// upgrade or a crash stops no container.
fn text(binary: &Utf8Path, root: &Utf8Path) -> String {
    format!(
        "[Unit]\n\
         Description=Brickyard agent of {root}\n\
         Documentation=man:brickyard(1)\n\
         After=network-online.target local-fs.target\n\
         Wants=network-online.target\n\
         RequiresMountsFor={root}\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         ExecStart={binary} --root {root} agent run\n\
         Restart=always\n\
         RestartSec=1\n\
         # Containers, monitors and the front go on while the agent is stopped or upgraded.\n\
         KillMode=process\n\
         Delegate=yes\n\
         LimitNOFILE=1048576\n\
         TasksMax=infinity\n\
         OOMScoreAdjust=-500\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

/// Whether there is a systemd to talk to.
pub(crate) fn systemd_runs() -> bool {
    Utf8Path::new("/run/systemd/system").exists()
}

/// Runs systemctl where there is a systemd to talk to; says what to run where there is none.
fn systemctl(ui: &Ui, arguments: &[&str]) -> Result<(), CommandError> {
    let line = format!("systemctl {}", arguments.join(" "));
    if !systemd_runs() {
        ui.say(&ui.paint(Role::Faint, &format!("systemd does not run here; later: {line}")));
        return Ok(());
    }
    match Command::new("systemctl").args(arguments).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(CommandError::machine(format!("`{line}` ended with {status}"))),
        Err(err) => Err(CommandError::machine(format!("cannot run `{line}`: {err}"))),
    }
}

/// Writes the unit, and starts it at once and at each boot.
pub(crate) fn install(ui: &Ui, context: &Context, dir: &Utf8Path) -> Result<(), CommandError> {
    let root = context.root()?;
    let (name, path) = (name(&root), dir.join(name(&root)));
    let failed = |err| CommandError::machine(format!("cannot write `{path}`: {err}"));
    std::fs::create_dir_all(dir).map_err(failed)?;
    let temporary = Utf8PathBuf::from(format!("{path}.new"));
    std::fs::write(&temporary, text(&binary()?, &root)).map_err(failed)?;
    std::fs::rename(&temporary, &path).map_err(failed)?;
    ui.say(&format!("{} `{path}`", ui.paint(Role::Good, "wrote")));
    systemctl(ui, &["daemon-reload"])?;
    systemctl(ui, &["enable", "--now", &name])
}

/// Takes the unit away; what runs goes on.
pub(crate) fn uninstall(ui: &Ui, context: &Context, dir: &Utf8Path) -> Result<(), CommandError> {
    let root = context.root()?;
    let (name, path) = (name(&root), dir.join(name(&root)));
    if !path.exists() {
        return Err(CommandError::not_found(format!("there is no unit `{path}`")));
    }
    systemctl(ui, &["disable", "--now", &name])?;
    std::fs::remove_file(&path)
        .map_err(|err| CommandError::machine(format!("cannot remove `{path}`: {err}")))?;
    ui.say(&format!("{} `{path}`; what runs goes on", ui.paint(Role::Good, "removed")));
    systemctl(ui, &["daemon-reload"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_yard_has_a_unit_of_its_own() {
        assert_eq!(name("/var/lib/brickyard".into()), "brickyard.service");
        assert_eq!(name("/srv/a yard".into()), "brickyard-srv-a-yard.service");
    }

    #[test]
    fn only_the_agent_is_killed_with_the_unit() {
        let unit = text("/usr/bin/brickyard".into(), "/srv/yard".into());
        for line in ["KillMode=process", "ExecStart=/usr/bin/brickyard --root /srv/yard agent run"]
        {
            assert!(unit.lines().any(|found| found == line), "{unit}");
        }
    }
}
