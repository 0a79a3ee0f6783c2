//! What can go wrong, and why.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};

use crate::details::Details;
use crate::v1::{ExecutionFailed, ExecutionFailure, Reason, ReasonCode, Refusal, ResourceRequirements};

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of thing went wrong. Kinds may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The policy does not wait, and it does not fit now; [`Error::reasons`] say why. Try again when something has changed.
    Refused,
    /// It would not fit on an empty machine either; [`Error::largest_that_fits`] would.
    NeverFits,
    /// It waited as long as it was allowed to; [`Error::waited`] and [`Error::reasons`] say how long and why.
    TimedOut,
    /// The queue, or the tenant's share of it, is at its limit. Try again after [`Error::retry_after`].
    QueueFull,
    /// Somebody took the request out of the queue.
    TicketCancelled,
    /// The request is wrong and stays wrong; [`Error::violations`] name the fields.
    InvalidRequest,
    /// The lease has ended, or the token is not its own.
    LeaseGone,
    /// The lease ended while it was held: its memory is no longer reserved, and others may be admitted to it.
    LeaseLost,
    /// The server is shutting down, or cannot promise anything now. Try again after [`Error::retry_after`].
    Draining,
    /// No server answers.
    Unreachable,
    /// A plugin failed; [`Error::failure`] says how.
    Failed,
    /// Anything else; [`Error::code`] and [`Error::reason`] say what.
    Other,
}

/// A field of a request that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its path, such as `workload.priority`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// What went wrong. Its text is a sentence for people, with the numbers that matter.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    code: Option<Code>,
    details: Details,
    waited: Option<Duration>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), code: None, details: Details::default(), waited: None }))
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The contract's stable word for what happened, such as `QUEUE_FULL`; empty when there is none.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.details.reason
    }

    /// The gRPC status; `None` when no call failed.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.0.code
    }

    /// What the server added to the reason, by name.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.0.details.metadata
    }

    /// After which time another attempt is worth it, where the server named one.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.details.retry_after
    }

    /// The fields that are wrong.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.0.details.violations
    }

    /// Why it was refused, or why it waited until the end, with the numbers (MiB).
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        self.0.details.refusal.as_ref().map_or(&[], |refusal| &refusal.reasons)
    }

    /// The largest request of the same shape that the machine could ever hold (MiB), where the server named one.
    #[must_use]
    pub fn largest_that_fits(&self) -> Option<&ResourceRequirements> {
        self.0.details.refusal.as_ref()?.largest_that_fits.as_ref()
    }

    /// How long it waited in vain.
    #[must_use]
    pub fn waited(&self) -> Option<Duration> {
        self.0.waited
    }

    /// How the plugin failed.
    #[must_use]
    pub fn failure(&self) -> Option<&ExecutionFailed> {
        self.0.details.failure.as_ref()
    }

    /// True when nobody answers or the server is shutting down: another may be there soon.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unreachable | ErrorKind::Draining)
    }

    /// True when the server says of a lease that there is no such thing.
    pub(crate) fn is_final_for_lease(&self) -> bool {
        matches!(self.kind(), ErrorKind::LeaseGone | ErrorKind::InvalidRequest)
    }

    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self::refused_because(refusal, "")
    }

    pub(crate) fn timed_out(waited: Duration, reasons: Vec<Reason>) -> Self {
        let message = format!("waited {:.1} s in vain: {}", waited.as_secs_f64(), sentences(&reasons));
        let mut error = Self::new(ErrorKind::TimedOut, message);
        error.0.waited = Some(waited);
        error.0.details.refusal = Some(Refusal { reasons, largest_that_fits: None });
        error
    }

    /// An execution that failed, as its stream tells it.
    pub(crate) fn failed(mut failure: ExecutionFailed) -> Self {
        if failure.code() == ExecutionFailure::NotAdmitted {
            return Self::refused_because(failure.refusal.take().unwrap_or_default(), &failure.message);
        }
        let mut error = Self::new(ErrorKind::Failed, failure.message.clone());
        error.0.details.failure = Some(failure);
        error
    }

    fn refused_because(refusal: Refusal, message: &str) -> Self {
        let never = refusal.reasons.iter().any(|reason| reason.code() == ReasonCode::NeverFits);
        let message = match (message, sentences(&refusal.reasons)) {
            ("", sentences) if sentences.is_empty() => "it was refused".to_owned(),
            ("", sentences) => sentences,
            (message, _) => message.to_owned(),
        };
        let mut error = Self::new(if never { ErrorKind::NeverFits } else { ErrorKind::Refused }, message);
        error.0.details.refusal = Some(refusal);
        error
    }
}

/// A call that failed.
impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = Details::of(&status);
        let message = match status.message() {
            "" => status.code().description().to_owned(),
            message => message.to_owned(),
        };
        let mut error = match &details.refusal {
            Some(refusal) if details.reason == "NOT_ADMITTED" => Self::refused_because(refusal.clone(), &message),
            _ => Self::new(kind_of(status.code(), &details.reason), message),
        };
        error.0.code = Some(status.code());
        error.0.details = details;
        error
    }
}

fn kind_of(code: Code, reason: &str) -> ErrorKind {
    match reason {
        "INVALID_ARGUMENT" => ErrorKind::InvalidRequest,
        "QUEUE_FULL" | "TENANT_QUEUE_FULL" => ErrorKind::QueueFull,
        "DRAINING" | "STATE_UNAVAILABLE" => ErrorKind::Draining,
        "TICKET_CANCELLED" => ErrorKind::TicketCancelled,
        "LEASE_EXPIRED" | "STALE_TOKEN" => ErrorKind::LeaseGone,
        reason if reason.starts_with("EXECUTION_") => ErrorKind::Failed,
        _ => match code {
            Code::InvalidArgument => ErrorKind::InvalidRequest,
            Code::Unavailable => ErrorKind::Unreachable,
            _ => ErrorKind::Other,
        },
    }
}

fn sentences(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.message.as_str()).collect::<Vec<_>>().join("; ")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

/// What `main` shows when it returns the error: the kind, and the sentence.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.message)
    }
}

impl std::error::Error for Error {}
