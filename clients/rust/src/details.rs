//! The details of an error: `google.rpc.ErrorInfo` and its companions.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use prost_types::Any;
use tonic::Status;
use tonic_types::pb;

use crate::Violation;
use crate::v1::{ExecutionFailed, Refusal};

/// What an error says besides its status code. Empty where the server said nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Details {
    pub(crate) reason: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) failure: Option<ExecutionFailed>,
}

impl Details {
    /// The details of a call that failed. What is unknown is passed over.
    pub(crate) fn of(status: &Status) -> Self {
        let mut found = Self::default();
        for detail in pb::Status::decode(status.details()).unwrap_or_default().details {
            found.read(&detail);
        }
        found
    }

    fn read(&mut self, detail: &Any) {
        let bytes = detail.value.as_slice();
        match detail.type_url.rsplit('/').next().unwrap_or_default() {
            "google.rpc.ErrorInfo" => {
                let info = pb::ErrorInfo::decode(bytes).unwrap_or_default();
                self.reason = info.reason;
                self.metadata = info.metadata.into_iter().collect();
            }
            "google.rpc.BadRequest" => {
                let request = pb::BadRequest::decode(bytes).unwrap_or_default();
                let violation = |found: pb::bad_request::FieldViolation| Violation {
                    field: found.field,
                    description: found.description,
                };
                self.violations = request.field_violations.into_iter().map(violation).collect();
            }
            "google.rpc.RetryInfo" => {
                let info = pb::RetryInfo::decode(bytes).unwrap_or_default();
                self.retry_after = info.retry_delay.and_then(|delay| delay.try_into().ok());
            }
            "sluice.v1.Refusal" => self.refusal = Refusal::decode(bytes).ok(),
            "sluice.v1.ExecutionFailed" => self.failure = ExecutionFailed::decode(bytes).ok(),
            _ => {}
        }
    }
}
