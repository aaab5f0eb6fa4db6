//! A month of events: what the applications of the demo's customers did.
//!
//! Each event is counted by exactly one meter, so that the events behind all invoice lines are the
//! events that were sent. The same month gives the same events.

use super::Month;
use super::shop::CUSTOMERS;

/// How much of something the largest customer does in a month; each next customer does less.
const API_CALLS: u64 = 26_000;
const IMAGES: u64 = 1_500;
const TRANSFERS: u64 = 900;
const MESSAGES: u64 = 2_000;
const ANSWERS: u64 = 700;
/// Seats and storage are reported once a day.
const DAYS: u64 = 28;
/// One event in this many is sent twice, as an application does that saw no answer.
const REPEAT_EVERY: usize = 20;

/// All events of the month as lines of NDJSON, one list for each agent.
#[derive(Debug)]
pub(crate) struct History {
    shares: [Vec<String>; 2],
    events: u64,
    repeats: u64,
}

/// Writes one customer's events.
struct Writer<'a> {
    month: &'a Month,
    customer: &'static str,
    random: fastrand::Rng,
    lines: Vec<String>,
}

impl History {
    /// The history of `month`.
    pub(crate) fn of(month: &Month) -> Self {
        let mut history = Self {
            shares: [Vec::new(), Vec::new()],
            events: 0,
            repeats: 0,
        };
        for (place, customer) in (1..).zip(CUSTOMERS) {
            let random = fastrand::Rng::with_seed(place);
            let mut writer = Writer {
                month,
                customer,
                random,
                lines: Vec::new(),
            };
            writer.everything(place);
            for (index, line) in writer.lines.into_iter().enumerate() {
                history.add(index, line);
            }
        }
        for (seed, share) in (7..).zip(&mut history.shares) {
            fastrand::Rng::with_seed(seed).shuffle(share);
        }
        history
    }

    /// Different events.
    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    /// How many of them are sent a second time.
    pub(crate) const fn repeats(&self) -> u64 {
        self.repeats
    }

    /// The lines for one of the two agents.
    pub(crate) fn share(&self, agent: usize) -> &[String] {
        &self.shares[agent % 2]
    }

    /// A retry goes where the first try went: an agent remembers ids, and agents do not ask each other.
    fn add(&mut self, index: usize, line: String) {
        let share = &mut self.shares[index % 2];
        if index.is_multiple_of(REPEAT_EVERY) {
            share.push(line.clone());
            self.repeats += 1;
        }
        share.push(line);
        self.events += 1;
    }
}

impl Writer<'_> {
    fn everything(&mut self, place: u64) {
        for _ in 0..API_CALLS / place {
            self.anywhen("api.call", r#"{"method":"GET"}"#);
        }
        for _ in 0..IMAGES / place {
            let quality = if self.random.u8(0..4) == 0 {
                "hd"
            } else {
                "standard"
            };
            self.anywhen("image.made", &format!(r#"{{"quality":"{quality}"}}"#));
        }
        for _ in 0..TRANSFERS / place {
            let thousandths = self.random.u64(1..90);
            self.anywhen(
                "data.sent",
                &format!(r#"{{"gigabytes":0.{thousandths:03}}}"#),
            );
        }
        for _ in 0..MESSAGES / place {
            self.anywhen("sms.sent", r#"{"country":"DE"}"#);
        }
        for _ in 0..ANSWERS / place {
            let tokens = self.random.u64(100..2_400);
            self.anywhen("assistant.answered", &format!(r#"{{"tokens":{tokens}}}"#));
        }
        for day in 0..DAYS {
            let seats = 12 / place + self.random.u64(0..4);
            self.at(
                day * 86_400,
                "seats.counted",
                &format!(r#"{{"seats":{seats}}}"#),
            );
            let gigabytes = 90 * place + day * 9;
            self.at(
                day * 86_400,
                "storage.measured",
                &format!(r#"{{"gigabytes":{gigabytes}.5}}"#),
            );
        }
    }

    fn anywhen(&mut self, event_name: &str, metadata: &str) {
        let seconds = (self.month.end - self.month.start).get_seconds();
        let at = self.random.u64(0..u64::try_from(seconds).unwrap_or(1));
        self.at(at, event_name, metadata);
    }

    /// Writes an event that happened `seconds` into the month.
    fn at(&mut self, seconds: u64, event_name: &str, metadata: &str) {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let at = self.month.start + jiff::SignedDuration::from_secs(seconds);
        self.lines.push(format!(
            r#"{{"event_id":"{customer}-{number}","customer_id":"{customer}","event_name":"{event_name}","timestamp":"{at}","metadata":{metadata}}}"#,
            customer = self.customer,
            number = self.lines.len(),
        ));
    }
}
