//! AWS' services, against moto, which checks signatures and permissions as AWS does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use brickyard_source::{Backend, Config, Error, Watching, connect};
use brickyard_testkit::Server;
use serde_json::{Value, json};

use crate::stand_in::StandIn;

struct Moto {
    server: Server,
    /// Who may read.
    key: String,
    secret: String,
}

impl Moto {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/moto");
        let brought = Command::new(script).output().expect("the script is there");
        let said = String::from_utf8_lossy(&brought.stderr).into_owned();
        assert!(brought.status.success(), "{said}");
        let path = String::from_utf8(brought.stdout).expect("it is a path").trim().to_owned();
        let server = Server::start(path.leak(), "python3-venv", 1, |_, ports| {
            ["-H", "127.0.0.1", "-p", &ports[0].to_string()].map(str::to_owned).to_vec()
        });
        Self { server, key: String::new(), secret: String::new() }
    }

    /// Asks, without a signature that counts.
    fn ask(&self, service: &str, headers: &[(&str, &str)], path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.server.address()).expect("it runs");
        let scope = format!("Credential=x/20200101/us-east-1/{service}/aws4_request");
        let mut request = format!(
            "POST {path} HTTP/1.0\r\nHost: {}\r\nContent-Length: {}\r\nAuthorization: \
             AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0\r\n",
            self.server.address(),
            body.len()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(body);
        stream.write_all(request.as_bytes()).expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.contains(" 200 "), "{answer}");
        answer
    }

    fn json(&self, service: &str, target: &str, body: &Value) {
        let kind = ("Content-Type", "application/x-amz-json-1.1");
        let _ = self.ask(service, &[kind, ("X-Amz-Target", target)], "/", &body.to_string());
    }

    fn put_parameter(&self, name: &str, kind: &str, value: &str) {
        let body = json!({"Name": name, "Type": kind, "Value": value});
        self.json("ssm", "AmazonSSM.PutParameter", &body);
    }

    fn put_item(&self, item: &Value) {
        let body = json!({"TableName": "confd", "Item": item});
        self.json("dynamodb", "DynamoDB_20120810.PutItem", &body);
    }

    /// From now on only a user's signed requests are answered, for some actions.
    fn guard(&mut self, actions: &[&str]) {
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let iam = |body: &str| {
            self.ask("iam", &form, "/", &format!("Version=2010-05-08&UserName=reader&{body}"))
        };
        let _ = iam("Action=CreateUser");
        let keys = iam("Action=CreateAccessKey");
        let field = |name: &str| {
            let rest = keys.split_once(&format!("<{name}>")).expect("it is there").1;
            rest.split('<').next().expect("it ends").to_owned()
        };
        let (key, secret) = (field("AccessKeyId"), field("SecretAccessKey"));
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": actions, "Resource": "*"},
        ]});
        let policy = policy.to_string();
        let _ = iam(&format!("Action=PutUserPolicy&PolicyName=p&PolicyDocument={policy}"));
        let _ = self.ask("iam", &[], "/moto-api/reset-auth", "0");
        (self.key, self.secret) = (key, secret);
    }

    fn config(&self, backend: Backend) -> Config {
        let mut config = Config::new(backend);
        config.nodes = vec![format!("http://{}", self.server.address())];
        config.table = "confd".to_owned();
        // The first question loads much of it.
        config.timeout = std::time::Duration::from_secs(30);
        for (name, value) in [
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", &self.key),
            ("AWS_SECRET_ACCESS_KEY", &self.secret),
        ] {
            config.environment.insert(name.to_owned(), value.to_owned());
        }
        config
    }
}

