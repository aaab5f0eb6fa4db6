//! What may happen to an issued invoice: `POST /v1/invoices/{id}/pay`, `…/collect`, `…/void`, `…/credit-notes`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use submeter_common::time::Timestamp;
use uuid::Uuid;

use super::super::access::Caller;
use super::super::body::JsonBody;
use super::super::credit_notes::CreditNoteReply;
use super::super::error::ApiError;
use super::super::field::{check_name, check_text};
use super::super::state::ApiState;
use super::reply::InvoiceReply;
use super::{found, shown};
use crate::auth::ApiKey;
use crate::billing::change::{self, CreditRequest, CreditedAmount};
use crate::billing::{Invoice, InvoiceChange};
use crate::id::{CreditNoteId, PaymentId};
use crate::storage::{AuditEntry, ChangeOutcome};

/// Money that was received.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct PayRequest {
    /// Minor units; all that is due when absent.
    amount: Option<i64>,
    /// What the receipt is called elsewhere.
    reference: Option<String>,
    /// The same key is the same receipt, and is booked once.
    idempotency_key: Option<String>,
}

/// Why an invoice is withdrawn.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct VoidRequest {
    reason: Option<String>,
}

/// What is taken back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct CreditNoteRequest {
    /// Why, for people; it stands on the credit note.
    reason: String,
    /// All that is left of the invoice when absent.
    lines: Option<Vec<CreditedLineRequest>>,
    /// The same key is the same credit note.
    idempotency_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreditedLineRequest {
    /// From 1.
    line: u32,
    /// Minor units.
    amount: i64,
}

/// `POST /v1/invoices/{id}/pay`: books money that was received by hand.
pub(in super::super) async fn pay(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<PayRequest>,
) -> Result<Json<InvoiceReply>, ApiError> {
    let reference = request.reference;
    check_optional("reference", reference.as_deref())?;
    check_optional("idempotency_key", request.idempotency_key.as_deref())?;
    let invoice = found(&state, &id).await?;
    let state = state.in_time_of(invoice.customer_id.as_str()).await?;
    if let Some(receipt) = &request.idempotency_key {
        let payment = PaymentId::derived(&[invoice.invoice_id.as_str(), "hand", receipt]);
        if state.storage.payment(&payment).await?.is_some() {
            return shown(&state, invoice).await.map(Json);
        }
    }
    let receipt = request.idempotency_key.unwrap_or_else(fresh_key);
    let now = state.now();
    let change = change::receive(&invoice, request.amount, reference, &receipt, now)?;
    let entry = entry(
        &key,
        "invoice.paid",
        &invoice,
        now,
        json!({"amount": request.amount}),
    );
    write(&state, change.by(entry)).await?;
    let invoice = found(&state, &id).await?;
    shown(&state, invoice).await.map(Json)
}

/// `POST /v1/invoices/{id}/void`: withdraws it; its number stays taken.
pub(in super::super) async fn void(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<VoidRequest>,
) -> Result<Json<InvoiceReply>, ApiError> {
    if let Some(reason) = &request.reason {
        check_text("reason", reason)?;
    }
    let invoice = found(&state, &id).await?;
    let state = state.in_time_of(invoice.customer_id.as_str()).await?;
    let now = state.now();
    let change = change::void(&invoice, now)?;
    let detail = json!({"reason": request.reason});
    let entry = entry(&key, "invoice.voided", &invoice, now, detail);
    write(&state, change.by(entry)).await?;
    let invoice = found(&state, &id).await?;
    shown(&state, invoice).await.map(Json)
}

/// `POST /v1/invoices/{id}/credit-notes`: takes back some of it, or all that is left.
pub(in super::super) async fn credit(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<CreditNoteRequest>,
) -> Result<(StatusCode, Json<CreditNoteReply>), ApiError> {
    check_name("reason", &request.reason)?;
    check_optional("idempotency_key", request.idempotency_key.as_deref())?;
    let invoice = found(&state, &id).await?;
    let state = state.in_time_of(invoice.customer_id.as_str()).await?;
    if let Some(text) = &request.idempotency_key {
        let note = CreditNoteId::derived(&[invoice.invoice_id.as_str(), text]);
        if let Some(note) = state.storage.credit_note(&note).await? {
            return Ok((StatusCode::OK, Json(note.into())));
        }
    }
    let lines = request.lines.map(|lines| {
        let amount = |line: CreditedLineRequest| CreditedAmount {
            line: line.line,
            amount: line.amount,
        };
        lines.into_iter().map(amount).collect()
    });
    let wanted = CreditRequest {
        reason: request.reason,
        lines,
        key: request.idempotency_key.unwrap_or_else(fresh_key),
    };
    let now = state.now();
    let change = change::credit(&invoice, wanted, now)?;
    let entry = entry(&key, "invoice.credited", &invoice, now, json!({}));
    let note = write(&state, change.by(entry)).await?;
    let note = note.ok_or_else(|| ApiError::internal("a credit note was not issued"))?;
    Ok((StatusCode::CREATED, Json((*note).into())))
}

/// `POST /v1/invoices/{id}/collect`: asks for what is due now, whatever was planned.
pub(in super::super) async fn collect(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<InvoiceReply>), ApiError> {
    let invoice = found(&state, &id).await?;
    if state.collecting.gateway.is_none() {
        let message = "nobody can be asked for payments: set payment_gateway, or book what was received (POST /v1/invoices/{id}/pay)";
        return Err(ApiError::conflict("NO_PAYMENT_GATEWAY", message));
    }
    let state = state.in_time_of(invoice.customer_id.as_str()).await?;
    let now = state.now();
    let change = change::collect_at(&invoice, now)?;
    let entry = entry(&key, "invoice.collected", &invoice, now, json!({}));
    write(&state, change.by(entry)).await?;
    let invoice = found(&state, &id).await?;
    let invoice = shown(&state, invoice).await?;
    Ok((StatusCode::ACCEPTED, Json(invoice)))
}

async fn write(
    state: &ApiState,
    change: InvoiceChange,
) -> Result<Option<Box<crate::billing::CreditNote>>, ApiError> {
    let id = change.before.invoice_id.clone();
    match state.storage.change_invoice(change).await? {
        ChangeOutcome::Changed(note) => Ok(note),
        ChangeOutcome::Stale => Err(ApiError::concurrent_change("invoice", id.as_str())),
    }
}

fn check_optional(field: &'static str, text: Option<&str>) -> Result<(), ApiError> {
    text.map_or(Ok(()), |text| check_name(field, text))
}

/// A request without a key of its own is no repetition of another.
fn fresh_key() -> String {
    Uuid::new_v4().to_string()
}

fn entry(
    key: &ApiKey,
    action: &str,
    invoice: &Invoice,
    at: Timestamp,
    detail: serde_json::Value,
) -> AuditEntry {
    AuditEntry {
        at,
        actor: key.key_id.clone(),
        action: action.to_owned(),
        subject: invoice.invoice_id.to_string(),
        detail,
    }
}
