//! Every route of the agent, in one list.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post};

use crate::admin::{self, Admin, inspect};
use crate::http::guard::{self, Guard};
use crate::http::reply::ApiError;
use crate::ingest::{Ingest, cloudevents, compatible, events, imports, native};
use crate::inspection::{
    ConflictsQuery, DedupQuery, EventsQuery, FrameQuery, IdQuery, MetersQuery, OutboxQuery,
    PartialsQuery, QuarantineQuery, Question as _,
};
use crate::telemetry::names;

/// The agent's router: every request is measured, then checked by the guard, then handled.
pub(crate) fn router(ingest: Arc<Ingest>, admin: Arc<Admin>, guard: Guard) -> Router {
    let of_events = Router::new()
        .route("/events/ingest", post(compatible::ingest))
        .route("/events", get(events::list))
        .route("/events/{event_id}", get(events::get))
        .route("/v1/events", post(native::ingest))
        .route("/api/v1/events", post(cloudevents::ingest))
        .route("/v1/imports", get(imports::list).post(imports::begin))
        .route("/v1/imports/{id}", delete(imports::abandon))
        .route("/v1/imports/{id}/events", post(imports::events))
        .route("/v1/imports/{id}/complete", post(imports::complete))
        .with_state(ingest);
    let of_operators = Router::new()
        .route("/v1/status", get(admin::status))
        .route("/v1/flush", post(admin::flush))
        .route("/v1/tail", get(admin::tail))
        .route("/v1/bundle", get(admin::bundle))
        .route("/v1/bundle/public-key", get(admin::public_key))
        .route("/v1/bundle/receipt", post(admin::receipt))
        .route(EventsQuery::PATH, get(inspect::<EventsQuery>))
        .route(PartialsQuery::PATH, get(inspect::<PartialsQuery>))
        .route(OutboxQuery::PATH, get(inspect::<OutboxQuery>))
        .route(FrameQuery::PATH, get(inspect::<FrameQuery>))
        .route(ConflictsQuery::PATH, get(inspect::<ConflictsQuery>))
        .route(DedupQuery::PATH, get(inspect::<DedupQuery>))
        .route(IdQuery::PATH, get(inspect::<IdQuery>))
        .route(MetersQuery::PATH, get(inspect::<MetersQuery>))
        .route(QuarantineQuery::PATH, get(inspect::<QuarantineQuery>))
        .route("/healthz", get(admin::healthz))
        .route("/readyz", get(admin::readyz))
        .route("/metrics", get(admin::metrics))
        .with_state(admin);
    of_events
        .merge(of_operators)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(Arc::new(guard), guard::check))
        .layer(from_fn(measure))
}

async fn no_route(uri: Uri) -> ApiError {
    ApiError::not_found(
        "NOT_FOUND",
        format!("{} is not a path of this agent", uri.path()),
    )
}

async fn no_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not take {method}", uri.path());
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        message,
    )
}

async fn measure(request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let started = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    let seconds = started.elapsed().as_secs_f64();
    metrics::histogram!(names::REQUEST_SECONDS, "route" => route.clone()).record(seconds);
    metrics::counter!(names::REQUESTS, "route" => route, "status" => status).increment(1);
    response
}
