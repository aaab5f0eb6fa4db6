//! Every route of the agent, in one list.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post};
use tower_service::Service as _;

use crate::admin::{self, Admin, inspect};
use crate::http::guard::Guard;
use crate::http::reply::ApiError;
use crate::http::server::{Answer, Door};
use crate::ingest::{Ingest, cloudevents, compatible, events, imports, native};
use crate::inspection::{
    ConflictsQuery, DedupQuery, EventsQuery, FrameQuery, IdQuery, MetersQuery, OutboxQuery,
    PartialsQuery, QuarantineQuery, Question as _,
};
use crate::telemetry::names;

/// The agent's routes: every request is measured, checked by the guard, and then handled.
///
/// What all requests go through is plain calls around the router and not its layers, which are copied for each request and
/// take a fifth of the time of one with a single event.
pub(crate) struct Routes {
    router: Router,
    /// The same paths, to name them in metrics.
    paths: matchit::Router<&'static str>,
    guard: Guard,
}

impl Routes {
    /// All routes, behind `guard`.
    pub(crate) fn new(ingest: Arc<Ingest>, admin: Arc<Admin>, guard: Guard) -> Self {
        let of_events = Table::new()
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
        let of_operators = Table::new()
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
        let mut paths = matchit::Router::new();
        for path in of_events.paths.into_iter().chain(of_operators.paths) {
            paths.insert(path, path).expect("the router took it, too");
        }
        Self {
            router: of_events
                .router
                .merge(of_operators.router)
                .fallback(no_route)
                .method_not_allowed_fallback(no_method),
            paths,
            guard,
        }
    }

    async fn pass_on(&self, request: Request, door: Door) -> Response {
        match self.guard.pass(request, door).await {
            Ok(request) => {
                let answered = self.router.clone().call(request).await;
                answered.unwrap_or_else(|never| match never {})
            }
            Err(refusal) => refusal,
        }
    }
}

impl Answer for Routes {
    async fn answer(&self, request: Request, door: Door) -> Response {
        let matched = self.paths.at(request.uri().path());
        let route = matched.map_or("other", |matched| *matched.value);
        let started = Instant::now();
        let response = self.pass_on(request, door).await;
        let seconds = started.elapsed().as_secs_f64();
        let status = response.status().as_u16().to_string();
        metrics::histogram!(names::REQUEST_SECONDS, "route" => route).record(seconds);
        metrics::counter!(names::REQUESTS, "route" => route, "status" => status).increment(1);
        response
    }
}

/// Routes in the making, and their paths.
struct Table<S> {
    router: Router<S>,
    paths: Vec<&'static str>,
}

impl<S: Clone + Send + Sync + 'static> Table<S> {
    fn new() -> Self {
        Self {
            router: Router::new(),
            paths: Vec::new(),
        }
    }

    fn route(mut self, path: &'static str, methods: MethodRouter<S>) -> Self {
        self.paths.push(path);
        self.router = self.router.route(path, methods);
        self
    }

    fn with_state(self, state: S) -> Table<()> {
        Table {
            router: self.router.with_state(state),
            paths: self.paths,
        }
    }
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
