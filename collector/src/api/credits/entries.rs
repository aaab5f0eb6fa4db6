//! Ledger entries of a customer's credits: the list, and adding one by hand.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use submeter_common::id::CustomerId;
use submeter_common::time::Timestamp;

use super::super::access::Caller;
use super::super::body::JsonBody;
use super::super::error::ApiError;
use super::super::field::Exact;
use super::super::query::Query;
use super::super::reply::Items;
use super::super::state::ApiState;
use super::grants::{PRIORITY_DEFAULT, give};
use super::{Place, Remark, replayed, unit_of};
use crate::bookkeeping::CreditEntry;
use crate::bookkeeping::teller::{self, NewGrant, Order};
use crate::credits::GrantSource;
use crate::id::{EntitlementId, GrantId, TransferId};
use crate::ledger::{Account, TransactionType};
use crate::metadata::Metadata;
use crate::money::Decimal;
use crate::storage::EntryFilter;

/// `GET /credit-entitlements/{id}/balances/{customer}/ledger`, newest first: what was booked. Open periods are booked at
/// their close.
pub(in super::super) async fn list(
    State(state): State<ApiState>,
    Path((id, customer)): Path<(String, String)>,
    mut query: Query,
) -> Result<Json<Items<CreditEntry>>, ApiError> {
    let page = query.page()?;
    let kind = query.text("transaction_type")?;
    let transaction_type = kind.as_deref().map(parse_type).transpose()?;
    let (from, until) = (query.time("start_date")?, query.time("end_date")?);
    query.finish()?;
    let state = state.in_time_of(&customer).await?;
    let place = Place::find(&state, &id, &customer).await?;
    let filter = EntryFilter {
        unit: Some(unit_of(&place.entitlement.id)),
        accounts: vec![Account::CreditsAvailable, Account::CreditsOwed],
        transaction_type,
        from,
        until,
    };
    let entries = state
        .storage
        .entries(&place.customer_id, &filter, page)
        .await?;
    Ok(Json(entries.iter().filter_map(CreditEntry::of).collect()))
}

fn parse_type(text: &str) -> Result<TransactionType, ApiError> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|_| {
        ApiError::field(
            "transaction_type",
            format!("expected a kind of transaction such as credit_added, found `{text}`"),
        )
    })
}

/// Ways of an entry.
#[derive(Copy, Clone, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum EntryType {
    Credit,
    Debit,
}

/// What adds an entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct CreateRequest {
    amount: Exact,
    entry_type: EntryType,
    expires_at: Option<Timestamp>,
    idempotency_key: Option<String>,
    metadata: Option<Metadata>,
    reason: Option<String>,
}

/// What adding an entry came to.
#[derive(Serialize)]
pub(in super::super) struct CreatedReply {
    id: TransferId,
    credit_entitlement_id: EntitlementId,
    customer_id: CustomerId,
    entry_type: EntryType,
    is_credit: bool,
    amount: Decimal,
    balance_before: Decimal,
    balance_after: Decimal,
    overage_before: Decimal,
    overage_after: Decimal,
    grant_id: Option<GrantId>,
    reason: Option<String>,
    metadata: Metadata,
    created_at: Timestamp,
}

/// `POST /credit-entitlements/{id}/balances/{customer}/ledger-entries`: gives credits or takes them. More than is available is
/// 400; a replayed key is 409.
pub(in super::super) async fn create(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path((id, customer)): Path<(String, String)>,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<(StatusCode, Json<CreatedReply>), ApiError> {
    let state = state.in_time_of(&customer).await?;
    let place = Place::find(&state, &id, &customer).await?;
    let amount = Decimal::from(request.amount);
    place.check_amount(&amount)?;
    let metadata = request.metadata;
    let remark = Remark::check(&state, request.idempotency_key, request.reason, metadata)?;
    let (entry_type, expires_at) = (request.entry_type, request.expires_at);
    if entry_type == EntryType::Debit && expires_at.is_some() {
        return Err(ApiError::field(
            "expires_at",
            "expected it only with entry_type credit",
        ));
    }
    let before = match entry_type {
        EntryType::Credit => credit(&state, &place, &amount, expires_at, &remark).await?,
        EntryType::Debit => debit(&state, &place, &amount, &remark).await?,
    };
    let before = before.ok_or_else(|| replayed(&remark.key))?;
    let entry = place.entry_of(&state, &remark.key).await?;
    let entry =
        entry.ok_or_else(|| ApiError::internal("an entry that was just written is gone"))?;
    let transfer = entry.transfer;
    state
        .audit(&key, "credits.adjusted", transfer.transfer_id.as_str())
        .await?;
    let is_credit = entry_type == EntryType::Credit;
    let balance_after = if is_credit {
        &(&before.balance + &amount) - &before.repaid
    } else {
        &before.balance - &amount
    };
    let reply = CreatedReply {
        grant_id: transfer.cause.grant_id().cloned(),
        id: transfer.transfer_id,
        credit_entitlement_id: place.entitlement.id,
        customer_id: place.customer_id,
        entry_type,
        is_credit,
        amount,
        balance_before: before.balance,
        balance_after,
        overage_after: &before.overage - &before.repaid,
        overage_before: before.overage,
        reason: transfer.note.reason,
        metadata: transfer.note.metadata,
        created_at: transfer.at,
    };
    Ok((StatusCode::CREATED, Json(reply)))
}

/// Where a customer stood before an entry, and how much overage the entry repaid.
struct Before {
    balance: Decimal,
    overage: Decimal,
    repaid: Decimal,
}

async fn credit(
    state: &ApiState,
    place: &Place,
    amount: &Decimal,
    expires_at: Option<Timestamp>,
    remark: &Remark,
) -> Result<Option<Before>, ApiError> {
    let new = NewGrant {
        source: GrantSource::Api,
        amount: amount.clone(),
        priority: PRIORITY_DEFAULT,
        effective_at: state.now(),
        expires_at,
        metadata: remark.note.metadata.clone(),
        repays_overage: false,
    };
    let given = give(state, place, new, remark).await?;
    Ok(given.map(|(holdings, grant)| Before {
        balance: holdings.available(state.now()),
        overage: holdings.overage(),
        repaid: &grant.amount - &grant.remaining,
    }))
}

async fn debit(
    state: &ApiState,
    place: &Place,
    amount: &Decimal,
    remark: &Remark,
) -> Result<Option<Before>, ApiError> {
    place
        .decide(state, &remark.key, |holdings| {
            let order = Order {
                key: &remark.key,
                note: remark.note.clone(),
                at: state.now(),
            };
            let posting = teller::debit(holdings, amount, &order)?;
            let before = Before {
                balance: holdings.available(order.at),
                overage: holdings.overage(),
                repaid: Decimal::zero(),
            };
            Ok((posting, before))
        })
        .await
}
