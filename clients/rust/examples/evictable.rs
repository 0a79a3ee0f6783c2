//! Keeps a model in memory, idle between jobs, and gives it back when somebody else needs the memory.

use std::pin::pin;
use std::time::Duration;

#[tokio::main]
async fn main() -> sluice::Result<()> {
    let client = sluice::connect(None).await?;
    let lease = client.resources().vram_mb(8000).name("idle-model").evictable().hold().await?;
    let mut asked = pin!(lease.eviction_requested());
    for job in 1..=3 {
        // While this lives, the lease is not asked back.
        let work = lease.executing().await?;
        println!("job {job} runs");
        work.finish().await?;
        tokio::select! {
            request = &mut asked => {
                println!("given back: {}", request.reason);
                break;
            }
            // The next job comes.
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
    lease.release().await
}
