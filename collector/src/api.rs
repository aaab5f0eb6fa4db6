//! The collector's HTTP surface: compatible with the Dodo Payments API where that has the resource, `/v1/…` elsewhere.
//!
//! [`router`] lists every route; [`error`] is the one place that turns refusals into HTTP; each resource has its file
//! with its request and reply forms. Handlers translate: rules live in the domain, and a reply is built only from what
//! the domain returned. Decimals leave as strings and enter as strings or numbers with their exact digits.

mod access;
mod agents;
mod audit;
mod balance;
mod body;
mod bundles;
mod completeness;
mod credit_entitlements;
mod credit_notes;
mod credits;
mod customers;
mod error;
mod field;
mod health;
mod invoices;
mod keys;
mod meters;
mod outbox;
mod payments;
mod pricing;
mod products;
mod query;
mod rate;
mod reply;
mod room;
mod router;
mod server;
mod state;
mod subscriptions;
mod test_clocks;
mod thresholds;
mod trusted_keys;
mod turn;
mod usage;
mod verify;
mod wallets;

pub use error::ApiError;
pub(crate) use rate::rate_json;
pub use room::Rooms;
pub use router::router;
pub use server::{Door, serve};
pub use state::ApiState;
pub use turn::Turns;
