//! What was billed already, derived from the invoices themselves: there is no second record that could disagree with them.

use super::{Invoice, InvoiceLine, LineKind};
use crate::{credits::GrantId, money::Decimal};
use std::collections::BTreeMap;
use submeter_common::{MeterId, Period, Timestamp};

/// All usage that a subscription's invoices have billed.
#[derive(Clone, Debug, Default)]
pub(super) struct Billed {
    usage: BTreeMap<(Timestamp, MeterId), BilledUsage>,
    /// Minor units of fixed fees, by the start of their period.
    fees: BTreeMap<Timestamp, i64>,
}

/// What was billed for one meter and service period, over all invoices.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub(super) struct BilledUsage {
    /// The quantity known when it was last billed.
    pub quantity: Decimal,
    /// The events known then.
    pub events: u64,
    /// Units that money paid.
    pub billed_quantity: Decimal,
    /// Minor units.
    pub amount: i64,
    /// Credits that grants paid, by grant.
    pub credits: BTreeMap<GrantId, Decimal>,
    /// Credits that no grant covered when it was last billed.
    pub uncovered: Decimal,
    /// Credits of overage that money paid.
    pub overage: Decimal,
    /// Credits of overage that stayed owed in credits.
    pub carried: Decimal,
}

impl Billed {
    /// Adds up `invoices`, oldest first. Those that were withdrawn count, too: see [`super::change::void`].
    pub(super) fn of<'a>(invoices: impl IntoIterator<Item = &'a Invoice>) -> Self {
        let mut billed = Self::default();
        for invoice in invoices {
            for line in &invoice.lines {
                billed.add(line);
            }
        }
        billed
    }

    /// Adds one line, newer than all before.
    pub(super) fn add(&mut self, line: &InvoiceLine) {
        let Some(meter_id) = line.meter_id.clone() else {
            let fee = self.fees.entry(line.service_period.start).or_default();
            *fee = fee.saturating_add(line.amount);
            return;
        };
        let entry = self
            .usage
            .entry((line.service_period.start, meter_id))
            .or_default();
        // Each line fits an i64 and so does every invoice's total; billing re-checks the difference it books.
        entry.amount = entry.amount.saturating_add(line.amount);
        match line.kind {
            LineKind::BaseFee | LineKind::CreditOverage => return,
            LineKind::Usage | LineKind::Adjustment => {}
        }
        entry.quantity = line.quantity.clone();
        entry.events = line.events;
        entry.billed_quantity += &line.billed_quantity;
        if let Some(credits) = &line.credits {
            entry.uncovered = credits.overage_credits.clone();
            entry.overage += &credits.overage_billed;
            entry.carried += &credits.overage_carried;
            for grant in &credits.grants {
                *entry.credits.entry(grant.grant_id.clone()).or_default() += &grant.amount;
            }
        }
    }

    /// Returns what was billed for a meter in the service period that begins at `start`.
    pub(super) fn usage(&self, start: Timestamp, meter: &MeterId) -> Option<&BilledUsage> {
        self.usage.get(&(start, meter.clone()))
    }

    /// Returns the minor units of the fixed fee billed for the period that begins at `start`.
    pub(super) fn fee(&self, start: Timestamp) -> i64 {
        self.fees.get(&start).copied().unwrap_or_default()
    }

    /// Returns the events of a meter that were known when they were last billed, over service periods that begin in `span`.
    pub(super) fn events_within(&self, span: Period, meter: &MeterId) -> u64 {
        let of_meter = |((at, id), _): &(&(Timestamp, MeterId), &BilledUsage)| {
            span.contains(*at) && id == meter
        };
        self.usage
            .iter()
            .filter(of_meter)
            .fold(0, |sum, (_, usage)| sum.saturating_add(usage.events))
    }
}

impl BilledUsage {
    /// Returns the credits that grants paid.
    pub(super) fn credits_used(&self) -> Decimal {
        self.credits
            .values()
            .fold(Decimal::zero(), |sum, amount| &sum + amount)
    }
}
