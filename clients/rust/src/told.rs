//! What a program is told while it waits and while it holds a lease.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::v1::{EvictionRequested, Queued, Reason};

/// Where a request stands in the queue. Its text is one line for people.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Waiting {
    /// 1 is next.
    pub position: u32,
    /// Requests in the queue, this one included.
    pub queue_length: u32,
    /// How long it has waited.
    pub waited: Duration,
    /// Why it waits now, with the numbers behind it (MiB).
    pub reasons: Vec<Reason>,
    /// Until it is thought to start; `None` where nothing is known that it could rest on.
    pub expected_in: Option<Duration>,
}

impl From<Queued> for Waiting {
    fn from(queued: Queued) -> Self {
        let expected = queued.expected_start.and_then(|at| SystemTime::try_from(at).ok());
        Self {
            position: queued.position,
            queue_length: queued.queue_length.max(queued.position),
            waited: queued.waited.and_then(|waited| waited.try_into().ok()).unwrap_or_default(),
            reasons: queued.reasons,
            expected_in: expected.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default()),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waiting {}, place {} of {}", age(self.waited), self.position, self.queue_length)?;
        match self.expected_in {
            Some(left) if left < Duration::from_secs(1) => f.write_str(" (starts any moment)")?,
            Some(left) => write!(f, " (starts in ~ {})", age(left))?,
            None => {}
        }
        let mut before = ": ";
        for reason in &self.reasons {
            write!(f, "{before}{}", reason.message)?;
            before = "; ";
        }
        Ok(())
    }
}

/// Somebody waits for this memory: give it back before the deadline, or the server takes it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EvictionRequest {
    /// By the server's clock.
    pub deadline: SystemTime,
    /// Who waits, and for how much.
    pub reason: String,
}

impl From<EvictionRequested> for EvictionRequest {
    fn from(asked: EvictionRequested) -> Self {
        Self {
            deadline: asked.deadline.and_then(|deadline| deadline.try_into().ok()).unwrap_or(SystemTime::UNIX_EPOCH),
            reason: asked.reason,
        }
    }
}

fn age(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        seconds => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_queue_is_one_line_for_people() {
        let mut waiting = Waiting {
            position: 1,
            queue_length: 3,
            waited: Duration::from_secs(3_725),
            reasons: vec![
                Reason { message: "GPU 0 is full".into(), ..Reason::default() },
                Reason { message: "GPU 1 too".into(), ..Reason::default() },
            ],
            expected_in: None,
        };
        assert_eq!(waiting.to_string(), "waiting 1h 2m, place 1 of 3: GPU 0 is full; GPU 1 too");
        waiting.reasons.truncate(1);
        waiting.waited = Duration::from_secs(4);
        waiting.expected_in = Some(Duration::from_secs(65));
        assert_eq!(waiting.to_string(), "waiting 4s, place 1 of 3 (starts in ~ 1m 5s): GPU 0 is full");
        waiting.expected_in = Some(Duration::from_millis(900));
        assert_eq!(waiting.to_string(), "waiting 4s, place 1 of 3 (starts any moment): GPU 0 is full");
    }
}
