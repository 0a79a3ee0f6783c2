#[tokio::main]
async fn main() -> sluice::Result<()> {
    let client = sluice::connect(None).await?;
    let lease = client.resources().vram_mb(4096).name("whisper").hold().await?;
    println!("GPU {} is ours: {}", lease.gpus()[0].index, lease.env()["CUDA_VISIBLE_DEVICES"]);
    // start the work with lease.env() in its environment; the lease is renewed in the background
    lease.release().await?;
    println!("given back");
    Ok(())
}
