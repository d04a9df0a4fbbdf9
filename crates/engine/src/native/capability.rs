//! Capabilities: which an instance has, by name and as the kernel's bits.

/// What every instance's root has inside its user namespace. NET_RAW, MKNOD and AUDIT_WRITE, which
/// other engines give, are left out: datagram ICMP and device nodes work without them.
const DEFAULT: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// All names, at their bit's place (linux/capability.h).
const ALL: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The default set with `add` and without `drop`; `ALL` means all, names may begin with `CAP_`.
///
/// # Errors
/// The first name that is no capability.
pub(crate) fn resolve(add: &[String], drop: &[String]) -> Result<Vec<&'static str>, String> {
    let named = |names: &[String]| -> Result<Vec<&'static str>, String> {
        let mut found = Vec::new();
        for name in names {
            let upper = name.to_ascii_uppercase();
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            if bare == "ALL" {
                found.extend(ALL);
            } else {
                let known = ALL.iter().find(|known| **known == bare);
                found.push(*known.ok_or_else(|| format!("`{name}` is not a capability"))?);
            }
        }
        Ok(found)
    };
    let (added, dropped) = (named(add)?, named(drop)?);
    let drops_all = drop.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
    let kept = |name: &&'static str| {
        if drops_all {
            added.contains(name)
        } else {
            (DEFAULT.contains(name) || added.contains(name)) && !dropped.contains(name)
        }
    };
    Ok(ALL.iter().copied().filter(kept).collect())
}

/// The kernel's bits of these names.
pub(crate) fn bits(names: &[&str]) -> u64 {
    ALL.iter()
        .enumerate()
        .filter(|(_, name)| names.contains(name))
        .fold(0, |bits, (at, _)| bits | 1 << at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(add: &[&str], drop: &[&str]) -> Vec<&'static str> {
        let own = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        resolve(&own(add), &own(drop)).unwrap()
    }

    #[test]
    fn names_are_added_and_dropped() {
        assert_eq!(names(&[], &[]).len(), DEFAULT.len());
        assert!(names(&["cap_net_raw"], &[]).contains(&"NET_RAW"));
        assert!(!names(&[], &["CHOWN"]).contains(&"CHOWN"));
        assert_eq!(names(&["KILL"], &["ALL"]), ["KILL"]);
        assert_eq!(names(&["ALL"], &["SYS_ADMIN"]).len(), ALL.len() - 1);
        assert!(resolve(&["FLY".to_owned()], &[]).unwrap_err().contains("`FLY`"));
    }

    #[test]
    fn bits_are_the_kernels() {
        assert_eq!(bits(&["CHOWN", "SYS_ADMIN"]), 1 | 1 << 21);
        assert_eq!(bits(&["CHECKPOINT_RESTORE"]), 1 << 40);
    }
}
