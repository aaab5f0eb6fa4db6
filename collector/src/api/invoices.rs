//! `/v1/invoices`: what was issued, every line with its whole derivation; paying it, taking it back, withdrawing it.

mod change;
mod explain;
mod html;
mod pdf;
mod reply;

pub(super) use change::{collect, credit, pay, void};
pub(super) use explain::explain;
pub(super) use html::html;
pub(super) use pdf::pdf;
pub(super) use reply::{InvoiceReply, LineReply};

use axum::Json;
use axum::extract::{Path, State};
use submeter_common::id::CustomerId;

use super::error::ApiError;
use super::query::Query;
use super::reply::Items;
use super::state::ApiState;
use crate::billing::{Invoice, InvoiceId, InvoiceStatus};
use crate::id::SubscriptionId;
use crate::storage::InvoiceFilter;
use reply::Entry;

/// `GET /v1/invoices?customer_id&subscription_id&status`, newest first. With `status=draft`: the periods that have ended and
/// cannot be billed, with the reason; those of one customer or subscription where told.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<Entry>>, ApiError> {
    let page = query.page()?;
    let customer_id = query.text("customer_id")?;
    let filter = InvoiceFilter {
        customer_id: customer_id.map(CustomerId::new).transpose()?,
        subscription_id: query
            .text("subscription_id")?
            .map(SubscriptionId::from_text),
        status: None,
    };
    let status = query.text("status")?;
    query.finish()?;
    let status = match status.as_deref() {
        None => None,
        Some("issued") => Some(InvoiceStatus::Issued),
        Some("paid") => Some(InvoiceStatus::Paid),
        Some("void") => Some(InvoiceStatus::Void),
        Some("draft") => {
            let drafts = state.storage.blocked_drafts(&filter, page).await?;
            let entries = drafts
                .into_iter()
                .map(|draft| Entry::Draft(Box::new(draft.into())));
            return Ok(Json(entries.collect()));
        }
        Some(other) => {
            let expected = format!("expected draft, issued, paid or void, found `{other}`");
            return Err(ApiError::field("status", expected));
        }
    };
    let filter = InvoiceFilter { status, ..filter };
    let invoices = state.storage.invoices(&filter, page).await?;
    let mut entries = Vec::with_capacity(invoices.len());
    for invoice in invoices {
        let invoice = shown(&state, invoice).await?;
        entries.push(Entry::Invoice(Box::new(invoice)));
    }
    Ok(Json(Items::new(entries)))
}

/// `GET /v1/invoices/{id}`.
pub(super) async fn get(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<InvoiceReply>, ApiError> {
    let invoice = found(&state, &id).await?;
    shown(&state, invoice).await.map(Json)
}

/// Reads an invoice that a caller names.
async fn found(state: &ApiState, id: &str) -> Result<Invoice, ApiError> {
    let invoice = state.storage.invoice(&InvoiceId::from_text(id)).await?;
    invoice.ok_or_else(|| ApiError::not_found("INVOICE_NOT_FOUND", "invoice", id))
}

/// Adds what was asked for or received for an invoice.
async fn shown(state: &ApiState, invoice: Invoice) -> Result<InvoiceReply, ApiError> {
    let payments = state.storage.payments(&invoice.invoice_id).await?;
    Ok(InvoiceReply::new(invoice, payments))
}
