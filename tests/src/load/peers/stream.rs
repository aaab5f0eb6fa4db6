//! The events a peer gets: like the agent's in ids, customers, values and retries, but not as JSON.

use submeter_common::time::{Clock as _, SystemClock};

use super::super::CUSTOMERS;

/// One event in this many was sent before.
const EVENTS_PER_RETRY: u64 = 100;

/// What a peer needs to know of an event.
#[derive(Clone, Debug)]
pub(super) struct Usage {
    pub(super) event_id: String,
    pub(super) customer_id: String,
    pub(super) tokens: u64,
}

/// What was counted, each event once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Ids remembered.
    pub(super) ids: u64,
    /// Events counted.
    pub(super) count: u64,
    /// Their tokens.
    pub(super) sum: u64,
    /// The most tokens of one event.
    pub(super) max: u64,
}

impl Totals {
    /// Adds what others counted.
    pub(super) fn add(&mut self, other: Self) {
        self.ids += other.ids;
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }
}

/// The events of one connection.
#[derive(Debug)]
pub(super) struct Stream {
    worker: usize,
    batch: u64,
    sent: u64,
    random: fastrand::Rng,
    /// Sent so far, repeated ones aside.
    pub(super) totals: Totals,
}

impl Stream {
    /// Events that no other worker sends.
    pub(super) fn new(worker: usize, batch: usize) -> Self {
        Self {
            worker,
            batch: batch as u64,
            sent: 0,
            random: fastrand::Rng::with_seed(worker as u64),
            totals: Totals::default(),
        }
    }

    /// The next request's events.
    pub(super) fn next(&mut self) -> Vec<Usage> {
        (0..self.batch).map(|_| self.event()).collect()
    }

    fn event(&mut self) -> Usage {
        // A retry repeats an event of the request before.
        let retry = self.sent % EVENTS_PER_RETRY == EVENTS_PER_RETRY - 1 && self.sent > self.batch;
        let number = if retry {
            self.sent - self.batch - 1
        } else {
            self.sent
        };
        self.sent += 1;
        // The same number is the same event.
        self.random.seed(number ^ ((self.worker as u64) << 48));
        let tokens = self.random.u64(1..20_000);
        if !retry {
            self.totals.add(Totals {
                ids: 1,
                count: 1,
                sum: tokens,
                max: tokens,
            });
        }
        Usage {
            event_id: format!("load-{:02}-{number:018}", self.worker),
            customer_id: format!("customer-{:05}", self.random.u64(0..CUSTOMERS)),
            tokens,
        }
    }
}

/// The present minute: seconds since 1970 of its beginning.
pub(super) fn minute() -> i64 {
    SystemClock.now().as_micros() / 60_000_000 * 60
}
