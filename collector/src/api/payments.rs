//! `/v1/payments`: what was asked for and received, and how it ended.

use axum::Json;
use axum::extract::{Path, State};

use serde::Deserialize;
use serde_json::json;

use super::access::Caller;
use super::body::JsonBody;
use super::error::ApiError;
use super::field::check_name;
use super::query::Query;
use super::reply::Items;
use super::state::ApiState;
use crate::billing::InvoiceId;
use crate::billing::collect::{self, Outcome};
use crate::id::PaymentId;
use crate::payment::Payment;
use crate::storage::AuditEntry;

/// `GET /v1/payments?invoice_id`, oldest first.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<Payment>>, ApiError> {
    let invoice = InvoiceId::from_text(query.required("invoice_id")?);
    let page = query.page()?;
    query.finish()?;
    let payments = state.storage.payments(&invoice).await?;
    Ok(Json(Items::new(page.of(payments.into_iter()))))
}

/// `GET /v1/payments/{id}`.
pub(super) async fn get(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<Payment>, ApiError> {
    found(&state, &id).await.map(Json)
}

/// How a payment ended.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerRequest {
    status: AnswerStatus,
    /// What the gateway calls it.
    reference: Option<String>,
    /// Why it was refused.
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum AnswerStatus {
    Succeeded,
    Failed,
}

impl AnswerRequest {
    fn outcome(self) -> Result<Outcome, ApiError> {
        if let Some(reference) = &self.reference {
            check_name("reference", reference)?;
        }
        let reference = self.reference;
        match (self.status, self.reason) {
            (AnswerStatus::Succeeded, None) => Ok(Outcome::Succeeded { reference }),
            (AnswerStatus::Succeeded, Some(_)) => Err(ApiError::field(
                "reason",
                "expected only with the status failed",
            )),
            (AnswerStatus::Failed, Some(reason)) => {
                check_name("reason", &reason)?;
                Ok(Outcome::Failed { reason, reference })
            }
            (AnswerStatus::Failed, None) => Err(ApiError::invalid(
                "MISSING_FIELD",
                "reason",
                "expected why the payment was refused",
            )),
        }
    }
}

/// `POST /v1/payments/{id}/answer`: the merchant's service says later how a payment ended. The same answer twice is one.
pub(super) async fn answer(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<AnswerRequest>,
) -> Result<Json<Payment>, ApiError> {
    let outcome = request.outcome()?;
    let payment = found(&state, &id).await?;
    let state = state.in_time_of(payment.customer_id.as_str()).await?;
    let entry = AuditEntry {
        at: state.now(),
        actor: key.key_id.clone(),
        action: "payment.answered".to_owned(),
        subject: payment.payment_id.to_string(),
        detail: match &outcome {
            Outcome::Succeeded { .. } => json!({"status": "succeeded"}),
            Outcome::Failed { reason, .. } => json!({"status": "failed", "reason": reason}),
        },
    };
    let (terms, id) = (&state.collecting.terms, &payment.payment_id);
    let entry = Some(&entry);
    let answered = collect::answer(&*state.storage, terms, id, &outcome, entry, state.now());
    Ok(Json(answered.await?))
}

/// Reads a payment that a caller names.
async fn found(state: &ApiState, id: &str) -> Result<Payment, ApiError> {
    let payment = state.storage.payment(&PaymentId::from_text(id)).await?;
    payment.ok_or_else(|| ApiError::not_found("PAYMENT_NOT_FOUND", "payment", id))
}
