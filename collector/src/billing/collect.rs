//! The collection run: every invoice that is to be paid by now is paid from the wallet, asked for, or past due.
//!
//! What is to be done comes from the storage, and each step is written before the next is taken: that a payment is asked for
//! before the gateway hears of it, what it said before anything else is asked. So a run may die anywhere. The next one finds a
//! payment without an answer and asks about that very payment again, under the same key, which never takes money twice.
//!
//! Under a test clock a payment that nobody answers stays where it is, and time waits for it: else months would go by while
//! the endpoint restarts. One that the gateway calls `processing` holds no time up.

mod answer;

pub use answer::{AnswerError, Outcome, answer};

use super::{Invoice, InvoiceChange, change};
use crate::{
    lease::Lease,
    payment::{Answer, Charge, Collecting, Payment, PaymentStatus},
    storage::{ChangeOutcome, CollectionCursor, Storage, StorageError},
    test_clock::Present,
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use submeter_common::{Clock, Timestamp};

/// What the lease of the run is called.
const LEASE_NAME: &str = "collection";
/// Invoices read at once.
const LOOK: usize = 256;
/// How often an invoice is decided on anew within one look, when something else changes it meanwhile.
const DECISIONS_MAX: u32 = 5;
/// Payments in a row that nobody answered, after which the run asks for no more: the gateway is away, and each would wait
/// for its time-out. The next run tries again.
const UNANSWERED_MAX: usize = 16;

/// Who runs, where, and by what.
pub struct CollectionRun<'a, S: ?Sized> {
    /// Where invoices are kept.
    pub storage: &'a S,
    /// Whose invoices, and when.
    pub present: &'a Present,
    /// The machine's time, for the lease.
    pub machine: &'a dyn Clock,
    /// Who is asked, and by which terms.
    pub collecting: &'a Collecting,
    /// Names the runner.
    pub holder: &'a str,
    /// Once it tells so, nothing more is begun.
    pub is_stopped: &'a (dyn Fn() -> bool + Sync),
}

/// What a run did.
#[derive(Debug, Default)]
pub struct CollectionReport {
    /// Payments asked for or about, by what was answered.
    pub asked: BTreeMap<&'static str, u64>,
    /// What happened to the first one that nobody answered.
    pub unanswered: Option<String>,
    /// Invoices that are past due because nobody can be asked.
    pub overdue: u64,
    /// Whether another runner was at it, so that this one left it alone.
    pub leased_elsewhere: bool,
    /// Invoices that cannot be collected, and why; a person has to look.
    pub failed: Vec<(Invoice, StorageError)>,
}

/// What became of one invoice.
enum Step {
    /// There was nothing to do, or nobody to ask now.
    Nothing,
    /// Nobody can be asked.
    Overdue,
    /// Somebody was.
    Asked(Answer),
}

