//! `cp`.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use brickyard_engine::InstanceId;
use brickyard_engine::native::{Native, PathKind, pack};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::targets;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui, count};

/// Copy files between instances and here
///
/// One side is INSTANCE:PATH, seen from the instance's root; there links resolve inside it. `-`
/// stands for a tar archive on standard input or output. A directory is copied as a whole: into
/// the destination where that is a directory, as the destination where nothing is; with `/.` at
/// its end just what is in it is copied. What comes into an instance belongs to its root, what
/// comes out to the caller. Instances that do not run can be copied from and to as well.
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard cp web/2:/var/log/. logs")]
pub(crate) struct CpArgs {
    /// Keep owners, and set-user-id bits of what comes out
    #[arg(short, long)]
    archive: bool,
    /// Copy what a source that is a link leads to
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Number of the instance, as `SERVICE/NUMBER` says, too
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
    /// Copy to all instances of the service
    #[arg(long, conflicts_with = "index")]
    all: bool,
    /// INSTANCE:PATH, a path here, or `-`
    source: String,
    /// INSTANCE:PATH, a path here, or `-`
    destination: String,
}

/// One side of a copy.
enum Side<'a> {
    Instance { target: &'a str, path: &'a Utf8Path },
    Here(&'a Utf8Path),
    Stream,
}

/// As Docker has it: what begins with `/` or `.` is a path here, whatever colons are in it.
fn side(text: &str) -> Side<'_> {
    if text == "-" {
        return Side::Stream;
    }
    match text.split_once(':') {
        Some((target, path)) if !text.starts_with(['/', '.']) => {
            Side::Instance { target, path: Utf8Path::new(path) }
        }
        _ => Side::Here(Utf8Path::new(text)),
    }
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &CpArgs) -> Result<(), CommandError> {
    let (source, destination) = (side(&args.source), side(&args.destination));
    let (target, is_out) = match (&source, &destination) {
        (Side::Instance { target, .. }, Side::Here(_) | Side::Stream) => (*target, true),
        (Side::Here(_) | Side::Stream, Side::Instance { target, .. }) => (*target, false),
        (Side::Instance { .. }, Side::Instance { .. }) => {
            return Err(CommandError::usage("both sides are in instances")
                .hint("copy to a file here first"));
        }
        _ => {
            return Err(CommandError::usage("neither side is in an instance")
                .hint("write INSTANCE:PATH for one of them"));
        }
    };
    let (key, view) = context.show_all().await?;
    let name = targets::with_index(target, args.index);
    let chosen = match args.all && !is_out {
        true => targets::instances(&key, &view, &[name])?,
        false => vec![targets::instance(&key, &view, &name)?],
    };
    let engine = context.engine()?;
    for instance in &chosen {
        let copy = Copy { engine: &engine, id: targets::id(&key, instance), args };
        match (&source, &destination) {
            (Side::Instance { path, .. }, Side::Here(to)) => copy.take(path, to).await?,
            (Side::Instance { path, .. }, _) => copy.write_stream(path).await?,
            (Side::Here(from), Side::Instance { path, .. }) => copy.put(from, path).await?,
            (_, Side::Instance { path, .. }) => copy.read_stream(path).await?,
            _ => {}
        }
    }
    if !matches!(destination, Side::Stream) {
        let whole = if is_out { String::new() } else { format!(" to {}", instances(chosen.len())) };
        ui.say(&format!("{} {}{whole}", ui.paint(Role::Good, "copied"), args.source));
    }
    Ok(())
}

fn instances(number: usize) -> String {
    count(number, "instance")
}

/// A copy from or to one instance.
struct Copy<'a> {
    engine: &'a Native,
    id: InstanceId,
    args: &'a CpArgs,
}

/// Whether a path means what is in a directory rather than the directory.
fn is_contents(path: &Utf8Path) -> bool {
    path.as_str() == "." || path.as_str().ends_with("/.")
}

