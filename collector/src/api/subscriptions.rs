//! `/subscriptions`: what customers have bought, since when, and what it came to.

mod change_plan;
mod country;
mod history;
mod preview;
mod reply;
mod request;
mod standing;
mod update;

use axum::Json;
use axum::extract::{Path, State};

pub(super) use self::change_plan::{change, preview, take_back};
pub(super) use self::history::history;
pub(super) use self::preview::of_cancel;
use self::reply::{CreatedReply, Details, SubscriptionReply};
use self::request::{CreateRequest, Subscriber};
pub(super) use self::update::update;
use super::access::Caller;
use super::body::JsonBody;
use super::error::ApiError;
use super::query::Query;
use super::reply::Items;
use super::state::ApiState;
use super::{customers, products, test_clocks};
use crate::billing::{self, NewSubscription};
use crate::customer::Customer;
use crate::id::SubscriptionId;
use crate::outbox::NewMessage;
use crate::storage::{CreateOutcome, SubscriptionFilter, SubscriptionOutcome};
use crate::subscription::{Subscription, SubscriptionStatus};
use submeter_common::id::{CustomerId, MeterId};
use submeter_common::time::Timestamp;

/// `POST /subscriptions`. With a start in the past, periods that are over are invoiced by the next billing run.
pub(super) async fn create(
    State(state): State<ApiState>,
    Caller(key): Caller,
    JsonBody(mut request): JsonBody<CreateRequest>,
) -> Result<Json<CreatedReply>, ApiError> {
    let (billing, metadata) = (request.address()?, request.metadata()?);
    let terms = request.terms();
    let catalog = state.storage.catalog().await?;
    let product = products::find(&catalog, &request.product_id)?;
    if request
        .billing_currency
        .is_some_and(|currency| currency != product.price.currency())
    {
        let expected = format!(
            "expected {}, the currency of the product's price",
            product.price.currency()
        );
        return Err(ApiError::field("billing_currency", expected));
    }
    let test_clock = match &request.test_clock {
        Some(id) => Some(test_clocks::for_customer(&state, "test_clock", id).await?),
        None => None,
    };
    let named = test_clock.as_ref().map(|clock| clock.test_clock_id.clone());
    let now = state.now_under(named.as_ref()).await?;
    let (customer, is_new) = match request.customer.subscriber(test_clock, now)? {
        Subscriber::Known(id) => (customers::find(&state, &id).await?, false),
        Subscriber::New(customer) => (customer, true),
    };
    if named.is_some() && named != customer.test_clock {
        let message = "expected the test clock that the customer was made with, or none";
        return Err(ApiError::field("test_clock", message));
    }
    let now = state.now_under(customer.test_clock.as_ref()).await?;
    let new = NewSubscription {
        customer_id: customer.customer_id.clone(),
        test_clock: customer.test_clock.clone(),
        product,
        quantity: request.quantity,
        start: request.start_date,
        terms,
        billing,
        metadata,
    };
    let books = state.storage.books(&customer.customer_id).await?;
    let due_after = state.collecting.terms.due_after;
    let opening = billing::open(new, now)?.due_after(due_after);
    let opening = billing::pay_from_wallet(opening, &books);
    if is_new {
        customers::insert(&state, &customer).await?;
        state
            .audit(&key, "customer.created", customer.customer_id.as_str())
            .await?;
    }
    let subscription = opening.subscription.clone();
    let invoice = match state.storage.create_subscription(opening).await? {
        CreateOutcome::Created(invoice) => invoice,
        CreateOutcome::MeterInUse {
            meter_id,
            subscription_id,
        } => {
            return Err(meter_in_use(
                Some("product_id"),
                &meter_id,
                &subscription_id,
            ));
        }
        CreateOutcome::Conflict => {
            return Err(ApiError::concurrent_change(
                "subscription",
                subscription.subscription_id.as_str(),
            ));
        }
    };
    state
        .audit(
            &key,
            "subscription.created",
            subscription.subscription_id.as_str(),
        )
        .await?;
    Ok(Json(CreatedReply::new(subscription, customer, invoice)?))
}

