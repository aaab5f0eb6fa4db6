//! Grants: credits given to a customer, with an expiry and a place in the order of burning.

use crate::{
    id::{EntitlementId, GrantId, SubscriptionId},
    metadata::Metadata,
    money::Decimal,
};
use serde::{Deserialize, Serialize};
use submeter_common::{id::CustomerId, time::Timestamp};

/// Credits given to a customer. What of `amount` is neither remaining, held nor expired was used, taken back or carried over.
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
    /// Credits reserved.
    pub held: Decimal,
    /// Credits forfeited at the expiry. Late usage of the grant's own lifetime may still draw on them.
    pub expired: Decimal,
    /// Lower burns first.
    pub priority: u32,
    /// From when on usage may burn it.
    pub effective_at: Timestamp,
    /// From when on it is worth nothing; none lives until it is burned.
    pub expires_at: Option<Timestamp>,
    /// Whether the close of a period books its end, and not time alone: it may be carried over there, or open periods have
    /// used what is left of it.
    #[serde(default)]
    pub ends_at_close: bool,
    /// The subscription that granted it, if one did.
    pub subscription_id: Option<SubscriptionId>,
    /// The period of that subscription.
    pub period: Option<u32>,
    /// The grant whose rest this one took over, when it is a rollover.
    pub parent_grant_id: Option<GrantId>,
    /// How often the rest was carried over to get here.
    pub rollover_count: u32,
    /// What the application attaches.
    #[serde(default)]
    pub metadata: Metadata,
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
    /// A subscription, for its trial.
    Trial,
}

impl Grant {
    /// Returns when it expires by itself; none when it does not, or has nothing left.
    #[must_use]
    pub fn expires_itself(&self) -> Option<Timestamp> {
        self.expires_at
            .filter(|_| !self.ends_at_close && self.remaining.is_positive())
    }

    /// Whether usage at `instant` may burn it.
    #[must_use]
    pub fn is_good_at(&self, instant: Timestamp) -> bool {
        self.effective_at <= instant && self.expires_at.is_none_or(|end| instant < end)
    }
}
