//! The durable core against a plain model of what it must count, over crashes, restarts and small budgets.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod backfill;
mod budgets;
mod collector;
mod damage;
mod dedup;
mod exactness;
mod failure;
mod imports;
mod kit;
mod outbox;
mod rebase;
mod watermark;
