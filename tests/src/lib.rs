//! The whole system from outside.
//!
//! [`system`] starts the real binaries as child processes on free ports and talks to them over real
//! sockets; [`workload`] is what applications would send; [`auditor`] computes what must come out,
//! from the same input and in plain integers, and shares no code with the product. [`builders`]
//! are the request bodies; [`faulty_disk`] watches a process's disk and lets it fail, [`small_disk`] is one that gets full,
//! [`network`] is what lies between processes on a bad day, [`python`] runs the clients people use; [`demo`] and [`load`] are the insides
//! of `make demo` and `make bench`, which [`interrupt`] ends without a trace.
//!
//! It knows the product by its commands, its files and its HTTP interface only.

pub mod auditor;
pub mod builders;
pub mod demo;
pub mod faulty_disk;
pub mod interrupt;
pub mod load;
pub mod network;
pub mod python;
pub mod small_disk;
pub mod system;
pub mod workload;
