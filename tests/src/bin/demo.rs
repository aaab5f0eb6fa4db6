//! `make demo` and `make demo-stop`.

use anyhow::{Result, bail};
use submeter_tests::demo;
use submeter_tests::interrupt::unless_stopped;

#[tokio::main]
async fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("run") | None => unless_stopped(demo::run()).await,
        Some("stop") => demo::stop().await,
        Some(other) => bail!("`{other}` is no command: run or stop"),
    }
}
