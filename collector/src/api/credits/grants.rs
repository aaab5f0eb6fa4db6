//! Grants: lists of them, giving credits, and taking them back.

use axum::Json;
use axum::extract::{Path, State};
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
use super::{Place, Remark, replayed};
use crate::bookkeeping::teller::{self, NewGrant, Order};
use crate::credits::{Grant, GrantSource, OverageBehavior};
use crate::id::{EntitlementId, GrantId};
use crate::metadata::Metadata;
use crate::money::Decimal;

/// Where grants of the API stand in the order of burning when nothing is said: with those of subscriptions.
pub(super) const PRIORITY_DEFAULT: u32 = 10;

/// A grant in replies.
#[derive(Serialize)]
pub(in super::super) struct GrantReply {
    id: GrantId,
    credit_entitlement_id: EntitlementId,
    customer_id: CustomerId,
    initial_amount: Decimal,
    remaining_amount: Decimal,
    held_amount: Decimal,
    expired_amount: Decimal,
    priority: u32,
    effective_at: Timestamp,
    expires_at: Option<Timestamp>,
    is_expired: bool,
    is_rolled_over: bool,
    rollover_count: u32,
    source_type: &'static str,
    source_id: Option<String>,
    parent_grant_id: Option<GrantId>,
    metadata: Metadata,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl GrantReply {
    pub(super) fn new(grant: Grant, now: Timestamp) -> Self {
        Self {
            id: grant.grant_id,
            credit_entitlement_id: grant.credit_entitlement_id,
            customer_id: grant.customer_id,
            initial_amount: grant.amount,
            remaining_amount: grant.remaining,
            held_amount: grant.held,
            expired_amount: grant.expired,
            priority: grant.priority,
            effective_at: grant.effective_at,
            expires_at: grant.expires_at,
            is_expired: grant.expires_at.is_some_and(|end| end <= now),
            is_rolled_over: grant.source == GrantSource::Rollover,
            rollover_count: grant.rollover_count,
            source_type: source(grant.source),
            source_id: grant.subscription_id.map(|id| id.to_string()),
            parent_grant_id: grant.parent_grant_id,
            metadata: grant.metadata,
            created_at: grant.created_at,
            updated_at: grant.updated_at,
        }
    }
}

/// The source in the words of official clients, which know no trials.
const fn source(source: GrantSource) -> &'static str {
    match source {
        GrantSource::Subscription | GrantSource::Trial => "subscription",
        GrantSource::OneTime => "one_time",
        GrantSource::Api => "api",
        GrantSource::Rollover => "rollover",
    }
}

/// Which grants to list.
#[derive(Copy, Clone, Eq, PartialEq)]
enum Status {
    Active,
    Expired,
    Depleted,
}

impl Status {
    fn of(grant: &Grant, now: Timestamp) -> Self {
        if grant.expires_at.is_some_and(|end| end <= now) {
            Self::Expired
        } else if grant.remaining.is_zero() && grant.held.is_zero() {
            Self::Depleted
        } else {
            Self::Active
        }
    }

    fn parse(text: &str) -> Result<Self, ApiError> {
        match text {
            "active" => Ok(Self::Active),
            "expired" => Ok(Self::Expired),
            "depleted" => Ok(Self::Depleted),
            _ => Err(ApiError::field(
                "status",
                format!("expected active, expired or depleted, found `{text}`"),
            )),
        }
    }
}

/// `GET /credit-entitlements/{id}/balances/{customer}/grants`, newest first, with what open periods have used deducted.
pub(in super::super) async fn list(
    State(state): State<ApiState>,
    Path((id, customer)): Path<(String, String)>,
    mut query: Query,
) -> Result<Json<Items<GrantReply>>, ApiError> {
    let page = query.page()?;
    let status = query.text("status")?;
    let status = status.as_deref().map(Status::parse).transpose()?;
    query.finish()?;
    let state = state.in_time_of(&customer).await?;
    let place = Place::find(&state, &id, &customer).await?;
    let now = state.now();
    let mut grants = place.holdings(&state).await?.live;
    grants.retain(|grant| status.is_none_or(|status| Status::of(grant, now) == status));
    grants.sort_by(|one, other| {
        (other.created_at, &other.grant_id).cmp(&(one.created_at, &one.grant_id))
    });
    let grants = page.of(grants.into_iter());
    Ok(Json(
        grants
            .into_iter()
            .map(|grant| GrantReply::new(grant, now))
            .collect(),
    ))
}

/// Where a grant made here comes from.
#[derive(Copy, Clone, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    #[default]
    Api,
    OneTime,
}

