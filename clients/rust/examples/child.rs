//! Runs a command on 4 GiB of one GPU, shows the wait, and ends the command when the lease is lost:
//!
//! ```text
//! cargo run --example child -- python3 train.py
//! ```

use std::error::Error;
use std::process::exit;

use tokio::process::Command;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().ok_or("which command?")?;
    let client = sluice::connect(None).await?;
    let resources = client.resources().vram_mb(4096).name(program.to_string_lossy());
    let lease = resources.progress(|waiting| eprintln!("{waiting}")).hold().await?;

    let mut child = Command::new(program).args(words).envs(lease.env()).kill_on_drop(true).spawn()?;
    let ended = tokio::select! {
        ended = child.wait() => ended?,
        why = lease.lost() => return Err(format!("the lease is lost: {why}").into()),
    };
    lease.release().await?;
    exit(ended.code().unwrap_or(1));
}
