//! `/v1/…/ledger`: the chain as it is, what it comes to, and adding it up again.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use submeter_common::id::CustomerId;

use super::super::access::Caller;
use super::super::customers;
use super::super::error::ApiError;
use super::super::query::Query;
use super::super::reply::Items;
use super::super::state::ApiState;
use crate::ledger::{Account, Entry, Fault, LedgerUnit, Side};
use crate::money::Decimal;
use crate::storage::{EntryFilter, RebuildOutcome};

/// Ledgers looked at by one request.
const LEDGERS_MAX: u32 = 1000;

/// What adding one ledger up again came to.
#[derive(Serialize)]
pub(in super::super) struct AuditReply {
    customer_id: CustomerId,
    entries: u64,
    head: String,
    faults: Vec<String>,
}

/// `GET /v1/customers/{id}/ledger`: every entry with its digest, newest first.
pub(in super::super) async fn list(
    State(state): State<ApiState>,
    Path(customer): Path<String>,
    mut query: Query,
) -> Result<Json<Items<Entry>>, ApiError> {
    let page = query.page()?;
    query.finish()?;
    let customer = customers::find(&state, &customer).await?;
    let all = EntryFilter::default();
    let entries = state
        .storage
        .entries(&customer.customer_id, &all, page)
        .await?;
    Ok(Json(Items::new(entries)))
}

/// What the accounts of one unit hold.
#[derive(Serialize)]
pub(in super::super) struct UnitReply {
    unit: LedgerUnit,
    /// On the side on which each grows.
    accounts: BTreeMap<Account, Decimal>,
    debits: Decimal,
    credits: Decimal,
}

/// `GET /v1/customers/{id}/ledger/accounts`: the balance of every account that was ever moved, unit by unit. Debits equal
/// credits, or it would not be answered.
pub(in super::super) async fn accounts(
    State(state): State<ApiState>,
    Path(customer): Path<String>,
    query: Query,
) -> Result<Json<Items<UnitReply>>, ApiError> {
    query.finish()?;
    let customer = customers::find(&state, &customer).await?;
    let books = state.storage.books(&customer.customer_id).await?;
    let mut units = Vec::new();
    for unit in books.units() {
        let mut reply = UnitReply {
            unit: unit.clone(),
            accounts: BTreeMap::new(),
            debits: Decimal::zero(),
            credits: Decimal::zero(),
        };
        for (account, balance) in books.accounts(unit) {
            match account.side() {
                Side::Debit => reply.debits += &balance,
                Side::Credit => reply.credits += &balance,
            }
            reply.accounts.insert(account, balance);
        }
        units.push(reply);
    }
    Ok(Json(Items::new(units)))
}

/// `GET /v1/ledgers/audit?customer_id&after&limit`: adds ledgers up again, customer by customer in order of their ids, and
/// tells what is not as it was written. An answer that is full goes on behind its last customer.
pub(in super::super) async fn audit(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<AuditReply>>, ApiError> {
    let only = query.text("customer_id")?;
    let after = query.text("after")?.map(CustomerId::new).transpose()?;
    let limit = query.number("limit", 1, LEDGERS_MAX, 100)?;
    query.finish()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let customers = match only {
        Some(customer) => vec![customers::find(&state, &customer).await?.customer_id],
        None => state.storage.ledgers(after.as_ref(), limit).await?,
    };
    let mut replies = Vec::with_capacity(customers.len());
    for customer_id in customers {
        let faults = state.storage.audit_ledger(&customer_id).await?;
        let books = state.storage.books(&customer_id).await;
        let (entries, head) = books.map_or((0, String::new()), |books| {
            (books.entries, books.head.to_string())
        });
        replies.push(AuditReply {
            customer_id,
            entries,
            head,
            faults: faults.iter().map(ToString::to_string).collect(),
        });
    }
    Ok(Json(Items::new(replies)))
}

/// What rebuilding came to.
#[derive(Serialize)]
pub(in super::super) struct RebuiltReply {
    outcome: &'static str,
    /// What was not as it was written.
    faults: Vec<String>,
    /// Those of them that no entry can bring back.
    lost: Vec<String>,
}

/// `POST /v1/customers/{id}/ledger/rebuild`: writes balances and grants anew from the entries, where they differ.
pub(in super::super) async fn rebuild(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(customer): Path<String>,
) -> Result<Json<RebuiltReply>, ApiError> {
    let customer = customers::find(&state, &customer).await?;
    let outcome = state.storage.rebuild_ledger(&customer.customer_id).await?;
    let (outcome, faults, lost) = match outcome {
        RebuildOutcome::Unchanged => ("unchanged", Vec::new(), Vec::new()),
        RebuildOutcome::Rebuilt { rebuilt, lost } => ("rebuilt", rebuilt, lost),
        RebuildOutcome::Damaged(fault) => ("damaged", vec![*fault], Vec::new()),
    };
    let id = customer.customer_id.as_str();
    state.audit(&key, "ledger.rebuilt", id).await?;
    let told = |faults: &[Fault]| faults.iter().map(ToString::to_string).collect();
    Ok(Json(RebuiltReply {
        outcome,
        lost: told(&lost),
        faults: told(&[faults, lost].concat()),
    }))
}
