//! Credit balances as replies show them.

use submeter_common::time::Timestamp;

use crate::credits::Grant;
use crate::id::EntitlementId;
use crate::money::Decimal;

/// Credits of one kind that `grants` still hold at `now`.
pub(super) fn of_grants(grants: &[Grant], entitlement: &EntitlementId, now: Timestamp) -> Decimal {
    let is_good = |grant: &&Grant| {
        grant.credit_entitlement_id == *entitlement
            && grant.effective_at <= now
            && grant.expires_at.is_none_or(|expiry| now < expiry)
    };
    grants
        .iter()
        .filter(is_good)
        .fold(Decimal::zero(), |sum, grant| &sum + &grant.remaining)
}
