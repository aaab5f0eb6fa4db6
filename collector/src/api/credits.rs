//! Credits of customers: balances, grants, ledger entries and reservations.
//!
//! Whatever changes credits is decided on what the customer holds now, open periods included, and written only over that:
//! when something else changed it meanwhile, it is decided anew.

pub(super) mod balances;
pub(super) mod entries;
pub(super) mod grants;
pub(super) mod ledger;
pub(super) mod reservations;
pub(super) mod usage;

use axum::http::StatusCode;
use submeter_common::id::CustomerId;

use super::customers;
use super::error::ApiError;
use super::field::{check_metadata, check_name, check_text};
use super::state::ApiState;
use crate::billing;
use crate::bookkeeping::teller::{self, Refusal, transfer_key};
use crate::bookkeeping::{Holdings, Posting};
use crate::credits::{CreditEntitlement, check_credits};
use crate::id::{EntitlementId, fresh};
use crate::ledger::{Entry, Note};
use crate::metadata::Metadata;
use crate::money::Decimal;
use crate::storage::PostOutcome;

/// How often a decision is made anew before the caller is told to try again. Requests on one customer wait for each other, so
/// only billing and other processes come in between.
const DECISIONS_MAX: u32 = 20;

/// Credits of one kind of one customer.
pub(super) struct Place {
    pub(super) customer_id: CustomerId,
    pub(super) entitlement: CreditEntitlement,
}

impl Place {
    /// Finds both, or answers 404.
    async fn find(state: &ApiState, entitlement: &str, customer: &str) -> Result<Self, ApiError> {
        let entitlement = super::credit_entitlements::find(state, entitlement).await?;
        let customer_id = customers::find(state, customer).await?.customer_id;
        Ok(Self {
            customer_id,
            entitlement,
        })
    }

    /// Reads what is held there now.
    async fn holdings(&self, state: &ApiState) -> Result<Holdings, ApiError> {
        let (customer, entitlement) = (&self.customer_id, &self.entitlement.id);
        Ok(billing::holdings(&*state.storage, customer, entitlement, state.now()).await?)
    }

    /// Checks an amount of these credits.
    fn check_amount(&self, amount: &Decimal) -> Result<(), ApiError> {
        Ok(check_credits("amount", amount, self.entitlement.precision)?)
    }

    /// Returns the entry that a request with this key made, if one did.
    async fn entry_of(&self, state: &ApiState, key: &str) -> Result<Option<Entry>, ApiError> {
        let key = transfer_key(self.entitlement.id.as_str(), key, 0);
        let entry = state.storage.entry_of_key(&self.customer_id, &key).await?;
        Ok(entry)
    }

    /// Decides on what is held there now and writes the decision; `None` when a request with this key was answered before.
    async fn decide<T>(
        &self,
        state: &ApiState,
        key: &str,
        decision: impl Fn(&Holdings) -> Result<(Posting, T), ApiError>,
    ) -> Result<Option<T>, ApiError> {
        let _turn = state.turns.of(&self.customer_id).await;
        for _ in 0..DECISIONS_MAX {
            let holdings = self.holdings(state).await?;
            // After the books: a request that comes in between makes this decision stale.
            if self.entry_of(state, key).await?.is_some() {
                return Ok(None);
            }
            if !holdings.due.is_empty() {
                // Stale or not: what is held is read again.
                let _ = state
                    .storage
                    .post(teller::begin(&holdings, state.now()))
                    .await?;
                continue;
            }
            let (posting, answer) = decision(&holdings)?;
            if posting.is_empty() {
                return Ok(Some(answer));
            }
            match state.storage.post(posting).await? {
                PostOutcome::Posted => return Ok(Some(answer)),
                PostOutcome::Stale => {}
            }
        }
        Err(ApiError::concurrent_change(
            "ledger of customer",
            self.customer_id.as_str(),
        ))
    }
}

/// What every request that moves something may bring along.
pub(super) struct Remark {
    pub(super) key: String,
    pub(super) note: Note,
}

impl Remark {
    /// Checks the fields; a request without a key gets one of its own.
    pub(super) fn check(
        state: &ApiState,
        idempotency_key: Option<String>,
        reason: Option<String>,
        metadata: Option<Metadata>,
    ) -> Result<Self, ApiError> {
        if let Some(key) = &idempotency_key {
            check_name("idempotency_key", key)?;
        }
        if let Some(reason) = &reason {
            check_text("reason", reason)?;
        }
        let metadata = metadata.unwrap_or_default();
        check_metadata(&metadata)?;
        Ok(Self {
            key: idempotency_key.unwrap_or_else(|| fresh("req_", state.now())),
            note: Note { reason, metadata },
        })
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Insufficient { .. } => ApiError::of_field(
                StatusCode::BAD_REQUEST,
                "INSUFFICIENT_CREDITS",
                "amount",
                format!("amount: {refusal}"),
            ),
            Refusal::Ended(_) => ApiError::conflict("RESERVATION_ENDED", refusal.to_string()),
        }
    }
}

/// 409 for a key that was used before: the first request was done, and this one does nothing.
pub(super) fn replayed(key: &str) -> ApiError {
    let message = format!("a request with the idempotency_key `{key}` was answered before");
    ApiError::conflict("IDEMPOTENCY_KEY_REUSED", message)
}

fn unit_of(entitlement: &EntitlementId) -> crate::ledger::LedgerUnit {
    crate::ledger::LedgerUnit::Credits(entitlement.clone())
}