/// `GET /subscriptions`, newest first.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<SubscriptionReply>>, ApiError> {
    let page = query.page()?;
    let customer_id = query
        .text("customer_id")?
        .map(CustomerId::new)
        .transpose()?;
    query.ignore("brand_id");
    query.ignore("locale");
    query.finish()?;
    let subscriptions = state
        .storage
        .subscriptions(&SubscriptionFilter { customer_id }, page)
        .await?;
    let mut items = Vec::with_capacity(subscriptions.len());
    for subscription in subscriptions {
        let customer = customer_of(&state, &subscription).await?;
        let now = state.now_under(subscription.test_clock.as_ref()).await?;
        let past_due = past_due_since(&state, &subscription).await?;
        items.push(SubscriptionReply::new(
            subscription,
            customer,
            None,
            past_due,
            now,
        )?);
    }
    Ok(Json(Items::new(items)))
}

/// `GET /subscriptions/{id}`, with credit balances as of now.
pub(super) async fn get(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<SubscriptionReply>, ApiError> {
    let subscription = find(&state, &id).await?;
    let customer = customer_of(&state, &subscription).await?;
    let now = state.now_under(subscription.test_clock.as_ref()).await?;
    let details = details_of(&state, &subscription, now).await?;
    let past_due = past_due_since(&state, &subscription).await?;
    Ok(Json(SubscriptionReply::new(
        subscription,
        customer,
        Some(details),
        past_due,
        now,
    )?))
}

/// Since when an invoice of a subscription should have been paid.
async fn past_due_since(
    state: &ApiState,
    subscription: &Subscription,
) -> Result<Option<Timestamp>, ApiError> {
    let id = &subscription.subscription_id;
    Ok(state.storage.past_due_since(id).await?)
}

/// Reads what only the reply about one subscription has.
async fn details_of(
    state: &ApiState,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<Details, ApiError> {
    let catalog = state.storage.catalog().await?;
    let grants = state
        .storage
        .grants(&subscription.customer_id, None)
        .await?;
    let burns_credits = !subscription.plan.credit_entitlements.is_empty();
    let preview = match subscription.status {
        SubscriptionStatus::Active if burns_credits => {
            Some(billing::preview(&*state.storage, subscription, now).await?)
        }
        SubscriptionStatus::Active
        | SubscriptionStatus::Expired
        | SubscriptionStatus::Cancelled => None,
    };
    let shown = subscription
        .clone()
        .as_of(now)
        .map_err(ApiError::internal)?;
    Ok(Details::new(
        &shown,
        &catalog,
        &grants,
        preview.as_ref(),
        now,
    ))
}

/// Writes a change over what was read, with its message. `field` is where the request says what may bill meters of another
/// subscription.
async fn write(
    state: &ApiState,
    before: &Subscription,
    after: &Subscription,
    message: NewMessage,
    field: Option<&str>,
) -> Result<(), ApiError> {
    let id = before.subscription_id.as_str();
    match state
        .storage
        .change_subscription(before, after, message)
        .await?
    {
        SubscriptionOutcome::Changed => Ok(()),
        SubscriptionOutcome::Conflict => Err(ApiError::concurrent_change("subscription", id)),
        SubscriptionOutcome::MeterInUse {
            meter_id,
            subscription_id,
        } => Err(meter_in_use(field, &meter_id, &subscription_id)),
    }
}

/// 409: two subscriptions of a customer would bill the same usage.
fn meter_in_use(
    field: Option<&str>,
    meter_id: &MeterId,
    subscription_id: &SubscriptionId,
) -> ApiError {
    let told = field.map_or_else(String::new, |field| format!("{field}: "));
    let message = format!(
        "{told}the customer's subscription {subscription_id} bills the meter {meter_id} in the same time: \
         no usage is billed twice"
    );
    let conflict = ApiError::conflict("METER_ALREADY_SUBSCRIBED", message);
    match field {
        Some(field) => conflict.about(field),
        None => conflict,
    }
}

/// Finds a subscription or answers 404.
pub(super) async fn find(state: &ApiState, id: &str) -> Result<Subscription, ApiError> {
    let found = state
        .storage
        .subscription(&SubscriptionId::from_text(id))
        .await?;
    found.ok_or_else(|| ApiError::not_found("SUBSCRIPTION_NOT_FOUND", "subscription", id))
}

/// A subscription's customer, which exists since before it and is never deleted.
async fn customer_of(state: &ApiState, subscription: &Subscription) -> Result<Customer, ApiError> {
    let found = state.storage.customer(&subscription.customer_id).await?;
    found.ok_or_else(|| {
        ApiError::internal(format!(
            "the customer of subscription {} is missing",
            subscription.subscription_id
        ))
    })
}
