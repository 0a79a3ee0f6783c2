//! How long a lease is surely held, by this machine's own clock.

use std::time::Duration;

pub(crate) const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// When to renew a lease, and when to give it up. All times are of [`clock::now`](crate::clock::now).
///
/// A renewal counts from before it was sent, so the server's own count is never shorter. The first renewal is due at once: the grant
/// says how long the lease lives, but not how long ago that began.
#[derive(Debug)]
pub(crate) struct Tenure {
    ttl: Duration,
    margin: Duration,
    pub(crate) next_at: Duration,
    pub(crate) give_up_at: Duration,
}

impl Tenure {
    pub(crate) fn new(ttl: Duration, heard_at: Duration) -> Self {
        // Time to tell the program before the server takes the memory back.
        let margin = (ttl / 10).min(Duration::from_secs(2));
        Self { ttl, margin, next_at: heard_at, give_up_at: heard_at + ttl - margin }
    }

    /// A renewal that was sent then has succeeded.
    pub(crate) fn renewed(&mut self, sent_at: Duration) {
        self.next_at = sent_at + self.ttl / 3;
        self.give_up_at = sent_at + self.ttl - self.margin;
    }

    /// A renewal has failed; the next is due soon, and never only after the lease would be given up.
    pub(crate) fn failed(&mut self, at: Duration) {
        let soon = (self.ttl / 10).min(Duration::from_secs(1));
        self.next_at = (at + soon).min(self.give_up_at);
    }

    /// How long one renewal may take.
    pub(crate) fn call_limit(&self, at: Duration) -> Duration {
        // A line that swallows a call should not cost the lease.
        let limit = (self.ttl / 3).min(Duration::from_secs(5));
        limit.min(self.give_up_at.saturating_sub(at)).max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_renewal_is_due_at_once_and_then_three_in_each_time_to_live() {
        let mut tenure = Tenure::new(s(30), s(100));
        assert_eq!(tenure.next_at, s(100));
        tenure.renewed(s(101));
        assert_eq!(tenure.next_at, s(111));
    }

    #[test]
    fn it_is_given_up_before_it_ends_counted_from_before_the_renewal_was_sent() {
        let mut tenure = Tenure::new(s(30), s(100));
        tenure.renewed(s(101));
        assert_eq!(tenure.give_up_at, s(101 + 30 - 2));
        assert!(tenure.call_limit(Duration::from_millis(128_500)) <= Duration::from_millis(500));
    }

    #[test]
    fn after_a_failure_it_is_tried_soon_and_never_only_after_the_end() {
        let mut tenure = Tenure::new(s(2), s(100));
        tenure.renewed(s(100));
        tenure.failed(s(101));
        assert_eq!(tenure.next_at, Duration::from_millis(101_200));
        tenure.failed(Duration::from_millis(101_750));
        assert_eq!(tenure.next_at, tenure.give_up_at);
    }
}
