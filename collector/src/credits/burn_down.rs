//! Burning credits: how many units cost, and which grants pay, in which order.
//!
//! The order is priority (lower first), then expiry (earliest first, none last), then age (oldest first). What usage costs in
//! credits is computed exactly and rounded once, half away from zero, to the precision of the entitlement: the same rule that
//! money follows, so that over many periods neither side gains by rounding.

use super::{Grant, GrantId, GrantSource, rollover::CarriedOver};
use crate::{id::SubscriptionId, money::Decimal};
use std::{cmp::Ordering, collections::BTreeMap};
use submeter_common::time::{Period, Timestamp};

/// Returns how many credits `units` cost, at the entitlement's `precision`.
///
/// `units_per_credit` is above zero by the checks of the catalog; a zero would cost nothing.
#[must_use]
pub fn credits_for(units: &Decimal, units_per_credit: &Decimal, precision: u8) -> Decimal {
    units
        .divided_rounded(units_per_credit, precision)
        .unwrap_or_default()
}

/// A customer's grants of one kind of credits, as they are burned.
#[derive(Clone, Debug)]
pub struct Purse {
    before: Vec<Grant>,
    grants: Vec<Grant>,
    /// Grants that came in since, in any order.
    added: Vec<Grant>,
}

/// When usage took place, as far as it decides which grants may pay for it.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Usable {
    /// Grants that live through all of a span in which none begins or ends.
    Throughout(Period),
    /// Grants that are good at one instant: for what is taken at once.
    At(Timestamp),
    /// Grants that live in any part of a period: for usage that came late, whose minutes are no longer told apart.
    SomeTimeIn(Period),
}

/// What burning came to.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Burned {
    /// Credits taken, grant by grant in the order of burning.
    pub draws: Vec<Draw>,
    /// Credits that no grant had.
    pub uncovered: Decimal,
}

/// Credits taken from one grant.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Draw {
    /// The grant.
    pub grant_id: GrantId,
    /// Taken from what was still available.
    pub from_remaining: Decimal,
    /// Taken from what had been forfeited at its expiry: the usage is older than that, it only came late.
    pub from_expired: Decimal,
}

impl Burned {
    /// Takes from a grant what is still uncovered, as far as it has any.
    fn take(&mut self, grant: &mut Grant, when: Usable, now: Timestamp) {
        let from_remaining = grant.remaining.clone().min(self.uncovered.clone());
        self.uncovered -= &from_remaining;
        let from_expired = match when {
            Usable::At(_) => Decimal::zero(),
            _ => grant.expired.clone().min(self.uncovered.clone()),
        };
        self.uncovered -= &from_expired;
        if from_remaining.is_zero() && from_expired.is_zero() {
            return;
        }
        grant.remaining -= &from_remaining;
        grant.expired -= &from_expired;
        grant.updated_at = now;
        // A grant that was good and also took over another's rest is taken from twice.
        let drawn = self
            .draws
            .iter_mut()
            .find(|draw| draw.grant_id == grant.grant_id);
        match drawn {
            Some(draw) => {
                draw.from_remaining += &from_remaining;
                draw.from_expired += &from_expired;
            }
            None => self.draws.push(Draw {
                grant_id: grant.grant_id.clone(),
                from_remaining,
                from_expired,
            }),
        }
    }
}

impl Draw {
    /// Returns all that was taken.
    #[must_use]
    pub fn amount(&self) -> Decimal {
        &self.from_remaining + &self.from_expired
    }
}

impl Purse {
    /// Takes the grants in hand, in any order.
    #[must_use]
    pub fn new(mut grants: Vec<Grant>) -> Self {
        grants.sort_by(burning_order);
        Self {
            before: grants.clone(),
            grants,
            added: Vec::new(),
        }
    }

