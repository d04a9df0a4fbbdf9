//! COPY and ADD: which files go where.

use std::collections::BTreeMap;
use std::io;

use brickyard_core::diagnostic::nearest;
use brickyard_core::{Code, Diagnostic};

use crate::codes;
use crate::dockerfile::{Copy, Word};
use crate::layer::{Content, Packed, Plan, Planned, mtime_s, packed};
use crate::pattern::Pattern;
use crate::tree::{Context, Found, Layers, Tree, capability, join, parent};

/// What a COPY works with. Words are expanded already.
pub(crate) struct Job<'a> {
    pub(crate) copy: &'a Copy,
    pub(crate) sources: Vec<Word>,
    pub(crate) dest: Word,
    pub(crate) chown: Option<Word>,
    pub(crate) chmod: Option<Word>,
    /// Where sources are.
    pub(crate) from: &'a dyn Tree,
    /// The context, when sources are in it, for better messages.
    pub(crate) context: Option<&'a Context>,
    /// What is in the image so far.
    pub(crate) rootfs: &'a Layers,
    /// Working directory, absolute.
    pub(crate) working_dir: &'a str,
}

/// Why a COPY cannot be planned.
pub(crate) enum Problem {
    /// The Dockerfile's fault. Boxed, as it is rare and large.
    Dockerfile(Box<Diagnostic>, std::ops::Range<usize>),
    /// The file system's.
    Io(io::Error),
}

impl From<io::Error> for Problem {
    fn from(err: io::Error) -> Self {
        Self::Io(err)
    }
}

fn wrong(code: Code, message: impl Into<String>, word: &Word) -> Problem {
    Problem::Dockerfile(Box::new(Diagnostic::error(code, message)), word.span.clone())
}

type Result<T> = std::result::Result<T, Problem>;

/// The plan of a layer.
pub(crate) fn plan(job: &Job<'_>) -> Result<Plan> {
    let owner = job.chown.as_ref().map(owner).transpose()?;
    let mode = job.chmod.as_ref().map(mode).transpose()?;
    let mut sources = Vec::new();
    let mut has_pattern = false;
    for word in &job.sources {
        let pattern = word.text.contains(['*', '?', '[']);
        has_pattern |= pattern;
        sources.extend(find(job, word, pattern)?);
    }
    let text = &job.dest.text;
    let names_directory = text.ends_with('/') || text.ends_with("/.") || text == ".";
    if job.sources.len() > 1 && !names_directory
        || has_pattern && sources.len() > 1 && !names_directory
    {
        let message = "with more than one source the destination must end with `/`";
        return Err(wrong(codes::DESTINATION, message, &job.dest));
    }
    let mut planner = Planner {
        job,
        plan: Plan { owner, mode, ..Plan::default() },
        created: Vec::new(),
        followed: BTreeMap::new(),
    };
    let dest = clean(job.working_dir, text);
    for (path, found) in &sources {
        planner.source(path, found, &dest, names_directory)?;
    }
    Ok(planner.finish())
}

/// `UID[:GID]`.
fn owner(word: &Word) -> Result<(u64, u64)> {
    let (user, group) = word.text.split_once(':').unwrap_or((&word.text, &word.text));
    let number = |text: &str| text.parse::<u32>().ok().map(u64::from);
    match (number(user), number(group)) {
        (Some(user), Some(group)) => Ok((user, group)),
        _ => {
            let message = format!("`--chown={}` is not supported yet", word.text);
            let found = Diagnostic::error(codes::UNSUPPORTED, message)
                .hint("write numbers, as --chown=1000:1000");
            Err(Problem::Dockerfile(Box::new(found), word.span.clone()))
        }
    }
}

fn mode(word: &Word) -> Result<u32> {
    let mode = u32::from_str_radix(&word.text, 8).ok();
    mode.filter(|mode| *mode <= 0o7777).ok_or_else(|| {
        let message = format!("`--chmod={}` is not supported: write it in octal", word.text);
        wrong(codes::UNSUPPORTED, message, word)
    })
}

