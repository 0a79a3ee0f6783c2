//! A server for tests: the real gRPC stack, answers that a test chooses.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluice::prost_types;
use sluice::v1::scheduler_service_server::{SchedulerService, SchedulerServiceServer};
use sluice::v1::wait_for_resources_response::Event;
use sluice::v1::*;
use sluice::{Client, Connector};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{BoxFuture, BoxStream};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

pub const GPU: &str = "GPU-00000000-0000-4000-8000-000000000000";

/// Where a wait speaks to its client.
pub type Say = mpsc::Sender<Result<WaitForResourcesResponse, Status>>;
type OnWait = Arc<dyn Fn(usize, Say) -> BoxFuture<(), ()> + Send + Sync>;
type OnRenew = Arc<dyn Fn(usize) -> BoxFuture<(), Status> + Send + Sync>;

/// What clients have said.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub waits: Vec<WaitForResourcesRequest>,
    pub allocations: usize,
    pub renewals: usize,
    pub released: Vec<String>,
    pub cancelled: Vec<String>,
    pub attached: Vec<u32>,
    pub executions: Vec<&'static str>,
    pub watch_tokens: Vec<u64>,
}

/// Grants what it is asked for, unless a test says otherwise.
#[derive(Clone)]
pub struct Fake {
    pub address: String,
    pub ttl: Arc<Mutex<Duration>>,
    pub watch: Arc<Mutex<Vec<WatchLeaseResponse>>>,
    pub on_cancel: Arc<Mutex<Option<Status>>>,
    seen: watch::Sender<Seen>,
    on_wait: Arc<Mutex<OnWait>>,
    on_renew: Arc<Mutex<OnRenew>>,
}

/// A fake server that runs until this is dropped.
pub struct Running {
    pub fake: Fake,
    serving: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl std::ops::Deref for Running {
    type Target = Fake;

    fn deref(&self) -> &Fake {
        &self.fake
    }
}

impl Fake {
    /// Starts one on a free port of the loopback.
    pub async fn start() -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            address: listener.local_addr().unwrap().to_string(),
            ttl: Arc::new(Mutex::new(Duration::from_secs(60))),
            watch: Arc::default(),
            on_cancel: Arc::default(),
            seen: watch::Sender::new(Seen::default()),
            on_wait: Arc::new(Mutex::new(Arc::new(|_, say| {
                Box::pin(async move { say.send(Ok(granted(Duration::from_secs(60)))).await.map_err(|_| ()) })
            }))),
            on_renew: Arc::new(Mutex::new(Arc::new(|_| Box::pin(async { Ok(()) })))),
        };
        let service = SchedulerServiceServer::new(fake.clone());
        let serving = tokio::spawn(async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Running { fake, serving }
    }

    /// A client of it.
    pub async fn client(&self) -> Client {
        Connector::new().address(&self.address).connect().await.unwrap()
    }

    /// How long leases live; to be said before they are asked for.
    pub fn leases_live(&self, ttl: Duration) {
        *self.ttl.lock().unwrap() = ttl;
        self.on_wait(move |_, say| async move {
            let _ = say.send(Ok(granted(ttl))).await;
        });
    }

    /// What a wait is told. The number is 1 for the first.
    pub fn on_wait<F: Future<Output = ()> + Send + 'static>(
        &self,
        tell: impl Fn(usize, Say) -> F + Send + Sync + 'static,
    ) {
        *self.on_wait.lock().unwrap() = Arc::new(move |turn, say| {
            let telling = tell(turn, say);
            Box::pin(async move {
                telling.await;
                Ok(())
            })
        });
    }

    /// What a renewal is answered. The number is 1 for the first.
    pub fn on_renew<F>(&self, answer: impl Fn(usize) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        *self.on_renew.lock().unwrap() = Arc::new(move |turn| Box::pin(answer(turn)));
    }

    /// What it has seen until now.
    pub fn now(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until it has seen something.
    pub async fn sees(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        let found = timeout(Duration::from_secs(10), seen.wait_for(|seen| condition(seen))).await;
        found.unwrap_or_else(|_| panic!("waited in vain for {what}")).unwrap().clone()
    }

    fn lease(&self) -> Lease {
        lease(*self.ttl.lock().unwrap())
    }
}

/// The lease that is granted.
pub fn lease(ttl: Duration) -> Lease {
    let env =
        [("CUDA_VISIBLE_DEVICES", GPU), ("SLUICE_LEASE_ID", "lease-1"), ("SLUICE_ADDRESS", "as the server sees it")];
    Lease {
        id: "lease-1".into(),
        token: 7,
        gpus: vec![LeasedGpu { uuid: GPU.into(), vram_mb: 4096, ..LeasedGpu::default() }],
        ttl: prost_types::Duration::try_from(ttl).ok(),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..Lease::default()
    }
}

/// A message that tells a place.
pub fn queued(position: u32) -> WaitForResourcesResponse {
    let reason = Reason {
        code: ReasonCode::InsufficientGpuMemory.into(),
        message: "GPU 0 is full".into(),
        needed_mb: Some(8000),
        available_mb: Some(4084),
        ..Reason::default()
    };
    said(Event::Queued(Queued { position, queue_length: 3, reasons: vec![reason], ..Queued::default() }))
}

