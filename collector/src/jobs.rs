//! Background work: what happens by itself as time passes. That is billing, collecting, the end of reservations and of grants, and
//! what is told of open periods, by the machine's time and by test clocks, and the outbox's pruning.
//!
//! Each job is idempotent and keeps no state that a restart would miss, so the loop may be stopped anywhere.

pub mod alerts;
pub(crate) mod clocks;
pub(crate) mod collection;
pub(crate) mod expiry;
mod outbox;
mod reservations;

use crate::{
    billing::{self, RunReport, RunTerms},
    payment::Collecting,
    storage::{Storage, StorageError},
    subscription::SubscriptionId,
    telemetry::metric,
    test_clock::BillingClock,
};
use clocks::Clockwork;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
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
    /// How long an agent may not be heard of before that is an alarm.
    pub agent_silent_after: Duration,
    /// How long the outbox keeps what the world was told.
    pub outbox_retention: Duration,
}

impl Default for JobsConfig {
    /// A second between runs, so that a backdated subscription is invoiced at once to the eye; three days of waiting, so that
    /// an agent that is offline over a weekend is still complete.
    fn default() -> Self {
        Self {
            billing_interval: Duration::from_secs(1),
            completeness_wait: Duration::from_secs(3 * 86_400),
            // An agent is heard of with every flush, seconds apart; a deployment or a slow network takes minutes.
            agent_silent_after: Duration::from_secs(15 * 60),
            // A reader that was away for a holiday still finds everything.
            outbox_retention: Duration::from_secs(30 * 86_400),
        }
    }
}

/// Runs the jobs until `stop` becomes true (or its sender is gone); a run in progress is finished first.
pub async fn run<S: Storage + ?Sized>(
    storage: Arc<S>,
    clock: Arc<BillingClock>,
    config: JobsConfig,
    collecting: Arc<Collecting>,
    mut stop: watch::Receiver<bool>,
) {
    let holder = Uuid::new_v4().to_string();
    let terms = RunTerms {
        completeness_wait: config.completeness_wait,
        due_after: collecting.terms.due_after,
    };
    let mut pruning = outbox::Pruning::default();
    let uncollectable = Mutex::new(BTreeSet::new());
    let mut told = BTreeSet::new();
    let mut noted = Instant::now();
    loop {
        if noted.elapsed() >= SERVICE_NOTED_EVERY {
            noted = Instant::now();
            if let Err(error) = storage.go_on_serving(clock.machine().now()).await {
                tracing::warn!(%error, "it cannot be noted that the collector serves");
            }
            if let Err(error) =
                raise_silent(&*storage, clock.machine(), config.agent_silent_after).await
            {
                tracing::warn!(%error, "it cannot be seen which agents are silent");
            }
        }
        let kept = config.outbox_retention;
        pruning.turn(&*storage, clock.machine().now(), kept).await;
        let present = clock.present();
        if let Err(error) = reservations::end_overdue(&*storage, &present).await {
            tracing::warn!(%error, "overdue reservations have to wait: the next run tries again");
        }
        if let Err(error) = expiry::end_overdue(&*storage, &present).await {
            tracing::warn!(%error, "grants that are over have to wait: the next run tries again");
        }
        let machine = clock.machine();
        match billing::close_due_at(&storage, &present, machine, terms, &holder).await {
            Ok(report) => {
                metrics::counter!(metric::BILLING_RUNS, "outcome" => "done").increment(1);
                // A gauge counts up to 2^53; above 2^32 the exact number has stopped to matter.
                let failed = u32::try_from(report.failed_count).unwrap_or(u32::MAX);
                metrics::gauge!(metric::PERIODS_FAILED).set(failed);
                note(&report);
                tell(&report, &mut told);
            }
            Err(error) => unavailable(&error),
        }
        let clockwork = Clockwork {
            storage: &storage,
            clock: &clock,
            terms,
            collecting: &collecting,
            uncollectable: &uncollectable,
            holder: &holder,
            stop: &stop,
        };
        if let Err(error) = clockwork.run().await {
            unavailable(&error);
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

fn unavailable(error: &StorageError) {
    metrics::counter!(metric::BILLING_RUNS, "outcome" => "unavailable").increment(1);
    tracing::warn!(%error, "billing has to wait: the next run tries again");
}

/// Counts and logs what a run closed.
fn note(report: &RunReport) {
    metrics::counter!(metric::PERIODS_CLOSED).increment(report.closed);
    if report.closed > 0 {
        let (closed, issued, incomplete) = (report.closed, report.issued, report.incomplete);
        tracing::info!(closed, issued, incomplete, "closed billing periods");
    }
}

/// Logs what a run could not do. A period that cannot be billed is told once, not once a second.
fn tell(report: &RunReport, told: &mut BTreeSet<SubscriptionId>) {
    let failing: BTreeSet<SubscriptionId> =
        report.failed.iter().map(|(id, _)| id.clone()).collect();
    for (subscription, error) in &report.failed {
        if !told.contains(subscription) {
            tracing::error!(%subscription, %error, "a billing period cannot be closed; it stays open");
        }
    }
    *told = failing;
}

/// Raises the alarm for agents that are silent, long before a period has to wait for them. While the collector was away nobody
/// could be heard of, and its return is not held against anybody.
async fn raise_silent<S: Storage + ?Sized>(
    storage: &S,
    clock: &dyn Clock,
    silent_after: Duration,
) -> Result<(), StorageError> {
    let now = clock.now();
    let Some(heard_by) = storage.service().await?.reaches_back(silent_after, now) else {
        return Ok(());
    };
    for agent in storage.raise_silent(heard_by, now).await? {
        tracing::error!(%agent, "an agent is silent: periods will wait for it; see that it runs, or retire it");
    }
    Ok(())
}
