//! The open partials in memory: one per meter, customer, group and minute.
//!
//! An event mostly counts for several meters, and most meters do not group. So the partials that all meters on one
//! event name keep of one customer and minute, an *account*, are a chain behind one entry of a table: one look-up serves
//! them all. Partials of groups, of which a customer may have thousands, are found one by one.

use std::hash::BuildHasher;
use std::num::NonZeroU32;

use hashbrown::{DefaultHashBuilder, HashTable};
use submeter_common::aggregate::{AggregateError, Group, Partial};
use submeter_common::event::Event;
use submeter_common::id::CustomerId;
use submeter_common::time::Window;

use super::groups::Groups;
use super::{Metered, Slot};

/// A partial that grows past this (distinct values of `unique_count`) goes on as a further part of its key, so that
/// rows and frames stay bounded. Parts merge to the same result.
const PARTIAL_HEAP_BYTES_MAX: usize = 1024 * 1024;

/// What a partial takes beside texts and sets, its place in the table included.
const PARTIAL_BYTES: usize = size_of::<OpenPartial>() + 2 * size_of::<u32>();

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
    family: u32,
    hash: u64,
    /// The next partial of the same account.
    next: Option<Index>,
}

/// A place among the partials; one is left out, so that none takes no room.
type Index = NonZeroU32;

/// The account of one event: looked up for the first meter that needs it, kept for the others.
#[derive(Default, Debug)]
pub(crate) struct Account(Option<Lookup>);

#[derive(Copy, Clone, Debug)]
struct Lookup {
    hash: u64,
    first: Option<usize>,
}

impl OpenPartial {
    /// What it takes, its key included.
    pub(crate) fn bytes(&self) -> u64 {
        let texts = texts_bytes(&self.customer, &self.group);
        (PARTIAL_BYTES + texts + self.partial.heap_bytes()) as u64
    }
}

/// All open partials that are in memory.
#[derive(Debug)]
pub(crate) struct OpenPartials {
    entries: Vec<OpenPartial>,
    /// Finds the newest part of each key with a group among `entries`.
    by_group: HashTable<u32>,
    /// Finds the first partial of each account.
    by_account: HashTable<u32>,
    hasher: DefaultHashBuilder,
    groups: Groups,
    groups_per_meter_max: usize,
    heap_bytes: usize,
}

