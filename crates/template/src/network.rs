//! The functions that ask the world around: names in DNS, interfaces, files, the machine.

use std::net::IpAddr;

use crate::function::Origin::{Abtreece, Confd, ConsulTemplate};
use crate::function::Param::{Any, String as Str};
use crate::function::{Answer, Data, Definition, Run, note, text};
use crate::value::{UintType, Value};

/// Functions that ask the world.
pub(crate) const TABLE: &[Definition] = &[
    Confd.row(
        "lookupIP",
        &[Str],
        Run::Data(lookup_ip),
        "the addresses of a name, sorted as texts; none when it is not found",
    ),
    Confd.row("lookupIPV4", &[Str], Run::Data(lookup_v4), "its IPv4 addresses"),
    Confd.row("lookupIPV6", &[Str], Run::Data(lookup_v6), "its IPv6 addresses"),
    Confd.row(
        "lookupSRV",
        &[Str, Str, Str],
        Run::Data(lookup_srv),
        "`lookupSRV service protocol domain`: `.Target`, `.Port`, `.Priority`, `.Weight` of each, sorted; none when nothing is found",
    ),
    Confd.row(
        "fileExists",
        &[Str],
        Run::Data(file_exists),
        "whether there is a file; true where that cannot be said",
    ),
    Abtreece.row("hostname", &[], Run::Data(hostname), "the name of the machine"),
    Abtreece.row(
        "lookupIfaceIPV4",
        &[Str],
        Run::Data(iface_v4),
        "the first IPv4 address of a network interface",
    ),
    Abtreece.row(
        "lookupIfaceIPV6",
        &[Str],
        Run::Data(iface_v6),
        "the first IPv6 address of a network interface",
    ),
    Abtreece
        .row(
            "include",
            &[Str],
            Run::Include,
            "another template rendered in place, with the value as its `.`; at most 10 deep, never in a circle",
        )
        .and_more(Any),
    ConsulTemplate.row(
        "env",
        &[Str],
        Run::Data(env),
        "an environment variable; empty when it is not set",
    ),
];

fn addresses(
    values: &[Value],
    data: &mut Data<'_>,
    name: &str,
    wanted: fn(&IpAddr) -> bool,
) -> Answer {
    let found = data.world(name)?.addresses(&text(values, 0));
    let mut found: Vec<String> =
        found.iter().filter(|at| wanted(at)).map(ToString::to_string).collect();
    found.sort();
    Ok(Value::strings(found))
}

fn lookup_ip(values: &[Value], data: &mut Data<'_>) -> Answer {
    addresses(values, data, "lookupIP", |_| true)
}

fn lookup_v4(values: &[Value], data: &mut Data<'_>) -> Answer {
    addresses(values, data, "lookupIPV4", IpAddr::is_ipv4)
}

fn lookup_v6(values: &[Value], data: &mut Data<'_>) -> Answer {
    addresses(values, data, "lookupIPV6", IpAddr::is_ipv6)
}

fn lookup_srv(values: &[Value], data: &mut Data<'_>) -> Answer {
    let world = data.world("lookupSRV")?;
    let mut found = world.services(&text(values, 0), &text(values, 1), &text(values, 2));
    // By all fields written one after another, as confd sorts them.
    found.sort_by_cached_key(|found| {
        format!("{}{}{}{}", found.target, found.port, found.priority, found.weight)
    });
    let number = |number: u16| Value::Uint(u64::from(number), UintType::Uint16);
    let records = found.into_iter().map(|found| {
        let fields = vec![
            ("Target", Value::text(found.target)),
            ("Port", number(found.port)),
            ("Priority", number(found.priority)),
            ("Weight", number(found.weight)),
        ];
        Value::record("net.SRV", fields)
    });
    Ok(Value::list("[]*net.SRV", records.collect()))
}

fn file_exists(values: &[Value], data: &mut Data<'_>) -> Answer {
    Ok(Value::Bool(data.world("fileExists")?.file_exists(&text(values, 0))))
}

fn hostname(_: &[Value], data: &mut Data<'_>) -> Answer {
    let found = data.world("hostname")?.hostname();
    found.map(Value::text).ok_or_else(|| "the machine has no name".to_owned())
}

fn interface(
    values: &[Value],
    data: &mut Data<'_>,
    name: &str,
    wanted: fn(&IpAddr) -> bool,
) -> Answer {
    let found = data.world(name)?.interface_addresses(&text(values, 0))?;
    let found = found.iter().find(|at| wanted(at));
    Ok(Value::text(found.map(ToString::to_string).unwrap_or_default()))
}

fn iface_v4(values: &[Value], data: &mut Data<'_>) -> Answer {
    interface(values, data, "lookupIfaceIPV4", IpAddr::is_ipv4)
}

fn iface_v6(values: &[Value], data: &mut Data<'_>) -> Answer {
    interface(values, data, "lookupIfaceIPV6", IpAddr::is_ipv6)
}

fn env(values: &[Value], data: &mut Data<'_>) -> Answer {
    let name = &*text(values, 0);
    note(&mut data.reads.env, name);
    Ok(Value::text(data.scope.env(name).unwrap_or_default()))
}
