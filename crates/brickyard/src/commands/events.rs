//! `events`.

use brickyard_core::Event;
use brickyard_core::clock::rfc3339;
use clap::Args;

use super::moment::moment;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Show what happened
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard events -f --since 10m web")]
pub(crate) struct EventsArgs {
    /// Go on as more happens
    #[arg(short, long)]
    follow: bool,
    /// Only what happened after this cursor
    #[arg(long, default_value_t = 0, value_name = "CURSOR")]
    after: u64,
    /// Only what happened since: 2026-01-31T12:00:00Z, 1h30m ago, or seconds since 1970
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what happened until then, in the same forms
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only what concerns these addresses; `*` and `**` match
    addresses: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &EventsArgs) -> Result<(), CommandError> {
    let since_ms = moment(args.since.as_ref())?;
    let until_ms = moment(args.until.as_ref())?;
    let patterns = match args.addresses.is_empty() {
        true => Vec::new(),
        false => {
            let key = context.key().await?;
            let here = brickyard_core::Address::environment(&key.system, &key.environment);
            let parse = |text: &String| brickyard_core::Pattern::parse_in(&here, text);
            args.addresses.iter().map(parse).collect()
        }
    };
    let path = format!("/v1/events?after={}&follow={}", args.after, args.follow);
    let mut lines = context.client()?.follow::<()>(&path, None).await?;
    while let Some(event) = lines.next::<Event>().await? {
        let wanted = patterns.is_empty()
            || event.address.as_ref().is_some_and(|a| patterns.iter().any(|p| p.matches(a)));
        // Cursors are in the order of time: nothing that is wanted comes after.
        if until_ms.is_some_and(|until| event.time_ms > until) {
            break;
        }
        if wanted && since_ms.is_none_or(|since| event.time_ms >= since) {
            show(ui, &event);
        }
    }
    Ok(())
}

fn show(ui: &Ui, event: &Event) {
    let time = rfc3339(event.time_ms);
    let kind = serde_json::to_value(event.kind).unwrap_or_default();
    let kind = kind.as_str().unwrap_or_default().to_owned();
    let address = event.address.as_ref().map(ToString::to_string);
    if ui.json {
        let mut value = serde_json::json!({
            "cursor": event.cursor, "time": time, "kind": kind, "address": address,
        });
        if let Some(map) = value.as_object_mut() {
            for (name, text) in &event.details {
                map.entry(name.clone()).or_insert_with(|| text.clone().into());
            }
        }
        ui.json_value(&value);
        return;
    }
    let details: Vec<String> =
        event.details.iter().map(|(name, text)| format!("{name}={text}")).collect();
    ui.line(&format!(
        "{} {:24} {} {}",
        ui.paint_data(Role::Faint, &time),
        kind,
        address.unwrap_or_else(|| "-".to_owned()),
        ui.paint_data(Role::Faint, &details.join(" "))
    ));
}
