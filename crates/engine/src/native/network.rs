//! The network of an environment and the links of its instances.
//!
//! An environment has a network namespace with a bridge in it, routed to the host by one veth
//! pair: other software's rules for forwarding between the host's bridges cannot cut its
//! services apart, and port 53 is free in it. Links die with an instance's network namespace and
//! are never deleted one by one: an explicit deletion costs 21 ms.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use brickyard_sys::namespace::{enter_network, new_network};
use camino::Utf8Path;

use super::netlink::{
    Netlink, add_address, add_bridge, add_prohibition, add_route, add_veth, delete_link,
    link_index, set_aside, set_down, set_up,
};
use super::plot::{ALL_PLOTS, PREFIX_BITS, Plot};
use crate::EnvironmentFacts;

/// The bridge inside an environment's namespace.
const BRIDGE: &str = "bricks";
/// The environment's end of the link to the host.
const UPLINK: &str = "uplink";
/// An instance's link as it sees it.
const ETH: &str = "eth0";
/// Index of `lo` in a new network namespace.
const LOOPBACK: u32 = 1;

/// Runs `work` on a thread that may change its network namespace without anybody noticing.
pub(crate) fn on_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        scope
            .spawn(work)
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the network thread panicked")))
    })
}

/// Makes an environment's network, pinned at `pin`, linked to the host as `host_link`.
pub(crate) fn create(plot: Plot, pin: &Utf8Path, host_link: &str) -> io::Result<()> {
    let host_namespace = File::open("/proc/self/ns/net")?;
    File::create(pin)?;
    on_own_thread(|| {
        new_network()?;
        rustix::mount::mount_bind("/proc/thread-self/ns/net", pin.as_std_path())?;
        let mut netlink = Netlink::open()?;
        netlink.run(vec![
            set_up(LOOPBACK),
            add_bridge(BRIDGE, mac_of(plot.gateway())),
            add_veth(UPLINK, None, host_link, None, host_namespace.as_fd()),
        ])?;
        let (bridge, uplink) = (link_index(BRIDGE)?, link_index(UPLINK)?);
        netlink.run(vec![
            set_up(bridge),
            add_address(bridge, plot.gateway(), PREFIX_BITS),
            set_up(uplink),
            add_route(Some((plot.host(), 32)), None, uplink, Some(plot.gateway())),
            add_route(None, Some(plot.host()), uplink, Some(plot.gateway())),
            // The host may forward for all of its interfaces; environments keep apart all the same.
            add_prohibition(ALL_PLOTS),
        ])?;
        // The file shows the namespace of the thread that opens it.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")
    })?;
    let index = link_index(host_link)?;
    Netlink::open()?.run(vec![
        set_up(index),
        add_address(index, plot.host(), 32),
        add_route(
            Some((plot.subnet(), PREFIX_BITS)),
            Some(plot.gateway()),
            index,
            Some(plot.host()),
        ),
    ])
}

/// Takes an environment's network away, whatever of it is there.
pub(crate) fn destroy(pin: &Utf8Path, host_link: &str) -> io::Result<()> {
    if let Ok(index) = link_index(host_link) {
        Netlink::open()?.run(vec![delete_link(index)])?;
    }
    let_go(pin)
}

/// Lets go of an environment's network namespace: the kernel takes it away with its links when the
/// last process in it has ended, some tens of milliseconds later.
pub(crate) fn let_go(pin: &Utf8Path) -> io::Result<()> {
    if pin.exists() {
        match rustix::mount::unmount(pin.as_std_path(), rustix::mount::UnmountFlags::DETACH) {
            // EINVAL: it was a plain file, the mount was never made or is gone after a reboot.
            Ok(()) | Err(rustix::io::Errno::INVAL) => std::fs::remove_file(pin)?,
            Err(err) => return Err(err.into()),
        }
    }
    Ok(())
}

/// Whether an environment's network is there and whole.
pub(crate) fn is_alive(pin: &Utf8Path, host_link: &str) -> bool {
    let pinned = rustix::fs::statfs(pin.as_std_path()).is_ok_and(|stat| {
        // NSFS_MAGIC of linux/magic.h.
        stat.f_type == 0x6e73_6673
    });
    pinned && link_index(host_link).is_ok()
}

/// Gives an instance's namespace its link, address and default route. The caller is a
/// single-threaded worker and is back in its own namespace afterwards.
pub(crate) fn connect(
    facts: &EnvironmentFacts,
    address: Ipv4Addr,
    instance: BorrowedFd<'_>,
) -> io::Result<()> {
    let pin = facts
        .network_namespace
        .as_ref()
        .ok_or_else(|| io::Error::other("the environment has no network"))?;
    let home = File::open("/proc/self/ns/net")?;
    enter_network(File::open(pin)?)?;
    let (link, bridge) = (link_name(address), link_index(BRIDGE)?);
    let mut netlink = Netlink::open()?;
    let add = || vec![add_veth(&link, Some(bridge), ETH, Some(mac_of(address)), instance)];
    match netlink.run(add()) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {
            cut_off(&mut netlink, &link, address)?;
            netlink.run(add())?;
        }
        other => other?,
    }
    enter_network(instance)?;
    let eth = link_index(ETH)?;
    Netlink::open()?.run(vec![
        set_up(LOOPBACK),
        set_up(eth),
        add_address(eth, address, facts.prefix_bits),
        add_route(None, Some(facts.gateway), eth, None),
    ])?;
    enter_network(home)
}

/// The bridge's end of an instance's link; addresses are unique within an environment.
fn link_name(address: Ipv4Addr) -> String {
    format!("v{:08x}", u32::from(address))
}

/// Takes the link of a former run off the bridge and out of the way. The network namespace behind it
/// lives on while the kernel still tries to say goodbye to somebody who is gone, for minutes maybe,
/// and would answer in the place of the one that is being started.
fn cut_off(netlink: &mut Netlink, link: &str, address: Ipv4Addr) -> io::Result<()> {
    // One that is not there any more went by itself just now.
    let Ok(index) = link_index(link) else { return Ok(()) };
    // The worker's pid makes the name: several former runs may still be on their way out.
    let aside = format!("x{:x}.{:04x}", std::process::id(), u32::from(address) & 0xffff);
    match netlink.run(vec![set_down(index), set_aside(index, &aside)]) {
        Err(err) if link_index(link).is_ok() => Err(err),
        _ => Ok(()),
    }
}

/// A locally administered MAC address that follows from the IP address: an instance that is
/// started again keeps both, so no neighbour remembers a wrong one.
fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// Brings up the loopback of a network namespace that has nothing else.
pub(crate) fn loopback_only(instance: BorrowedFd<'_>) -> io::Result<()> {
    let home = File::open("/proc/self/ns/net")?;
    enter_network(instance)?;
    Netlink::open()?.run(vec![set_up(LOOPBACK)])?;
    enter_network(home)
}