/// A path relative to the root, from one that may be relative to the working directory.
fn clean(working_dir: &str, text: &str) -> String {
    let whole = match text.strip_prefix('/') {
        Some(absolute) => absolute.to_owned(),
        None => format!("{working_dir}/{text}"),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What a source names. The path has all links resolved, so its last part is the file's own name.
fn find(job: &Job<'_>, word: &Word, pattern: bool) -> Result<Vec<(String, Found)>> {
    if word.text.contains("://") || word.text.starts_with("git@") {
        let message = format!("the URL `{}` is not supported yet", word.text);
        return Err(wrong(codes::UNSUPPORTED, message, word));
    }
    if word.text.split('/').any(|part| part == "..") {
        let message = format!("`{}` leads out of the build context", word.text);
        return Err(wrong(codes::NO_SOURCE, message, word));
    }
    let cleaned = clean("", &word.text);
    let mut paths = vec![cleaned.clone()];
    if pattern {
        paths = vec![String::new()];
        for part in cleaned.split('/') {
            let Some(pattern) = Pattern::new(part, false) else {
                let message = format!("the pattern `{}` is malformed", word.text);
                return Err(wrong(codes::SYNTAX, message, word));
            };
            let mut deeper = Vec::new();
            for path in &paths {
                let directory = job.from.follow(path)?;
                let names = job.from.names(&directory)?;
                let fitting = names.iter().filter(|name| pattern.matches(name));
                deeper.extend(fitting.map(|name| join(path, name)));
            }
            paths = deeper;
        }
    }
    let mut found = Vec::new();
    for path in paths {
        let followed = job.from.follow(&path)?;
        if let Some(file) = job.from.get(&followed)? {
            // A link gives its own name to what it leads to.
            found.push((path, Found { ..file }));
        }
    }
    if found.is_empty() {
        return Err(missing(job, word, &cleaned));
    }
    Ok(found)
}

fn missing(job: &Job<'_>, word: &Word, path: &str) -> Problem {
    let message = format!("there is no `{}` to copy", word.text);
    let mut found = Diagnostic::error(codes::NO_SOURCE, message);
    if let Some(context) = job.context {
        if context.ignored.contains(path) {
            found = found.hint("it is excluded by .dockerignore");
        } else if let Some(near) = nearest(path, context.paths()) {
            found = found.hint(format!("`{near}` exists; did you mean that?"));
        }
    }
    Problem::Dockerfile(Box::new(found), word.span.clone())
}

struct Planner<'a> {
    job: &'a Job<'a>,
    plan: Plan,
    /// Directories whose time is that of the newest file: their own changes with every file that
    /// comes or goes beside those that are copied.
    created: Vec<String>,
    followed: BTreeMap<String, String>,
}

impl Planner<'_> {
    fn source(&mut self, path: &str, found: &Found, dest: &str, into: bool) -> Result<()> {
        if found.is_dir() {
            let real = self.job.from.follow(path)?;
            let dest = self.follow(dest)?;
            self.directory(&dest, Some(found))?;
            return self.contents(&real, &dest);
        }
        if self.job.copy.add {
            match packed(&found.path)? {
                Packed::No => {}
                Packed::Yes => {
                    let dest = self.follow(dest)?;
                    self.directory(&dest, None)?;
                    self.plan.archives.push((found.path.clone(), dest));
                    return Ok(());
                }
                Packed::Unsupported(kind) => {
                    let message = format!("unpacking {kind} archives is not supported yet");
                    return Err(wrong(codes::UNSUPPORTED, message, &self.job.sources[0]));
                }
            }
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        let followed = self.follow(dest)?;
        let exists = self.job.rootfs.get(&followed)?.is_some_and(|there| there.is_dir());
        let target = match into || exists || dest.is_empty() {
            true => join(&followed, name),
            false => join(&self.follow(parent(dest))?, dest.rsplit('/').next().unwrap_or(dest)),
        };
        self.directory(parent(&target), None)?;
        self.file(&target, found)
    }

    /// Copies what is in a directory.
    fn contents(&mut self, from: &str, dest: &str) -> Result<()> {
        for name in self.job.from.names(from)? {
            let path = join(from, &name);
            let Some(found) = self.job.from.get(&path)? else {
                continue;
            };
            if found.is_dir() {
                let target = self.follow(&join(dest, &name))?;
                self.directory(&target, Some(&found))?;
                self.contents(&path, &target)?;
            } else {
                self.file(&join(dest, &name), &found)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, target: &str, found: &Found) -> Result<()> {
        use std::os::unix::fs::MetadataExt;
        let mut mode = found.metadata.mode() & 0o7777;
        let content = if found.is_symlink() {
            Content::Symlink(found.path.read_link_utf8()?.into_string())
        } else if found.metadata.is_file() {
            mode = self.plan.mode.unwrap_or(mode);
            Content::File {
                size_bytes: found.metadata.len(),
                capability: capability(&found.path),
                path: found.path.clone(),
            }
        } else {
            let message = format!("`{}` is neither a file, a directory nor a link", found.path);
            return Err(wrong(codes::UNSUPPORTED, message, &self.job.dest));
        };
        let planned = Planned {
            content,
            mode,
            owner: self.plan.owner.unwrap_or_default(),
            mtime_s: mtime_s(&found.metadata),
        };
        self.plan.entries.insert(target.to_owned(), planned);
        Ok(())
    }

    /// Plans a directory with all above it. One that exists keeps its attributes, as the entry in
    /// this layer would hide them.
    fn directory(&mut self, path: &str, like: Option<&Found>) -> Result<()> {
        use std::os::unix::fs::MetadataExt;
        if self.plan.entries.contains_key(path) {
            return Ok(());
        }
        if !path.is_empty() {
            self.directory(parent(path), None)?;
        }
        let planned = match self.job.rootfs.get(path)? {
            Some(there) if there.is_dir() => Planned::directory_like(&there.metadata),
            Some(_) => {
                let message = format!("`/{path}` is no directory in the image");
                return Err(wrong(codes::DESTINATION, message, &self.job.dest));
            }
            None if path.is_empty() => return Ok(()),
            None => {
                self.created.push(path.to_owned());
                let mode = like.map_or(0o755, |found| {
                    let own = found.metadata.mode() & 0o7777;
                    self.plan.mode.unwrap_or(own)
                });
                Planned {
                    content: Content::Directory,
                    mode,
                    owner: self.plan.owner.unwrap_or_default(),
                    mtime_s: 0,
                }
            }
        };
        self.plan.entries.insert(path.to_owned(), planned);
        Ok(())
    }

    /// A destination behind the links of the image, as `/bin` may be one to `usr/bin`.
    fn follow(&mut self, path: &str) -> Result<String> {
        if let Some(known) = self.followed.get(path) {
            return Ok(known.clone());
        }
        let followed = self.job.rootfs.follow(path)?;
        self.followed.insert(path.to_owned(), followed.clone());
        Ok(followed)
    }

    fn finish(mut self) -> Plan {
        let files = self.plan.entries.values();
        let newest = files
            .filter(|entry| !matches!(entry.content, Content::Directory))
            .map(|entry| entry.mtime_s)
            .max()
            .unwrap_or(0);
        for path in &self.created {
            if let Some(entry) = self.plan.entries.get_mut(path) {
                entry.mtime_s = newest;
            }
        }
        self.plan
    }
}