/// A message that grants.
pub fn granted(ttl: Duration) -> WaitForResourcesResponse {
    said(Event::Granted(Granted { lease: Some(lease(ttl)) }))
}

/// Any message of a wait.
pub fn said(event: Event) -> WaitForResourcesResponse {
    WaitForResourcesResponse { ticket_id: "ticket-1".into(), event: Some(event), ..WaitForResourcesResponse::default() }
}

/// A status with an ErrorInfo.
pub fn status(code: tonic::Code, reason: &str) -> Status {
    use tonic_types::StatusExt;

    let info = tonic_types::ErrorDetails::with_error_info(
        reason,
        "sluice",
        BTreeMap::<String, String>::new().into_iter().collect::<std::collections::HashMap<_, _>>(),
    );
    Status::with_error_details(code, format!("in words: {reason}"), info)
}

#[tonic::async_trait]
impl SchedulerService for Fake {
    async fn wait_for_resources(
        &self,
        request: Request<WaitForResourcesRequest>,
    ) -> Result<Response<BoxStream<WaitForResourcesResponse>>, Status> {
        self.seen.send_modify(|seen| seen.waits.push(request.into_inner()));
        let (say, said) = mpsc::channel(16);
        let telling = (self.on_wait.lock().unwrap())(self.now().waits.len(), say);
        tokio::spawn(telling);
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }

    async fn allocate(&self, _: Request<AllocateRequest>) -> Result<Response<AllocateResponse>, Status> {
        self.seen.send_modify(|seen| seen.allocations += 1);
        let outcome = Some(allocate_response::Outcome::Lease(self.lease()));
        Ok(Response::new(AllocateResponse { outcome }))
    }

    async fn renew_lease(&self, _: Request<RenewLeaseRequest>) -> Result<Response<RenewLeaseResponse>, Status> {
        self.seen.send_modify(|seen| seen.renewals += 1);
        let answering = (self.on_renew.lock().unwrap())(self.now().renewals);
        answering.await?;
        // As the real one does: without env.
        let lease = Some(Lease { env: BTreeMap::new(), executions: 1, ..self.lease() });
        Ok(Response::new(RenewLeaseResponse { lease }))
    }

    async fn release_lease(
        &self,
        request: Request<ReleaseLeaseRequest>,
    ) -> Result<Response<ReleaseLeaseResponse>, Status> {
        self.seen.send_modify(|seen| seen.released.push(request.into_inner().lease_id));
        Ok(Response::new(ReleaseLeaseResponse::default()))
    }

    async fn cancel_ticket(
        &self,
        request: Request<CancelTicketRequest>,
    ) -> Result<Response<CancelTicketResponse>, Status> {
        self.seen.send_modify(|seen| seen.cancelled.push(request.into_inner().ticket_id));
        match self.on_cancel.lock().unwrap().clone() {
            Some(status) => Err(status),
            None => Ok(Response::new(CancelTicketResponse {})),
        }
    }

    async fn start_execution(
        &self,
        _: Request<StartExecutionRequest>,
    ) -> Result<Response<StartExecutionResponse>, Status> {
        self.seen.send_modify(|seen| seen.executions.push("start"));
        Ok(Response::new(StartExecutionResponse { execution_id: "execution-1".into() }))
    }

    async fn finish_execution(
        &self,
        _: Request<FinishExecutionRequest>,
    ) -> Result<Response<FinishExecutionResponse>, Status> {
        self.seen.send_modify(|seen| seen.executions.push("finish"));
        Ok(Response::new(FinishExecutionResponse {}))
    }

    async fn attach_process(
        &self,
        request: Request<AttachProcessRequest>,
    ) -> Result<Response<AttachProcessResponse>, Status> {
        self.seen.send_modify(|seen| seen.attached.push(request.into_inner().pid));
        Ok(Response::new(AttachProcessResponse::default()))
    }

    async fn watch_lease(
        &self,
        request: Request<WatchLeaseRequest>,
    ) -> Result<Response<BoxStream<WatchLeaseResponse>>, Status> {
        self.seen.send_modify(|seen| seen.watch_tokens.push(request.into_inner().token));
        let (say, said) = mpsc::channel(16);
        let news = std::mem::take(&mut *self.watch.lock().unwrap());
        tokio::spawn(async move {
            for message in news {
                let _ = say.send(Ok(message)).await;
            }
            say.closed().await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }
}

/// A line to a server that can be cut.
pub struct Cut {
    pub address: String,
    carrying: JoinHandle<()>,
}

impl Cut {
    /// Carries one connection.
    pub async fn new(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = server.to_owned();
        let carrying = tokio::spawn(async move {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = tokio::net::TcpStream::connect(server).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
        Self { address, carrying }
    }

    /// Cuts it.
    pub fn cut(&self) {
        self.carrying.abort();
    }
}
