//! `/v1/credit-notes`: what was taken back of invoices.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use submeter_common::id::CustomerId;

use super::error::ApiError;
use super::query::Query;
use super::reply::Items;
use super::state::ApiState;
use crate::billing::{CreditNote, InvoiceId};
use crate::id::CreditNoteId;
use crate::money::Money;
use crate::storage::CreditNoteFilter;

/// A credit note in replies.
#[derive(Serialize)]
pub(super) struct CreditNoteReply {
    #[serde(flatten)]
    note: CreditNote,
    /// The total for people.
    total_text: String,
}

impl From<CreditNote> for CreditNoteReply {
    fn from(note: CreditNote) -> Self {
        let total = Money {
            minor: note.note.total,
            currency: note.note.currency,
        };
        Self {
            total_text: total.to_string(),
            note,
        }
    }
}

/// `GET /v1/credit-notes?customer_id&invoice_id`, newest first.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<CreditNoteReply>>, ApiError> {
    let page = query.page()?;
    let customer_id = query.text("customer_id")?;
    let filter = CreditNoteFilter {
        customer_id: customer_id.map(CustomerId::new).transpose()?,
        invoice_id: query.text("invoice_id")?.map(InvoiceId::from_text),
    };
    query.finish()?;
    let notes = state.storage.credit_notes(&filter, page).await?;
    Ok(Json(notes.into_iter().map(CreditNoteReply::from).collect()))
}

/// `GET /v1/credit-notes/{id}`.
pub(super) async fn get(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<CreditNoteReply>, ApiError> {
    let found = state
        .storage
        .credit_note(&CreditNoteId::from_text(id.as_str()))
        .await?;
    found
        .map(|note| Json(note.into()))
        .ok_or_else(|| ApiError::not_found("CREDIT_NOTE_NOT_FOUND", "credit note", &id))
}
