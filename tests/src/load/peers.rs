//! What else one would pick, with the same work, beside the agent.
//!
//! Each peer drops repeated ids and keeps a count, a sum behind a filter and a maximum by customer and minute, and answers
//! after an fsync. It is spared what the agent does besides: parsing JSON, checking events, keeping them whole, telling a
//! repetition from another event with the same id, sending to a collector. At the end it must hold exactly what it
//! acknowledged.

mod postgres;
mod redis;
mod stream;

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::agent::Shape;
use super::drive::{Client, Driven, Time, drive};
use super::table::{Sheet, millis, ratio};
use postgres::Postgres;
use redis::Redis;
use stream::{Stream, Totals};

/// A server on a free port with an empty directory of its own.
trait Peer: Sized {
    const NAME: &'static str;
    type Client: Client + Counted;

    async fn start(directory: &Path) -> Result<Self>;
    fn client(&self, stream: Stream) -> Result<Self::Client>;
    /// What it holds.
    fn totals(&self) -> Result<Totals>;
    async fn stop(self) -> Result<()>;
}

/// A client that knows what was acknowledged to it.
trait Counted {
    fn acknowledged(&self) -> Totals;
}

/// Runs the peers with the shapes the agent ran with at these events a second; whole batches and single events only.
pub(super) async fn run(paces: &[(Shape, u64)], time: Time) -> Result<()> {
    let mut sheet = Sheet::new(&[
        "batch",
        "connections",
        "who",
        "events/s",
        "p50",
        "p99",
        "agent/peer",
    ]);
    for &(shape, agent) in paces {
        if shape.batch != 1 && shape.batch != 1_000 {
            continue;
        }
        sheet.row(vec![
            shape.batch.to_string(),
            shape.connections.to_string(),
            "agent".to_owned(),
            agent.to_string(),
        ]);
        let driven = measure::<Redis>(shape, time).await?;
        sheet.row(row::<Redis>(shape, agent, &driven));
        let driven = measure::<Postgres>(shape, time).await?;
        sheet.row(row::<Postgres>(shape, agent, &driven));
    }
    println!("{sheet}");
    println!("each reply after an fsync; each peer was seen to hold exactly what it acknowledged.");
    Ok(())
}

async fn measure<P: Peer>(shape: Shape, time: Time) -> Result<Driven<P::Client>> {
    println!("» {}: {shape}", P::NAME);
    let directory = tempfile::Builder::new()
        .prefix("submeter-peer-")
        .tempdir()?;
    let peer = P::start(directory.path())
        .await
        .with_context(|| format!("start {}", P::NAME))?;
    let clients = (0..shape.connections)
        .map(|worker| peer.client(Stream::new(worker, shape.batch)))
        .collect::<Result<Vec<_>>>()?;
    let driven = drive(clients, time, || Ok(())).await?;
    let mut acknowledged = Totals::default();
    for client in &driven.clients {
        acknowledged.add(client.acknowledged());
    }
    let held = peer.totals()?;
    ensure!(
        held == acknowledged,
        "{} acknowledged {acknowledged:?} and holds {held:?}",
        P::NAME
    );
    peer.stop().await?;
    Ok(driven)
}

fn row<P: Peer>(shape: Shape, agent: u64, driven: &Driven<P::Client>) -> Vec<String> {
    vec![
        shape.batch.to_string(),
        shape.connections.to_string(),
        P::NAME.to_owned(),
        driven.per_second.to_string(),
        millis(driven.percentile(50)),
        millis(driven.percentile(99)),
        ratio(agent, driven.per_second),
    ]
}
