//! A lease that is held.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::held::{Held, State};
use crate::{Error, ErrorKind, EvictionRequest, Execution, LeasedGpu, Result, v1};

/// A claim on named GPUs and on RAM. It is renewed in the background until it is given back.
///
/// Dropped without [`release`](Lease::release) it is given back in the background, if the runtime lives long enough for that; else it ends by
/// itself when nobody renews it, or with the process.
///
/// It is kept by a task of the runtime that asked for it. Work that blocks belongs into `spawn_blocking` or a process of its own, lest it
/// keeps a runtime of one thread from renewing.
#[derive(Debug)]
#[must_use = "the lease is given back when this is dropped"]
pub struct Lease {
    held: Arc<Held>,
    keeper: Option<AbortHandle>,
    execution: Option<Execution>,
    over: bool,
    runtime: Handle,
}

impl Lease {
    /// Held, but not kept yet.
    pub(crate) fn new(held: Arc<Held>) -> Self {
        Self { held, keeper: None, execution: None, over: false, runtime: Handle::current() }
    }

    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    pub(crate) fn begun(&mut self, execution: Option<Execution>, keeper: AbortHandle) {
        self.execution = execution;
        self.keeper = Some(keeper);
    }

    /// Identity of the lease.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.held.grant.id
    }

    /// Fencing token: rises with every grant of the server and never repeats.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.held.grant.token
    }

    /// The GPUs with their UUIDs, indexes and MiB, as granted; empty when no GPU was asked for.
    #[must_use]
    pub fn gpus(&self) -> &[LeasedGpu] {
        &self.held.grant.gpus
    }

    /// What a child process should find in its environment: `Command::new("python3").envs(lease.env())`.
    ///
    /// The environment of this process is left alone: in Rust it cannot be changed safely once there are threads.
    #[must_use]
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.held.env
    }

    /// The lease as it was granted or last renewed.
    #[must_use]
    pub fn message(&self) -> v1::Lease {
        self.held.state.borrow().message.clone()
    }

    /// Waits until the lease is lost, and says why: it ended although nobody here gave it back, and its memory is no longer reserved. For
    /// `tokio::select!` beside the work, or in a task of its own. Never ready when the lease is given back here.
    pub fn lost(&self) -> impl Future<Output = String> + Send + use<> {
        first(self.held.state.subscribe(), |state| state.why_lost.clone())
    }

    /// True once the lease is lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.held.why_lost().is_some()
    }

    /// Fails when the lease is lost. Cheap: ask in every step of a loop.
    ///
    /// # Errors
    /// [`ErrorKind::LeaseLost`], with the reason in words.
    pub fn check(&self) -> Result<()> {
        match self.held.why_lost() {
            None => Ok(()),
            Some(why) => Err(Error::new(ErrorKind::LeaseLost, format!("the lease {} is lost: {why}", self.id()))),
        }
    }

    /// Waits until somebody needs this memory: free it, and [`release`](Lease::release) the lease before the deadline. Only a lease that was asked
    /// for as [`evictable`](crate::Resources::evictable) is ever asked back, and only while no work [counts](Lease::executing).
    pub fn eviction_requested(&self) -> impl Future<Output = EvictionRequest> + Send + use<> {
        first(self.held.state.subscribe(), |state| state.eviction.clone())
    }

    /// Says that work on the lease begins. An evictable lease is idle between such works, and is not asked back during one.
    ///
    /// # Errors
    /// [`ErrorKind::LeaseGone`] when the lease has ended.
    pub async fn executing(&self) -> Result<Execution> {
        Execution::start(Arc::clone(&self.held)).await
    }

    /// Gives the lease back, and waits until the server knows it. A lease that is lost is not ours to give back: that is no error.
    /// The lease is given back also when this future is dropped.
    ///
    /// # Errors
    /// When the server does not answer for 3 s. At worst the lease ends by itself.
    pub async fn release(mut self) -> Result<()> {
        match self.end() {
            Some(farewell) => self.runtime.spawn(farewell).await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }

    /// Stops keeping the lease. What is left to do; `None` when it is over already.
    fn end(&mut self) -> Option<impl Future<Output = Result<()>> + Send + use<>> {
        if std::mem::replace(&mut self.over, true) {
            return None;
        }
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
        }
        let execution = self.execution.take().and_then(Execution::forget);
        let held = Arc::clone(&self.held);
        if held.why_lost().is_some() {
            return None;
        }
        Some(async move {
            if let Some(id) = execution {
                // Giving the lease back ends it too.
                let _ = held.finish_execution(&id).await;
            }
            held.give_back().await
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(farewell) = self.end() {
            self.runtime.spawn(farewell);
        }
    }
}

/// Waits until `find` finds something; for ever once the lease is over and nobody will change its state.
async fn first<T>(mut state: watch::Receiver<State>, find: impl Fn(&State) -> Option<T>) -> T {
    loop {
        if let Some(found) = find(&state.borrow_and_update()) {
            return found;
        }
        if state.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}
