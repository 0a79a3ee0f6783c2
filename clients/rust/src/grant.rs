//! From the grant to a lease that is held.

use std::sync::Arc;
use std::time::Duration;

use crate::address::is_local;
use crate::held::Held;
use crate::keeper::keep;
use crate::tenure::{DEFAULT_TTL, Tenure};
use crate::{Client, Execution, Lease, Result, v1};

/// Begins to hold what was granted at `heard_at`. Whoever drops this on the way gives the lease back.
pub(crate) async fn begin(
    client: &Client,
    grant: v1::Lease,
    heard_at: Duration,
    evictable: bool,
    attach: bool,
) -> Result<Lease> {
    let ttl =
        grant.ttl.and_then(|ttl| ttl.try_into().ok()).filter(|ttl: &Duration| !ttl.is_zero()).unwrap_or(DEFAULT_TTL);
    let tenure = Tenure::new(ttl, heard_at);
    let mut lease = Lease::new(Arc::new(Held::new(client, grant, tenure.give_up_at)));
    let held = Arc::clone(lease.held());
    let attaching = async {
        if attach && is_local(client.address()) {
            held.attach().await;
        }
    };
    let starting = async {
        if evictable {
            return Ok(None);
        }
        // Nobody would hear a request to give it back, so it counts as in use until the end.
        Execution::start(Arc::clone(&held)).await.map(Some)
    };
    // Both calls at a time: whoever has waited should begin soon.
    let ((), execution) = tokio::join!(attaching, starting);
    let execution = execution?;
    let keeper = tokio::spawn(keep(Arc::clone(&held), ttl, tenure, evictable));
    lease.begun(execution, keeper.abort_handle());
    Ok(lease)
}
