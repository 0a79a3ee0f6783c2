//! What the layer costs.

mod support;

use std::time::{Duration, Instant};

use sluice::v1::WaitForResourcesRequest;
use sluice::v1::wait_for_resources_response::Event;
use support::Fake;

const TURNS: usize = 60;

/// Beside the bare stub in the same process, the layer's own wait costs under 1 ms for each grant. `examples/latency.rs` measures the same with
/// a real server.
#[tokio::test]
async fn the_layer_adds_less_than_a_millisecond_to_a_wait() {
    let server = Fake::start().await;
    let client = server.client().await;
    let resources = client.resources().vram_mb(1).evictable().attach(false);
    let mut added = Vec::new();
    for _ in 0..3 {
        let (mut layer, mut stub) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let start = Instant::now();
            let lease = resources.hold().await.unwrap();
            layer.push(start.elapsed());
            lease.release().await.unwrap();

            let start = Instant::now();
            let mut stream =
                client.scheduler().wait_for_resources(WaitForResourcesRequest::default()).await.unwrap().into_inner();
            while !matches!(stream.message().await.unwrap().unwrap().event, Some(Event::Granted(_))) {}
            stub.push(start.elapsed());
        }
        added.push(median(layer).saturating_sub(median(stub)));
    }
    let least = added.into_iter().min().unwrap();
    assert!(least < Duration::from_millis(1), "{least:?}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