    /// Burns `need` credits for usage that took place in `when`.
    pub fn burn(&mut self, need: &Decimal, when: Usable, now: Timestamp) -> Burned {
        let mut burned = Burned {
            draws: Vec::new(),
            uncovered: need.clone().or_zero(),
        };
        for place in 0..self.grants.len() {
            if burned.uncovered.is_zero() {
                break;
            }
            if !when.allows(&self.grants[place]) {
                continue;
            }
            burned.take(&mut self.grants[place], when, now);
            if let Usable::SomeTimeIn(_) = when {
                self.burn_carried(place, &mut burned, when, now);
            }
        }
        burned
    }

    /// Burns what the rest of the grant at `place` was carried over as: had the usage been known, that much less would have
    /// been carried.
    fn burn_carried(&mut self, place: usize, burned: &mut Burned, when: Usable, now: Timestamp) {
        let mut from = self.grants[place].grant_id.clone();
        loop {
            let is_heir = |grant: &&mut Grant| grant.parent_grant_id.as_ref() == Some(&from);
            let Some(heir) = self.grants.iter_mut().find(is_heir) else {
                return;
            };
            burned.take(heir, when, now);
            from = heir.grant_id.clone();
        }
    }

    /// Gives back `amount` of the credits that `taken` lists, in the reverse order of burning, because a correction says that
    /// less was used. What has expired meanwhile comes back as expired. The draws are negative.
    pub fn give_back(
        &mut self,
        amount: &Decimal,
        taken: &BTreeMap<GrantId, Decimal>,
        now: Timestamp,
    ) -> Vec<Draw> {
        let mut left = amount.clone().or_zero();
        let mut draws = Vec::new();
        for grant in self.grants.iter_mut().rev() {
            let Some(held) = taken.get(&grant.grant_id) else {
                continue;
            };
            let back = held.clone().min(left.clone());
            if !back.is_positive() {
                continue;
            }
            left -= &back;
            grant.updated_at = now;
            let expired = grant.expires_at.is_some_and(|end| end <= now);
            let draw = |from_remaining, from_expired| Draw {
                grant_id: grant.grant_id.clone(),
                from_remaining,
                from_expired,
            };
            if expired {
                grant.expired += &back;
                draws.push(draw(Decimal::zero(), -&back));
            } else {
                grant.remaining += &back;
                draws.push(draw(-&back, Decimal::zero()));
            }
        }
        draws
    }

    /// Ends the grants of period `n` of a subscription, which ends earlier than was thought when they were made: where `gone`
    /// begins. Those that were agreed to outlive the period are left, and those of a trial where `is_last` does not say that no
    /// period follows.
    pub fn cut(
        &mut self,
        subscription: &SubscriptionId,
        (n, is_last): (u32, bool),
        gone: Period,
        now: Timestamp,
    ) {
        let of_period = |grant: &&mut Grant| {
            let ends_in = |end: Timestamp| gone.start < end && end <= gone.end;
            let ends = match grant.source {
                GrantSource::Subscription => grant.period == Some(n),
                GrantSource::Trial => is_last,
                GrantSource::OneTime | GrantSource::Api | GrantSource::Rollover => false,
            };
            ends && grant.subscription_id.as_ref() == Some(subscription)
                && grant.expires_at.is_some_and(ends_in)
        };
        for grant in self.grants.iter_mut().filter(of_period) {
            grant.expires_at = Some(gone.start);
            grant.updated_at = now;
        }
    }

    /// Takes further grants in hand.
    pub fn add(&mut self, grants: impl IntoIterator<Item = Grant>) {
        self.added.extend(grants);
    }

    /// Carries over what is left of the grants that `is_due` names; the successors come into the purse.
    pub fn carry_over(
        &mut self,
        is_due: impl Fn(&Grant) -> bool,
        divide: impl Fn(&Grant) -> CarriedOver,
        now: Timestamp,
    ) -> Vec<CarriedOver> {
        let mut all = Vec::new();
        for grant in self.grants.iter_mut().filter(|grant| is_due(grant)) {
            let divided = divide(grant);
            grant.remaining = Decimal::zero();
            grant.expired += &divided.forfeited;
            grant.updated_at = now;
            self.added.extend(divided.successor.clone());
            all.push(divided);
        }
        all
    }

