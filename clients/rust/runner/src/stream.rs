//! A server stream that is read only when a step asks for it, so that back-pressure is real.

use std::time::Duration;

use prost::Message;
use serde_json::Value;
use tokio::time::timeout;
use tonic::{Response, Status, Streaming};

use crate::json::from_message;
use crate::{Mismatch, Played};

type Opening<T> = Box<dyn Future<Output = Result<Response<Streaming<T>>, Status>> + Send + Unpin>;

/// Without its type.
pub trait Messages: Send {
    /// The next message; None at the end.
    fn next(&mut self) -> std::pin::Pin<Box<dyn Future<Output = Result<Option<Value>, Status>> + Send + '_>>;
}

/// A stream of one type. The call is under way from the beginning; what it answers first is not waited for.
pub struct Typed<T> {
    name: String,
    opening: Option<Opening<T>>,
    stream: Option<Streaming<T>>,
}

impl<T: Message + Default + 'static> Typed<T> {
    pub fn new(
        name: &str,
        call: impl Future<Output = Result<Response<Streaming<T>>, Status>> + Send + 'static,
    ) -> Box<Self> {
        let task = tokio::spawn(call);
        let opening = Box::pin(async move { task.await.expect("a call does not panic") });
        Box::new(Self { name: name.to_owned(), opening: Some(Box::new(opening)), stream: None })
    }
}

impl<T: Message + Default + 'static> Messages for Typed<T> {
    fn next(&mut self) -> std::pin::Pin<Box<dyn Future<Output = Result<Option<Value>, Status>> + Send + '_>> {
        Box::pin(async {
            if let Some(opening) = &mut self.opening {
                let answer = opening.await;
                self.opening = None;
                self.stream = Some(answer?.into_inner());
            }
            let Some(stream) = &mut self.stream else {
                return Ok(None);
            };
            Ok(stream.message().await?.map(|message| from_message(&self.name, &message)))
        })
    }
}

/// The next message within a time.
pub async fn read(stream: &mut Box<dyn Messages>, within: Duration) -> Played<Result<Option<Value>, Status>> {
    match timeout(within, stream.next()).await {
        Ok(answer) => Ok(answer),
        Err(_) => Err(Mismatch("nothing came in time".to_owned())),
    }
}
