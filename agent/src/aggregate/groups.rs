//! Bounds how many groups of one meter may be open: a key with unbounded values must not take all memory.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;
use submeter_common::aggregate::Group;

/// The groups seen since the last seal, by meter.
#[derive(Default, Debug)]
pub(super) struct Groups {
    // Hashes stand in for the groups: two that collide count as one against the budget, which harms nothing.
    seen: HashMap<u32, HashSet<u64>>,
    hasher: DefaultHashBuilder,
    largest: u64,
    folded: u64,
}

impl Groups {
    /// The group itself while there is room for it, else the rest bucket; totals stay exact either way.
    pub(super) fn admit(&mut self, meter: u32, group: Group, groups_max: usize) -> Group {
        let seen = self.seen.entry(meter).or_default();
        let hash = self.hasher.hash_one(&group);
        if seen.contains(&hash) {
            return group;
        }
        if seen.len() >= groups_max {
            self.folded += 1;
            return Group::other();
        }
        seen.insert(hash);
        self.largest = self.largest.max(seen.len() as u64);
        group
    }

    /// How many groups the meter with most of them has.
    pub(super) fn largest(&self) -> u64 {
        self.largest
    }

    /// How many events went into the rest bucket, since the start.
    pub(super) fn folded(&self) -> u64 {
        self.folded
    }

    /// Forgets all groups: what was open is sealed.
    pub(super) fn clear(&mut self) {
        self.largest = 0;
        self.seen.clear();
    }
}
