//! Running a plugin of the server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prost_types::{Struct, Value};

use crate::request::{message, new_request_id};
use crate::v1::stream_execution_response::Event;
use crate::v1::{StreamExecutionRequest, StreamExecutionResponse};
use crate::{Client, Error, ErrorKind, Result};

type Hear = dyn Fn(&StreamExecutionResponse) + Send + Sync;

/// A plugin, its arguments, and how to run it.
#[derive(Clone)]
#[must_use = "nothing is run before execute()"]
pub struct Plugin {
    client: Client,
    request: StreamExecutionRequest,
    on_event: Option<Arc<Hear>>,
}

impl Plugin {
    pub(crate) fn new(client: Client, plugin: String) -> Self {
        let request =
            StreamExecutionRequest { plugin, arguments: Some(Struct::default()), ..StreamExecutionRequest::default() };
        Self { client, request, on_event: None }
    }

    /// One argument by name: `.argument("text", "page").argument("steps", 2)`.
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let arguments = self.request.arguments.get_or_insert_default();
        arguments.fields.insert(name.into(), value.into());
        self
    }

    /// All arguments.
    pub fn arguments(mut self, arguments: Struct) -> Self {
        self.request.arguments = Some(arguments);
        self
    }

    /// The policy for this execution; the server's unless said.
    pub fn policy(mut self, policy: impl Into<String>) -> Self {
        self.request.policy = policy.into();
        self
    }

    /// How long to wait for memory where the policy queues.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeout = message(timeout);
        self
    }

    /// Who is asking: a user, a team, a project.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.request.tenant = tenant.into();
        self
    }

    /// Higher is served first; -1000 to 1000.
    pub fn priority(mut self, priority: i32) -> Self {
        self.request.priority = priority;
        self
    }

    /// Makes the execution findable; each has a fresh one unless said.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request.request_id = id.into();
        self
    }

    /// Is called with each event: queued, admitted, progress, log and so on.
    pub fn on_event(mut self, hear: impl Fn(&StreamExecutionResponse) + Send + Sync + 'static) -> Self {
        self.on_event = Some(Arc::new(hear));
        self
    }

    /// Runs it, and answers its result. Dropping this future cancels the execution.
    ///
    /// # Errors
    /// [`Refused`](ErrorKind::Refused) or [`NeverFits`](ErrorKind::NeverFits) when it is not admitted, [`Failed`](ErrorKind::Failed) when it fails,
    /// and what [`hold`](crate::Resources::hold) answers.
    pub async fn execute(&self) -> Result<Value> {
        let mut request = self.request.clone();
        if request.request_id.is_empty() {
            request.request_id = new_request_id();
        }
        let mut stream = self.client.executor().stream_execution(request).await?.into_inner();
        while let Some(message) = stream.message().await? {
            if let Some(hear) = &self.on_event {
                hear(&message);
            }
            match message.event {
                Some(Event::Result(result)) => return Ok(result.result.unwrap_or_default()),
                Some(Event::Failed(failure)) => return Err(Error::failed(failure)),
                _ => {}
            }
        }
        Err(Error::new(ErrorKind::Failed, "the server ended the execution without an answer"))
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("request", &self.request).finish_non_exhaustive()
    }
}
