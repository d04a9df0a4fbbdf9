//! What should run: a release with image configurations, resolved to one [`WantedService`] each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use brickyard_core::spec::{InstanceSpec, Limits, PIDS_MAX_DEFAULT, Probe, Stop};
use brickyard_core::{Address, Digest, EndpointName, ServiceName, Slot, VolumeName};
use brickyard_model::System;
use brickyard_model::types::{HostPort, Service};
use brickyard_template::Template;
use serde::{Deserialize, Serialize};

/// What an image says about running it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Environment.
    pub environment: BTreeMap<String, String>,
    /// ENTRYPOINT.
    pub entrypoint: Vec<String>,
    /// CMD.
    pub cmd: Vec<String>,
    /// USER.
    pub user: String,
    /// WORKDIR.
    pub working_dir: String,
    /// STOPSIGNAL.
    pub stop_signal: String,
    /// HEALTHCHECK.
    pub healthcheck: Option<Probe>,
}

/// What an environment should be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The environment's address.
    pub address: Address,
    /// The deploy that asked for it.
    pub deploy: u64,
    /// Boxes.
    pub services: BTreeMap<ServiceName, WantedService>,
    /// Boxes that run elsewhere, as the model says.
    pub external: BTreeMap<ServiceName, BTreeMap<EndpointName, HostPort>>,
    /// Configuration defaults.
    pub config: BTreeMap<String, String>,
    /// Named volumes.
    pub volumes: Vec<VolumeName>,
}

/// What a service should be.
#[derive(Debug, Clone)]
pub struct WantedService {
    /// The model's own words.
    pub model: Service,
    /// How many instances; 0 when the environment goes down.
    pub replicas: u32,
    /// Slots that were stopped by hand.
    pub stopped: BTreeSet<Slot>,
    /// Slots that were paused by hand.
    pub paused: BTreeSet<Slot>,
    /// What runs, without rendered variables.
    pub spec: InstanceSpec,
    /// The service's own check, the image's included.
    pub healthcheck: Option<Probe>,
    /// Compiled templates, in the model's order.
    pub templates: Vec<Arc<Template>>,
    /// Compiled variables.
    pub variables: BTreeMap<String, Arc<Template>>,
}

/// Why a release cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither the model nor the image names a program.
    #[error("service `{service}`: neither `command` nor the image says what to run")]
    NoCommand {
        /// The service.
        service: ServiceName,
    },
    /// A template does not parse.
    #[error("service `{service}`: template `{template}`: {message}")]
    Template {
        /// The service.
        service: ServiceName,
        /// Its source.
        template: String,
        /// What is wrong, with its line.
        message: String,
    },
    /// The release has no image for a service.
    #[error("service `{service}`: the release has no image for it")]
    NoImage {
        /// The service.
        service: ServiceName,
    },
}

/// What people changed by hand since the deploy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjustments {
    /// Replicas by `scale`.
    pub replicas: BTreeMap<ServiceName, u32>,
    /// Slots by `stop`.
    pub stopped: BTreeMap<ServiceName, BTreeSet<Slot>>,
    /// Slots by `pause`.
    #[serde(default)]
    pub paused: BTreeMap<ServiceName, BTreeSet<Slot>>,
    /// Whether the whole environment goes down.
    pub down: bool,
}

