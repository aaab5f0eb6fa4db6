//! Billing against the embedded engine, with a clock and agents that the tests move.

#![allow(clippy::unwrap_used)]

mod alert;
mod carried;
mod collection;
mod crash;
mod credit;
mod cycles;
mod expiry;
mod granting;
mod late;
mod ledger;
mod model;
mod money;
mod opening;
mod oracle;
mod plans;
mod random_life;
mod reset;
mod simulation;
mod standing;
mod tariff;
mod till;
mod verify;
mod waiting;
mod world;