impl<S: Storage + ?Sized> CollectionRun<'_, S> {
    /// Collects everything that is to be collected now.
    ///
    /// # Errors
    /// Only when the storage is unavailable; what was written before that stays.
    pub async fn run(&self) -> Result<CollectionReport, StorageError> {
        let mut report = CollectionReport::default();
        let mut due = self.look(None).await?;
        if due.is_empty() {
            return Ok(report);
        }
        let mut lease = Lease::new(self.storage, self.machine, LEASE_NAME, self.holder);
        let unanswered = AtomicUsize::new(0);
        while let Some(last) = due.last().and_then(place) {
            if !lease.keep().await? {
                report.leased_elsewhere = true;
                return Ok(report);
            }
            self.collect_all(due, &unanswered, &mut report).await?;
            if !self.goes_on(&unanswered) {
                break;
            }
            due = self.look(Some(&last)).await?;
        }
        lease.release().await?;
        Ok(report)
    }

    async fn look(&self, after: Option<&CollectionCursor>) -> Result<Vec<Invoice>, StorageError> {
        let timeline = self.present.timeline.as_ref();
        self.storage
            .collectable(timeline, self.present.now, after, LOOK)
            .await
    }

    fn goes_on(&self, unanswered: &AtomicUsize) -> bool {
        unanswered.load(Ordering::Relaxed) < UNANSWERED_MAX && !(self.is_stopped)()
    }

    /// Takes a step for each of `due`, some at one time.
    async fn collect_all(
        &self,
        due: Vec<Invoice>,
        unanswered: &AtomicUsize,
        report: &mut CollectionReport,
    ) -> Result<(), StorageError> {
        let mut due = due.into_iter();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < self.collecting.concurrency
                && self.goes_on(unanswered)
                && let Some(invoice) = due.next()
            {
                running.push(self.collect_one(invoice, unanswered));
            }
            match running.next().await {
                Some((invoice, step)) => report.add(invoice, step)?,
                None => return Ok(()),
            }
        }
    }

    async fn collect_one(
        &self,
        invoice: Invoice,
        unanswered: &AtomicUsize,
    ) -> (Invoice, Result<Step, StorageError>) {
        let step = self.collect(invoice.clone()).await;
        match &step {
            Ok(Step::Asked(Answer::Unanswered { .. })) => {
                unanswered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Step::Asked(_)) => unanswered.store(0, Ordering::Relaxed),
            Ok(Step::Nothing | Step::Overdue) | Err(_) => {}
        }
        (invoice, step)
    }

    /// Takes the next step for one invoice.
    async fn collect(&self, mut invoice: Invoice) -> Result<Step, StorageError> {
        for _ in 0..DECISIONS_MAX {
            let planned = invoice.collection.next_attempt_at;
            if planned.is_none_or(|at| at > self.present.now) {
                return Ok(Step::Nothing);
            }
            if self.pay_from_wallet(&invoice).await? {
                // Nothing is owed any more, or less.
            } else if let Some(gateway) = &self.collecting.gateway {
                if let Some(payment) = self.prepare(&invoice, gateway.name()).await? {
                    let charge = Charge::of(&payment, &invoice.number);
                    let said = gateway.ask(&charge).await;
                    self.take(&payment, said.clone()).await?;
                    return Ok(Step::Asked(said));
                }
            } else if self
                .write(change::overdue(&invoice, self.present.now))
                .await?
            {
                return Ok(Step::Overdue);
            }
            match self.storage.invoice(&invoice.invoice_id).await? {
                Some(stored) => invoice = stored,
                None => return Ok(Step::Nothing),
            }
        }
        Ok(Step::Nothing)
    }

    /// Lets the wallet pay what it can; tells whether the invoice is no longer as it was read.
    async fn pay_from_wallet(&self, invoice: &Invoice) -> Result<bool, StorageError> {
        let books = self.storage.books(&invoice.customer_id).await?;
        match change::pay_from_wallet(invoice, &books, self.present.now) {
            Some(change) => self.write(change).await.map(|_| true),
            None => Ok(false),
        }
    }

    /// Writes that a payment is asked for: the one without an answer, or the next one. None when the invoice is no longer as it
    /// was read.
    async fn prepare(
        &self,
        invoice: &Invoice,
        gateway: &str,
    ) -> Result<Option<Payment>, StorageError> {
        let now = self.present.now;
        let change = match self.open_payment(invoice).await? {
            None => change::ask(invoice, gateway, now, self.again_at(1)),
            Some(payment) => {
                let wait = self.collecting.terms.answer_within;
                let is_overdue = payment.requested_at.saturating_add(wait) <= now;
                let again_at = self.again_at(payment.asked.saturating_add(1));
                let change = change::recheck(invoice, &payment, is_overdue, now, again_at);
                Ok(change)
            }
        };
        // Refused: nothing is owed any more.
        let Ok(change) = change else {
            return Ok(None);
        };
        let payment = change.payment.as_ref().map(|change| change.after.clone());
        let is_written = self.write(change).await?;
        Ok(payment.filter(|_| is_written))
    }

    /// When a payment is asked about again that will have been asked about `asked` times. Under a test clock it stays due, so
    /// that time waits for the answer.
    fn again_at(&self, asked: u32) -> Timestamp {
        let now = self.present.now;
        if self.present.is_told() {
            return now;
        }
        let gateway = self.collecting.gateway.as_ref();
        let longest = gateway.map_or(Duration::ZERO, |gateway| gateway.timeout());
        now.saturating_add(longest)
            .saturating_add(self.collecting.terms.recheck_wait(asked))
    }

    /// Takes what the gateway said of a payment.
    async fn take(&self, payment: &Payment, said: Answer) -> Result<(), StorageError> {
        let outcome = match said {
            Answer::Succeeded { reference } => Outcome::Succeeded { reference },
            Answer::Failed { reason, reference } => Outcome::Failed { reason, reference },
            Answer::Processing { reference } => return self.wait(payment, reference).await,
            // It is asked about again as planned.
            Answer::Unanswered { .. } => return Ok(()),
        };
        let (terms, now) = (&self.collecting.terms, self.present.now);
        let id = &payment.payment_id;
        match answer(self.storage, terms, id, &outcome, None, now).await {
            Ok(_) => Ok(()),
            Err(AnswerError::Storage(error)) => Err(error),
            Err(error) => {
                // It was told otherwise meanwhile, which stands.
                tracing::error!(payment = %id, %error, "the gateway's answer is not taken; see what it did");
                Ok(())
            }
        }
    }

    /// Notes that the gateway is at it.
    async fn wait(&self, asked: &Payment, reference: Option<String>) -> Result<(), StorageError> {
        let wait = self.collecting.terms.recheck_wait(asked.asked);
        let again_at = self.present.now.saturating_add(wait);
        for _ in 0..DECISIONS_MAX {
            let (Some(payment), Some(invoice)) = (
                self.storage.payment(&asked.payment_id).await?,
                self.storage.invoice(&asked.invoice_id).await?,
            ) else {
                return Ok(());
            };
            if payment.status != PaymentStatus::Processing {
                return Ok(());
            }
            let change = change::processing(&invoice, &payment, reference.clone(), again_at);
            if self.write(change).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn open_payment(&self, invoice: &Invoice) -> Result<Option<Payment>, StorageError> {
        match &invoice.collection.open_payment {
            Some(id) => self.storage.payment(id).await,
            None => Ok(None),
        }
    }

    /// Writes a step; false when something it was computed from is no longer as it was read.
    async fn write(&self, change: InvoiceChange) -> Result<bool, StorageError> {
        let outcome = self.storage.change_invoice(change).await?;
        Ok(matches!(outcome, ChangeOutcome::Changed(_)))
    }
}

impl CollectionReport {
    fn add(
        &mut self,
        invoice: Invoice,
        step: Result<Step, StorageError>,
    ) -> Result<(), StorageError> {
        match step {
            Ok(Step::Nothing) => {}
            Ok(Step::Overdue) => self.overdue += 1,
            Ok(Step::Asked(answer)) => {
                *self.asked.entry(answer.name()).or_default() += 1;
                if let Answer::Unanswered { detail } = answer {
                    self.unanswered.get_or_insert(detail);
                }
            }
            Err(error) if error.is_outage() => return Err(error),
            Err(error) => self.failed.push((invoice, error)),
        }
        Ok(())
    }
}

/// Returns an invoice's place in the list of what is to be collected.
fn place(invoice: &Invoice) -> Option<CollectionCursor> {
    Some(CollectionCursor {
        at: invoice.collection.next_attempt_at?,
        invoice_id: invoice.invoice_id.clone(),
    })
}
