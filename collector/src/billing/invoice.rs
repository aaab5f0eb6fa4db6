//! Invoices, and lines from which each amount can be derived again.

use crate::{
    id::{EntitlementId, GrantId, InvoiceId, ProductId, SubscriptionId},
    money::{Currency, Decimal},
    usage::Source,
};
use serde::{Deserialize, Serialize};
use submeter_common::{
    id::{AgentId, CustomerId, MeterId},
    meter::AggregationKind,
    time::{Period, Timestamp},
};

/// An issued invoice. It never changes but for its status; corrections are lines on a later one.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Invoice {
    /// The id, derived from subscription and period.
    pub invoice_id: InvoiceId,
    /// Gapless per year, given when it was issued.
    pub number: String,
    /// Where it stands.
    pub status: InvoiceStatus,
    /// Who owes it.
    pub customer_id: CustomerId,
    /// For which subscription.
    pub subscription_id: SubscriptionId,
    /// For which product.
    pub product_id: ProductId,
    /// The period whose usage it bills; none on the opening invoice, which has only the first base fee.
    pub period: Option<Period>,
    /// Index of that period.
    pub closes_period: Option<u32>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// What every amount is in.
    pub currency: Currency,
    /// The lines; their amounts sum to `total`.
    pub lines: Vec<InvoiceLine>,
    /// Minor units owed.
    pub total: i64,
    /// Whether every live agent had delivered everything of the period.
    pub complete: bool,
    /// The agents that had not, when the configured wait was over.
    pub missing_agents: Vec<AgentId>,
}

/// An invoice before the engine gives it its number. Fields as in [`Invoice`].
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct NewInvoice {
    /// Derived from subscription and period.
    pub invoice_id: InvoiceId,
    /// Issued, or paid at once when nothing is owed.
    pub status: InvoiceStatus,
    /// Who owes it.
    pub customer_id: CustomerId,
    /// For which subscription.
    pub subscription_id: SubscriptionId,
    /// For which product.
    pub product_id: ProductId,
    /// The period whose usage it bills.
    pub period: Option<Period>,
    /// Index of that period.
    pub closes_period: Option<u32>,
    /// When it is issued.
    pub issued_at: Timestamp,
    /// What every amount is in.
    pub currency: Currency,
    /// The lines.
    pub lines: Vec<InvoiceLine>,
    /// Sum of the lines.
    pub total: i64,
    /// Whether every live agent had delivered.
    pub complete: bool,
    /// The agents that had not.
    pub missing_agents: Vec<AgentId>,
}

/// Where an invoice stands.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceStatus {
    /// Owed.
    Issued,
    /// Settled, or nothing was owed.
    Paid,
    /// Withdrawn.
    Void,
}

/// One line: what it is for, and every number on the way to its amount.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct InvoiceLine {
    /// What kind of charge.
    pub kind: LineKind,
    /// What it is, for people.
    pub description: String,
    /// When the service was used; for a base fee, when it will be.
    pub service_period: Period,
    /// The meter, on all but base fees.
    pub meter_id: Option<MeterId>,
    /// Its name at issue.
    pub meter_name: Option<String>,
    /// How it aggregates.
    pub aggregation: Option<AggregationKind>,
    /// What `quantity` counts.
    pub measurement_unit: Option<String>,
    /// What was used; on an adjustment, all that is known now.
    pub quantity: Decimal,
    /// How much of it was free.
    pub free_quantity: Decimal,
    /// What credits paid, on lines of meters that burn credits.
    pub credits: Option<CreditUse>,
    /// What money pays: quantity − free − what credits paid − (on an adjustment) what was billed before.
    pub billed_quantity: Decimal,
    /// Price of one billed unit, in minor units.
    pub unit_price: Option<Decimal>,
    /// The amount before rounding, in minor units.
    pub amount_exact: Decimal,
    /// The amount in minor units, rounded once, half away from zero.
    pub amount: i64,
    /// On an adjustment: minor units already billed for this meter and service period.
    pub already_billed: Option<i64>,
    /// Events behind `quantity`; the sources' events add up to it.
    pub events: u64,
    /// Agents and frames whose rows contributed.
    pub sources: Vec<Source>,
}

/// Kinds of lines.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// The fixed fee, in advance.
    BaseFee,
    /// Metered usage, in arrears.
    Usage,
    /// Usage beyond the credits, at the price of a credit.
    CreditOverage,
    /// Late usage of a period that was already invoiced.
    Adjustment,
}

/// How credits paid for a line.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct CreditUse {
    /// The kind of credits.
    pub credit_entitlement_id: EntitlementId,
    /// Name of one credit.
    pub unit: String,
    /// How many units of the meter one credit buys.
    pub meter_units_per_credit: Decimal,
    /// Credits the chargeable units cost.
    pub credits_needed: Decimal,
    /// Credits that grants paid.
    pub credits_used: Decimal,
    /// Which grants paid how many.
    pub grants: Vec<GrantUse>,
    /// Credits that no grant covered.
    pub overage_credits: Decimal,
    /// Those of them that are invoiced; the rest is forgiven, or beyond the overage limit.
    pub overage_billed: Decimal,
}

/// Credits taken from one grant.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct GrantUse {
    /// The grant.
    pub grant_id: GrantId,
    /// How many.
    pub amount: Decimal,
}

impl NewInvoice {
    /// Issues the invoice under its number.
    #[must_use]
    pub fn issue(self, number: String) -> Invoice {
        Invoice {
            invoice_id: self.invoice_id,
            number,
            status: self.status,
            customer_id: self.customer_id,
            subscription_id: self.subscription_id,
            product_id: self.product_id,
            period: self.period,
            closes_period: self.closes_period,
            issued_at: self.issued_at,
            currency: self.currency,
            lines: self.lines,
            total: self.total,
            complete: self.complete,
            missing_agents: self.missing_agents,
        }
    }
}
