//! What is asked for, as the contract's messages.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::patience::AWAY;
use crate::v1::{AllocateRequest, Hold, ResourceRequirements, WaitForResourcesRequest, Workload};

/// One request for resources. Sizes in MiB.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) name: String,
    pub(crate) vram_mb: u32,
    pub(crate) ram_mb: u32,
    pub(crate) gpus: u32,
    pub(crate) gpu_uuids: Vec<String>,
    pub(crate) exclusive: bool,
    pub(crate) tenant: String,
    pub(crate) priority: i32,
    pub(crate) importance: i32,
    pub(crate) expected_duration: Option<Duration>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) policy: String,
    pub(crate) request_id: String,
}

impl Request {
    /// A GPU is asked for as soon as anything about GPUs is said.
    pub(crate) fn workload(&self) -> Workload {
        Workload {
            name: self.name.clone(),
            resources: Some(ResourceRequirements {
                requires_gpu: self.vram_mb > 0 || self.gpus > 0 || !self.gpu_uuids.is_empty() || self.exclusive,
                min_gpu_vram_mb: self.vram_mb,
                min_system_ram_mb: self.ram_mb,
                gpu_count: self.gpus,
                gpu_uuids: self.gpu_uuids.clone(),
                exclusive_gpu: self.exclusive,
            }),
            tenant: self.tenant.clone(),
            priority: self.priority,
            importance: self.importance,
            expected_duration: self.expected_duration.and_then(message),
            labels: self.labels.clone(),
        }
    }

    /// The message that queues. `timeout` is what is left of it; `None`: the server's default, zero: for ever.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> WaitForResourcesRequest {
        WaitForResourcesRequest {
            workload: Some(self.workload()),
            request_id: self.request_id.clone(),
            timeout: timeout.and_then(message),
            lease_ttl: self.ttl.and_then(message),
            hold: Hold::Ttl.into(),
            policy: self.policy.clone(),
            // As long as this client tries to come back.
            grace_time: message(AWAY),
            ..WaitForResourcesRequest::default()
        }
    }

    /// The message that decides now.
    pub(crate) fn allocate(&self) -> AllocateRequest {
        AllocateRequest {
            workload: Some(self.workload()),
            request_id: self.request_id.clone(),
            lease_ttl: self.ttl.and_then(message),
            policy: self.policy.clone(),
            ..AllocateRequest::default()
        }
    }

    /// What is left of the timeout. At least 1 ms: zero would mean for ever.
    pub(crate) fn left(&self, since_start: Duration) -> Option<Duration> {
        match self.timeout {
            None | Some(Duration::ZERO) => self.timeout,
            Some(timeout) => Some(timeout.saturating_sub(since_start).max(Duration::from_millis(1))),
        }
    }

    /// The same with an id of its own, where it has none: without one a broken connection would cost the place.
    pub(crate) fn named(&self) -> Self {
        let mut named = self.clone();
        if named.request_id.is_empty() {
            named.request_id = new_request_id();
        }
        named
    }
}

/// An id with which a place in the queue is found again after a broken connection.
pub(crate) fn new_request_id() -> String {
    // Each state has random keys of its own, and 128 bits do not meet.
    let random = || RandomState::new().build_hasher().finish();
    format!("rust-{:08x}-{:016x}{:016x}", std::process::id(), random(), random())
}

/// The contract's message for a time.
pub(crate) fn message(time: Duration) -> Option<prost_types::Duration> {
    time.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_another() {
        let ids: std::collections::BTreeSet<String> = (0..1000).map(|_| new_request_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() <= 128));
    }

    #[test]
    fn what_is_left_of_a_timeout_is_never_for_ever() {
        let mut request = Request { timeout: Some(Duration::from_secs(5)), ..Request::default() };
        assert_eq!(request.left(Duration::from_secs(2)), Some(Duration::from_secs(3)));
        assert_eq!(request.left(Duration::from_secs(9)), Some(Duration::from_millis(1)));
        request.timeout = Some(Duration::ZERO);
        assert_eq!(request.left(Duration::from_secs(9)), Some(Duration::ZERO));
        request.timeout = None;
        assert_eq!(request.left(Duration::from_secs(9)), None);
    }
}
