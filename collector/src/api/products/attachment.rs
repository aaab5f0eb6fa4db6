//! The credits that come with a product, as clients send and read them.

use serde::{Deserialize, Serialize};
use submeter_common::time::Timestamp;

use super::super::credit_entitlements::timeframe;
use super::super::error::ApiError;
use super::super::field::Exact;
use crate::catalog::{CatalogError, CatalogErrorKind, Interval};
use crate::credits::{CreditAttachment, OverageBehavior, Rollover};
use crate::id::{AttachmentId, EntitlementId};
use crate::money::{Currency, Decimal};
use crate::storage::CatalogSnapshot;

/// Ways of proration that official clients know.
#[derive(Copy, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Proration {
    Prorate,
    NoProrate,
}

/// An attachment in requests; what it does not say is as the entitlement says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttachmentRequest {
    credit_entitlement_id: String,
    credits_amount: Exact,
    currency: Option<Currency>,
    expires_after_days: Option<u32>,
    low_balance_threshold_percent: Option<u32>,
    low_balance_threshold_amount: Option<Exact>,
    overage_enabled: Option<bool>,
    overage_behavior: Option<OverageBehavior>,
    overage_limit: Option<Exact>,
    price_per_unit: Option<Exact>,
    proration_behavior: Option<Proration>,
    rollover_enabled: Option<bool>,
    rollover_percentage: Option<u32>,
    max_rollover_count: Option<u32>,
    rollover_timeframe_count: Option<u32>,
    rollover_timeframe_interval: Option<Interval>,
    rollover_amount_min: Option<Exact>,
    rollover_amount_max: Option<Exact>,
    trial_credits: Option<Exact>,
    trial_credits_expire_after_trial: Option<bool>,
}

impl AttachmentRequest {
    /// Lays the request over the entitlement's own terms.
    pub(super) fn into_domain(
        self,
        path: &str,
        catalog: &CatalogSnapshot,
        now: Timestamp,
    ) -> Result<CreditAttachment, ApiError> {
        let id = EntitlementId::from_text(&self.credit_entitlement_id);
        let entitlement = catalog.entitlements.get(&id).ok_or_else(|| CatalogError {
            kind: CatalogErrorKind::MissingEntitlement,
            field: format!("{path}.credit_entitlement_id"),
            message: format!("expected an active credit entitlement; {id} is unknown"),
        })?;
        let base = entitlement.attach(self.credits_amount.into(), now);
        let told = timeframe(
            self.rollover_timeframe_count,
            self.rollover_timeframe_interval,
        )?;
        Ok(CreditAttachment {
            expires_after_days: self.expires_after_days.or(base.expires_after_days),
            rollover: Rollover {
                enabled: self.rollover_enabled.unwrap_or(base.rollover.enabled),
                percentage: self.rollover_percentage.or(base.rollover.percentage),
                count_max: self.max_rollover_count.or(base.rollover.count_max),
                timeframe: told.or(base.rollover.timeframe),
                amount_min: self
                    .rollover_amount_min
                    .map(Decimal::from)
                    .or(base.rollover.amount_min),
                amount_max: self
                    .rollover_amount_max
                    .map(Decimal::from)
                    .or(base.rollover.amount_max),
            },
            overage_enabled: self.overage_enabled.unwrap_or(base.overage_enabled),
            overage_limit: self.overage_limit.map(Decimal::from).or(base.overage_limit),
            overage_behavior: self.overage_behavior.unwrap_or(base.overage_behavior),
            currency: self.currency.or(base.currency),
            price_per_unit: self
                .price_per_unit
                .map(Decimal::from)
                .or(base.price_per_unit),
            low_balance_threshold_percent: self.low_balance_threshold_percent,
            low_balance_threshold_amount: self.low_balance_threshold_amount.map(Decimal::from),
            proration_behavior: match self.proration_behavior {
                Some(Proration::Prorate) => "prorate".to_owned(),
                Some(Proration::NoProrate) | None => base.proration_behavior,
            },
            // Clients that know no trial credits send none of them.
            trial_credits: self
                .trial_credits
                .map(Decimal::from)
                .filter(|credits| !credits.is_zero()),
            trial_credits_expire_after_trial: self
                .trial_credits_expire_after_trial
                .unwrap_or(false),
            ..base
        })
    }
}

/// An attachment in replies.
#[derive(Serialize)]
pub(super) struct AttachmentReply {
    id: AttachmentId,
    credit_entitlement_id: EntitlementId,
    credit_entitlement_name: String,
    credit_entitlement_unit: String,
    credits_amount: Decimal,
    currency: Option<Currency>,
    expires_after_days: Option<u32>,
    low_balance_threshold_percent: Option<u32>,
    low_balance_threshold_amount: Option<Decimal>,
    overage_enabled: bool,
    overage_behavior: OverageBehavior,
    overage_limit: Option<Decimal>,
    price_per_unit: Option<Decimal>,
    proration_behavior: String,
    rollover_enabled: bool,
    rollover_percentage: Option<u32>,
    max_rollover_count: Option<u32>,
    rollover_timeframe_count: Option<u32>,
    rollover_timeframe_interval: Option<Interval>,
    rollover_amount_min: Option<Decimal>,
    rollover_amount_max: Option<Decimal>,
    trial_credits: Option<Decimal>,
    trial_credits_expire_after_trial: bool,
}

impl From<CreditAttachment> for AttachmentReply {
    fn from(attached: CreditAttachment) -> Self {
        Self {
            id: attached.id,
            credit_entitlement_id: attached.credit_entitlement_id,
            credit_entitlement_name: attached.credit_entitlement_name,
            credit_entitlement_unit: attached.credit_entitlement_unit,
            credits_amount: attached.credits_amount,
            currency: attached.currency,
            expires_after_days: attached.expires_after_days,
            low_balance_threshold_percent: attached.low_balance_threshold_percent,
            low_balance_threshold_amount: attached.low_balance_threshold_amount,
            overage_enabled: attached.overage_enabled,
            overage_behavior: attached.overage_behavior,
            overage_limit: attached.overage_limit,
            price_per_unit: attached.price_per_unit,
            proration_behavior: attached.proration_behavior,
            rollover_enabled: attached.rollover.enabled,
            rollover_percentage: attached.rollover.percentage,
            max_rollover_count: attached.rollover.count_max,
            rollover_timeframe_count: attached.rollover.timeframe.map(|timeframe| timeframe.count),
            rollover_timeframe_interval: attached
                .rollover
                .timeframe
                .map(|timeframe| timeframe.interval),
            rollover_amount_min: attached.rollover.amount_min,
            rollover_amount_max: attached.rollover.amount_max,
            trial_credits: attached.trial_credits,
            trial_credits_expire_after_trial: attached.trial_credits_expire_after_trial,
        }
    }
}
