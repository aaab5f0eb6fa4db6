//! Placeholder.

pub mod pipeline;
