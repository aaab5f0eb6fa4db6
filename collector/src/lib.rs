//! The collector: merges the agents' frames exactly once and turns usage into invoices.
//!
//! The rings, arrows inward: surfaces ([`api`], [`cli`], [`jobs`]) → domain ([`merge`], [`usage`], [`rating`],
//! [`credits`], [`billing`], [`catalog`], …) → the traits of [`storage`], which engines implement. [`collector`] is the
//! composition root: it opens the rooms in order, doors last, and closes them in the reverse order.
//!
//! What the collector is not: it keeps no raw events (agents do, for a while), it never talks to a card network, and it
//! computes no taxes. Its hard limits are in `submeter_common::limits` and in [`config`].

pub mod agents;
pub mod alerts;
pub mod api;
pub mod auth;
pub mod billing;
pub mod bookkeeping;
pub mod catalog;
pub mod cli;
pub mod collector;
pub mod completeness;
pub mod config;
pub mod credits;
pub mod customer;
mod descriptors;
pub mod id;
pub mod jobs;
mod lease;
pub mod ledger;
pub mod merge;
pub mod metadata;
pub mod money;
pub mod outbox;
pub mod payment;
pub mod rating;
mod secret_file;
pub mod storage;
pub mod subscription;
pub mod telemetry;
pub mod test_clock;
pub mod usage;