impl OpenPartials {
    pub(crate) fn new(groups_per_meter_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            by_group: HashTable::new(),
            by_account: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            groups: Groups::default(),
            groups_per_meter_max,
            heap_bytes: 0,
        }
    }

    /// Counts an event for a meter that matches it; `account` serves all meters of one event. An error leaves everything
    /// as it was.
    pub(crate) fn observe(
        &mut self,
        metered: &Metered,
        event: &Event<'_>,
        account: &mut Account,
    ) -> Result<(), AggregateError> {
        let meter = &*metered.meter;
        let (customer, window) = (&*event.customer_id, event.timestamp.window());
        let identity = || Partial::identity(meter.aggregation.kind);
        let index = if meter.group_by.is_empty() {
            self.find_in_account(metered.slot, customer, window, identity, account)
        } else {
            let group = meter.group_of(event);
            let group = self
                .groups
                .admit(metered.slot.meter, group, self.groups_per_meter_max);
            self.find_by_group(metered.slot, customer, window, group, identity)
        };
        self.change(
            index,
            |partial| partial.observe(&meter.aggregation, event),
            identity,
        )
    }

    /// Adds a partial that was sealed or stored before. An error leaves everything as it was.
    pub(crate) fn merge(
        &mut self,
        slot: Slot,
        customer: &CustomerId,
        window: Window,
        group: Group,
        addend: &Partial,
    ) -> Result<(), AggregateError> {
        let identity = || Partial::identity(addend.kind());
        let index = if group.is_none() {
            let account = &mut Account::default();
            self.find_in_account(slot, customer.as_str(), window, identity, account)
        } else {
            self.find_by_group(slot, customer.as_str(), window, group, identity)
        };
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
            family: entry.family,
            hash: entry.hash,
            next: None,
        };
        entry.part = entry
            .part
            .checked_add(1)
            .expect("a key has fewer than 2^16 parts between two seals");
        entry.dirty = true;
        self.entries.push(full);
    }

    fn find_in_account(
        &mut self,
        slot: Slot,
        customer: &str,
        window: Window,
        identity: impl Fn() -> Partial,
        account: &mut Account,
    ) -> usize {
        let Lookup { hash, first } = *account
            .0
            .get_or_insert_with(|| self.account(slot.family, customer, window));
        let mut last = None;
        let mut place = first;
        while let Some(index) = place {
            let entry = &self.entries[index];
            if entry.meter == slot.meter {
                return index;
            }
            last = place;
            place = entry.next.map(from_index);
        }
        let group = Group::none();
        let index = self.open(slot, hash, customer, window, group, identity());
        match last {
            Some(last) => self.entries[last].next = Index::new(index + 1),
            None => {
                account.0 = Some(Lookup {
                    hash,
                    first: Some(to_usize(index)),
                });
                let entries = &self.entries;
                self.by_account
                    .insert_unique(hash, index, |index| entries[to_usize(*index)].hash);
            }
        }
        to_usize(index)
    }

    fn account(&self, family: u32, customer: &str, window: Window) -> Lookup {
        let hash = self.hasher.hash_one((family, window, customer));
        let first = self.by_account.find(hash, |index| {
            let entry = &self.entries[to_usize(*index)];
            entry.family == family && entry.window == window && entry.customer.as_str() == customer
        });
        Lookup {
            hash,
            first: first.copied().map(to_usize),
        }
    }

    fn find_by_group(
        &mut self,
        slot: Slot,
        customer: &str,
        window: Window,
        group: Group,
        identity: impl Fn() -> Partial,
    ) -> usize {
        let hash = self.hasher.hash_one((slot.meter, window, customer, &group));
        let found = self.by_group.find(hash, |index| {
            let entry = &self.entries[to_usize(*index)];
            entry.hash == hash
                && entry.meter == slot.meter
                && entry.window == window
                && entry.customer.as_str() == customer
                && entry.group == group
        });
        if let Some(index) = found {
            return to_usize(*index);
        }
        let index = self.open(slot, hash, customer, window, group, identity());
        let entries = &self.entries;
        self.by_group
            .insert_unique(hash, index, |index| entries[to_usize(*index)].hash);
        to_usize(index)
    }

    fn open(
        &mut self,
        slot: Slot,
        hash: u64,
        customer: &str,
        window: Window,
        group: Group,
        partial: Partial,
    ) -> u32 {
        let index = u32::try_from(self.entries.len()).expect("memory ends before 2^32 partials");
        let customer = CustomerId::new(customer).expect("admission checked the customer id");
        self.heap_bytes += texts_bytes(&customer, &group) + partial.heap_bytes();
        self.entries.push(OpenPartial {
            meter: slot.meter,
            part: 0,
            customer,
            window,
            group,
            partial,
            dirty: true,
            family: slot.family,
            hash,
            next: None,
        });
        index
    }

    /// How many partials are in memory.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Groups that the meter with most of them has open.
    pub(crate) fn groups_of_one_meter(&self) -> u64 {
        self.groups.largest()
    }

    /// Events that were counted under the rest bucket.
    pub(crate) fn folded(&self) -> u64 {
        self.groups.folded()
    }

    /// Bytes the partials hold beyond their fixed size.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// What the partials take in all.
    pub(crate) fn bytes(&self) -> u64 {
        (self.entries.len() * PARTIAL_BYTES + self.heap_bytes) as u64
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
        self.by_group = HashTable::new();
        self.by_account = HashTable::new();
        self.heap_bytes = 0;
    }

    /// Takes all partials for a seal and begins anew.
    pub(crate) fn take(&mut self) -> Vec<OpenPartial> {
        self.groups.clear();
        self.by_group.clear();
        self.by_account.clear();
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

fn from_index(index: Index) -> usize {
    to_usize(index.get() - 1)
}

fn to_usize(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
