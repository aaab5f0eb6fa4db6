//! Bodies of requests, made for next to nothing: texts written once, with ids and times put in anew each round.
//!
//! The machine's time is to go to the agent. Each body is built once, some 215 bytes an event; before it is sent
//! again every event gets a new id, another customer and the present time. One event in a hundred is a retry: it is sent as it was in the
//! round before, byte for byte.

use std::ops::Range;

use submeter_common::time::{Clock as _, SystemClock};

/// One event in this many was sent before.
const EVENTS_PER_RETRY: usize = 100;
/// Bytes of all bodies of one connection, at most: more than fit any cache would measure the generator.
const BODY_BYTES_ALL: usize = 1 << 20;
/// Digits of the number that makes an id new.
const ROUND_DIGITS: usize = 10;
/// Digits of a customer's number.
const CUSTOMER_DIGITS: usize = 5;
/// A time as it is written: milliseconds, UTC.
const TIME_EXAMPLE: &str = "2026-01-01T00:00:00.000Z";

/// What the events are about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    /// Customers the events are spread over.
    pub(super) customers: u64,
}

/// The events of one connection.
#[derive(Debug)]
pub(super) struct Traffic {
    bodies: Vec<Body>,
    next: usize,
    sent: usize,
    spread: Spread,
    random: fastrand::Rng,
}

/// One request's text.
#[derive(Debug)]
struct Body {
    text: Vec<u8>,
    events: Vec<Slots>,
    round: u64,
    time: [u8; TIME_EXAMPLE.len()],
}

/// Where in the text an event's changing parts are.
#[derive(Clone, Debug)]
struct Slots {
    round: Range<usize>,
    customer: Range<usize>,
    time: Range<usize>,
}

impl Traffic {
    /// Traffic of `batch` events a request that no other worker sends.
    pub(super) fn new(worker: usize, batch: usize, spread: Spread) -> Self {
        let mut random = fastrand::Rng::with_seed(worker as u64);
        let bodies = (BODY_BYTES_ALL / (batch * 256)).clamp(2, 256);
        Self {
            bodies: (0..bodies)
                .map(|body| Body::new(worker, body, batch, &mut random))
                .collect(),
            next: 0,
            sent: 0,
            spread,
            random,
        }
    }

    /// The body of the next request.
    pub(super) fn body(&mut self) -> &[u8] {
        self.next = (self.next + 1) % self.bodies.len();
        let body = &mut self.bodies[self.next];
        let events = body.events.len();
        // Large bodies begin with a few events of the round before; of small ones a whole one is sent again.
        let retries = if events >= EVENTS_PER_RETRY {
            events / EVENTS_PER_RETRY
        } else {
            let due = self.sent / EVENTS_PER_RETRY != (self.sent + events) / EVENTS_PER_RETRY;
            if due { events } else { 0 }
        };
        self.sent += events;
        let retries = if body.round == 0 { 0 } else { retries };
        body.renew(retries, self.spread, &mut self.random);
        &body.text
    }
}

impl Body {
    fn new(worker: usize, body: usize, batch: usize, random: &mut fastrand::Rng) -> Self {
        let mut text = String::from("{\"events\":[");
        let mut events = Vec::with_capacity(batch);
        for index in 0..batch {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&format!(
                r#"{{"event_id":"load-{worker:02}-{body:03}-{index:03}-"#
            ));
            let round = text.len()..text.len() + ROUND_DIGITS;
            text.push_str(&"0".repeat(ROUND_DIGITS));
            text.push_str(r#"","customer_id":"customer-"#);
            let customer = text.len()..text.len() + CUSTOMER_DIGITS;
            text.push_str(&"0".repeat(CUSTOMER_DIGITS));
            text.push_str(r#"","event_name":"llm.request","timestamp":""#);
            let time = text.len()..text.len() + TIME_EXAMPLE.len();
            text.push_str(TIME_EXAMPLE);
            text.push_str(&format!(
                r#"","metadata":{{"tokens":{},"seconds":{}.{:03},"model":"model-{}","region":"{}"}}}}"#,
                random.u32(1..20_000),
                random.u8(0..100),
                random.u16(0..1_000),
                random.u8(0..8),
                ["eu", "us", "ap"][random.usize(0..3)],
            ));
            events.push(Slots {
                round,
                customer,
                time,
            });
        }
        text.push_str("]}");
        let mut time = [0; TIME_EXAMPLE.len()];
        time.copy_from_slice(TIME_EXAMPLE.as_bytes());
        Self {
            text: text.into_bytes(),
            events,
            round: 0,
            time,
        }
    }

    /// Gives all events but `retries` of them, each round others, a new id, another customer and the present time.
    fn renew(&mut self, retries: usize, spread: Spread, random: &mut fastrand::Rng) {
        self.round += 1;
        let first = usize::try_from(self.round).unwrap_or_default() * retries % self.events.len();
        let now = jiff::Timestamp::from_microsecond(SystemClock.now().as_micros());
        let now = format!("{:.3}", now.unwrap_or_default());
        self.time.copy_from_slice(now.as_bytes());
        let mut round = [0; ROUND_DIGITS];
        write_digits(&mut round, self.round);
        for (index, slots) in self.events.iter().enumerate() {
            if (first..first + retries).contains(&index) {
                continue;
            }
            self.text[slots.round.clone()].copy_from_slice(&round);
            write_digits(
                &mut self.text[slots.customer.clone()],
                random.u64(0..spread.customers),
            );
            self.text[slots.time.clone()].copy_from_slice(&self.time);
        }
    }
}

/// Writes `number` in decimal, filled with zeros.
fn write_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789"[usize::try_from(number % 10).unwrap_or_default()];
        number /= 10;
    }
}
