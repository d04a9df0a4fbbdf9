//! `volumes` and `tmpfs` of a service.

use brickyard_core::VolumeName;
use brickyard_core::size::parse_bytes;
use brickyard_core::spec::{Mount, MountKind};

use super::service::Reading;
use super::{Decoder, Spot};
use crate::codes;
use crate::spec_keys;
use crate::tree::{Kind, Node};

pub(super) fn volumes(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    for item in d.items(node, "`volumes`") {
        let mount = match &item.kind {
            Kind::Mapping(_) => long(d, item),
            Kind::Scalar { .. } | Kind::Sequence(_) => short(d, item),
        };
        if let Some(mount) = mount {
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

/// `SOURCE:TARGET[:MODES]`.
fn short(d: &mut Decoder<'_>, node: &Node) -> Option<Mount> {
    let text = d.text(node, "an item of `volumes`")?;
    let mut parts = text.splitn(3, ':');
    let source = parts.next().unwrap_or_default().to_owned();
    let Some(target) = parts.next().map(str::to_owned) else {
        d.unsupported("a volume without a name", &node.place);
        return None;
    };
    let mut read_only = false;
    for mode in parts.next().unwrap_or("rw").split(',') {
        match mode {
            "ro" => read_only = true,
            "rw" => {}
            _ => d.unsupported(&format!("the volume mode `{mode}`"), &node.place),
        }
    }
    let target = d.inner_path(&target, "a volume's target", &node.place);
    let kind = if source.starts_with(['.', '/', '~']) {
        let source = d.path(&source);
        MountKind::Bind { source, create: true }
    } else {
        let name = d.name::<VolumeName>(&source, &node.place)?;
        MountKind::Volume { name }
    };
    Some(Mount { target, kind, read_only })
}

#[derive(Clone, Copy)]
enum Type {
    Volume,
    Bind,
    Tmpfs,
}

#[derive(Default)]
struct Options {
    create: bool,
    size_bytes: Option<u64>,
    mode: Option<u32>,
}

fn long(d: &mut Decoder<'_>, node: &Node) -> Option<Mount> {
    let types = [("volume", Type::Volume), ("bind", Type::Bind), ("tmpfs", Type::Tmpfs)];
    let (mut kind, mut source, mut target, mut read_only) = (None, None, None, false);
    let mut options = Options { create: true, ..Options::default() };
    for entry in d.entries(node, "an item of `volumes`") {
        let value = &entry.value;
        match entry.key.as_str() {
            "type" => kind = d.word(value, "`type`", &types),
            "source" => source = d.text(value, "`source`"),
            "target" => {
                let text = d.text(value, "`target`")?;
                target = Some(d.inner_path(&text, "`target`", &value.place));
            }
            "read_only" => read_only = d.boolean(value, "`read_only`").unwrap_or(false),
            "bind" | "volume" | "tmpfs" => mount_options(d, &mut options, &entry.key, value),
            _ => d.unknown_key(entry, spec_keys::MOUNT, "`volumes`"),
        }
    }
    for (key, missing) in [("type", kind.is_none()), ("target", target.is_none())] {
        if missing && node.get(key).is_none() {
            d.error(codes::MISSING_KEY, format!("`{key}` is missing"), &node.place);
        }
    }
    let kind = match (kind?, source) {
        (Type::Tmpfs, _) => MountKind::Tmpfs { size_bytes: options.size_bytes, mode: options.mode },
        (Type::Bind | Type::Volume, None) => {
            d.error(codes::MISSING_KEY, "`source` is missing", &node.place);
            return None;
        }
        (Type::Bind, Some(source)) => {
            MountKind::Bind { source: d.path(&source), create: options.create }
        }
        (Type::Volume, Some(source)) => MountKind::Volume { name: d.name(&source, &node.place)? },
    };
    Some(Mount { target: target?, kind, read_only })
}

fn mount_options(d: &mut Decoder<'_>, options: &mut Options, kind: &str, node: &Node) {
    let within = format!("`{kind}`");
    for entry in d.entries(node, &within) {
        let value = &entry.value;
        match (kind, entry.key.as_str()) {
            ("bind", "create_host_path") => {
                options.create = d.boolean(value, "`create_host_path`").unwrap_or(true);
            }
            ("tmpfs", "size") => options.size_bytes = d.bytes(value, "`size`"),
            ("tmpfs", "mode") => options.mode = d.mode(value),
            ("bind", _) => d.unknown_key(entry, spec_keys::MOUNT_BIND, &within),
            ("tmpfs", _) => d.unknown_key(entry, spec_keys::MOUNT_TMPFS, &within),
            _ => d.unknown_key(entry, spec_keys::MOUNT_VOLUME, &within),
        }
    }
}

/// `tmpfs: PATH[:OPTIONS]`, one or a list.
pub(super) fn tmpfs(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    for item in d.one_or_more(node, "`tmpfs`") {
        let Some(text) = d.text(item, "an item of `tmpfs`") else {
            continue;
        };
        let (path, options) = text.split_once(':').unwrap_or((&text, ""));
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
        let mount = Mount { target, kind, read_only };
        add(d, reading, mount, item);
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
