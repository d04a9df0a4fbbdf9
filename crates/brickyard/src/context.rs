//! What commands share: the yard, the model, the agent.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use brickyard_api::{AgentView, Client, ClientError, EnvironmentView, InstanceView};
use brickyard_core::{Digest, EnvironmentName, OsFiles, ServiceName, SystemName};
use brickyard_engine::native::Native;
use brickyard_engine::{Engine, EnvironmentKey, Known, KnownState};
use brickyard_image::Store as Images;
use brickyard_model::release::Release;
use brickyard_model::{Loaded, Options, System};
use camino::{Utf8Path, Utf8PathBuf};
use serde::de::DeserializeOwned;

use crate::cli::Global;
use crate::error::CommandError;
use crate::ui::Ui;

/// How long a started agent may take until it answers.
const AGENT_DEADLINE: Duration = Duration::from_secs(20);
/// File name of the log of an agent that a command started, under the yard's root.
const AGENT_LOG: &str = "agent.log";
/// Held while a command starts an agent.
const AGENT_LOCK: &str = "agent.start";
/// How often a command looks whether the agent that it started answers.
const AGENT_PAUSE: Duration = Duration::from_millis(5);

/// The command line's global part, and what follows from it.
pub(crate) struct Context {
    pub(crate) global: Global,
    environment: BTreeMap<String, String>,
}

impl Context {
    pub(crate) fn new(global: Global, environment: BTreeMap<String, String>) -> Self {
        Self { global, environment }
    }

    /// The caller's variables.
    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// The yard's root, absolute.
    pub(crate) fn root(&self) -> Result<Utf8PathBuf, CommandError> {
        absolute(&self.global.root)
    }

    /// The agent's client; nothing is opened yet.
    pub(crate) fn client(&self) -> Result<Client, CommandError> {
        Ok(Client::new(&self.root()?))
    }

    /// The yard's content store.
    pub(crate) fn images(&self) -> Result<Images, CommandError> {
        require_root()?;
        Ok(Images::open(&self.root()?.join("images"))?)
    }

    /// The native engine, for what needs no agent.
    pub(crate) fn engine(&self) -> Result<Native, CommandError> {
        require_root()?;
        Ok(Native::open(&self.root()?, &binary()?)?)
    }

    pub(crate) fn environment_name(&self) -> Result<EnvironmentName, CommandError> {
        self.global.environment.parse().map_err(|err| CommandError::usage(format!("{err}")))
    }

    /// The model's files: as given, as Compose's variable says, or those with usual names here or above.
    fn model_files(&self) -> Result<Vec<Utf8PathBuf>, CommandError> {
        if !self.global.file.is_empty() {
            return self.global.file.iter().map(|file| absolute(file)).collect();
        }
        let here = absolute(Utf8Path::new("."))?;
        let variables = self.variables_of(&here)?;
        let variable = |name: &str| variables.get(name).filter(|text| !text.is_empty());
        if let Some(files) = variable("COMPOSE_FILE") {
            let separator = variable("COMPOSE_PATH_SEPARATOR").map_or(":", String::as_str);
            return files.split(separator).map(|file| absolute(file.into())).collect();
        }
        let found = here
            .ancestors()
            .find_map(|directory| brickyard_model::default_files(&OsFiles, directory));
        found.ok_or_else(|| {
            CommandError::usage("no compose.yaml is in this directory or above")
                .hint("name one with -f FILE")
        })
    }

    /// Env files given by hand: by flags, or by Compose's variable.
    fn env_files(&self) -> Result<Vec<Utf8PathBuf>, CommandError> {
        let given = &self.global.env_file;
        let listed = self.environment.get("COMPOSE_ENV_FILES").filter(|_| given.is_empty());
        let listed = listed.map_or("", String::as_str).split(',').map(str::trim);
        let listed = listed.filter(|file| !file.is_empty()).map(Utf8Path::new);
        given.iter().map(Utf8PathBuf::as_path).chain(listed).map(absolute).collect()
    }

