//! Every route of the collector, by the scope it needs.

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, patch, post};

use super::access::{observe, require};
use super::error::ApiError;
use super::state::ApiState;
use super::{
    agents, audit, bundles, completeness, credit_entitlements, credit_notes, credits, customers,
    health, invoices, keys, meters, outbox, payments, products, rate, subscriptions, test_clocks,
    thresholds, trusted_keys, usage, verify, wallets,
};
use crate::auth::Scope;

/// Builds the collector's routes over `state`.
pub fn router(state: ApiState) -> Router {
    let gate = |scope: Scope| from_fn_with_state((state.clone(), scope), require);
    let api = Router::new()
        .merge(reads().route_layer(gate(Scope::Read)))
        .merge(writes().route_layer(gate(Scope::Write)))
        .merge(agent_routes().route_layer(gate(Scope::Agent)));
    let prefix = state.config.path_prefix.as_str();
    let placed = if prefix.is_empty() {
        api
    } else {
        Router::new().nest(prefix, api)
    };
    placed
        .merge(open())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(state.clone(), observe))
        .with_state(state)
}

/// For supervisors and scrapers, without a key.
fn open() -> Router<ApiState> {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
}

fn reads() -> Router<ApiState> {
    Router::new()
        .route("/meters", get(meters::list))
        .route("/meters/{id}", get(meters::get))
        .route("/products", get(products::list))
        .route("/products/{id}", get(products::get))
        .route("/credit-entitlements", get(credit_entitlements::list))
        .route("/credit-entitlements/{id}", get(credit_entitlements::get))
        .route(
            "/credit-entitlements/{id}/balances",
            get(credits::balances::list),
        )
        .route(
            "/credit-entitlements/{id}/balances/{customer}",
            get(credits::balances::get),
        )
        .route(
            "/credit-entitlements/{id}/balances/{customer}/grants",
            get(credits::grants::list),
        )
        .route(
            "/credit-entitlements/{id}/balances/{customer}/ledger",
            get(credits::entries::list),
        )
        .route("/customers/{id}/wallets", get(wallets::list))
        .route(
            "/customers/{id}/wallets/ledger-entries",
            get(wallets::movements),
        )
        .route(
            "/subscriptions/{id}/credit-usage",
            get(credits::usage::of_subscription),
        )
        .route(
            "/v1/customers/{id}/reservations",
            get(credits::reservations::list),
        )
        .route("/v1/reservations/{id}", get(credits::reservations::get))
        .route("/v1/customers/{id}/ledger", get(credits::ledger::list))
        .route(
            "/v1/customers/{id}/ledger/accounts",
            get(credits::ledger::accounts),
        )
        .route("/v1/ledgers/audit", get(credits::ledger::audit))
        .route("/customers", get(customers::list))
        .route("/customers/{id}", get(customers::get))
        .route(
            "/customers/{id}/credit-entitlements",
            get(credits::usage::of_customer),
        )
        .route(
            "/v1/customers/{id}/thresholds",
            get(thresholds::of_customer),
        )
        .route("/v1/thresholds", get(thresholds::list))
        .route("/v1/thresholds/{id}", get(thresholds::get))
        .route("/subscriptions", get(subscriptions::list))
        .route("/subscriptions/{id}", get(subscriptions::get))
        .route(
            "/subscriptions/{id}/usage-history",
            get(subscriptions::history),
        )
        .route(
            "/subscriptions/{id}/change-plan/preview",
            post(subscriptions::preview),
        )
        .route(
            "/v1/subscriptions/{id}/cancel/preview",
            post(subscriptions::of_cancel),
        )
        .route("/v1/usage", get(usage::get))
        // These ask, and change nothing.
        .route("/v1/rate", post(rate::rate))
        .route(
            "/v1/products/{id}/simulate",
            post(products::simulation::post),
        )
        .route("/v1/invoices", get(invoices::list))
        .route("/v1/invoices/{id}", get(invoices::get))
        .route("/v1/invoices/{id}/html", get(invoices::html))
        .route("/v1/invoices/{id}/pdf", get(invoices::pdf))
        .route("/v1/invoices/{id}/explain", get(invoices::explain))
        .route("/v1/verify", get(verify::get))
        .route("/v1/credit-notes", get(credit_notes::list))
        .route("/v1/credit-notes/{id}", get(credit_notes::get))
        .route("/v1/payments", get(payments::list))
        .route("/v1/payments/{id}", get(payments::get))
        .route("/v1/outbox", get(outbox::list))
        .route("/v1/agents", get(agents::list))
        .route("/v1/agents/{id}", get(agents::get))
        .route("/v1/audit", get(audit::list))
        .route("/v1/completeness", get(completeness::get))
        .route("/v1/keys", get(keys::list))
        .route("/v1/trusted-keys", get(trusted_keys::list))
        .route("/v1/test-clocks", get(test_clocks::list))
        .route("/v1/test-clocks/{id}", get(test_clocks::get))
}

