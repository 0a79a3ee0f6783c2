//! Whether to ask again after a broken connection, and when.

use std::time::Duration;

use crate::clock::now;
use crate::{Error, Result};

/// How long nobody may answer at the very first: a wrong address should be told soon.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// How long a server may be away that has answered before: a job that has waited all night should not die of a restart.
pub(crate) const AWAY: Duration = Duration::from_secs(60);

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(1);

pub(crate) struct Patience {
    start: Duration,
    heard: Option<Duration>,
    pause: Duration,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { start: now(), heard: None, pause: SHORTEST }
    }

    /// Since the first attempt.
    pub(crate) fn since_start(&self) -> Duration {
        now().saturating_sub(self.start)
    }

    /// The server has said something.
    pub(crate) fn heard(&mut self) {
        self.heard = Some(now());
        self.pause = SHORTEST;
    }

    /// How long to pause before the next attempt; the failure when there is to be none.
    pub(crate) fn pause(&mut self, failure: Error) -> Result<Duration> {
        self.pause_at(failure, now())
    }

    fn pause_at(&mut self, failure: Error, at: Duration) -> Result<Duration> {
        let (since, limit) = self.heard.map_or((self.start, FIRST_ANSWER), |heard| (heard, AWAY));
        if !failure.is_away() || at.saturating_sub(since) > limit {
            return Err(failure);
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST);
        Ok(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn away() -> Error {
        Error::new(ErrorKind::Unreachable, "nobody")
    }

    #[test]
    fn nobody_at_the_address_is_told_after_a_few_seconds() {
        let mut patience = Patience::new();
        let start = patience.start;
        assert!(patience.pause_at(away(), start + Duration::from_secs(4)).is_ok());
        let failure = patience.pause_at(away(), start + Duration::from_secs(6)).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Unreachable);
    }

    #[test]
    fn a_server_that_has_answered_may_be_away_for_a_minute_and_pauses_grow_to_a_second() {
        let mut patience = Patience::new();
        patience.heard();
        let heard = patience.heard.unwrap();
        let pauses: Vec<u128> =
            (0..6).map(|_| patience.pause_at(away(), heard + Duration::from_secs(59)).unwrap().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        assert!(patience.pause_at(away(), heard + Duration::from_secs(61)).is_err());
    }

    #[test]
    fn what_is_no_broken_line_is_told_at_once() {
        let full = Error::new(ErrorKind::QueueFull, "full");
        assert!(Patience::new().pause(full).is_err());
    }
}
