//! `/v1/payments`: what was asked for and received.

use axum::Json;
use axum::extract::{Path, State};

use super::error::ApiError;
use super::query::Query;
use super::reply::Items;
use super::state::ApiState;
use crate::billing::InvoiceId;
use crate::id::PaymentId;
use crate::payment::Payment;

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

/// Reads a payment that a caller names.
pub(super) async fn found(state: &ApiState, id: &str) -> Result<Payment, ApiError> {
    let payment = state.storage.payment(&PaymentId::from_text(id)).await?;
    payment.ok_or_else(|| ApiError::not_found("PAYMENT_NOT_FOUND", "payment", id))
}
