//! What applications would send: requests of a real trace, shared out to customers and agents.
//!
//! [`trace`] reads the rows, [`Call`] is a row as the application that served it would report it,
//! [`batches`] are numbered events whose every single fate can be told from the usage, [`bulk`] is what takes room,
//! and [`delivery`] sends calls the way a bad day does: shuffled, repeated, and retried until acknowledged.

pub mod batches;
pub mod bulk;
pub mod delivery;
pub mod trace;

use jiff::Timestamp;

use trace::Row;

/// Number of customers the trace is shared out to.
pub const CUSTOMERS: usize = 50;

/// One LLM request, as the application reports it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its place in the trace; the event id follows from it.
    pub index: usize,
    /// Event time, microseconds since 1970.
    pub at: i64,
    /// Place of its customer, below [`CUSTOMERS`].
    pub customer: usize,
    /// Tokens of the prompt.
    pub context_tokens: u64,
    /// Tokens of the answer.
    pub generated_tokens: u64,
}

/// Turns rows into calls whose last one happened at `last` (microseconds since 1970).
#[must_use]
pub fn calls(rows: &[Row], last: i64) -> Vec<Call> {
    let newest = rows.iter().map(|row| row.at).max().unwrap_or_default();
    let shift = last - newest;
    let call = |(index, row): (usize, &Row)| Call {
        index,
        at: row.at + shift,
        customer: customer_of(index),
        context_tokens: row.context_tokens,
        generated_tokens: row.generated_tokens,
    };
    rows.iter().enumerate().map(call).collect()
}

/// The id a customer is known by.
#[must_use]
pub fn customer_id(customer: usize) -> String {
    format!("customer-{customer:02}")
}

/// Few customers send much and many send little: the smaller of two numbers that run at different paces.
fn customer_of(index: usize) -> usize {
    let (slow, fast) = (index * 7 % CUSTOMERS, index / 3 * 31 % (CUSTOMERS + 3));
    slow.min(fast)
}

impl Call {
    /// The id of its event.
    #[must_use]
    pub fn event_id(&self) -> String {
        format!("llm-{:06}", self.index)
    }

    /// Where it ran.
    #[must_use]
    pub fn region(&self) -> &'static str {
        ["eu", "us", "ap"][self.index % 3]
    }

    /// Who asked.
    #[must_use]
    pub fn user(&self) -> String {
        format!("user-{}", self.index * 7919 % 400)
    }

    /// Thousandths of a second of computing: a quantity with a fraction.
    #[must_use]
    pub fn compute_millis(&self) -> u64 {
        self.context_tokens / 10 + self.generated_tokens * 23 + 1
    }

    /// The event as JSON, written digit by digit so that no number passes through a float on its way.
    #[must_use]
    pub fn json(&self) -> String {
        let millis = self.compute_millis();
        let seconds = format!("{}.{:03}", millis / 1000, millis % 1000);
        // Applications disagree about whether a decimal is a number or a string; both must count.
        let seconds = if self.index.is_multiple_of(2) {
            seconds
        } else {
            format!("\"{seconds}\"")
        };
        format!(
            r#"{{"event_id":"{}","customer_id":"{}","event_name":"llm.request","timestamp":"{}","metadata":{{"context_tokens":{},"generated_tokens":{},"compute_seconds":{seconds},"region":"{}","user":"{}","streamed":{}}}}}"#,
            self.event_id(),
            customer_id(self.customer),
            rfc3339(self.at),
            self.context_tokens,
            self.generated_tokens,
            self.region(),
            self.user(),
            self.index.is_multiple_of(5),
        )
    }
}

/// A point in time as RFC 3339 in UTC; `micros` since 1970.
///
/// # Panics
/// When it is outside of the years -9999 to 9999.
#[must_use]
pub fn rfc3339(micros: i64) -> String {
    Timestamp::from_microsecond(micros)
        .expect("a time within the calendar")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_customer_gets_calls_and_some_get_many() {
        let rows = trace::generated(1);
        let mut count = [0_usize; CUSTOMERS];
        for call in calls(&rows, 0) {
            count[call.customer] += 1;
        }
        assert!(count.iter().all(|calls| *calls > 0), "{count:?}");
        assert!(count.iter().max() > count.iter().min().map(|least| least * 4).as_ref());
    }
}
