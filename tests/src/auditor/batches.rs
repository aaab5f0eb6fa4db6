//! Whether batches were counted exactly once: read from the collector's usage, judged from what was sent.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::builders;
use crate::system::Api;
use crate::workload::batches::{BATCH_EVENTS, Batches};

/// Three meters over the same events, each kept apart by batch. Together they tell a lost event from a repeated one: a
/// batch is right when its events are as many as were sent, all different, and add up.
#[derive(Clone, Debug)]
pub struct BatchMeters {
    count: String,
    sum: String,
    different: String,
}

/// What was found to be counted; all of it exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Batches.
    pub batches: usize,
    /// Of these, sent but never acknowledged.
    pub unacknowledged: usize,
}

impl BatchMeters {
    /// Makes the meters for events called `event_name`.
    ///
    /// # Errors
    /// When the collector refuses one.
    pub async fn create(api: &Api, event_name: &str) -> Result<Self> {
        let create = async |aggregation: &str, key: &str| {
            let name = format!("{aggregation} of {event_name}");
            let meter = builders::meter(&name, event_name, aggregation, key, "unit");
            builders::create_meter(api, &builders::grouped(meter, "batch")).await
        };
        Ok(Self {
            count: create("count", "").await?,
            sum: create("sum", "value").await?,
            different: create("unique_count", "value").await?,
        })
    }

    /// Says how many batches are counted, when acknowledged ⊆ counted ⊆ sent, each wholly and once, and the sums agree.
    ///
    /// # Errors
    /// Names the batch that is wrong, and how.
    pub async fn audit(&self, api: &Api, batches: &Batches) -> Result<Counted> {
        let fates = batches.fates();
        let customer = batches.customer();
        let count = quantities(api, customer, &self.count).await?;
        let sum = quantities(api, customer, &self.sum).await?;
        let different = quantities(api, customer, &self.different).await?;
        for (batch, acknowledged) in &fates {
            let counted = count.contains_key(batch);
            ensure!(
                counted || !acknowledged,
                "batch {batch} of {customer} was acknowledged and is not counted"
            );
        }
        for (batch, events) in &count {
            ensure!(
                fates.contains_key(batch),
                "batch {batch} of {customer} is counted and was never sent"
            );
            let found = (*events, sum.get(batch), different.get(batch));
            let first = batch * BATCH_EVENTS;
            let total = (first..first + BATCH_EVENTS).sum();
            let expected = (BATCH_EVENTS, Some(&total), Some(&BATCH_EVENTS));
            ensure!(
                found == expected,
                "batch {batch} of {customer}: events, sum and different values are {found:?}, expected {expected:?}"
            );
        }
        ensure!(
            sum.len() == count.len() && different.len() == count.len(),
            "the meters of {customer} disagree about which batches there are"
        );
        let unacknowledged = count.keys().filter(|batch| !fates[batch]).count();
        Ok(Counted {
            batches: count.len(),
            unacknowledged,
        })
    }
}

/// A meter's quantity for each batch.
async fn quantities(api: &Api, customer: &str, meter: &str) -> Result<BTreeMap<u64, u64>> {
    let path = format!("/v1/usage?customer_id={customer}&meter_id={meter}&group_by=batch");
    let usage = api.fetch(&path).await?;
    let items = usage["items"].as_array().context("items")?;
    let mut quantities = BTreeMap::new();
    for item in items {
        let (batch, quantity) = number(&item["group"]["batch"])
            .zip(number(&item["quantity"]))
            .with_context(|| format!("a batch and a quantity in {item}"))?;
        ensure!(
            quantities.insert(batch, quantity).is_none(),
            "batch {batch} of {customer} comes twice"
        );
    }
    Ok(quantities)
}

fn number(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}
