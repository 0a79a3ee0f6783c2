//! A lease that is held, against a server that answers what a test wants.

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sluice::ErrorKind;
use sluice::v1::watch_lease_response::Event;
use sluice::v1::{Ended, EvictionRequested, LeaseEnd, WatchLeaseResponse};
use support::{Fake, GPU, status};
use tokio::time::timeout;
use tonic::{Code, Status};

const SOON: Duration = Duration::from_secs(5);

fn news(event: Event) -> WatchLeaseResponse {
    WatchLeaseResponse { event: Some(event) }
}

#[tokio::test]
async fn the_lease_is_renewed_several_times_in_its_time_to_live() {
    let server = Fake::start().await;
    server.leases_live(Duration::from_millis(1500));
    let lease = server.client().await.resources().vram_mb(4096).hold().await.unwrap();
    let start = Instant::now();
    server.sees("four renewals", |seen| seen.renewals >= 4).await;
    // At once, and after each third of it; the machine may be slow.
    assert!(start.elapsed() >= Duration::from_millis(1250), "{:?}", start.elapsed());
    assert!(!lease.is_lost());
    lease.check().unwrap();
    assert_eq!(lease.message().executions, 1);
}

#[tokio::test]
async fn it_is_in_use_until_the_end_and_this_process_is_attached() {
    let server = Fake::start().await;
    let lease = server.client().await.resources().vram_mb(4096).hold().await.unwrap();
    assert_eq!(server.now().executions, ["start"]);
    assert_eq!(server.now().attached, [std::process::id()]);
    lease.release().await.unwrap();
    assert_eq!(server.now().executions, ["start", "finish"]);
    assert_eq!(server.now().released, ["lease-1"]);
}

#[tokio::test]
async fn a_process_in_a_container_can_keep_its_pid_to_itself() {
    let server = Fake::start().await;
    let lease = server.client().await.resources().vram_mb(4096).attach(false).hold().await.unwrap();
    lease.release().await.unwrap();
    assert!(server.now().attached.is_empty());
}

