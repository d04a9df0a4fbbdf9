//! Who a process runs as: `USER[:GROUP]` looked up in the image's own files.

use std::io::Read;
use std::os::fd::AsFd;

use brickyard_sys::mount::open_within;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::{Deserialize, Serialize};

/// A resolved user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Looks `text` up beneath `root`; an empty text is 0:0.
///
/// # Errors
/// A name that the image's `/etc/passwd` or `/etc/group` does not have.
pub(crate) fn resolve(root: impl AsFd, text: &str) -> Result<User, String> {
    let passwd = read_inside(&root, "etc/passwd");
    let group = read_inside(&root, "etc/group");
    lookup(text, &passwd, &group)
}

/// Users that the files beneath `root` name, by their number.
pub(crate) fn names(root: impl AsFd) -> Vec<(u32, String)> {
    let passwd = read_inside(root, "etc/passwd");
    records(&passwd)
        .filter_map(|fields| Some((fields.get(2)?.parse().ok()?, fields[0].to_owned())))
        .collect()
}

fn lookup(text: &str, passwd: &str, group: &str) -> Result<User, String> {
    let (user, group_text) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let entry = records(passwd).find(|fields| {
        fields[0] == user || (user.parse::<u32>().is_ok() && fields.get(2) == Some(&user))
    });
    let field = |at: usize| entry.as_ref().and_then(|fields| fields.get(at)).copied();
    let uid = match field(2).unwrap_or(user).parse() {
        Ok(uid) => uid,
        Err(_) => return Err(format!("user `{user}` is not in the image's /etc/passwd")),
    };
    let gid = match group_text {
        None => field(3).and_then(|gid| gid.parse().ok()).unwrap_or(0),
        Some(name) => records(group)
            .find(|fields| fields[0] == name)
            .and_then(|fields| fields.get(2)?.parse().ok())
            .or_else(|| name.parse().ok())
            .ok_or_else(|| format!("group `{name}` is not in the image's /etc/group"))?,
    };
    // Supplementary groups only follow a user by name or entry, and only without an explicit group.
    let name = field(0).unwrap_or_default();
    let groups = records(group)
        .filter(|fields| group_text.is_none() && !name.is_empty() && fields.len() > 3)
        .filter(|fields| fields[3].split(',').any(|member| member == name))
        .filter_map(|fields| fields[2].parse().ok())
        .filter(|other| *other != gid)
        .collect();
    let home = field(5).filter(|home| !home.is_empty()).unwrap_or("/").to_owned();
    Ok(User { uid, gid, groups, home })
}

fn records(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

fn read_inside(root: impl AsFd, path: &str) -> String {
    // A pipe in the file's place must not block who looks.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut text = String::new();
    if let Ok(fd) = open_within(root, path, flags, Mode::empty(), resolve) {
        let file = std::fs::File::from(fd);
        // An image may hold any file here: what is longer than a MiB is no user table.
        let _ = file.take(1 << 20).read_to_string(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\npostgres:x:101:103::/var/lib/pg:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nssl:x:102:postgres,web\npostgres:x:103:\nweb:x:200:\n";

    #[test]
    fn names_and_numbers_are_looked_up() {
        let user = lookup("postgres", PASSWD, GROUP).unwrap();
        assert_eq!((user.uid, user.gid, user.groups), (101, 103, vec![102]));
        assert_eq!(user.home, "/var/lib/pg");
        let user = lookup("101:web", PASSWD, GROUP).unwrap();
        assert_eq!((user.uid, user.gid, user.groups), (101, 200, vec![]));
        let user = lookup("7:8", "", "").unwrap();
        assert_eq!((user.uid, user.gid, user.home.as_str()), (7, 8, "/"));
        assert_eq!(lookup("", PASSWD, GROUP).unwrap().home, "/root");
        assert!(lookup("nobody", PASSWD, GROUP).unwrap_err().contains("`nobody`"));
        assert!(lookup("0:nogroup", PASSWD, GROUP).unwrap_err().contains("`nogroup`"));
    }
}
