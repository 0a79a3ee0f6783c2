//! Waiting in the queue, and leaving it.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use crate::again::{again, within};
use crate::held::give_back;
use crate::patience::Patience;
use crate::request::Request;
use crate::v1::scheduler_service_client::SchedulerServiceClient;
use crate::v1::wait_for_resources_response::Event;
use crate::v1::{CancelTicketRequest, Lease, WaitForResourcesResponse};
use crate::{Error, ErrorKind, Line, Result, Waiting};

/// How long the server may take to hear that nobody waits any more.
const LEAVING: Duration = Duration::from_secs(5);

/// A wait that leaves the queue when it is dropped before its end. With a `request_id` the server would keep the place of a client that
/// only went away.
pub(crate) struct Wait {
    place: Option<Place>,
    runtime: Handle,
}

impl Wait {
    /// Nothing is asked yet. `request` has a `request_id`.
    pub(crate) fn new(scheduler: SchedulerServiceClient<Line>, request: Request) -> Self {
        let place =
            Place { scheduler, request, patience: Patience::new(), asked: false, stream: None, ticket: String::new() };
        Self { place: Some(place), runtime: Handle::current() }
    }

    /// Waits for the lease. A connection that breaks is made anew, and the place found again.
    pub(crate) async fn lease(mut self, progress: impl Fn(&Waiting)) -> Result<Lease> {
        let answer = match &mut self.place {
            Some(place) => place.lease(progress).await,
            None => Err(no_answer()),
        };
        self.place = None;
        answer
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(place) = self.place.take()
            && place.asked
        {
            self.runtime.spawn(timeout(LEAVING, place.leave()));
        }
    }
}

struct Place {
    scheduler: SchedulerServiceClient<Line>,
    request: Request,
    patience: Patience,
    asked: bool,
    stream: Option<Streaming<WaitForResourcesResponse>>,
    ticket: String,
}

impl Place {
    async fn lease(&mut self, progress: impl Fn(&Waiting)) -> Result<Lease> {
        loop {
            let failure = match self.next().await {
                Ok(Some(Event::Queued(queued))) => {
                    progress(&queued.into());
                    continue;
                }
                Ok(Some(Event::Granted(granted))) => return Ok(granted.lease.unwrap_or_default()),
                Ok(Some(Event::Refused(refused))) => {
                    return Err(Error::refused(refused.refusal.unwrap_or_default()));
                }
                Ok(Some(Event::TimedOut(over))) => {
                    let waited = over.waited.and_then(|waited| waited.try_into().ok());
                    return Err(Error::timed_out(waited.unwrap_or_default(), over.reasons));
                }
                // Of a newer server.
                Ok(None) => continue,
                Err(failure) => failure,
            };
            self.stream = None;
            sleep(self.patience.pause(failure)?).await;
        }
    }

    /// The next event, on a new stream where there is none; `None` for one that is not known here.
    async fn next(&mut self) -> Result<Option<Event>> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                self.asked = true;
                let left = self.request.left(self.patience.since_start());
                let answer = self.scheduler.wait_for_resources(self.request.wait(left)).await?;
                none.insert(answer.into_inner())
            }
        };
        let message = stream.message().await?.ok_or_else(no_answer)?;
        self.patience.heard();
        self.ticket = message.ticket_id;
        Ok(message.event)
    }

    /// Takes the request out of the queue, and gives back what was granted meanwhile.
    async fn leave(mut self) {
        let mut ticket_before = String::new();
        loop {
            if self.ticket != ticket_before {
                ticket_before.clone_from(&self.ticket);
                let request = CancelTicketRequest { ticket_id: self.ticket.clone() };
                if within(LEAVING, self.scheduler.cancel_ticket(request)).await.is_ok() {
                    return;
                }
                // It may have been granted just before, so the next words of the server matter.
            }
            match self.next().await {
                Ok(Some(Event::Granted(granted))) => {
                    let lease = granted.lease.unwrap_or_default();
                    // Nobody is there to hear of a failure; the lease then ends by itself.
                    let _ = give_back(&self.scheduler, &lease.id, lease.token).await;
                    return;
                }
                Ok(Some(Event::Queued(_)) | None) => {}
                Ok(Some(Event::Refused(_) | Event::TimedOut(_))) => return,
                Err(failure) if failure.is_away() => {
                    self.stream = None;
                    sleep(Duration::from_millis(100)).await;
                }
                Err(_) => return,
            }
        }
    }
}

fn no_answer() -> Error {
    Error::new(ErrorKind::Unreachable, "the server ended the wait without an answer")
}

/// Decides now, without a wait.
pub(crate) async fn allocate(scheduler: &SchedulerServiceClient<Line>, request: &Request) -> Result<Lease> {
    use crate::v1::allocate_response::Outcome;

    let answer = again(Duration::from_secs(10), || {
        let mut scheduler = scheduler.clone();
        let message = request.allocate();
        async move { scheduler.allocate(message).await }
    })
    .await?;
    match answer.outcome {
        Some(Outcome::Lease(lease)) => Ok(lease),
        Some(Outcome::Refusal(refusal)) => Err(Error::refused(refusal)),
        None => Err(Error::new(ErrorKind::Other, "the server has answered neither yes nor no")),
    }
}
