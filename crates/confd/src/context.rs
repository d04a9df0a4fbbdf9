//! What all of a run shares: settings, log, counts, and the machine as templates see it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use brickyard_template::{Moment, Service, Text, World};
use camino::{Utf8Path, Utf8PathBuf};

use crate::keyring::Keyring;
use crate::log::{Log, hostname};
use crate::resolve;
use crate::settings::Settings;
use crate::status::Status;
use crate::templates::Templates;

/// What all of a run shares.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) log: Log,
    pub(crate) status: Status,
    pub(crate) machine: Machine,
    pub(crate) templates: Templates,
}

impl Context {
    /// The directory of resources.
    pub(crate) fn resources(&self) -> Utf8PathBuf {
        self.settings.confdir.join("conf.d")
    }

    /// The directory of templates.
    pub(crate) fn templates_directory(&self) -> Utf8PathBuf {
        self.settings.confdir.join("templates")
    }
}

/// The machine that files are rendered on.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Where `include` looks.
    pub(crate) templates: Utf8PathBuf,
    /// What decrypts values, where one is given.
    pub(crate) keyring: Option<Keyring>,
}

impl World for Machine {
    fn now(&self) -> Option<Moment> {
        let now = jiff::Timestamp::now().to_zoned(crate::zone::local());
        let timestamp = now.timestamp();
        Some(Moment {
            seconds: timestamp.as_second(),
            nanoseconds: u32::try_from(timestamp.subsec_nanosecond()).unwrap_or(0),
            offset_s: now.offset().seconds(),
            zone: now.strftime("%Z").to_string(),
        })
    }

    fn hostname(&self) -> Option<String> {
        Some(hostname())
    }

    fn addresses(&self, host: &str) -> Vec<IpAddr> {
        resolve::addresses(host)
    }

    fn services(&self, service: &str, protocol: &str, domain: &str) -> Vec<Service> {
        resolve::services(service, protocol, domain)
    }

    fn interface_addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        brickyard_sys::interface_addresses(name)
            .map_err(|err| err.to_string())?
            .ok_or_else(|| format!("route ip+net: no such network interface: {name}"))
    }

    fn file_exists(&self, path: &str) -> bool {
        match std::fs::metadata(path) {
            Ok(_) => true,
            Err(err) => err.kind() != std::io::ErrorKind::NotFound,
        }
    }

    fn decrypt(&self, encrypted: &[u8]) -> Result<Vec<u8>, String> {
        let keyring =
            self.keyring.as_ref().ok_or("no keyring is given; -secret-keyring names it")?;
        keyring.decrypt(encrypted)
    }

    fn source(&self, name: &str) -> Result<Text, String> {
        let path = self.templates.join(name);
        let real = path.canonicalize_utf8().map_err(|err| format!("{path}: {err}"))?;
        let root = self.templates.canonicalize_utf8().map_err(|err| err.to_string())?;
        if !real.starts_with(&root) {
            return Err(format!("`{name}` leads out of {root}"));
        }
        std::fs::read(&real).map(Text::from).map_err(|err| format!("{path}: {err}"))
    }
}

/// The number of a user or a group by its name, as `/etc/passwd` and `/etc/group` have it.
pub(crate) fn id_of(name: &str, file: &Utf8Path) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// Our own environment.
pub(crate) fn environment() -> BTreeMap<String, String> {
    let pairs = std::env::vars_os();
    pairs.filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}
