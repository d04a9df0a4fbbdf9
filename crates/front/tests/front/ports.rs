//! Published ports.

use std::os::unix::fs::PermissionsExt;

use brickyard_front::process::Ended;
use brickyard_front::{Problem, Snapshot};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    Yard, assert_alive, backend, backend_at, free_address, greeted, listener, snapshot, until,
};

#[tokio::test]
async fn connections_are_spread_over_the_backends() {
    let yard = Yard::new().await;
    let (listen, a, b) = (free_address(), backend(b'a').await, backend(b'b').await);
    yard.publish(1, &[listener(listen, &[a, b])]).await;
    let mut names = Vec::new();
    for _ in 0..6 {
        names.push(greeted(listen).await.1);
    }
    names.sort_unstable();
    assert_eq!(names, b"aaabbb");
}

#[tokio::test]
async fn the_end_of_one_direction_leaves_the_other_open() {
    let yard = Yard::new().await;
    let (listen, a) = (free_address(), backend(b'a').await);
    yard.publish(1, &[listener(listen, &[a])]).await;
    let mut stream = TcpStream::connect(listen).await.unwrap();
    let sent = vec![7; 1 << 20];
    let (mut reader, mut writer) = stream.split();
    let write = async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let read = reader.read_to_end(&mut received);
    let (_, read) = tokio::join!(write, read);
    read.unwrap();
    assert_eq!(received.first(), Some(&b'a'));
    assert_eq!(received.last(), Some(&b'.'));
    assert!(received[1..received.len() - 1] == sent);
}

#[tokio::test]
async fn a_dead_backend_is_passed_over() {
    let yard = Yard::new().await;
    let (listen, dead, b) = (free_address(), free_address(), backend(b'b').await);
    yard.publish(1, &[listener(listen, &[dead, b])]).await;
    for _ in 0..4 {
        assert_eq!(greeted(listen).await.1, b'b');
    }
}

#[tokio::test]
async fn other_backends_leave_open_connections_alone() {
    let yard = Yard::new().await;
    let (listen, a, b) = (free_address(), backend(b'a').await, backend(b'b').await);
    yard.publish(1, &[listener(listen, &[a])]).await;
    let (mut old, name) = greeted(listen).await;
    assert_eq!(name, b'a');
    yard.publish(2, &[listener(listen, &[b])]).await;
    for _ in 0..3 {
        assert_eq!(greeted(listen).await.1, b'b');
    }
    assert_alive(&mut old).await;
}

#[tokio::test]
async fn a_connection_waits_while_there_is_no_backend() {
    let yard = Yard::new().await;
    let (listen, a) = (free_address(), backend(b'a').await);
    yard.publish(1, &[listener(listen, &[])]).await;
    let waiting = tokio::spawn(greeted(listen));
    // The connection is accepted before the backend is there, or after: it must not matter.
    tokio::task::yield_now().await;
    yard.publish(2, &[listener(listen, &[a])]).await;
    assert_eq!(waiting.await.unwrap().1, b'a');
}

#[tokio::test]
async fn a_connection_waits_for_a_backend_that_restarts_in_place() {
    let yard = Yard::new().await;
    let (listen, later) = (free_address(), free_address());
    yard.publish(1, &[listener(listen, &[later])]).await;
    let waiting = tokio::spawn(greeted(listen));
    // Connecting is refused at least once.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    backend_at(later, b'l').await;
    assert_eq!(waiting.await.unwrap().1, b'l');
}

#[tokio::test]
async fn a_port_that_is_taken_away_keeps_its_connections() {
    let yard = Yard::new().await;
    let (gone, kept, a) = (free_address(), free_address(), backend(b'a').await);
    yard.publish(1, &[listener(gone, &[a]), listener(kept, &[a])]).await;
    let (mut old, _) = greeted(gone).await;
    yard.publish(2, &[listener(kept, &[a])]).await;
    TcpStream::connect(gone).await.unwrap_err();
    assert_alive(&mut old).await;
    greeted(kept).await;
}

#[tokio::test]
async fn a_port_moves_between_addresses_in_one_snapshot() {
    let yard = Yard::new().await;
    let (one, a) = (free_address(), backend(b'a').await);
    let all = (std::net::Ipv4Addr::UNSPECIFIED, one.port()).into();
    yard.publish(1, &[listener(one, &[a])]).await;
    yard.publish(2, &[listener(all, &[a])]).await;
    greeted(one).await;
    yard.publish(3, &[listener(one, &[a])]).await;
    greeted(one).await;
}

