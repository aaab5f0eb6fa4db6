//! Opening: a subscription's first base fee and first credits, and what each further period begins with.

use super::{Settlement, base_fee, close};
use crate::{
    bookkeeping::{Book, Posting},
    catalog::{Frequency, Interval, Product},
    credits::{CreditAttachment, Grant, GrantId, GrantSource},
    id::{InvoiceId, SubscriptionId, TestClockId},
    metadata::Metadata,
    money::Decimal,
    subscription::{
        BillingAddress, Plan, Subscription, SubscriptionStatus,
        change::{Purchase, QUANTITY_MAX},
        period::{Alignment, OutOfCalendar, after},
        plan::Schedule,
        proration::Proration,
        zone::Zone,
    },
};
use std::time::Duration;
use submeter_common::{CustomerId, Period, Timestamp};

/// Periods that may already be over when a subscription begins in the past: each becomes an invoice of its own.
const BACKDATED_PERIODS_MAX: u32 = 1_000;
/// Where a subscription's grants stand in the order of burning; others may be put before or behind them.
const SUBSCRIPTION_PRIORITY: u32 = 10;
/// Longest trial, as compatible clients know it.
const TRIAL_DAYS_MAX: u32 = 10_000;
const DAY: Duration = Duration::from_secs(86_400);

/// What a caller tells about a subscription to be made.
#[derive(Clone, Debug)]
pub struct NewSubscription<'a> {
    /// Who is billed; the caller has checked that it exists.
    pub customer_id: CustomerId,
    /// The test clock that the customer lives by.
    pub test_clock: Option<TestClockId>,
    /// What is bought.
    pub product: &'a Product,
    /// Multiplies the fixed fee.
    pub quantity: u32,
    /// When it begins; now, when not told. May lie in the past, not in the future.
    pub start: Option<Timestamp>,
    /// How its periods fall.
    pub terms: CycleTerms,
    /// Where the customer is.
    pub billing: BillingAddress,
    /// What the application attaches.
    pub metadata: Metadata,
}

/// How a subscription's periods fall. By default they begin on the day and time of its start, in UTC.
#[derive(Clone, Debug, Default)]
pub struct CycleTerms {
    /// In whose civil time days and months are counted.
    pub time_zone: Zone,
    /// What boundaries follow.
    pub alignment: Alignment,
    /// How parts of a period are counted.
    pub proration: Proration,
    /// Days before the first paid period in which everything is free; 0 for none.
    pub trial_days: u32,
}

/// Why a subscription cannot be made; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// A field of the request is out of range.
    #[error("{field}: {message}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What was expected.
        message: String,
    },
    /// The product is archived and takes no new subscriptions.
    #[error("product_id: expected a product that is not archived")]
    ArchivedProduct,
}

/// Makes a subscription with everything its beginning settles: the first base fee as an invoice, and the first credits.
///
/// # Errors
/// [`OpeningError`] names the field.
pub fn open(new: NewSubscription<'_>, now: Timestamp) -> Result<Settlement, OpeningError> {
    let subscription = subscription(new, now)?;
    let fee = base_fee::in_advance(&subscription, subscription.next_period)
        .map_err(|_| invalid("quantity", "expected a fixed fee that fits an amount"))?;
    let grants_new = grants(&subscription, now)
        .map_err(|_| invalid("start_date", "expected a first period before the year 9999"))?;
    let mut book = Book::new(subscription.customer_id.clone(), now);
    for grant in &grants_new {
        book.granted(grant);
    }
    let mut invoice = None;
    if let Some(fee) = fee {
        let id = InvoiceId::derived(&[subscription.subscription_id.as_str(), "opening"]);
        let opening = close::invoice(&subscription, id, vec![fee], now)
            .map_err(|_| invalid("quantity", "expected a fixed fee that fits an amount"))?;
        book.invoiced(&opening.invoice_id, opening.total, opening.currency);
        invoice = Some(opening);
    }
    Ok(Settlement {
        expected_next_period: subscription.next_period,
        posting: Posting {
            grants_new,
            transfers: book.into_transfers(),
            ..Posting::empty(subscription.customer_id.clone())
        },
        subscription,
        invoice,
    })
}

/// Makes the grants with which the subscription's open period begins; none once it has ended.
pub(super) fn grants(
    subscription: &Subscription,
    now: Timestamp,
) -> Result<Vec<Grant>, OutOfCalendar> {
    if subscription.status != SubscriptionStatus::Active {
        return Ok(Vec::new());
    }
    let mut grants = Vec::new();
    for terms in &subscription.plan.credit_entitlements {
        let amount = granted(subscription, terms)?;
        if amount.is_positive() {
            grants.push(grant(subscription, terms, amount, now));
        }
    }
    Ok(grants)
}

/// Returns the credits with which the open period begins by these terms: in a trial those that were agreed for it, once.
pub(super) fn granted(
    subscription: &Subscription,
    terms: &CreditAttachment,
) -> Result<Decimal, OutOfCalendar> {
    let plan = &subscription.plan;
    if plan.is_trial() {
        // A change of product in a trial is no further trial.
        let begins = plan.starts_at == subscription.starts_at;
        let agreed = terms.trial_credits.clone().filter(|_| begins);
        return Ok(agreed.unwrap_or_default());
    }
    if !terms.prorates() {
        return Ok(terms.credits_amount.clone());
    }
    let share = base_fee::share(subscription, subscription.next_period)?;
    let served = &terms.credits_amount * &Decimal::from(share.served);
    let part = served.divided_rounded(&Decimal::from(share.full), terms.precision);
    Ok(part.unwrap_or_default())
}

