//! Opening: a subscription's first base fee and first credits, and what each further period begins with.

use super::{InvoiceLine, Settlement, booking::Book, close, line};
use crate::{
    catalog::Product,
    credits::{CreditAttachment, Grant, GrantId, GrantSource},
    id::{InvoiceId, SubscriptionId},
    metadata::Metadata,
    money::MoneyError,
    rating::flat::{self, Share},
    subscription::{
        BillingAddress, Subscription, SubscriptionStatus,
        period::{self, OutOfCalendar},
    },
};
use std::time::Duration;
use submeter_common::{CustomerId, Period, Timestamp};

/// Largest quantity: a bound against typing errors, far above any number of seats.
const QUANTITY_MAX: u32 = 1_000_000;
/// Periods that may already be over when a subscription begins in the past: each becomes an invoice of its own.
const BACKDATED_PERIODS_MAX: u32 = 1_000;
/// Where a subscription's grants stand in the order of burning; others may be put before or behind them.
const SUBSCRIPTION_PRIORITY: u32 = 10;
const DAY: Duration = Duration::from_secs(86_400);

/// What a caller tells about a subscription to be made.
#[derive(Clone, Debug)]
pub struct NewSubscription<'a> {
    /// Who is billed; the caller has checked that it exists.
    pub customer_id: CustomerId,
    /// What is bought.
    pub product: &'a Product,
    /// Multiplies the fixed fee.
    pub quantity: u32,
    /// When it begins; now, when not told. May lie in the past, not in the future.
    pub start: Option<Timestamp>,
    /// Where the customer is.
    pub billing: BillingAddress,
    /// What the application attaches.
    pub metadata: Metadata,
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
    let fee = base_fee(&subscription, 0)
        .map_err(|_| invalid("quantity", "expected a fixed fee that fits an amount"))?;
    let grants_new = grants(&subscription, now);
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
        subscription,
        invoice,
        grants_changed: Vec::new(),
        grants_new,
        transfers: book.into_transfers(),
        messages: Vec::new(),
    })
}

/// Makes the line of the base fee of period `n`; none without a fee or after the subscription's end.
///
/// A last period that the subscription's end cuts short is charged by the share of its time.
pub(super) fn base_fee(
    subscription: &Subscription,
    n: u32,
) -> Result<Option<InvoiceLine>, FeeError> {
    let price = subscription.price.usage_based();
    let Some(served) = subscription.period(n)?.filter(|_| price.fixed_price > 0) else {
        return Ok(None);
    };
    let share = share(subscription, n)?;
    let charge = flat::charge(price.fixed_price, subscription.quantity, share)?;
    Ok(Some(line::base_fee(
        &subscription.product_name,
        served,
        charge,
    )))
}

/// Returns how much of period `n` is served: all of it, but for a last one that the subscription's end cuts short.
pub(super) fn share(subscription: &Subscription, n: u32) -> Result<Share, OutOfCalendar> {
    let Some(served) = subscription.period(n)? else {
        return Ok(Share::NONE);
    };
    Ok(Share {
        served: micros(served),
        full: micros(subscription.whole_period(n)?),
    })
}

/// Why a base fee cannot be computed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeeError {
    #[error(transparent)]
    Money(#[from] MoneyError),
    #[error(transparent)]
    Calendar(#[from] OutOfCalendar),
}

impl From<FeeError> for super::BillingError {
    fn from(error: FeeError) -> Self {
        match error {
            FeeError::Money(error) => Self::Money(error),
            FeeError::Calendar(error) => Self::Calendar(error),
        }
    }
}

/// Makes the grants with which the subscription's open period begins; none once it has expired.
pub(super) fn grants(subscription: &Subscription, now: Timestamp) -> Vec<Grant> {
    if subscription.status != SubscriptionStatus::Active {
        return Vec::new();
    }
    subscription
        .credit_entitlements
        .iter()
        .map(|terms| grant(subscription, terms, now))
        .collect()
}

fn grant(subscription: &Subscription, terms: &CreditAttachment, now: Timestamp) -> Grant {
    let period = subscription.current_period;
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
        source: GrantSource::Subscription,
        amount: terms.credits_amount.clone(),
        remaining: terms.credits_amount.clone(),
        expired: crate::money::Decimal::zero(),
        priority: SUBSCRIPTION_PRIORITY,
        effective_at: period.start,
        expires_at: Some(expiry(period, terms.expires_after_days)),
        subscription_id: Some(subscription.subscription_id.clone()),
        period: Some(n),
        created_at: now,
        updated_at: now,
    }
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
    let price = product.price.usage_based();
    let anchor = new.start.unwrap_or(now).truncate_to_minute();
    if anchor > now {
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
    let ends_at = period::boundary(anchor, price.subscription_period, 1).map_err(beyond)?;
    let first = period::period(anchor, price.payment_frequency, 0).map_err(beyond)?;
    let limit =
        period::boundary(anchor, price.payment_frequency, BACKDATED_PERIODS_MAX).map_err(beyond)?;
    if limit <= now {
        let message = format!(
            "expected a start after which at most {BACKDATED_PERIODS_MAX} billing periods are over"
        );
        return Err(invalid("start_date", message));
    }
    Ok(Subscription {
        subscription_id: SubscriptionId::fresh(now),
        customer_id: new.customer_id,
        product_id: product.product_id.clone(),
        product_name: product.name.clone(),
        quantity: new.quantity,
        status: SubscriptionStatus::Active,
        currency: price.currency,
        price: product.price.clone(),
        credit_entitlements: product.credit_entitlements.clone(),
        anchor,
        ends_at,
        next_period: 0,
        current_period: Period {
            start: first.start,
            end: first.end.min(ends_at),
        },
        billing: new.billing,
        metadata: new.metadata,
        created_at: now,
        updated_at: now,
    })
}

fn micros(period: Period) -> i64 {
    period.end.as_micros() - period.start.as_micros()
}

fn invalid(field: &'static str, message: impl Into<String>) -> OpeningError {
    OpeningError::Invalid {
        field,
        message: message.into(),
    }
}
