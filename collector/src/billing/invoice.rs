//! Invoices, and lines from which each amount can be derived again.

use crate::{
    id::{EntitlementId, GrantId, InvoiceId, PaymentId, ProductId, SubscriptionId, TestClockId},
    money::{Currency, Decimal},
    rating::Derivation,
    usage::Source,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use submeter_common::{
    id::{AgentId, CustomerId, MeterId},
    meter::AggregationKind,
    time::{Period, Timestamp},
};

/// An issued invoice. Its paper never changes: all but `status` and `collection` is as it was issued. Corrections are credit
/// notes, or lines on a later invoice.
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
    /// The test clock that it lives by, with its customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_clock: Option<TestClockId>,
    /// For which product.
    pub product_id: ProductId,
    /// The period whose usage it bills; none on the opening invoice, which has only the first base fee.
    pub period: Option<Period>,
    /// Index of that period.
    pub closes_period: Option<u32>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it is to be paid.
    pub due_at: Timestamp,
    /// What every amount is in.
    pub currency: Currency,
    /// The lines; their amounts sum to `total`.
    pub lines: Vec<InvoiceLine>,
    /// Minor units owed.
    pub total: i64,
    /// Minor units of them that the customer's wallet paid when it was issued.
    #[serde(default)]
    pub wallet_applied: i64,
    /// Whether every live agent had delivered everything of the period.
    pub complete: bool,
    /// The agents that had not, when the configured wait was over.
    pub missing_agents: Vec<AgentId>,
    /// What became of it since.
    #[serde(default)]
    pub collection: Collection,
}

/// What became of an invoice since it was issued.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Collection {
    /// Minor units received.
    pub paid: i64,
    /// Minor units that the customer's wallet paid since it was issued.
    #[serde(default)]
    pub from_wallet: i64,
    /// Minor units taken back by credit notes, by line (from 1).
    pub credited: BTreeMap<u32, i64>,
    /// When nothing was owed any more.
    pub closed_at: Option<Timestamp>,
    /// Payments asked for so far.
    pub attempts: u32,
    /// The payment that was asked for and not answered yet.
    pub open_payment: Option<PaymentId>,
    /// When a payment is asked for next; none after the last try.
    pub next_attempt_at: Option<Timestamp>,
    /// Since when it should have been paid.
    pub past_due_since: Option<Timestamp>,
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
    /// The test clock that it lives by.
    pub test_clock: Option<TestClockId>,
    /// For which product.
    pub product_id: ProductId,
    /// The period whose usage it bills.
    pub period: Option<Period>,
    /// Index of that period.
    pub closes_period: Option<u32>,
    /// When it is issued.
    pub issued_at: Timestamp,
    /// When it is to be paid.
    pub due_at: Timestamp,
    /// What every amount is in.
    pub currency: Currency,
    /// The lines.
    pub lines: Vec<InvoiceLine>,
    /// Sum of the lines.
    pub total: i64,
    /// What the wallet pays of it.
    pub wallet_applied: i64,
    /// Whether every live agent had delivered.
    pub complete: bool,
    /// The agents that had not.
    pub missing_agents: Vec<AgentId>,
}

/// Where an issued invoice stands. Before that it is a draft: the preview of an open period, or a
/// [`super::BlockedDraft`].
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
    /// What money pays: quantity − free − what credits paid − (on an adjustment) what was billed before; in priced units,
    /// where the price converts.
    pub billed_quantity: Decimal,
    /// Price of one billed unit in minor units, where one price holds for all of them.
    pub unit_price: Option<Decimal>,
    /// Step by step how the amount came about, where quantity, free part and one unit price do not say it all. On an
    /// adjustment, of everything known now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derivation: Option<Derivation>,
    /// The amount before rounding, in minor units.
    pub amount_exact: Decimal,
    /// The amount in minor units, rounded once, half away from zero.
    pub amount: i64,
    /// On an adjustment: minor units already billed for this meter and service period. On a corrected fee: of that fee.
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
    /// The fixed fee, in advance; with `already_billed`, the correction of one whose period was cut.
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
    /// Those of them that are invoiced; what is neither invoiced nor carried is forgiven, or beyond the overage limit.
    pub overage_billed: Decimal,
    /// Those of them that stay owed in credits.
    #[serde(default)]
    pub overage_carried: Decimal,
}

/// Credits taken from one grant.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct GrantUse {
    /// The grant.
    pub grant_id: GrantId,
    /// How many.
    pub amount: Decimal,
}

impl Invoice {
    /// Returns the minor units that credit notes took back.
    #[must_use]
    pub fn credited(&self) -> i64 {
        // Each credit note is checked against what is left of its line, so the sum is within the lines' sum.
        let notes = self.collection.credited.values();
        notes.fold(0, |sum, amount| sum.saturating_add(*amount))
    }

    /// Returns the minor units that the customer's wallet paid, when it was issued and since.
    #[must_use]
    pub fn from_wallet(&self) -> i64 {
        // Never more than the total.
        self.wallet_applied
            .saturating_add(self.collection.from_wallet)
    }

    /// Returns what the invoice holds on the customer's receivable account: owed, or negative in the customer's favour.
    #[must_use]
    pub fn receivable(&self) -> i64 {
        let claim = match self.status {
            InvoiceStatus::Void => 0,
            InvoiceStatus::Issued | InvoiceStatus::Paid => self
                .total
                .saturating_sub(self.credited())
                .saturating_sub(self.from_wallet()),
        };
        claim.saturating_sub(self.collection.paid)
    }

    /// Returns the minor units that are still to be paid.
    #[must_use]
    pub fn amount_due(&self) -> i64 {
        match self.status {
            InvoiceStatus::Issued => self.receivable().max(0),
            InvoiceStatus::Paid | InvoiceStatus::Void => 0,
        }
    }

    /// Tells whether `other` is the same paper, whatever became of it since it was issued.
    #[must_use]
    pub fn is_same_paper(&self, other: &Self) -> bool {
        let standing = |invoice: &Self| (invoice.status, invoice.collection.clone());
        let (status, collection) = standing(other);
        let here = Self {
            status,
            collection,
            ..self.clone()
        };
        here == *other
    }
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
            test_clock: self.test_clock,
            product_id: self.product_id,
            period: self.period,
            closes_period: self.closes_period,
            issued_at: self.issued_at,
            due_at: self.due_at,
            currency: self.currency,
            lines: self.lines,
            total: self.total,
            wallet_applied: self.wallet_applied,
            complete: self.complete,
            missing_agents: self.missing_agents,
            collection: Collection {
                closed_at: (self.status != InvoiceStatus::Issued).then_some(self.issued_at),
                next_attempt_at: (self.status == InvoiceStatus::Issued).then_some(self.due_at),
                ..Collection::default()
            },
        }
    }
}
