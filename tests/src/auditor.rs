//! An auditor: what the invoices must say, computed from the calls themselves.
//!
//! It shares no code with the product and works another way round: no windows, no partials, no merge,
//! but one pass over all calls of a customer in plain integers. Where product and auditor agree,
//! two different computations agree.

mod batches;
mod decimal;

use std::collections::BTreeSet;

use anyhow::Result;

pub use batches::{BatchMeters, Counted};
pub use decimal::Decimal;

use crate::workload::Call;

/// How a meter turns calls into one quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Number of calls.
    Requests,
    /// Number of calls with a prompt of more than this many tokens.
    LongRequests(u64),
    /// All prompt tokens.
    ContextTokens,
    /// All answer tokens.
    GeneratedTokens,
    /// Tokens of the longest prompt.
    LongestContext,
    /// Tokens of the shortest answer.
    ShortestAnswer,
    /// Tokens of the last prompt, by event time and then by event id.
    LastContext,
    /// Number of different users.
    Users,
    /// Seconds of computing in one region.
    ComputeSeconds(&'static str),
}

/// What one invoice line must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Measured.
    pub quantity: Decimal,
    /// Beyond the free threshold.
    pub billed: Decimal,
    /// Billed quantity times unit price, in the currency's minor unit, unrounded.
    pub exact: Decimal,
    /// The same rounded once, half away from zero.
    pub amount: i128,
}

/// What a line paid by credits must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditCharge {
    /// Measured.
    pub quantity: Decimal,
    /// Credits the quantity beyond the free threshold is worth.
    pub needed: Decimal,
    /// Of these, paid by grants.
    pub used: Decimal,
    /// Of these, not covered by grants.
    pub overage: Decimal,
}

impl Measure {
    /// The quantity of `calls`, which are all of one customer and one period.
    ///
    /// # Errors
    /// When a number does not fit.
    pub fn of(self, calls: &[&Call]) -> Result<Decimal> {
        let whole = |number: u64| Decimal::new(i128::from(number), 0);
        let sum = |of: fn(&Call) -> u64| whole(calls.iter().map(|call| of(call)).sum());
        Ok(match self {
            Self::Requests => whole(u64::try_from(calls.len())?),
            Self::LongRequests(beyond) => {
                let long = calls
                    .iter()
                    .filter(|call| call.context_tokens > beyond)
                    .count();
                whole(u64::try_from(long)?)
            }
            Self::ContextTokens => sum(|call| call.context_tokens),
            Self::GeneratedTokens => sum(|call| call.generated_tokens),
            Self::LongestContext => whole(
                calls
                    .iter()
                    .map(|call| call.context_tokens)
                    .max()
                    .unwrap_or(0),
            ),
            Self::ShortestAnswer => whole(
                calls
                    .iter()
                    .map(|call| call.generated_tokens)
                    .min()
                    .unwrap_or(0),
            ),
            Self::LastContext => {
                let last = calls.iter().max_by_key(|call| (call.at, call.event_id()));
                whole(last.map_or(0, |call| call.context_tokens))
            }
            Self::Users => {
                let users: BTreeSet<String> = calls.iter().map(|call| call.user()).collect();
                whole(u64::try_from(users.len())?)
            }
            Self::ComputeSeconds(region) => {
                let here = calls.iter().filter(|call| call.region() == region);
                Decimal::new(here.map(|call| i128::from(call.compute_millis())).sum(), 3)
            }
        })
    }
}

/// What `quantity` costs at `price` (minor units for one unit) when the first `free` units are free.
#[must_use]
pub fn charge(quantity: Decimal, free: i128, price: Decimal) -> Charge {
    let billed = quantity.minus(Decimal::new(free, 0)).not_negative();
    let exact = billed.times(price);
    Charge {
        quantity,
        billed,
        exact,
        amount: exact.rounded(),
    }
}

/// What `quantity` takes from `granted` credits when the first `free` units are free and one credit
/// pays for `10^digits` units.
#[must_use]
pub fn credit_charge(quantity: Decimal, free: i128, digits: u32, granted: Decimal) -> CreditCharge {
    let billed = quantity.minus(Decimal::new(free, 0)).not_negative();
    let needed = billed.shifted_right(digits);
    let overage = needed.minus(granted).not_negative();
    CreditCharge {
        quantity,
        needed,
        used: needed.minus(overage),
        overage,
    }
}