/// Resolves a release.
///
/// # Errors
/// All reasons for which it cannot be run.
pub fn resolve(
    address: Address,
    deploy: u64,
    system: &System,
    images: &BTreeMap<ServiceName, (Digest, ImageConfig)>,
    adjustments: &Adjustments,
) -> Result<Wanted, Vec<Error>> {
    let mut errors = Vec::new();
    let mut services = BTreeMap::new();
    for (name, service) in &system.services {
        match resolve_service(name, service, images.get(name), adjustments) {
            Ok(wanted) => {
                services.insert(name.clone(), wanted);
            }
            Err(more) => errors.extend(more),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Wanted {
        address,
        deploy,
        services,
        external: system.external.clone(),
        config: system.config.clone(),
        volumes: system.volumes.clone(),
    })
}

fn resolve_service(
    name: &ServiceName,
    service: &Service,
    image: Option<&(Digest, ImageConfig)>,
    adjustments: &Adjustments,
) -> Result<WantedService, Vec<Error>> {
    let mut errors = Vec::new();
    let mut compile = |source: &str, text: &str| {
        let parsed = brickyard_template::parse(source, text);
        parsed.map(Arc::new).map_err(|err| {
            errors.push(Error::Template {
                service: name.clone(),
                template: source.to_owned(),
                message: err.to_string(),
            });
        })
    };
    let templates: Vec<_> = service
        .templates
        .iter()
        .filter_map(|template| compile(&template.src, &template.text).ok())
        .collect();
    let variables: BTreeMap<_, _> = service
        .environment_templates
        .iter()
        .filter_map(|(variable, template)| {
            Some((variable.clone(), compile(variable, &template.text).ok()?))
        })
        .collect();
    let Some((digest, config)) = image else {
        errors.push(Error::NoImage { service: name.clone() });
        return Err(errors);
    };
    let argv = argv(service, config);
    if argv.is_empty() {
        errors.push(Error::NoCommand { service: name.clone() });
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let replicas = adjustments.replicas.get(name).copied().unwrap_or(service.replicas);
    let image_check = (!service.healthcheck_disabled).then(|| config.healthcheck.clone()).flatten();
    Ok(WantedService {
        replicas: if adjustments.down { 0 } else { replicas },
        stopped: adjustments.stopped.get(name).cloned().unwrap_or_default(),
        paused: adjustments.paused.get(name).cloned().unwrap_or_default(),
        spec: spec(service, *digest, config, argv),
        healthcheck: service.healthcheck.clone().or(image_check),
        templates,
        variables,
        model: service.clone(),
    })
}

/// Compose's rule: an entrypoint of the model clears the image's command.
fn argv(service: &Service, config: &ImageConfig) -> Vec<String> {
    let entrypoint = service.entrypoint.as_ref().unwrap_or(&config.entrypoint);
    let default = if service.entrypoint.is_some() { &[][..] } else { &config.cmd };
    let command = service.command.as_deref().unwrap_or(default);
    entrypoint.iter().chain(command).cloned().collect()
}

fn spec(service: &Service, image: Digest, config: &ImageConfig, argv: Vec<String>) -> InstanceSpec {
    let mut environment = config.environment.clone();
    environment.extend(service.environment.clone());
    let or = |text: &str, default: &str| {
        if text.is_empty() { default.to_owned() } else { text.to_owned() }
    };
    InstanceSpec {
        image,
        argv,
        environment,
        working_dir: service
            .working_dir
            .clone()
            .unwrap_or_else(|| or(&config.working_dir, "/").into()),
        user: service.user.clone().unwrap_or_else(|| config.user.clone()),
        hostname: service.hostname.clone().unwrap_or_default(),
        mounts: service.mounts.clone(),
        read_only: service.read_only,
        cap_add: service.cap_add.clone(),
        cap_drop: service.cap_drop.clone(),
        limits: Limits {
            memory_bytes: service.memory_bytes,
            cpu_millis: service.cpu_millis,
            pids_max: service.pids_max.unwrap_or(PIDS_MAX_DEFAULT),
        },
        stop: Stop {
            signal: service.stop_signal.clone().unwrap_or_else(|| or(&config.stop_signal, "TERM")),
            grace_ms: service.stop_grace_ms,
        },
        labels: service.labels.clone(),
    }
}

impl WantedService {
    /// All checks that must pass: its own and those of its endpoints.
    #[must_use]
    pub fn probes(&self) -> Vec<Probe> {
        let endpoints = self.model.provides.values().filter_map(|endpoint| endpoint.health.clone());
        self.healthcheck.iter().cloned().chain(endpoints).collect()
    }
}
