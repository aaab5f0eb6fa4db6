//! Invoices, their lines, and drafts in replies.

use serde::Serialize;
use submeter_common::id::{AgentId, CustomerId, MeterId};
use submeter_common::meter::AggregationKind;
use submeter_common::time::{Period, Timestamp};

use super::super::reply::{BUSINESS_ID, SourceReply};
use crate::billing::{
    BlockedDraft, CreditUse, Invoice, InvoiceId, InvoiceLine, InvoiceStatus, LineKind,
};
use crate::id::{EntitlementId, GrantId, PaymentId, ProductId, SubscriptionId};
use crate::money::{Currency, Decimal, Money};
use crate::payment::Payment;
use crate::rating::Derivation;

/// An invoice in replies.
#[derive(Serialize)]
pub(in super::super) struct InvoiceReply {
    invoice_id: InvoiceId,
    business_id: &'static str,
    number: String,
    status: InvoiceStatus,
    customer_id: CustomerId,
    subscription_id: SubscriptionId,
    product_id: ProductId,
    period: Option<PeriodReply>,
    closes_period: Option<u32>,
    issued_at: Timestamp,
    /// When it is to be paid.
    due_at: Timestamp,
    currency: Currency,
    /// Minor units.
    total: i64,
    /// The total for people: `124.00 USD`.
    total_text: String,
    /// Minor units received.
    amount_paid: i64,
    /// What the customer's wallet paid, when it was issued or since.
    amount_from_wallet: i64,
    /// Minor units taken back by credit notes.
    amount_credited: i64,
    /// Minor units still to be paid.
    amount_due: i64,
    /// When nothing was owed any more.
    closed_at: Option<Timestamp>,
    /// Since when it should have been paid.
    past_due_since: Option<Timestamp>,
    /// Payments asked for so far.
    attempts: u32,
    /// The payment that has no answer yet.
    open_payment: Option<PaymentId>,
    /// When a payment is asked for next.
    next_attempt_at: Option<Timestamp>,
    /// What was asked for or received, oldest first.
    payments: Vec<Payment>,
    complete: bool,
    missing_agents: Vec<AgentId>,
    lines: Vec<LineReply>,
}

/// The invoice of a period that cannot be billed.
#[derive(Serialize)]
pub(in super::super) struct DraftReply {
    invoice_id: InvoiceId,
    business_id: &'static str,
    /// None before it is issued.
    number: Option<String>,
    status: &'static str,
    customer_id: CustomerId,
    subscription_id: SubscriptionId,
    period: PeriodReply,
    closes_period: u32,
    /// Why it cannot be issued.
    reason: String,
    /// When that was found first.
    since: Timestamp,
}

impl From<BlockedDraft> for DraftReply {
    fn from(draft: BlockedDraft) -> Self {
        Self {
            invoice_id: draft.invoice_id,
            business_id: BUSINESS_ID,
            number: None,
            status: "draft",
            customer_id: draft.customer_id,
            subscription_id: draft.subscription_id,
            period: draft.period.into(),
            closes_period: draft.closes_period,
            reason: draft.reason,
            since: draft.since,
        }
    }
}

/// An entry of the list.
#[derive(Serialize)]
#[serde(untagged)]
pub(in super::super) enum Entry {
    /// Issued.
    Invoice(Box<InvoiceReply>),
    /// Not issued, and why.
    Draft(Box<DraftReply>),
}

/// A half-open stretch of time.
#[derive(Serialize)]
struct PeriodReply {
    start: Timestamp,
    end: Timestamp,
}

impl From<Period> for PeriodReply {
    fn from(period: Period) -> Self {
        Self {
            start: period.start,
            end: period.end,
        }
    }
}

/// One line: every number on the way to its amount.
#[derive(Serialize)]
pub(in super::super) struct LineReply {
    kind: LineKind,
    description: String,
    service_period: PeriodReply,
    meter_id: Option<MeterId>,
    meter_name: Option<String>,
    aggregation: Option<AggregationKind>,
    measurement_unit: Option<String>,
    quantity: Decimal,
    free_quantity: Decimal,
    credits: Option<CreditsReply>,
    billed_quantity: Decimal,
    unit_price: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    derivation: Option<Derivation>,
    amount_exact: Decimal,
    amount: i64,
    already_billed: Option<i64>,
    events: u64,
    sources: Vec<SourceReply>,
}

/// How credits paid for a line.
#[derive(Serialize)]
struct CreditsReply {
    credit_entitlement_id: EntitlementId,
    unit: String,
    meter_units_per_credit: Decimal,
    credits_needed: Decimal,
    credits_used: Decimal,
    grants: Vec<GrantReply>,
    overage_credits: Decimal,
    overage_billed: Decimal,
}

#[derive(Serialize)]
struct GrantReply {
    grant_id: GrantId,
    amount: Decimal,
}

impl From<CreditUse> for CreditsReply {
    fn from(credits: CreditUse) -> Self {
        let grants = credits.grants.into_iter();
        Self {
            credit_entitlement_id: credits.credit_entitlement_id,
            unit: credits.unit,
            meter_units_per_credit: credits.meter_units_per_credit,
            credits_needed: credits.credits_needed,
            credits_used: credits.credits_used,
            grants: grants
                .map(|grant| GrantReply {
                    grant_id: grant.grant_id,
                    amount: grant.amount,
                })
                .collect(),
            overage_credits: credits.overage_credits,
            overage_billed: credits.overage_billed,
        }
    }
}

impl From<InvoiceLine> for LineReply {
    fn from(line: InvoiceLine) -> Self {
        Self {
            kind: line.kind,
            description: line.description,
            service_period: line.service_period.into(),
            meter_id: line.meter_id,
            meter_name: line.meter_name,
            aggregation: line.aggregation,
            measurement_unit: line.measurement_unit,
            quantity: line.quantity,
            free_quantity: line.free_quantity,
            credits: line.credits.map(CreditsReply::from),
            billed_quantity: line.billed_quantity,
            unit_price: line.unit_price,
            derivation: line.derivation,
            amount_exact: line.amount_exact,
            amount: line.amount,
            already_billed: line.already_billed,
            events: line.events,
            sources: line.sources.into_iter().map(SourceReply::from).collect(),
        }
    }
}

impl InvoiceReply {
    /// Writes an invoice with what was asked for or received for it.
    pub(super) fn new(invoice: Invoice, payments: Vec<Payment>) -> Self {
        let total = Money {
            minor: invoice.total,
            currency: invoice.currency,
        };
        Self {
            total_text: total.to_string(),
            amount_paid: invoice.collection.paid,
            amount_from_wallet: invoice.from_wallet(),
            amount_credited: invoice.credited(),
            amount_due: invoice.amount_due(),
            closed_at: invoice.collection.closed_at,
            past_due_since: invoice.collection.past_due_since,
            attempts: invoice.collection.attempts,
            next_attempt_at: invoice.collection.next_attempt_at,
            open_payment: invoice.collection.open_payment,
            payments,
            invoice_id: invoice.invoice_id,
            business_id: BUSINESS_ID,
            number: invoice.number,
            status: invoice.status,
            customer_id: invoice.customer_id,
            subscription_id: invoice.subscription_id,
            product_id: invoice.product_id,
            period: invoice.period.map(PeriodReply::from),
            closes_period: invoice.closes_period,
            issued_at: invoice.issued_at,
            due_at: invoice.due_at,
            currency: invoice.currency,
            total: invoice.total,
            complete: invoice.complete,
            missing_agents: invoice.missing_agents,
            lines: invoice.lines.into_iter().map(LineReply::from).collect(),
        }
    }
}
