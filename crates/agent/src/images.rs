//! Images as deciding code wants them: configuration, and layers by digest.

use brickyard_core::Digest;
use brickyard_core::spec::{Probe, ProbeKind};
use brickyard_image::config::Healthcheck;
use brickyard_image::{Image, Store};
use brickyard_plan::ImageConfig;
use camino::Utf8PathBuf;

/// What is known of an image that a release names.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) config: ImageConfig,
    pub(crate) layers: Vec<Utf8PathBuf>,
}

/// Looks an image up by its digest.
///
/// # Errors
/// A text that says what is missing.
pub(crate) fn lookup(store: &Store, digest: &Digest) -> Result<Known, String> {
    let image = store.get_by_digest(digest).map_err(|err| err.to_string())?;
    let image = image.ok_or_else(|| format!("image {digest} is not in the content store"))?;
    Ok(Known { config: config_of(&image), layers: image.layers })
}

/// What an image says about running it, as deciding code wants it.
#[must_use]
pub fn config_of(image: &Image) -> ImageConfig {
    let config = &image.config;
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    ImageConfig {
        environment: config.env.iter().map(pair).collect(),
        entrypoint: config.entrypoint.clone().unwrap_or_default(),
        cmd: config.cmd.clone().unwrap_or_default(),
        user: config.user.clone(),
        working_dir: config.working_dir.clone(),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        healthcheck: config.healthcheck.as_ref().and_then(probe_of),
    }
}

/// Docker's health check; its defaults are 30 s, 30 s, 3 times, no start period, 5 s.
fn probe_of(check: &Healthcheck) -> Option<Probe> {
    let (kind, rest) = check.test.split_first()?;
    let argv = match kind.as_str() {
        "CMD" => rest.to_vec(),
        "CMD-SHELL" => vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.first()?.clone()],
        _ => return None,
    };
    let millis = |nanos: u64, default: u64| match nanos {
        1.. => nanos / 1_000_000,
        0 => default,
    };
    Some(Probe {
        kind: ProbeKind::Exec { argv },
        interval_ms: millis(check.interval, 30_000),
        timeout_ms: millis(check.timeout, 30_000),
        retries: u32::try_from(check.retries).ok().filter(|count| *count > 0).unwrap_or(3),
        start_period_ms: millis(check.start_period, 0),
        start_interval_ms: millis(check.start_interval, 5_000),
    })
}