fn grant(
    subscription: &Subscription,
    terms: &CreditAttachment,
    amount: Decimal,
    now: Timestamp,
) -> Grant {
    let period = subscription.current_period;
    let is_trial = subscription.plan.is_trial();
    let expires_at = if is_trial {
        trial_expiry(period, terms)
    } else {
        Some(expiry(period, terms.expires_after_days))
    };
    let n = subscription.next_period;
    let cause = [
        subscription.subscription_id.as_str(),
        terms.credit_entitlement_id.as_str(),
        &n.to_string(),
    ];
    Grant {
        grant_id: GrantId::derived(&cause),
        customer_id: subscription.customer_id.clone(),
        credit_entitlement_id: terms.credit_entitlement_id.clone(),
        source: if is_trial {
            GrantSource::Trial
        } else {
            GrantSource::Subscription
        },
        remaining: amount.clone(),
        amount,
        held: Decimal::zero(),
        expired: Decimal::zero(),
        priority: SUBSCRIPTION_PRIORITY,
        effective_at: period.start,
        // A shorter life ends by itself, unless the rest may go over at the close.
        ends_at_close: !is_trial && (terms.rollover.enabled || expires_at == Some(period.end)),
        expires_at,
        subscription_id: Some(subscription.subscription_id.clone()),
        period: Some(n),
        parent_grant_id: None,
        rollover_count: 0,
        metadata: Metadata::new(),
        created_at: now,
        updated_at: now,
    }
}

/// Credits of a trial end with it, if that was agreed, and otherwise after as many days as others.
fn trial_expiry(trial: Period, terms: &CreditAttachment) -> Option<Timestamp> {
    if terms.trial_credits_expire_after_trial {
        return Some(expiry(trial, terms.expires_after_days));
    }
    let life = terms
        .expires_after_days
        .and_then(|days| DAY.checked_mul(days));
    life.and_then(|life| trial.start.checked_add(life))
}

/// Without rollover, credits of a period never outlive it; a shorter life may be agreed.
fn expiry(period: Period, expires_after_days: Option<u32>) -> Timestamp {
    let life = expires_after_days.and_then(|days| DAY.checked_mul(days));
    let agreed = life.and_then(|life| period.start.checked_add(life));
    agreed.map_or(period.end, |agreed| agreed.min(period.end))
}

fn subscription(new: NewSubscription<'_>, now: Timestamp) -> Result<Subscription, OpeningError> {
    let product = new.product;
    if product.archived {
        return Err(OpeningError::ArchivedProduct);
    }
    if new.quantity == 0 || new.quantity > QUANTITY_MAX {
        return Err(invalid("quantity", format!("expected 1 to {QUANTITY_MAX}")));
    }
    if new.terms.trial_days > TRIAL_DAYS_MAX {
        let message = format!("expected 0 to {TRIAL_DAYS_MAX} days");
        return Err(invalid("trial_period_days", message));
    }
    let price = product.price.usage_based();
    let starts_at = new.start.unwrap_or(now).truncate_to_minute();
    if starts_at > now {
        return Err(invalid(
            "start_date",
            "expected an instant that is not in the future",
        ));
    }
    let beyond = |OutOfCalendar| {
        invalid(
            "start_date",
            "expected a subscription that ends before the year 6000",
        )
    };
    let purchase = Purchase {
        product,
        quantity: new.quantity,
        proration: new.terms.proration,
    };
    let (plan, upcoming_plans) = plans(&purchase, starts_at, &new.terms).map_err(beyond)?;
    let mut subscription = Subscription {
        subscription_id: SubscriptionId::fresh(now),
        customer_id: new.customer_id,
        test_clock: new.test_clock,
        status: SubscriptionStatus::Active,
        currency: price.currency,
        starts_at,
        plan,
        former_plans: Vec::new(),
        upcoming_plans,
        cancellation: None,
        next_period: 0,
        current_period: Period {
            start: starts_at,
            end: starts_at,
        },
        billing: new.billing,
        metadata: new.metadata,
        version: 0,
        created_at: now,
        updated_at: now,
    };
    let limit = subscription.period(BACKDATED_PERIODS_MAX).map_err(beyond)?;
    if limit.is_some_and(|limit| limit.start <= now) {
        let message = format!(
            "expected a start after which at most {BACKDATED_PERIODS_MAX} billing periods are over"
        );
        return Err(invalid("start_date", message));
    }
    let first = subscription.period(0).map_err(beyond)?;
    let never = || {
        invalid(
            "start_date",
            "expected a start before the subscription's end",
        )
    };
    subscription.current_period = first.ok_or_else(never)?;
    Ok(subscription)
}

/// Makes the plan that a subscription begins with, and the paid one behind it when that is a trial.
fn plans(
    purchase: &Purchase<'_>,
    start: Timestamp,
    terms: &CycleTerms,
) -> Result<(Plan, Vec<Plan>), OutOfCalendar> {
    let (zone, alignment) = (terms.time_zone.clone(), terms.alignment);
    if terms.trial_days == 0 {
        return Ok((purchase.plan(start, 0, zone, alignment)?, Vec::new()));
    }
    let trial = Frequency {
        count: terms.trial_days,
        interval: Interval::Day,
    };
    let trial_end = after(start, trial, &zone)?;
    let paid = purchase.plan(trial_end, 1, zone, alignment)?;
    let trial = Plan {
        first_period: 0,
        starts_at: start,
        term_ends_at: trial_end,
        schedule: Schedule::Trial,
        ..paid.clone()
    };
    Ok((trial, vec![paid]))
}

fn invalid(field: &'static str, message: impl Into<String>) -> OpeningError {
    OpeningError::Invalid {
        field,
        message: message.into(),
    }
}
