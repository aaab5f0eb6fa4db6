//! When an invoice is due, when a payment is tried again, and what follows when nothing helped.

use std::time::Duration;
use submeter_common::Timestamp;

/// Longest wait before a payment without an answer is asked about again.
const RECHECK_MAX: Duration = Duration::from_secs(6 * 3600);

/// The terms of collecting.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Terms {
    /// From an invoice's issue to the instant at which it is to be paid.
    pub due_after: Duration,
    /// How long after each refused payment the next one is tried; none after the last.
    pub retries: Vec<Duration>,
    /// What becomes of the subscription when the last one is refused.
    pub exhausted: Exhausted,
    /// First wait before a payment without an answer is asked about again; each further one is twice as long.
    pub recheck_after: Duration,
    /// How long a payment may be without an answer before its invoice is past due.
    pub answer_within: Duration,
}

/// What becomes of a subscription when the last payment of an invoice is refused.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum Exhausted {
    /// It goes on, past due, until somebody pays or ends it.
    #[default]
    PastDue,
    /// It ends at once.
    Cancel,
}

impl Exhausted {
    /// The name in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PastDue => "past_due",
            Self::Cancel => "cancel",
        }
    }

    /// Reads the name in settings.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::PastDue, Self::Cancel]
            .into_iter()
            .find(|exhausted| exhausted.name() == name)
    }
}

impl Terms {
    /// Returns when the next payment is tried, after the `attempt`-th (from 1) was refused at `at`; none after the last.
    #[must_use]
    pub fn retry_at(&self, attempt: u32, at: Timestamp) -> Option<Timestamp> {
        let place = usize::try_from(attempt.checked_sub(1)?).ok()?;
        let wait = self.retries.get(place)?;
        Some(at.saturating_add(*wait))
    }

    /// Returns how long to wait before a payment is asked about again that was asked about `asked` times.
    #[must_use]
    pub fn recheck_wait(&self, asked: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(asked.saturating_sub(1));
        let most = RECHECK_MAX.max(self.recheck_after);
        self.recheck_after.saturating_mul(doubled).min(most)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn terms(retries: &[u32]) -> Terms {
        Terms {
            due_after: Duration::ZERO,
            retries: retries.iter().map(|hours| HOUR * *hours).collect(),
            exhausted: Exhausted::PastDue,
            recheck_after: Duration::from_secs(60),
            answer_within: HOUR,
        }
    }

    #[test]
    fn a_refused_payment_is_tried_again_as_often_as_the_terms_say() {
        let at = Timestamp::parse("2025-01-01T00:00:00Z").unwrap();
        let terms = terms(&[24, 72]);
        let waits: Vec<_> = (0..4)
            .map(|attempt| terms.retry_at(attempt, at).map(|again| again.since(at)))
            .collect();
        assert_eq!(waits, [None, Some(HOUR * 24), Some(HOUR * 72), None]);
    }

    #[test]
    fn a_payment_without_an_answer_is_asked_about_at_growing_waits_up_to_six_hours() {
        let terms = terms(&[]);
        let minutes = |asked| terms.recheck_wait(asked).as_secs() / 60;
        let waits: Vec<u64> = [1, 2, 3, 9, 10, u32::MAX].map(minutes).to_vec();
        assert_eq!(waits, [1, 2, 4, 256, 360, 360]);
        let rare = Terms {
            recheck_after: HOUR * 24,
            ..terms.clone()
        };
        assert_eq!(rare.recheck_wait(5), HOUR * 24);
    }
}
