//! The agent: takes usage events on localhost, makes them durable, pre-aggregates them per meter, and flushes compact
//! partials to the collector, each exactly once.
//!
//! ```text
//! app ── POST ──▶ ingest ──▶ pipeline (dedup → journal → aggregate → checkpoint → seal) ──▶ flush ──▶ collector
//! ```
//!
//! `ingest` and `flush` never meet: the pipeline is between them. [`agent`] opens the rooms in order and closes them in
//! reverse.
//!
//! What the agent is not: it knows nothing of prices, credits or invoices; it keeps no event longer than its journal's
//! budget; it does not forward events one by one. What it does not promise: an event whose request was not answered with a
//! 2xx may or may not be counted, so it must be sent again, with the same `event_id`.

pub mod agent;
pub mod budget;
pub mod cli;
pub mod config;
pub mod flush;
pub mod pipeline;
pub mod telemetry;
pub mod tls;

mod admin;
mod aggregate;
mod bundle;
mod dedup;
mod descriptors;
mod fail_point;
mod footprint;
mod http;
mod ingest;
mod inspection;
mod routes;
mod store;
mod verify;
