//! The generated stubs, by the name of their method.

use std::pin::Pin;
use std::time::Duration;

use serde_json::Value;
use sluice::Client;
use tonic::{Request, Status};

use crate::json::{from_message, method, request};
use crate::stream::{Messages, Typed};
use crate::{Mismatch, Played};

pub type Call = Pin<Box<dyn Future<Output = Result<Value, Status>> + Send>>;

macro_rules! unary {
    ($client:expr, $name:expr, $fields:expr, $limit:expr, $($service:ident: $($method:ident = $rust:ident),+;)+) => {{
        let (method, input, output) = method($name)?;
        match method.as_str() {
            $($(stringify!($method) => {
                let mut message = Request::new(request(&input, $fields)?);
                message.set_timeout($limit);
                let mut stub = $client.$service();
                Ok(Box::pin(async move { Ok(from_message(&output, &stub.$rust(message).await?.into_inner())) }))
            })+)+
            _ => Err(Mismatch(format!("the runner does not know the method {method}"))),
        }
    }};
}

macro_rules! streams {
    ($client:expr, $name:expr, $fields:expr, $limit:expr, $($service:ident: $($method:ident = $rust:ident),+;)+) => {{
        let (method, input, output) = method($name)?;
        match method.as_str() {
            $($(stringify!($method) => {
                let mut message = Request::new(request(&input, $fields)?);
                if let Some(limit) = $limit {
                    message.set_timeout(limit);
                }
                let mut stub = $client.$service();
                Ok(Typed::new(&output, async move { stub.$rust(message).await }))
            })+)+
            _ => Err(Mismatch(format!("the runner does not know the stream {method}"))),
        }
    }};
}

/// A call of the method, ready to be made.
pub fn call(client: &Client, name: &str, fields: &Value, limit: Duration) -> Played<Call> {
    unary!(client, name, fields, limit,
        scheduler: Allocate = allocate, RenewLease = renew_lease, ReleaseLease = release_lease, GetLease = get_lease,
            ListLeases = list_leases, StartExecution = start_execution, FinishExecution = finish_execution,
            AttachProcess = attach_process, ListActivePlugins = list_active_plugins, ListQueue = list_queue,
            CancelTicket = cancel_ticket, Explain = explain, GetPolicy = get_policy, SetPolicy = set_policy,
            RegisterSystemMonitor = register_system_monitor, ListSystemMonitors = list_system_monitors;
        executor: LoadAllPlugins = load_all_plugins, RegisterPlugin = register_plugin, ListPlugins = list_plugins,
            GetPlugin = get_plugin, EnablePlugin = enable_plugin, DisablePlugin = disable_plugin, LoadPlugin = load_plugin,
            UnloadPlugin = unload_plugin, ReleasePlugin = release_plugin, ExecutePlugin = execute_plugin,
            GetExecution = get_execution, ListExecutions = list_executions, CancelExecution = cancel_execution;
        monitor: GetSystemStats = get_system_stats, ListGpus = list_gpus, ListGpuProcesses = list_gpu_processes;
    )
}

/// A stream that is open.
pub fn open(client: &Client, name: &str, fields: &Value, limit: Option<Duration>) -> Played<Box<dyn Messages>> {
    streams!(client, name, fields, limit,
        scheduler: WaitForResources = wait_for_resources, WatchLease = watch_lease, WatchQueue = watch_queue;
        executor: StreamExecution = stream_execution;
        monitor: WatchSystemStats = watch_system_stats;
    )
}
