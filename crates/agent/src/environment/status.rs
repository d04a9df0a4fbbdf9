//! What others see of an environment, published after every step.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use brickyard_api::{DataView, EnvironmentView, InstanceView, Reason};
use brickyard_core::{Digest, ServiceName};
use brickyard_engine::InstanceId;
use brickyard_front::{Listener, Zone};
use brickyard_plan::view::REGISTRY_PREFIX;
use brickyard_plan::view::serving;
use brickyard_plan::{Place, Record, Sight, State};

use super::Environment;
use crate::front_link::Part;

/// Bytes at the end of a log in which last lines are looked for.
const LOG_TAIL_BYTES: u64 = 8192;
/// Last lines that are kept of something that failed.
const LOG_TAIL_LINES: usize = 10;

/// A moment of an environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    /// Counts changes of what is wanted or seen; a command is done in a status of its own
    /// sequence or a later one.
    pub(crate) sequence: u64,
    /// Whether nothing is under way and everything is well.
    pub(crate) settled: bool,
    /// Whether nothing is under way, well or not.
    pub(crate) quiet: bool,
    /// What failed.
    pub(crate) failed: Vec<Reason>,
    pub(crate) view: Option<EnvironmentView>,
    pub(crate) data: DataView,
    /// Whether nothing of it is left.
    pub(crate) gone: bool,
    /// Images in use.
    pub(crate) images: Vec<Digest>,
}

impl Environment {
    /// Tells everybody how it is, the front included.
    pub(super) fn publish(&mut self) {
        if !self.gone {
            self.yard.front.set(&self.key, self.front_part());
        }
        let mut failed: Vec<Reason> = self
            .decision
            .failed
            .iter()
            .map(|(place, text)| Reason {
                address: self.address_of(place),
                text: text.clone(),
                log: self.logs.get(place).cloned().unwrap_or_default(),
            })
            .collect();
        let environment = self.address.to_string();
        let problem = |text: String| Reason { address: environment.clone(), text, log: Vec::new() };
        failed.extend(self.open_error.iter().cloned().map(problem));
        let front = self.yard.front.problems_of(&format!("{environment}/"));
        failed.extend(front.into_iter().map(|found| Reason {
            address: found.owner,
            text: found.text,
            log: Vec::new(),
        }));
        // One that goes down is at rest when nothing of it is left, not when nothing runs.
        let is_going = !self.gone && self.is_going_down();
        let images = self.record.iter().flat_map(|r| r.release.images.values().copied()).collect();
        self.status.send_replace(Status {
            sequence: self.sequence,
            settled: !self.decision.unsettled && !is_going,
            quiet: !self.decision.repeating
                && self.observed.transient.values().all(|transient| transient.busy.is_none()),
            failed,
            view: self.record.is_some().then(|| self.environment_view()),
            data: self.data_view(),
            gone: self.gone,
            images,
        });
    }

    pub(super) fn address_of(&self, place: &Place) -> String {
        self.address.with_service(&place.service).with_slot(place.slot).to_string()
    }

    fn environment_view(&self) -> EnvironmentView {
        EnvironmentView {
            system: self.key.system.to_string(),
            environment: self.key.environment.to_string(),
            release: self.record.as_ref().map(|record| record.digest),
            deploy: self.wanted.deploy,
            instances: self.observed.all().map(|record| self.instance_view(record)).collect(),
            files: self.record.as_ref().map(|record| record.files.clone()).unwrap_or_default(),
            host_ip: self.facts.as_ref().map(|facts| facts.host.to_string()),
        }
    }

    fn instance_view(&self, record: &Record) -> InstanceView {
        let waiting = self.decision.waiting.iter().find(|(place, _)| *place == record.place);
        let system = self.record.as_ref().map(|record| &record.release.system);
        let system = system.filter(|s| s.services.contains_key(&record.place.service));
        let image = system.map(|system| system.image_name(&record.place.service));
        let files = |map: &BTreeMap<camino::Utf8PathBuf, Digest>| {
            (!map.is_empty()).then(|| Digest::of_json(map).short())
        };
        InstanceView {
            address: self.address_of(&record.place),
            service: record.place.service.clone(),
            instance: record.place.slot,
            generation: record.generation.0,
            state: record.state.word().to_owned(),
            health: record.health.word().to_owned(),
            pid: record.state.pid().filter(|pid| *pid > 0),
            ip: record.address.to_string(),
            image: image.unwrap_or_else(|| record.image.short()),
            image_digest: Some(record.image),
            exit_code: match &record.state {
                State::Exited { exit } | State::Stopped { exit } => Some(exit.code),
                _ => None,
            },
            output_lost: self
                .losses
                .get(&(record.place.clone(), record.generation))
                .filter(|loss| loss.goes_on)
                .map(|loss| loss.reason.clone()),
            out_of_memory: matches!(&record.state, State::Exited { exit } if exit.oom),
            restarts: record.restarts,
            ports: self.port_texts(&record.place.service),
            waiting: waiting.map(|(_, reason)| reason.clone()),
            rendered: files(&record.rendered),
            loaded: files(&record.loaded),
            started_ms: record.started_ms,
        }
    }

