//! Late usage: what became known of a period after it was invoiced.
//!
//! One rule: what everything known now costs, minus what was billed already. It may be negative. The difference is a line of
//! the next invoice that names its own service period; the invoice of that period never changes.

use super::{
    BillingError, CreditUse, InvoiceLine, LineKind, base_fee,
    billed::BilledUsage,
    close::{Closing, Draft},
    credit_lines::grant_use,
    line,
    reading::Reading,
    reset,
};
use crate::{
    catalog::{MeterPrice, MeterPricing},
    credits::{
        CreditAttachment,
        burn_down::{Draw, Usable, credits_for},
        overage,
    },
    id::EntitlementId,
    money::{Decimal, MoneyError, round_half_away},
    rating::{Share, Tariff, allowance},
};
use submeter_common::{Meter, Period};

/// A closed period of one meter of which other events are known now than when it was billed last.
#[derive(Clone, Debug)]
pub(super) struct LateReading {
    /// The period's index, which names its plan.
    pub n: u32,
    /// The priced meter, by its place in that plan's price.
    pub meter_index: usize,
    /// The meter itself.
    pub meter: Meter,
    /// The closed period.
    pub period: Period,
    /// All that is known of it now.
    pub reading: Reading,
}

/// What an adjustment is made from.
struct Correction<'a> {
    price: &'a MeterPrice,
    late: &'a LateReading,
    before: BilledUsage,
}

/// Makes the lines for late usage, oldest period first; none for what makes no difference.
pub(super) fn lines(
    closing: &Closing,
    draft: &mut Draft,
) -> Result<Vec<InvoiceLine>, BillingError> {
    let mut lines = Vec::new();
    for correction in corrections(closing) {
        let (late, price) = (correction.late, correction.price);
        let line = match &price.pricing {
            MeterPricing::Money { tariff } => {
                let served = base_fee::share(&closing.subscription, late.n)?;
                correction.money(tariff, served)
            }
            MeterPricing::Credits {
                credit_entitlement_id,
                meter_units_per_credit,
            } => {
                let unattached = || BillingError::UnattachedCredits(credit_entitlement_id.clone());
                let terms = closing
                    .subscription
                    .plan_of(late.n)
                    .credit_terms(credit_entitlement_id)
                    .ok_or_else(unattached)?;
                correction.credits(closing, draft, terms, meter_units_per_credit)
            }
        }
        .map_err(BillingError::rating(&price.meter_id))?;
        if let Some(line) = line {
            draft.billed.add(&line);
            lines.push(line);
        }
    }
    Ok(lines)
}

/// Lets late usage draw its credits of one `kind`, as [`lines`] does, whatever it may cost in money.
pub(super) fn draw(closing: &Closing, draft: &mut Draft, kind: &EntitlementId) {
    for correction in corrections(closing) {
        let MeterPricing::Credits {
            credit_entitlement_id,
            meter_units_per_credit,
        } = &correction.price.pricing
        else {
            continue;
        };
        let plan = closing.subscription.plan_of(correction.late.n);
        let terms = plan.credit_terms(kind);
        if let Some(terms) = terms.filter(|_| credit_entitlement_id == kind) {
            let needed = correction.needed(terms, meter_units_per_credit);
            correction.draw(&correction.change(&needed), closing, draft, terms);
        }
    }
}

/// Returns what there is to correct, oldest period first. Nothing is owed for a trial.
fn corrections(closing: &Closing) -> impl Iterator<Item = Correction<'_>> {
    closing.late.iter().filter_map(|late| {
        let plan = closing.subscription.plan_of(late.n);
        let price = plan.price.usage_based().meters.get(late.meter_index)?;
        let before = closing.billed.usage(late.period.start, &price.meter_id);
        let before = before.cloned().unwrap_or_default();
        let correction = Correction {
            price,
            late,
            before,
        };
        Some(correction).filter(|_| !plan.is_trial())
    })
}

