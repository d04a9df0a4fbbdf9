//! What is mounted into an instance: `volumes`, `tmpfs`, `volumes_from`, files of secrets and configs.

use brickyard_core::VolumeName;
use brickyard_core::size::parse_bytes;
use brickyard_core::spec::{Mount, MountKind};
use camino::Utf8Path;

use super::service::Reading;
use super::{Decoder, Spot};
use crate::codes;
use crate::tree::Node;
use crate::types::{Reload, Template};

pub(super) fn volumes(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    for item in node.items() {
        if let Some(mount) = mount(d, item) {
            add(d, reading, mount, item);
        }
    }
}

fn add(d: &mut Decoder<'_>, reading: &mut Reading<'_>, mount: Mount, node: &Node) {
    if let MountKind::Volume { name } = &mount.kind {
        let spot = Spot::Volume(reading.name.clone(), name.clone());
        d.places.insert(spot, node.place.clone());
    }
    let mounts = &mut reading.service.mounts;
    if mounts.iter().any(|other| other.target == mount.target) {
        let message = format!("`{}` is mounted twice", mount.target);
        return d.error(codes::CONFLICT, message, &node.place);
    }
    mounts.push(mount);
}

fn mount(d: &mut Decoder<'_>, node: &Node) -> Option<Mount> {
    let of = |key: &str| node.get(key).and_then(Node::as_text);
    let target = node.get("target")?;
    let target = d.inner_path(target.as_text()?, "a volume's target", &target.place);
    let kind = match (of("type")?, of("source")) {
        ("tmpfs", _) => {
            let number = |key: &str| node.at(&["tmpfs", key]).and_then(Node::as_text);
            MountKind::Tmpfs {
                size_bytes: number("size").and_then(parse_bytes).filter(|bytes| *bytes > 0),
                mode: number("mode").and_then(|mode| mode.parse().ok()),
            }
        }
        ("bind", Some(source)) => {
            let create = node.at(&["bind", "create_host_path"]).and_then(Node::as_text);
            MountKind::Bind { source: source.into(), create: create != Some("false") }
        }
        ("volume", Some(source)) => {
            MountKind::Volume { name: d.name::<VolumeName>(source, &node.place)? }
        }
        ("volume", None) => {
            d.unsupported("a volume without a name", &node.place);
            return None;
        }
        // Its source is missing, which is found elsewhere.
        ("bind", None) => return None,
        (other, _) => {
            d.unsupported(&format!("a mount of the type `{other}`"), &node.place);
            return None;
        }
    };
    Some(Mount { target, kind, read_only: of("read_only") == Some("true") })
}

/// `tmpfs: PATH[:OPTIONS]`.
pub(super) fn tmpfs(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    for item in node.items() {
        let text = item.as_text().unwrap_or_default();
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        let target = d.inner_path(path, "`tmpfs`", &item.place);
        let (mut size_bytes, mut mode, mut read_only) = (None, None, false);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let understood = match key {
                "size" => {
                    size_bytes = parse_bytes(value);
                    size_bytes.is_some()
                }
                "mode" => {
                    mode = parse_mode(value);
                    mode.is_some()
                }
                "ro" => {
                    read_only = true;
                    true
                }
                // What a tmpfs here is in any case.
                "rw" | "nosuid" | "nodev" => true,
                _ => false,
            };
            if !understood {
                d.unsupported(&format!("the tmpfs option `{option}`"), &item.place);
            }
        }
        let kind = MountKind::Tmpfs { size_bytes, mode };
        add(d, reading, Mount { target, kind, read_only }, item);
    }
}

/// `shm_size`: the size of what processes share.
pub(super) fn shared_memory(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    let size_bytes = node.as_text().and_then(parse_bytes).filter(|bytes| *bytes > 0);
    let kind = MountKind::Tmpfs { size_bytes, mode: Some(0o1777) };
    add(d, reading, Mount { target: "/dev/shm".into(), kind, read_only: false }, node);
}

/// Files of secrets and configs of a service, which are seen read-only.
pub(super) fn granted(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node, kind: &str) {
    for item in node.items() {
        let of = |key: &str| item.get(key).and_then(Node::as_text);
        let Some(source) = of("source") else {
            continue;
        };
        let root = d.root;
        let Some(defined) = root.at(&[kind, source]) else {
            continue;
        };
        let one = kind.trim_end_matches('s');
        let default = format!("/{source}");
        let target = of("target").unwrap_or(&default);
        let target = match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("/{target}"),
        };
        let target = d.inner_path(&target, &format!("a {one}'s target"), &item.place);
        let text_of = |key: &str| defined.get(key).and_then(Node::as_text);
        if let Some(file) = text_of("file") {
            let kind = MountKind::Bind { source: file.into(), create: false };
            add(d, reading, Mount { target, kind, read_only: true }, item);
        } else if let Some(text) = text_of("content") {
            reading.service.templates.push(constant(source, text, &target));
        } else {
            let message = format!("the {one} `{source}`, which is not a file of the host");
            d.unsupported(&message, &item.place);
        }
    }
}

/// A file that is the same whatever changes.
fn constant(name: &str, text: &str, dest: &Utf8Path) -> Template {
    Template {
        src: format!("the config `{name}`"),
        text: text.replace("{{", "{{\"{{\"}}"),
        dest: dest.to_owned(),
        mode: 0o444,
        uid: 0,
        gid: 0,
        check: None,
        check_timeout_ms: crate::types::CHECK_TIMEOUT_MS,
        reload: Reload::None,
        reload_timeout_ms: crate::types::RELOAD_TIMEOUT_MS,
    }
}

/// The mounts of other services, where a service has nothing of its own.
pub(super) fn volumes_from(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    let root = d.root;
    for item in node.items() {
        let text = item.as_text().unwrap_or_default();
        if text.starts_with("container:") {
            d.unsupported("volumes of a container outside of the model", &item.place);
            continue;
        }
        let (name, mode) = text.split_once(':').unwrap_or((text, "rw"));
        let others = root.at(&["services", name, "volumes"]).map(Node::items).unwrap_or_default();
        for other in others {
            let Some(mount) = mount(d, other) else {
                continue;
            };
            if reading.service.mounts.iter().all(|own| own.target != mount.target) {
                let read_only = mount.read_only || mode == "ro";
                add(d, reading, Mount { read_only, ..mount }, item);
            }
        }
    }
}

/// Permission bits in octal, as `0644`, `644` or `0o644`.
pub(super) fn parse_mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777)
}

impl Decoder<'_> {
    /// Permission bits.
    pub(super) fn mode(&mut self, node: &Node) -> Option<u32> {
        let wanted = "permission bits in octal, as \"0644\"";
        self.parsed(node, "`mode`", wanted, parse_mode)
    }
}
