//! What is watched, in memory: every frame asks whose usage of which meter somebody wants to know of.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ::rocksdb::Direction;
use submeter_common::id::{CustomerId, MeterId};

use super::codec;
use super::database::{Database, Family};
use super::key::{Index, Key, Kind};
use crate::alerts::Threshold;
use crate::id::{ProductId, ThresholdId};
use crate::storage::{StorageError, Touch};
use crate::subscription::{Plan, Subscription};

/// All thresholds, what they and the terms of credits watch, and who is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) thresholds: BTreeMap<ThresholdId, Threshold>,
    of_customer: HashMap<CustomerId, BTreeSet<ThresholdId>>,
    general: BTreeSet<ThresholdId>,
    /// Meters that plans of a product ever priced: a subscription keeps the prices it was made with.
    product_meters: BTreeSet<(ProductId, MeterId)>,
    /// Meters that some plan pays with credits whose low balance is told.
    low_meters: BTreeSet<MeterId>,
    /// Meters that are watched whoever uses them; follows from all of these.
    everyone: HashSet<MeterId>,
    touched: BTreeMap<CustomerId, u64>,
    next_touch: u64,
}

/// A change of what is watched, to be made when its write is durable.
#[derive(Debug)]
pub(super) enum Change {
    Put(Box<Threshold>),
    Remove(ThresholdId),
    Priced(ProductId, MeterId),
    Low(MeterId),
    Touched(Touch),
    Looked(Touch),
}

impl Watch {
    /// Whether somebody wants to know what `customer` uses of `meter`.
    pub(super) fn concerns(&self, customer: &CustomerId, meter: &MeterId) -> bool {
        self.everyone.contains(meter)
            || self.of_customer.get(customer).is_some_and(|ids| {
                let watches = |threshold: &Threshold| {
                    let of = threshold.scope.meter_id.as_ref();
                    of.is_none_or(|watched| watched == meter)
                };
                ids.iter()
                    .filter_map(|id| self.thresholds.get(id))
                    .any(watches)
            })
    }

    /// Whether somebody wants to know of a subscription's periods.
    pub(super) fn concerns_subscription(&self, subscription: &Subscription) -> bool {
        !self.is_idle()
            && subscription
                .plans()
                .flat_map(Plan::meters)
                .any(|meter| self.concerns(&subscription.customer_id, meter))
    }

    /// Whether nobody wants to know anything.
    pub(super) fn is_idle(&self) -> bool {
        self.everyone.is_empty() && self.of_customer.is_empty()
    }

    /// Whether a low balance of credits is told to anybody.
    pub(super) fn minds_credits(&self) -> bool {
        !self.low_meters.is_empty()
    }

    pub(super) fn is_priced(&self, product: &ProductId, meter: &MeterId) -> bool {
        self.product_meters
            .contains(&(product.clone(), meter.clone()))
    }

    pub(super) fn is_low_meter(&self, meter: &MeterId) -> bool {
        self.low_meters.contains(meter)
    }

    /// Returns how many thresholds there are: in all, without a customer, and of `customer`.
    pub(super) fn counts(&self, customer: Option<&CustomerId>) -> (usize, usize, usize) {
        let own = customer.and_then(|customer| self.of_customer.get(customer));
        (
            self.thresholds.len(),
            self.general.len(),
            own.map_or(0, BTreeSet::len),
        )
    }

    /// Returns a customer's own thresholds and those of everybody, oldest first.
    pub(super) fn thresholds_for(&self, customer: &CustomerId) -> Vec<Threshold> {
        let own = self.of_customer.get(customer).into_iter().flatten();
        own.chain(&self.general)
            .filter_map(|id| self.thresholds.get(id).cloned())
            .collect()
    }

    pub(super) fn touched(&self, after: Option<&CustomerId>, limit: usize) -> Vec<Touch> {
        use std::ops::Bound::{Excluded, Unbounded};

        let start = after.map_or(Unbounded, Excluded);
        self.touched
            .range::<CustomerId, _>((start, Unbounded))
            .take(limit)
            .map(|(customer_id, number)| Touch {
                customer_id: customer_id.clone(),
                number: *number,
            })
            .collect()
    }

    pub(super) fn touch_of(&self, customer: &CustomerId) -> Option<Touch> {
        let number = *self.touched.get(customer)?;
        Some(Touch {
            customer_id: customer.clone(),
            number,
        })
    }

    /// Returns the touch that the customer's next one will be. Numbers are only compared, and given under the writer's lock.
    pub(super) fn next_touch(&self, customer: &CustomerId) -> Touch {
        Touch {
            customer_id: customer.clone(),
            number: self.next_touch,
        }
    }

