//! The open partials in memory: one per meter, customer, group and minute.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use submeter_common::aggregate::{AggregateError, Group, Partial};
use submeter_common::event::Event;
use submeter_common::id::CustomerId;
use submeter_common::time::Window;

use super::Metered;
use super::groups::Groups;

/// A partial that grows past this (distinct values of `unique_count`) goes on as a further part of its key, so that
/// rows and frames stay bounded. Parts merge to the same result.
const PARTIAL_HEAP_BYTES_MAX: usize = 1024 * 1024;

/// One open partial and its key.
#[derive(Debug)]
pub(crate) struct OpenPartial {
    pub(crate) meter: u32,
    /// 0, or the number of an overflow part of the same key.
    pub(crate) part: u16,
    pub(crate) customer: CustomerId,
    pub(crate) window: Window,
    pub(crate) group: Group,
    pub(crate) partial: Partial,
    /// Changed since the last checkpoint.
    pub(crate) dirty: bool,
    hash: u64,
}

/// All open partials that are in memory.
#[derive(Debug)]
pub(crate) struct OpenPartials {
    entries: Vec<OpenPartial>,
    /// Finds the newest part of each key among `entries`.
    by_key: HashTable<u32>,
    hasher: DefaultHashBuilder,
    groups: Groups,
    groups_per_meter_max: usize,
    heap_bytes: usize,
}

impl OpenPartials {
    pub(crate) fn new(groups_per_meter_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            by_key: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            groups: Groups::default(),
            groups_per_meter_max,
            heap_bytes: 0,
        }
    }

    /// Counts an event for a meter that matches it. An error leaves everything as it was.
    pub(crate) fn observe(
        &mut self,
        metered: &Metered,
        event: &Event<'_>,
    ) -> Result<(), AggregateError> {
        let meter = &*metered.meter;
        let mut group = meter.group_of(event);
        if !meter.group_by.is_empty() {
            group = self
                .groups
                .admit(metered.slot, group, self.groups_per_meter_max);
        }
        let window = event.timestamp.window();
        let index = self.find_or_open(metered.slot, &event.customer_id, window, group, || {
            Partial::identity(meter.aggregation.kind)
        })?;
        self.change(
            index,
            |partial| partial.observe(&meter.aggregation, event),
            || Partial::identity(meter.aggregation.kind),
        )
    }

    /// Adds a partial that was sealed or stored before. An error leaves everything as it was.
    pub(crate) fn merge(
        &mut self,
        slot: u32,
        customer: &CustomerId,
        window: Window,
        group: Group,
        addend: &Partial,
    ) -> Result<(), AggregateError> {
        let identity = || Partial::identity(addend.kind());
        let index = self.find_or_open(slot, customer.as_str(), window, group, identity)?;
        self.change(index, |partial| partial.merge(addend), identity)
    }

    /// Applies a change, in a further part of the key when the present one cannot take it.
    fn change(
        &mut self,
        index: usize,
        change: impl Fn(&mut Partial) -> Result<(), AggregateError>,
        identity: impl Fn() -> Partial,
    ) -> Result<(), AggregateError> {
        let entry = &mut self.entries[index];
        let before = entry.partial.heap_bytes();
        if before < PARTIAL_HEAP_BYTES_MAX && change(&mut entry.partial).is_ok() {
            entry.dirty = true;
            self.heap_bytes = (self.heap_bytes + entry.partial.heap_bytes()).saturating_sub(before);
            return Ok(());
        }
        let mut fresh = identity();
        change(&mut fresh)?;
        let entry = &self.entries[index];
        self.heap_bytes += texts_bytes(&entry.customer, &entry.group) + fresh.heap_bytes();
        self.next_part(index, fresh);
        Ok(())
    }

    /// Goes on with `fresh` under the same key; the partial before stays open, but takes nothing more.
    fn next_part(&mut self, index: usize, fresh: Partial) {
        let entry = &mut self.entries[index];
        let full = OpenPartial {
            meter: entry.meter,
            part: entry.part,
            customer: entry.customer.clone(),
            window: entry.window,
            group: entry.group.clone(),
            partial: std::mem::replace(&mut entry.partial, fresh),
            dirty: entry.dirty,
            hash: entry.hash,
        };
        entry.part = entry
            .part
            .checked_add(1)
            .expect("a key has fewer than 2^16 parts between two seals");
        entry.dirty = true;
        self.entries.push(full);
    }

    fn find_or_open(
        &mut self,
        meter: u32,
        customer: &str,
        window: Window,
        group: Group,
        identity: impl Fn() -> Partial,
    ) -> Result<usize, AggregateError> {
        let hash = self.hasher.hash_one((meter, window, customer, &group));
        let entries = &self.entries;
        let same = |index: &u32| {
            let entry = &entries[to_usize(*index)];
            entry.hash == hash
                && entry.meter == meter
                && entry.window == window
                && entry.customer.as_str() == customer
                && entry.group == group
        };
        if let Some(index) = self.by_key.find(hash, same) {
            return Ok(to_usize(*index));
        }
        let index = u32::try_from(self.entries.len()).expect("memory ends before 2^32 partials");
        let customer = CustomerId::new(customer).expect("admission checked the customer id");
        let partial = identity();
        self.heap_bytes += texts_bytes(&customer, &group) + partial.heap_bytes();
        self.entries.push(OpenPartial {
            meter,
            part: 0,
            customer,
            window,
            group,
            partial,
            dirty: true,
            hash,
        });
        let entries = &self.entries;
        self.by_key
            .insert_unique(hash, index, |index| entries[to_usize(*index)].hash);
        Ok(to_usize(index))
    }

    /// How many partials are in memory.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes the partials hold beyond their fixed size.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// The partials that changed since the last checkpoint.
    pub(crate) fn dirty(&self) -> impl Iterator<Item = &OpenPartial> {
        self.entries.iter().filter(|entry| entry.dirty)
    }

    /// Notes that everything is checkpointed.
    pub(crate) fn mark_clean(&mut self) {
        for entry in &mut self.entries {
            entry.dirty = false;
        }
    }

    /// Lets go of all partials: they are on disk.
    pub(crate) fn evict(&mut self) {
        self.entries = Vec::new();
        self.by_key = HashTable::new();
        self.heap_bytes = 0;
    }

    /// Takes all partials for a seal and begins anew.
    pub(crate) fn take(&mut self) -> Vec<OpenPartial> {
        self.groups.clear();
        self.by_key.clear();
        self.heap_bytes = 0;
        std::mem::take(&mut self.entries)
    }

    /// Begins anew after a seal from disk.
    pub(crate) fn forget_groups(&mut self) {
        self.groups.clear();
    }
}

/// Bytes of a key's texts: long group values can outweigh everything else.
fn texts_bytes(customer: &CustomerId, group: &Group) -> usize {
    customer.as_str().len() + group.heap_bytes()
}

fn to_usize(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
