//! The connection, with the status codes of gRPC for what can happen to it.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Bytes, Service, http};
use tonic::transport::Channel;
use tonic::{Code, Status, TimeoutExpired};

/// What the generated stubs speak through: tonic's channel, but a line that breaks is `UNAVAILABLE` and a deadline that passes is
/// `DEADLINE_EXCEEDED`, as in every other language. tonic itself says `UNKNOWN` or `CANCELLED`, depending on where it broke.
#[derive(Clone, Debug)]
pub struct Line {
    channel: Channel,
    address: Arc<str>,
}

impl Line {
    pub(crate) fn new(channel: Channel, address: &str) -> Self {
        Self { channel, address: address.into() }
    }
}

impl Service<http::Request<Body>> for Line {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = BoxFuture<Self::Response, Status>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let ready = self.channel.poll_ready(context);
        ready.map_err(|error| judged(Status::from_error(error.into()), &self.address))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.channel.call(request);
        let address = Arc::clone(&self.address);
        Box::pin(async {
            match answer.await {
                Ok(answer) => Ok(answer.map(|body| Body::new(Answer { body, address }))),
                Err(error) => Err(judged(Status::from_error(error.into()), &address)),
            }
        })
    }
}

/// The body of an answer, which may break off in the middle.
struct Answer {
    body: Body,
    address: Arc<str>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        frame.map_err(|status| judged(status, &self.address))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What the server itself says has no source; everything else is about the line.
fn judged(status: Status, address: &str) -> Status {
    let mut cause: &dyn Error = &status;
    while let Some(deeper) = cause.source() {
        cause = deeper;
        if cause.is::<TimeoutExpired>() {
            return Status::deadline_exceeded(format!("{address} did not answer in time"));
        }
    }
    match status.code() {
        Code::Unknown | Code::Cancelled | Code::Internal | Code::Unavailable if status.source().is_some() => {
            Status::unavailable(format!("no answer from {address}: {cause}"))
        }
        _ => status,
    }
}
