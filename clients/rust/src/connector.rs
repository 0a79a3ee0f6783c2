//! How a connection is set up.

use std::time::Duration;

use tonic::transport::Endpoint;

use crate::address::{address_of, uri_of};
use crate::{Client, Error, ErrorKind, Line, Result};

/// Longer than a busy machine needs for one.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Settings of a connection: `Connector::new().keepalive(Duration::from_secs(5)).connect().await?`.
#[derive(Clone, Debug)]
pub struct Connector {
    address: Option<String>,
    keepalive: Duration,
}

impl Connector {
    /// The defaults: the address that [`connect`](crate::connect) takes for `None`, and a keepalive of 10 s.
    #[must_use]
    pub fn new() -> Self {
        Self { address: None, keepalive: Duration::from_secs(10) }
    }

    /// Where the server is: `host:port` or `unix:/path`.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// How long a line may be silent, while a call is under way, before the server is asked for a sign of life. It has half of that to
    /// answer, at least a second; without an answer the calls end with [`ErrorKind::Unreachable`].
    #[must_use]
    pub fn keepalive(mut self, keepalive: Duration) -> Self {
        self.keepalive = keepalive;
        self
    }

    /// The client. Nothing is opened before its first call.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for an address that is none.
    // It is async because the connection needs the runtime of its caller.
    #[allow(clippy::unused_async)]
    pub async fn connect(self) -> Result<Client> {
        let address = address_of(self.address, std::env::var("SLUICE_ADDRESS").ok());
        let endpoint = Endpoint::from_shared(uri_of(&address)).map_err(|_| {
            Error::new(ErrorKind::InvalidRequest, format!("{address:?} is no address: host:port or unix:/path is"))
        })?;
        let channel = endpoint
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(self.keepalive)
            .keep_alive_timeout((self.keepalive / 2).max(Duration::from_secs(1)))
            .connect_lazy();
        let line = Line::new(channel, &address);
        Ok(Client::new(address, line))
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new()
    }
}
