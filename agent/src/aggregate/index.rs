//! Finds the meters of an event by its name, so that meters on other names cost nothing.

use std::collections::HashMap;
use std::sync::Arc;

use submeter_common::event::Event;
use submeter_common::id::MeterId;
use submeter_common::meter::Meter;

/// The small numbers a meter goes by in memory.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Slot {
    /// The meter's own.
    pub(crate) meter: u32,
    /// That of all meters on its event name.
    pub(crate) family: u32,
}

/// A meter and its numbers.
#[derive(Clone, Debug)]
pub(crate) struct Metered {
    pub(crate) slot: Slot,
    pub(crate) meter: Arc<Meter>,
}

/// The meters in force, by event name.
#[derive(Default, Debug)]
pub(crate) struct MeterIndex {
    /// All meters of the catalog, each as if it were active: one that was archived counts nothing new, but its past may
    /// still be on its way.
    by_id: HashMap<MeterId, Metered>,
    by_event_name: HashMap<String, Vec<Metered>>,
    /// Slots outlive catalogs: an open partial may belong to a meter that is gone.
    ids: Vec<MeterId>,
    slots: HashMap<MeterId, Slot>,
    families: HashMap<String, u32>,
    families_given: u32,
}

impl MeterIndex {
    /// Puts these meters in force instead of the ones before; archived ones count nothing new.
    pub(crate) fn replace(&mut self, meters: &[Meter]) {
        self.by_event_name.clear();
        self.by_id.clear();
        for meter in meters {
            let active = Meter {
                archived: false,
                ..meter.clone()
            };
            let metered = Metered {
                slot: self.slot_on(&meter.id, Some(&meter.event_name)),
                meter: Arc::new(active),
            };
            if !meter.archived {
                self.by_event_name
                    .entry(meter.event_name.clone())
                    .or_default()
                    .push(metered.clone());
            }
            self.by_id.insert(meter.id.clone(), metered);
        }
    }

    /// The meters that match the event.
    pub(crate) fn matching<'a>(
        &'a self,
        event: &'a Event<'_>,
    ) -> impl Iterator<Item = &'a Metered> {
        let named = self.by_event_name.get(&*event.event_name);
        named
            .into_iter()
            .flatten()
            .filter(|metered| metered.meter.matches(event))
    }

    /// A meter of the catalog by its id, archived or not.
    pub(crate) fn get(&self, id: &MeterId) -> Option<&Metered> {
        self.by_id.get(id)
    }

    /// The numbers of a meter, given at first sight and for ever.
    pub(crate) fn slot(&mut self, id: &MeterId) -> Slot {
        self.slot_on(id, None)
    }

    /// A meter whose event name is not known is a family of its own.
    fn slot_on(&mut self, id: &MeterId, event_name: Option<&str>) -> Slot {
        if let Some(slot) = self.slots.get(id) {
            return *slot;
        }
        let known = event_name.and_then(|name| self.families.get(name).copied());
        let family = known.unwrap_or_else(|| {
            let family = self.families_given;
            self.families_given = family.checked_add(1).expect("fewer than 2^32 meters exist");
            if let Some(name) = event_name {
                self.families.insert(name.to_owned(), family);
            }
            family
        });
        let meter = u32::try_from(self.ids.len()).expect("fewer than 2^32 meters exist");
        let slot = Slot { meter, family };
        self.ids.push(id.clone());
        self.slots.insert(id.clone(), slot);
        slot
    }

    /// The id behind a number that this index gave.
    pub(crate) fn id(&self, meter: u32) -> &MeterId {
        let index = usize::try_from(meter).unwrap_or(usize::MAX);
        self.ids
            .get(index)
            .expect("slots are only given by this index")
    }
}
