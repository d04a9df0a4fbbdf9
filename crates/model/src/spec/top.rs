//! The top level, and what stands beside services.

use super::keys::by_subnet;
use super::service::SERVICE;
use super::{OPTIONS, Rule, Section, Shape, Short, TEXT_OR_TEXTS, TEXTS, key};
use Shape::{Bool, Int, List, Map, OneOrMore, Pairs, Path, Text};

/// A Compose file.
pub(crate) const TOP: &Section = &Section::new(
    "a Compose file",
    &[
        key("version", Text).ignored("it is obsolete"),
        key("name", Text),
        key("include", List(&Shape::Short(Short::Include, &Shape::Section(INCLUDE)))),
        key("services", Map(&Shape::Section(SERVICE))),
        key("networks", Map(&Shape::Section(NETWORK))),
        key("volumes", Map(&Shape::Section(VOLUME))),
        key("secrets", Map(&Shape::Section(SECRET))),
        key("configs", Map(&Shape::Section(CONFIG))),
        key("models", Map(&Shape::Section(MODEL))),
    ],
);

const INCLUDE: &Section = &Section::new(
    "`include`",
    &[
        key("path", OneOrMore(&Shape::Context)),
        key("project_directory", Path),
        key("env_file", OneOrMore(&Path)),
    ],
)
.requires(&["path"])
.closed();

const ONE_KIND: &str = "there is one kind of network";
const BY_THE_YARD: &str = "the yard chooses it";

const NETWORK: &Section = &Section::new(
    "a network",
    &[
        key("name", Text).ignored(BY_THE_YARD),
        key("driver", Text).partly("`bridge`"),
        key("driver_opts", OPTIONS).ignored(ONE_KIND),
        key("ipam", Shape::Section(IPAM)).ignored("addresses are given by the yard; use names"),
        key("external", Bool)
            .partly("`false`; what is on another network is reached through the host's"),
        key("internal", Bool).partly("`false`; every service reaches the host's networks"),
        key("attachable", Bool).ignored(ONE_KIND),
        key("labels", Pairs).ignored("networks have no labels"),
        key("enable_ipv4", Bool).ignored("instances have addresses of IPv4"),
        key("enable_ipv6", Bool).ignored("instances have addresses of IPv4"),
    ],
)
.with(Rule::External);

const IPAM: &Section = &Section::new(
    "`ipam`",
    &[
        key("driver", Text),
        key("config", List(&Shape::Section(POOL))).unique(by_subnet),
        key("options", Map(&Text)),
    ],
);

const POOL: &Section = &Section::new(
    "a block of addresses",
    &[
        key("subnet", Text),
        key("gateway", Text),
        key("ip_range", Text),
        key("aux_addresses", Map(&Text)),
    ],
);

const VOLUME: &Section = &Section::new(
    "a volume",
    &[
        key("name", Text).ignored(BY_THE_YARD),
        key("driver", Text).partly("`local`"),
        key("driver_opts", OPTIONS).no("volumes are directories of the yard"),
        key("external", Bool).partly("`false`; volumes belong to an environment"),
        key("labels", Pairs).ignored("volumes have no labels"),
    ],
)
.with(Rule::Volume);

const SECRET: &Section = &Section::new(
    "a secret",
    &[
        key("name", Text).ignored(BY_THE_YARD),
        key("file", Path),
        key("environment", Text),
        key("external", Bool),
        key("labels", Pairs).ignored("files have no labels"),
        key("driver", Text).ignored("there is one kind of file"),
        key("driver_opts", OPTIONS).ignored("there is one kind of file"),
        key("template_driver", Text).ignored("`templates` of `x-brickyard` are rendered"),
    ],
)
.with(Rule::External);

const CONFIG: &Section = &Section::new(
    "a config",
    &[
        key("name", Text).ignored(BY_THE_YARD),
        key("file", Path),
        key("environment", Text),
        key("content", Text),
        key("external", Bool),
        key("labels", Pairs).ignored("files have no labels"),
        key("template_driver", Text).ignored("`templates` of `x-brickyard` are rendered"),
    ],
)
.with(Rule::External);

const MODEL: &Section = &Section::new(
    "a model",
    &[
        key("name", Text),
        key("model", Text),
        key("context_size", Int),
        key("runtime_flags", TEXTS),
        key("options", Map(&TEXT_OR_TEXTS)),
    ],
)
.requires(&["model"]);
