//! Where a period stands, as far as alerts look at it.

use super::{Threshold, told::Place};
use crate::{
    id::{EntitlementId, ProductId, SubscriptionId},
    money::Decimal,
};
use submeter_common::{CustomerId, Period};

/// What an open period has come to of what a threshold watches.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Standing {
    /// The threshold.
    pub threshold: Threshold,
    /// Whose.
    pub customer_id: CustomerId,
    /// Which subscription's period.
    pub place: Place,
    /// What it is a subscription to.
    pub product_id: ProductId,
    /// From when to when.
    pub period: Period,
    /// Units of the meter, or minor units.
    pub used: Decimal,
}

/// What a customer can use of one kind of credits, by the terms of a subscription that tell when it is low.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Balance {
    /// Whose.
    pub customer_id: CustomerId,
    /// Which subscription's period.
    pub place: Place,
    /// The kind of credits.
    pub credit_entitlement_id: EntitlementId,
    /// Its name.
    pub credit_entitlement_name: String,
    /// Credits that the period began with, by the terms of the subscription.
    pub granted: Decimal,
    /// At and below which the balance is low.
    pub threshold: Decimal,
    /// Credits that could be used.
    pub available: Decimal,
}

impl Standing {
    /// Returns the marks that are reached, rising.
    pub fn reached(&self) -> impl Iterator<Item = u32> + '_ {
        let marks = self.threshold.marks.iter().copied();
        marks.filter(|mark| self.threshold.is_reached(*mark, &self.used))
    }

    /// Whether the application is to stop serving.
    #[must_use]
    pub fn is_capped(&self) -> bool {
        self.threshold.is_capped(&self.used)
    }

    /// Returns the subscription that it is of.
    #[must_use]
    pub const fn subscription_id(&self) -> &SubscriptionId {
        &self.place.subscription_id
    }
}

impl Balance {
    /// Whether it is low.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.available <= self.threshold
    }
}