    pub(super) fn make(&mut self, changes: Vec<Change>) {
        let mut is_wider = false;
        for change in changes {
            is_wider |= !matches!(change, Change::Touched(_) | Change::Looked(_));
            self.change(change);
        }
        if is_wider {
            self.look_around();
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Put(threshold) => {
                let id = threshold.threshold_id.clone();
                match threshold.scope.customer_id.clone() {
                    Some(customer) => {
                        self.of_customer
                            .entry(customer)
                            .or_default()
                            .insert(id.clone());
                    }
                    None => {
                        self.general.insert(id.clone());
                    }
                }
                self.thresholds.insert(id, *threshold);
            }
            Change::Remove(id) => self.remove(&id),
            Change::Priced(product, meter) => {
                self.product_meters.insert((product, meter));
            }
            Change::Low(meter) => {
                self.low_meters.insert(meter);
            }
            Change::Touched(touch) => {
                self.next_touch = self.next_touch.max(touch.number.saturating_add(1));
                self.touched.insert(touch.customer_id, touch.number);
            }
            Change::Looked(touch) => {
                if self.touched.get(&touch.customer_id) == Some(&touch.number) {
                    self.touched.remove(&touch.customer_id);
                }
            }
        }
    }

    fn remove(&mut self, id: &ThresholdId) {
        self.general.remove(id);
        let customer = self
            .thresholds
            .remove(id)
            .and_then(|threshold| threshold.scope.customer_id);
        if let Some(customer) = customer
            && let Some(ids) = self.of_customer.get_mut(&customer)
        {
            ids.remove(id);
            if ids.is_empty() {
                self.of_customer.remove(&customer);
            }
        }
    }

    /// Finds the meters that are watched whoever uses them.
    fn look_around(&mut self) {
        let mut everyone: HashSet<MeterId> = self.low_meters.iter().cloned().collect();
        for threshold in self.general.iter().filter_map(|id| self.thresholds.get(id)) {
            let scope = &threshold.scope;
            match (&scope.meter_id, &scope.product_id) {
                (Some(meter), _) => {
                    everyone.insert(meter.clone());
                }
                (None, Some(product)) => {
                    let priced = self.product_meters.iter();
                    everyone.extend(
                        priced
                            .filter(|(of, _)| of == product)
                            .map(|(_, meter)| meter.clone()),
                    );
                }
                (None, None) => {}
            }
        }
        self.everyone = everyone;
    }
}

impl Database {
    /// Reads what is watched from disk, as a start does.
    pub(super) fn read_watch(&self) -> Result<Watch, StorageError> {
        let thresholds: Vec<Threshold> = self.documents(Kind::Threshold)?;
        let mut changes: Vec<Change> = thresholds
            .into_iter()
            .map(|threshold| Change::Put(Box::new(threshold)))
            .collect();
        for product_meter in self.watched(Index::ProductMeters)? {
            let (product, meter) = product_meter
                .split_once(' ')
                .ok_or_else(|| codec::corrupt("meter of a product", &product_meter))?;
            let meter = meter_id(meter)?;
            changes.push(Change::Priced(ProductId::from_text(product), meter));
        }
        for meter in self.watched(Index::LowBalanceMeters)? {
            changes.push(Change::Low(meter_id(&meter)?));
        }
        let prefix = Key::of_index(Index::Touched).into_bytes();
        for entry in self.walk(Family::Indexes, &prefix, Direction::Forward) {
            let (key, number) = entry?;
            let wrong = || codec::corrupt("touched customer", key.escape_ascii());
            let customer = key.get(prefix.len()..).unwrap_or_default();
            let customer = std::str::from_utf8(customer).map_err(|_| wrong())?;
            let number = number[..].try_into().map_err(|_| wrong())?;
            changes.push(Change::Touched(Touch {
                customer_id: CustomerId::new(customer).map_err(|_| wrong())?,
                number: u64::from_be_bytes(number),
            }));
        }
        let mut watch = Watch::default();
        watch.make(changes);
        Ok(watch)
    }

    fn watched(&self, index: Index) -> Result<Vec<String>, StorageError> {
        let prefix = Key::of_index(index).into_bytes();
        self.walk(Family::Indexes, &prefix, Direction::Forward)
            .map(|entry| {
                let (_, text) = entry?;
                String::from_utf8(text.into_vec())
                    .map_err(|error| codec::corrupt("watched meter", error))
            })
            .collect()
    }
}

fn meter_id(text: &str) -> Result<MeterId, StorageError> {
    MeterId::new(text).map_err(|error| codec::corrupt("watched meter", error))
}
