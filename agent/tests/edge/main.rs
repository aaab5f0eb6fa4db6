//! The agent from outside its HTTP door: real router, real pipeline in a temporary directory, a collector that misbehaves on
//! demand.

mod bad_input;
mod cloudevents;
mod collector;
mod commands;
mod events;
mod flushing;
mod guard;
mod harness;
mod imports;
mod inspection;
mod lifecycle;
mod secrets;
mod tls;
mod unix_socket;
