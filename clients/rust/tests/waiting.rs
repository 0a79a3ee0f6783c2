//! The wait for a lease, against a server that answers what a test wants.

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sluice::v1::wait_for_resources_response::Event;
use sluice::v1::{Refusal, Refused, ResourceRequirements, TimedOut, WaitForResourcesRequest, WaitForResourcesResponse};
use sluice::{Connector, ErrorKind, Reason, ReasonCode};
use support::{Fake, GPU, granted, queued, said, status};
use tokio::sync::Notify;
use tonic::{Code, Status};

const TTL: Duration = Duration::from_secs(60);

fn seconds(time: Option<sluice::prost_types::Duration>) -> f64 {
    Duration::try_from(time.expect("a time is sent")).unwrap().as_secs_f64()
}

#[tokio::test]
async fn what_is_asked_for_is_the_contracts_message() {
    let server = Fake::start().await;
    let resources = server.client().await.resources().name("a").vram_mb(5).ram_mb(6).gpus(2).tenant("t").priority(3);
    let resources = resources.importance(4).label("k", "v").ttl(Duration::from_millis(2500)).policy("queue");
    resources.hold().await.unwrap().release().await.unwrap();
    let wait = server.now().waits.remove(0);
    let workload = wait.workload.unwrap();
    assert_eq!((workload.name.as_str(), workload.tenant.as_str()), ("a", "t"));
    assert_eq!((workload.priority, workload.importance), (3, 4));
    assert_eq!(workload.labels, [("k".to_owned(), "v".to_owned())].into());
    let expected = ResourceRequirements {
        requires_gpu: true,
        min_gpu_vram_mb: 5,
        min_system_ram_mb: 6,
        gpu_count: 2,
        ..ResourceRequirements::default()
    };
    assert_eq!(workload.resources, Some(expected));
    assert_eq!(wait.policy, "queue");
    assert!((seconds(wait.lease_ttl) - 2.5).abs() < 1e-9);
    // Not set is not 0, which would mean for ever.
    assert_eq!(wait.timeout, None);
    assert!((seconds(wait.grace_time) - 60.0).abs() < 1e-9);
}

#[tokio::test]
async fn without_gpus_none_is_asked_for() {
    let server = Fake::start().await;
    server.client().await.resources().ram_mb(6).hold().await.unwrap().release().await.unwrap();
    let workload = server.now().waits.remove(0).workload.unwrap();
    assert!(!workload.resources.unwrap().requires_gpu);
}

#[tokio::test]
async fn each_wait_has_a_request_id_of_its_own() {
    let server = Fake::start().await;
    let resources = server.client().await.resources().vram_mb(4096);
    resources.hold().await.unwrap().release().await.unwrap();
    resources.hold().await.unwrap().release().await.unwrap();
    let waits = server.now().waits;
    assert!(!waits[0].request_id.is_empty());
    assert_ne!(waits[0].request_id, waits[1].request_id);
}

#[tokio::test]
async fn a_broken_stream_is_opened_again_with_the_same_request_id_and_what_is_left_of_the_time() {
    let server = Fake::start().await;
    server.on_wait(|turn, say| async move {
        let _ = say.send(Ok(queued(1))).await;
        let last = if turn == 1 { Err(Status::unavailable("gone")) } else { Ok(granted(TTL)) };
        let _ = say.send(last).await;
    });
    let resources = server.client().await.resources().vram_mb(4096).timeout(Duration::from_secs(50));
    resources.hold().await.unwrap().release().await.unwrap();
    let [first, second]: [WaitForResourcesRequest; 2] = server.now().waits.try_into().unwrap();
    assert!(!first.request_id.is_empty());
    assert_eq!(first.request_id, second.request_id);
    // The pause before asking again is 0.1 s.
    assert!(seconds(second.timeout) < seconds(first.timeout) - 0.05);
}