async fn read(config: &Config, paths: &[&str]) -> Result<Vec<(String, String)>, Error> {
    let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
    let entries = connect(config).await?.read(&paths).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(entries.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn parameters_are_read_decrypted_by_who_may() {
    let mut moto = Moto::start();
    moto.put_parameter("/app/db/host", "String", "db.example");
    moto.put_parameter("/app/db/password", "SecureString", "s3cret");
    moto.put_parameter("/app/exact", "String", "one");
    moto.put_parameter("/apple", "String", "other");
    moto.put_parameter("top", "String", "no slash");
    for number in 0..25 {
        moto.put_parameter(&format!("/many/{number:02}"), "String", "x");
    }
    moto.guard(&["ssm:GetParameters", "ssm:GetParametersByPath"]);
    let mut config = moto.config(Backend::Ssm);
    let expected = [("/app/db/host", "db.example"), ("/app/db/password", "s3cret")];
    assert_eq!(read(&config, &["/app/db"]).await.expect("it may"), pairs(&expected));
    let all = read(&config, &["/app", "/top", "/no such name"]).await.expect("it may");
    let keys: Vec<&str> = all.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["/app/db/host", "/app/db/password", "/app/exact", "/top"]);
    let one = read(&config, &["/app/exact"]).await.expect("it may");
    assert_eq!(one, pairs(&[("/app/exact", "one")]));
    assert_eq!(read(&config, &["/many"]).await.expect("it may").len(), 25, "several pages");
    let source = connect(&config).await.expect("it is an address");
    assert!(matches!(source.watch(&["/app".to_owned()]).await, Ok(Watching::Poll(_))));
    config.environment.insert("AWS_SECRET_ACCESS_KEY".to_owned(), "wrong".to_owned());
    let refused = read(&config, &["/app"]).await;
    let Err(Error::Refused { reason, .. }) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("signature"), "{reason}");
}

#[tokio::test]
async fn items_of_a_table_are_read_by_who_may() {
    let mut moto = Moto::start();
    let attribute = json!([{"AttributeName": "key", "AttributeType": "S"}]);
    let schema = json!([{"AttributeName": "key", "KeyType": "HASH"}]);
    let table = json!({"TableName": "confd", "AttributeDefinitions": attribute,
        "KeySchema": schema, "BillingMode": "PAY_PER_REQUEST"});
    moto.json("dynamodb", "DynamoDB_20120810.CreateTable", &table);
    for (key, value) in [
        ("/app", json!({"S": "itself"})),
        ("/app/port", json!({"N": "5432"})),
        ("/app/blob", json!({"B": "AAE="})),
        ("/app/list", json!({"L": []})),
        ("/apple", json!({"S": "other"})),
    ] {
        moto.put_item(&json!({"key": {"S": key}, "value": value}));
    }
    moto.guard(&["dynamodb:Scan"]);
    let mut config = moto.config(Backend::Dynamodb);
    let expected = [("/app", "itself"), ("/app/blob", "\0\u{1}"), ("/app/port", "5432")];
    assert_eq!(read(&config, &["/app"]).await.expect("it may"), pairs(&expected));
    let many: Vec<String> = (0..50).map(|number| format!("/x/{number}")).collect();
    let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
    many.push("/app/port");
    let found = read(&config, &many).await.expect("it may");
    assert_eq!(found, pairs(&[("/app/port", "5432")]));
    config.table = "absent".to_owned();
    let refused = read(&config, &["/app"]).await;
    assert!(matches!(&refused, Err(Error::Refused { .. })), "{refused:?}");
    config.table = String::new();
    let text = read(&config, &["/app"]).await.expect_err("it says no").to_string();
    assert_eq!(text, "No DynamoDB table configured");
}

/// What a role's credentials are, and what is asked with them, in order.
type Noted = Arc<Mutex<Vec<String>>>;

