//! Kinds of credits, and their attachment to products.

use crate::{
    catalog::{CatalogError, Frequency, check},
    id::{AttachmentId, EntitlementId},
    money::{Currency, Decimal},
};
use serde::{Deserialize, Serialize};
use submeter_common::time::Timestamp;

/// Most digits after the point that credits can have.
const PRECISION_MAX: u8 = 10;
/// Most digits before the point that an amount of credits can have.
const CREDITS_WHOLE_DIGITS_MAX: usize = 18;
/// Longest time, in intervals of any kind, that carried credits live.
const TIMEFRAME_MAX: u32 = 1_000;
/// Longest life of a grant: 20 years, as long as a subscription can be.
const EXPIRY_DAYS_MAX: u32 = 7_305;

/// A kind of credits.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct CreditEntitlement {
    /// The id.
    pub id: EntitlementId,
    /// Display name.
    pub name: String,
    /// What it is, for people.
    pub description: Option<String>,
    /// Name of one credit, such as "tokens".
    pub unit: String,
    /// Digits after the point that amounts of these credits have, 0..=10. Never changes.
    pub precision: u8,
    /// Days after which a grant expires, if it lives that long.
    pub expires_after_days: Option<u32>,
    /// Rollover of the unused rest.
    pub rollover: Rollover,
    /// Whether usage may go on when credits run out and is then counted as overage.
    pub overage_enabled: bool,
    /// Most overage a period may have, in credits.
    pub overage_limit: Option<Decimal>,
    /// What happens to overage at the period's end.
    pub overage_behavior: OverageBehavior,
    /// What `price_per_unit` is in.
    pub currency: Option<Currency>,
    /// Price of one credit of overage, in minor units of `currency`.
    pub price_per_unit: Option<Decimal>,
    /// An archived entitlement cannot be attached anew.
    pub archived: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Rollover of unused credits into the next period.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Rollover {
    /// Whether the unused rest outlives its period.
    pub enabled: bool,
    /// Percentage of the rest that is carried over; all of it when nothing is said.
    pub percentage: Option<u32>,
    /// How often one grant may be carried over.
    pub count_max: Option<u32>,
    /// How long carried credits live; until the next period's end when nothing is said.
    pub timeframe: Option<Frequency>,
    /// Least that a grant is carried over as, whatever is left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_min: Option<Decimal>,
    /// Most that a grant is carried over as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_max: Option<Decimal>,
}

/// What happens to overage when a period ends.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverageBehavior {
    /// It is forgotten.
    #[default]
    ForgiveAtReset,
    /// It is invoiced at the price of a credit.
    InvoiceAtBilling,
    /// It stays, counts towards the limit, and new credits do not reduce it.
    CarryDeficit,
    /// It stays, and is repaid from whatever credits arrive.
    CarryDeficitAutoRepay,
}

/// Credits that come with a product: how many each period, and the terms, which may differ from the entitlement's own.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct CreditAttachment {
    /// The id of this attachment.
    pub id: AttachmentId,
    /// The kind of credits.
    pub credit_entitlement_id: EntitlementId,
    /// Its name when it was attached.
    pub credit_entitlement_name: String,
    /// Its unit when it was attached.
    pub credit_entitlement_unit: String,
    /// Its precision, which never changes.
    pub precision: u8,
    /// Credits granted at the start of each period. The subscription's quantity multiplies only the fixed fee, not these.
    pub credits_amount: Decimal,
    /// Days after which a grant expires, if its period is longer.
    pub expires_after_days: Option<u32>,
    /// Rollover of the unused rest.
    pub rollover: Rollover,
    /// Whether usage beyond the credits is counted as overage.
    pub overage_enabled: bool,
    /// Most overage a period may have, in credits.
    pub overage_limit: Option<Decimal>,
    /// What happens to overage at the period's end.
    pub overage_behavior: OverageBehavior,
    /// What `price_per_unit` is in.
    pub currency: Option<Currency>,
    /// Price of one credit of overage, in minor units of `currency`.
    pub price_per_unit: Option<Decimal>,
    /// Percentage of a period's credits at and below which the balance is told to be low.
    pub low_balance_threshold_percent: Option<u32>,
    /// The same as an amount of credits; at most one of the two is told.
    #[serde(default)]
    pub low_balance_threshold_amount: Option<Decimal>,
    /// Whether a period that is only a part of one grants its share: `prorate` or `no_prorate`, as told.
    pub proration_behavior: String,
    /// Credits granted when a trial begins.
    #[serde(default)]
    pub trial_credits: Option<Decimal>,
    /// Whether those end with the trial.
    #[serde(default)]
    pub trial_credits_expire_after_trial: bool,
}

