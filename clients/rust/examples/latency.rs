//! How much later than through the generated stub a program hears of a grant through the layer. For a server with one simulated GPU:
//! `npm start -- --simulate 24576`, then `cargo run --release --example latency`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice::Client;
use sluice::v1::wait_for_resources_response::Event;
use sluice::v1::{Lease, ReleaseLeaseRequest, ResourceRequirements, WaitForResourcesRequest, Workload};
use tokio::sync::Notify;

const ROUNDS: usize = 200;
const ALL_MB: u32 = 20_000;

type Times = Vec<Duration>;
type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let client = sluice::connect(None).await?;
    let [mut layer, mut raw, mut whole] = [Times::new(), Times::new(), Times::new()];
    // In turns, so that what else the machine does falls on all.
    for _ in 0..ROUNDS {
        layer.push(through_layer(&client, true).await?);
        raw.push(through_stub(&client).await?);
        whole.push(through_layer(&client, false).await?);
    }
    let [layer, raw, whole] = [layer, raw, whole].map(median);
    println!("release to grant, median of {ROUNDS} rounds:");
    println!("  generated stub      {raw:.3} ms");
    println!("  layer               {layer:.3} ms, {:+.3} ms", layer - raw);
    println!("  attached and active {whole:.3} ms, {:+.3} ms", whole - raw);
    Ok(())
}

/// `bare`: only the wait, without the calls that attach the process and say that work begins.
async fn through_layer(client: &Client, bare: bool) -> Result<Duration, Failure> {
    let first = occupied(client).await?;
    let waits = Arc::new(Notify::new());
    let told = Arc::clone(&waits);
    let resources = client.resources().vram_mb(ALL_MB).name("layer").attach(!bare);
    let resources = if bare { resources.evictable() } else { resources };
    let hold = resources.progress(move |_| told.notify_one());
    let holding = tokio::spawn(async move {
        let lease = hold.hold().await;
        (lease, Instant::now())
    });
    waits.notified().await;
    let start = Instant::now();
    release(client, &first).await?;
    let (lease, end) = holding.await?;
    lease?.release().await?;
    Ok(end - start)
}

async fn through_stub(client: &Client) -> Result<Duration, Failure> {
    let first = occupied(client).await?;
    let waits = Arc::new(Notify::new());
    let told = Arc::clone(&waits);
    let mut scheduler = client.scheduler();
    let request = WaitForResourcesRequest { workload: Some(workload("stub")), ..Default::default() };
    let waiting = tokio::spawn(async move {
        let mut stream = scheduler.wait_for_resources(request).await?.into_inner();
        while let Some(message) = stream.message().await? {
            match message.event {
                Some(Event::Granted(granted)) => return Ok((granted.lease.unwrap_or_default(), Instant::now())),
                _ => told.notify_one(),
            }
        }
        Err(tonic::Status::unavailable("no grant"))
    });
    waits.notified().await;
    let start = Instant::now();
    release(client, &first).await?;
    let (lease, end) = waiting.await??;
    release(client, &lease).await?;
    Ok(end - start)
}

async fn occupied(client: &Client) -> Result<Lease, Failure> {
    let request = WaitForResourcesRequest { workload: Some(workload("first")), ..Default::default() };
    let mut stream = client.scheduler().wait_for_resources(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        if let Some(Event::Granted(granted)) = message.event {
            return Ok(granted.lease.unwrap_or_default());
        }
    }
    Err("no grant".into())
}

async fn release(client: &Client, lease: &Lease) -> Result<(), tonic::Status> {
    let request = ReleaseLeaseRequest { lease_id: lease.id.clone(), token: lease.token };
    client.scheduler().release_lease(request).await.map(drop)
}

fn workload(name: &str) -> Workload {
    let resources = ResourceRequirements { requires_gpu: true, min_gpu_vram_mb: ALL_MB, ..Default::default() };
    Workload { name: name.into(), resources: Some(resources), ..Default::default() }
}

fn median(mut times: Times) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1000.0
}
