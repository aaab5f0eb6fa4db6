//! What the closed period's usage takes from credits.
//!
//! Grants that begin or end inside the period cut it into spans. Usage is read up to each cut; what it costs in credits up to
//! there, minus what it cost up to the cut before, is burned from the grants that live through the span between them.

use super::{
    BillingError, CreditUse, GrantUse,
    close::{Closing, Draft},
    reading::MeterReading,
    reset,
};
use crate::{
    catalog::{MeterPrice, MeterPricing},
    credits::{
        CreditAttachment,
        burn_down::{Burned, Draw, Usable, credits_for},
        overage,
    },
    money::Decimal,
    rating::allowance,
};
use std::collections::BTreeMap;
use submeter_common::{MeterId, Period};

/// A meter of one kind of credits, with what it burns span by span.
struct Burner<'a> {
    meter_id: &'a MeterId,
    units_per_credit: &'a Decimal,
    needs: Vec<Decimal>,
    burned: Burned,
}

/// Burns credits for every meter of the period, books it, and returns what each meter used.
pub(super) fn burn(
    closing: &Closing,
    draft: &mut Draft,
) -> Result<BTreeMap<MeterId, CreditUse>, BillingError> {
    let mut used = BTreeMap::new();
    for terms in &closing.subscription.plan.credit_entitlements {
        for burner in burn_one_kind(closing, draft, terms) {
            for draw in &burner.burned.draws {
                let cause = format!("usage:{}", burner.meter_id);
                draft.book.burned(
                    &terms.credit_entitlement_id,
                    &draft.invoice_id,
                    &cause,
                    draw,
                );
            }
            used.insert(burner.meter_id.clone(), burner);
        }
    }
    Ok(finish(closing, draft, used))
}

fn burn_one_kind<'a>(
    closing: &'a Closing,
    draft: &mut Draft,
    terms: &CreditAttachment,
) -> Vec<Burner<'a>> {
    let mut burners: Vec<Burner<'a>> = closing
        .meters()
        .filter_map(|(price, reading)| Burner::of(price, reading, terms))
        .collect();
    let Some(purse) = draft.purses.get_mut(&terms.credit_entitlement_id) else {
        return burners;
    };
    for (index, span) in spans(closing, terms).into_iter().enumerate() {
        for burner in &mut burners {
            let Some(need) = burner.needs.get(index) else {
                continue;
            };
            let burned = purse.burn(need, Usable::Throughout(span), closing.now);
            burner.burned.uncovered += &burned.uncovered;
            burned
                .draws
                .into_iter()
                .for_each(|draw| add_draw(&mut burner.burned.draws, draw));
        }
    }
    burners
}

fn finish(
    closing: &Closing,
    draft: &mut Draft,
    used: BTreeMap<MeterId, Burner<'_>>,
) -> BTreeMap<MeterId, CreditUse> {
    let mut invoiced: BTreeMap<&str, Decimal> = BTreeMap::new();
    let mut finished = BTreeMap::new();
    // In the order of the price, which is the order in which meters share an overage limit.
    for (price, _) in closing.meters() {
        let MeterPricing::Credits {
            credit_entitlement_id,
            ..
        } = &price.pricing
        else {
            continue;
        };
        let Some(terms) = closing
            .subscription
            .plan
            .credit_terms(credit_entitlement_id)
        else {
            continue;
        };
        let Some(burner) = used.get(&price.meter_id) else {
            continue;
        };
        let already = invoiced.entry(credit_entitlement_id.as_str()).or_default();
        let uncovered = &burner.burned.uncovered;
        // Nothing is owed for a trial.
        let (mut billed, mut carried) = (Decimal::zero(), Decimal::zero());
        if !closing.subscription.plan.is_trial() {
            let owed = reset::owed(closing, credit_entitlement_id);
            let owed = &owed + &draft.carried(credit_entitlement_id);
            billed = overage::invoiced(terms, uncovered, already);
            carried = overage::carried(terms, uncovered, &owed);
        }
        *already += &billed;
        let line = format!("usage:{}", price.meter_id);
        draft.overage(credit_entitlement_id, &line, (uncovered, &billed, &carried));
        finished.insert(
            price.meter_id.clone(),
            burner.credit_use(terms, billed, carried),
        );
    }
    finished
}

