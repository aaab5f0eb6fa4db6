//! Kinds of credits, and their attachment to products.

use crate::{
    catalog::{CatalogError, Frequency},
    id::{AttachmentId, EntitlementId},
    money::{Currency, Decimal},
};
use serde::{Deserialize, Serialize};
use submeter_common::time::Timestamp;

/// Most digits after the point that credits can have.
const PRECISION_MAX: u8 = 10;

/// A kind of credits.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct CreditEntitlement {
    /// The id.
    pub id: EntitlementId,
    /// Display name.
    pub name: String,
    /// What it is, for people.
    pub description: Option<String>,
    /// Name of one credit, such as "tokens".
    pub unit: String,
    /// Digits after the point that amounts of these credits have, 0..=10. Never changes.
    pub precision: u8,
    /// Days after which a grant expires, if it lives that long.
    pub expires_after_days: Option<u32>,
    /// Rollover of the unused rest.
    pub rollover: Rollover,
    /// Whether usage may go on when credits run out and is then counted as overage.
    pub overage_enabled: bool,
    /// Most overage a period may have, in credits.
    pub overage_limit: Option<Decimal>,
    /// What happens to overage at the period's end.
    pub overage_behavior: OverageBehavior,
    /// What `price_per_unit` is in.
    pub currency: Option<Currency>,
    /// Price of one credit of overage, in minor units of `currency`.
    pub price_per_unit: Option<Decimal>,
    /// An archived entitlement cannot be attached anew.
    pub archived: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Rollover of unused credits into the next period. Recorded for clients; only `enabled: false` is billable so far.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Rollover {
    /// Whether the unused rest outlives its period.
    pub enabled: bool,
    /// Percentage of the rest that is carried over.
    pub percentage: Option<u32>,
    /// How often one grant may be carried over.
    pub count_max: Option<u32>,
    /// How long carried credits live.
    pub timeframe: Option<Frequency>,
}

/// What happens to overage when a period ends.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverageBehavior {
    /// It is forgotten.
    #[default]
    ForgiveAtReset,
    /// It is invoiced at the price of a credit.
    InvoiceAtBilling,
    /// It is taken from the next grant. Refused so far.
    CarryDeficit,
    /// It is taken from any credits that arrive. Refused so far.
    CarryDeficitAutoRepay,
}

/// Credits that come with a product: how many each period, and the terms, which may differ from the entitlement's own.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct CreditAttachment {
    /// The id of this attachment.
    pub id: AttachmentId,
    /// The kind of credits.
    pub credit_entitlement_id: EntitlementId,
    /// Its name when it was attached.
    pub credit_entitlement_name: String,
    /// Its unit when it was attached.
    pub credit_entitlement_unit: String,
    /// Its precision, which never changes.
    pub precision: u8,
    /// Credits granted at the start of each period. The subscription's quantity multiplies only the fixed fee, not these.
    pub credits_amount: Decimal,
    /// Days after which a grant expires, if its period is longer.
    pub expires_after_days: Option<u32>,
    /// Rollover of the unused rest.
    pub rollover: Rollover,
    /// Whether usage beyond the credits is counted as overage.
    pub overage_enabled: bool,
    /// Most overage a period may have, in credits.
    pub overage_limit: Option<Decimal>,
    /// What happens to overage at the period's end.
    pub overage_behavior: OverageBehavior,
    /// What `price_per_unit` is in.
    pub currency: Option<Currency>,
    /// Price of one credit of overage, in minor units of `currency`.
    pub price_per_unit: Option<Decimal>,
    /// Percentage of the grant below which the balance counts as low.
    pub low_balance_threshold_percent: Option<u32>,
    /// How grants are prorated on a plan change: `prorate` or `no_prorate`, as told.
    pub proration_behavior: String,
}

impl CreditEntitlement {
    /// Checks everything that billing will rely on.
    ///
    /// # Errors
    /// The first field that is out of range or cannot be billed so far.
    pub fn check(&self) -> Result<(), CatalogError> {
        if self.precision > PRECISION_MAX {
            return Err(CatalogError::invalid("precision", "expected 0 to 10 digits after the point"));
        }
        check_terms(&Terms {
            path: "",
            rollover: &self.rollover,
            behavior: self.overage_behavior,
            price_per_unit: self.price_per_unit.as_ref(),
            currency: self.currency,
            overage_limit: self.overage_limit.as_ref(),
        })
    }
}
