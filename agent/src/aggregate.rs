//! Which meters an event counts for, and the open partials it goes into. Pure: no storage, no clock.

mod groups;
mod index;
mod partials;

pub(crate) use index::{MeterIndex, Metered, Slot};
pub(crate) use partials::{Account, OpenPartial, OpenPartials};

#[cfg(test)]
mod tests;
