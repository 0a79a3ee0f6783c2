//! The connection to a server.

use crate::v1::executor_service_client::ExecutorServiceClient;
use crate::v1::monitor_service_client::MonitorServiceClient;
use crate::v1::scheduler_service_client::SchedulerServiceClient;
use crate::{Line, Plugin, Resources};

/// The default of 4 MiB is less than a long queue with long labels.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A connection. Clones share it; it is closed when the last of them, and the last lease and stream, is dropped.
#[derive(Clone, Debug)]
pub struct Client {
    address: String,
    line: Line,
}

impl Client {
    pub(crate) fn new(address: String, line: Line) -> Self {
        Self { address, line }
    }

    /// Where the server is, as it was given to [`connect`](crate::connect) or found by it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Resources to ask for: say how much, then [`hold`](Resources::hold) them.
    pub fn resources(&self) -> Resources {
        Resources::new(self.clone())
    }

    /// A plugin of the server, by name: give it arguments, then [`execute`](Plugin::execute) it.
    pub fn plugin(&self, name: impl Into<String>) -> Plugin {
        Plugin::new(self.clone(), name.into())
    }

    /// The generated stub of `SchedulerService`, for everything that this layer has no words for.
    #[must_use]
    pub fn scheduler(&self) -> SchedulerServiceClient<Line> {
        SchedulerServiceClient::new(self.line.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The generated stub of `ExecutorService`.
    #[must_use]
    pub fn executor(&self) -> ExecutorServiceClient<Line> {
        ExecutorServiceClient::new(self.line.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The generated stub of `MonitorService`.
    #[must_use]
    pub fn monitor(&self) -> MonitorServiceClient<Line> {
        MonitorServiceClient::new(self.line.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }
}