    fn port_texts(&self, service: &ServiceName) -> Vec<String> {
        let Some(wanted) = self.wanted.services.get(service) else {
            return Vec::new();
        };
        let text = |port: &brickyard_model::types::PublishedPort| {
            let listen = listen_address(port)?;
            Some(format!("{listen}->{}/tcp", port.target))
        };
        wanted.model.ports.iter().filter_map(text).collect()
    }

    fn data_view(&self) -> DataView {
        let mut registry = BTreeMap::new();
        let names = self.wanted.services.keys().chain(self.wanted.external.keys());
        for name in names.chain(self.view.registered.keys()) {
            for target in self.view.targets(&self.wanted, &self.observed, name, Sight::Sharp) {
                let key = format!("{REGISTRY_PREFIX}/{name}/{}/{}", target.slot, target.endpoint);
                registry.insert(key, target.at.to_string());
            }
        }
        DataView {
            revision: self.data_revision,
            config: self.view.merged_config(&self.wanted),
            set: self.view.config.keys().cloned().collect(),
            registry,
        }
    }

    /// Listeners and names. Backends are what is healthy; where nothing is, what runs; but never one
    /// from which connections are withheld: they wait until something comes in its place.
    fn front_part(&self) -> Option<Part> {
        let facts = self.facts.as_ref()?;
        let mut part = Part::default();
        let mut names: BTreeMap<String, Vec<Ipv4Addr>> = BTreeMap::new();
        for (name, service) in &self.wanted.services {
            let open = self.open_to_connections(name);
            let serving = serving(&self.observed, name, Sight::Sharp);
            for port in &service.model.ports {
                let Some(listen) = listen_address(port) else {
                    continue;
                };
                let backends = open
                    .iter()
                    .map(|record| SocketAddr::from((record.address, port.target)))
                    .collect();
                let owner = self.address.with_service(name).to_string();
                if !open.is_empty() || service.replicas > 0 {
                    part.listeners.push(Listener { listen, owner, backends });
                }
            }
            for record in serving.into_iter().filter(|record| record.is_running()) {
                let slot_name = format!("{name}-{}", record.place.slot);
                for name in [name.to_string(), slot_name] {
                    names.entry(name.to_lowercase()).or_default().push(record.address);
                }
            }
        }
        self.alias_names(&mut names);
        part.zone = facts.network_namespace.as_ref().map(|namespace| Zone {
            owner: self.address.to_string(),
            namespace: namespace.clone(),
            listen: facts.gateway,
            names,
        });
        Some(part)
    }

    /// Aliases of lines resolve like the services that they lead to, unless a service has the name.
    fn alias_names(&self, names: &mut BTreeMap<String, Vec<Ipv4Addr>>) {
        for service in self.wanted.services.values() {
            for (alias, line) in &service.model.needs {
                let target = names.get(&line.to.service.as_str().to_lowercase()).cloned();
                if let Some(target) = target {
                    names.entry(alias.as_str().to_lowercase()).or_insert(target);
                }
            }
        }
    }

    /// A paused one would take connections and never answer: it is open only where nothing else is.
    fn open_to_connections<'a>(&'a self, service: &'a ServiceName) -> Vec<&'a Record> {
        let open = |sort: &dyn Fn(&Record) -> bool| {
            let records = self.observed.of(service);
            let found = records.filter(|record| sort(record) && record.withheld.is_none());
            found.collect::<Vec<_>>()
        };
        let sorts: [&dyn Fn(&Record) -> bool; 3] = [
            &|record| record.is_healthy() && !record.is_paused(),
            &|record| record.is_running() && !record.is_paused(),
            &Record::is_running,
        ];
        sorts.into_iter().map(open).find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// Keeps the last lines of a generation's output for the message that says why it failed.
    pub(super) fn keep_log(&mut self, id: &InstanceId) {
        let Some(path) = self.yard.engine.log_files(id).pop() else {
            return;
        };
        let place = Place { service: id.service.clone(), slot: id.slot };
        if let Ok(lines) = last_lines(&path) {
            self.logs.insert(place, lines);
        }
    }
}

fn last_lines(path: &std::path::Path) -> std::io::Result<Vec<String>> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let records = bytes.split(|byte| *byte == b'\n');
    let lines: Vec<String> = records
        .filter_map(brickyard_engine::native::log::parse_line)
        .map(|line| String::from_utf8_lossy(line.text).into_owned())
        .collect();
    Ok(lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].to_vec())
}

/// Where a published port is listened on; `None` for one without a fixed number.
pub(super) fn listen_address(port: &brickyard_model::types::PublishedPort) -> Option<SocketAddr> {
    let ip = port.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    (port.transport == brickyard_model::types::Transport::Tcp)
        .then_some(())
        .and(port.published)
        .map(|number| SocketAddr::new(ip, number))
}
