//! Deriving issued invoices again, from the stored usage and prices: does every number still follow?
//!
//! Nothing is believed of a line but what it claims. Its arithmetic is done again; the usage of its service period is read
//! again, by minute, hour and day; what is known now is rated again by the price of that period, and has to be what all lines of
//! the meter and period bill together. Usage that came after the last of them is no fault: the next invoice adjusts it.

use super::{
    BillingError, Invoice, InvoiceLine, LineKind, base_fee, gather,
    reading::{self, Reading},
};
use crate::{
    catalog::{MeterPrice, MeterPricing},
    id::InvoiceId,
    ledger::Account,
    money::{Decimal, round_half_away},
    payment::PaymentStatus,
    storage::{CatalogSnapshot, CreditNoteFilter, Page, Storage},
    subscription::Subscription,
    usage::Granularity,
};
use std::{collections::BTreeMap, sync::Arc};
use submeter_common::{MeterId, Period, Timestamp};

/// Minutes of a service period that are read again: every one of it, for any period and a few groups.
const MINUTES_MAX: usize = usize::MAX;

/// Something that does not follow.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Finding {
    /// On which invoice.
    pub invoice_id: InvoiceId,
    /// On which line, from 1; none for the invoice as a whole.
    pub line: Option<usize>,
    /// What is wrong, with both numbers.
    pub problem: String,
}

/// What was derived again, and what did not follow.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Verification {
    /// Invoices derived again.
    pub invoices: u64,
    /// Lines of them.
    pub lines: u64,
    /// What does not follow.
    pub findings: Vec<Finding>,
}

/// Derives every invoice of a subscription again.
///
/// # Errors
/// When the storage fails, or something cannot be computed at all.
pub async fn verify<S: Storage + ?Sized>(
    storage: &S,
    subscription: &Subscription,
) -> Result<Verification, BillingError> {
    let invoices = gather::invoices(storage, subscription).await?;
    let mut verifier = Verifier {
        storage,
        subscription,
        catalog: storage.catalog().await?,
        starts: starts(subscription)?,
        found: Verification::default(),
    };
    for invoice in &invoices {
        verifier.found.invoices += 1;
        verifier.paper(invoice);
        verifier.books(invoice).await?;
    }
    for lines in by_usage(&invoices).into_values() {
        verifier.usage(&lines).await?;
    }
    Ok(verifier.found)
}

/// A line with its place.
#[derive(Clone, Copy)]
struct Placed<'a> {
    invoice: &'a Invoice,
    number: usize,
    line: &'a InvoiceLine,
}

/// Groups the lines of usage by meter and service period, oldest first.
fn by_usage(invoices: &[Invoice]) -> BTreeMap<(Timestamp, MeterId), Vec<Placed<'_>>> {
    let mut groups: BTreeMap<(Timestamp, MeterId), Vec<Placed<'_>>> = BTreeMap::new();
    for invoice in invoices {
        for (number, line) in (1..).zip(&invoice.lines) {
            let Some(meter) = &line.meter_id else {
                continue;
            };
            let placed = Placed {
                invoice,
                number,
                line,
            };
            let key = (line.service_period.start, meter.clone());
            groups.entry(key).or_default().push(placed);
        }
    }
    groups
}

/// The index of each closed period by its start.
fn starts(subscription: &Subscription) -> Result<BTreeMap<Timestamp, u32>, BillingError> {
    let mut starts = BTreeMap::new();
    for n in 0..subscription.next_period {
        if let Some(period) = subscription.period(n)? {
            starts.insert(period.start, n);
        }
    }
    Ok(starts)
}

struct Verifier<'a, S: ?Sized> {
    storage: &'a S,
    subscription: &'a Subscription,
    catalog: Arc<CatalogSnapshot>,
    starts: BTreeMap<Timestamp, u32>,
    found: Verification,
}

