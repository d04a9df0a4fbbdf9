//! `deploy`.

use super::keys::by_text;
use super::{Key, Rule, Section, Shape, Short, TEXTS, key};
use Shape::{Bytes, Duration, Int, List, Number, Pairs, Text};

const ONE_MACHINE: &str = "there is one machine";

/// How a service is run.
pub(super) const DEPLOY: &Section = &Section::new(
    "`deploy`",
    &[
        key("mode", Text).partly("`replicated`; `global` is one instance on one machine"),
        key("replicas", Int),
        key("labels", Pairs).ignored("`labels` of the service are its instances'"),
        key("update_config", Shape::Section(UPDATE_CONFIG)),
        key("rollback_config", Shape::Section(ROLLBACK_CONFIG))
            .ignored("`update_config` holds for both"),
        key("resources", Shape::Section(RESOURCES)),
        key("restart_policy", Shape::Section(RESTART_POLICY)),
        key("placement", Shape::Section(PLACEMENT)).ignored(ONE_MACHINE),
        key("endpoint_mode", Text).ignored("every instance has an address of its own"),
    ],
);

const UPDATE_CONFIG: &Section = &Section::new("`update_config`", UPDATE_KEYS);
const ROLLBACK_CONFIG: &Section = &Section::new("`rollback_config`", UPDATE_KEYS);

const UPDATE_KEYS: &[Key] = &[
    key("parallelism", Int),
    key("delay", Duration),
    key("failure_action", Text),
    key("monitor", Duration),
    key("max_failure_ratio", Number),
    key("order", Shape::Word(&["stop-first", "start-first"])),
];

const RESOURCES: &Section = &Section::new(
    "`resources`",
    &[key("limits", Shape::Section(LIMITS)), key("reservations", Shape::Section(RESERVATIONS))],
);

const LIMITS: &Section =
    &Section::new("`limits`", &[key("cpus", Number), key("memory", Bytes), key("pids", Int)]);

const NOT_RESERVED: &str = "nothing is set aside on one machine";

const RESERVATIONS: &Section = &Section::new(
    "`reservations`",
    &[
        key("cpus", Number).ignored(NOT_RESERVED),
        key("memory", Bytes).ignored(NOT_RESERVED),
        key("devices", List(&Shape::Section(DEVICE_REQUEST)))
            .no("instances get no devices of the host"),
        key("generic_resources", List(&Shape::Section(GENERIC_RESOURCE))).ignored(NOT_RESERVED),
    ],
);

/// Devices that a service asks for.
pub(super) const DEVICE_REQUEST: &Section = &Section::new(
    "a device",
    &[
        key("capabilities", TEXTS).unique(by_text),
        key("driver", Text),
        key("count", Shape::Short(Short::Gpus, &Int)),
        key("device_ids", TEXTS).unique(by_text),
        key("options", Pairs),
    ],
)
.with(Rule::DeviceRequest);

const GENERIC_RESOURCE: &Section = &Section::new(
    "an item of `generic_resources`",
    &[key("discrete_resource_spec", Shape::Section(DISCRETE))],
);

const DISCRETE: &Section =
    &Section::new("`discrete_resource_spec`", &[key("kind", Text), key("value", Int)]);

const RESTART_POLICY: &Section = &Section::new(
    "`restart_policy`",
    &[
        key("condition", Text),
        key("delay", Duration).ignored("pauses between starts grow by themselves"),
        key("max_attempts", Int),
        key("window", Duration).ignored("an instance that runs for a while has started well"),
    ],
);

const PLACEMENT: &Section = &Section::new(
    "`placement`",
    &[
        key("constraints", TEXTS),
        key("preferences", List(&Shape::Section(PREFERENCE))),
        key("max_replicas_per_node", Int),
    ],
);

const PREFERENCE: &Section = &Section::new("an item of `preferences`", &[key("spread", Text)]);
