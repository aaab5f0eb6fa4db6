//! The `submeter-collector` binary: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use submeter_collector::cli::{Cli, run};

/// One allocator for Rust and RocksDB; how it behaves is set in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    run(Cli::parse())
}
