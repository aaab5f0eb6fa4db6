//! Closing a period: a pure computation from what was read to a settlement.
//!
//! The order matters where credits are scarce: late usage of older periods draws first, because it was used first; then the
//! closed period's meters in the order of the price. Only then do grants expire and new ones begin.

use super::{
    BillingError, InvoiceLine, InvoiceStatus, NewInvoice, Settlement,
    adjustment::{self, LateReading},
    base_fee,
    billed::Billed,
    blocked, credit_lines, gather, line, prepaid,
    reading::MeterReading,
    reset,
};
use crate::{
    bookkeeping::{Book, Posting},
    catalog::{MeterPrice, MeterPricing},
    credits::{EntitlementId, Grant, burn_down::Purse},
    id::InvoiceId,
    ledger::Books,
    money::{Decimal, MoneyError},
    rating::allowance,
    subscription::Subscription,
};
use std::collections::BTreeMap;
use submeter_common::{AgentId, Period, Timestamp};

/// Everything that closing one period depends on.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    /// The subscription; its open period is the one to close.
    pub subscription: Subscription,
    /// Readings of the meters of the price.
    pub readings: Vec<MeterReading>,
    /// Closed periods of which more is known than was billed.
    pub late: Vec<LateReading>,
    /// What the subscription's invoices have billed so far.
    pub billed: Billed,
    /// The customer's balances, read before the grants.
    pub books: Books,
    /// The customer's grants of every kind of credits that the subscription attaches.
    pub grants: Vec<Grant>,
    /// Agents that had not delivered when the wait was over; empty for a complete period.
    pub missing_agents: Vec<AgentId>,
    /// The instant of the settlement.
    pub now: Timestamp,
}

/// What changes while lines are made.
pub(super) struct Draft {
    pub invoice_id: InvoiceId,
    pub billed: Billed,
    pub purses: BTreeMap<EntitlementId, Purse>,
    pub book: Book,
    /// Overage of this close that stays owed in credits, by kind.
    pub carried: BTreeMap<EntitlementId, Decimal>,
}

impl Draft {
    /// Returns the overage of this close that stays owed.
    pub(super) fn carried(&self, entitlement: &EntitlementId) -> Decimal {
        self.carried.get(entitlement).cloned().unwrap_or_default()
    }

    /// Books what of a line's usage no grant covers, and what becomes of it: `billed` in money, `carried` in credits, the rest
    /// forgiven. On a correction each is the difference, and may be negative.
    pub(super) fn overage(
        &mut self,
        entitlement: &EntitlementId,
        line: &str,
        (uncovered, billed, carried): (&Decimal, &Decimal, &Decimal),
    ) {
        let forgiven = &(uncovered - billed) - carried;
        let (invoice, book) = (&self.invoice_id, &mut self.book);
        // What falls is booked the other way round, or it would be owed less than nothing in between.
        if uncovered.is_negative() {
            book.overage_invoiced(entitlement, invoice, line, billed);
            book.overage_forgiven(entitlement, invoice, line, &forgiven);
            book.overage(entitlement, invoice, line, uncovered);
        } else {
            book.overage(entitlement, invoice, line, uncovered);
            book.overage_invoiced(entitlement, invoice, line, billed);
            book.overage_forgiven(entitlement, invoice, line, &forgiven);
        }
        *self.carried.entry(entitlement.clone()).or_default() += carried;
    }
}

impl Closing {
    /// Returns the period to close.
    pub(super) fn period(&self) -> Period {
        self.subscription.current_period
    }

    /// Returns each priced meter that was read, with its reading, in the order of the price.
    pub(super) fn meters(&self) -> impl Iterator<Item = (&MeterPrice, &MeterReading)> {
        let prices = &self.subscription.plan.price.usage_based().meters;
        prices.iter().filter_map(|price| {
            let mut readings = self.readings.iter();
            let reading = readings.find(|reading| reading.meter.id == price.meter_id)?;
            Some((price, reading))
        })
    }

    fn draft(&self) -> Result<Draft, BillingError> {
        let subscription = &self.subscription;
        let gone = Period {
            start: self.period().end,
            end: subscription
                .plan
                .whole_period(subscription.next_period)?
                .end,
        };
        let is_last = subscription.period(next_index(subscription)?)?.is_none();
        let mut purses = BTreeMap::new();
        for id in gather::entitlements(subscription) {
            let grants = self
                .grants
                .iter()
                .filter(|grant| grant.credit_entitlement_id == *id)
                .cloned();
            let mut purse = Purse::new(grants.collect());
            purse.cut(
                &subscription.subscription_id,
                (subscription.next_period, is_last),
                gone,
                self.now,
            );
            purses.insert(id.clone(), purse);
        }
        Ok(Draft {
            invoice_id: blocked::invoice_id(subscription),
            billed: self.billed.clone(),
            purses,
            book: Book::new(subscription.customer_id.clone(), self.now),
            carried: BTreeMap::new(),
        })
    }
}

/// Computes the settlement that closes the open period.
pub(super) fn close(closing: &Closing) -> Result<Settlement, BillingError> {
    let (invoice, mut draft) = bill(closing)?;
    let subscription = advanced(closing)?;
    let (grants_changed, grants_new) = reset::credits(closing, &mut draft, &subscription)?;
    let invoice = Some(invoice).filter(|invoice| !invoice.lines.is_empty());
    if let Some(invoice) = &invoice {
        draft
            .book
            .invoiced(&invoice.invoice_id, invoice.total, invoice.currency);
    }
    let settlement = Settlement {
        expected_next_period: closing.subscription.next_period,
        posting: Posting {
            expected_entries: Some(closing.books.entries),
            grants_changed,
            grants_new,
            transfers: draft.book.into_transfers(),
            ..Posting::empty(subscription.customer_id.clone())
        },
        subscription,
        invoice,
    };
    Ok(prepaid::pay_from_wallet(settlement, &closing.books))
}

