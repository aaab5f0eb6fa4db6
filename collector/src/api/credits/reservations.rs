//! `/v1/reservations`: credits set aside for work that has begun.
//!
//! A reservation that is committed takes the credits by itself. Where a meter counts the same work, release it instead: the
//! meter's usage takes them.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use submeter_common::id::CustomerId;
use submeter_common::time::Timestamp;

use super::super::access::Caller;
use super::super::body::JsonBody;
use super::super::customers;
use super::super::error::ApiError;
use super::super::field::Exact;
use super::super::query::Query;
use super::super::reply::Items;
use super::super::state::ApiState;
use super::{Place, Remark, replayed};
use crate::bookkeeping::teller::{self, Order};
use crate::credits::{Reservation, ReservationStatus};
use crate::id::{EntitlementId, GrantId, ReservationId};
use crate::ledger::Note;
use crate::money::Decimal;

/// How long credits are set aside when nothing is said.
const TIMEOUT_SECONDS_DEFAULT: u32 = 900;
/// How long they can be: work that takes longer than a week is not begun, it is planned.
const TIMEOUT_SECONDS_MAX: u32 = 7 * 86_400;

/// A reservation in replies.
#[derive(Serialize)]
pub(in super::super) struct ReservationReply {
    reservation_id: ReservationId,
    customer_id: CustomerId,
    credit_entitlement_id: EntitlementId,
    status: ReservationStatus,
    amount: Decimal,
    committed_amount: Decimal,
    grants: Vec<HoldReply>,
    expires_at: Timestamp,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct HoldReply {
    grant_id: GrantId,
    amount: Decimal,
}

impl ReservationReply {
    fn new(reservation: Reservation, now: Timestamp) -> Self {
        let status = if reservation.is_overdue(now) {
            ReservationStatus::Expired
        } else {
            reservation.status
        };
        let holds = reservation.holds.into_iter();
        Self {
            reservation_id: reservation.reservation_id,
            customer_id: reservation.customer_id,
            credit_entitlement_id: reservation.credit_entitlement_id,
            status,
            amount: reservation.amount,
            committed_amount: reservation.committed,
            grants: holds
                .map(|hold| HoldReply {
                    grant_id: hold.grant_id,
                    amount: hold.amount,
                })
                .collect(),
            expires_at: reservation.expires_at,
            created_at: reservation.created_at,
            updated_at: reservation.updated_at,
        }
    }
}

/// What sets credits aside.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct HoldRequest {
    credit_entitlement_id: String,
    amount: Exact,
    timeout_seconds: Option<u32>,
    idempotency_key: Option<String>,
    reason: Option<String>,
}

/// `POST /v1/customers/{id}/reservations`: 201, or 400 when there are not as many credits. A replayed key answers the first
/// reservation.
pub(in super::super) async fn create(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(customer): Path<String>,
    JsonBody(request): JsonBody<HoldRequest>,
) -> Result<(StatusCode, Json<ReservationReply>), ApiError> {
    let seconds = request.timeout_seconds.unwrap_or(TIMEOUT_SECONDS_DEFAULT);
    if !(1..=TIMEOUT_SECONDS_MAX).contains(&seconds) {
        let expected = format!("expected 1 to {TIMEOUT_SECONDS_MAX} seconds");
        return Err(ApiError::field("timeout_seconds", expected));
    }
    let state = state.in_time_of(&customer).await?;
    let place = Place::find(&state, &request.credit_entitlement_id, &customer).await?;
    let amount = Decimal::from(request.amount);
    place.check_amount(&amount)?;
    let remark = Remark::check(&state, request.idempotency_key, request.reason, None)?;
    let id = ReservationId::derived(&[
        place.customer_id.as_str(),
        place.entitlement.id.as_str(),
        &remark.key,
    ]);
    if let Some(known) = state.storage.reservation(&id).await? {
        return Ok((
            StatusCode::OK,
            Json(ReservationReply::new(known, state.now())),
        ));
    }
    let made = place
        .decide(&state, &remark.key, |holdings| {
            let at = state.now();
            let order = Order {
                key: &remark.key,
                note: remark.note.clone(),
                at,
            };
            let life = Duration::from_secs(u64::from(seconds));
            let until = at.checked_add(life).unwrap_or(at);
            Ok(teller::hold(holdings, &amount, until, &order)?)
        })
        .await?;
    let reservation = made.ok_or_else(|| replayed(&remark.key))?;
    let id = reservation.reservation_id.as_str();
    state.audit(&key, "reservation.held", id).await?;
    let reply = ReservationReply::new(reservation, state.now());
    Ok((StatusCode::CREATED, Json(reply)))
}

