//! Finds the meters of an event by its name, so that meters on other names cost nothing.

use std::collections::HashMap;
use std::sync::Arc;

use submeter_common::event::Event;
use submeter_common::id::MeterId;
use submeter_common::meter::Meter;

/// A meter and the small number it goes by in memory.
#[derive(Clone, Debug)]
pub(crate) struct Metered {
    pub(crate) slot: u32,
    pub(crate) meter: Arc<Meter>,
}

/// The meters in force, by event name.
#[derive(Default, Debug)]
pub(crate) struct MeterIndex {
    by_event_name: HashMap<String, Vec<Metered>>,
    /// Slots outlive catalogs: an open partial may belong to a meter that is gone.
    ids: Vec<MeterId>,
    slots: HashMap<MeterId, u32>,
}

impl MeterIndex {
    /// Puts these meters in force instead of the ones before; archived ones count nothing new.
    pub(crate) fn replace(&mut self, meters: &[Meter]) {
        self.by_event_name.clear();
        for meter in meters {
            let slot = self.slot(&meter.id);
            if !meter.archived {
                let metered = Metered {
                    slot,
                    meter: Arc::new(meter.clone()),
                };
                self.by_event_name
                    .entry(meter.event_name.clone())
                    .or_default()
                    .push(metered);
            }
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

    /// A meter in force by its id.
    pub(crate) fn get(&self, id: &MeterId) -> Option<&Metered> {
        self.by_event_name
            .values()
            .flatten()
            .find(|metered| metered.meter.id == *id)
    }

    /// The number of a meter, given at first sight.
    pub(crate) fn slot(&mut self, id: &MeterId) -> u32 {
        if let Some(slot) = self.slots.get(id) {
            return *slot;
        }
        let slot = u32::try_from(self.ids.len()).expect("fewer than 2^32 meters exist");
        self.ids.push(id.clone());
        self.slots.insert(id.clone(), slot);
        slot
    }

    /// The id behind a number that this index gave.
    pub(crate) fn id(&self, slot: u32) -> &MeterId {
        let index = usize::try_from(slot).unwrap_or(usize::MAX);
        self.ids
            .get(index)
            .expect("slots are only given by this index")
    }
}
