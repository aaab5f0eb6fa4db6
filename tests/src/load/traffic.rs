//! Bodies of requests, written into one buffer: new events each time.

use std::fmt::Write;

/// Customers the events are spread over.
const CUSTOMERS: u64 = 1_000;

/// The events of one connection.
#[derive(Debug)]
pub(super) struct Traffic {
    worker: usize,
    next: u64,
    random: fastrand::Rng,
    body: String,
}

impl Traffic {
    /// Traffic that no other worker sends.
    pub(super) fn new(worker: usize) -> Self {
        let random = fastrand::Rng::with_seed(u64::try_from(worker).unwrap_or_default());
        Self {
            worker,
            next: 0,
            random,
            body: String::new(),
        }
    }

    /// The body of the next request with `count` events. They carry no time of their own: each
    /// happens when it arrives.
    pub(super) fn batch(&mut self, count: usize) -> &[u8] {
        self.body.clear();
        self.body.push_str("{\"events\":[");
        for index in 0..count {
            if index > 0 {
                self.body.push(',');
            }
            self.event();
        }
        self.body.push_str("]}");
        self.body.as_bytes()
    }

    fn event(&mut self) {
        let random = &mut self.random;
        let written = write!(
            self.body,
            r#"{{"event_id":"load-{}-{}","customer_id":"customer-{}","event_name":"kind-{}","metadata":{{"tokens":{},"seconds":{}.{:03},"user":"user-{}","region":"{}"}}}}"#,
            self.worker,
            self.next,
            random.u64(0..CUSTOMERS),
            random.u8(0..4),
            random.u32(1..20_000),
            random.u8(0..100),
            random.u16(0..1_000),
            random.u16(0..500),
            ["eu", "us", "ap"][random.usize(0..3)],
        );
        debug_assert!(written.is_ok(), "a string takes what is written to it");
        self.next += 1;
    }
}
