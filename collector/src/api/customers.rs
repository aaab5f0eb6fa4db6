//! `/customers`: who is billed. Applications may bring their own ids.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use submeter_common::id::CustomerId;
use submeter_common::time::Timestamp;

use super::access::Caller;
use super::body::JsonBody;
use super::error::ApiError;
use super::field::{Ignored, check_metadata, check_name, patch};
use super::query::Query;
use super::reply::{BUSINESS_ID, Items};
use super::state::ApiState;
use super::test_clocks;
use crate::customer::Customer;
use crate::id::{TestClockId, fresh};
use crate::metadata::Metadata;
use crate::storage::{CustomerFilter, InsertOutcome, PutOutcome};
use crate::test_clock::TestClock;

/// What creates a customer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateRequest {
    email: String,
    name: String,
    customer_id: Option<String>,
    phone_number: Option<String>,
    metadata: Option<Metadata>,
    test_clock: Option<String>,
    #[serde(default, rename = "preferred_locale")]
    _preferred_locale: Ignored,
}

/// What changes a customer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateRequest {
    name: Option<String>,
    email: Option<String>,
    #[serde(default, deserialize_with = "patch")]
    phone_number: Option<Option<String>>,
    #[serde(default, deserialize_with = "patch")]
    metadata: Option<Option<Metadata>>,
    #[serde(default, rename = "preferred_locale")]
    _preferred_locale: Ignored,
}

