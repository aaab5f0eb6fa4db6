//! Alerts: what is told while a period is open, before anybody is billed.
//!
//! A *threshold* is a quantity or an amount of money that a period's usage may come to; its *marks* are percentages of it, and
//! each is told once in each period. A *cap* is a threshold at which the application is expected to stop serving: nothing that
//! agents counted is ever dropped, so the cap is told and shown, and who may go on is the application's to decide.
//!
//! [`Told`] is what of a customer has been told already. It is written in one step with the messages, over the one that was
//! read: so whoever looks, however often, in however many processes, each is told once.
//!
//! Everything here is pure; [`crate::billing`] reads what periods have come to.

#![deny(clippy::float_arithmetic)]

pub mod messages;
mod standing;
mod threshold;
mod told;

pub use standing::{Balance, Standing};
pub use threshold::{InvalidThreshold, Measure, NewThreshold, Scope, Threshold, ThresholdUpdate};
pub use told::{Place, Told};
