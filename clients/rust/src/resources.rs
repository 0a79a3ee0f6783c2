//! Resources that are asked for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::again::within;
use crate::clock::now;
use crate::grant::begin;
use crate::request::Request;
use crate::v1::{ExplainRequest, ExplainResponse};
use crate::wait::{Wait, allocate};
use crate::{Client, Lease, Result, Waiting};

type Tell = dyn Fn(&Waiting) + Send + Sync;

/// What is asked for, and how to wait for it. Each [`hold`](Resources::hold) asks anew.
#[derive(Clone)]
#[must_use = "nothing is asked before hold()"]
pub struct Resources {
    client: Client,
    request: Request,
    progress: Option<Arc<Tell>>,
    evictable: bool,
    attach: bool,
}

impl Resources {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, request: Request::default(), progress: None, evictable: false, attach: true }
    }

    fn with(mut self, change: impl FnOnce(&mut Request)) -> Self {
        change(&mut self.request);
        self
    }

    /// A name that people recognise in listings; need not be unique.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.with(|request| request.name = name.into())
    }

    /// Memory on each GPU, in MiB. One GPU, unless [`gpus`](Resources::gpus) says more.
    pub fn vram_mb(self, mib: u32) -> Self {
        self.with(|request| request.vram_mb = mib)
    }

    /// Host memory, in MiB.
    pub fn ram_mb(self, mib: u32) -> Self {
        self.with(|request| request.ram_mb = mib)
    }

    /// How many GPUs, all or none.
    pub fn gpus(self, count: u32) -> Self {
        self.with(|request| request.gpus = count)
    }

    /// Only these GPUs may be used: full UUIDs, as nvidia-smi prints them.
    pub fn gpu_uuids(self, uuids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.with(|request| request.gpu_uuids = uuids.into_iter().map(Into::into).collect())
    }

    /// No other lease may share the GPUs.
    pub fn exclusive(self) -> Self {
        self.with(|request| request.exclusive = true)
    }

    /// Who is asking: a user, a team, a project.
    pub fn tenant(self, tenant: impl Into<String>) -> Self {
        self.with(|request| request.tenant = tenant.into())
    }

    /// Higher is served first; -1000 to 1000.
    pub fn priority(self, priority: i32) -> Self {
        self.with(|request| request.priority = priority)
    }

    /// How much it matters, -1000 to 1000: an idle lease is evicted only for a request of at least its importance.
    pub fn importance(self, importance: i32) -> Self {
        self.with(|request| request.importance = importance)
    }

    /// How long the work is expected to run. It improves the order of the queue; nothing is ended because of it.
    pub fn expected_duration(self, duration: Duration) -> Self {
        self.with(|request| request.expected_duration = Some(duration))
    }

    /// A note that comes back in listings; more with further calls.
    pub fn label(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|request| {
            request.labels.insert(key.into(), value.into());
        })
    }

    /// How long to wait; the server's default is 300 s. Zero: for ever.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|request| request.timeout = Some(timeout))
    }

    /// How long the lease lives without renewal, 1 s to 24 h; the server's default is 60 s.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.with(|request| request.ttl = Some(ttl))
    }

    /// The policy for this one request; the server's unless said.
    pub fn policy(self, policy: impl Into<String>) -> Self {
        self.with(|request| request.policy = policy.into())
    }

    /// Finds the same place or lease again, also from a program that was started anew. Unless said, each hold has a fresh one.
    pub fn request_id(self, id: impl Into<String>) -> Self {
        self.with(|request| request.request_id = id.into())
    }

    /// Is called on each change of the place or its reasons: `.progress(|waiting| eprintln!("{waiting}"))`.
    pub fn progress(mut self, progress: impl Fn(&Waiting) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// The program listens to [`Lease::eviction_requested`], so the lease can be asked back while no
    /// [`executing`](Lease::executing) runs. Without this it counts as in use until the end.
    pub fn evictable(mut self) -> Self {
        self.evictable = true;
        self
    }

    /// Whether measured memory of this process is credited to the lease: yes unless said, with a server on the same machine. Switch it off
    /// in a container with pids of its own, where the number names somebody else.
    pub fn attach(mut self, attach: bool) -> Self {
        self.attach = attach;
        self
    }

    /// Waits in the queue for the lease. A connection that breaks is made anew and the place found again; a server may be away for a
    /// minute. Dropping this future leaves the queue, and gives back what was granted meanwhile.
    ///
    /// # Errors
    /// [`Refused`](crate::ErrorKind::Refused), [`NeverFits`](crate::ErrorKind::NeverFits), [`TimedOut`](crate::ErrorKind::TimedOut),
    /// [`QueueFull`](crate::ErrorKind::QueueFull), [`TicketCancelled`](crate::ErrorKind::TicketCancelled),
    /// [`InvalidRequest`](crate::ErrorKind::InvalidRequest), [`Draining`](crate::ErrorKind::Draining) or
    /// [`Unreachable`](crate::ErrorKind::Unreachable).
    pub fn hold(&self) -> impl Future<Output = Result<Lease>> + Send + use<> {
        let this = self.clone();
        async move {
            let wait = Wait::new(this.client.scheduler(), this.request.named());
            let tell = |waiting: &Waiting| {
                if let Some(progress) = &this.progress {
                    progress(waiting);
                }
            };
            let grant = wait.lease(tell).await?;
            begin(&this.client, grant, now(), this.evictable, this.attach).await
        }
    }

    /// Decides at once, without the queue, by the server's policy. That one admits everything unless the operator chose another: name
    /// the policy `safety` to be refused what does not fit. Dropping this future gives back what was granted.
    ///
    /// # Errors
    /// As [`hold`](Resources::hold), without those of the queue.
    pub fn try_hold(&self) -> impl Future<Output = Result<Lease>> + Send + use<> {
        let this = self.clone();
        async move {
            // In a task of its own: an answer that comes after this future was dropped is a lease that is given back.
            let deciding = tokio::spawn(async move {
                let grant = allocate(&this.client.scheduler(), &this.request.named()).await?;
                begin(&this.client, grant, now(), this.evictable, this.attach).await
            });
            match deciding.await {
                Ok(answer) => answer,
                Err(failure) => std::panic::resume_unwind(failure.into_panic()),
            }
        }
    }

    /// Whether it would be granted now, and if not, why not and what would be. Changes nothing.
    ///
    /// # Errors
    /// [`InvalidRequest`](crate::ErrorKind::InvalidRequest) or [`Unreachable`](crate::ErrorKind::Unreachable).
    pub async fn explain(&self) -> Result<ExplainResponse> {
        let request = ExplainRequest { workload: Some(self.request.workload()), policy: self.request.policy.clone() };
        within(Duration::from_secs(10), self.client.scheduler().explain(request)).await
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resources").field("request", &self.request).finish_non_exhaustive()
    }
}
