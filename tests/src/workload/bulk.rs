//! Events that take room: each is a group of its own, so that no aggregation makes them smaller.
//!
//! They are numbered, and an event's value is its number: a count and a sum tell lost events from repeated ones. What was
//! refused is remembered, to be sent again with the same ids.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::builders;
use crate::system::{Api, PATIENCE, Reply, eventually};

/// Events of one request, together about 100 KiB.
pub const EVENTS: u64 = 200;
/// Letters of the group's name; random, so that no compression makes it much smaller.
const NAME_LETTERS: usize = 400;

/// All bulky events of one test.
#[derive(Debug, Default)]
pub struct Bulk {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    refused: VecDeque<u64>,
    acknowledged: u64,
}

impl Bulk {
    /// Sends the next batch once; notes whether it was acknowledged.
    ///
    /// # Errors
    /// When no whole reply came back; the batch counts as refused.
    pub async fn send(&self, agent: &Api) -> Result<Reply> {
        let batch = {
            let mut state = self.lock();
            state.next += 1;
            state.next - 1
        };
        self.send_batch(agent, batch).await
    }

    /// Sends the batch again that was refused first, or a new one.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_again(&self, agent: &Api) -> Result<Reply> {
        let refused = self.lock().refused.pop_front();
        match refused {
            Some(batch) => self.send_batch(agent, batch).await,
            None => self.send(agent).await,
        }
    }

    /// Sends one batch, a refused one first, until it is acknowledged.
    ///
    /// # Errors
    /// When it is not within [`PATIENCE`].
    pub async fn deliver(&self, agent: &Api) -> Result<()> {
        eventually("an acknowledgement", PATIENCE, || async {
            self.send_again(agent).await?.success()
        })
        .await
    }

    /// Delivers everything that was refused.
    ///
    /// # Errors
    /// As [`Self::deliver`].
    pub async fn deliver_refused(&self, agent: &Api) -> Result<()> {
        while !self.lock().refused.is_empty() {
            self.deliver(agent).await?;
        }
        Ok(())
    }

    /// Batches acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.lock().acknowledged
    }

    async fn send_batch(&self, agent: &Api, batch: u64) -> Result<Reply> {
        let reply = agent.post("/events/ingest", &body(batch)).await;
        let mut state = self.lock();
        match &reply {
            Ok(reply) if reply.status == 200 => state.acknowledged += 1,
            _ => state.refused.push_back(batch),
        }
        reply
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn body(batch: u64) -> Value {
    let event = |number: u64| {
        let mut random = fastrand::Rng::with_seed(number);
        let group: String = std::iter::repeat_with(|| random.alphanumeric())
            .take(NAME_LETTERS)
            .collect();
        json!({
            "event_id": format!("bulk-{number}"),
            "customer_id": "acme",
            "event_name": "bulk",
            "metadata": {"value": number, "group": group},
        })
    };
    let first = batch * EVENTS;
    let events: Vec<Value> = (first..first + EVENTS).map(event).collect();
    json!({ "events": events })
}

/// The meters over [`Bulk`], and the audit of what they say.
#[derive(Clone, Debug)]
pub struct BulkMeters {
    sum: String,
}

impl BulkMeters {
    /// Makes them.
    ///
    /// # Errors
    /// When the collector refuses one.
    pub async fn create(collector: &Api) -> Result<Self> {
        let groups = builders::meter("Bulk", "bulk", "count", "", "unit");
        builders::create_meter(collector, &builders::grouped(groups, "group")).await?;
        let sum = builders::meter("Values", "bulk", "sum", "value", "unit");
        Ok(Self {
            sum: builders::create_meter(collector, &sum).await?,
        })
    }

    /// Every batch that was made is acknowledged, and every event of it is counted, once.
    ///
    /// # Errors
    /// When not; with both numbers.
    pub async fn audit(&self, collector: &Api, bulk: &Bulk) -> Result<()> {
        let batches = bulk.lock().next;
        ensure!(
            batches == bulk.acknowledged(),
            "{batches} batches were made, {} acknowledged",
            bulk.acknowledged()
        );
        let usage = self.usage(collector).await?;
        let usage = usage.context("no usage")?;
        let events = batches * EVENTS;
        let values = (events * (events - 1) / 2).to_string();
        ensure!(
            usage["events"] == events && usage["quantity"] == values,
            "{events} events with values of {values} were acknowledged, counted is {usage}"
        );
        Ok(())
    }
    /// How many events are counted.
    ///
    /// # Errors
    /// When the collector does not say.
    pub async fn events(&self, collector: &Api) -> Result<u64> {
        let usage = self.usage(collector).await?;
        Ok(usage.map_or(0, |usage| usage["events"].as_u64().unwrap_or_default()))
    }

    async fn usage(&self, collector: &Api) -> Result<Option<Value>> {
        let path = format!("/v1/usage?customer_id=acme&meter_id={}", self.sum);
        let usage = collector.fetch(&path).await?;
        Ok(usage["items"].get(0).cloned())
    }
}
