//! What a lease and those who keep it share.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

use crate::again::{again, within};
use crate::clock::now;
use crate::v1::scheduler_service_client::SchedulerServiceClient;
use crate::v1::{AttachProcessRequest, FinishExecutionRequest, Lease, ReleaseLeaseRequest, StartExecutionRequest};
use crate::{Client, EvictionRequest, Line, Result};

/// How long the server may take to hear that work is over. The lease ends by itself when it does not.
pub(crate) const FAREWELL: Duration = Duration::from_secs(3);

pub(crate) const NOT_RENEWED: &str = "the server could not be reached in time to renew it";

/// What changes while a lease is held.
#[derive(Debug)]
pub(crate) struct State {
    /// As it was granted or last renewed.
    pub(crate) message: Lease,
    pub(crate) why_lost: Option<String>,
    pub(crate) eviction: Option<EvictionRequest>,
    /// When it is lost unless it is renewed before, by [`now`].
    pub(crate) give_up_at: Duration,
}

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) grant: Lease,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) scheduler: SchedulerServiceClient<Line>,
    pub(crate) state: watch::Sender<State>,
}

impl Held {
    pub(crate) fn new(client: &Client, grant: Lease, give_up_at: Duration) -> Self {
        // By which name the server is reached from here it cannot know.
        let mut env = grant.env.clone();
        env.insert("SLUICE_ADDRESS".to_owned(), client.address().to_owned());
        let state = State { message: grant.clone(), why_lost: None, eviction: None, give_up_at };
        Self { grant, env, scheduler: client.scheduler(), state: watch::Sender::new(state) }
    }

    /// Why it was lost; `None` while it is held. Knows it also when the task that keeps the lease has had no turn for too long.
    pub(crate) fn why_lost(&self) -> Option<String> {
        let state = self.state.borrow();
        let late = || (now() > state.give_up_at).then(|| NOT_RENEWED.to_owned());
        state.why_lost.clone().or_else(late)
    }

    /// Has measured memory of this process credited to the lease. What was promised holds without it too.
    pub(crate) async fn attach(&self) {
        let request =
            AttachProcessRequest { lease_id: self.grant.id.clone(), token: self.grant.token, pid: std::process::id() };
        let _ = within(FAREWELL, self.scheduler.clone().attach_process(request)).await;
    }

    pub(crate) async fn start_execution(&self) -> Result<String> {
        // One that was counted twice ends with the lease all the same.
        let answer = again(Duration::from_secs(10), || {
            let mut scheduler = self.scheduler.clone();
            let request = StartExecutionRequest { lease_id: self.grant.id.clone(), token: self.grant.token };
            async move { scheduler.start_execution(request).await }
        })
        .await?;
        Ok(answer.execution_id)
    }

    pub(crate) async fn finish_execution(&self, execution_id: &str) -> Result<()> {
        again(FAREWELL, || {
            let mut scheduler = self.scheduler.clone();
            let request =
                FinishExecutionRequest { lease_id: self.grant.id.clone(), execution_id: execution_id.to_owned() };
            async move { scheduler.finish_execution(request).await }
        })
        .await
        .map(|_| ())
    }

    pub(crate) async fn give_back(&self) -> Result<()> {
        give_back(&self.scheduler, &self.grant.id, self.grant.token).await
    }
}

pub(crate) async fn give_back(scheduler: &SchedulerServiceClient<Line>, id: &str, token: u64) -> Result<()> {
    again(FAREWELL, || {
        let mut scheduler = scheduler.clone();
        let request = ReleaseLeaseRequest { lease_id: id.to_owned(), token };
        async move { scheduler.release_lease(request).await }
    })
    .await
    .map(|_| ())
}
