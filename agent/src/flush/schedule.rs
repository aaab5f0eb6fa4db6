//! When an agent flushes: every interval, at a moment of the interval that is its own.
//!
//! Agents of a fleet are started together and would flush together for ever. The phase comes from the agent's identity, so
//! it is spread evenly over a fleet and stays where it is across restarts.

use std::time::Duration;

use submeter_common::id::AgentId;
use submeter_common::time::Timestamp;

/// The moments at which one agent flushes.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    interval_micros: i64,
    phase_micros: i64,
}

impl Schedule {
    /// The schedule of `agent`. An interval below a microsecond counts as one.
    pub(super) fn new(interval: Duration, agent: &AgentId) -> Self {
        let interval_micros = i64::try_from(interval.as_micros())
            .unwrap_or(i64::MAX)
            .max(1);
        let hash = blake3::hash(agent.to_string().as_bytes());
        let mut word = [0; 8];
        word.copy_from_slice(&hash.as_bytes()[..8]);
        let phase_micros = i64::from_le_bytes(word).rem_euclid(interval_micros);
        Self {
            interval_micros,
            phase_micros,
        }
    }

    /// Time from `now` to the next moment, which is never `now` itself.
    pub(super) fn delay_from(&self, now: Timestamp) -> Duration {
        let since = now
            .as_micros()
            .wrapping_sub(self.phase_micros)
            .rem_euclid(self.interval_micros);
        let micros = u64::try_from(self.interval_micros - since).unwrap_or(1);
        Duration::from_micros(micros)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_next_moment_is_one_interval_after_the_last() {
        let interval = Duration::from_secs(10);
        let schedule = Schedule::new(interval, &AgentId::new(Uuid::from_u128(1)));
        let start = Timestamp::from_micros(1_700_000_000_123_456);
        let first = start
            .checked_add(schedule.delay_from(start))
            .expect("in range");
        assert_eq!(schedule.delay_from(first), interval);
    }

    #[test]
    fn a_fleet_is_spread_over_the_interval() {
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let mut tenths = [0_u32; 10];
        for agent in 0..1000 {
            let schedule = Schedule::new(
                Duration::from_secs(10),
                &AgentId::new(Uuid::from_u128(agent)),
            );
            let delay = schedule.delay_from(now);
            assert!(delay <= Duration::from_secs(10) && delay > Duration::ZERO);
            tenths[usize::try_from((delay.as_micros() - 1) / 1_000_000).expect("small")] += 1;
        }
        assert!(
            tenths.iter().all(|&agents| agents > 60 && agents < 140),
            "{tenths:?}"
        );
    }
}