#[tokio::test]
async fn a_child_finds_the_grants_environment_and_the_address_as_it_is_from_here() {
    let server = Fake::start().await;
    server.leases_live(Duration::from_millis(300));
    let lease = server.client().await.resources().vram_mb(4096).hold().await.unwrap();
    // A renewal does not tell it.
    server.sees("two renewals", |seen| seen.renewals >= 2).await;
    let child = tokio::task::spawn_blocking({
        let env = lease.env().clone();
        move || std::process::Command::new("env").env_clear().envs(env).output().unwrap()
    });
    let found = String::from_utf8(child.await.unwrap().stdout).unwrap();
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    let expected = [
        format!("CUDA_VISIBLE_DEVICES={GPU}"),
        format!("SLUICE_ADDRESS={}", server.address),
        "SLUICE_LEASE_ID=lease-1".to_owned(),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_lease_that_is_dropped_is_given_back_in_the_background() {
    let server = Fake::start().await;
    drop(server.client().await.resources().vram_mb(4096).hold().await.unwrap());
    server.sees("the lease to be given back", |seen| seen.released == ["lease-1"]).await;
}

#[tokio::test]
async fn a_release_that_is_not_waited_for_to_the_end_gives_back_all_the_same() {
    let server = Fake::start().await;
    let lease = server.client().await.resources().vram_mb(4096).hold().await.unwrap();
    let _ = timeout(Duration::ZERO, lease.release()).await;
    server.sees("the lease to be given back", |seen| seen.released == ["lease-1"]).await;
}

#[tokio::test]
async fn renewal_gives_up_before_the_time_to_live_is_over() {
    let server = Fake::start().await;
    server.leases_live(Duration::from_secs(1));
    let renewed = Arc::new(Mutex::new(None));
    let first = Arc::clone(&renewed);
    server.on_renew(move |turn| {
        if turn == 1 {
            *first.lock().unwrap() = Some(Instant::now());
        }
        async move {
            // Silence after the first.
            if turn > 1 {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    let lease = server.client().await.resources().vram_mb(4096).hold().await.unwrap();
    let why = timeout(SOON, lease.lost()).await.expect("the loss is told");
    let since = renewed.lock().unwrap().expect("it was renewed once").elapsed();
    assert!(since < Duration::from_secs(1), "{since:?}");
    assert!(since > Duration::from_millis(500), "{since:?}");
    assert!(why.contains("could not be reached"), "{why}");
    let error = lease.check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseLost);
    assert_eq!(error.to_string(), "the lease lease-1 is lost: the server could not be reached in time to renew it");
    // What is lost is not ours to give back.
    lease.release().await.unwrap();
    assert!(server.now().released.is_empty());
}

#[tokio::test]
async fn a_runtime_that_was_blocked_for_too_long_knows_that_the_lease_is_lost() {
    let server = Fake::start().await;
    server.leases_live(Duration::from_millis(300));
    let lease = server.client().await.resources().vram_mb(4096).hold().await.unwrap();
    server.sees("a renewal", |seen| seen.renewals >= 1).await;
    // The one thread that there is does something else, as a program does that trains in it.
    let blocked = Instant::now();
    while blocked.elapsed() < Duration::from_millis(400) {
        std::hint::spin_loop();
    }
    assert!(lease.is_lost());
    assert!(timeout(SOON, lease.lost()).await.unwrap().contains("could not be reached"));
}

#[tokio::test]
async fn an_error_of_the_server_that_says_nothing_of_the_lease_is_borne_until_the_time_is_up() {
    let server = Fake::start().await;
    server.leases_live(Duration::from_secs(2));
    server.on_renew(|turn| async move {
        if (2..5).contains(&turn) {
            return Err(Status::internal("an id"));
        }
        Ok(())
    });
    let lease = server.client().await.resources().vram_mb(4096).hold().await.unwrap();
    server.sees("renewals to go on", |seen| seen.renewals >= 7).await;
    lease.check().unwrap();
}

#[tokio::test]
async fn a_server_that_says_the_lease_is_gone_is_believed_at_once() {
    let server = Fake::start().await;
    server.leases_live(Duration::from_secs(30));
    server.on_renew(|_| async { Err(status(Code::NotFound, "LEASE_EXPIRED")) });
    let lease = server.client().await.resources().vram_mb(4096).hold().await.unwrap();
    let why = timeout(SOON, lease.lost()).await.expect("the loss is told");
    assert_eq!(why, "in words: LEASE_EXPIRED");
}

#[tokio::test]
async fn the_end_that_the_server_tells_is_a_loss_at_once() {
    let server = Fake::start().await;
    let ended = Ended { why: LeaseEnd::Evicted.into() };
    // The first is of a newer server.
    *server.watch.lock().unwrap() = vec![WatchLeaseResponse { event: None }, news(Event::Ended(ended))];
    let lease = server.client().await.resources().vram_mb(4096).hold().await.unwrap();
    // Also in a task that does not have the lease.
    let why = timeout(SOON, tokio::spawn(lease.lost())).await.unwrap().unwrap();
    assert_eq!(why, "it was taken for somebody who waited");
    assert!(lease.is_lost());
}

#[tokio::test]
async fn a_request_to_give_back_is_told_to_a_lease_that_listens() {
    let server = Fake::start().await;
    let asked = EvictionRequested { reason: "somebody needs 8,000 MiB".into(), deadline: None };
    *server.watch.lock().unwrap() = vec![news(Event::EvictionRequested(asked))];
    let lease = server.client().await.resources().vram_mb(4096).evictable().hold().await.unwrap();
    let request = timeout(SOON, lease.eviction_requested()).await.expect("it is told");
    assert_eq!(request.reason, "somebody needs 8,000 MiB");
    lease.release().await.unwrap();
    // It listens with its token, and is idle until it says that it works.
    assert_eq!(server.now().watch_tokens, [7]);
    assert!(server.now().executions.is_empty());
    assert_eq!(server.now().released, ["lease-1"]);
}

#[tokio::test]
async fn a_lease_that_is_in_use_until_the_end_listens_without_its_token() {
    let server = Fake::start().await;
    let _lease = server.client().await.resources().vram_mb(4096).hold().await.unwrap();
    let seen = server.sees("the watch", |seen| !seen.watch_tokens.is_empty()).await;
    assert_eq!(seen.watch_tokens, [0]);
}

#[tokio::test]
async fn work_on_an_evictable_lease_is_counted_also_when_its_guard_is_only_dropped() {
    let server = Fake::start().await;
    let lease = server.client().await.resources().vram_mb(4096).evictable().hold().await.unwrap();
    let work = lease.executing().await.unwrap();
    assert_eq!(server.now().executions, ["start"]);
    work.finish().await.unwrap();
    assert_eq!(server.now().executions, ["start", "finish"]);
    drop(lease.executing().await.unwrap());
    server.sees("the end of the work", |seen| seen.executions == ["start", "finish", "start", "finish"]).await;
}

#[tokio::test]
async fn nothing_is_renewed_after_the_lease_was_given_back() {
    let server = Fake::start().await;
    server.leases_live(Duration::from_millis(150));
    let client = server.client().await;
    client.resources().vram_mb(4096).hold().await.unwrap().release().await.unwrap();
    let before = server.now().renewals;
    // Another lease lives for a while and is renewed; only its renewals come.
    let other = client.resources().vram_mb(4096).hold().await.unwrap();
    server.sees("renewals", |seen| seen.renewals >= before + 4).await;
    let start = Instant::now();
    let count = server.now().renewals;
    server.sees("more renewals", |seen| seen.renewals >= count + 6).await;
    // Two that are renewed would be twice as fast.
    assert!(start.elapsed() > Duration::from_millis(200), "{:?}", start.elapsed());
    drop(other);
}
