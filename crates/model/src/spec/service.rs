//! A service.

use super::deploy::DEPLOY;
use super::keys::{by_config_file, by_path, by_port, by_secret_file, by_target, by_text};
use super::{COMMAND, HOSTS, Key, OPTIONS, Rule, Section, Shape, Short, TEXT_OR_TEXTS, TEXTS, key};
use Shape::{Bool, Bytes, Context, Duration, Int, List, Map, Number, OneOrMore, Pairs, Path, Text};

/// One kind of software.
pub(crate) const SERVICE: &Section = &Section::new("a service", KEYS);

const NO_LIMIT: &str = "only memory, processors and processes are limited";
const WINDOWS: &str = "it means something on Windows only";
const NO_SHARING: &str = "every instance has namespaces of its own";
const HOOKS: &str = "no commands are run beside the service's own";
const BUILDER: &str = "the builder does not know it";

const KEYS: &[Key] = &[
    key("profiles", TEXTS).unique(by_text),
    key("annotations", Pairs).ignored("no runtime reads them"),
    key("attach", Bool).ignored("`up` shows the output of every service"),
    key("build", Shape::Short(Short::Build, &Shape::Section(BUILD))),
    key("develop", Shape::Section(DEVELOP)).ignored("nothing watches files yet"),
    key("blkio_config", Shape::Section(BLKIO)).ignored(NO_LIMIT),
    key("cap_add", TEXTS).unique(by_text),
    key("cap_drop", TEXTS).unique(by_text),
    key("cgroup_parent", Text).ignored("instances are in a group of their environment"),
    key("cgroup", Shape::Word(&["host", "private"])).partly("`private`, which it always is"),
    key("cpu_count", Int).ignored(WINDOWS),
    key("cpu_percent", Number).ignored(WINDOWS),
    key("cpu_period", Int).ignored("`cpus` limits processors"),
    key("cpu_quota", Int).ignored("`cpus` limits processors"),
    key("cpu_rt_period", Int).ignored(NO_LIMIT),
    key("cpu_rt_runtime", Int).ignored(NO_LIMIT),
    key("cpus", Number),
    key("cpuset", Text).ignored(NO_LIMIT),
    key("cpu_shares", Int).ignored(NO_LIMIT),
    key("command", COMMAND).replaced(),
    key("configs", List(&Shape::Short(Short::Config, &Shape::Section(CONFIG_GRANT))))
        .unique(by_config_file)
        .partly("those with a file or with content"),
    key("container_name", Text).ignored("instances are called after service and slot"),
    key("credential_spec", Shape::Section(CREDENTIAL_SPEC)).ignored(WINDOWS),
    key("depends_on", Shape::Short(Short::Dependencies, &Map(&Shape::Section(DEPENDENCY)))),
    key("deploy", Shape::Section(DEPLOY)),
    key("device_cgroup_rules", TEXTS).no("instances get no devices of the host"),
    key("devices", List(&Shape::Short(Short::Device, &Shape::Section(DEVICE))))
        .unique(by_target)
        .no("instances get no devices of the host"),
    key("dns", TEXT_OR_TEXTS).unique(by_text).no("names are looked up by the environment's server"),
    key("dns_opt", TEXTS).unique(by_text).ignored("the environment's server needs none"),
    key("dns_search", TEXT_OR_TEXTS).unique(by_text).no("names are looked up as they are"),
    key("domainname", Text).ignored("host names have no domain"),
    key("driver_opts", OPTIONS).ignored("there is one kind of network"),
    key("entrypoint", COMMAND).replaced(),
    key("provider", Shape::Section(PROVIDER)).no("no other program provides services"),
    key("environment", Pairs),
    key("env_file", OneOrMore(&Shape::Short(Short::EnvFile, &Shape::Section(ENV_FILE))))
        .unique(by_path),
    key("expose", TEXTS).unique(by_text),
    key("extends", Shape::Short(Short::Extends, &Shape::Section(EXTENDS))).replaced(),
    key("external_links", TEXTS)
        .unique(by_text)
        .no("what is not in the yard is named by `external` of `x-brickyard`"),
    key("extra_hosts", HOSTS).unique(by_text).no("host names are the environment's"),
    key("group_add", TEXTS).unique(by_text).no("a process has its user's groups alone"),
    key("gpus", Shape::Short(Short::Gpus, &List(&Shape::Section(super::deploy::DEVICE_REQUEST))))
        .no("instances get no devices of the host"),
    key("hostname", Text),
    key("healthcheck", Shape::Section(HEALTHCHECK)),
    key("image", Text),
    key("init", Bool).ignored("the program is the first process of its instance"),
    key("ipc", Text).partly("`private` and `shareable`"),
    key("isolation", Text).ignored(WINDOWS),
    key("labels", Pairs),
    key("label_file", OneOrMore(&Path)).unique(by_text),
    key("links", TEXTS).unique(by_text),
    key("logging", Shape::Section(LOGGING))
        .by_driver()
        .ignored("the yard keeps the output, see `logs`"),
    key("mem_limit", Bytes),
    key("mem_reservation", Bytes).ignored(NO_LIMIT),
    key("memswap_limit", Bytes).ignored(NO_LIMIT),
    key("mem_swappiness", Int).ignored(NO_LIMIT),
    key("mac_address", Text).ignored("the kernel chooses one"),
    key("models", Shape::Short(Short::Names, &Map(&Shape::Section(SERVICE_MODEL))))
        .no("no language models are run"),
    key("network_mode", Text).partly("`bridge`"),
    key("networks", Shape::Short(Short::Names, &Map(&Shape::Section(ATTACHMENT))))
        .partly("an environment has one network, on which all of its services are"),
    key("oom_kill_disable", Bool).ignored("what takes too much memory is ended"),
    key("oom_score_adj", Int).ignored(NO_LIMIT),
    key("pid", Text).no(NO_SHARING),
    key("pids_limit", Int),
    key("platform", Text).ignored("images are of the host's platform"),
    key("ports", List(&Shape::Short(Short::Port, &Shape::Section(PORT))))
        .unique(by_port)
        .partly("TCP with a port of the host"),
    key("privileged", Bool).partly("`false`; no process gets power over the host"),
    key("pull_policy", Text).partly("images are imported or built; nothing is pulled yet"),
    key("pull_refresh_after", Text).ignored("nothing is pulled yet"),
    key("read_only", Bool),
    key("restart", Text),
    key("runtime", Text).ignored("the engine runs containers itself"),
    key("scale", Int),
    key("secrets", List(&Shape::Short(Short::Secret, &Shape::Section(SECRET_GRANT))))
        .unique(by_secret_file)
        .partly("those with a file"),
    key("security_opt", TEXTS).unique(by_text).partly("`no-new-privileges`, which always holds"),
    key("shm_size", Bytes),
    key("stdin_open", Bool).ignored("nothing is attached to a service's input"),
    key("stop_grace_period", Duration),
    key("stop_signal", Text),
    key("storage_opt", OPTIONS).ignored("the size of a container's file system is not limited"),
    key("sysctls", Pairs).no("the kernel's parameters are the host's"),
    key("tmpfs", TEXT_OR_TEXTS).unique(by_text),
    key("tty", Bool).ignored("nothing is attached to a service's output"),
    key("ulimits", Map(&Shape::Short(Short::Limit, &Shape::Section(LIMIT)))).ignored(NO_LIMIT),
    key("use_api_socket", Bool).partly("`false`; there is no Docker to speak to"),
    key("user", Text),
    key("userns_mode", Text).no("every instance has a user namespace of its own"),
    key("uts", Text).no(NO_SHARING),
    key("volumes", List(&Shape::Short(Short::Mount, &Shape::Section(MOUNT))))
        .unique(by_target)
        .partly("named volumes, directories and files of the host, tmpfs"),
    key("volumes_from", TEXTS).unique(by_text).partly("those of services"),
    key("working_dir", Text),
    key("pre_start", List(&Shape::Section(HOOK))).no(HOOKS),
    key("post_start", List(&Shape::Section(HOOK))).no(HOOKS),
    key("pre_stop", List(&Shape::Section(HOOK))).no(HOOKS),
];