/// What gives credits.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct GrantRequest {
    credit_entitlement_id: String,
    amount: Exact,
    source: Option<Source>,
    priority: Option<u32>,
    effective_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    idempotency_key: Option<String>,
    reason: Option<String>,
    metadata: Option<Metadata>,
}

/// `POST /v1/customers/{id}/grants`: gives credits. A replayed key answers the grant of the first request.
pub(in super::super) async fn create(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(customer): Path<String>,
    JsonBody(request): JsonBody<GrantRequest>,
) -> Result<Json<GrantReply>, ApiError> {
    let state = state.in_time_of(&customer).await?;
    let place = Place::find(&state, &request.credit_entitlement_id, &customer).await?;
    let new = NewGrant {
        source: match request.source.unwrap_or_default() {
            Source::Api => GrantSource::Api,
            Source::OneTime => GrantSource::OneTime,
        },
        amount: request.amount.into(),
        priority: request.priority.unwrap_or(PRIORITY_DEFAULT),
        effective_at: request.effective_at.unwrap_or_else(|| state.now()),
        expires_at: request.expires_at,
        metadata: request.metadata.clone().unwrap_or_default(),
        repays_overage: false,
    };
    let remark = Remark::check(
        &state,
        request.idempotency_key,
        request.reason,
        request.metadata,
    )?;
    match give(&state, &place, new, &remark).await? {
        Some((_, grant)) => {
            state
                .audit(&key, "credits.granted", grant.grant_id.as_str())
                .await?;
            Ok(Json(GrantReply::new(grant, state.now())))
        }
        None => {
            let entry = place.entry_of(&state, &remark.key).await?;
            let grant_id = entry.and_then(|entry| entry.transfer.cause.grant_id().cloned());
            let grant = match grant_id {
                Some(id) => state.storage.grant(&id).await?,
                None => None,
            };
            let grant = grant.ok_or_else(|| replayed(&remark.key))?;
            Ok(Json(GrantReply::new(grant, state.now())))
        }
    }
}

/// Gives credits at a place; tells what was held before, and the grant. `None` for a replayed key.
pub(super) async fn give(
    state: &ApiState,
    place: &Place,
    new: NewGrant,
    remark: &Remark,
) -> Result<Option<(crate::bookkeeping::Holdings, Grant)>, ApiError> {
    place.check_amount(&new.amount)?;
    if new
        .expires_at
        .is_some_and(|end| end <= new.effective_at || end <= state.now())
    {
        return Err(ApiError::field(
            "expires_at",
            "expected an instant in the future, behind effective_at",
        ));
    }
    let behavior = place.entitlement.overage_behavior;
    let new = NewGrant {
        repays_overage: behavior == OverageBehavior::CarryDeficitAutoRepay,
        ..new
    };
    place
        .decide(state, &remark.key, |holdings| {
            let order = Order {
                key: &remark.key,
                note: remark.note.clone(),
                at: state.now(),
            };
            let (posting, grant) = teller::grant(holdings, new.clone(), &order);
            Ok((posting, (holdings.clone(), grant)))
        })
        .await
}

/// What takes credits back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct VoidRequest {
    amount: Option<Exact>,
    idempotency_key: Option<String>,
    reason: Option<String>,
}

/// `POST /v1/grants/{id}/void`: takes back `amount` of what is left of a grant, or all of it.
pub(in super::super) async fn void(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<VoidRequest>,
) -> Result<Json<GrantReply>, ApiError> {
    let grant_id = GrantId::from_text(id.as_str());
    let grant = find(&state, &grant_id).await?;
    let entitlement = grant.credit_entitlement_id.as_str();
    let state = state.in_time_of(grant.customer_id.as_str()).await?;
    let place = Place::find(&state, entitlement, grant.customer_id.as_str()).await?;
    let amount = request.amount.map(Decimal::from);
    if let Some(amount) = &amount {
        place.check_amount(amount)?;
    }
    let remark = Remark::check(&state, request.idempotency_key, request.reason, None)?;
    let done = place
        .decide(&state, &remark.key, |holdings| {
            let order = Order {
                key: &remark.key,
                note: remark.note.clone(),
                at: state.now(),
            };
            let posting = teller::void(holdings, Some(&grant_id), amount.as_ref(), &order)?;
            Ok((posting, ()))
        })
        .await?;
    if done.is_some() {
        state.audit(&key, "credits.voided", &id).await?;
    }
    let grant = find(&state, &grant_id).await?;
    Ok(Json(GrantReply::new(grant, state.now())))
}

async fn find(state: &ApiState, id: &GrantId) -> Result<Grant, ApiError> {
    let found = state.storage.grant(id).await?;
    found.ok_or_else(|| ApiError::not_found("GRANT_NOT_FOUND", "grant", id.as_str()))
}
