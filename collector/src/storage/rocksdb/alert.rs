//! Thresholds and what has been told: documents on disk, and what is watched in memory.

use std::sync::RwLockReadGuard;

use async_trait::async_trait;
use submeter_common::id::{CustomerId, MeterId};

use super::RocksStore;
use super::database::{Database, Family, poisoned};
use super::key::{Key, Kind};
use super::transaction::Transaction;
use super::watch::{Change, Watch};
use crate::alerts::{Threshold, Told};
use crate::catalog::MeterPricing;
use crate::id::{ProductId, ThresholdId};
use crate::storage::alert::{
    CUSTOMER_THRESHOLDS_MAX, GENERAL_THRESHOLDS_MAX, THRESHOLDS_MAX, ThresholdFilter,
};
use crate::storage::{
    AddOutcome, AlertStore, Page, PutOutcome, StorageError, TellOutcome, Telling, Touch,
};
use crate::subscription::Subscription;

#[async_trait]
impl AlertStore for RocksStore {
    async fn add_threshold(&self, threshold: &Threshold) -> Result<AddOutcome, StorageError> {
        let threshold = threshold.clone();
        self.blocking(move |database| add(database, threshold))
            .await
    }

    async fn put_threshold(
        &self,
        previous: &Threshold,
        threshold: &Threshold,
    ) -> Result<PutOutcome, StorageError> {
        let (previous, threshold) = (previous.clone(), threshold.clone());
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            if !is_stored(&write, &previous)? {
                return Ok(PutOutcome::Conflict);
            }
            put(&mut write, threshold)?;
            write.commit()?;
            Ok(PutOutcome::Written)
        })
        .await
    }

    async fn remove_threshold(&self, threshold: &Threshold) -> Result<PutOutcome, StorageError> {
        let threshold = threshold.clone();
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            if !is_stored(&write, &threshold)? {
                return Ok(PutOutcome::Conflict);
            }
            write.delete_document(Kind::Threshold, threshold.threshold_id.as_str());
            write.watch(Change::Remove(threshold.threshold_id));
            write.commit()?;
            Ok(PutOutcome::Written)
        })
        .await
    }

    async fn threshold(&self, id: &ThresholdId) -> Result<Option<Threshold>, StorageError> {
        Ok(self.database.watch()?.thresholds.get(id).cloned())
    }

    async fn thresholds(
        &self,
        filter: &ThresholdFilter,
        page: Page,
    ) -> Result<Vec<Threshold>, StorageError> {
        let watch = self.database.watch()?;
        // Ids sort by birth.
        let newest = watch.thresholds.values().rev();
        let wanted = |threshold: &&Threshold| {
            let customer = filter.customer_id.as_ref();
            customer.is_none_or(|id| threshold.scope.customer_id.as_ref() == Some(id))
        };
        Ok(page
            .of(newest.filter(wanted))
            .into_iter()
            .cloned()
            .collect())
    }

    async fn thresholds_for(&self, customer: &CustomerId) -> Result<Vec<Threshold>, StorageError> {
        Ok(self.database.watch()?.thresholds_for(customer))
    }

    async fn touched(
        &self,
        after: Option<&CustomerId>,
        limit: usize,
    ) -> Result<Vec<Touch>, StorageError> {
        Ok(self.database.watch()?.touched(after, limit))
    }

    async fn touch_of(&self, customer: &CustomerId) -> Result<Option<Touch>, StorageError> {
        Ok(self.database.watch()?.touch_of(customer))
    }

    async fn told(&self, customer: &CustomerId) -> Result<Told, StorageError> {
        let customer = customer.clone();
        self.blocking(move |database| told(database, &customer))
            .await
    }

    async fn tell(&self, telling: Telling) -> Result<TellOutcome, StorageError> {
        self.blocking(move |database| tell(database, telling)).await
    }
}

fn add(database: &Database, threshold: Threshold) -> Result<AddOutcome, StorageError> {
    let mut write = Transaction::begin(database)?;
    let customer = threshold.scope.customer_id.as_ref();
    let (all, general, own) = database.watch()?.counts(customer);
    let (there, most) = match customer {
        Some(_) => (own, CUSTOMER_THRESHOLDS_MAX),
        None => (general, GENERAL_THRESHOLDS_MAX),
    };
    for (there, most) in [(all, THRESHOLDS_MAX), (there, most)] {
        if there >= most {
            return Ok(AddOutcome::TooMany(most));
        }
    }
    put(&mut write, threshold)?;
    write.commit()?;
    Ok(AddOutcome::Added)
}