/// What a path is called where it is copied to.
fn base(path: &Utf8Path) -> Result<String, CommandError> {
    let absolute = Utf8Path::new("/").join(path);
    match absolute.file_name() {
        Some(name) => Ok(name.to_owned()),
        // The root as a whole has no name: it can only be copied as what is in it.
        None if absolute == "/" => Ok(".".to_owned()),
        None => Err(CommandError::usage(format!("`{path}` ends with `..`"))),
    }
}

fn parent(path: &Utf8Path) -> Utf8PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent.to_owned(),
        _ => Utf8PathBuf::from("."),
    }
}

/// Where a source goes: the directory that is written to, and its name there.
fn placed(
    source: &Utf8Path,
    is_directory: bool,
    destination: &Utf8Path,
    there: PathKind,
) -> Result<(Utf8PathBuf, String), CommandError> {
    let contents = is_directory && is_contents(source);
    let own_name = || if contents { Ok(".".to_owned()) } else { base(source) };
    match there {
        PathKind::Directory => Ok((destination.to_owned(), own_name()?)),
        PathKind::Other if is_directory => {
            Err(CommandError::refused(format!("`{destination}` is a file, `{source}` a directory")))
        }
        PathKind::Other if destination.as_str().ends_with('/') => {
            Err(CommandError::refused(format!("`{destination}` is not a directory")))
        }
        PathKind::Missing if !is_directory && destination.as_str().ends_with('/') => {
            Err(CommandError::not_found(format!("there is no directory `{destination}`")))
        }
        PathKind::Missing | PathKind::Other => Ok((parent(destination), base(destination)?)),
        PathKind::NoParent => {
            Err(CommandError::not_found(format!("there is no directory `{}`", parent(destination))))
        }
    }
}

fn kind_here(path: &Utf8Path) -> PathKind {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => PathKind::Directory,
        Ok(_) => PathKind::Other,
        Err(_) if std::fs::symlink_metadata(path).is_ok() => PathKind::Other,
        Err(_) if parent(path).is_dir() => PathKind::Missing,
        Err(_) => PathKind::NoParent,
    }
}

impl Copy<'_> {
    /// Whether the source inside is a directory; it must exist.
    async fn is_directory(&self, path: &Utf8Path) -> Result<bool, CommandError> {
        match self.engine.look_at(&self.id, path).await? {
            PathKind::Directory => Ok(true),
            PathKind::Other => Ok(false),
            PathKind::Missing | PathKind::NoParent => {
                Err(CommandError::not_found(format!("there is no `{path}` in {}", self.id)))
            }
        }
    }

    async fn take(&self, path: &Utf8Path, to: &Utf8Path) -> Result<(), CommandError> {
        // A link is copied as a link, unless it is to be followed.
        let is_directory = self.is_directory(path).await?;
        let (directory, name) = placed(path, is_directory, to, kind_here(to))?;
        let command = self.engine.copy_out(&self.id, path, &name, self.follows(path))?;
        let keep_owners = self.args.archive;
        through(command, Stdio::null(), Stdio::piped(), move |child| {
            let Some(archive) = child.stdout.take() else { return Ok(()) };
            unpack_here(archive, &directory, keep_owners)
        })
        .await
    }

    async fn write_stream(&self, path: &Utf8Path) -> Result<(), CommandError> {
        let is_directory = self.is_directory(path).await?;
        let name = if is_directory && is_contents(path) { ".".to_owned() } else { base(path)? };
        let command = self.engine.copy_out(&self.id, path, &name, self.follows(path))?;
        through(command, Stdio::null(), Stdio::inherit(), |_| Ok(())).await
    }

    async fn put(&self, from: &Utf8Path, path: &Utf8Path) -> Result<(), CommandError> {
        let is_directory = match kind_here(from) {
            PathKind::Directory => true,
            PathKind::Other => false,
            PathKind::Missing | PathKind::NoParent => {
                return Err(CommandError::not_found(format!("there is no `{from}` here")));
            }
        };
        let there = self.engine.look_at(&self.id, path).await?;
        let absolute = Utf8Path::new("/").join(path);
        let (directory, name) = placed(from, is_directory, &absolute, there)?;
        let source = match self.follows(from) {
            true => from.canonicalize_utf8()?,
            false => from.to_owned(),
        };
        let command = self.engine.copy_in(&self.id, &directory, self.args.archive)?;
        through(command, Stdio::piped(), Stdio::null(), move |child| {
            let Some(to) = child.stdin.take() else { return Ok(()) };
            pack(source.as_std_path(), &name, io::BufWriter::new(to))
        })
        .await
    }

    async fn read_stream(&self, path: &Utf8Path) -> Result<(), CommandError> {
        // An archive says itself whose its files are.
        let command = self.engine.copy_in(&self.id, path, true)?;
        through(command, Stdio::inherit(), Stdio::null(), |_| Ok(())).await
    }

    /// A path that ends with a slash leads on, as everywhere.
    fn follows(&self, path: &Utf8Path) -> bool {
        self.args.follow_link || is_contents(path) || path.as_str().ends_with('/')
    }
}

