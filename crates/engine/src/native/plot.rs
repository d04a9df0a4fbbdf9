//! Plots: the piece of the machine that an environment gets, an id range and a subnet by one
//! number, claimed machine-wide so that no two yards use the same.
//!
//! Ids come from 1879048192 to 2147483647, the range that systemd's table of ids leaves unused
//! between its container range and 2^31 (<https://systemd.io/UIDS-GIDS/>). Subnets are /21 pieces
//! of 10.200.0.0/13: the lower half is the bridge's network, the host's address lies in the upper
//! half, so that instances reach it through their gateway and never look for it on the bridge.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::Ipv4Addr;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{FlockOperation, flock};

/// First id of plot 0.
const UID_FIRST: u32 = 1_879_048_192;
/// Ids of a plot.
pub(crate) const UID_COUNT: u32 = 65_536;
/// Address of plot 0.
const SUBNET_FIRST: u32 = u32::from_be_bytes([10, 200, 0, 0]);
/// Bits of a plot's prefix.
const PLOT_BITS: u8 = 21;
/// Bits of the prefix of an environment's bridge.
pub(crate) const PREFIX_BITS: u8 = 22;
/// Plots of a machine: as many /21 as fit into the /13.
const PLOT_COUNT: u32 = 256;
/// The network that all plots are pieces of.
pub(crate) const ALL_PLOTS: (Ipv4Addr, u8) = (Ipv4Addr::from_bits(SUBNET_FIRST), 13);
/// Claims of all yards of this machine. Gone after a reboot, as are networks and processes.
const CLAIMS: &str = "/run/brickyard/plots";

/// A claimed number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plot(pub(crate) u32);

impl Plot {
    pub(crate) fn uid_base(self) -> u32 {
        UID_FIRST + self.0 * UID_COUNT
    }

    pub(crate) fn subnet(self) -> Ipv4Addr {
        Ipv4Addr::from(SUBNET_FIRST + (self.0 << (32 - PLOT_BITS)))
    }

    /// The bridge's address.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet()) + 1)
    }

    /// The host's address: the first of the upper half.
    pub(crate) fn host(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet()) + (1 << (32 - PREFIX_BITS)) + 1)
    }

    fn of_uid_base(uid_base: u32) -> Option<Self> {
        let number = uid_base.checked_sub(UID_FIRST)? / UID_COUNT;
        (number < PLOT_COUNT).then_some(Self(number))
    }
}

/// Claims a plot for the environment directory `owner`: the one it had (`former` id base), or the
/// first that nobody uses and that no route of this machine overlaps.
pub(crate) fn claim(owner: &Utf8Path, former: Option<u32>) -> io::Result<Plot> {
    let _lock = lock()?;
    let routes = routed_subnets();
    let former = former.and_then(Plot::of_uid_base);
    let mut free = None;
    for number in former.iter().map(|plot| plot.0).chain(0..PLOT_COUNT) {
        let plot = Plot(number);
        let path = claim_path(plot);
        match fs::read_to_string(&path) {
            Ok(text) if text.trim() == owner => return Ok(plot),
            Ok(text) if Utf8Path::new(text.trim()).exists() => {}
            _ if free.is_none() && !routes.iter().any(|route| overlaps(*route, plot)) => {
                free = Some(plot);
            }
            _ => {}
        }
    }
    let plot = free.ok_or_else(|| {
        io::Error::other(format!("all {PLOT_COUNT} id ranges and subnets of this machine are used"))
    })?;
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).open(claim_path(plot))?;
    file.write_all(owner.as_str().as_bytes())?;
    Ok(plot)
}

/// Gives back whatever plot `owner` has, and those of owners that are not there any more. A start
/// that was killed may have claimed one without a record of it.
pub(crate) fn release(owner: &Utf8Path) -> io::Result<()> {
    let _lock = lock()?;
    for entry in fs::read_dir(CLAIMS)? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        let claimed = Utf8Path::new(text.trim());
        // One whose writer was killed names nobody: who writes holds the lock.
        if claimed == owner || !claimed.exists() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn claim_path(plot: Plot) -> Utf8PathBuf {
    Utf8Path::new(CLAIMS).join(plot.0.to_string())
}

fn lock() -> io::Result<fs::File> {
    fs::create_dir_all(CLAIMS)?;
    let path = Utf8Path::new(CLAIMS).with_extension("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    match flock(&file, FlockOperation::LockExclusive) {
        Ok(()) => Ok(file),
        Err(err) => Err(err.into()),
    }
}

/// Destination and mask of every route of the main table, as /proc/net/route tells (hex, in
/// network order read as little endian). The default route overlaps nothing.
fn routed_subnets() -> Vec<(u32, u32)> {
    let text = fs::read_to_string("/proc/net/route").unwrap_or_default();
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
            Some((number(1)?.swap_bytes(), number(7)?.swap_bytes()))
        })
        .filter(|(_, mask)| *mask != 0)
        .collect()
}

fn overlaps((network, mask): (u32, u32), plot: Plot) -> bool {
    let plot_mask = u32::MAX << (32 - PLOT_BITS);
    let common = mask & plot_mask;
    network & common == u32::from(plot.subnet()) & common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_do_not_meet() {
        let (a, b) = (Plot(0), Plot(1));
        assert_eq!(a.subnet(), Ipv4Addr::new(10, 200, 0, 0));
        assert_eq!(a.host(), Ipv4Addr::new(10, 200, 4, 1));
        assert_eq!(b.subnet(), Ipv4Addr::new(10, 200, 8, 0));
        assert_eq!(b.uid_base(), a.uid_base() + UID_COUNT);
        assert!(Plot(PLOT_COUNT - 1).uid_base() < 1 << 31);
        assert_eq!(Plot::of_uid_base(b.uid_base()), Some(b));
    }

    #[test]
    fn a_route_of_any_size_is_seen() {
        let network = |a, b, c, bits: u32| {
            (u32::from_be_bytes([a, b, c, 0]), u32::MAX.checked_shl(32 - bits).unwrap_or(0))
        };
        assert!(overlaps(network(10, 0, 0, 8), Plot(3)));
        assert!(overlaps(network(10, 200, 25, 24), Plot(3)));
        assert!(!overlaps(network(10, 200, 32, 24), Plot(3)));
    }
}
