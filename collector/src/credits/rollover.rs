//! Rollover: what of a grant's unused rest outlives it.

use super::{Grant, GrantId, GrantSource, Rollover};
use crate::money::Decimal;
use submeter_common::time::Timestamp;

/// What becomes of the rest of one grant.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct CarriedOver {
    /// The grant that ends.
    pub from: GrantId,
    /// What goes over of its rest; the rest of the rest is forfeited.
    pub carried: Decimal,
    /// What is forfeited.
    pub forfeited: Decimal,
    /// The grant that takes it over. It has more than what is carried where a least amount is agreed.
    pub successor: Option<Grant>,
}

/// The life of what is carried over.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Life {
    /// From when on it is good: the start of the next period.
    pub effective_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Divides the rest of `grant`: the agreed percentage goes over, but never less than the agreed least amount nor more than the
/// most, and not more often than agreed.
#[must_use]
pub fn divide(
    grant: &Grant,
    rollover: &Rollover,
    life: Life,
    precision: u8,
    now: Timestamp,
) -> CarriedOver {
    let rest = &grant.remaining;
    let is_worn_out = rollover
        .count_max
        .is_some_and(|most| grant.rollover_count >= most);
    let amount = if is_worn_out {
        Decimal::zero()
    } else {
        amount(rest, rollover, precision)
    };
    let carried = amount.clone().min(rest.clone());
    let successor = amount
        .is_positive()
        .then(|| successor(grant, amount, life, now));
    CarriedOver {
        from: grant.grant_id.clone(),
        forfeited: rest - &carried,
        carried,
        successor,
    }
}

fn amount(rest: &Decimal, rollover: &Rollover, precision: u8) -> Decimal {
    let share = match rollover.percentage {
        None => rest.clone(),
        Some(percent) => {
            let hundred = Decimal::from(100_i64);
            let parts = rest * &Decimal::from(i64::from(percent));
            parts
                .divided_rounded(&hundred, precision)
                .unwrap_or_default()
        }
    };
    let least = rollover.amount_min.clone().unwrap_or_default();
    let bounded = share.max(least);
    match &rollover.amount_max {
        None => bounded,
        Some(most) => bounded.min(most.clone()),
    }
}

fn successor(grant: &Grant, amount: Decimal, life: Life, now: Timestamp) -> Grant {
    Grant {
        grant_id: GrantId::derived(&["rollover", grant.grant_id.as_str()]),
        source: GrantSource::Rollover,
        remaining: amount.clone(),
        amount,
        held: Decimal::zero(),
        expired: Decimal::zero(),
        effective_at: life.effective_at,
        expires_at: Some(life.expires_at),
        parent_grant_id: Some(grant.grant_id.clone()),
        rollover_count: grant.rollover_count.saturating_add(1),
        created_at: now,
        updated_at: now,
        ..grant.clone()
    }
}

#[cfg(test)]
mod tests;
