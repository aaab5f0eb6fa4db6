//! `make bench`.

use anyhow::Result;

#[tokio::main]
async fn main() -> Result<()> {
    submeter_tests::load::run().await
}
