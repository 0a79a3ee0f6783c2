//! Calls that are made again while the server is away.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tonic::{Response, Status};

use crate::clock::now;
use crate::{Error, Result};

/// Calls, and again while the server is away, for `limit` in all. What is called must bear being called twice for one effect.
pub(crate) async fn again<T, F>(limit: Duration, mut call: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = std::result::Result<Response<T>, Status>>,
{
    let until = now() + limit;
    let mut pause = Duration::from_millis(100);
    loop {
        let left = until.saturating_sub(now()).max(Duration::from_millis(100));
        match within(left, call()).await {
            Ok(answer) => return Ok(answer),
            Err(failure) if !failure.is_away() || now() + pause > until => return Err(failure),
            Err(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Calls once.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = std::result::Result<Response<T>, Status>>,
) -> Result<T> {
    match timeout(limit, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Error::from(Status::deadline_exceeded(format!(
            "the server did not answer within {:.1} s",
            limit.as_secs_f64()
        )))),
    }
}
