//! Waits for GPU memory at a sluice server, holds it while your code runs, and gives it back.
//!
//! ```no_run
//! # async fn example() -> sluice::Result<()> {
//! let client = sluice::connect(None).await?;
//! let lease = client.resources().vram_mb(4096).name("whisper").hold().await?;
//! // start the work with lease.env() in its environment; the lease is renewed in the background
//! lease.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Sizes are MiB everywhere. Everything here needs a tokio runtime with time and IO enabled.
#![warn(missing_docs)]
#![deny(unsafe_code)]

mod address;
mod again;
mod client;
mod clock;
mod connector;
mod details;
mod error;
mod execution;
mod grant;
mod held;
mod keeper;
mod lease;
mod line;
mod patience;
mod plugin;
mod request;
mod resources;
mod tenure;
mod told;
mod wait;

/// The generated messages and stubs of the contract.
#[rustfmt::skip]
#[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
#[path = "generated/sluice.v1.rs"]
pub mod v1;

pub use client::Client;
pub use connector::Connector;
pub use error::{Error, ErrorKind, Result, Violation};
pub use execution::Execution;
pub use lease::Lease;
pub use line::Line;
pub use plugin::Plugin;
pub use prost_types;
pub use resources::Resources;
pub use told::{EvictionRequest, Waiting};
pub use v1::{LeasedGpu, Reason, ReasonCode, ResourceRequirements};

/// A client of the server at `address`: `host:port` or `unix:/path`; `None` for `SLUICE_ADDRESS`, else `127.0.0.1:50051`.
///
/// Nothing is opened before the first call. [`Connector`] sets more than the address.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`] for an address that is none.
pub async fn connect(address: Option<&str>) -> Result<Client> {
    let connector = Connector::new();
    match address {
        Some(address) => connector.address(address),
        None => connector,
    }
    .connect()
    .await
}
