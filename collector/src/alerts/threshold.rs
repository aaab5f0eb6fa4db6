//! Thresholds: what is watched, how much of it, and the marks on the way.

use crate::{
    id::{ProductId, ThresholdId},
    metadata::Metadata,
    money::{Currency, Decimal},
    subscription::Plan,
};
use serde::{Deserialize, Serialize};
use submeter_common::{CustomerId, MeterId, Timestamp};

/// Marks that a threshold has when nothing is said: a warning, and the end.
const MARKS_DEFAULT: [u32; 2] = [80, 100];
/// Most marks of a threshold: each may be a message in each period of each customer.
const MARKS_MAX: usize = 20;
/// Highest mark, in percent: beyond ten times a limit nobody needs to be told again.
const MARK_MAX: u32 = 1_000;
/// Most digits of a quantity before the point, and after it.
const QUANTITY_DIGITS_MAX: (usize, usize) = (18, 12);

/// A limit on what a period may come to, with marks at which the world is told.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Threshold {
    /// The id.
    pub threshold_id: ThresholdId,
    /// What people call it.
    pub name: Option<String>,
    /// Whose usage, and of what. Never changes.
    pub scope: Scope,
    /// How usage is measured. Never changes.
    pub measure: Measure,
    /// What is all of it: units of the meter, or minor units of the currency. Above zero.
    pub limit: Decimal,
    /// Percentages of the limit, rising; each is told once in each period.
    pub marks: Vec<u32>,
    /// Whether the application is to stop serving at the limit.
    pub cap: bool,
    /// Raised with each change of the limit: its marks are then new ones.
    pub revision: u32,
    /// What the application attaches.
    pub metadata: Metadata,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Whose usage a threshold watches; all conditions hold together, and there is at least one.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Scope {
    /// Only this customer's; everybody's when there is none.
    pub customer_id: Option<CustomerId>,
    /// Only under subscriptions to this product.
    pub product_id: Option<ProductId>,
    /// Only of this meter.
    pub meter_id: Option<MeterId>,
}

/// How usage is measured.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Measure {
    /// In units of the meter, as they are counted: before conversion and free units.
    Quantity,
    /// In what the usage of the open period costs: charges of meters and invoiced overage, without fixed fees and without
    /// corrections of earlier periods.
    Spend {
        /// Only of subscriptions in this currency.
        currency: Currency,
    },
}

impl Measure {
    /// Returns the name that replies carry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quantity => "quantity",
            Self::Spend { .. } => "spend",
        }
    }

    /// Returns what money is in.
    #[must_use]
    pub const fn currency(self) -> Option<Currency> {
        match self {
            Self::Quantity => None,
            Self::Spend { currency } => Some(currency),
        }
    }
}

/// What a caller tells about a threshold to be made.
#[derive(Clone, Debug)]
pub struct NewThreshold {
    /// What people call it.
    pub name: Option<String>,
    /// Whose usage.
    pub scope: Scope,
    /// How it is measured.
    pub measure: Measure,
    /// What is all of it.
    pub limit: Decimal,
    /// Percentages; the usual ones when nothing is told.
    pub marks: Option<Vec<u32>>,
    /// Whether serving is to stop at the limit.
    pub cap: bool,
    /// What the application attaches.
    pub metadata: Metadata,
}

/// What a caller changes; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct ThresholdUpdate {
    /// Another name, or none.
    pub name: Option<Option<String>>,
    /// Another limit. Its marks are told anew.
    pub limit: Option<Decimal>,
    /// Other marks. Those that were told in a period are not told again in it.
    pub marks: Option<Vec<u32>>,
    /// Whether serving is to stop at the limit.
    pub cap: Option<bool>,
    /// What the application attaches.
    pub metadata: Option<Metadata>,
}

/// A threshold that cannot be; nothing was written.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidThreshold {
    /// Path of the field in the request.
    pub field: String,
    /// What was expected.
    pub message: String,
}

