//! The vocabulary of Submeter and its laws, shared by the agent and the collector.
//!
//! | word | type |
//! |---|---|
//! | event | [`Event`]: one usage action, admitted by [`limits`] and a [`Horizon`] |
//! | quantity | [`Quantity`]: an exact decimal, read from the JSON digits |
//! | meter | [`Meter`]: event name + [`Filter`] + [`Aggregation`] + group keys |
//! | window | [`Window`]: a half-open UTC minute of event time |
//! | partial | [`Partial`]: mergeable state of one aggregation |
//! | frame | [`protocol::Frame`]: what an agent sends, frozen before its first send |
//!
//! What is absent on purpose: no I/O, no async, no money, no storage. Nothing here reads a clock
//! but through [`Clock`], and nothing computes with binary floating point. All that is asked of the system is how many
//! files a process may open ([`descriptors`]).
#![deny(clippy::float_arithmetic)]

pub mod aggregate;
pub mod bundle;
mod bytes;
pub mod descriptors;
pub mod event;
pub mod filter;
pub mod id;
mod json;
pub mod limits;
pub mod meter;
pub mod protocol;
pub mod quantity;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a sample that is wrong fails the test")]
mod samples;
pub mod secrecy;
pub mod signature;
pub mod time;

pub use aggregate::{AggregateError, Group, LastValue, Partial, State};
pub use bytes::CodecError;
pub use event::{
    BatchRejection, BatchStatus, EachEvent, Event, EventError, Horizon, Rejection, RejectionCode,
    Value, check_batch_horizon, parse_each, read_batch, readable_event_id,
};
pub use filter::{Filter, FilterError};
pub use id::{AgentId, CustomerId, Digest, EventId, IdError, MeterId, check_id};
pub use meter::{Aggregation, AggregationKind, Meter, MeterError};
pub use protocol::{Frame, FrameError, FrameHeader, Receipts, Row, decode_frame, encode_frame};
pub use quantity::{Quantity, QuantityError};
pub use time::{Clock, ManualClock, Period, SystemClock, Timestamp, TimestampError, Window};
