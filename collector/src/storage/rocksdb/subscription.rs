//! Subscriptions: by id, by age, by customer; which meters they bill; when they are due.

use std::collections::BTreeSet;

use ::rocksdb::Direction;
use async_trait::async_trait;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use submeter_common::id::MeterId;
use submeter_common::time::{Period, Timestamp};

use super::RocksStore;
use super::alert;
use super::codec;
use super::database::{Database, Family};
use super::key::{Index, Key, Kind, behind};
use super::settle::{self, Staged};
use super::transaction::Transaction;
use crate::billing::{Invoice, Settlement};
use crate::credits::{Grant, Reservation};
use crate::id::{SubscriptionId, TestClockId};
use crate::outbox::NewMessage;
use crate::storage::{
    CreateOutcome, DueCursor, Page, StorageError, SubscriptionFilter, SubscriptionOutcome,
    SubscriptionStore,
};
use crate::subscription::{Plan, Subscription, SubscriptionStatus};

#[async_trait]
impl SubscriptionStore for RocksStore {
    async fn create_subscription(
        &self,
        opening: Settlement,
    ) -> Result<CreateOutcome, StorageError> {
        self.blocking(move |database| create(database, opening))
            .await
    }

    async fn change_subscription(
        &self,
        before: &Subscription,
        after: &Subscription,
        message: NewMessage,
    ) -> Result<SubscriptionOutcome, StorageError> {
        let (before, after) = (before.clone(), after.clone());
        self.blocking(move |database| change(database, &before, &after, message))
            .await
    }

    async fn subscription(
        &self,
        id: &SubscriptionId,
    ) -> Result<Option<Subscription>, StorageError> {
        let id = id.clone();
        self.blocking(move |database| database.document(Kind::Subscription, id.as_str()))
            .await
    }

    async fn subscriptions(
        &self,
        filter: &SubscriptionFilter,
        page: Page,
    ) -> Result<Vec<Subscription>, StorageError> {
        let prefix = match &filter.customer_id {
            Some(customer) => Key::of_index(Index::SubscriptionsOfCustomer).text(customer.as_str()),
            None => Key::of_index(Index::Subscriptions),
        };
        self.blocking(move |database| {
            database.indexed_page(Kind::Subscription, prefix.as_bytes(), page)
        })
        .await
    }

    async fn due(
        &self,
        timeline: Option<&TestClockId>,
        now: Timestamp,
        after: Option<&DueCursor>,
        limit: usize,
    ) -> Result<Vec<Subscription>, StorageError> {
        let after =
            after.map(|cursor| Key::due(timeline, cursor.period_end, &cursor.subscription_id));
        let timeline = timeline.cloned();
        self.blocking(move |database| due(database, timeline.as_ref(), now, after, limit))
            .await
    }

    async fn next_due(
        &self,
        timeline: Option<&TestClockId>,
        after: Timestamp,
    ) -> Result<Option<Timestamp>, StorageError> {
        let timeline = timeline.cloned();
        self.blocking(move |database| next_due(database, timeline.as_ref(), after))
            .await
    }
}

fn create(database: &Database, opening: Settlement) -> Result<CreateOutcome, StorageError> {
    let mut write = Transaction::begin(database)?;
    let subscription = opening.subscription.clone();
    let id = subscription.subscription_id.as_str();
    if database.has_document(Kind::Subscription, id)? {
        return Ok(CreateOutcome::Conflict);
    }
    if let Some((meter_id, subscription_id)) = billed_twice(database, &subscription)? {
        return Ok(CreateOutcome::MeterInUse {
            meter_id,
            subscription_id,
        });
    }
    let Staged::Ready(invoice) = settle::stage(&mut write, opening)? else {
        return Ok(CreateOutcome::Conflict);
    };
    put(&mut write, None, &subscription)?;
    note_meters(&mut write, &subscription);
    alert::note_subscription(&mut write, &subscription)?;
    let order = write.next_order()?;
    write.put_index(&Key::of_index(Index::Subscriptions).order(order), id);
    let of_customer =
        Key::of_index(Index::SubscriptionsOfCustomer).text(subscription.customer_id.as_str());
    write.put_index(&of_customer.order(order), id);
    write.commit()?;
    Ok(CreateOutcome::Created(invoice))
}

fn change(
    database: &Database,
    before: &Subscription,
    after: &Subscription,
    message: NewMessage,
) -> Result<SubscriptionOutcome, StorageError> {
    let mut write = Transaction::begin(database)?;
    let id = before.subscription_id.as_str();
    if before.subscription_id != after.subscription_id || before.customer_id != after.customer_id {
        return Err(StorageError::Refused(format!(
            "a change of {id} into another one"
        )));
    }
    if !write.is_stored(Kind::Subscription, id, before)? {
        return Ok(SubscriptionOutcome::Conflict);
    }
    if let Some((meter_id, subscription_id)) = billed_twice(database, after)? {
        return Ok(SubscriptionOutcome::MeterInUse {
            meter_id,
            subscription_id,
        });
    }
    put(&mut write, Some(&before.into()), after)?;
    note_meters(&mut write, after);
    alert::note_subscription(&mut write, after)?;
    write.put_message(message)?;
    write.commit()?;
    Ok(SubscriptionOutcome::Changed)
}

