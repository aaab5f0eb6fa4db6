//! What has been told of a customer, so that it is not told again.

use super::{Balance, Standing, Threshold};
use crate::id::{EntitlementId, SubscriptionId, ThresholdId};
use serde::{Deserialize, Serialize};

/// What has been told of one customer's open periods. What is told of closed ones is forgotten: nobody looks at them again.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Told {
    marks: Vec<Marks>,
    low: Vec<Low>,
}

/// A period of a subscription.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// Its index of the period.
    pub period: u32,
}

/// Marks of a threshold that were told in a period.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
struct Marks {
    threshold_id: ThresholdId,
    revision: u32,
    #[serde(flatten)]
    place: Place,
    marks: Vec<u32>,
}

/// A balance that was told to be low in a period.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
struct Low {
    credit_entitlement_id: EntitlementId,
    #[serde(flatten)]
    place: Place,
    /// Whether it was when somebody looked last.
    is_low: bool,
    /// How often it was told.
    times: u32,
}

impl Told {
    /// Notes every mark that `standing` has reached in `after`; returns those that were not told before.
    pub fn reach(&self, after: &mut Self, standing: &Standing) -> Vec<u32> {
        let (threshold, place) = (&standing.threshold, &standing.place);
        let mut marks = self.marks_of(threshold, place);
        let new: Vec<u32> = standing
            .reached()
            .filter(|mark| !marks.contains(mark))
            .collect();
        marks.extend(&new);
        if !marks.is_empty() {
            after.marks.push(Marks {
                threshold_id: threshold.threshold_id.clone(),
                revision: threshold.revision,
                place: place.clone(),
                marks,
            });
        }
        new
    }

    /// Notes in `after` whether a balance is low; returns the how-manieth time it is to be told, if it is: once when it falls
    /// in a period, and again only when it was more in between.
    pub fn watch(&self, after: &mut Self, balance: &Balance) -> Option<u32> {
        let entitlement = &balance.credit_entitlement_id;
        let of_these =
            |low: &&Low| low.credit_entitlement_id == *entitlement && low.place == balance.place;
        let before = self.low.iter().find(of_these);
        let (was_low, times) = before.map_or((false, 0), |low| (low.is_low, low.times));
        let is_low = balance.is_low();
        let falls = is_low && !was_low;
        let times = times.saturating_add(u32::from(falls));
        if times > 0 {
            after.low.push(Low {
                credit_entitlement_id: entitlement.clone(),
                place: balance.place.clone(),
                is_low,
                times,
            });
        }
        falls.then_some(times)
    }

    /// Returns the marks of a threshold that were told in a period, as its limit is now.
    #[must_use]
    pub fn marks_of(&self, threshold: &Threshold, place: &Place) -> Vec<u32> {
        let of_these = |told: &&Marks| {
            told.threshold_id == threshold.threshold_id
                && told.revision == threshold.revision
                && told.place == *place
        };
        let told = self.marks.iter().find(of_these);
        told.map_or_else(Vec::new, |told| told.marks.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        alerts::{Measure, NewThreshold, Scope, ThresholdUpdate},
        id::ProductId,
        metadata::Metadata,
        money::Decimal,
    };
    use submeter_common::{CustomerId, MeterId, Period, Timestamp};

    fn threshold() -> Threshold {
        let new = NewThreshold {
            name: None,
            scope: Scope {
                meter_id: Some(MeterId::new("calls").unwrap()),
                ..Scope::default()
            },
            measure: Measure::Quantity,
            limit: Decimal::from(100_i64),
            marks: Some(vec![50, 80, 100]),
            cap: true,
            metadata: Metadata::new(),
        };
        Threshold::new(new, Timestamp::from_micros(0)).unwrap()
    }

    fn standing(threshold: &Threshold, period: u32, used: i64) -> Standing {
        Standing {
            threshold: threshold.clone(),
            customer_id: CustomerId::new("ada").unwrap(),
            place: Place {
                subscription_id: SubscriptionId::from_text("sub_1"),
                period,
            },
            product_id: ProductId::from_text("pdt_1"),
            period: Period {
                start: Timestamp::from_micros(0),
                end: Timestamp::from_micros(1),
            },
            used: Decimal::from(used),
        }
    }

    fn balance(period: u32, available: i64) -> Balance {
        let standing = standing(&threshold(), period, 0);
        Balance {
            customer_id: standing.customer_id,
            place: standing.place,
            credit_entitlement_id: EntitlementId::from_text("cde_tokens"),
            credit_entitlement_name: "Tokens".to_owned(),
            granted: Decimal::from(100_i64),
            threshold: Decimal::from(20_i64),
            available: Decimal::from(available),
        }
    }

    #[test]
    fn each_mark_is_told_once_in_a_period_and_anew_in_the_next() {
        let threshold = threshold();
        let mut told = Told::default();
        let mut look = |period, used| {
            let mut after = Told::default();
            let new = told.reach(&mut after, &standing(&threshold, period, used));
            told = after;
            new
        };
        assert!(look(0, 49).is_empty());
        assert_eq!(look(0, 85), [50, 80]);
        // Usage may fall again, by an event of less; a mark that was told stays told.
        assert!(look(0, 70).is_empty());
        assert!(look(0, 85).is_empty());
        assert_eq!(look(0, 300), [100]);
        assert_eq!(look(1, 60), [50]);
    }

    #[test]
    fn a_balance_is_told_when_it_falls_and_again_only_when_it_was_more_in_between() {
        let mut told = Told::default();
        let mut look = |period, available: i64| {
            let mut after = Told::default();
            let new = told.watch(&mut after, &balance(period, available));
            told = after;
            new
        };
        assert_eq!(look(0, 21), None);
        assert_eq!(look(0, 20), Some(1));
        assert_eq!(look(0, 5), None);
        assert_eq!(look(0, 60), None);
        assert_eq!(look(0, 0), Some(2));
        assert_eq!(look(1, 0), Some(1));
    }

    #[test]
    fn another_limit_is_told_anew_and_another_mark_alone() {
        let threshold = threshold();
        let mut told = Told::default();
        let _ = Told::default().reach(&mut told, &standing(&threshold, 0, 90));
        let now = Timestamp::from_micros(1);
        let update = ThresholdUpdate {
            marks: Some(vec![50, 60, 80]),
            ..ThresholdUpdate::default()
        };
        let other_marks = threshold.updated(update, now).unwrap();
        let look =
            |threshold: &Threshold| told.reach(&mut Told::default(), &standing(threshold, 0, 90));
        assert_eq!(look(&other_marks), [60]);
        let update = ThresholdUpdate {
            limit: Some(Decimal::from(90_i64)),
            ..ThresholdUpdate::default()
        };
        assert_eq!(
            look(&threshold.updated(update, now).unwrap()),
            [50, 80, 100]
        );
    }
}