#[tokio::test]
async fn a_stream_that_ends_without_an_answer_and_events_of_a_newer_server_are_passed_over() {
    let server = Fake::start().await;
    server.on_wait(|turn, say| async move {
        let _ = say.send(Ok(WaitForResourcesResponse::default())).await;
        if turn > 1 {
            let _ = say.send(Ok(granted(TTL))).await;
        }
    });
    let lease = server.client().await.resources().vram_mb(4096).hold().await.unwrap();
    assert_eq!((lease.token(), lease.gpus()[0].uuid.as_str()), (7, GPU));
}

#[tokio::test]
async fn progress_is_told_place_and_reasons_with_numbers() {
    let server = Fake::start().await;
    server.on_wait(|_, say| async move {
        for message in [queued(2), queued(1), granted(TTL)] {
            let _ = say.send(Ok(message)).await;
        }
    });
    let places = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&places);
    let resources = server.client().await.resources().vram_mb(4096);
    let resources = resources.progress(move |waiting| heard.lock().unwrap().push(waiting.clone()));
    resources.hold().await.unwrap().release().await.unwrap();
    let places = places.lock().unwrap();
    assert_eq!(places.iter().map(|place| place.position).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(places[0].reasons[0].code(), ReasonCode::InsufficientGpuMemory);
    assert_eq!(places[0].reasons[0].needed_mb, Some(8000));
    assert_eq!(places[0].to_string(), "waiting 0s, place 2 of 3: GPU 0 is full");
}

#[tokio::test]
async fn a_hold_that_is_dropped_leaves_the_queue() {
    let server = Fake::start().await;
    server.on_wait(|_, say| async move {
        let _ = say.send(Ok(queued(1))).await;
        say.closed().await;
    });
    let waiting = Arc::new(Notify::new());
    let told = Arc::clone(&waiting);
    let resources = server.client().await.resources().vram_mb(4096).progress(move |_| told.notify_one());
    tokio::select! {
        _ = resources.hold() => panic!("nothing was granted"),
        () = waiting.notified() => {}
    }
    server.sees("the ticket to be cancelled", |seen| seen.cancelled == ["ticket-1"]).await;
    assert!(server.now().released.is_empty());
}

#[tokio::test]
async fn a_hold_that_is_dropped_before_it_has_a_ticket_asks_for_it_and_leaves_the_queue() {
    let server = Fake::start().await;
    let speak = Arc::new(Notify::new());
    let silent = Arc::clone(&speak);
    server.on_wait(move |_, say| {
        let silent = Arc::clone(&silent);
        async move {
            silent.notified().await;
            let _ = say.send(Ok(queued(1))).await;
            say.closed().await;
        }
    });
    let resources = server.client().await.resources().vram_mb(4096);
    let asked = server.sees("the request", |seen| !seen.waits.is_empty());
    tokio::select! {
        _ = resources.hold() => panic!("nothing was granted"),
        _ = asked => {}
    }
    // One permit for each stream: the first may have been given up, and another asked for by the same id.
    speak.notify_waiters();
    speak.notify_one();
    let seen = server.sees("the ticket to be cancelled", |seen| seen.cancelled == ["ticket-1"]).await;
    assert!(seen.waits.iter().all(|wait| wait.request_id == seen.waits[0].request_id));
}

#[tokio::test]
async fn a_grant_that_comes_after_the_hold_was_dropped_is_given_back() {
    let server = Fake::start().await;
    let cancelled = Arc::new(Notify::new());
    let grant = Arc::clone(&cancelled);
    server.on_wait(move |_, say| {
        let grant = Arc::clone(&grant);
        async move {
            let _ = say.send(Ok(queued(1))).await;
            grant.notified().await;
            let _ = say.send(Ok(granted(TTL))).await;
        }
    });
    // It was granted just before: there is no ticket any more.
    *server.on_cancel.lock().unwrap() = Some(status(Code::NotFound, "TICKET_NOT_FOUND"));
    let waiting = Arc::new(Notify::new());
    let told = Arc::clone(&waiting);
    let resources = server.client().await.resources().vram_mb(4096).progress(move |_| told.notify_one());
    tokio::select! {
        _ = resources.hold() => panic!("nothing was granted"),
        () = waiting.notified() => {}
    }
    server.sees("the attempt to cancel", |seen| seen.cancelled == ["ticket-1"]).await;
    cancelled.notify_one();
    server.sees("the lease to be given back", |seen| seen.released == ["lease-1"]).await;
}