const BUILD: &Section = &Section::new(
    "`build`",
    &[
        key("context", Context).partly("directories"),
        key("dockerfile", Text),
        key("dockerfile_inline", Text).no("the Dockerfile must be a file"),
        key("entitlements", TEXTS).unique(by_text).ignored(BUILDER),
        key("args", Pairs),
        key("provenance", Text).ignored("no attestations are made"),
        key("sbom", Text).ignored("no attestations are made"),
        key("ssh", Shape::Short(Short::Ssh, &Pairs)).no("no sockets are given to a build"),
        key("labels", Pairs).ignored(BUILDER),
        key("cache_from", TEXTS).unique(by_text).ignored("the yard keeps the cache"),
        key("cache_to", TEXTS).unique(by_text).ignored("the yard keeps the cache"),
        key("no_cache", Bool).ignored(BUILDER),
        key("no_cache_filter", TEXT_OR_TEXTS).unique(by_text).ignored(BUILDER),
        key("additional_contexts", Shape::Short(Short::Assignments, &Map(&Context))).no(BUILDER),
        key("pull", Bool).ignored("nothing is pulled yet"),
        key("extra_hosts", HOSTS).unique(by_text).no(BUILDER),
        key("isolation", Text).ignored(WINDOWS),
        key("network", Text).ignored("a build has no network"),
        key("target", Text),
        key("secrets", List(&Shape::Short(Short::Secret, &Shape::Section(SECRET_GRANT))))
            .unique(by_secret_file)
            .no("a build gets no secrets"),
        key("shm_size", Bytes).ignored(BUILDER),
        key("tags", TEXTS).unique(by_text).ignored("an image has the service's name alone"),
        key("ulimits", Map(&Shape::Short(Short::Limit, &Shape::Section(LIMIT)))).ignored(BUILDER),
        key("platforms", TEXTS).unique(by_text).ignored("images are of the host's platform"),
        key("privileged", Bool).partly("`false`"),
    ],
);

