//! Subscriptions: a customer, a product, and the clock of billing periods that starts with them.
//!
//! Prices and credit terms are copied onto the subscription when it is made: a later change of the product changes no bill.
//! Periods are always computed from (anchor, n); what is stored of the open one is a cache for the due index.

#![deny(clippy::float_arithmetic)]

pub mod period;

pub use crate::id::SubscriptionId;

use crate::{
    catalog::Price,
    credits::{CreditAttachment, EntitlementId},
    id::ProductId,
    metadata::Metadata,
    money::Currency,
};
use period::OutOfCalendar;
use serde::{Deserialize, Serialize};
use submeter_common::{
    id::CustomerId,
    time::{Period, Timestamp},
};

/// A customer's subscription to a product.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Subscription {
    /// The id.
    pub subscription_id: SubscriptionId,
    /// Who is billed.
    pub customer_id: CustomerId,
    /// What was bought.
    pub product_id: ProductId,
    /// Its name when it was bought; the text of the base-fee line.
    pub product_name: String,
    /// Multiplies the fixed fee, and nothing else.
    pub quantity: u32,
    /// Where it stands.
    pub status: SubscriptionStatus,
    /// What it is billed in.
    pub currency: Currency,
    /// The price at the time of buying.
    pub price: Price,
    /// The credit terms at the time of buying.
    pub credit_entitlements: Vec<CreditAttachment>,
    /// Start of the first period, on a whole minute. May lie in the past.
    pub anchor: Timestamp,
    /// End of the last period: anchor plus the price's subscription period.
    pub ends_at: Timestamp,
    /// Index of the open period; every period before it is closed. The compare-and-set value of a [`crate::billing::Settlement`].
    pub next_period: u32,
    /// The open period, or the last one of an expired subscription. Due when active and `end <= now`.
    pub current_period: Period,
    /// Where the customer is.
    pub billing: BillingAddress,
    /// What the application attached.
    #[serde(default)]
    pub metadata: Metadata,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Subscription {
    /// Returns period `n`, cut at the subscription's end; none when it would begin at or after that.
    ///
    /// # Errors
    /// [`OutOfCalendar`] when it lies beyond the year 9999.
    pub fn period(&self, n: u32) -> Result<Option<Period>, OutOfCalendar> {
        let whole = self.whole_period(n)?;
        let cut = Period {
            start: whole.start,
            end: whole.end.min(self.ends_at),
        };
        Ok(Some(cut).filter(|cut| cut.start < cut.end))
    }

    /// Returns period `n` as if the subscription went on for ever.
    ///
    /// # Errors
    /// [`OutOfCalendar`] when it lies beyond the year 9999.
    pub fn whole_period(&self, n: u32) -> Result<Period, OutOfCalendar> {
        period::period(self.anchor, self.price.usage_based().payment_frequency, n)
    }

    /// Returns the credit terms for one kind of credits, if the subscription has them.
    #[must_use]
    pub fn credit_terms(&self, entitlement: &EntitlementId) -> Option<&CreditAttachment> {
        self.credit_entitlements
            .iter()
            .find(|terms| terms.credit_entitlement_id == *entitlement)
    }
}

/// Where a subscription stands.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionStatus {
    /// Periods are closed and invoiced.
    Active,
    /// The last period is closed; nothing is billed any more.
    Expired,
}

/// Where a customer is, as told.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct BillingAddress {
    /// Two-letter ISO 3166 code.
    pub country: String,
    /// City.
    pub city: Option<String>,
    /// State or province.
    pub state: Option<String>,
    /// Street with number.
    pub street: Option<String>,
    /// Postal code.
    pub zipcode: Option<String>,
}
