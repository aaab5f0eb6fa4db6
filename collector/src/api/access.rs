//! Who may call what: the bearer key, its scopes, and the time a request may take.

use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use metrics::{counter, histogram};
use submeter_common::protocol::CALL_HEADER;

use super::error::ApiError;
use super::state::ApiState;
use crate::auth::{ApiKey, Scope, hash_presented};
use crate::telemetry::metric;

/// The key that a request came with, for handlers that record or limit by it.
#[derive(Clone)]
pub(super) struct Caller(pub(super) ApiKey);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Caller>()
            .cloned()
            .ok_or_else(|| ApiError::internal("a route without access check"))
    }
}

/// Lets a request pass that has a good key with `scope`.
pub(super) async fn require(
    State((state, scope)): State<(ApiState, Scope)>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let presented = bearer(request.headers()).ok_or_else(ApiError::unauthorized)?;
    let found = state
        .storage
        .key_by_hash(&hash_presented(presented))
        .await?;
    let key = found
        .filter(|key| key.revoked_at.is_none())
        .ok_or_else(ApiError::unauthorized)?;
    if !key.allows(scope) {
        return Err(ApiError::missing_scope(scope));
    }
    request.extensions_mut().insert(Caller(key));
    Ok(next.run(request).await)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// Bounds a request's time, and counts it by its route's pattern, never by its path: ids would make series without end.
pub(super) async fn observe(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let call = request.headers().get(CALL_HEADER).cloned();
    let method = method_name(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let mut response =
        match tokio::time::timeout(state.config.request_timeout, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                ApiError::unavailable("the request took too long and was given up; send it again")
                    .into_response()
            }
        };
    // The answer names the call it belongs to: on the way it may be handed to another one.
    if let Some(call) = call {
        response.headers_mut().insert(CALL_HEADER, call);
    }
    let status = response.status().as_u16().to_string();
    counter!(metric::REQUESTS, "route" => route.clone(), "method" => method, "status" => status)
        .increment(1);
    histogram!(metric::REQUEST_SECONDS, "route" => route).record(started.elapsed());
    response
}

/// Methods clients may invent are counted as one.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::PUT => "PUT",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}
