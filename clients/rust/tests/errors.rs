//! Errors carry the server's reasons.

mod support;

use std::collections::HashMap;
use std::time::Duration;

use prost::Message;
use sluice::prost_types::Any;
use sluice::v1::{ExecutionFailed, ExecutionFailure, Refusal};
use sluice::{Error, ErrorKind, Reason, ReasonCode};
use support::{Fake, queued, status};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

/// A status with details of the contract's own.
fn detailed(code: Code, reason: &str, kind: &str, detail: &impl Message) -> Status {
    let info = pb::ErrorInfo { reason: reason.into(), domain: "sluice".into(), metadata: HashMap::new() };
    let any = |kind: &str, value: Vec<u8>| Any { type_url: format!("type.googleapis.com/{kind}"), value };
    let details = vec![
        any("example.Unknown", vec![0xff]),
        any("google.rpc.ErrorInfo", info.encode_to_vec()),
        any(kind, detail.encode_to_vec()),
    ];
    let all = pb::Status { code: code.into(), message: "in words".into(), details };
    Status::with_details(code, "in words", all.encode_to_vec().into())
}

#[test]
fn reason_metadata_violations_and_the_time_to_come_back_are_read() {
    let mut details = ErrorDetails::with_error_info("QUEUE_FULL", "sluice", [("limit".to_owned(), "1".to_owned())]);
    details.set_retry_info(Some(Duration::from_millis(5500)));
    details.add_bad_request_violation("workload.priority", "too high");
    let error = Error::from(Status::with_error_details(Code::ResourceExhausted, "the queue is full", details));
    assert_eq!((error.kind(), error.reason()), (ErrorKind::QueueFull, "QUEUE_FULL"));
    assert_eq!(error.code(), Some(Code::ResourceExhausted));
    assert_eq!(error.metadata()["limit"], "1");
    assert_eq!(error.retry_after(), Some(Duration::from_millis(5500)));
    assert_eq!(error.violations()[0].field, "workload.priority");
    assert_eq!(error.violations()[0].description, "too high");
    assert_eq!(error.to_string(), "the queue is full");
    assert_eq!(format!("{error:?}"), "QueueFull: the queue is full");
}

#[test]
fn the_reason_decides_which_kind_it_is() {
    let kinds = [
        ("INVALID_ARGUMENT", ErrorKind::InvalidRequest),
        ("QUEUE_FULL", ErrorKind::QueueFull),
        ("TENANT_QUEUE_FULL", ErrorKind::QueueFull),
        ("DRAINING", ErrorKind::Draining),
        ("STATE_UNAVAILABLE", ErrorKind::Draining),
        ("TICKET_CANCELLED", ErrorKind::TicketCancelled),
        ("LEASE_EXPIRED", ErrorKind::LeaseGone),
        ("STALE_TOKEN", ErrorKind::LeaseGone),
        ("EXECUTION_FAILED", ErrorKind::Failed),
        ("SOMETHING_NEWER", ErrorKind::Other),
    ];
    for (reason, kind) in kinds {
        assert_eq!(Error::from(status(Code::Aborted, reason)).kind(), kind, "{reason}");
    }
}

#[test]
fn without_details_the_status_has_to_do() {
    assert_eq!(Error::from(Status::unavailable("x")).kind(), ErrorKind::Unreachable);
    assert_eq!(Error::from(Status::invalid_argument("x")).kind(), ErrorKind::InvalidRequest);
    assert_eq!(Error::from(Status::internal("x")).kind(), ErrorKind::Other);
    assert_eq!(Error::from(Status::internal("")).to_string(), Code::Internal.description());
}

#[test]
fn a_plugin_that_was_not_admitted_is_a_refusal_with_reasons() {
    let reason = Reason { code: ReasonCode::Quota.into(), available_mb: Some(84), ..Reason::default() };
    let refusal = Refusal { reasons: vec![reason], largest_that_fits: None };
    let error = Error::from(detailed(Code::FailedPrecondition, "NOT_ADMITTED", "sluice.v1.Refusal", &refusal));
    assert_eq!((error.kind(), error.reason()), (ErrorKind::Refused, "NOT_ADMITTED"));
    assert_eq!(error.reasons()[0].available_mb, Some(84));
    assert_eq!(error.to_string(), "in words");
}

#[test]
fn a_plugin_that_failed_says_how() {
    let failure =
        ExecutionFailed { code: ExecutionFailure::Exit.into(), exit_code: Some(3), ..ExecutionFailed::default() };
    let error = Error::from(detailed(Code::Aborted, "EXECUTION_FAILED", "sluice.v1.ExecutionFailed", &failure));
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.failure().unwrap().exit_code, Some(3));
}

#[tokio::test]
async fn a_server_that_goes_away_in_the_middle_of_a_stream_is_unavailable_for_the_stubs_too() {
    let server = Fake::start().await;
    server.on_wait(|_, say| async move {
        let _ = say.send(Ok(queued(1))).await;
        say.closed().await;
    });
    let line = support::Cut::new(&server.address).await;
    let client = sluice::connect(Some(&line.address)).await.unwrap();
    let mut stream = client
        .scheduler()
        .wait_for_resources(sluice::v1::WaitForResourcesRequest::default())
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap();
    line.cut();
    let failure = stream.message().await.unwrap_err();
    assert_eq!(failure.code(), Code::Unavailable, "{failure:?}");
    assert!(failure.message().starts_with(&format!("no answer from {}: ", line.address)), "{failure:?}");
    assert_eq!(Error::from(failure).kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_deadline_of_a_stub_that_passes_is_deadline_exceeded() {
    let server = Fake::start().await;
    server.on_renew(|_| std::future::pending());
    let mut request = tonic::Request::new(sluice::v1::RenewLeaseRequest::default());
    request.set_timeout(Duration::from_millis(50));
    let failure = server.client().await.scheduler().renew_lease(request).await.unwrap_err();
    assert_eq!(failure.code(), Code::DeadlineExceeded, "{failure:?}");
}
