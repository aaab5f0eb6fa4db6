//! For sites without a network: frames leave in a signed file, and a receipt comes back.
//!
//! Writing a bundle only reads, so a stopped agent's directory gives one as well as a running agent. Applying a receipt is
//! what the collector's reply to a frame is otherwise: the outbox lets go of what is applied, and a newer catalog comes
//! into force.

mod export;
mod receipt;

pub(crate) use export::{Export, ExportError};
pub(crate) use receipt::{Accepted, ReceiptError, accept};