impl Threshold {
    /// Makes a threshold.
    ///
    /// # Errors
    /// [`InvalidThreshold`] names the first field that is out of range.
    pub fn new(new: NewThreshold, now: Timestamp) -> Result<Self, InvalidThreshold> {
        let scope = &new.scope;
        if scope.customer_id.is_none() && scope.product_id.is_none() && scope.meter_id.is_none() {
            let message = "expected a customer_id, a product_id or a meter_id to watch";
            return Err(invalid("customer_id", message));
        }
        if new.measure == Measure::Quantity && scope.meter_id.is_none() {
            return Err(invalid(
                "meter_id",
                "expected a meter, because measure is quantity",
            ));
        }
        check_limit(new.measure, &new.limit)?;
        Ok(Self {
            threshold_id: ThresholdId::fresh(now),
            name: new.name,
            scope: new.scope,
            measure: new.measure,
            limit: new.limit,
            marks: check_marks(new.marks.unwrap_or_else(|| MARKS_DEFAULT.to_vec()))?,
            cap: new.cap,
            revision: 0,
            metadata: new.metadata,
            created_at: now,
            updated_at: now,
        })
    }

    /// Returns the threshold with what is to be changed.
    ///
    /// # Errors
    /// As [`Threshold::new`].
    pub fn updated(
        &self,
        update: ThresholdUpdate,
        now: Timestamp,
    ) -> Result<Self, InvalidThreshold> {
        let mut after = self.clone();
        if let Some(limit) = update.limit.filter(|limit| *limit != self.limit) {
            check_limit(self.measure, &limit)?;
            after.limit = limit;
            after.revision = self.revision.saturating_add(1);
        }
        if let Some(marks) = update.marks {
            after.marks = check_marks(marks)?;
        }
        after.name = update.name.unwrap_or(after.name);
        after.cap = update.cap.unwrap_or(after.cap);
        after.metadata = update.metadata.unwrap_or(after.metadata);
        after.updated_at = now;
        Ok(after)
    }

    /// Whether it watches what `customer` uses under `plan`, which is in `currency`.
    #[must_use]
    pub fn watches(&self, customer: &CustomerId, plan: &Plan, currency: Currency) -> bool {
        let scope = &self.scope;
        let in_currency = match self.measure {
            Measure::Quantity => true,
            Measure::Spend { currency: told } => told == currency,
        };
        let is_priced = |meter: &MeterId| plan.meters().any(|priced| priced == meter);
        in_currency
            && scope.customer_id.as_ref().is_none_or(|id| id == customer)
            && scope
                .product_id
                .as_ref()
                .is_none_or(|id| *id == plan.product_id)
            && scope.meter_id.as_ref().is_none_or(is_priced)
    }

    /// Whether `used` has come to `mark` percent of the limit.
    #[must_use]
    pub fn is_reached(&self, mark: u32, used: &Decimal) -> bool {
        let hundred = Decimal::from(100_i64);
        let mark = Decimal::from(i64::from(mark));
        used * &hundred >= &self.limit * &mark
    }

    /// Whether it is a cap that `used` has come to.
    #[must_use]
    pub fn is_capped(&self, used: &Decimal) -> bool {
        self.cap && *used >= self.limit
    }
}

fn check_limit(measure: Measure, limit: &Decimal) -> Result<(), InvalidThreshold> {
    let (fits, message) = match measure {
        Measure::Quantity => {
            let (whole, fraction) = QUANTITY_DIGITS_MAX;
            let fits = limit.whole_digits() <= whole && limit.fraction_digits() <= fraction;
            (
                fits,
                format!(
                    "expected more than 0 units, at most {whole} digits before and {fraction} after the point"
                ),
            )
        }
        Measure::Spend { .. } => (
            limit.to_i64().is_some(),
            format!(
                "expected whole minor units of the currency, from 1 to {}",
                i64::MAX
            ),
        ),
    };
    if fits && limit.is_positive() {
        return Ok(());
    }
    Err(invalid("limit", message))
}

