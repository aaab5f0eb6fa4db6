//! Credits: prepaid units that usage burns before it costs money.
//!
//! An *entitlement* is a kind of credits ("tokens", 0 digits). A product *attaches* entitlements and thereby grants an amount
//! at the start of each period. A *grant* is burned down by the usage of its period, in a fixed order, and what is left at its
//! expiry is forfeited. Everything in this room is pure; [`crate::billing`] books what it decides.

#![deny(clippy::float_arithmetic)]

pub mod burn_down;
mod entitlement;
mod grant;
pub mod overage;
mod reservation;
pub mod rollover;

pub use crate::id::{EntitlementId, GrantId};
pub use entitlement::{
    CreditAttachment, CreditEntitlement, OverageBehavior, Rollover, check_credits,
};
pub use grant::{Grant, GrantSource};
pub use reservation::{Hold, Reservation, ReservationStatus};
