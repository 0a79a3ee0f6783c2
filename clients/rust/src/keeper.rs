//! Keeps a lease alive: renews it, and listens to what the server says about it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tonic::Streaming;

use crate::again::within;
use crate::clock::now;
use crate::held::{Held, NOT_RENEWED};
use crate::request::message;
use crate::tenure::Tenure;
use crate::v1::watch_lease_response::Event;
use crate::v1::{LeaseEnd, LeaseState, RenewLeaseRequest, WatchLeaseRequest, WatchLeaseResponse};
use crate::{Error, Result};

/// Until a watch that broke is opened again: only a holder that listens can be asked to give memory back.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

/// Runs until the lease is lost, and says why. `ttl` is the lease's.
pub(crate) async fn keep(held: Arc<Held>, ttl: Duration, tenure: Tenure, evictable: bool) {
    let why = tokio::select! {
        why = renew(&held, ttl, tenure) => why,
        why = listen(&held, evictable) => why,
    };
    held.state.send_modify(|state| state.why_lost = Some(why));
}

async fn renew(held: &Held, ttl: Duration, mut tenure: Tenure) -> String {
    let request = RenewLeaseRequest { lease_id: held.grant.id.clone(), token: held.grant.token, ttl: message(ttl) };
    loop {
        sleep(tenure.next_at.saturating_sub(now())).await;
        let sent_at = now();
        if sent_at >= tenure.give_up_at {
            return NOT_RENEWED.to_owned();
        }
        let call = held.scheduler.clone();
        let renewal = async { { call }.renew_lease(request.clone()).await };
        match within(tenure.call_limit(sent_at), renewal).await {
            Ok(answer) => {
                tenure.renewed(sent_at);
                held.state.send_modify(|state| {
                    state.message = answer.lease.unwrap_or_default();
                    state.give_up_at = tenure.give_up_at;
                });
            }
            Err(failure) if failure.is_final_for_lease() => return failure.to_string(),
            Err(_) => tenure.failed(now()),
        }
    }
}

/// Ends when the server says that the lease has ended. The renewal tells of a lease that is gone.
async fn listen(held: &Held, evictable: bool) -> String {
    loop {
        match hear(held, evictable).await {
            Ok(why) => return why,
            Err(failure) if failure.is_final_for_lease() => std::future::pending().await,
            Err(_) => sleep(LISTEN_AGAIN).await,
        }
    }
}

async fn hear(held: &Held, evictable: bool) -> Result<String> {
    let request = WatchLeaseRequest {
        lease_id: held.grant.id.clone(),
        // Whoever gives the token can be asked to give the memory back; without it one only looks on.
        token: if evictable { held.grant.token } else { 0 },
    };
    let answer = held.scheduler.clone().watch_lease(request).await?;
    let mut stream: Streaming<WatchLeaseResponse> = answer.into_inner();
    while let Some(message) = stream.message().await? {
        match message.event {
            Some(Event::EvictionRequested(asked)) => {
                held.state.send_modify(|state| state.eviction = Some(asked.into()));
            }
            Some(Event::Snapshot(snapshot))
                if snapshot.lease.as_ref().is_none_or(|lease| lease.state() != LeaseState::Evicting) =>
            {
                held.state.send_modify(|state| state.eviction = None);
            }
            Some(Event::Ended(ended)) => return Ok(why_ended(ended.why()).to_owned()),
            // Events of a newer server are passed over.
            _ => {}
        }
    }
    Err(Error::new(crate::ErrorKind::Unreachable, "the server ended the watch"))
}

fn why_ended(end: LeaseEnd) -> &'static str {
    match end {
        LeaseEnd::Released => "somebody gave it back",
        LeaseEnd::Expired => "it was not renewed in time",
        LeaseEnd::Evicted => "it was taken for somebody who waited",
        LeaseEnd::ProcessExited => "every process attached to it has ended",
        _ => "the server ended it",
    }
}
