//! What an instance reaches: its own environment and what the machine offers to its networks. Never
//! what listens on the machine's loopback, nor another environment.

use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use brickyard_engine::{Engine, EnvironmentKey};

use super::{Cell, outside};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machines_loopback_is_out_of_reach() {
    let cell = Cell::new().await;
    let (gateway, host) = (cell.bench.facts.gateway, cell.bench.facts.host);
    let private = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = private.local_addr().unwrap().port();
    for address in [Ipv4Addr::LOCALHOST, gateway, host] {
        let answer = cell.inside(&[&format!("connect:{address}:{port}")]).await;
        assert_eq!(answer, ["ECONNREFUSED"], "{address}");
    }
    assert_eq!(outside(&[&format!("connect:127.0.0.1:{port}")]), ["ok"]);
    // What listens on all addresses is meant for networks, and the container's is one.
    let public = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = public.local_addr().unwrap().port();
    assert_eq!(cell.inside(&[&format!("connect:{host}:{port}")]).await, ["ok"]);
    assert_eq!(cell.inside(&[&format!("connect:{gateway}:{port}")]).await, ["ECONNREFUSED"]);
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_environment_is_out_of_reach() {
    let cell = Cell::new().await;
    let serve = ["httpd", "-f", "-p", "80"];
    let friend = cell.bench.request("friend", &serve);
    cell.bench.engine.start(&friend).await.unwrap();
    let other: EnvironmentKey = "other.dev".parse().unwrap();
    let facts = cell.bench.engine.open_environment(&other).await.unwrap();
    let mut stranger = cell.bench.request("stranger", &serve);
    stranger.id.environment = other.clone();
    stranger.address = facts.addresses().next();
    cell.bench.engine.start(&stranger).await.unwrap();
    let connect = |address: Option<Ipv4Addr>| format!("connect:{}:80", address.unwrap());
    let (near, far) = (connect(friend.address), connect(stranger.address));
    for server in [&near, &far] {
        brickyard_testkit::wait_for("a server listens", brickyard_testkit::DEADLINE, || {
            (outside(&[server]) == ["ok"]).then_some(())
        });
    }
    assert_eq!(cell.inside(&[&near]).await, ["ok"]);
    // A refusal by the environment's own router, which does not depend on what the host forwards:
    // without it nothing would answer at all.
    let refused = ["EHOSTUNREACH", "EACCES", "ENETUNREACH"];
    for target in [&far, &format!("connect:{}:80", facts.gateway)] {
        let answer = cell.inside(&[target]).await;
        assert!(refused.contains(&&*answer[0]), "{target}: {answer:?}");
    }
    cell.bench.engine.remove(&stranger.id).await.unwrap();
    cell.bench.engine.close_environment(&other).await.unwrap();
    cell.end().await;
}

/// Without the right to raw sockets an instance speaks with its own address alone. With `NET_RAW` or
/// `NET_ADMIN` it may pretend to be its neighbours, which `docs/security.md` says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_others_are_not_used() {
    let cell = Cell::new().await;
    let own = cell.bench.request("cell", &[]).address.unwrap();
    let gateway = cell.bench.facts.gateway;
    let foreign = cell.bench.facts.addresses().find(|address| *address != own).unwrap();
    let sent = cell.inside(&[&format!("send-as:{own}:{gateway}")]).await;
    assert_eq!(sent, ["ok"]);
    for source in [foreign, gateway, Ipv4Addr::new(192, 0, 2, 1)] {
        let sent = cell.inside(&[&format!("send-as:{source}:{gateway}")]).await;
        assert!(["EINVAL", "ENETUNREACH"].contains(&&*sent[0]), "{source}: {sent:?}");
    }
    // Addresses resolve by ARP: packets that are made by hand, and changes of the link, are refused.
    assert_eq!(cell.inside(&["socket:17:3:2054", "link-down"]).await, ["EPERM", "EPERM"]);
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machines_unix_sockets_are_out_of_reach() {
    let cell = Cell::new().await;
    let name = format!("brickyard-containment-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let attempt = format!("abstract:{name}");
    assert_eq!(cell.inside(&[&attempt]).await, ["ECONNREFUSED"]);
    assert_eq!(outside(&[&attempt]), ["ok"]);
    // Neither by its path: the yard's directory and the machine's /run are not there.
    for path in [cell.bench.root.as_str(), "/run/brickyard", "/run/docker.sock", "/var/run/dbus"] {
        assert!(cell.sh(&format!("ls -d {path} 2>&1")).await.contains("No such file"), "{path}");
    }
    cell.end().await;
}
