//! `/v1/test-clocks`: in test mode, time that goes on when it is told to.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use submeter_common::id::AgentId;
use submeter_common::time::Timestamp;

use super::access::Caller;
use super::body::JsonBody;
use super::error::ApiError;
use super::field::check_name;
use super::query::Query;
use super::reply::Items;
use super::state::ApiState;
use crate::completeness::{Awaited, behind};
use crate::config::Mode;
use crate::id::TestClockId;
use crate::jobs::clocks::of_collector;
use crate::storage::PutOutcome;
use crate::test_clock::{ClockScope, TEST_CLOCKS_MAX, TestClock};

/// What makes a clock.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateRequest {
    name: Option<String>,
    /// Where it stands at first.
    frozen_time: Timestamp,
    scope: Option<ClockScope>,
}

/// Where a clock is to go.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdvanceRequest {
    frozen_time: Timestamp,
}

/// A clock in replies.
#[derive(Serialize)]
pub(super) struct TestClockReply {
    test_clock_id: TestClockId,
    name: Option<String>,
    scope: ClockScope,
    frozen_time: Timestamp,
    status: &'static str,
    /// Where it is going.
    target_time: Option<Timestamp>,
    /// Agents that hold it up: they have not delivered what they had accepted when it was told to go on.
    waiting_for_agents: Vec<AgentId>,
    created_at: Timestamp,
}

/// `POST /v1/test-clocks`. One for the whole collector rules at once.
pub(super) async fn create(
    State(state): State<ApiState>,
    Caller(key): Caller,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<(StatusCode, Json<TestClockReply>), ApiError> {
    expect_test_mode(&state)?;
    if let Some(name) = &request.name {
        check_name("name", name)?;
    }
    let known = state.storage.test_clocks().await?;
    if known.len() >= TEST_CLOCKS_MAX {
        let message = format!("there are {TEST_CLOCKS_MAX} test clocks, as many as there may be");
        return Err(ApiError::conflict("TOO_MANY_TEST_CLOCKS", message));
    }
    let scope = request.scope.unwrap_or(ClockScope::Customers);
    if let Some(ruling) = of_collector(&known).filter(|_| scope == ClockScope::Collector) {
        let message = format!(
            "the test clock {} rules the collector already",
            ruling.test_clock_id
        );
        return Err(ApiError::conflict("TEST_CLOCK_EXISTS", message));
    }
    let clock = TestClock::new(
        request.name,
        scope,
        request.frozen_time,
        state.machine_now(),
    );
    write(&state, None, &clock).await?;
    let id = clock.test_clock_id.as_str();
    state.audit(&key, "test_clock.created", id).await?;
    Ok((StatusCode::CREATED, Json(shown(&state, clock).await?)))
}

/// `GET /v1/test-clocks`, oldest first.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<TestClockReply>>, ApiError> {
    let page = query.page()?;
    query.finish()?;
    let mut items = Vec::new();
    for clock in page.of(state.storage.test_clocks().await?.into_iter()) {
        items.push(shown(&state, clock).await?);
    }
    Ok(Json(Items::new(items)))
}

/// `GET /v1/test-clocks/{id}`.
pub(super) async fn get(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<TestClockReply>, ApiError> {
    let clock = find(&state, &id).await?;
    Ok(Json(shown(&state, clock).await?))
}

/// `POST /v1/test-clocks/{id}/advance`: it goes on in the background, and is `ready` when it has arrived.
pub(super) async fn advance(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<AdvanceRequest>,
) -> Result<(StatusCode, Json<TestClockReply>), ApiError> {
    expect_test_mode(&state)?;
    let before = find(&state, &id).await?;
    let after = before.advance(request.frozen_time, state.machine_now())?;
    write(&state, Some(&before), &after).await?;
    state.audit(&key, "test_clock.advanced", &id).await?;
    Ok((StatusCode::ACCEPTED, Json(shown(&state, after).await?)))
}

/// Finds a clock that a customer is to live by; `field` is where it was named.
pub(super) async fn for_customer(
    state: &ApiState,
    field: &str,
    id: &str,
) -> Result<TestClock, ApiError> {
    expect_test_mode(state)?;
    let known = state
        .storage
        .test_clock(&TestClockId::from_text(id))
        .await?;
    let of_customers = known.filter(|clock| clock.scope == ClockScope::Customers);
    of_customers
        .ok_or_else(|| ApiError::field(field, "expected the id of a test clock for customers"))
}

fn expect_test_mode(state: &ApiState) -> Result<(), ApiError> {
    match state.config.mode {
        Mode::Test => Ok(()),
        Mode::Live => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "LIVE_MODE",
            "this collector bills in earnest: test clocks need one that was started with mode = test",
        )),
    }
}

async fn write(
    state: &ApiState,
    before: Option<&TestClock>,
    after: &TestClock,
) -> Result<(), ApiError> {
    let id = after.test_clock_id.as_str();
    match state.storage.put_test_clock(before, after).await? {
        PutOutcome::Written => {
            state.clock.follow(after);
            Ok(())
        }
        PutOutcome::Conflict => Err(ApiError::concurrent_change("test clock", id)),
    }
}

async fn find(state: &ApiState, id: &str) -> Result<TestClock, ApiError> {
    let found = state
        .storage
        .test_clock(&TestClockId::from_text(id))
        .await?;
    found.ok_or_else(|| ApiError::not_found("TEST_CLOCK_NOT_FOUND", "test clock", id))
}

async fn shown(state: &ApiState, clock: TestClock) -> Result<TestClockReply, ApiError> {
    let mut waiting_for_agents = Vec::new();
    if let Some(target) = clock.target {
        let awaited = Awaited {
            period_end: target.min(clock.advanced_at),
            since: clock.advanced_at,
            catalog_version: state.storage.catalog().await?.version,
        };
        waiting_for_agents = behind(&state.storage.agents().await?, &awaited);
    }
    Ok(TestClockReply {
        status: if clock.target.is_some() {
            "advancing"
        } else {
            "ready"
        },
        test_clock_id: clock.test_clock_id,
        name: clock.name,
        scope: clock.scope,
        frozen_time: clock.now,
        target_time: clock.target,
        waiting_for_agents,
        created_at: clock.created_at,
    })
}