/// What of a stored subscription says where it stands: its plans are most of it, and nobody asks for them to write over it.
#[derive(Deserialize)]
pub(super) struct Standing {
    pub(super) next_period: u32,
    pub(super) version: u64,
    #[serde(default)]
    test_clock: Option<TestClockId>,
    current_period: Period,
}

impl From<&Subscription> for Standing {
    fn from(subscription: &Subscription) -> Self {
        Self {
            next_period: subscription.next_period,
            version: subscription.version,
            test_clock: subscription.test_clock.clone(),
            current_period: subscription.current_period,
        }
    }
}

/// Puts a subscription over one that stood as `before`, and moves its place among what is due.
pub(super) fn put(
    write: &mut Transaction<'_>,
    before: Option<&Standing>,
    after: &Subscription,
) -> Result<(), StorageError> {
    let id = &after.subscription_id;
    if let Some(before) = before {
        let timeline = before.test_clock.as_ref();
        write.delete_index(&Key::due(timeline, before.current_period.end, id));
    }
    if after.status == SubscriptionStatus::Active {
        let timeline = after.test_clock.as_ref();
        write.put_index(
            &Key::due(timeline, after.current_period.end, id),
            id.as_str(),
        );
    }
    write.put_document(Kind::Subscription, id.as_str(), after)
}

/// Notes the subscription as one that bills its meters. It stays noted for ever: usage of its time is billed by it, and a
/// backdated successor must not bill it again.
fn note_meters(write: &mut Transaction<'_>, subscription: &Subscription) {
    let id = subscription.subscription_id.as_str();
    for meter in subscription.plans().flat_map(Plan::meters) {
        let noted = Key::meter_in_use(&subscription.customer_id, meter).last(id.as_bytes());
        write.put_index(&noted, id);
    }
}

/// Returns a meter that another subscription of the customer bills in a time that `subscription` bills, too, and that other one.
fn billed_twice(
    database: &Database,
    subscription: &Subscription,
) -> Result<Option<(MeterId, SubscriptionId)>, StorageError> {
    let meters: BTreeSet<&MeterId> = subscription.plans().flat_map(Plan::meters).collect();
    for meter in meters {
        let noted = Key::meter_in_use(&subscription.customer_id, meter).into_bytes();
        for other in database.indexed(Kind::Subscription, &noted, Direction::Forward) {
            let other: Subscription = other?;
            let is_other = other.subscription_id != subscription.subscription_id;
            if is_other && subscription.bills_twice(&other, meter) {
                return Ok(Some((meter.clone(), other.subscription_id)));
            }
        }
    }
    Ok(None)
}

fn due(
    database: &Database,
    timeline: Option<&TestClockId>,
    now: Timestamp,
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<Vec<Subscription>, StorageError> {
    // The first key behind all that end by `now`; and the first behind the cursor's own.
    let bound = behind(Key::timeline(timeline).time(now).as_bytes());
    let start = after.map_or_else(
        || Key::timeline(timeline).into_bytes(),
        |key| [key.as_slice(), &[0]].concat(),
    );
    database
        .walk_between(Family::Indexes, start, bound, Direction::Forward)
        .take(limit)
        .map(|entry| {
            let (_, id) = entry?;
            let id =
                std::str::from_utf8(&id).map_err(|error| codec::corrupt("due entry", error))?;
            database.named(Kind::Subscription, id)
        })
        .collect()
}

fn next_due(
    database: &Database,
    timeline: Option<&TestClockId>,
    after: Timestamp,
) -> Result<Option<Timestamp>, StorageError> {
    let period: Option<Subscription> =
        first_behind(database, Kind::Subscription, Key::timeline(timeline), after)?;
    let reservation: Option<Reservation> = first_behind(
        database,
        Kind::Reservation,
        Key::reservations_due(timeline),
        after,
    )?;
    let grant: Option<Grant> =
        first_behind(database, Kind::Grant, Key::grants_due(timeline), after)?;
    let invoice: Option<Invoice> =
        first_behind(database, Kind::Invoice, Key::collections(timeline), after)?;
    let ends = period.map(|subscription| subscription.current_period.end);
    let over = reservation.map(|reservation| reservation.expires_at);
    let expires = grant.and_then(|grant| grant.expires_at);
    let collected = invoice.and_then(|invoice| invoice.collection.next_attempt_at);
    Ok([ends, over, expires, collected].into_iter().flatten().min())
}

/// Reads what the first entry under `prefix` behind all of `after` names.
fn first_behind<T: DeserializeOwned>(
    database: &Database,
    kind: Kind,
    prefix: Key,
    after: Timestamp,
) -> Result<Option<T>, StorageError> {
    let bound = behind(prefix.as_bytes());
    let Some(start) = behind(prefix.time(after).as_bytes()) else {
        return Ok(None);
    };
    let mut entries = database.walk_between(Family::Indexes, start, bound, Direction::Forward);
    let Some(entry) = entries.next() else {
        return Ok(None);
    };
    let (_, id) = entry?;
    let id = std::str::from_utf8(&id).map_err(|error| codec::corrupt("due entry", error))?;
    database.named(kind, id).map(Some)
}
