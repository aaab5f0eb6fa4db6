//! How long to wait after a failure: exponential, fully jittered, capped.
//!
//! Full jitter (a uniform draw from zero to the ceiling) spreads a fleet that lost its collector at the same moment over
//! the whole interval when it comes back.

use std::time::Duration;

/// Ceiling of the first wait.
const FIRST: Duration = Duration::from_millis(250);

/// No wait is longer, so that a collector that is back is found within a minute.
pub(super) const DELAY_MAX: Duration = Duration::from_secs(60);

/// A collector may ask for a longer wait than [`DELAY_MAX`], but not for one that looks like a fault of its clock.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Waits between attempts that failed one after the other.
#[derive(Debug)]
pub(super) struct Backoff {
    failures: u32,
    random: fastrand::Rng,
}

impl Backoff {
    /// A fresh sequence. The seed makes it repeatable.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            failures: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Forgets the failures: something went well.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure and returns the wait before the next attempt.
    pub(super) fn next_delay(&mut self) -> Duration {
        let ceiling = ceiling(self.failures);
        self.failures = self.failures.saturating_add(1);
        let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.random.u64(0..=micros))
    }

    /// The wait when the collector named one: never shorter than it said, with jitter on top so that a fleet told the
    /// same second does not return in it together.
    pub(super) fn delay_after(&mut self, retry_after: Duration) -> Duration {
        let named = retry_after.min(RETRY_AFTER_MAX);
        self.failures = self.failures.saturating_add(1);
        let jitter = u64::try_from(named.as_micros() / 4).unwrap_or(u64::MAX);
        named + Duration::from_micros(self.random.u64(0..=jitter))
    }
}

fn ceiling(failures: u32) -> Duration {
    1_u32
        .checked_shl(failures.min(16))
        .map_or(DELAY_MAX, |factor| FIRST.saturating_mul(factor))
        .min(DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_never_beyond() {
        let mut backoff = Backoff::new(7);
        for failures in 0..200 {
            assert!(backoff.next_delay() <= ceiling(failures));
        }
        assert_eq!(ceiling(0), FIRST);
        assert_eq!(ceiling(1), FIRST * 2);
        assert_eq!(ceiling(u32::MAX), DELAY_MAX);
    }

    #[test]
    fn a_success_starts_over() {
        let mut backoff = Backoff::new(7);
        for _ in 0..20 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= FIRST);
    }

    #[test]
    fn a_named_wait_is_kept_but_not_believed_beyond_an_hour() {
        let mut backoff = Backoff::new(7);
        for seconds in [0, 1, 30, 3600, 1_000_000] {
            let named = Duration::from_secs(seconds);
            let delay = backoff.delay_after(named);
            assert!(
                delay >= named.min(RETRY_AFTER_MAX)
                    && delay <= RETRY_AFTER_MAX + RETRY_AFTER_MAX / 4
            );
        }
    }
}
