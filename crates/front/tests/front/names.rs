//! Names, served inside real network namespaces. Making one takes root; without it there is
//! nothing that could be shown here, and the pure half is tested beside it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::sync::mpsc;
use std::time::Duration;

use brickyard_front::{Ack, Problem, Snapshot, Zone};
use camino::{Utf8Path, Utf8PathBuf};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::support::{DEADLINE, Yard};

type Task = Box<dyn FnOnce() + Send>;

/// A network namespace as long as its thread lives.
struct Namespace {
    tasks: mpsc::Sender<Task>,
    path: Utf8PathBuf,
}

impl Namespace {
    fn new() -> Option<Self> {
        let (tasks, inbox) = mpsc::channel::<Task>();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let made = brickyard_sys::namespace::new_network().and_then(|()| {
                let up = ["link", "set", "lo", "up"];
                std::process::Command::new("ip").args(up).status()?;
                std::fs::read_link("/proc/thread-self")
            });
            let _ = sender.send(made);
            for task in inbox {
                task();
            }
        });
        match receiver.recv().unwrap() {
            Ok(thread) => {
                let path = format!("/proc/{}/ns/net", thread.display());
                let path = Utf8PathBuf::from(path);
                Some(Self { tasks, path })
            }
            Err(err) => {
                assert!(!rustix::process::geteuid().is_root(), "{err}");
                None
            }
        }
    }

    async fn run<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let task = Box::new(move || {
            let _ = sender.send(task());
        });
        self.tasks.send(task).unwrap();
        receiver.await.unwrap()
    }

    /// The addresses of a name, asked for inside over UDP.
    async fn look_up(&self, name: &str) -> std::io::Result<Vec<Ipv4Addr>> {
        let query = query(name);
        self.run(move || {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.set_read_timeout(Some(DEADLINE))?;
            socket.connect("127.0.0.1:53")?;
            socket.send(&query)?;
            let mut answer = [0; 512];
            let length = socket.recv(&mut answer)?;
            Ok(addresses(&answer[..length]))
        })
        .await
    }

    /// The same over TCP.
    async fn look_up_tcp(&self, name: &str) -> Vec<Ipv4Addr> {
        let query = query(name);
        self.run(move || {
            let mut stream = TcpStream::connect("127.0.0.1:53").unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream.write_all(&u16::try_from(query.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&query).unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut answer).unwrap();
            addresses(&answer)
        })
        .await
    }
}

fn query(name: &str) -> Vec<u8> {
    let mut message = Message::new();
    message.set_id(42).set_recursion_desired(true);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

fn addresses(answer: &[u8]) -> Vec<Ipv4Addr> {
    let message = Message::from_vec(answer).unwrap();
    assert_eq!(message.id(), 42);
    assert_eq!(message.response_code(), ResponseCode::NoError);
    let address = |data: &RData| match data {
        RData::A(address) => address.0,
        other => panic!("{other:?}"),
    };
    message.answers().iter().map(|record| address(record.data())).collect()
}

fn snapshot(version: u64, namespace: &Utf8Path, db: Ipv4Addr) -> Snapshot {
    Snapshot {
        version,
        listeners: Vec::new(),
        zones: vec![Zone {
            owner: "/father/dev".to_owned(),
            namespace: namespace.to_owned(),
            listen: Ipv4Addr::LOCALHOST,
            names: BTreeMap::from([("db".to_owned(), vec![db])]),
        }],
    }
}

#[tokio::test]
async fn names_are_answered_inside_the_namespace() {
    let Some(inside) = Namespace::new() else {
        return;
    };
    let yard = Yard::new().await;
    let (before, after) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 3));
    yard.tell(&snapshot(1, &inside.path, before)).await;
    assert_eq!(inside.look_up("db.").await.unwrap(), [before]);
    assert_eq!(inside.look_up_tcp("DB.").await, [before]);
    let ack = yard.tell(&snapshot(2, &inside.path, after)).await;
    assert_eq!(ack.problems, []);
    assert_eq!(inside.look_up("db.").await.unwrap(), [after]);
}

#[tokio::test]
async fn a_namespace_that_was_made_anew_is_served() {
    let (Some(old), Some(new)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    let yard = Yard::new().await;
    let path = yard.root().join("network");
    let db = Ipv4Addr::new(10, 0, 0, 2);
    symlink(&old.path, &path).unwrap();
    yard.tell(&snapshot(1, &path, db)).await;
    assert_eq!(old.look_up("db.").await.unwrap(), [db]);
    new.look_up("db.").await.unwrap_err();
    std::fs::remove_file(&path).unwrap();
    symlink(&new.path, &path).unwrap();
    // Nobody tells: the front finds it.
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while new.look_up("db.").await.is_err() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    old.look_up("db.").await.unwrap_err();
}

#[tokio::test]
async fn a_zone_that_is_taken_away_lets_go_of_its_namespace() {
    let Some(inside) = Namespace::new() else {
        return;
    };
    let mut yard = Yard::new().await;
    let db = Ipv4Addr::new(10, 0, 0, 2);
    yard.tell(&snapshot(1, &inside.path, db)).await;
    yard.tell(&Snapshot::default()).await;
    yard.ended().await;
    inside.look_up("db.").await.unwrap_err();
    let free = inside.run(|| UdpSocket::bind("127.0.0.1:53").map(drop)).await;
    free.unwrap();
}

#[tokio::test]
async fn a_namespace_that_is_not_there_is_a_problem() {
    let yard = Yard::new().await;
    let path = yard.root().join("network");
    let ack = yard.tell(&snapshot(1, &path, Ipv4Addr::LOCALHOST)).await;
    let text = format!(
        "cannot serve names on 127.0.0.1 in `{path}`: No such file or directory (os error 2)"
    );
    let owner = "/father/dev".to_owned();
    let problems = vec![Problem { owner, text, taken: None }];
    assert_eq!(ack, Ack { version: 1, problems });
}