impl Correction<'_> {
    fn money(&self, tariff: &Tariff, served: Share) -> Result<Option<InvoiceLine>, MoneyError> {
        let reading = &self.late.reading;
        let charge = reading.charge(tariff, self.price.free_threshold, served)?;
        let amount = charge.due(self.before.amount)?;
        if amount == 0 {
            return Ok(None);
        }
        Ok(Some(InvoiceLine {
            free_quantity: charge.free_quantity,
            billed_quantity: &charge.billed_quantity - &self.before.billed_quantity,
            unit_price: charge.unit_price,
            derivation: line::shown(charge.derivation),
            amount_exact: &charge.amount_exact - &Decimal::from(self.before.amount),
            amount,
            ..self.frame()
        }))
    }

    fn credits(
        &self,
        closing: &Closing,
        draft: &mut Draft,
        terms: &CreditAttachment,
        units_per_credit: &Decimal,
    ) -> Result<Option<InvoiceLine>, MoneyError> {
        let free = allowance::divide(&self.late.reading.quantity, self.price.free_threshold);
        let needed = self.needed(terms, units_per_credit);
        let held = self.before.credits_used();
        let draws = self.draw(&self.change(&needed), closing, draft, terms);
        let drawn = draws
            .iter()
            .fold(Decimal::zero(), |sum, draw| &sum + &draw.amount());
        let uncovered = (&(&needed - &held) - &drawn).or_zero();
        let of_others = &overage_of_period(closing, draft, self.late, terms) - &self.before.overage;
        let invoiced = overage::invoiced(terms, &uncovered, &of_others);
        let unit_price = overage::price(terms).cloned();
        let cost = &invoiced * &unit_price.clone().unwrap_or_default();
        let amount = self.minus_billed(round_half_away(&cost)?)?;
        let overage_billed = &invoiced - &self.before.overage;
        let overage_carried = self.carried(closing, draft, terms, &uncovered);
        if amount == 0 && draws.is_empty() && overage_carried.is_zero() {
            return Ok(None);
        }
        let line = format!("late:{}:{}", self.late.period.start, self.price.meter_id);
        let more = &uncovered - &self.before.uncovered;
        let kind = &terms.credit_entitlement_id;
        draft.overage(kind, &line, (&more, &overage_billed, &overage_carried));
        Ok(Some(InvoiceLine {
            free_quantity: free.free,
            billed_quantity: overage_billed.clone(),
            unit_price,
            amount_exact: &cost - &Decimal::from(self.before.amount),
            amount,
            credits: Some(CreditUse {
                credit_entitlement_id: terms.credit_entitlement_id.clone(),
                unit: terms.credit_entitlement_unit.clone(),
                meter_units_per_credit: units_per_credit.clone(),
                credits_needed: needed,
                credits_used: drawn,
                grants: draws.iter().map(grant_use).collect(),
                overage_credits: uncovered,
                overage_billed,
                overage_carried,
            }),
            ..self.frame()
        }))
    }

    /// Returns what all that is known now costs in credits.
    fn needed(&self, terms: &CreditAttachment, units_per_credit: &Decimal) -> Decimal {
        let reading = &self.late.reading;
        let chargeable = allowance::divide(&reading.quantity, self.price.free_threshold).chargeable;
        credits_for(&chargeable, units_per_credit, terms.precision)
    }

    /// Returns what more stays owed in credits than did, or less when it is negative: then at most what is still owed, for what
    /// was repaid meanwhile is not owed any more.
    fn carried(
        &self,
        closing: &Closing,
        draft: &Draft,
        terms: &CreditAttachment,
        uncovered: &Decimal,
    ) -> Decimal {
        let kind = &terms.credit_entitlement_id;
        let owed = &reset::owed(closing, kind) + &draft.carried(kind);
        let of_others = (&owed - &self.before.carried).or_zero();
        let more = &overage::carried(terms, uncovered, &of_others) - &self.before.carried;
        more.max(-&owed)
    }

    /// Returns what grants pay more than they did, or less when it is negative.
    ///
    /// What was not covered before stays so: the grants that could pay for it were asked when it was billed, minute by
    /// minute. Where less is needed than before, it is the uncovered part that goes first.
    fn change(&self, needed: &Decimal) -> Decimal {
        let change = needed - &self.before.credits_used();
        let more = &change - &self.before.uncovered;
        if more.is_negative() {
            change.min(Decimal::zero())
        } else {
            more
        }
    }

    /// Takes `more` credits from the grants of the service period, or gives some back when it is negative.
    fn draw(
        &self,
        more: &Decimal,
        closing: &Closing,
        draft: &mut Draft,
        terms: &CreditAttachment,
    ) -> Vec<Draw> {
        let entitlement = &terms.credit_entitlement_id;
        let Some(purse) = draft.purses.get_mut(entitlement) else {
            return Vec::new();
        };
        let draws = if more.is_negative() {
            purse.give_back(&-more, &self.before.credits, closing.now)
        } else {
            purse
                .burn(more, Usable::SomeTimeIn(self.late.period), closing.now)
                .draws
        };
        let cause = format!("late:{}:{}", self.late.period.start, self.price.meter_id);
        for draw in &draws {
            draft
                .book
                .burned(entitlement, &draft.invoice_id, &cause, draw);
        }
        draws
    }

    fn minus_billed(&self, amount: i64) -> Result<i64, MoneyError> {
        amount
            .checked_sub(self.before.amount)
            .ok_or(MoneyError::Overflow)
    }

    fn frame(&self) -> InvoiceLine {
        InvoiceLine {
            description: format!("{} (late usage)", self.late.meter.name),
            already_billed: Some(self.before.amount),
            ..line::of_meter(
                LineKind::Adjustment,
                &self.late.meter,
                self.late.period,
                &self.late.reading,
            )
        }
    }
}

/// Returns the credits of overage invoiced so far in the late reading's period, over all meters that share the kind of credits.
fn overage_of_period(
    closing: &Closing,
    draft: &Draft,
    late: &LateReading,
    terms: &CreditAttachment,
) -> Decimal {
    let mut sum = Decimal::zero();
    let plan = closing.subscription.plan_of(late.n);
    for price in &plan.price.usage_based().meters {
        let MeterPricing::Credits {
            credit_entitlement_id,
            ..
        } = &price.pricing
        else {
            continue;
        };
        if *credit_entitlement_id != terms.credit_entitlement_id {
            continue;
        }
        if let Some(usage) = draft.billed.usage(late.period.start, &price.meter_id) {
            sum += &usage.overage;
        }
    }
    sum
}
