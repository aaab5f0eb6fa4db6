//! `submeter-agent`: parse, build, run, exit code.

use std::process::ExitCode;

/// Many small allocations by many threads are what an agent does; see the benches for what this is worth.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    submeter_agent::tls::install_provider();
    submeter_agent::cli::main()
}