fn put(write: &mut Transaction<'_>, threshold: Threshold) -> Result<(), StorageError> {
    let id = threshold.threshold_id.as_str();
    write.put_document(Kind::Threshold, id, &threshold)?;
    if let Some(customer) = &threshold.scope.customer_id {
        write.touch(customer)?;
    }
    write.watch(Change::Put(Box::new(threshold)));
    Ok(())
}

fn is_stored(write: &Transaction<'_>, read: &Threshold) -> Result<bool, StorageError> {
    write.is_stored(Kind::Threshold, read.threshold_id.as_str(), read)
}

fn told(database: &Database, customer: &CustomerId) -> Result<Told, StorageError> {
    let told = database.document(Kind::Told, customer.as_str())?;
    Ok(told.unwrap_or_default())
}

fn tell(database: &Database, telling: Telling) -> Result<TellOutcome, StorageError> {
    let mut write = Transaction::begin(database)?;
    let touch = telling.touch;
    let customer = &touch.customer_id;
    if told(database, customer)? != telling.before {
        return Ok(TellOutcome::Stale);
    }
    if telling.before != telling.after {
        write.put_document(Kind::Told, customer.as_str(), &telling.after)?;
    }
    for message in telling.messages {
        write.put_message(message)?;
    }
    // One that was touched again stays to be looked at: only the last touch is kept.
    let is_last = database.watch()?.touch_of(customer).as_ref() == Some(&touch);
    if is_last {
        write.note_look(touch);
    }
    write.commit()?;
    Ok(TellOutcome::Told)
}

/// Notes which meters a subscription's plans price, as far as somebody may want to watch all of a product's or credits that
/// run low, and touches the customer where somebody does.
pub(super) fn note_subscription(
    write: &mut Transaction<'_>,
    subscription: &Subscription,
) -> Result<(), StorageError> {
    let database = write.database;
    // What is watched becomes more with this very write.
    let mut is_wider = false;
    for plan in subscription.plans() {
        for price in &plan.price.usage_based().meters {
            let meter = &price.meter_id;
            if !database.watch()?.is_priced(&plan.product_id, meter) {
                write.note_priced(&plan.product_id, meter);
                is_wider = true;
            }
            let MeterPricing::Credits {
                credit_entitlement_id,
                ..
            } = &price.pricing
            else {
                continue;
            };
            let terms = plan.credit_terms(credit_entitlement_id);
            let is_told = terms.is_some_and(|terms| terms.tells_low_balance());
            if is_told && !database.watch()?.is_low_meter(meter) {
                write.note_low(meter);
                is_wider = true;
            }
        }
    }
    if is_wider {
        return write.touch(&subscription.customer_id);
    }
    write.touch_subscriber(subscription)
}

impl Transaction<'_> {
    /// Notes that somebody has to look at a customer.
    pub(super) fn touch(&mut self, customer: &CustomerId) -> Result<(), StorageError> {
        let touch = self.database.watch()?.next_touch(customer);
        let key = Key::touched(customer);
        let family = self.database.family(Family::Indexes);
        self.batch.put_cf(family, key, touch.number.to_be_bytes());
        self.watch(Change::Touched(touch));
        Ok(())
    }

    /// Notes that somebody has to look at a subscription's customer, where anybody wants to know.
    pub(super) fn touch_subscriber(
        &mut self,
        subscription: &Subscription,
    ) -> Result<(), StorageError> {
        if self.database.watch()?.concerns_subscription(subscription) {
            self.touch(&subscription.customer_id)?;
        }
        Ok(())
    }

    fn note_look(&mut self, touch: Touch) {
        self.delete_index(&Key::touched(&touch.customer_id));
        self.watch(Change::Looked(touch));
    }

    fn note_priced(&mut self, product: &ProductId, meter: &MeterId) {
        let key = Key::product_meter(product, meter);
        self.put_index(&key, &format!("{product} {meter}"));
        self.watch(Change::Priced(product.clone(), meter.clone()));
    }

    fn note_low(&mut self, meter: &MeterId) {
        self.put_index(&Key::low_balance_meter(meter), meter.as_str());
        self.watch(Change::Low(meter.clone()));
    }
}

impl Database {
    /// What is watched, as committed last.
    pub(super) fn watch(&self) -> Result<RwLockReadGuard<'_, Watch>, StorageError> {
        self.watch.read().map_err(poisoned)
    }
}
