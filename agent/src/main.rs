//! `submeter-agent`: parse, build, run, exit code.

use std::process::ExitCode;

/// One allocator for Rust and RocksDB; how it behaves is set in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    submeter_agent::tls::install_provider();
    submeter_agent::cli::main()
}