impl<'a> Burner<'a> {
    fn of(
        price: &'a MeterPrice,
        reading: &'a MeterReading,
        terms: &CreditAttachment,
    ) -> Option<Self> {
        let MeterPricing::Credits {
            credit_entitlement_id,
            meter_units_per_credit,
        } = &price.pricing
        else {
            return None;
        };
        if *credit_entitlement_id != terms.credit_entitlement_id {
            return None;
        }
        let cost = |quantity: &Decimal| {
            let chargeable = allowance::divide(quantity, price.free_threshold).chargeable;
            credits_for(&chargeable, meter_units_per_credit, terms.precision)
        };
        let up_to = reading
            .up_to
            .iter()
            .map(|(_, quantity)| quantity)
            .chain([&reading.total.quantity]);
        let needs = increments(up_to.map(cost).collect());
        Some(Self {
            meter_id: &price.meter_id,
            units_per_credit: meter_units_per_credit,
            needs,
            burned: Burned::default(),
        })
    }

    fn credit_use(
        &self,
        terms: &CreditAttachment,
        overage_billed: Decimal,
        overage_carried: Decimal,
    ) -> CreditUse {
        let grants: Vec<GrantUse> = self.burned.draws.iter().map(grant_use).collect();
        CreditUse {
            credit_entitlement_id: terms.credit_entitlement_id.clone(),
            unit: terms.credit_entitlement_unit.clone(),
            meter_units_per_credit: self.units_per_credit.clone(),
            credits_needed: self
                .needs
                .iter()
                .fold(Decimal::zero(), |sum, need| &sum + need),
            credits_used: grants
                .iter()
                .fold(Decimal::zero(), |sum, grant| &sum + &grant.amount),
            grants,
            overage_credits: self.burned.uncovered.clone(),
            overage_billed,
            overage_carried,
        }
    }
}

/// Names a draw on an invoice line.
pub(super) fn grant_use(draw: &Draw) -> GrantUse {
    GrantUse {
        grant_id: draw.grant_id.clone(),
        amount: draw.amount(),
    }
}

/// Turns running totals into what each span adds, never negative and adding up to the last total.
///
/// A running total can fall (a `last` value, a sum with negative events). Then the earlier spans are charged only for what is
/// still used at the end: otherwise they would burn credits that the period as a whole does not cost.
fn increments(mut totals: Vec<Decimal>) -> Vec<Decimal> {
    let mut least: Option<Decimal> = None;
    for total in totals.iter_mut().rev() {
        let bound = least
            .take()
            .map_or_else(|| total.clone(), |least| least.min(total.clone()));
        *total = bound.clone();
        least = Some(bound);
    }
    let mut before = Decimal::zero();
    for total in &mut totals {
        let increment = &*total - &before;
        before = std::mem::replace(total, increment);
    }
    totals
}

fn spans(closing: &Closing, terms: &CreditAttachment) -> Vec<Period> {
    let of_kind = |price: &MeterPrice| {
        matches!(&price.pricing, MeterPricing::Credits { credit_entitlement_id, .. }
            if *credit_entitlement_id == terms.credit_entitlement_id)
    };
    let period = closing.period();
    let cuts = closing
        .meters()
        .find(|(price, _)| of_kind(price))
        .map(|(_, reading)| &reading.up_to);
    let mut start = period.start;
    let mut spans = Vec::new();
    for end in cuts
        .into_iter()
        .flatten()
        .map(|(at, _)| *at)
        .chain([period.end])
    {
        spans.push(Period { start, end });
        start = end;
    }
    spans
}

fn add_draw(draws: &mut Vec<Draw>, more: Draw) {
    match draws.iter_mut().find(|draw| draw.grant_id == more.grant_id) {
        Some(draw) => {
            draw.from_remaining += &more.from_remaining;
            draw.from_expired += &more.from_expired;
        }
        None => draws.push(more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimals(values: &[i64]) -> Vec<Decimal> {
        values.iter().copied().map(Decimal::from).collect()
    }

    #[test]
    fn increments_add_up_to_the_last_total_and_are_never_negative() {
        let check = |totals: &[i64], expected: &[i64]| {
            assert_eq!(increments(decimals(totals)), decimals(expected))
        };
        check(&[], &[]);
        check(&[7], &[7]);
        check(&[3, 3, 10], &[3, 0, 7]);
        check(&[5, 2, 4], &[2, 0, 2]);
        check(&[5, 0], &[0, 0]);
    }
}
