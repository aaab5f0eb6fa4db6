//! The `submeter-collector` binary: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use submeter_collector::cli::{Cli, run};

/// Frames are many short-lived maps and strings, which the system allocator serves slowly and keeps in arenas.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run(Cli::parse())
}
