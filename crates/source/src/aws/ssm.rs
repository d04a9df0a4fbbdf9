//! The parameter store of AWS Systems Manager.
//!
//! A path is the parameter of its name, if there is one, and all that lie below it, decrypted.
//! Changes are not told of.

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Aws, Service};
use crate::paths::outermost;
use crate::{Config, Entries, Result, Source, Watching, covers};

const SERVICE: Service = Service {
    name: "ssm",
    target: "AmazonSSM",
    json: "1.1",
    local: ("SSM_LOCAL", "http://localhost:8001"),
    endpoint: "AWS_ENDPOINT_URL_SSM",
};
/// The most parameters that one answer has, and that one question names.
const PARAMETERS_MAX: usize = 10;

/// The parameters of an account in a region.
#[derive(Debug)]
pub struct ParameterStore(Aws);

impl ParameterStore {
    /// At the first of the nodes, or where AWS' variables and files say. Nothing is asked yet.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when nobody says in which region, or who asks.
    pub fn new(config: &Config) -> Result<Self> {
        Aws::new(SERVICE, config).map(Self)
    }

    /// The parameters of these names, as far as they are there.
    async fn named(&self, names: &[String], into: &mut Entries) -> Result<()> {
        // Other names belong to none.
        let can_be = |name: &&String| {
            let letters = name.trim_start_matches('/');
            !letters.is_empty()
                && letters.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-/".contains(&b))
        };
        let names: Vec<&String> = names.iter().filter(can_be).collect();
        for names in names.chunks(PARAMETERS_MAX) {
            let body = json!({"Names": names, "WithDecryption": true});
            add(&self.0.call("GetParameters", &body).await?, into);
        }
        Ok(())
    }

    /// The parameters below a path.
    async fn below(&self, path: &str, into: &mut Entries) -> Result<()> {
        let mut body = json!({
            "Path": path, "Recursive": true, "WithDecryption": true, "MaxResults": PARAMETERS_MAX,
        });
        loop {
            let page = self.0.call("GetParametersByPath", &body).await?;
            add(&page, into);
            match page["NextToken"].as_str().filter(|token| !token.is_empty()) {
                Some(token) => body["NextToken"] = token.into(),
                None => return Ok(()),
            }
        }
    }
}

fn add(page: &Value, into: &mut Entries) {
    for parameter in page["Parameters"].as_array().into_iter().flatten() {
        if let (Some(name), Some(value)) = (parameter["Name"].as_str(), parameter["Value"].as_str())
        {
            // Those without a slash are at the top.
            let key = format!("/{}", name.trim_start_matches('/'));
            into.insert(key, Bytes::copy_from_slice(value.as_bytes()));
        }
    }
}

#[async_trait]
impl Source for ParameterStore {
    fn name(&self) -> &'static str {
        "ssm"
    }

    async fn read(&self, paths: &[String]) -> Result<Entries> {
        let paths = outermost(paths);
        let mut entries = Entries::new();
        self.named(&paths, &mut entries).await?;
        for path in &paths {
            self.below(path, &mut entries).await?;
        }
        entries.retain(|key, _| paths.iter().any(|path| covers(path, key)));
        Ok(entries)
    }

    async fn watch(&self, _: &[String]) -> Result<Watching> {
        Ok(Watching::Poll("it does not tell of changes".to_owned()))
    }
}
