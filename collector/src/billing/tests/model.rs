//! The reference that random lives are held to: whole credits in a list of lots, minutes as whole numbers, one day a period.
//!
//! It shares no arithmetic with the product. Only the last word on who burns first among equals, the ids of grants, is asked
//! of it.

use crate::{
    credits::OverageBehavior,
    id::{GrantId, SubscriptionId},
};

/// Minutes of a period.
pub(super) const DAY: i64 = 1_440;
/// Where a subscription's credits stand in the order of burning.
const PRIORITY: u32 = 10;
/// Cents for each credit of overage.
pub(super) const OVERAGE_CENTS: i64 = 3;

/// What was agreed.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub amount: i64,
    pub rolls_over: bool,
    pub percentage: Option<i64>,
    pub times_max: Option<u32>,
    /// Carried credits live for two days, not one.
    pub lives_longer: bool,
    pub least: Option<i64>,
    pub most: Option<i64>,
    pub behavior: OverageBehavior,
    pub limit: Option<i64>,
}

/// One grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lot {
    pub id: String,
    pub priority: u32,
    pub begins: i64,
    pub ends: Option<i64>,
    pub made: i64,
    pub left: i64,
    pub held: i64,
    pub gone: i64,
    pub times_carried: u32,
    /// Whether a subscription gave it, or what it was carried over from.
    pub of_plan: bool,
}

/// A reservation: which lots, how much of each.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub parts: Vec<(usize, i64)>,
    pub ends: i64,
    pub is_open: bool,
}

/// Everything that a customer has, owes and did.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub terms: Terms,
    pub subscription: SubscriptionId,
    pub customer: String,
    pub kind: String,
    pub lots: Vec<Lot>,
    pub holds: Vec<Held>,
    /// Usage of open periods: minute and credits.
    pub usage: Vec<(i64, i64)>,
    pub periods_closed: i64,
    pub issued: i64,
    pub used: i64,
    pub voided: i64,
    pub owed: i64,
    pub wallet: i64,
    pub funded: i64,
    pub invoiced: i64,
    pub paid_by_wallet: i64,
}

/// What would be left if every open period were closed now.
pub(super) struct Live {
    pub lots: Vec<Lot>,
    pub uncovered: i64,
}

fn is_good(lot: &Lot, minute: i64) -> bool {
    lot.begins <= minute && lot.ends.is_none_or(|ends| minute < ends)
}

/// The lots that are good at a minute, first to burn first.
fn good(lots: &[Lot], minute: i64) -> Vec<usize> {
    let mut good: Vec<usize> = (0..lots.len())
        .filter(|place| is_good(&lots[*place], minute))
        .collect();
    good.sort_by_key(|place| {
        let lot = &lots[*place];
        let ends = lot.ends.unwrap_or(i64::MAX);
        (lot.priority, ends, lot.begins, lot.made, lot.id.clone())
    });
    good
}

/// Lets usage of a minute burn what it can; returns what it cannot.
fn burn(lots: &mut [Lot], minute: i64, amount: i64) -> i64 {
    let mut needed = amount;
    for place in good(lots, minute) {
        let lot = &mut lots[place];
        for source in [&mut lot.left, &mut lot.gone] {
            let part = needed.min(*source);
            *source -= part;
            needed -= part;
        }
    }
    needed
}

impl Model {
    pub(super) fn new(
        terms: Terms,
        subscription: SubscriptionId,
        customer: &str,
        kind: &str,
    ) -> Self {
        let mut model = Self {
            terms,
            subscription,
            customer: customer.to_owned(),
            kind: kind.to_owned(),
            lots: Vec::new(),
            holds: Vec::new(),
            usage: Vec::new(),
            periods_closed: 0,
            issued: 0,
            used: 0,
            voided: 0,
            owed: 0,
            wallet: 0,
            funded: 0,
            invoiced: 0,
            paid_by_wallet: 0,
        };
        model.add(model.lot_of_period(0, 0));
        model
    }

    /// Gives credits as a caller does.
    pub(super) fn give(
        &mut self,
        key: &str,
        amount: i64,
        priority: u32,
        (begins, ends): (i64, Option<i64>),
        now: i64,
    ) {
        self.begin(now);
        let id = GrantId::derived(&[&self.customer, &self.kind, key]).to_string();
        let mut lot = Lot {
            id,
            priority,
            begins,
            ends,
            made: now,
            left: amount,
            held: 0,
            gone: 0,
            times_carried: 0,
            of_plan: false,
        };
        self.issued += amount;
        if self.repays() && begins <= now {
            let repaid = lot.left.min(self.owed);
            lot.left -= repaid;
            self.owed -= repaid;
        }
        self.lots.push(lot);
    }

