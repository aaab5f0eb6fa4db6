//! Collects invoices in the machine's time, beside billing: a gateway that is slow keeps nobody waiting but payments.
//!
//! Under a test clock its order with everything else matters, so there it is one of the things that [`super::clocks`] does.

use super::JobsConfig;
use crate::{
    billing::collect::{CollectionReport, CollectionRun},
    id::InvoiceId,
    payment::Collecting,
    storage::Storage,
    telemetry::metric,
    test_clock::BillingClock,
};
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::watch;
use uuid::Uuid;

/// Collects until `stop` becomes true (or its sender is gone); payments that are being asked for are finished first.
pub(crate) async fn run(
    storage: Arc<dyn Storage>,
    clock: Arc<BillingClock>,
    config: JobsConfig,
    collecting: Arc<Collecting>,
    mut stop: watch::Receiver<bool>,
) {
    let holder = Uuid::new_v4().to_string();
    let mut told = BTreeSet::new();
    loop {
        let present = clock.present();
        if !present.is_told() {
            let run = CollectionRun {
                storage: &*storage,
                present: &present,
                machine: clock.machine(),
                collecting: &collecting,
                holder: &holder,
                is_stopped: &|| *stop.borrow(),
            };
            match run.run().await {
                Ok(report) => note(&report, &mut told),
                Err(error) => {
                    tracing::warn!(%error, "collecting has to wait: the next run tries again");
                }
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

/// Counts and logs what a run did. An invoice that cannot be collected is told once, not once a second.
pub(super) fn note(report: &CollectionReport, told: &mut BTreeSet<InvoiceId>) {
    for (answer, count) in &report.asked {
        metrics::counter!(metric::PAYMENTS_ASKED, "answer" => *answer).increment(*count);
    }
    metrics::counter!(metric::INVOICES_OVERDUE).increment(report.overdue);
    if let Some(detail) = &report.unanswered {
        tracing::warn!(
            detail,
            "the payment endpoint gave no answer: the same payments are asked about again"
        );
    }
    for (invoice, error) in &report.failed {
        if told.insert(invoice.invoice_id.clone()) {
            let invoice = &invoice.invoice_id;
            tracing::error!(%invoice, %error, "an invoice cannot be collected");
        }
    }
}
