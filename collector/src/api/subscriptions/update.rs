//! `PATCH /subscriptions/{id}`: ending a subscription, keeping it after all, and what is attached to it.

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;

use super::super::access::Caller;
use super::super::body::JsonBody;
use super::super::error::ApiError;
use super::super::field::{Ignored, Unsupported, check_metadata, check_text, patch};
use super::super::state::ApiState;
use super::preview::unused_time;
use super::reply::SubscriptionReply;
use super::request::AddressRequest;
use super::{customer_of, details_of, find, past_due_since, write};
use crate::metadata::Metadata;
use crate::subscription::change::{CancelRequest, Effective, cancel, keep};
use crate::subscription::{Subscription, messages};
use submeter_common::time::Timestamp;

const REASONS: [&str; 5] = [
    "cancelled_by_customer",
    "cancelled_by_merchant",
    "cancelled_by_merchant_send_dunning",
    "cancelled_by_merchant_grace_period_expired",
    "dodo_team",
];
const FEEDBACKS: [&str; 8] = [
    "too_expensive",
    "missing_features",
    "switched_service",
    "unused",
    "customer_service",
    "low_quality",
    "too_complex",
    "other",
];

/// What changes a subscription, as the official clients send it, with our `credit_unused_time`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct UpdateRequest {
    status: Option<String>,
    cancel_at_next_billing_date: Option<bool>,
    cancel_reason: Option<String>,
    cancellation_feedback: Option<String>,
    cancellation_comment: Option<String>,
    credit_unused_time: Option<bool>,
    billing: Option<AddressRequest>,
    #[serde(default, deserialize_with = "patch")]
    metadata: Option<Option<Metadata>>,
    #[serde(default, rename = "credit_entitlement_cart")]
    _credit_entitlement_cart: Unsupported,
    #[serde(default, rename = "disable_on_demand")]
    _disable_on_demand: Unsupported,
    #[serde(default, rename = "next_billing_date")]
    _next_billing_date: Unsupported,
    #[serde(default, rename = "pause")]
    _pause: Unsupported,
    #[serde(default, rename = "subscription_period_count")]
    _subscription_period_count: Unsupported,
    #[serde(default, rename = "subscription_period_interval")]
    _subscription_period_interval: Unsupported,
    #[serde(default, rename = "customer_business_name")]
    _customer_business_name: Ignored,
    #[serde(default, rename = "customer_name")]
    _customer_name: Ignored,
    #[serde(default, rename = "tax_id")]
    _tax_id: Ignored,
}

/// What is asked about the subscription's end.
enum End {
    Unsaid,
    Keep,
    Cancel(Effective),
}

impl UpdateRequest {
    fn end(&self) -> Result<End, ApiError> {
        let cancels_now = match self.status.as_deref() {
            None => false,
            Some("cancelled") => true,
            Some(_) => {
                let message = "expected cancelled: a subscription is neither paused nor resumed by this version";
                return Err(ApiError::field("status", message));
            }
        };
        match (cancels_now, self.cancel_at_next_billing_date) {
            (true, Some(true)) => Err(ApiError::field(
                "cancel_at_next_billing_date",
                "expected either this, or status cancelled for an end at once",
            )),
            (true, _) => Ok(End::Cancel(Effective::Now)),
            (false, Some(true)) => Ok(End::Cancel(Effective::PeriodEnd)),
            (false, Some(false)) => Ok(End::Keep),
            (false, None) => Ok(End::Unsaid),
        }
    }

    fn check_words(&self, end: &End) -> Result<(), ApiError> {
        let words = [
            ("cancel_reason", &self.cancel_reason, &REASONS[..]),
            (
                "cancellation_feedback",
                &self.cancellation_feedback,
                &FEEDBACKS[..],
            ),
        ];
        for (field, word, known) in words {
            if word.as_deref().is_some_and(|word| !known.contains(&word)) {
                return Err(ApiError::field(
                    field,
                    format!("expected one of {}", known.join(", ")),
                ));
            }
        }
        if let Some(comment) = &self.cancellation_comment {
            check_text("cancellation_comment", comment)?;
        }
        let only_with_an_end = [
            ("cancel_reason", self.cancel_reason.is_some()),
            (
                "cancellation_feedback",
                self.cancellation_feedback.is_some(),
            ),
            ("cancellation_comment", self.cancellation_comment.is_some()),
            ("credit_unused_time", self.credit_unused_time.is_some()),
        ];
        match (end, only_with_an_end.iter().find(|(_, given)| *given)) {
            (End::Unsaid | End::Keep, Some((field, _))) => Err(ApiError::field(
                *field,
                "expected only where the request cancels",
            )),
            _ => Ok(()),
        }
    }

    /// Changes `before` in memory; tells whether that is a cancellation.
    fn apply(
        mut self,
        before: &Subscription,
        now: Timestamp,
    ) -> Result<(Subscription, bool), ApiError> {
        let end = self.end()?;
        self.check_words(&end)?;
        let cancels = matches!(end, End::Cancel(_));
        let mut after = match end {
            End::Unsaid => before.clone(),
            // Asked for when nothing was cancelled, it says what is so.
            End::Keep if before.cancellation.is_none() => before.clone(),
            End::Keep => keep(before, now)?,
            End::Cancel(effective) => {
                let request = CancelRequest {
                    effective,
                    unused_time: unused_time(self.credit_unused_time),
                    reason: self.cancel_reason.take(),
                    feedback: self.cancellation_feedback.take(),
                    comment: self.cancellation_comment.take(),
                };
                cancel(before, request, now)?
            }
        };
        if let Some(metadata) = self.metadata {
            after.metadata = metadata.unwrap_or_default();
            check_metadata(&after.metadata)?;
        }
        if let Some(address) = &mut self.billing {
            after.billing = address.take()?;
        }
        if after != *before && after.version == before.version {
            after.touch(now).map_err(ApiError::internal)?;
        }
        Ok((after, cancels))
    }
}

/// `PATCH /subscriptions/{id}`.
pub(in super::super) async fn update(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<UpdateRequest>,
) -> Result<Json<SubscriptionReply>, ApiError> {
    let before = find(&state, &id).await?;
    let now = state.now_under(before.test_clock.as_ref()).await?;
    let (after, cancels) = request.apply(&before, now)?;
    if after != before {
        let (message, action) = match after.cancellation.as_ref().filter(|_| cancels) {
            Some(end) => (
                messages::cancelled(&after, end, now),
                "subscription.cancelled",
            ),
            None => (messages::updated(&after, now), "subscription.updated"),
        };
        // Only what goes on after all bills more than before.
        let field = Some("cancel_at_next_billing_date");
        write(&state, &before, &after, message, field).await?;
        state.audit(&key, action, &id).await?;
    }
    let customer = customer_of(&state, &after).await?;
    let details = details_of(&state, &after, now).await?;
    let past_due = past_due_since(&state, &after).await?;
    Ok(Json(SubscriptionReply::new(
        after,
        customer,
        Some(details),
        past_due,
        now,
    )?))
}