    /// Takes up to `owed` credits from grants that are good at `at`, those that came in since included.
    pub fn repay(&mut self, owed: &Decimal, at: Timestamp, now: Timestamp) -> Vec<Draw> {
        let mut candidates: Vec<&mut Grant> = self
            .grants
            .iter_mut()
            .chain(&mut self.added)
            .filter(|grant| grant.is_good_at(at))
            .collect();
        candidates.sort_by(|one, other| burning_order(one, other));
        let mut left = owed.clone().or_zero();
        let mut draws = Vec::new();
        for grant in candidates {
            let part = grant.remaining.clone().min(left.clone());
            if part.is_zero() {
                continue;
            }
            left -= &part;
            grant.remaining -= &part;
            grant.updated_at = now;
            draws.push(Draw {
                grant_id: grant.grant_id.clone(),
                from_remaining: part,
                from_expired: Decimal::zero(),
            });
        }
        draws
    }

    /// Returns the grants that came in.
    pub fn take_added(&mut self) -> Vec<Grant> {
        std::mem::take(&mut self.added)
    }

    /// Forfeits what is left of the grants that have expired at `at`; returns them with the forfeited amounts.
    pub fn expire(&mut self, at: Timestamp, now: Timestamp) -> Vec<(GrantId, Decimal)> {
        let mut forfeited = Vec::new();
        let due = |grant: &&mut Grant| {
            grant.expires_at.is_some_and(|end| end <= at) && !grant.remaining.is_zero()
        };
        for grant in self.grants.iter_mut().filter(due) {
            let rest = std::mem::take(&mut grant.remaining);
            grant.expired += &rest;
            grant.updated_at = now;
            forfeited.push((grant.grant_id.clone(), rest));
        }
        forfeited
    }

    /// Returns the instants strictly inside `period` at which a grant begins or ends, in order.
    #[must_use]
    pub fn cuts(&self, period: Period) -> Vec<Timestamp> {
        let mut cuts: Vec<Timestamp> = self
            .grants
            .iter()
            .flat_map(|grant| [Some(grant.effective_at), grant.expires_at])
            .flatten()
            .map(Timestamp::truncate_to_minute)
            .filter(|at| period.start < *at && *at < period.end)
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }

    /// Returns the grants as they are now, in the order of burning.
    #[must_use]
    pub fn into_grants(self) -> Vec<Grant> {
        self.grants
    }

    /// Returns each grant that changed, before and after.
    pub fn into_changes(self) -> impl Iterator<Item = (Grant, Grant)> {
        self.before
            .into_iter()
            .zip(self.grants)
            .filter(|(before, after)| before != after)
    }
}

impl Usable {
    fn allows(self, grant: &Grant) -> bool {
        let begins = grant.effective_at.truncate_to_minute();
        let ends = grant.expires_at.map(Timestamp::truncate_to_minute);
        match self {
            Self::Throughout(span) => {
                begins <= span.start && ends.is_none_or(|end| span.end <= end)
            }
            Self::At(now) => grant.is_good_at(now),
            Self::SomeTimeIn(period) => {
                begins < period.end && ends.is_none_or(|end| period.start < end)
            }
        }
    }
}

fn burning_order(one: &Grant, other: &Grant) -> Ordering {
    let expiry = |grant: &Grant| (grant.expires_at.is_none(), grant.expires_at);
    (one.priority.cmp(&other.priority))
        .then_with(|| expiry(one).cmp(&expiry(other)))
        .then_with(|| one.effective_at.cmp(&other.effective_at))
        .then_with(|| one.created_at.cmp(&other.created_at))
        .then_with(|| one.grant_id.cmp(&other.grant_id))
}

#[cfg(test)]
mod tests;
