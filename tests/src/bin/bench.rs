//! `make bench`; with batch sizes as arguments, only those shapes of traffic.

use anyhow::Result;

#[tokio::main]
async fn main() -> Result<()> {
    let batches: Vec<usize> = std::env::args()
        .skip(1)
        .map(|batch| batch.parse())
        .collect::<Result<_, _>>()?;
    submeter_tests::load::run(&batches).await
}
