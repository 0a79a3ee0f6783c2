//! Errors as data.

use prost::Message;
use serde_json::{Value, json};
use sluice::{Error, ErrorKind};
use tonic::{Code, Status};

use crate::json::{from_message, from_messages};

/// The error of a call.
pub fn of_call(status: Status) -> Value {
    let code = code_name(status.code());
    let (message, domain) = (status.message().to_owned(), domain_of(&status));
    let refusal = detail(&status, "sluice.v1.Refusal")
        .map(|found: sluice::v1::Refusal| from_message("sluice.v1.Refusal", &found));
    let error = Error::from(status);
    json!({
        "code": code,
        "message": message,
        "reason": error.reason(),
        "domain": domain,
        "metadata": error.metadata(),
        "violations": violations(&error),
        "retry_after_ms": milliseconds(error.retry_after()),
        "refusal": refusal,
        "failure": failure(&error),
    })
}

/// The error of the client.
pub fn of_client(error: &Error) -> Value {
    let kind = match error.kind() {
        ErrorKind::NeverFits => "never-fits",
        ErrorKind::Refused => "refused",
        ErrorKind::TimedOut => "timed-out",
        ErrorKind::QueueFull => "queue-full",
        ErrorKind::InvalidRequest => "invalid-request",
        ErrorKind::TicketCancelled => "ticket-cancelled",
        ErrorKind::LeaseGone => "lease-gone",
        ErrorKind::Draining => "draining",
        ErrorKind::Unreachable => "unreachable",
        ErrorKind::Failed => "failed",
        _ => "other",
    };
    json!({
        "kind": kind,
        "message": error.to_string(),
        "reason": error.reason(),
        "violations": violations(error),
        "retry_after_ms": milliseconds(error.retry_after()),
        "reasons": from_messages("sluice.v1.Reason", error.reasons()),
        "largest_that_fits": error.largest_that_fits().map(|most| from_message("sluice.v1.ResourceRequirements", most)),
        "waited_ms": milliseconds(error.waited()),
        "failure": failure(error),
    })
}

fn violations(error: &Error) -> Value {
    let pair = |found: &sluice::Violation| json!({ "field": found.field, "description": found.description });
    error.violations().iter().map(pair).collect()
}

fn failure(error: &Error) -> Option<Value> {
    error.failure().map(|failure| from_message("sluice.v1.ExecutionFailed", failure))
}

fn milliseconds(time: Option<std::time::Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64() * 1000.0)
}

fn detail<T: Message + Default>(status: &Status, name: &str) -> Option<T> {
    let details = tonic_types::Status::decode(status.details()).ok()?.details;
    let found = details.iter().find(|detail| detail.type_url.ends_with(&format!("/{name}")))?;
    T::decode(found.value.as_slice()).ok()
}

fn domain_of(status: &Status) -> Option<String> {
    detail(status, "google.rpc.ErrorInfo").map(|info: tonic_types::pb::ErrorInfo| info.domain)
}

fn code_name(code: Code) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES[code as usize]
}
