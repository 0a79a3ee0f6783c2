//! Work on a lease, counted.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::Result;
use crate::held::Held;

/// Work on a lease. While there is any, the lease is not asked back. Dropped without [`finish`](Execution::finish) it ends in the background.
#[derive(Debug)]
#[must_use = "the work counts as over when this is dropped"]
pub struct Execution {
    held: Arc<Held>,
    id: Option<String>,
    runtime: Handle,
}

impl Execution {
    pub(crate) async fn start(held: Arc<Held>) -> Result<Self> {
        let id = Some(held.start_execution().await?);
        Ok(Self { held, id, runtime: Handle::current() })
    }

    /// Says that the work is over, and waits until the server knows it.
    ///
    /// # Errors
    /// When the server does not answer for 3 s. The work counts as over when the lease ends.
    pub async fn finish(mut self) -> Result<()> {
        match self.id.take() {
            Some(id) => self.held.finish_execution(&id).await,
            None => Ok(()),
        }
    }

    /// The end of the lease is the end of the work: it needs no word of its own.
    pub(crate) fn forget(mut self) -> Option<String> {
        self.id.take()
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let held = Arc::clone(&self.held);
            // Nobody is there to hear of a failure; it ends with the lease.
            self.runtime.spawn(async move { held.finish_execution(&id).await });
        }
    }
}
