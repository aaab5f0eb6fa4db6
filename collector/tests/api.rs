//! The collector's HTTP surface, driven over loopback against a store in a temporary directory.

#![allow(clippy::unwrap_used)]

#[path = "api/access.rs"]
mod access;
#[path = "api/bad_input.rs"]
mod bad_input;
#[path = "api/billing.rs"]
mod billing;
#[path = "api/collecting.rs"]
mod collecting;
#[path = "api/credits.rs"]
mod credits;
#[path = "api/door.rs"]
mod door;
#[path = "api/frames.rs"]
mod frames;
#[path = "api/invoices.rs"]
mod invoices;
#[path = "api/merchant.rs"]
mod merchant;
#[path = "api/papers.rs"]
mod papers;
#[path = "api/plans.rs"]
mod plans;
#[path = "api/pricing.rs"]
mod pricing;
#[path = "api/running.rs"]
mod running;
#[path = "api/shapes.rs"]
mod shapes;
#[path = "api/stop.rs"]
mod stop;
#[path = "api/test_clocks.rs"]
mod test_clocks;
#[path = "api/thresholds.rs"]
mod thresholds;
