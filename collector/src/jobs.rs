//! Background work: what happens by itself as time passes. So far that is billing.
//!
//! Each job is idempotent and keeps no state that a restart would miss, so the loop may be stopped anywhere.

use crate::{
    billing::{self, RunReport},
    storage::Storage,
    subscription::SubscriptionId,
    telemetry::metric,
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use submeter_common::Clock;
use tokio::sync::watch;
use uuid::Uuid;

/// How often it is noted that the collector serves. Short beside the absences that count, long beside a write.
const SERVICE_NOTED_EVERY: Duration = Duration::from_secs(10);

/// How background work is done.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct JobsConfig {
    /// Time between two billing runs.
    pub billing_interval: Duration,
    /// How long an ended period waits for agents that have not delivered.
    pub completeness_wait: Duration,
}

impl Default for JobsConfig {
    /// A second between runs, so that a backdated subscription is invoiced at once to the eye; three days of waiting, so that
    /// an agent that is offline over a weekend is still complete.
    fn default() -> Self {
        Self {
            billing_interval: Duration::from_secs(1),
            completeness_wait: Duration::from_secs(3 * 86_400),
        }
    }
}

/// Runs the jobs until `stop` becomes true (or its sender is gone); a run in progress is finished first.
pub async fn run<S: Storage + ?Sized>(
    storage: Arc<S>,
    clock: Arc<dyn Clock>,
    config: JobsConfig,
    mut stop: watch::Receiver<bool>,
) {
    let holder = Uuid::new_v4().to_string();
    let mut told = BTreeSet::new();
    let mut noted = Instant::now();
    loop {
        if noted.elapsed() >= SERVICE_NOTED_EVERY {
            noted = Instant::now();
            if let Err(error) = storage.go_on_serving(clock.now()).await {
                tracing::warn!(%error, "it cannot be noted that the collector serves");
            }
        }
        match billing::close_due(&*storage, &*clock, config.completeness_wait, &holder).await {
            Ok(report) => {
                metrics::counter!(metric::BILLING_RUNS, "outcome" => "done").increment(1);
                metrics::counter!(metric::PERIODS_CLOSED).increment(report.closed);
                // A gauge counts up to 2^53; above 2^32 the exact number has stopped to matter.
                let failed = u32::try_from(report.failed_count).unwrap_or(u32::MAX);
                metrics::gauge!(metric::PERIODS_FAILED).set(failed);
                tell(&report, &mut told);
            }
            Err(error) => {
                metrics::counter!(metric::BILLING_RUNS, "outcome" => "unavailable").increment(1);
                tracing::warn!(%error, "billing has to wait: the next run tries again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(config.billing_interval) => {}
            stopped = stop.wait_for(|stopped| *stopped) => {
                // A sender that is gone has nobody left to stop us later.
                drop(stopped);
                return;
            }
        }
    }
}

/// Logs what a run did. A period that cannot be billed is told once, not once a second.
fn tell(report: &RunReport, told: &mut BTreeSet<SubscriptionId>) {
    if report.closed > 0 {
        let (closed, issued, incomplete) = (report.closed, report.issued, report.incomplete);
        tracing::info!(closed, issued, incomplete, "closed billing periods");
    }
    let failing: BTreeSet<SubscriptionId> =
        report.failed.iter().map(|(id, _)| id.clone()).collect();
    for (subscription, error) in &report.failed {
        if !told.contains(subscription) {
            tracing::error!(%subscription, %error, "a billing period cannot be closed; it stays open");
        }
    }
    *told = failing;
}