fn check_marks(mut marks: Vec<u32>) -> Result<Vec<u32>, InvalidThreshold> {
    if marks.is_empty() || marks.len() > MARKS_MAX {
        return Err(invalid("marks", format!("expected 1 to {MARKS_MAX} marks")));
    }
    for (index, mark) in marks.iter().enumerate() {
        if *mark == 0 || *mark > MARK_MAX {
            let message = format!("expected 1 to {MARK_MAX} percent");
            return Err(invalid(format!("marks[{index}]"), message));
        }
        if marks.iter().take(index).any(|before| before == mark) {
            let message = format!("expected each mark once; {mark} is there before");
            return Err(invalid(format!("marks[{index}]"), message));
        }
    }
    marks.sort_unstable();
    Ok(marks)
}

fn invalid(field: impl Into<String>, message: impl Into<String>) -> InvalidThreshold {
    InvalidThreshold {
        field: field.into(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn new(limit: &str, marks: Option<Vec<u32>>) -> NewThreshold {
        NewThreshold {
            name: None,
            scope: Scope {
                meter_id: Some(MeterId::new("calls").unwrap()),
                ..Scope::default()
            },
            measure: Measure::Quantity,
            limit: Decimal::parse(limit).unwrap(),
            marks,
            cap: false,
            metadata: Metadata::new(),
        }
    }

    fn spend(limit: &str) -> NewThreshold {
        NewThreshold {
            measure: Measure::Spend {
                currency: Currency::USD,
            },
            ..new(limit, None)
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_field() {
        let nobody = NewThreshold {
            scope: Scope::default(),
            ..new("1", None)
        };
        let of_no_meter = NewThreshold {
            scope: Scope {
                product_id: Some(ProductId::from_text("pdt_1")),
                ..Scope::default()
            },
            ..new("1", None)
        };
        for (new, field) in [
            (nobody, "customer_id"),
            (of_no_meter, "meter_id"),
            (new("0", None), "limit"),
            (new("-1", None), "limit"),
            (new("1000000000000000000", None), "limit"),
            (new("0.0000000000001", None), "limit"),
            (spend("0.5"), "limit"),
            (spend("9223372036854775808"), "limit"),
            (new("1", Some(vec![])), "marks"),
            (new("1", Some((1..=21).collect())), "marks"),
            (new("1", Some(vec![50, 0])), "marks[1]"),
            (new("1", Some(vec![1001])), "marks[0]"),
            (new("1", Some(vec![50, 80, 50])), "marks[2]"),
        ] {
            let refused = Threshold::new(new, at(0)).unwrap_err();
            assert_eq!(refused.field, field, "{refused}");
        }
    }

    #[test]
    fn marks_are_80_and_100_unless_told_and_are_reached_exactly() {
        let threshold = Threshold::new(new("2.5", None), at(0)).unwrap();
        assert_eq!(threshold.marks, [80, 100]);
        let check = |used: &str, mark: u32, expected: bool| {
            let used = Decimal::parse(used).unwrap();
            assert_eq!(threshold.is_reached(mark, &used), expected, "{used} {mark}");
        };
        check("1.999999999999", 80, false);
        check("2", 80, true);
        check("2.499999999999", 100, false);
        check("2.5", 100, true);
        check("-3", 80, false);
        check("25", 1000, true);
        let told = Threshold::new(new("1", Some(vec![120, 50])), at(0)).unwrap();
        assert_eq!(told.marks, [50, 120]);
    }

    #[test]
    fn another_limit_has_new_marks_and_the_same_one_has_not() {
        let before = Threshold::new(new("10", None), at(0)).unwrap();
        let limit = |text: &str| ThresholdUpdate {
            limit: Some(Decimal::parse(text).unwrap()),
            ..ThresholdUpdate::default()
        };
        let after = before.updated(limit("20"), at(1)).unwrap();
        assert_eq!((after.revision, after.updated_at), (1, at(1)));
        assert_eq!(before.updated(limit("10"), at(1)).unwrap().revision, 0);
        assert_eq!(
            before.updated(limit("0"), at(1)).unwrap_err().field,
            "limit"
        );
    }
}