    /// Takes what nobody uses, in the order of burning; nothing when there is not enough.
    pub(super) fn take(&mut self, amount: i64, now: i64) -> Option<Vec<(usize, i64)>> {
        self.begin(now);
        let unused = self.unused(now);
        let good = good(&self.lots, now);
        if good.iter().map(|place| unused[*place]).sum::<i64>() < amount {
            return None;
        }
        let mut needed = amount;
        let mut parts = Vec::new();
        for place in good {
            let part = needed.min(unused[place]);
            if part > 0 {
                self.lots[place].left -= part;
                needed -= part;
                parts.push((place, part));
            }
        }
        Some(parts)
    }

    /// Takes back of one lot, before it is good, too; false when there is not as much or it is over.
    pub(super) fn void(&mut self, place: usize, amount: i64, now: i64) -> bool {
        self.begin(now);
        let is_over = self.lots[place].ends.is_some_and(|ends| ends <= now);
        if is_over || self.unused(now)[place] < amount {
            return false;
        }
        self.lots[place].left -= amount;
        self.voided += amount;
        true
    }

    pub(super) fn hold(&mut self, amount: i64, ends: i64, now: i64) -> bool {
        let Some(parts) = self.take(amount, now) else {
            return false;
        };
        for (place, part) in &parts {
            self.lots[*place].held += part;
        }
        self.holds.push(Held {
            parts,
            ends,
            is_open: true,
        });
        true
    }

    /// Ends a hold: `used` of it, and what that is beyond it. False when it cannot, and then nothing is changed.
    pub(super) fn commit(&mut self, which: usize, used: i64, now: i64) -> bool {
        self.begin(now);
        let held = self.holds[which].clone();
        let total: i64 = held.parts.iter().map(|(_, part)| part).sum();
        if !held.is_open || held.ends <= now || self.take((used - total).max(0), now).is_none() {
            return false;
        }
        self.used += used;
        self.end(which, used, now);
        true
    }

    pub(super) fn release(&mut self, which: usize, now: i64) -> bool {
        self.begin(now);
        let is_open = self.holds[which].is_open;
        if is_open {
            self.end(which, 0, now);
        }
        is_open
    }

    fn end(&mut self, which: usize, mut used: i64, now: i64) {
        self.holds[which].is_open = false;
        for (place, part) in self.holds[which].parts.clone() {
            let lot = &mut self.lots[place];
            let taken = part.min(used);
            used -= taken;
            lot.held -= part;
            if lot.ends.is_some_and(|ends| ends <= now) {
                lot.gone += part - taken;
            } else {
                lot.left += part - taken;
            }
        }
    }

    /// Forfeits what is over and no period will close.
    pub(super) fn expire(&mut self, now: i64) {
        self.begin(now);
        let live = self.live(now);
        for (lot, live) in self.lots.iter_mut().zip(live.lots) {
            if !lot.of_plan && lot.ends.is_some_and(|ends| ends <= now) {
                let rest = lot.left.min(live.left);
                lot.left -= rest;
                lot.gone += rest;
            }
        }
    }

    pub(super) fn fund(&mut self, amount: i64) -> bool {
        if self.wallet + amount < 0 {
            return false;
        }
        self.wallet += amount;
        self.funded += amount;
        true
    }

    /// Closes every period that is over.
    pub(super) fn bill(&mut self, now: i64) {
        while (self.periods_closed + 1) * DAY <= now {
            self.close(now);
        }
    }

    /// What every open period has used so far burned in thought, credits counted that have begun and are not given yet.
    pub(super) fn live(&self, now: i64) -> Live {
        let mut live = Live {
            lots: self.lots.clone(),
            uncovered: 0,
        };
        for period in self.periods_closed..=now / DAY {
            let lot = self.lot_of_period(period, now);
            if live.lots.iter().all(|known| known.id != lot.id) {
                live.lots.push(lot);
            }
            for (minute, amount) in self.usage_of(period) {
                live.uncovered += burn(&mut live.lots, minute, amount);
            }
        }
        live
    }

    /// What could be used now.
    pub(super) fn available(&self, now: i64) -> i64 {
        let live = self.live(now);
        let good = good(&live.lots, now);
        good.into_iter()
            .map(|place| {
                let left = live.lots[place].left;
                // What was forfeited is for usage of before, not to be given away.
                let booked = self.lots.get(place);
                booked.map_or(left, |booked| booked.left.min(left))
            })
            .sum()
    }

    fn unused(&self, now: i64) -> Vec<i64> {
        let live = self.live(now).lots;
        let lots = self.lots.iter().zip(live);
        lots.map(|(lot, live)| lot.left.min(live.left)).collect()
    }