impl<S: Storage + ?Sized> Verifier<'_, S> {
    fn find(&mut self, invoice: &Invoice, line: Option<usize>, problem: String) {
        self.found.findings.push(Finding {
            invoice_id: invoice.invoice_id.clone(),
            line,
            problem,
        });
    }

    /// Does the arithmetic of the paper again.
    fn paper(&mut self, invoice: &Invoice) {
        let sum = |sum: Decimal, line: &InvoiceLine| &sum + &Decimal::from(line.amount);
        let lines = invoice.lines.iter().fold(Decimal::zero(), sum);
        if lines != Decimal::from(invoice.total) {
            let problem = format!("the lines come to {lines}, the total is {}", invoice.total);
            self.find(invoice, None, problem);
        }
        for (number, line) in (1..).zip(&invoice.lines) {
            self.found.lines += 1;
            for problem in arithmetic(line) {
                self.find(invoice, Some(number), problem);
            }
        }
    }

    /// Asks the ledger, the payments and the credit notes whether the invoice stands as it says.
    async fn books(&mut self, invoice: &Invoice) -> Result<(), BillingError> {
        let key = format!("invoice:{}", invoice.invoice_id);
        let entry = self
            .storage
            .entry_of_key(&invoice.customer_id, &key)
            .await?;
        let booked = entry.map_or_else(Decimal::zero, |entry| {
            let transfer = entry.transfer;
            if transfer.debit == Account::Receivable {
                transfer.amount
            } else {
                -&transfer.amount
            }
        });
        if booked != Decimal::from(invoice.total) {
            let problem = format!("the ledger holds {booked}, the total is {}", invoice.total);
            self.find(invoice, None, problem);
        }
        let payments = self.storage.payments(&invoice.invoice_id).await?;
        let paid = payments
            .iter()
            .filter(|payment| payment.status == PaymentStatus::Succeeded)
            .fold(Decimal::zero(), |sum, payment| {
                &sum + &Decimal::from(payment.amount)
            });
        if paid != Decimal::from(invoice.collection.paid) {
            let shown = invoice.collection.paid;
            let problem = format!("payments come to {paid}, the invoice shows {shown} paid");
            self.find(invoice, None, problem);
        }
        self.wallet(invoice).await?;
        self.credit_notes(invoice).await
    }

    /// Adds up what the ledger took from the wallet for the invoice, at its issue and since.
    async fn wallet(&mut self, invoice: &Invoice) -> Result<(), BillingError> {
        let (id, customer) = (&invoice.invoice_id, &invoice.customer_id);
        let mut taken = Decimal::zero();
        let at_issue = format!("wallet:{id}");
        if let Some(entry) = self.storage.entry_of_key(customer, &at_issue).await? {
            taken += &entry.transfer.amount;
        }
        let mut since = Decimal::zero();
        while let Some(entry) = self
            .storage
            .entry_of_key(customer, &format!("wallet:{id}:{since}"))
            .await?
        {
            since += &entry.transfer.amount;
        }
        taken += &since;
        let shown = invoice.from_wallet();
        if taken != Decimal::from(shown) {
            let problem = format!("the wallet paid {taken}, the invoice shows {shown}");
            self.find(invoice, None, problem);
        }
        Ok(())
    }

    async fn credit_notes(&mut self, invoice: &Invoice) -> Result<(), BillingError> {
        let filter = CreditNoteFilter {
            invoice_id: Some(invoice.invoice_id.clone()),
            ..CreditNoteFilter::default()
        };
        let mut credited = Decimal::zero();
        for page in 0.. {
            let page = Page::new(page, 1000);
            let notes = self.storage.credit_notes(&filter, page).await?;
            for note in &notes {
                credited += &Decimal::from(note.note.total);
            }
            if notes.len() < page.take() {
                break;
            }
        }
        if credited != Decimal::from(invoice.credited()) {
            let shown = invoice.credited();
            let problem = format!("credit notes come to {credited}, the invoice shows {shown}");
            self.find(invoice, None, problem);
        }
        Ok(())
    }

    /// Reads and rates again what the lines of one meter and service period bill.
    async fn usage(&mut self, lines: &[Placed<'_>]) -> Result<(), BillingError> {
        let of_usage = |placed: &&Placed<'_>| placed.line.kind != LineKind::CreditOverage;
        let Some(last) = lines.iter().rfind(of_usage).copied() else {
            return Ok(());
        };
        let period = last.line.service_period;
        let Some(n) = self.starts.get(&period.start).copied() else {
            let problem = format!("no closed period begins at {}", period.start);
            self.find(last.invoice, Some(last.number), problem);
            return Ok(());
        };
        let prices = &self.subscription.plan_of(n).price.usage_based().meters;
        let priced = prices
            .iter()
            .find(|price| Some(&price.meter_id) == last.line.meter_id.as_ref());
        let meter = last
            .line
            .meter_id
            .as_ref()
            .and_then(|id| self.catalog.meters.get(id));
        let (Some(price), Some(meter)) = (priced, meter.cloned()) else {
            let problem = "the meter is not priced in this period".to_owned();
            self.find(last.invoice, Some(last.number), problem);
            return Ok(());
        };
        let price = price.clone();
        let customer = &self.subscription.customer_id;
        let now = reading::read(self.storage, customer, (&meter, &price), period).await?;
        for (name, granularity) in [("hour", Granularity::Hour), ("minute", Granularity::Minute)] {
            let (events, last_quantity) = self.by_step(&meter.id, period, granularity).await?;
            if events != now.events || (now.rows.is_empty() && last_quantity != now.quantity) {
                let problem = format!(
                    "the usage by {name} is {last_quantity} in {events} events, by day {} in {}",
                    now.quantity, now.events
                );
                self.find(last.invoice, Some(last.number), problem);
            }
        }
        self.billed(lines, last, &price, n, &now)
    }

    /// What the usage comes to step by step, with its events.
    async fn by_step(
        &self,
        meter: &MeterId,
        period: Period,
        granularity: Granularity,
    ) -> Result<(u64, Decimal), BillingError> {
        let customer = &self.subscription.customer_id;
        let points = self
            .storage
            .series(customer, meter, period, granularity, MINUTES_MAX)
            .await?;
        let usage = |error| BillingError::Usage {
            meter_id: meter.clone(),
            error,
        };
        let mut whole: Option<crate::usage::Cell> = None;
        for point in points {
            match &mut whole {
                Some(whole) => whole.merge(&point.cell).map_err(usage)?,
                None => whole = Some(point.cell),
            }
        }
        let found = whole.map(|cell| (cell.partial.events, Decimal::from(&cell.partial.value())));
        Ok(found.unwrap_or_default())
    }

    /// Compares what is known now with what the last line says it knew, and what that costs with what was billed.
    fn billed(
        &mut self,
        lines: &[Placed<'_>],
        last: Placed<'_>,
        price: &MeterPrice,
        n: u32,
        now: &Reading,
    ) -> Result<(), BillingError> {
        let line = last.line;
        if now.events > line.events {
            // Late usage that the next invoice adjusts.
            return Ok(());
        }
        if (now.events, &now.quantity) != (line.events, &line.quantity) {
            let problem = format!(
                "the stored usage is {} in {} events, the line says {} in {}",
                now.quantity, now.events, line.quantity, line.events
            );
            self.find(last.invoice, Some(last.number), problem);
            return Ok(());
        }
        let MeterPricing::Money { tariff } = &price.pricing else {
            return Ok(());
        };
        let expected = if self.subscription.plan_of(n).is_trial() {
            0
        } else {
            let served = base_fee::share(self.subscription, n)?;
            now.charge(tariff, price.free_threshold, served)?.amount
        };
        let sum = |sum: Decimal, placed: &Placed<'_>| &sum + &Decimal::from(placed.line.amount);
        let billed = lines.iter().fold(Decimal::zero(), sum);
        if billed != Decimal::from(expected) {
            let problem = format!("rated again it comes to {expected}, billed is {billed}");
            self.find(last.invoice, Some(last.number), problem);
        }
        Ok(())
    }
}

/// What in a line's own numbers does not follow from each other.
fn arithmetic(line: &InvoiceLine) -> Vec<String> {
    let mut problems = Vec::new();
    match round_half_away(&line.amount_exact) {
        Ok(amount) if amount == line.amount => {}
        _ => problems.push(format!(
            "{} rounds to another amount than {}",
            line.amount_exact, line.amount
        )),
    }
    let sources = line
        .sources
        .iter()
        .fold(0_u64, |sum, source| sum.saturating_add(source.events));
    if sources != line.events {
        problems.push(format!(
            "the frames brought {sources} events, the line says {}",
            line.events
        ));
    }
    if let Some(credits) = &line.credits {
        let grants = credits
            .grants
            .iter()
            .fold(Decimal::zero(), |sum, grant| &sum + &grant.amount);
        if grants != credits.credits_used {
            problems.push(format!(
                "the grants paid {grants} credits, the line says {}",
                credits.credits_used
            ));
        }
    }
    if let (Some(price), None, None) = (&line.unit_price, &line.derivation, line.already_billed)
        && line.kind != LineKind::BaseFee
        && line.amount_exact != &line.billed_quantity * price
    {
        problems.push(format!(
            "{} at {price} is not {}",
            line.billed_quantity, line.amount_exact
        ));
    }
    problems.extend(parts(line));
    problems
}

/// Whether what is free and what is billed make up the quantity.
fn parts(line: &InvoiceLine) -> Option<String> {
    let parts = match &line.derivation {
        Some(derivation) => derivation
            .parts
            .iter()
            .fold(Decimal::zero(), |sum, part| &sum + &part.quantity),
        // A quantity below zero bills nothing, and a line of credits or of a correction bills only a part.
        None if line.kind != LineKind::Usage
            || line.credits.is_some()
            || line.quantity.is_negative() =>
        {
            return None;
        }
        None => &line.free_quantity + &line.billed_quantity,
    };
    (parts != line.quantity)
        .then(|| format!("the parts make up {parts}, the line says {}", line.quantity))
}
