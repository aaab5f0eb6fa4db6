//! `/products`: what is sold, and at which price.

mod attachment;
mod price;
mod reply;
mod request;
pub(super) mod simulation;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use submeter_common::meter::Meter;

use self::reply::{ListedProduct, ProductReply};
use self::request::{CreateRequest, UpdateRequest, attach};
use super::access::Caller;
use super::body::JsonBody;
use super::error::ApiError;
use super::query::Query;
use super::reply::Items;
use super::state::ApiState;
use crate::catalog::{Price, Product};
use crate::credits::{CreditAttachment, CreditEntitlement};
use crate::id::ProductId;
use crate::storage::{CatalogSnapshot, PutOutcome};

/// `POST /products`.
pub(super) async fn create(
    State(state): State<ApiState>,
    Caller(key): Caller,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<Json<ProductReply>, ApiError> {
    let now = state.now();
    let catalog = state.storage.catalog().await?;
    let new = request.into_domain(&catalog, now)?;
    let (meters, entitlements) = named(&catalog, &new.price, &new.credit_entitlements);
    let product = Product::create(new, &meters, &entitlements, now)?;
    write(&state, None, &product).await?;
    state
        .audit(&key, "product.created", product.product_id.as_str())
        .await?;
    Ok(Json(ProductReply::new(&product, &catalog)))
}

/// `GET /products`: active ones, or with `archived=true` the archived ones.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<ListedProduct>>, ApiError> {
    let page = query.page()?;
    let archived = query.flag("archived")?.unwrap_or(false);
    // Everything sold so far is recurring.
    let recurring = query.flag("recurring")?.unwrap_or(true);
    query.ignore("brand_id");
    query.ignore("locale");
    query.finish()?;
    let catalog = state.storage.catalog().await?;
    // Ids sort by their time of birth; lists run from the newest.
    let products = catalog
        .products
        .values()
        .rev()
        .filter(|product| recurring && product.archived == archived);
    Ok(Json(Items::new(page.of(
        products.map(|product| ListedProduct::new(product, &catalog)),
    ))))
}

/// `GET /products/{id}`.
pub(super) async fn get(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<ProductReply>, ApiError> {
    let catalog = state.storage.catalog().await?;
    Ok(Json(ProductReply::new(find(&catalog, &id)?, &catalog)))
}

/// `PATCH /products/{id}`: for subscriptions made from now on; those that exist keep their price.
pub(super) async fn update(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<UpdateRequest>,
) -> Result<StatusCode, ApiError> {
    let now = state.now();
    let catalog = state.storage.catalog().await?;
    let before = find(&catalog, &id)?;
    let update = request.into_domain(&catalog, now)?;
    let price = update.price.as_ref().unwrap_or(&before.price);
    let credits = update
        .credit_entitlements
        .as_ref()
        .unwrap_or(&before.credit_entitlements);
    let (meters, entitlements) = named(&catalog, price, credits);
    let after = before.updated(update, &meters, &entitlements, now)?;
    write(&state, Some(before), &after).await?;
    state.audit(&key, "product.updated", &id).await?;
    Ok(StatusCode::OK)
}

/// `DELETE /products/{id}`: takes no new subscriptions any more.
pub(super) async fn archive(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    set_archived(&state, &id, true).await?;
    state.audit(&key, "product.archived", &id).await?;
    Ok(StatusCode::OK)
}

/// `POST /products/{id}/unarchive`.
pub(super) async fn unarchive(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    set_archived(&state, &id, false).await?;
    state.audit(&key, "product.unarchived", &id).await?;
    Ok(StatusCode::OK)
}

async fn set_archived(state: &ApiState, id: &str, archived: bool) -> Result<(), ApiError> {
    let catalog = state.storage.catalog().await?;
    let before = find(&catalog, id)?;
    if before.archived == archived {
        return Ok(());
    }
    let after = Product {
        archived,
        updated_at: state.now(),
        ..before.clone()
    };
    write(state, Some(before), &after).await
}

/// The meters and entitlements that a price and its credits name; those the catalog does not know are not among them,
/// which the check of the product reports.
fn named(
    catalog: &CatalogSnapshot,
    price: &Price,
    credits: &[CreditAttachment],
) -> (Vec<Meter>, Vec<CreditEntitlement>) {
    let meters = price
        .usage_based()
        .meters
        .iter()
        .filter_map(|priced| catalog.meters.get(&priced.meter_id));
    let entitlements = credits
        .iter()
        .filter_map(|attached| catalog.entitlements.get(&attached.credit_entitlement_id));
    (meters.cloned().collect(), entitlements.cloned().collect())
}

async fn write(
    state: &ApiState,
    before: Option<&Product>,
    after: &Product,
) -> Result<(), ApiError> {
    match state.storage.put_product(before, after).await? {
        PutOutcome::Written => Ok(()),
        PutOutcome::Conflict => Err(ApiError::concurrent_change(
            "product",
            after.product_id.as_str(),
        )),
    }
}

/// Finds a product or answers 404.
pub(super) fn find<'a>(catalog: &'a CatalogSnapshot, id: &str) -> Result<&'a Product, ApiError> {
    catalog
        .products
        .get(&ProductId::from_text(id))
        .ok_or_else(|| ApiError::not_found("PRODUCT_NOT_FOUND", "product", id))
}
