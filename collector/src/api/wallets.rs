//! `/customers/{id}/wallets`: money that customers paid in advance.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use submeter_common::id::CustomerId;
use submeter_common::time::Timestamp;

use super::access::Caller;
use super::body::JsonBody;
use super::credits::Remark;
use super::customers;
use super::error::ApiError;
use super::query::Query;
use super::reply::{BUSINESS_ID, Items};
use super::state::ApiState;
use crate::bookkeeping::wallet::{self, Adjustment, WalletRefusal};
use crate::customer::Customer;
use crate::id::TransferId;
use crate::ledger::{Account, Books, Cause, Entry, LedgerUnit};
use crate::money::{Currency, Decimal};
use crate::storage::{EntryFilter, Page, PostOutcome};

/// How often an entry is decided anew before the caller is told to try again.
const DECISIONS_MAX: u32 = 20;

/// A wallet in replies.
#[derive(Serialize)]
pub(super) struct WalletReply {
    customer_id: CustomerId,
    currency: Currency,
    balance: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// All wallets of a customer.
#[derive(Serialize)]
pub(super) struct WalletsReply {
    items: Vec<WalletReply>,
    /// Official clients expect a sum in US dollars. Nothing is converted here: it is what is in the wallet of that currency.
    total_balance_usd: i64,
}

/// `GET /customers/{id}/wallets`: one for each currency in which there ever was money.
pub(super) async fn list(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<WalletsReply>, ApiError> {
    query.finish()?;
    let state = state.in_time_of(&id).await?;
    let customer = customers::find(&state, &id).await?;
    let books = state.storage.books(&customer.customer_id).await?;
    let mut items = Vec::new();
    for unit in books.units() {
        if let LedgerUnit::Money(currency) = unit
            && let Some(reply) = wallet_reply(&state, &customer, &books, *currency).await?
        {
            items.push(reply);
        }
    }
    Ok(Json(WalletsReply {
        items,
        total_balance_usd: wallet::balance(&books, Currency::USD),
    }))
}

/// Tells a wallet; none when it never held anything.
async fn wallet_reply(
    state: &ApiState,
    customer: &Customer,
    books: &Books,
    currency: Currency,
) -> Result<Option<WalletReply>, ApiError> {
    let newest = Page::new(0, 1);
    let entries = state
        .storage
        .entries(&customer.customer_id, &filter(Some(currency)), newest)
        .await?;
    Ok(entries.first().map(|entry| WalletReply {
        customer_id: customer.customer_id.clone(),
        currency,
        balance: wallet::balance(books, currency),
        created_at: customer.created_at,
        updated_at: entry.transfer.at,
    }))
}

fn filter(currency: Option<Currency>) -> EntryFilter {
    EntryFilter {
        unit: currency.map(LedgerUnit::Money),
        accounts: vec![Account::Wallet],
        ..EntryFilter::default()
    }
}

/// A movement of a wallet in replies.
#[derive(Serialize)]
pub(super) struct MovementReply {
    id: TransferId,
    business_id: &'static str,
    customer_id: CustomerId,
    currency: Currency,
    event_type: &'static str,
    is_credit: bool,
    amount: i64,
    before_balance: i64,
    after_balance: i64,
    reason: Option<String>,
    reference_object_id: Option<String>,
    created_at: Timestamp,
}

impl MovementReply {
    fn new(entry: Entry, currency: Currency) -> Self {
        let transfer = entry.transfer;
        let is_credit = transfer.credit == Account::Wallet;
        let minor = |amount: &Decimal| amount.to_i64().unwrap_or(i64::MAX);
        let (amount, after) = (minor(&transfer.amount), minor(&entry.standing.has));
        let before = if is_credit {
            after.saturating_sub(amount)
        } else {
            after.saturating_add(amount)
        };
        let event_type = match (&transfer.cause, is_credit) {
            (Cause::WalletApplied { .. }, false) => "payment",
            (Cause::WalletApplied { .. }, true) => "payment_reversal",
            _ => "merchant_adjustment",
        };
        Self {
            reference_object_id: transfer.cause.invoice_id().map(ToString::to_string),
            id: transfer.transfer_id,
            business_id: BUSINESS_ID,
            customer_id: transfer.customer_id,
            currency,
            event_type,
            is_credit,
            amount,
            before_balance: before,
            after_balance: after,
            reason: transfer.note.reason,
            created_at: transfer.at,
        }
    }
}

/// `GET /customers/{id}/wallets/ledger-entries?currency`, newest first.
pub(super) async fn movements(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut query: Query,
) -> Result<Json<Items<MovementReply>>, ApiError> {
    let page = query.page()?;
    let currency = query.text("currency")?;
    let currency = currency
        .map(|code| Currency::parse(&code).map_err(|error| ApiError::field("currency", error)))
        .transpose()?;
    query.finish()?;
    let state = state.in_time_of(&id).await?;
    let customer = customers::find(&state, &id).await?;
    let entries = state
        .storage
        .entries(&customer.customer_id, &filter(currency), page)
        .await?;
    let reply = |entry: Entry| match entry.transfer.unit {
        LedgerUnit::Money(currency) => Some(MovementReply::new(entry, currency)),
        LedgerUnit::Credits(_) => None,
    };
    Ok(Json(entries.into_iter().filter_map(reply).collect()))
}

/// Ways of an entry.
#[derive(Copy, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EntryType {
    Credit,
    Debit,
}

/// What puts money into a wallet or takes it out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryRequest {
    amount: i64,
    currency: Currency,
    entry_type: EntryType,
    idempotency_key: Option<String>,
    reason: Option<String>,
}

