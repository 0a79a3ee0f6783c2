//! Resources that are held through the hand-written layer, and what it told about them.

use std::time::Duration;

use serde_json::{Map, Value, json};
use sluice::{Client, Lease, Resources, Waiting};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::json::{from_message, from_messages};
use crate::{Mismatch, Played};

/// A hold, from the first word of it.
pub struct Hold {
    pub told: UnboundedReceiver<(&'static str, Value)>,
    pub lease: Option<Lease>,
}

/// What comes of it.
pub type Holding = JoinHandle<sluice::Result<(Lease, Value)>>;

impl Hold {
    /// Begins.
    pub fn new(client: &Client, fields: &Map<String, Value>) -> Played<(Self, Holding)> {
        let (tell, told) = unbounded_channel();
        let waiting = tell.clone();
        let resources = resources(client, fields)?.progress(move |place| {
            let _ = waiting.send(("waiting", waiting_json(place)));
        });
        let wait = fields.get("wait") != Some(&Value::Bool(false));
        let holding = tokio::spawn(async move {
            let lease = if wait { resources.hold().await } else { resources.try_hold().await }?;
            listen(&lease, tell);
            let answer = from_message("sluice.v1.Lease", &lease.message());
            Ok((lease, answer))
        });
        Ok((Self { told, lease: None }, holding))
    }
}

fn listen(lease: &Lease, tell: UnboundedSender<(&'static str, Value)>) {
    let (lost, asked) = (lease.lost(), lease.eviction_requested());
    let telling = tell.clone();
    tokio::spawn(async move { tell.send(("lost", json!({ "why": lost.await }))) });
    tokio::spawn(async move { telling.send(("eviction_requested", json!({ "reason": asked.await.reason }))) });
}

fn waiting_json(place: &Waiting) -> Value {
    json!({
        "position": place.position,
        "queue_length": place.queue_length,
        "reasons": from_messages("sluice.v1.Reason", &place.reasons),
    })
}

fn resources(client: &Client, fields: &Map<String, Value>) -> Played<Resources> {
    let mut asked = client.resources();
    for (word, value) in fields {
        let text = value.as_str().unwrap_or_default();
        let whole = u32::try_from(value.as_i64().unwrap_or_default()).unwrap_or_default();
        let seconds = || Duration::from_secs_f64(value.as_f64().unwrap_or_default());
        asked = match word.as_str() {
            "name" => asked.name(text),
            "vram_mb" => asked.vram_mb(whole),
            "ram_mb" => asked.ram_mb(whole),
            "gpus" => asked.gpus(whole),
            "exclusive" if value == true => asked.exclusive(),
            "tenant" => asked.tenant(text),
            "priority" => {
                asked.priority(value.as_i64().and_then(|priority| priority.try_into().ok()).unwrap_or_default())
            }
            "timeout_s" => asked.timeout(seconds()),
            "ttl_s" => asked.ttl(seconds()),
            "policy" => asked.policy(text),
            "request_id" => asked.request_id(text),
            "evictable" if value == true => asked.evictable(),
            "exclusive" | "evictable" | "wait" => asked,
            _ => return Err(Mismatch(format!("the runner does not know {word}"))),
        };
    }
    Ok(asked)
}