    fn ignores_env_file(&self) -> bool {
        let disabled = self.environment.get("COMPOSE_DISABLE_ENV_FILE").map(String::as_str);
        matches!(disabled, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
    }

    /// The caller's variables over those of the env files, before it is known where the model is. What
    /// is wrong with a file is said when the model is loaded.
    fn variables_of(&self, here: &Utf8Path) -> Result<BTreeMap<String, String>, CommandError> {
        let mut files = self.env_files()?;
        if files.is_empty() && !self.ignores_env_file() {
            files.push(here.join(".env"));
        }
        let mut variables = BTreeMap::new();
        for file in files {
            if let Ok(text) = std::fs::read_to_string(&file) {
                let source = brickyard_core::Source::new(file.as_str(), text);
                variables.extend(brickyard_model::dotenv::parse(&source, &self.environment).0);
            }
        }
        variables.extend(self.environment.clone());
        Ok(variables)
    }

    /// The model's files, as far as they are found.
    pub(crate) fn files(&self) -> Vec<Utf8PathBuf> {
        self.model_files().unwrap_or_default()
    }

    /// Loads the model that the engine runs; warnings are said, errors are all returned.
    pub(crate) fn model(&self, ui: &Ui) -> Result<System, CommandError> {
        let mut loaded = self.loaded(Options::default())?;
        match loaded.take_runnable() {
            Some(system) => {
                loaded.findings().iter().for_each(|found| ui.finding(found));
                Ok(system)
            }
            None => Err(CommandError::Findings(loaded.findings())),
        }
    }

    /// Loads the model, whatever the engine makes of it.
    pub(crate) fn loaded(&self, options: Options) -> Result<Loaded, CommandError> {
        let paths = self.model_files()?;
        let directory = paths.first().and_then(|path| path.parent()).unwrap_or(Utf8Path::new("/"));
        let directory = directory.to_owned();
        let shown: Vec<Utf8PathBuf> = paths.iter().map(|path| shown_path(path)).collect();
        Ok(brickyard_model::load(&brickyard_model::Input {
            files: &OsFiles,
            paths: &shown,
            project_directory: directory,
            environment: &self.environment,
            env_files: &self.env_files()?,
            name: self.global.project_name.as_deref(),
            profiles: &self.global.profile,
            options: Options { ignores_env_file: self.ignores_env_file(), ..options },
        }))
    }

    /// The system that is meant: by name, by file, or because it is the only one that runs.
    pub(crate) async fn key(&self) -> Result<EnvironmentKey, CommandError> {
        let environment = self.environment_name()?;
        let of = |system: SystemName| EnvironmentKey { system, environment: environment.clone() };
        if let Some(name) = &self.global.project_name {
            return name.parse().map(of).map_err(|err| CommandError::usage(format!("{err}")));
        }
        let no_file = match self.model_files() {
            // What runs can be looked at and ended whatever the engine makes of the model by now.
            Ok(_) => {
                let loaded = self.loaded(Options::default())?;
                return match loaded.model {
                    Some(model) => Ok(of(model.name().clone())),
                    None => Err(CommandError::Findings(loaded.diagnostics)),
                };
            }
            Err(err) => err,
        };
        let all: Vec<EnvironmentView> = match self.client()?.get("/v1/environments").await {
            Ok(all) => all,
            Err(ClientError::NoAgent { .. }) => return Err(no_file),
            Err(err) => return Err(err.into()),
        };
        let mut same = all.iter().filter(|view| view.environment == environment.as_str());
        match (same.next(), same.next()) {
            (Some(only), None) => {
                only.system.parse().map(of).map_err(|err| CommandError::machine(format!("{err}")))
            }
            _ => Err(no_file),
        }
    }

    /// A path of the API below an environment.
    pub(crate) fn path(key: &EnvironmentKey, rest: &str) -> String {
        format!("/v1/environments/{}/{}{rest}", key.system, key.environment)
    }

    /// An environment that runs.
    pub(crate) async fn show(&self) -> Result<(EnvironmentKey, EnvironmentView), CommandError> {
        let key = self.key().await?;
        let view = self.get(&key, "").await?;
        Ok((key, view))
    }

    /// What the agent says of an environment that runs, below its path.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        key: &EnvironmentKey,
        rest: &str,
    ) -> Result<T, CommandError> {
        match self.client()?.get(&Self::path(key, rest)).await {
            Err(ClientError::NoAgent { .. }) => Err(nothing_runs(key)),
            answer => Ok(answer?),
        }
    }

    /// An environment that runs, with one-off containers in it.
    pub(crate) async fn show_all(&self) -> Result<(EnvironmentKey, EnvironmentView), CommandError> {
        let (key, mut view) = self.show().await?;
        view.instances.extend(self.one_offs(&key).await?);
        Ok((key, view))
    }

    /// One-off containers of an environment, in the shape of instances.
    pub(crate) async fn one_offs(
        &self,
        key: &EnvironmentKey,
    ) -> Result<Vec<InstanceView>, CommandError> {
        let list = self.engine()?.list().await?;
        let mine = list.into_iter().filter(|known| {
            known.id.environment == *key && known.id.slot == brickyard_engine::SLOT_ONE_OFF
        });
        Ok(mine.map(|known| one_off_view(&known)).collect())
    }

    /// Images of all services by digest: built, or found in the content store.
    pub(crate) fn release(
        &self,
        ui: &Ui,
        system: System,
        build: bool,
    ) -> Result<Release, CommandError> {
        let images = self.images()?;
        let mut digests: BTreeMap<ServiceName, Digest> = BTreeMap::new();
        let mut missing = Vec::new();
        for (name, service) in &system.services {
            match crate::commands::build::image_of(ui, &images, &system, name, service, build) {
                Ok(image) => {
                    digests.insert(name.clone(), image.digest);
                }
                Err(CommandError::Plain { code: 3, message, hints }) => {
                    missing.push((format!("service `{name}`: {message}"), hints));
                }
                Err(err) => return Err(err),
            }
        }
        if missing.is_empty() {
            return Ok(Release { system, images: digests });
        }
        let message =
            missing.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join("\nerror: ");
        let mut err = CommandError::usage(message);
        for hint in missing.into_iter().flat_map(|(_, hints)| hints) {
            err = err.hint(hint);
        }
        Err(err.hint("`brickyard image import NAME FILE.tar` brings one into the yard"))
    }