const DEVELOP: &Section = &Section::new("`develop`", &[key("watch", List(&Shape::Section(WATCH)))]);

const WATCH: &Section = &Section::new(
    "an item of `watch`",
    &[
        key("path", Path),
        key("action", Shape::Word(ACTIONS)),
        key("target", Text),
        key("exec", Shape::Section(HOOK)),
        key("include", TEXT_OR_TEXTS),
        key("ignore", TEXT_OR_TEXTS),
        key("initial_sync", Bool),
    ],
)
.requires(&["path", "action"]);

const ACTIONS: &[&str] = &["rebuild", "sync", "restart", "sync+restart", "sync+exec"];

const BLKIO: &Section = &Section::new(
    "`blkio_config`",
    &[
        key("weight", Int),
        key("weight_device", List(&Shape::Section(WEIGHT))),
        key("device_read_bps", List(&Shape::Section(RATE))),
        key("device_read_iops", List(&Shape::Section(RATE))),
        key("device_write_bps", List(&Shape::Section(RATE))),
        key("device_write_iops", List(&Shape::Section(RATE))),
    ],
);

const WEIGHT: &Section =
    &Section::new("a device's weight", &[key("path", Text), key("weight", Int)]);
const RATE: &Section = &Section::new("a device's rate", &[key("path", Text), key("rate", Bytes)]);

const SECRET_GRANT: &Section =
    &Section::new("a secret of a service", GRANT_KEYS).with(Rule::Secret);
const CONFIG_GRANT: &Section = &Section::new("a config of a service", GRANT_KEYS);

const GRANT_KEYS: &[Key] = &[
    key("source", Text),
    key("target", Text),
    key("uid", Text).ignored("files keep the owner that they have on the host"),
    key("gid", Text).ignored("files keep the group that they have on the host"),
    key("mode", Shape::Mode).ignored("files keep the bits that they have on the host"),
];

const CREDENTIAL_SPEC: &Section = &Section::new(
    "`credential_spec`",
    &[key("config", Text), key("file", Text), key("registry", Text)],
);

const DEPENDENCY: &Section = &Section::new(
    "`depends_on`",
    &[
        key(
            "condition",
            Shape::Word(&["service_started", "service_healthy", "service_completed_successfully"]),
        ),
        key("restart", Bool),
        key("required", Bool),
    ],
)
.with(Rule::Dependency);

const DEVICE: &Section = &Section::new(
    "a device",
    &[key("source", Text), key("target", Text), key("permissions", Text)],
)
.requires(&["source"]);

const PROVIDER: &Section =
    &Section::new("`provider`", &[key("type", Text), key("options", Map(&TEXT_OR_TEXTS))])
        .requires(&["type"]);