impl CreditEntitlement {
    /// Checks everything that billing will rely on.
    ///
    /// # Errors
    /// The first field that is out of range or cannot be billed so far.
    pub fn check(&self) -> Result<(), CatalogError> {
        check::name("name", &self.name)?;
        check::name("unit", &self.unit)?;
        if self.precision > PRECISION_MAX {
            return Err(CatalogError::invalid(
                "precision",
                "expected 0 to 10 digits after the point",
            ));
        }
        let terms = Terms {
            prefix: String::new(),
            precision: self.precision,
            expires_after_days: self.expires_after_days,
            rollover: &self.rollover,
            limit: self.overage_limit.as_ref(),
            price: self.price_per_unit.as_ref(),
            currency: self.currency,
        };
        terms.check()
    }

    /// Returns the terms of this entitlement as a product's attachment of `credits_amount` credits each period; the caller
    /// overwrites what the product says otherwise.
    #[must_use]
    pub fn attach(&self, credits_amount: Decimal, now: Timestamp) -> CreditAttachment {
        CreditAttachment {
            id: AttachmentId::fresh(now),
            credit_entitlement_id: self.id.clone(),
            credit_entitlement_name: self.name.clone(),
            credit_entitlement_unit: self.unit.clone(),
            precision: self.precision,
            credits_amount,
            expires_after_days: self.expires_after_days,
            rollover: self.rollover.clone(),
            overage_enabled: self.overage_enabled,
            overage_limit: self.overage_limit.clone(),
            overage_behavior: self.overage_behavior,
            currency: self.currency,
            price_per_unit: self.price_per_unit.clone(),
            low_balance_threshold_percent: None,
            low_balance_threshold_amount: None,
            proration_behavior: "no_prorate".to_owned(),
            trial_credits: None,
            trial_credits_expire_after_trial: false,
        }
    }
}

impl CreditAttachment {
    /// Checks the terms; `path` is where the attachment is in the request, `currency` what the product is billed in.
    ///
    /// # Errors
    /// The first field that is out of range or cannot be billed so far.
    pub fn check(&self, path: &str, currency: Currency) -> Result<(), CatalogError> {
        let credits = format!("{path}.credits_amount");
        check_credits(&credits, &self.credits_amount, self.precision)?;
        if let Some(credits) = &self.trial_credits {
            check_credits(&format!("{path}.trial_credits"), credits, self.precision)?;
        }
        self.check_low_balance(path)?;
        let terms = Terms {
            prefix: format!("{path}."),
            precision: self.precision,
            expires_after_days: self.expires_after_days,
            rollover: &self.rollover,
            limit: self.overage_limit.as_ref(),
            price: self.price_per_unit.as_ref(),
            currency: self.currency,
        };
        terms.check()?;
        self.check_overage_price(path, currency)
    }

    /// Whether a period that is only a part of one grants its share.
    #[must_use]
    pub fn prorates(&self) -> bool {
        self.proration_behavior == "prorate"
    }

    /// Whether a low balance is told.
    #[must_use]
    pub const fn tells_low_balance(&self) -> bool {
        self.low_balance_threshold_percent.is_some() || self.low_balance_threshold_amount.is_some()
    }

    /// Returns the balance at and below which it is low, of a period that began with `granted` credits; none where that is not
    /// told.
    #[must_use]
    pub fn low_balance(&self, granted: &Decimal) -> Option<Decimal> {
        let percent = self.low_balance_threshold_percent.map(|percent| {
            let hundredth = Decimal::parse("0.01").unwrap_or_default();
            &(granted * &Decimal::from(i64::from(percent))) * &hundredth
        });
        percent.or_else(|| self.low_balance_threshold_amount.clone())
    }

    fn check_low_balance(&self, path: &str) -> Result<(), CatalogError> {
        let invalid = |name: &str, message: String| {
            Err(CatalogError::invalid(format!("{path}.{name}"), message))
        };
        let (percent, amount) = (
            self.low_balance_threshold_percent,
            &self.low_balance_threshold_amount,
        );
        if percent.is_some_and(|percent| percent > 100) {
            let message = "expected 0 to 100 percent".to_owned();
            return invalid("low_balance_threshold_percent", message);
        }
        let Some(amount) = amount else {
            return Ok(());
        };
        if percent.is_some() {
            let message = "expected a percentage or an amount, not both".to_owned();
            return invalid("low_balance_threshold_amount", message);
        }
        let fits = amount.whole_digits() <= CREDITS_WHOLE_DIGITS_MAX
            && amount.fraction_digits() <= usize::from(self.precision);
        if amount.is_negative() || !fits {
            let message = format!(
                "expected 0 or more credits with at most {} digits after the point",
                self.precision
            );
            return invalid("low_balance_threshold_amount", message);
        }
        Ok(())
    }