    /// Books the credits of periods that have begun although an earlier one is not closed.
    fn begin(&mut self, now: i64) {
        for period in self.periods_closed + 1..=now / DAY {
            self.add(self.lot_of_period(period, now));
        }
    }

    fn add(&mut self, lot: Lot) {
        if self.lots.iter().all(|known| known.id != lot.id) {
            self.issued += lot.left;
            self.lots.push(lot);
        }
    }

    fn lot_of_period(&self, period: i64, now: i64) -> Lot {
        let cause = [self.subscription.as_str(), &self.kind, &period.to_string()];
        Lot {
            id: GrantId::derived(&cause).to_string(),
            priority: PRIORITY,
            begins: period * DAY,
            ends: Some((period + 1) * DAY),
            made: now,
            left: self.terms.amount,
            held: 0,
            gone: 0,
            times_carried: 0,
            of_plan: true,
        }
    }

    fn usage_of(&self, period: i64) -> Vec<(i64, i64)> {
        let mut usage: Vec<(i64, i64)> = self.usage.clone();
        usage.retain(|(minute, _)| minute / DAY == period);
        usage.sort_by_key(|(minute, _)| *minute);
        usage
    }

    fn close(&mut self, now: i64) {
        let period = self.periods_closed;
        let end = (period + 1) * DAY;
        let mut uncovered = 0;
        for (minute, amount) in self.usage_of(period) {
            uncovered += burn(&mut self.lots, minute, amount);
            self.used += amount;
        }
        self.usage.retain(|(minute, _)| minute / DAY != period);
        let invoiced = self.overage(uncovered);
        let known = self.lots.len();
        self.add(self.lot_of_period(period + 1, now));
        let mut heirs = self.carry_over(known, (period * DAY, end), now);
        for lot in &mut self.lots {
            if lot.ends.is_some_and(|ends| ends <= end) {
                lot.gone += std::mem::take(&mut lot.left);
            }
        }
        self.lots.append(&mut heirs);
        if self.repays() {
            for place in good(&self.lots, end) {
                let part = self.lots[place].left.min(self.owed);
                self.lots[place].left -= part;
                self.owed -= part;
            }
        }
        let paid = self.wallet.min(invoiced);
        self.wallet -= paid;
        self.paid_by_wallet += paid;
        self.invoiced += invoiced;
        self.periods_closed += 1;
    }

    /// Owes, sells or forgives what no credits covered; returns the cents of what is sold.
    fn overage(&mut self, uncovered: i64) -> i64 {
        let within = |already: i64| match self.terms.limit {
            None => uncovered,
            Some(limit) => uncovered.min((limit - already).max(0)),
        };
        let (sold, owed) = match self.terms.behavior {
            OverageBehavior::ForgiveAtReset => (0, 0),
            OverageBehavior::InvoiceAtBilling => (within(0), 0),
            OverageBehavior::CarryDeficit | OverageBehavior::CarryDeficitAutoRepay => {
                (0, within(self.owed))
            }
        };
        self.owed += owed;
        self.issued += uncovered - owed;
        sold * OVERAGE_CENTS
    }

    fn carry_over(&mut self, known: usize, (start, end): (i64, i64), now: i64) -> Vec<Lot> {
        let terms = self.terms.clone();
        let mut heirs = Vec::new();
        let is_due = |lot: &Lot| {
            let ends = lot.ends.is_some_and(|ends| start < ends && ends <= end);
            terms.rolls_over && lot.of_plan && ends
        };
        for lot in self.lots[..known].iter_mut().filter(|lot| is_due(lot)) {
            let rest = std::mem::take(&mut lot.left);
            let share = terms
                .percentage
                .map_or(rest, |percent| (2 * rest * percent + 100) / 200);
            let share = share.max(terms.least.unwrap_or(0));
            let share = share.min(terms.most.unwrap_or(i64::MAX));
            let is_worn_out = terms
                .times_max
                .is_some_and(|most| lot.times_carried >= most);
            let heir = if is_worn_out { 0 } else { share };
            lot.gone += rest - heir.min(rest);
            if heir == 0 {
                continue;
            }
            self.issued += heir - heir.min(rest);
            heirs.push(Lot {
                id: GrantId::derived(&["rollover", &lot.id]).to_string(),
                begins: end,
                ends: Some(end + if terms.lives_longer { 2 * DAY } else { DAY }),
                made: now,
                left: heir,
                held: 0,
                gone: 0,
                times_carried: lot.times_carried + 1,
                ..lot.clone()
            });
        }
        heirs
    }

    fn repays(&self) -> bool {
        self.terms.behavior == OverageBehavior::CarryDeficitAutoRepay
    }
}
