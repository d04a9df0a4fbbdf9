//! TLS, against real servers and the HTTP stand-in alike: whom we believe, and who we are.

use std::sync::Arc;

use brickyard_source::{Backend, Config, Error, connect};
use brickyard_testkit::{Authority, Etcd, Life, Server};
use camino::{Utf8Path, Utf8PathBuf};

use crate::stand_in::StandIn;

type Files = (Utf8PathBuf, Utf8PathBuf);

/// A server that speaks TLS with a certificate, and wants one of an authority where it is named.
trait Secured {
    fn start(files: &Files, clients: Option<&Utf8Path>) -> Self;
    fn config(&self) -> Config;
}

impl Secured for Etcd {
    fn start((certificate, key): &Files, clients: Option<&Utf8Path>) -> Self {
        let mut flags = vec!["--cert-file", certificate.as_str(), "--key-file", key.as_str()];
        if let Some(clients) = clients {
            flags.extend(["--trusted-ca-file", clients.as_str(), "--client-cert-auth"]);
        }
        Self::start_with("https", &flags)
    }

    fn config(&self) -> Config {
        let mut config = Config::new(Backend::Etcd);
        config.nodes = vec![format!("https://127.0.0.1:{}", self.port())];
        config
    }
}

struct InRedis(Server);

impl Secured for InRedis {
    fn start((certificate, key): &Files, clients: Option<&Utf8Path>) -> Self {
        Self(Server::start("redis-server", "redis-server", 1, |directory, ports| {
            let clients = clients.map_or("no", |_| "yes").to_owned();
            // It wants an authority in any case.
            let authority = clients_file(certificate);
            let flags = [
                ("port", "0".to_owned()),
                ("tls-port", ports[0].to_string()),
                ("bind", "127.0.0.1".to_owned()),
                ("dir", directory.to_string()),
                ("tls-cert-file", certificate.to_string()),
                ("tls-key-file", key.to_string()),
                ("tls-ca-cert-file", authority.to_string()),
                ("tls-auth-clients", clients),
            ];
            flags.into_iter().flat_map(|(name, value)| [format!("--{name}"), value]).collect()
        }))
    }

    fn config(&self) -> Config {
        let mut config = Config::new(Backend::Redis);
        config.nodes = vec![format!("rediss://{}", self.0.address())];
        config
    }
}

impl Secured for StandIn {
    fn start(files: &Files, clients: Option<&Utf8Path>) -> Self {
        let answer = |_: &crate::stand_in::Asked| {
            (404, vec![("X-Consul-Index", "1".to_owned())], String::new())
        };
        Self::start_secured(answer, &files.0, &files.1, clients)
    }

    fn config(&self) -> Config {
        let mut config = Config::new(Backend::Consul);
        config.nodes = vec![format!("https://{}", self.address())];
        config
    }
}

fn clients_file(certificate: &Utf8Path) -> Utf8PathBuf {
    certificate.with_file_name("ours.pem")
}

/// Reads with some authority and some certificate of ours.
async fn read(
    server: &impl Secured,
    authority: Option<&Authority>,
    ours: Option<&Files>,
    insecure: bool,
) -> Result<(), Error> {
    let mut config = server.config();
    config.tls.authorities = authority.map(|authority| authority.file().to_owned());
    if let Some((certificate, key)) = ours {
        config.tls.certificate = Some(certificate.clone());
        config.tls.key = Some(key.clone());
    }
    config.tls.insecure = insecure;
    connect(&config).await?.read(&["/k".to_owned()]).await.map(drop)
}

async fn is_kept<S: Secured>() {
    let directory = tempfile::tempdir().expect("there is room");
    let at = Utf8Path::from_path(directory.path()).expect("it is UTF-8");
    let ours = Authority::new(at, "ours");
    let theirs = Authority::new(at, "theirs");
    let good = ours.issue("127.0.0.1", Life::Long);
    let server = S::start(&good, None);
    read(&server, Some(&ours), None, false).await.expect("it is who it says");
    read(&server, None, None, true).await.expect("anybody is believed");
    let says = |read: Result<(), Error>, what: &str| {
        let text = read.expect_err(what).to_string();
        assert!(text.contains(what), "{text}");
    };
    for authority in [Some(&theirs), None] {
        let stranger = read(&server, authority, None, false).await;
        says(stranger, "nobody whom we trust vouches for its certificate");
    }
    let plain = {
        let mut config = server.config();
        let address = config.nodes[0].split_once("://").expect("it has a scheme").1;
        config.nodes = vec![address.to_owned()];
        connect(&config).await.expect("an address").read(&["/k".to_owned()]).await
    };
    plain.map(drop).expect_err("it wants TLS");
    drop(server);
    let server = S::start(&ours.issue("elsewhere.example", Life::Long), None);
    says(read(&server, Some(&ours), None, false).await, "its certificate is for another name");
    drop(server);
    let server = S::start(&ours.issue("127.0.0.1", Life::Over), None);
    says(read(&server, Some(&ours), None, false).await, "its certificate has expired");
    drop(server);
    let server = S::start(&good, Some(ours.file()));
    let client = ours.issue("client.example", Life::Long);
    read(&server, Some(&ours), Some(&client), false).await.expect("we are who we say");
    says(read(&server, Some(&ours), None, false).await, "certificate of us");
}

#[tokio::test]
async fn certificates_count_with_etcd() {
    is_kept::<Etcd>().await;
}

#[tokio::test]
async fn certificates_count_with_redis() {
    is_kept::<InRedis>().await;
}

#[tokio::test]
async fn certificates_count_with_http() {
    is_kept::<StandIn>().await;
}

#[tokio::test]
async fn files_that_cannot_be_read_are_named() {
    let directory = tempfile::tempdir().expect("there is room");
    let at = Utf8Path::from_path(directory.path()).expect("it is UTF-8");
    let mut config = Config::new(Backend::Etcd);
    config.tls.authorities = Some(at.join("absent.pem"));
    let said = connect(&config).await.err().expect("there is no file").to_string();
    assert!(said.contains("absent.pem"), "{said}");
    config.tls.authorities = None;
    config.tls.certificate = Some(Authority::new(at, "ours").file().to_owned());
    let alone = connect(&config).await.err().expect("its key is missing");
    assert_eq!(alone.hint(), Some("give both -client-cert and -client-key"));
    let mut config = Config::new(Backend::Zookeeper);
    config.tls.insecure = true;
    let refused = connect(&config).await.err().expect("it has no TLS");
    assert!(refused.to_string().contains("zookeeper cannot be spoken to with TLS"), "{refused}");
    let _: Arc<dyn brickyard_source::Source> =
        connect(&Config::new(Backend::Zookeeper)).await.expect("nothing is asked yet");
}