    fn check_overage_price(&self, path: &str, currency: Currency) -> Result<(), CatalogError> {
        if !self.overage_enabled || self.overage_behavior != OverageBehavior::InvoiceAtBilling {
            return Ok(());
        }
        if self.price_per_unit.is_none() {
            let message = "expected a price per credit, because overage is invoiced";
            return Err(CatalogError::invalid(
                format!("{path}.price_per_unit"),
                message,
            ));
        }
        if self.currency.is_some_and(|told| told != currency) {
            let message = format!("expected {currency}, the currency of the product's price");
            return Err(CatalogError::invalid(format!("{path}.currency"), message));
        }
        Ok(())
    }
}

/// Checks an amount of credits to grant: above zero, within the precision and below 10^18.
///
/// # Errors
/// Names `field` and what was expected.
pub fn check_credits(field: &str, amount: &Decimal, precision: u8) -> Result<(), CatalogError> {
    let fits = amount.whole_digits() <= CREDITS_WHOLE_DIGITS_MAX
        && amount.fraction_digits() <= usize::from(precision);
    if amount.is_positive() && fits {
        return Ok(());
    }
    let message = format!(
        "expected more than 0 credits, at most 18 digits before and {precision} after the point"
    );
    Err(CatalogError::invalid(field, message))
}

/// The terms that an entitlement and an attachment share.
struct Terms<'a> {
    prefix: String,
    precision: u8,
    expires_after_days: Option<u32>,
    rollover: &'a Rollover,
    limit: Option<&'a Decimal>,
    price: Option<&'a Decimal>,
    currency: Option<Currency>,
}

impl Terms<'_> {
    fn check_rollover(&self) -> Result<(), CatalogError> {
        let field = |name: &str| format!("{}{name}", self.prefix);
        let rollover = self.rollover;
        if rollover.percentage.is_some_and(|percent| percent > 100) {
            let message = "expected 0 to 100 percent";
            return Err(CatalogError::invalid(field("rollover_percentage"), message));
        }
        let outlives =
            |timeframe: &Frequency| timeframe.count == 0 || timeframe.count > TIMEFRAME_MAX;
        if rollover.timeframe.as_ref().is_some_and(outlives) {
            let message = format!("expected 1 to {TIMEFRAME_MAX}");
            return Err(CatalogError::invalid(
                field("rollover_timeframe_count"),
                message,
            ));
        }
        let bounds = [
            ("rollover_amount_min", &rollover.amount_min),
            ("rollover_amount_max", &rollover.amount_max),
        ];
        for (name, bound) in bounds {
            if let Some(bound) = bound {
                check_credits(&field(name), bound, self.precision)?;
            }
        }
        if let (Some(least), Some(most)) = (&rollover.amount_min, &rollover.amount_max)
            && least > most
        {
            let message = "expected at most rollover_amount_max";
            return Err(CatalogError::invalid(field("rollover_amount_min"), message));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), CatalogError> {
        let field = |name: &str| format!("{}{name}", self.prefix);
        self.check_rollover()?;
        if self
            .expires_after_days
            .is_some_and(|days| days == 0 || days > EXPIRY_DAYS_MAX)
        {
            let message = format!("expected 1 to {EXPIRY_DAYS_MAX} days");
            return Err(CatalogError::invalid(field("expires_after_days"), message));
        }
        if let Some(limit) = self.limit {
            let fits = limit.whole_digits() <= CREDITS_WHOLE_DIGITS_MAX;
            if limit.is_negative() || !fits || limit.fraction_digits() > usize::from(self.precision)
            {
                let message = format!(
                    "expected 0 or more credits with at most {} digits after the point",
                    self.precision
                );
                return Err(CatalogError::invalid(field("overage_limit"), message));
            }
        }
        if let Some(price) = self.price {
            check::unit_price(&field("price_per_unit"), price)?;
            // An attachment without one is in the currency of its product.
            if self.currency.is_none() && self.prefix.is_empty() {
                let message = "expected a currency, because price_per_unit is set";
                return Err(CatalogError::invalid(field("currency"), message));
            }
        }
        Ok(())
    }
}
