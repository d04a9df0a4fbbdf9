//! A table of DynamoDB whose items have a `key` and a `value`.
//!
//! One scan reads all paths: DynamoDB looks at every item for each. Changes are not told of.

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Aws, Service};
use crate::http::decoded;
use crate::paths::{Paths, outermost, watched};
use crate::{Config, Entries, Error, Result, Source, Watching};

const SERVICE: Service = Service {
    name: "dynamodb",
    target: "DynamoDB_20120810",
    json: "1.0",
    local: ("DYNAMODB_LOCAL", "http://localhost:8000"),
    endpoint: "AWS_ENDPOINT_URL_DYNAMODB",
};
/// The most paths that a condition names; more are read as the directory above them all.
const CONDITIONS_MAX: usize = 32;

/// A table.
#[derive(Debug)]
pub struct DynamoDb {
    aws: Aws,
    table: String,
}

impl DynamoDb {
    /// At the first of the nodes, or where AWS' variables and files say. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Config`] without a table, or when nobody says in which region, or who asks.
    pub fn new(config: &Config) -> Result<Self> {
        if config.table.is_empty() {
            return Err(Error::Config {
                message: "No DynamoDB table configured".to_owned(),
                hint: Some("name it with -table".to_owned()),
            });
        }
        Ok(Self { aws: Aws::new(SERVICE, config)?, table: config.table.clone() })
    }
}

/// The value of an attribute: text, a number or bytes. Others are none.
fn value(attribute: &Value) -> Option<Bytes> {
    let text = |kind: &str| attribute[kind].as_str();
    match text("S").or_else(|| text("N")) {
        Some(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
        None => text("B").and_then(decoded).map(Bytes::from),
    }
}

#[async_trait]
impl Source for DynamoDb {
    fn name(&self) -> &'static str {
        "dynamodb"
    }

    async fn read(&self, paths: &[String]) -> Result<Entries> {
        let mut entries = Entries::new();
        if paths.is_empty() {
            return Ok(entries);
        }
        let paths = outermost(paths);
        let (mut conditions, mut values) = (Vec::new(), Map::new());
        for (number, path) in watched(&paths, CONDITIONS_MAX).iter().enumerate() {
            conditions.push(format!("#k = :e{number} OR begins_with(#k, :b{number})"));
            values.insert(format!(":e{number}"), json!({"S": path}));
            let below = format!("{}/", path.trim_end_matches('/'));
            values.insert(format!(":b{number}"), json!({"S": below}));
        }
        let covering = Paths::new(&paths);
        let mut body = json!({
            "TableName": self.table,
            "ProjectionExpression": "#k, #v",
            "FilterExpression": conditions.join(" OR "),
            "ExpressionAttributeNames": {"#k": "key", "#v": "value"},
            "ExpressionAttributeValues": values,
        });
        loop {
            let page = self.aws.call("Scan", &body).await?;
            for item in page["Items"].as_array().into_iter().flatten() {
                let Some(key) = item["key"]["S"].as_str().filter(|key| covering.cover(key)) else {
                    continue;
                };
                match value(&item["value"]) {
                    Some(value) => drop(entries.insert(key.to_owned(), value)),
                    None => tracing::warn!("the value of `{key}` is no text, number or bytes"),
                }
            }
            match &page["LastEvaluatedKey"] {
                Value::Null => return Ok(entries),
                last => body["ExclusiveStartKey"] = last.clone(),
            }
        }
    }

    async fn watch(&self, _: &[String]) -> Result<Watching> {
        Ok(Watching::Poll("it does not tell of changes".to_owned()))
    }
}