/// Everybody who says credentials, and a parameter store that has nothing.
fn role_servers() -> (Noted, StandIn) {
    let counted = Noted::default();
    let noted = Arc::clone(&counted);
    let server = StandIn::start(move |asked| {
        let mut noted = noted.lock().expect("nobody panics with it");
        let header = |name: &str| asked.headers.get(name).cloned().unwrap_or_default();
        let said = |key: &str, ends: &str| {
            let role = json!({"AccessKeyId": key, "SecretAccessKey": "s", "Token": "session",
                "Expiration": ends});
            (200, Vec::new(), role.to_string())
        };
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/container") if header("authorization") == "from a file" => {
                noted.push("container".to_owned());
                said("CONTAINER", "2001-01-01T00:00:00Z")
            }
            ("PUT", "/latest/api/token") => (200, Vec::new(), "t0ken".to_owned()),
            ("GET", path) if header("x-aws-ec2-metadata-token") == "t0ken" => {
                match path.strip_prefix("/latest/meta-data/iam/security-credentials/") {
                    Some("") => (200, Vec::new(), "role\n".to_owned()),
                    Some("role") => said("MACHINE", "2999-01-01T00:00:00Z"),
                    _ => (404, Vec::new(), String::new()),
                }
            }
            ("GET", "/") if asked.query.get("WebIdentityToken").is_some_and(|t| t == "a/b") => {
                let body = "<A><Credentials><AccessKeyId>WEB</AccessKeyId><SecretAccessKey>s\
                    </SecretAccessKey><SessionToken>session</SessionToken></Credentials></A>";
                (200, Vec::new(), body.to_owned())
            }
            ("POST", "/") => {
                let who = header("authorization");
                let who = who.split("Credential=").nth(1).and_then(|who| who.split('/').next());
                let session = header("x-amz-security-token");
                noted.push(format!("{} {session}", who.unwrap_or_default()));
                (200, Vec::new(), json!({"Parameters": []}).to_string())
            }
            _ => (403, Vec::new(), String::new()),
        }
    });
    (counted, server)
}

#[tokio::test]
async fn roles_are_taken_on_and_asked_for_anew() {
    let (counted, server) = role_servers();
    let url = format!("http://{}", server.address());
    let directory = tempfile::tempdir().expect("there is room");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name).to_string_lossy().into_owned();
        std::fs::write(&path, text).expect("the directory is new");
        path
    };
    let ways: [(&str, Vec<(&str, String)>); 3] = [
        (
            "CONTAINER",
            vec![
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{url}/container")),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file("container", "from a file\n")),
            ],
        ),
        ("MACHINE", vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.clone())]),
        (
            "WEB",
            vec![
                ("AWS_WEB_IDENTITY_TOKEN_FILE", file("web", "a/b")),
                ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r".to_owned()),
                ("AWS_ENDPOINT_URL_STS", url.clone()),
            ],
        ),
    ];
    for (who, variables) in ways {
        let mut config = Config::new(Backend::Ssm);
        config.nodes = vec![url.clone()];
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value));
        config.environment.extend(variables);
        let source = connect(&config).await.expect("somebody says who");
        for _ in 0..2 {
            assert_eq!(source.read(&["/".to_owned()]).await.expect(who).len(), 0);
        }
        let mut noted = counted.lock().expect("nobody panics with it");
        let asked = format!("{who} session");
        match who {
            // What has ended is asked for each time.
            "CONTAINER" => assert_eq!(*noted, ["container", &asked, "container", &asked]),
            _ => assert_eq!(*noted, [asked.as_str(), &asked]),
        }
        noted.clear();
    }
}

#[tokio::test]
async fn who_says_neither_where_nor_who_is_told_so() {
    let mut config = Config::new(Backend::Ssm);
    let nowhere = connect(&config).await.err().expect("there is no region");
    assert_eq!(nowhere.hint(), Some("set AWS_REGION"));
    config.environment.insert("AWS_REGION".to_owned(), "eu-west-1".to_owned());
    config.environment.insert("AWS_PROFILE".to_owned(), "absent".to_owned());
    let nobody = connect(&config).await.err().expect("there are no keys");
    assert_eq!(nobody.to_string(), "the profile `absent` has no keys");
}
