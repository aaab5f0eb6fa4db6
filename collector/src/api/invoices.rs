//! `/v1/invoices`: what was issued, every line with its whole derivation.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use submeter_common::id::{AgentId, CustomerId, MeterId};
use submeter_common::meter::AggregationKind;
use submeter_common::time::{Period, Timestamp};

use super::error::ApiError;
use super::query::Query;
use super::reply::{BUSINESS_ID, Items, SourceReply};
use super::state::ApiState;
use crate::billing::{CreditUse, Invoice, InvoiceId, InvoiceLine, InvoiceStatus, LineKind};
use crate::id::{EntitlementId, GrantId, ProductId, SubscriptionId};
use crate::money::{Currency, Decimal, Money};
use crate::storage::InvoiceFilter;

/// An invoice in replies.
#[derive(Serialize)]
pub(super) struct InvoiceReply {
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
    currency: Currency,
    /// Minor units.
    total: i64,
    /// The total for people: `124.00 USD`.
    total_text: String,
    complete: bool,
    missing_agents: Vec<AgentId>,
    lines: Vec<LineReply>,
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
struct LineReply {
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
            amount_exact: line.amount_exact,
            amount: line.amount,
            already_billed: line.already_billed,
            events: line.events,
            sources: line.sources.into_iter().map(SourceReply::from).collect(),
        }
    }
}

impl From<Invoice> for InvoiceReply {
    fn from(invoice: Invoice) -> Self {
        let total = Money {
            minor: invoice.total,
            currency: invoice.currency,
        };
        Self {
            total_text: total.to_string(),
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
            currency: invoice.currency,
            total: invoice.total,
            complete: invoice.complete,
            missing_agents: invoice.missing_agents,
            lines: invoice.lines.into_iter().map(LineReply::from).collect(),
        }
    }
}

/// `GET /v1/invoices?customer_id&subscription_id`, newest first.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<InvoiceReply>>, ApiError> {
    let page = query.page()?;
    let filter = InvoiceFilter {
        customer_id: query
            .text("customer_id")?
            .map(CustomerId::new)
            .transpose()?,
        subscription_id: query
            .text("subscription_id")?
            .map(SubscriptionId::from_text),
    };
    query.finish()?;
    let invoices = state.storage.invoices(&filter, page).await?;
    Ok(Json(invoices.into_iter().map(InvoiceReply::from).collect()))
}

/// `GET /v1/invoices/{id}`.
pub(super) async fn get(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<InvoiceReply>, ApiError> {
    let found = state
        .storage
        .invoice(&InvoiceId::from_text(id.as_str()))
        .await?;
    found
        .map(|invoice| Json(invoice.into()))
        .ok_or_else(|| ApiError::not_found("INVOICE_NOT_FOUND", "invoice", &id))
}