/// `POST /customers/{id}/wallets/ledger-entries`: answers the wallet. More than is in it is 400; a replayed key changes
/// nothing and answers the wallet as it is.
pub(super) async fn adjust(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<EntryRequest>,
) -> Result<Json<WalletReply>, ApiError> {
    if request.amount <= 0 {
        return Err(ApiError::field(
            "amount",
            "expected 1 or more minor units; entry_type says which way",
        ));
    }
    let state = state.in_time_of(&id).await?;
    let customer = customers::find(&state, &id).await?;
    let remark = Remark::check(&state, request.idempotency_key, request.reason, None)?;
    let amount = match request.entry_type {
        EntryType::Credit => request.amount,
        EntryType::Debit => -request.amount,
    };
    if post(&state, &customer, amount, request.currency, &remark).await? {
        state.audit(&key, "wallet.adjusted", &id).await?;
    }
    let books = state.storage.books(&customer.customer_id).await?;
    let reply = wallet_reply(&state, &customer, &books, request.currency).await?;
    reply
        .map(Json)
        .ok_or_else(|| ApiError::internal("a wallet that was just changed is gone"))
}

/// Writes the entry; false for a replayed key.
async fn post(
    state: &ApiState,
    customer: &Customer,
    amount: i64,
    currency: Currency,
    remark: &Remark,
) -> Result<bool, ApiError> {
    let customer_id = &customer.customer_id;
    let _turn = state.turns.of(customer_id).await;
    for _ in 0..DECISIONS_MAX {
        let books = state.storage.books(customer_id).await?;
        let key = wallet::transfer_key(&remark.key);
        if state
            .storage
            .entry_of_key(customer_id, &key)
            .await?
            .is_some()
        {
            return Ok(false);
        }
        let adjustment = Adjustment {
            customer_id: customer_id.clone(),
            currency,
            amount,
            key: &remark.key,
            note: remark.note.clone(),
            at: state.now(),
        };
        let posting = wallet::adjust(&books, adjustment)?;
        if state.storage.post(posting).await? == PostOutcome::Posted {
            return Ok(true);
        }
    }
    Err(ApiError::concurrent_change(
        "wallet of customer",
        customer_id.as_str(),
    ))
}

impl From<WalletRefusal> for ApiError {
    fn from(refusal: WalletRefusal) -> Self {
        let code = match refusal {
            WalletRefusal::Insufficient { .. } => "INSUFFICIENT_BALANCE",
            WalletRefusal::Full => "AMOUNT_TOO_LARGE",
        };
        let message = format!("amount: {refusal}");
        ApiError::of_field(StatusCode::BAD_REQUEST, code, "amount", message)
    }
}