#[tokio::test]
async fn a_port_in_use_is_a_problem_until_it_is_free() {
    let yard = Yard::new().await;
    let a = backend(b'a').await;
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = other.local_addr().unwrap();
    let ack = yard.tell(&snapshot(1, &[listener(listen, &[a])])).await;
    let expected = Problem {
        owner: "/father/dev/web".to_owned(),
        text: format!("cannot listen on {listen}: Address already in use (os error 98)"),
        taken: Some(listen),
    };
    assert_eq!(ack.problems, [expected]);
    drop(other);
    until("the port is served", || async { TcpStream::connect(listen).await.is_ok() }).await;
    assert_eq!(greeted(listen).await.1, b'a');
    yard.publish(1, &[listener(listen, &[a])]).await;
}

#[tokio::test]
async fn a_port_published_twice_names_who_has_it() {
    let yard = Yard::new().await;
    let (listen, a, b) = (free_address(), backend(b'a').await, backend(b'b').await);
    let mut second = listener(listen, &[b]);
    second.owner = "/mother/dev/web".to_owned();
    let ack = yard.tell(&snapshot(1, &[listener(listen, &[a]), second])).await;
    let expected = Problem {
        owner: "/mother/dev/web".to_owned(),
        text: format!("{listen} is published by `/father/dev/web` already"),
        taken: None,
    };
    assert_eq!(ack.problems, [expected]);
    assert_eq!(greeted(listen).await.1, b'a');
}

#[tokio::test]
async fn what_was_acknowledged_is_served_after_a_restart() {
    let mut yard = Yard::new().await;
    let (listen, a) = (free_address(), backend(b'a').await);
    yard.publish(7, &[listener(listen, &[a])]).await;
    assert_eq!(yard.stop().await, Ended::Stopped);
    TcpStream::connect(listen).await.unwrap_err();
    yard.start().await;
    assert_eq!(greeted(listen).await.1, b'a');
    // An agent that starts anew counts from 1.
    yard.publish(1, &[listener(listen, &[a])]).await;
}

#[tokio::test]
async fn a_broken_persisted_snapshot_is_as_good_as_none() {
    let mut yard = Yard::new().await;
    yard.stop().await;
    std::fs::write(yard.root().join("front.json"), b"{\"version\":").unwrap();
    yard.start().await;
    let (listen, a) = (free_address(), backend(b'a').await);
    yard.publish(1, &[listener(listen, &[a])]).await;
    greeted(listen).await;
}

#[tokio::test]
async fn an_empty_snapshot_ends_it_and_leaves_nothing() {
    let mut yard = Yard::new().await;
    let (listen, a) = (free_address(), backend(b'a').await);
    yard.publish(1, &[listener(listen, &[a])]).await;
    let empty = Snapshot { version: 2, ..Snapshot::default() };
    assert_eq!(yard.tell(&empty).await.version, 2);
    assert_eq!(yard.ended().await, Ended::Empty);
    TcpStream::connect(listen).await.unwrap_err();
    let left: Vec<_> = std::fs::read_dir(yard.root()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn there_is_one_front_and_its_files_are_private() {
    let mut yard = Yard::new().await;
    let (listen, a) = (free_address(), backend(b'a').await);
    yard.publish(1, &[listener(listen, &[a])]).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let second = brickyard_front::process::serve(yard.root(), stop).await.unwrap();
    assert_eq!(second, Ended::NotNeeded);
    greeted(listen).await;
    for entry in std::fs::read_dir(yard.root()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
    assert_eq!(yard.stop().await, Ended::Stopped);
}

#[tokio::test]
async fn nonsense_on_the_socket_changes_nothing() {
    let yard = Yard::new().await;
    let (listen, a) = (free_address(), backend(b'a').await);
    yard.publish(1, &[listener(listen, &[a])]).await;
    for nonsense in [&b"hello\n"[..], b"{}\n", b"\n", b"{\"version\":1"] {
        let socket = yard.root().join("front.sock");
        let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
        stream.write_all(nonsense).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"");
    }
    greeted(listen).await;
}
