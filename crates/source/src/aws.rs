//! What AWS' services have in common: where they are, who asks, and how requests are signed.

mod credentials;
mod dynamodb;
mod signature;
mod ssm;

use std::time::Duration;

use serde_json::Value;

use crate::http::{Answer, Http};
use crate::{Config, Error, Result};

use credentials::Provider;
pub use dynamodb::DynamoDb;
pub use ssm::ParameterStore;

/// The codes of errors after which another try may help.
const BUSY: &[&str] = &[
    "InternalServerError",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
    "TooManyUpdates",
];
/// The codes of errors of credentials that have ended.
const ENDED: &[&str] = &["ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException"];

/// What is particular about a service.
#[derive(Debug, Clone, Copy)]
struct Service {
    /// Its name in addresses and signatures.
    name: &'static str,
    /// What stands before the names of its actions.
    target: &'static str,
    /// The version of the JSON protocol.
    json: &'static str,
    /// confd's variable that asks for a server of one's own, and where that is.
    local: (&'static str, &'static str),
    /// The variable of AWS' tools that says where the service is.
    endpoint: &'static str,
}

impl Service {
    /// Where it is when no node is given.
    fn place(&self, config: &Config, region: Option<&str>) -> Result<String> {
        let own = config.variable(self.endpoint).or_else(|| config.variable("AWS_ENDPOINT_URL"));
        let (variable, local) = self.local;
        if let Some(place) = own.or_else(|| config.variable(variable).map(|_| local)) {
            return Ok(place.to_owned());
        }
        let region = region.ok_or_else(|| Error::Config {
            message: format!("in which region {} is, nobody says", self.name),
            hint: Some("set AWS_REGION".to_owned()),
        })?;
        let end = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        Ok(format!("https://{}.{region}.{end}", self.name))
    }
}

/// One service, as one account and region have it.
#[derive(Debug)]
struct Aws {
    service: Service,
    http: Http,
    region: String,
    provider: Provider,
    timeout: Duration,
}

impl Aws {
    /// A service at the nodes, or where AWS' variables and files say. Nothing is asked yet.
    fn new(service: Service, config: &Config) -> Result<Self> {
        let profile = credentials::Profile::read(&config.environment)?;
        let region = config
            .variable("AWS_REGION")
            .or_else(|| config.variable("AWS_DEFAULT_REGION"))
            .or(profile.get("region"))
            .map(str::to_owned);
        let mut config = config.clone();
        config.login.basic = false;
        if config.nodes.is_empty() {
            config.nodes = vec![service.place(&config, region.as_deref())?];
        }
        Ok(Self {
            service,
            http: Http::new(&config)?,
            // Servers of one's own do not mind.
            region: region.unwrap_or_else(|| "us-east-1".to_owned()),
            provider: Provider::new(&config, profile)?,
            timeout: config.timeout,
        })
    }

    /// Has an action carried out.
    async fn call(&self, action: &str, body: &Value) -> Result<Value> {
        let mut tries = 0;
        loop {
            let answer = self.ask(action, body).await?;
            if answer.status.is_success() {
                return serde_json::from_slice(&answer.body).map_err(|err| Error::Bad {
                    place: format!("{} {action}", self.http.node()),
                    reason: err.to_string(),
                });
            }
            let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let code = said["__type"].as_str().map(|code| code.rsplit('#').next().unwrap_or(code));
            let code = code.map_or_else(|| answer.status.to_string(), str::to_owned);
            if ENDED.contains(&&*code) && tries == 0 && self.provider.forget().await {
                tries += 1;
                continue;
            }
            let Some(message) = said["message"].as_str().or(said["Message"].as_str()) else {
                return Err(self.http.refusal(&answer));
            };
            let reason = format!("{code}: {message}");
            let node = self.http.node().to_owned();
            let is_busy = answer.status.is_server_error() || BUSY.contains(&&*code);
            return Err(match is_busy {
                true => Error::Unavailable { node, reason },
                false => Error::Refused { node, reason },
            });
        }
    }

    /// Asks once.
    async fn ask(&self, action: &str, body: &Value) -> Result<Answer> {
        let body = body.to_string().into_bytes();
        let credentials = self.provider.get().await?;
        let host = self.http.node().split_once("://").map_or("", |(_, host)| host).to_owned();
        let kind = format!("application/x-amz-json-{}", self.service.json);
        let target = format!("{}.{action}", self.service.target);
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut headers = vec![
            ("content-type", kind.as_str()),
            ("host", host.as_str()),
            ("x-amz-date", time.as_str()),
        ];
        if let Some(token) = &credentials.session {
            headers.push(("x-amz-security-token", token.as_str()));
        }
        headers.push(("x-amz-target", target.as_str()));
        let scope =
            signature::Scope { time: &time, region: &self.region, service: self.service.name };
        let request =
            signature::Request { method: "POST", path: "/", headers: &headers, body: &body };
        let signature = signature::authorization(&request, &scope, &credentials);
        headers.push(("authorization", signature.as_str()));
        // hyper sends the host by itself.
        headers.retain(|(name, _)| *name != "host");
        self.http.ask("POST", "/", &headers, Some(body), self.timeout).await
    }
}
