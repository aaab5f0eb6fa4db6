//! `/subscriptions/{id}/change-plan`: another product or quantity, now or with the next period, and what it would cost.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use submeter_common::time::Timestamp;

use super::super::access::Caller;
use super::super::body::JsonBody;
use super::super::error::ApiError;
use super::super::field::{Ignored, Unsupported};
use super::super::products;
use super::super::state::ApiState;
use super::preview::{ChangePreview, of_end};
use super::{customer_of, details_of, find, write};
use crate::storage::CatalogSnapshot;
use crate::subscription::change::{
    BillingMode, ChangeRequest, Effective, change_plan, drop_scheduled,
};
use crate::subscription::proration::Proration;
use crate::subscription::{Plan, Subscription, messages};

/// A change of plan, as the official clients send it, with our `proration`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct ChangePlanRequest {
    product_id: String,
    quantity: u32,
    proration_billing_mode: String,
    effective_at: Option<EffectiveAt>,
    proration: Option<Proration>,
    cancel_scheduled_change_plan: Option<bool>,
    on_payment_failure: Option<OnPaymentFailure>,
    #[serde(default, rename = "addons")]
    _addons: Unsupported,
    #[serde(default, rename = "discount_code")]
    _discount_code: Unsupported,
    #[serde(default, rename = "discount_codes")]
    _discount_codes: Unsupported,
    #[serde(default, rename = "collect_via_payment_link")]
    _collect_via_payment_link: Unsupported,
    #[serde(default, rename = "adaptive_currency_fees_inclusive")]
    _adaptive_currency_fees_inclusive: Ignored,
    #[serde(default, rename = "cancel_older_payment_link")]
    _cancel_older_payment_link: Ignored,
    #[serde(default, rename = "metadata")]
    _metadata: Ignored,
    #[serde(default, rename = "return_url")]
    _return_url: Ignored,
}

#[derive(Copy, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EffectiveAt {
    Immediately,
    NextBillingDate,
}

#[derive(Copy, Clone, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnPaymentFailure {
    ApplyChange,
    PreventChange,
}

/// The answer to a change. Compatible clients know the first four: no payment page is made here.
#[derive(Serialize)]
pub(in super::super) struct ChangePlanReply {
    client_secret: Option<Value>,
    expires_on: Option<Value>,
    payment_id: Option<Value>,
    payment_link: Option<Value>,
    plan_change_id: Option<String>,
    effective_at: Timestamp,
}

impl ChangePlanRequest {
    /// Changes `subscription` in memory.
    fn apply(
        &self,
        subscription: &Subscription,
        catalog: &CatalogSnapshot,
        now: Timestamp,
    ) -> Result<Subscription, ApiError> {
        if self.on_payment_failure == Some(OnPaymentFailure::PreventChange) {
            let message = "expected apply_change: a change does not wait for its payment";
            return Err(ApiError::invalid(
                "UNSUPPORTED_FIELD",
                "on_payment_failure",
                message,
            ));
        }
        let request = ChangeRequest {
            product: products::find(catalog, &self.product_id)?,
            quantity: self.quantity,
            proration: self.proration,
            effective: match self.effective_at.unwrap_or(EffectiveAt::Immediately) {
                EffectiveAt::Immediately => Effective::Now,
                EffectiveAt::NextBillingDate => Effective::PeriodEnd,
            },
            mode: self.mode()?,
            replace_scheduled: self.cancel_scheduled_change_plan.unwrap_or(false),
        };
        Ok(change_plan(subscription, &request, now)?)
    }

    fn mode(&self) -> Result<BillingMode, ApiError> {
        let named = |(name, _): &&(&str, BillingMode)| *name == self.proration_billing_mode;
        let known = BillingMode::NAMED.iter().find(named);
        known.map(|(_, mode)| *mode).ok_or_else(|| {
            let names = BillingMode::NAMED.map(|(name, _)| name).join(", ");
            ApiError::field("proration_billing_mode", format!("expected one of {names}"))
        })
    }
}

/// `POST /subscriptions/{id}/change-plan`.
pub(in super::super) async fn change(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<ChangePlanRequest>,
) -> Result<Json<ChangePlanReply>, ApiError> {
    let before = find(&state, &id).await?;
    let now = state.now_under(before.test_clock.as_ref()).await?;
    let catalog = state.storage.catalog().await?;
    let after = request.apply(&before, &catalog, now)?;
    let plan = changed(&after)?;
    let message = messages::plan_changed(&after, plan, now);
    write(&state, &before, &after, message, Some("product_id")).await?;
    state.audit(&key, "subscription.plan_changed", &id).await?;
    Ok(Json(ChangePlanReply {
        client_secret: None,
        expires_on: None,
        payment_id: None,
        payment_link: None,
        plan_change_id: plan
            .change
            .as_ref()
            .map(|change| change.plan_change_id.clone()),
        effective_at: plan.starts_at,
    }))
}

/// `POST /subscriptions/{id}/change-plan/preview`: the invoice that the change would lead to by what is known now.
pub(in super::super) async fn preview(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<ChangePlanRequest>,
) -> Result<Json<ChangePreview>, ApiError> {
    let before = find(&state, &id).await?;
    let now = state.now_under(before.test_clock.as_ref()).await?;
    let catalog = state.storage.catalog().await?;
    let after = request.apply(&before, &catalog, now)?;
    let customer = customer_of(&state, &before).await?;
    let effective_at = changed(&after)?.starts_at;
    let invoice = of_end(&state, &before, &after, now).await?;
    let details = details_of(&state, &after, effective_at).await?;
    let preview = ChangePreview::new(after, (customer, details), effective_at, invoice)?;
    Ok(Json(preview))
}

/// `DELETE /subscriptions/{id}/change-plan/scheduled`.
pub(in super::super) async fn take_back(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let before = find(&state, &id).await?;
    let now = state.now_under(before.test_clock.as_ref()).await?;
    let after = drop_scheduled(&before, now)?;
    let message = messages::updated(&after, now);
    write(&state, &before, &after, message, None).await?;
    state
        .audit(&key, "subscription.plan_change_taken_back", &id)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The first plan of the newest change.
fn changed(subscription: &Subscription) -> Result<&Plan, ApiError> {
    let newest = subscription
        .plans()
        .rev()
        .find(|plan| plan.change.is_some());
    newest.ok_or_else(|| ApiError::internal("a change of plan left no plan"))
}
