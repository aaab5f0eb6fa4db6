//! `max` and `min`: nothing yet, or the most extreme number so far.

use crate::quantity::Quantity;

pub(super) fn raise(extreme: &mut Option<Quantity>, number: Quantity) {
    *extreme = Some(extreme.map_or(number, |largest| largest.max(number)));
}

pub(super) fn lower(extreme: &mut Option<Quantity>, number: Quantity) {
    *extreme = Some(extreme.map_or(number, |smallest| smallest.min(number)));
}