/// Computes the invoice of the open period, which has no lines when nothing was used and nothing is due.
pub(super) fn bill(closing: &Closing) -> Result<(NewInvoice, Draft), BillingError> {
    let mut draft = closing.draft()?;
    let corrections = adjustment::lines(closing, &mut draft)?;
    let mut lines = usage_lines(closing, &mut draft)?;
    lines.extend(corrections);
    let (subscription, n) = (&closing.subscription, closing.subscription.next_period);
    let billed = draft.billed.fee(closing.period().start);
    lines.extend(base_fee::correction(subscription, n, billed)?);
    lines.extend(base_fee::in_advance(
        subscription,
        next_index(subscription)?,
    )?);
    let invoice = invoice(
        &closing.subscription,
        draft.invoice_id.clone(),
        lines,
        closing.now,
    )?;
    let invoice = NewInvoice {
        period: Some(closing.period()),
        closes_period: Some(closing.subscription.next_period),
        complete: closing.missing_agents.is_empty(),
        missing_agents: closing.missing_agents.clone(),
        ..invoice
    };
    Ok((invoice, draft))
}

/// Burns credits of one `kind` as a close would, and returns the grants as they then are, with the credits that the period's
/// usage needed and no grant had. Nothing is rated: what an amount cannot hold does not stand in the way.
pub(super) fn burn(
    closing: &Closing,
    kind: &EntitlementId,
) -> Result<(Vec<Grant>, Decimal), BillingError> {
    let mut draft = closing.draft()?;
    adjustment::draw(closing, &mut draft, kind);
    let used = credit_lines::burn(closing, &mut draft)?;
    let uncovered = used
        .values()
        .filter(|used| used.credit_entitlement_id == *kind)
        .fold(Decimal::zero(), |sum, used| &sum + &used.overage_credits);
    let purse = draft.purses.remove(kind);
    Ok((purse.map(Purse::into_grants).unwrap_or_default(), uncovered))
}

/// Makes an invoice of `lines` that closes no period.
pub(super) fn invoice(
    subscription: &Subscription,
    invoice_id: InvoiceId,
    lines: Vec<InvoiceLine>,
    now: Timestamp,
) -> Result<NewInvoice, MoneyError> {
    let sum = |total: i64, line: &InvoiceLine| total.checked_add(line.amount);
    let total = lines
        .iter()
        .try_fold(0_i64, sum)
        .ok_or(MoneyError::Overflow)?;
    Ok(NewInvoice {
        invoice_id,
        // Nothing is owed: zero, or a correction in the customer's favour, which stays on its receivable account.
        status: if total > 0 {
            InvoiceStatus::Issued
        } else {
            InvoiceStatus::Paid
        },
        customer_id: subscription.customer_id.clone(),
        subscription_id: subscription.subscription_id.clone(),
        test_clock: subscription.test_clock.clone(),
        product_id: subscription.plan.product_id.clone(),
        period: None,
        closes_period: None,
        issued_at: now,
        due_at: now,
        currency: subscription.currency,
        lines,
        total,
        wallet_applied: 0,
        complete: true,
        missing_agents: Vec::new(),
    })
}

fn usage_lines(closing: &Closing, draft: &mut Draft) -> Result<Vec<InvoiceLine>, BillingError> {
    let mut used = credit_lines::burn(closing, draft)?;
    let period = closing.period();
    let is_trial = closing.subscription.plan.is_trial();
    let mut lines = Vec::new();
    let served = base_fee::share(&closing.subscription, closing.subscription.next_period)?;
    for (price, reading) in closing.meters() {
        let total = &reading.total;
        let is_used = total.events > 0;
        match &price.pricing {
            MeterPricing::Money { .. } if is_trial => {
                if is_used {
                    lines.push(line::trial(&reading.meter, period, total));
                }
            }
            MeterPricing::Money { tariff } => {
                let charge = total
                    .charge(tariff, price.free_threshold, served)
                    .map_err(BillingError::rating(&price.meter_id))?;
                // A flat part and a minimum are owed without usage, too.
                if is_used || charge.amount != 0 {
                    lines.push(line::usage(&reading.meter, period, total, charge));
                }
            }
            MeterPricing::Credits { .. } if !is_used => {}
            MeterPricing::Credits {
                credit_entitlement_id,
                ..
            } => {
                let unattached = || BillingError::UnattachedCredits(credit_entitlement_id.clone());
                let terms = closing
                    .subscription
                    .plan
                    .credit_terms(credit_entitlement_id)
                    .ok_or_else(unattached)?;
                let used = used.remove(&price.meter_id).ok_or_else(unattached)?;
                let overage = line::credit_overage(&reading.meter, period, &used, terms)
                    .map_err(BillingError::rating(&price.meter_id))?;
                let free = allowance::divide(&total.quantity, price.free_threshold);
                lines.push(line::credits(&reading.meter, period, total, free, used));
                lines.extend(overage);
            }
        }
    }
    Ok(lines)
}

fn next_index(subscription: &Subscription) -> Result<u32, BillingError> {
    Ok(subscription
        .next_period
        .checked_add(1)
        .ok_or(crate::subscription::period::OutOfCalendar)?)
}

/// Returns the subscription with the next period open, or ended when there is none.
fn advanced(closing: &Closing) -> Result<Subscription, BillingError> {
    let mut subscription = closing.subscription.clone();
    subscription.advance()?;
    subscription.updated_at = closing.now;
    subscription.version += 1;
    Ok(subscription)
}