/// A customer in replies.
#[derive(Serialize)]
pub(super) struct CustomerReply {
    customer_id: CustomerId,
    business_id: &'static str,
    name: String,
    email: String,
    phone_number: Option<String>,
    metadata: Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    test_clock: Option<TestClockId>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<Customer> for CustomerReply {
    fn from(customer: Customer) -> Self {
        Self {
            customer_id: customer.customer_id,
            business_id: BUSINESS_ID,
            name: customer.name,
            email: customer.email,
            phone_number: customer.phone_number,
            metadata: customer.metadata,
            test_clock: customer.test_clock,
            created_at: customer.created_at,
            updated_at: customer.updated_at,
        }
    }
}

/// What a new customer is made of, wherever it is told.
pub(super) struct NewCustomer {
    /// The application's own id, or none for a fresh one.
    pub(super) customer_id: Option<String>,
    /// Display name.
    pub(super) name: String,
    /// Where invoices would go.
    pub(super) email: String,
    /// Telephone number.
    pub(super) phone_number: Option<String>,
    /// What the application attaches.
    pub(super) metadata: Metadata,
    /// The test clock that the customer is to live by.
    pub(super) test_clock: Option<TestClock>,
}

impl NewCustomer {
    /// Checks every field; `path` is where they stand in the request (`""` or `"customer."`).
    pub(super) fn build(self, path: &str, now: Timestamp) -> Result<Customer, ApiError> {
        check_name(&format!("{path}name"), &self.name)?;
        check_email(&format!("{path}email"), &self.email)?;
        check_phone(&format!("{path}phone_number"), self.phone_number.as_deref())?;
        check_metadata(&self.metadata)?;
        let id = self.customer_id.unwrap_or_else(|| fresh("cus_", now));
        Ok(Customer {
            customer_id: CustomerId::new(id)?,
            name: self.name,
            email: self.email,
            phone_number: self.phone_number,
            metadata: self.metadata,
            test_clock: self.test_clock.map(|clock| clock.test_clock_id),
            created_at: now,
            updated_at: now,
        })
    }
}

/// `POST /customers`.
pub(super) async fn create(
    State(state): State<ApiState>,
    Caller(key): Caller,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<(StatusCode, Json<CustomerReply>), ApiError> {
    let test_clock = match &request.test_clock {
        Some(id) => Some(test_clocks::for_customer(&state, "test_clock", id).await?),
        None => None,
    };
    let new = NewCustomer {
        customer_id: request.customer_id,
        name: request.name,
        email: request.email,
        phone_number: request.phone_number,
        metadata: request.metadata.unwrap_or_default(),
        test_clock,
    };
    let now = new
        .test_clock
        .as_ref()
        .map_or(state.now(), |clock| clock.now);
    let customer = new.build("", now)?;
    insert(&state, &customer).await?;
    state
        .audit(&key, "customer.created", customer.customer_id.as_str())
        .await?;
    Ok((StatusCode::OK, Json(customer.into())))
}

/// Writes a new customer, or says that the id is taken.
pub(super) async fn insert(state: &ApiState, customer: &Customer) -> Result<(), ApiError> {
    match state.storage.insert_customer(customer).await? {
        InsertOutcome::Inserted => Ok(()),
        InsertOutcome::Exists => {
            let message = format!("there is a customer `{}` already", customer.customer_id);
            Err(ApiError::conflict("CUSTOMER_ALREADY_EXISTS", message))
        }
    }
}

/// `GET /customers`.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<CustomerReply>>, ApiError> {
    let page = query.page()?;
    let filter = CustomerFilter {
        email: query.text("email")?,
    };
    query.finish()?;
    let customers = state.storage.customers(&filter, page).await?;
    Ok(Json(
        customers.into_iter().map(CustomerReply::from).collect(),
    ))
}

/// `GET /customers/{id}`.
pub(super) async fn get(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<CustomerReply>, ApiError> {
    Ok(Json(find(&state, &id).await?.into()))
}

/// `PATCH /customers/{id}`.
pub(super) async fn update(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<UpdateRequest>,
) -> Result<Json<CustomerReply>, ApiError> {
    let before = find(&state, &id).await?;
    let now = state.now_under(before.test_clock.as_ref()).await?;
    let after = changed(&before, request, now)?;
    match state.storage.put_customer(&before, &after).await? {
        PutOutcome::Written => {}
        PutOutcome::Conflict => return Err(ApiError::concurrent_change("customer", &id)),
    }
    state.audit(&key, "customer.updated", &id).await?;
    Ok(Json(after.into()))
}

fn changed(
    before: &Customer,
    request: UpdateRequest,
    now: Timestamp,
) -> Result<Customer, ApiError> {
    let mut after = Customer {
        updated_at: now,
        ..before.clone()
    };
    if let Some(name) = request.name {
        check_name("name", &name)?;
        after.name = name;
    }
    if let Some(email) = request.email {
        check_email("email", &email)?;
        after.email = email;
    }
    if let Some(phone_number) = request.phone_number {
        check_phone("phone_number", phone_number.as_deref())?;
        after.phone_number = phone_number;
    }
    if let Some(metadata) = request.metadata {
        after.metadata = metadata.unwrap_or_default();
        check_metadata(&after.metadata)?;
    }
    Ok(after)
}

/// Finds a customer or answers 404; an id that no customer can have is not found either.
pub(super) async fn find(state: &ApiState, id: &str) -> Result<Customer, ApiError> {
    let not_found = || ApiError::not_found("CUSTOMER_NOT_FOUND", "customer", id);
    let customer_id = CustomerId::new(id).map_err(|_| not_found())?;
    state
        .storage
        .customer(&customer_id)
        .await?
        .ok_or_else(not_found)
}

/// Checks that an address has something on both sides of its `@`; only sending to it would tell more.
fn check_email(field: &str, email: &str) -> Result<(), ApiError> {
    check_name(field, email)?;
    let good = email
        .rsplit_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if good && !email.contains(char::is_whitespace) {
        return Ok(());
    }
    Err(ApiError::field(
        field,
        "expected an e-mail address such as ada@example.com",
    ))
}

fn check_phone(field: &str, phone_number: Option<&str>) -> Result<(), ApiError> {
    phone_number.map_or(Ok(()), |number| check_name(field, number))
}