/// Runs a helper with its streams and `work` beside it. What the helper says of a failure is worth
/// more than that its pipe broke.
async fn through(
    mut command: Command,
    stdin: Stdio,
    stdout: Stdio,
    work: impl FnOnce(&mut std::process::Child) -> io::Result<()> + Send + 'static,
) -> Result<(), CommandError> {
    command.stdin(stdin).stdout(stdout).stderr(Stdio::piped());
    let done = tokio::task::spawn_blocking(move || -> Result<(), CommandError> {
        let mut child = command.spawn()?;
        let worked = work(&mut child);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(CommandError::refused(said));
        }
        worked.map_err(|err| CommandError::refused(err.to_string()))
    });
    done.await.map_err(|err| CommandError::machine(err.to_string()))?
}

/// Unpacks what comes out of an instance, whose names are not to be trusted: nothing is written
/// outside of the directory, through links of the archive's own either.
fn unpack_here(archive: impl io::Read, directory: &Utf8Path, keep_owners: bool) -> io::Result<()> {
    let mut archive = tar::Archive::new(archive);
    // A program of an instance's must not become one that makes its caller here root.
    archive.set_preserve_permissions(keep_owners);
    archive.set_preserve_ownerships(keep_owners);
    archive.set_overwrite(true);
    archive.unpack(Path::new(directory.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(source: &str, is_directory: bool, destination: &str, there: PathKind) -> String {
        match placed(Utf8Path::new(source), is_directory, Utf8Path::new(destination), there) {
            Ok((directory, name)) => format!("{directory} {name}"),
            Err(err) => format!("error {}", err.exit_code()),
        }
    }

    #[test]
    fn destinations_are_dockers() {
        use PathKind::{Directory, Missing, NoParent, Other};
        assert_eq!(to("a/file", false, "b", Missing), ". b");
        assert_eq!(to("a/file", false, "b/c", Other), "b c");
        assert_eq!(to("a/file", false, "b", Directory), "b file");
        assert_eq!(to("a/file", false, "b/", Missing), "error 3");
        assert_eq!(to("a/file", false, "b/", Other), "error 1");
        assert_eq!(to("a/file", false, "b/c", NoParent), "error 3");
        assert_eq!(to("a/dir", true, "b", Missing), ". b");
        assert_eq!(to("a/dir", true, "b", Directory), "b dir");
        assert_eq!(to("a/dir/.", true, "b", Directory), "b .");
        assert_eq!(to("a/dir/.", true, "b", Missing), ". b");
        assert_eq!(to("a/dir", true, "b", Other), "error 1");
        assert_eq!(to("/", true, "b", Directory), "b .");
    }

    #[test]
    fn sides_are_told_apart() {
        assert!(matches!(side("-"), Side::Stream));
        assert!(matches!(side("web:/a"), Side::Instance { target: "web", .. }));
        assert!(matches!(side("web/2:a:b"), Side::Instance { target: "web/2", .. }));
        for here in ["a", "./a:b", "/a:b"] {
            assert!(matches!(side(here), Side::Here(_)), "{here}");
        }
    }
}
