//! Bookkeeping: what is decided about credits and money, as transfers and changed documents for one atomic write.
//!
//! A [`Posting`] is such a write. [`Book`] writes its transfers, one for each grant that gives or gets, so that every debit
//! names the grants it took from. [`teller`] and [`wallet`] decide what callers ask for; [`crate::billing`] what periods come
//! to. Whoever stores a posting first lets [`consistency`] check that documents and transfers tell one story.
//!
//! Everything here is pure.

#![deny(clippy::float_arithmetic)]

mod book;
pub mod consistency;
pub mod credit_entry;
mod holdings;
mod posting;
pub mod teller;
pub mod wallet;

pub use book::{Book, ReservationStep};
pub use credit_entry::CreditEntry;
pub use holdings::Holdings;
pub use posting::{GrantChange, Posting};