fn writes() -> Router<ApiState> {
    Router::new()
        .route("/meters", post(meters::create))
        .route(
            "/meters/{id}",
            patch(meters::update).delete(meters::archive),
        )
        .route("/meters/{id}/unarchive", post(meters::unarchive))
        .route("/products", post(products::create))
        .route(
            "/products/{id}",
            patch(products::update).delete(products::archive),
        )
        .route("/products/{id}/unarchive", post(products::unarchive))
        .route("/credit-entitlements", post(credit_entitlements::create))
        .route(
            "/credit-entitlements/{id}",
            patch(credit_entitlements::update).delete(credit_entitlements::delete),
        )
        .route(
            "/credit-entitlements/{id}/undelete",
            post(credit_entitlements::undelete),
        )
        .route(
            "/credit-entitlements/{id}/balances/{customer}/ledger-entries",
            post(credits::entries::create),
        )
        .route(
            "/customers/{id}/wallets/ledger-entries",
            post(wallets::adjust),
        )
        .route("/v1/customers/{id}/grants", post(credits::grants::create))
        .route("/v1/grants/{id}/void", post(credits::grants::void))
        .route(
            "/v1/customers/{id}/reservations",
            post(credits::reservations::create),
        )
        .route(
            "/v1/reservations/{id}/commit",
            post(credits::reservations::commit),
        )
        .route(
            "/v1/reservations/{id}/release",
            post(credits::reservations::release),
        )
        .route(
            "/v1/customers/{id}/ledger/rebuild",
            post(credits::ledger::rebuild),
        )
        .route("/customers", post(customers::create))
        .route("/customers/{id}", patch(customers::update))
        .route("/subscriptions", post(subscriptions::create))
        .route("/subscriptions/{id}", patch(subscriptions::update))
        .route(
            "/subscriptions/{id}/change-plan",
            post(subscriptions::change),
        )
        .route(
            "/subscriptions/{id}/change-plan/scheduled",
            delete(subscriptions::take_back),
        )
        .route("/v1/invoices/{id}/pay", post(invoices::pay))
        .route("/v1/invoices/{id}/collect", post(invoices::collect))
        .route("/v1/invoices/{id}/void", post(invoices::void))
        .route("/v1/invoices/{id}/credit-notes", post(invoices::credit))
        .route("/v1/payments/{id}/answer", post(payments::answer))
        .route("/v1/agents/{id}/retire", post(agents::retire))
        .route("/v1/agents/{id}/acknowledge", post(agents::acknowledge))
        .route("/v1/thresholds", post(thresholds::create))
        .route(
            "/v1/thresholds/{id}",
            patch(thresholds::update).delete(thresholds::delete),
        )
        .route("/v1/keys", post(keys::create))
        .route("/v1/trusted-keys", post(trusted_keys::trust))
        .route("/v1/test-clocks", post(test_clocks::create))
        .route("/v1/test-clocks/{id}/advance", post(test_clocks::advance))
        .route("/v1/trusted-keys/{key}", delete(trusted_keys::distrust))
        .route("/v1/keys/{id}", delete(keys::revoke))
}

fn agent_routes() -> Router<ApiState> {
    Router::new()
        .route("/v1/catalog", get(agents::catalog))
        .route("/v1/agents/register", post(agents::register))
        .route("/v1/agents/{id}/frames", post(agents::frames))
        .route("/v1/bundles", post(bundles::import))
}

async fn no_route(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "NO_SUCH_ROUTE",
        format!("there is no {method} {}", uri.path()),
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