/// `GET /v1/customers/{id}/reservations`, newest first.
pub(in super::super) async fn list(
    State(state): State<ApiState>,
    Path(customer): Path<String>,
    mut query: Query,
) -> Result<Json<Items<ReservationReply>>, ApiError> {
    let page = query.page()?;
    query.finish()?;
    let state = state.in_time_of(&customer).await?;
    let customer = customers::find(&state, &customer).await?;
    let found = state
        .storage
        .reservations(&customer.customer_id, page)
        .await?;
    let now = state.now();
    Ok(Json(
        found
            .into_iter()
            .map(|reservation| ReservationReply::new(reservation, now))
            .collect(),
    ))
}

/// `GET /v1/reservations/{id}`.
pub(in super::super) async fn get(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<ReservationReply>, ApiError> {
    let reservation = find(&state, &id).await?;
    let state = state.in_time_of(reservation.customer_id.as_str()).await?;
    Ok(Json(ReservationReply::new(reservation, state.now())))
}

/// How much of a reservation was used.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct CommitRequest {
    amount: Option<Exact>,
}

/// `POST /v1/reservations/{id}/commit`: uses all of it, or `amount`. The rest goes back; what is beyond is taken from what is
/// available, or is 400. One that has ended is 409, unless it ended by the same commit.
pub(in super::super) async fn commit(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<CommitRequest>,
) -> Result<Json<ReservationReply>, ApiError> {
    let reservation = find(&state, &id).await?;
    let state = state.in_time_of(reservation.customer_id.as_str()).await?;
    let amount = request
        .amount
        .map_or_else(|| reservation.amount.clone(), Decimal::from);
    let is_done = reservation.status == ReservationStatus::Committed;
    if is_done && reservation.committed == amount {
        return Ok(Json(ReservationReply::new(reservation, state.now())));
    }
    let end = End::Commit(amount);
    let after = finish(&state, reservation, &end).await?;
    state.audit(&key, "reservation.committed", &id).await?;
    Ok(Json(ReservationReply::new(after, state.now())))
}

/// `POST /v1/reservations/{id}/release`: gives all of it back. One that was released already stays so.
pub(in super::super) async fn release(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
) -> Result<Json<ReservationReply>, ApiError> {
    let reservation = find(&state, &id).await?;
    let state = state.in_time_of(reservation.customer_id.as_str()).await?;
    let ended = [ReservationStatus::Released, ReservationStatus::Expired];
    if ended.contains(&reservation.status) {
        return Ok(Json(ReservationReply::new(reservation, state.now())));
    }
    let after = finish(&state, reservation, &End::Release).await?;
    state.audit(&key, "reservation.released", &id).await?;
    Ok(Json(ReservationReply::new(after, state.now())))
}

/// How a reservation ends.
enum End {
    Commit(Decimal),
    Release,
}

async fn finish(
    state: &ApiState,
    reservation: Reservation,
    end: &End,
) -> Result<Reservation, ApiError> {
    let entitlement = reservation.credit_entitlement_id.as_str();
    let place = Place::find(state, entitlement, reservation.customer_id.as_str()).await?;
    if let End::Commit(amount) = end {
        place.check_amount(amount)?;
    }
    // A reservation ends once: its own steps have their own keys, and no request key is needed.
    let key = format!("end:{}", reservation.reservation_id);
    let done = place
        .decide(state, &key, |holdings| {
            let order = Order {
                key: &key,
                note: Note::default(),
                at: state.now(),
            };
            Ok(match end {
                End::Commit(amount) => teller::commit(holdings, &reservation, amount, &order)?,
                End::Release => teller::release(holdings, &reservation, &order)?,
            })
        })
        .await;
    match done {
        Ok(Some(after)) => Ok(after),
        Ok(None) => Err(replayed(&key)),
        Err(error) => Err(error),
    }
}

async fn find(state: &ApiState, id: &str) -> Result<Reservation, ApiError> {
    let found = state
        .storage
        .reservation(&ReservationId::from_text(id))
        .await?;
    found.ok_or_else(|| ApiError::not_found("RESERVATION_NOT_FOUND", "reservation", id))
}