    /// The client of an agent that runs, which is started if there is none. Commands that find
    /// none at the same time start one between them.
    pub(crate) async fn agent(&self) -> Result<Client, CommandError> {
        require_root()?;
        let client = self.client()?;
        if answers(&client).await? {
            return Ok(client);
        }
        let root = self.root()?;
        std::fs::create_dir_all(&root)?;
        let start = std::time::Instant::now();
        let lock = std::fs::File::create(root.join(AGENT_LOCK))?;
        while lock.try_lock().is_err() && start.elapsed() < AGENT_DEADLINE {
            tokio::time::sleep(AGENT_PAUSE).await;
        }
        let mut child: Option<std::process::Child> = None;
        while !answers(&client).await? {
            let ended = match &mut child {
                None => true,
                Some(child) => child.try_wait()?.is_some(),
            };
            let said = std::fs::read_to_string(root.join(AGENT_LOG)).unwrap_or_default();
            // A former agent may be just ending: it lets go of the store last.
            let in_use = said.contains("in use by another process");
            let is_late = start.elapsed() > AGENT_DEADLINE;
            if is_late || (ended && child.is_some() && !in_use) {
                let said = said.trim().trim_start_matches("error: ").to_owned();
                return Err(CommandError::machine(format!("the agent did not start: {said}")));
            }
            if ended {
                child = Some(self.spawn_agent(&root)?);
            }
            tokio::time::sleep(AGENT_PAUSE).await;
        }
        Ok(client)
    }

    fn spawn_agent(&self, root: &Utf8Path) -> Result<std::process::Child, CommandError> {
        let log_path = root.join(AGENT_LOG);
        // Appending: the last words of an agent that is just ending do not overwrite the next one's.
        let log = std::fs::File::options().create(true).append(true).open(&log_path);
        let log = log
            .and_then(|log| log.set_len(0).map(|()| log))
            .map_err(|err| CommandError::machine(format!("cannot write `{log_path}`: {err}")))?;
        let mut command = std::process::Command::new(binary()?);
        command.args(["--root", root.as_str(), "--engine", &self.global.engine]);
        command.args(["agent", "run", "--until-empty"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).current_dir("/");
        brickyard_sys::command::new_session(&mut command);
        Ok(command.spawn()?)
    }
}

/// What an engine knows of a one-off container. Nobody probes it, so it is as well as it looks.
fn one_off_view(known: &Known) -> InstanceView {
    let id = &known.id;
    let (state, pid, exit_code) = match known.state {
        KnownState::Running { pid } => ("running", Some(pid), None),
        KnownState::Paused { pid } => ("paused", Some(pid), None),
        KnownState::Exited(exit) => ("exited", None, Some(exit.code)),
        KnownState::Broken => ("refused", None, None),
    };
    InstanceView {
        address: format!(
            "/{}/{}/{}",
            id.environment.system, id.environment.environment, id.service
        ),
        service: id.service.clone(),
        instance: id.slot,
        generation: id.generation.0,
        state: state.to_owned(),
        health: "healthy".to_owned(),
        pid,
        ip: "-".to_owned(),
        image: "-".to_owned(),
        image_digest: None,
        exit_code,
        output_lost: None,
        out_of_memory: matches!(known.state, KnownState::Exited(exit) if exit.oom),
        restarts: 0,
        ports: Vec::new(),
        waiting: None,
        rendered: None,
        loaded: None,
        started_ms: 0,
    }
}

/// Whether an agent answers.
async fn answers(client: &Client) -> Result<bool, CommandError> {
    match client.get::<AgentView>("/v1/agent").await {
        Ok(_) => Ok(true),
        // One that is ending may still take the call.
        Err(ClientError::NoAgent { .. } | ClientError::Broken(_)) => Ok(false),
        Err(err) => Err(err.into()),
    }
}

/// Our own executable.
pub(crate) fn binary() -> Result<Utf8PathBuf, CommandError> {
    let path = std::env::current_exe()?;
    Utf8PathBuf::from_path_buf(path)
        .map_err(|path| CommandError::machine(format!("`{}` is not UTF-8", path.display())))
}

pub(crate) fn nothing_runs(key: &EnvironmentKey) -> CommandError {
    CommandError::not_found(format!("nothing runs in /{}/{}", key.system, key.environment))
        .hint("`brickyard up -d` starts it")
}

fn require_root() -> Result<(), CommandError> {
    if rustix_is_root() {
        return Ok(());
    }
    Err(CommandError::machine("the native engine needs root").hint("run it with sudo"))
}

fn rustix_is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

fn absolute(path: &Utf8Path) -> Result<Utf8PathBuf, CommandError> {
    let path = camino::absolute_utf8(path)?;
    Ok(path)
}

/// A path as messages show it: relative when it lies below the current directory.
fn shown_path(path: &Utf8Path) -> Utf8PathBuf {
    let here = absolute(Utf8Path::new(".")).unwrap_or_default();
    path.strip_prefix(&here).map_or_else(|_| path.to_owned(), Utf8Path::to_owned)
}
