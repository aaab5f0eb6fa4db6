//! Overage: what usage cost in credits beyond the credits that were there.

use super::{CreditAttachment, OverageBehavior};
use crate::money::Decimal;

/// Returns how much of `uncovered` credits is invoiced, when `already` credits of overage of the same period are.
///
/// Nothing where overage is not enabled or is forgiven at the reset; at most up to the limit otherwise, because usage beyond
/// the agreed limit was never agreed to be paid.
#[must_use]
pub fn invoiced(terms: &CreditAttachment, uncovered: &Decimal, already: &Decimal) -> Decimal {
    let invoiced =
        terms.overage_enabled && terms.overage_behavior == OverageBehavior::InvoiceAtBilling;
    if !invoiced {
        return Decimal::zero();
    }
    match &terms.overage_limit {
        None => uncovered.clone(),
        Some(limit) => uncovered.clone().min((limit - already).or_zero()),
    }
}

/// Returns how much of `uncovered` credits stays owed in credits, when `owed` credits are so already: at most up to the limit.
#[must_use]
pub fn carried(terms: &CreditAttachment, uncovered: &Decimal, owed: &Decimal) -> Decimal {
    let carried = matches!(
        terms.overage_behavior,
        OverageBehavior::CarryDeficit | OverageBehavior::CarryDeficitAutoRepay
    );
    if !terms.overage_enabled || !carried {
        return Decimal::zero();
    }
    match &terms.overage_limit {
        None => uncovered.clone(),
        Some(limit) => uncovered.clone().min((limit - owed).or_zero()),
    }
}

/// Returns the price of one credit of overage in minor units; none where overage costs nothing.
#[must_use]
pub fn price(terms: &CreditAttachment) -> Option<&Decimal> {
    match terms.overage_behavior {
        OverageBehavior::InvoiceAtBilling if terms.overage_enabled => terms.price_per_unit.as_ref(),
        _ => None,
    }
}
