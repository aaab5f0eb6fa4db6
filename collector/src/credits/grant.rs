//! Grants: credits given to a customer, with an expiry and a place in the order of burning.

use crate::{
    id::{EntitlementId, GrantId, SubscriptionId},
    money::Decimal,
};
use serde::{Deserialize, Serialize};
use submeter_common::{id::CustomerId, time::Timestamp};

/// Credits given to a customer. At all times `amount = remaining + burned + expired`.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// The id; derived from subscription, entitlement and period for what a subscription grants.
    pub grant_id: GrantId,
    /// Who may burn it.
    pub customer_id: CustomerId,
    /// The kind of credits.
    pub credit_entitlement_id: EntitlementId,
    /// Where it came from.
    pub source: GrantSource,
    /// Credits given.
    pub amount: Decimal,
    /// Credits still to burn.
    pub remaining: Decimal,
    /// Credits forfeited at the expiry. Late usage of the grant's own lifetime may still draw on them.
    pub expired: Decimal,
    /// Lower burns first.
    pub priority: u32,
    /// From when on usage may burn it.
    pub effective_at: Timestamp,
    /// From when on it is worth nothing; none lives until it is burned.
    pub expires_at: Option<Timestamp>,
    /// The subscription that granted it, if one did.
    pub subscription_id: Option<SubscriptionId>,
    /// The period of that subscription.
    pub period: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its balance last changed.
    pub updated_at: Timestamp,
}

/// Where a grant came from.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantSource {
    /// A subscription, at the start of a period.
    Subscription,
    /// A one-time purchase.
    OneTime,
    /// A call of the API.
    Api,
    /// The carried-over rest of another grant.
    Rollover,
}