#[tokio::test]
async fn a_callback_that_panics_leaves_the_queue() {
    let server = Fake::start().await;
    server.on_wait(|_, say| async move {
        let _ = say.send(Ok(queued(1))).await;
        say.closed().await;
    });
    let resources = server.client().await.resources().vram_mb(4096).progress(|_| panic!("as a test wants"));
    let failure = tokio::spawn(resources.hold()).await.unwrap_err();
    assert!(failure.is_panic());
    server.sees("the ticket to be cancelled", |seen| seen.cancelled == ["ticket-1"]).await;
}

#[tokio::test]
async fn a_lease_whose_beginning_is_cut_off_is_given_back() {
    let server = Fake::start().await;
    let attached = server.sees("the grant", |seen| !seen.attached.is_empty());
    let resources = server.client().await.resources().vram_mb(4096);
    let hold = tokio::spawn(resources.hold());
    attached.await;
    hold.abort();
    // Whether it was cut off or was just over: nobody has the lease.
    drop(hold.await);
    server.sees("the lease to be given back", |seen| seen.released == ["lease-1"]).await;
}

#[tokio::test]
async fn to_decide_now_does_not_queue() {
    let server = Fake::start().await;
    let lease = server.client().await.resources().vram_mb(4096).try_hold().await.unwrap();
    lease.release().await.unwrap();
    assert_eq!((server.now().allocations, server.now().waits.len()), (1, 0));
}

#[tokio::test]
async fn a_refusal_is_an_error_with_reasons_and_the_largest_that_fits() {
    let server = Fake::start().await;
    server.on_wait(|_, say| async move {
        let reason = Reason {
            code: ReasonCode::NeverFits.into(),
            message: "30,000 MiB can never fit here".into(),
            needed_mb: Some(30_000),
            ..Reason::default()
        };
        let largest = ResourceRequirements { min_gpu_vram_mb: 24_084, ..ResourceRequirements::default() };
        let refusal = Refusal { reasons: vec![reason], largest_that_fits: Some(largest) };
        let _ = say.send(Ok(said(Event::Refused(Refused { refusal: Some(refusal) })))).await;
    });
    let error = server.client().await.resources().vram_mb(30_000).hold().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NeverFits);
    assert_eq!(error.to_string(), "30,000 MiB can never fit here");
    assert_eq!(error.reasons()[0].needed_mb, Some(30_000));
    assert_eq!(error.largest_that_fits().unwrap().min_gpu_vram_mb, 24_084);
    assert_eq!(server.now().waits.len(), 1);
}

#[tokio::test]
async fn a_wait_in_vain_is_an_error_that_says_how_long_and_why() {
    let server = Fake::start().await;
    server.on_wait(|_, say| async move {
        let waited = sluice::prost_types::Duration::try_from(Duration::from_millis(1500)).ok();
        let reasons = vec![Reason { message: "GPU 0 is full".into(), ..Reason::default() }];
        let _ = say.send(Ok(said(Event::TimedOut(TimedOut { waited, reasons })))).await;
    });
    let error = server.client().await.resources().vram_mb(1).hold().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.to_string(), "waited 1.5 s in vain: GPU 0 is full");
    assert_eq!(error.waited(), Some(Duration::from_millis(1500)));
    assert_eq!(error.reasons()[0].message, "GPU 0 is full");
}

#[tokio::test]
async fn nobody_at_the_address_is_told_after_a_few_seconds_not_never() {
    let client = Connector::new().address("127.0.0.1:1").connect().await.unwrap();
    let start = Instant::now();
    let error = client.resources().vram_mb(1).hold().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!(error.code(), Some(Code::Unavailable));
    assert_eq!(error.to_string(), "no answer from 127.0.0.1:1: Connection refused (os error 111)");
    assert!(start.elapsed() > Duration::from_secs(4), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_address_that_is_none_is_told_at_once() {
    let error = sluice::connect(Some("no such : address")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.to_string().contains("no such : address"), "{error}");
}