const ENV_FILE: &Section = &Section::new(
    "`env_file`",
    &[key("path", Path), key("required", Bool), key("format", Text).partly("Compose's own; `raw`")],
)
.requires(&["path"])
.closed()
.with(Rule::EnvFile);

const EXTENDS: &Section = &Section::new("`extends`", &[key("file", Context), key("service", Text)])
    .requires(&["service"])
    .closed();

const HEALTHCHECK: &Section = &Section::new(
    "`healthcheck`",
    &[
        key("test", Shape::Short(Short::Test, &TEXTS)).replaced(),
        key("timeout", Duration),
        key("interval", Duration),
        key("retries", Int),
        key("start_period", Duration),
        key("start_interval", Duration),
        key("disable", Bool),
    ],
);

const LOGGING: &Section =
    &Section::new("`logging`", &[key("driver", Text), key("options", Map(&Text))]);

const SERVICE_MODEL: &Section =
    &Section::new("a service's model", &[key("endpoint_var", Text), key("model_var", Text)]);

const ATTACHMENT: &Section = &Section::new(
    "a service's network",
    &[
        key("aliases", TEXTS)
            .unique(by_text)
            .ignored("a service is found by its name and its lines"),
        key("driver_opts", OPTIONS).ignored("there is one kind of network"),
        key("gw_priority", Int).ignored("there is one network"),
        key("interface_name", Text).ignored("it is always `eth0`"),
        key("ipv4_address", Text).ignored("addresses are given by the yard; use names"),
        key("ipv6_address", Text).ignored("addresses are given by the yard; use names"),
        key("link_local_ips", TEXTS).unique(by_text).ignored("addresses are given by the yard"),
        key("mac_address", Text).ignored("the kernel chooses one"),
        key("priority", Int).ignored("there is one network"),
    ],
);

const PORT: &Section = &Section::new(
    "a port",
    &[
        key("name", Text),
        key("mode", Text).partly("`ingress` and `host` are the same on one machine"),
        key("host_ip", Text),
        key("target", Int),
        key("published", Text).partly("one port"),
        key("protocol", Text).partly("`tcp`"),
        key("app_protocol", Text),
    ],
)
.requires(&["target"])
.with(Rule::Port);

const LIMIT: &Section =
    &Section::new("a limit", &[key("soft", Int), key("hard", Int)]).requires(&["soft", "hard"]);

const MOUNT: &Section = &Section::new(
    "a mount",
    &[
        key("type", Shape::Word(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"]))
            .partly("`bind`, `volume` and `tmpfs`"),
        key("source", Text),
        key("target", Text),
        key("read_only", Bool),
        key("consistency", Text).ignored("files are the host's own"),
        key("bind", Shape::Section(BIND)),
        key("volume", Shape::Section(VOLUME_OPTIONS)),
        key("tmpfs", Shape::Section(TMPFS)),
        key("image", Shape::Section(IMAGE_OPTIONS)).no("no images are mounted"),
    ],
)
.requires(&["type", "target"])
.with(Rule::Mount);

const BIND: &Section = &Section::new(
    "`bind`",
    &[
        key("selinux", Text).ignored("labels of SELinux stay as they are"),
        key("propagation", Text).ignored("mounts of an instance are its own"),
        key("create_host_path", Bool),
        key("recursive", Shape::Word(&["enabled", "disabled", "writable", "readonly"]))
            .ignored("what is mounted below comes along"),
    ],
);

const VOLUME_OPTIONS: &Section = &Section::new(
    "`volume`",
    &[
        key("labels", Pairs).ignored("volumes have no labels"),
        key("nocopy", Bool).ignored("a new volume gets what the image has there"),
        key("subpath", Text).no("volumes are mounted whole"),
    ],
);

const TMPFS: &Section =
    &Section::new("`tmpfs`", &[key("size", Bytes), key("mode", Shape::ModeNumber)]);

const IMAGE_OPTIONS: &Section = &Section::new("`image`", &[key("subpath", Text)]);

const HOOK: &Section = &Section::new(
    "a hook",
    &[
        key("command", COMMAND),
        key("user", Text),
        key("privileged", Bool),
        key("working_dir", Text),
        key("environment", Pairs),
        key("per_replica", Bool),
        key("image", Text),
    ],
)
.requires(&["command"]);
