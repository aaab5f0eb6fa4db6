//! Every metric of the agent, by name.
//!
//! Counters end in `_total`; units are in the names. Values pass through binary floating point, as Prometheus has it; no
//! bill is ever computed from a metric.

use std::collections::BTreeMap;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use submeter_common::time::Timestamp;

use crate::pipeline::{Health, Status};

/// Events acknowledged to applications and not yet acknowledged by the collector. The gauge to watch.
pub const AT_RISK_EVENTS: &str = "submeter_agent_at_risk_events";
/// Events received, since the state directory was born.
pub const RECEIVED_EVENTS: &str = "submeter_agent_received_events_total";
/// Events accepted, since the state directory was born.
pub const ACCEPTED_EVENTS: &str = "submeter_agent_accepted_events_total";
/// Events seen before with the same payload.
pub const DUPLICATE_EVENTS: &str = "submeter_agent_duplicate_events_total";
/// Events seen before with another payload.
pub const CONFLICT_EVENTS: &str = "submeter_agent_conflict_events_total";
/// Events refused, by `reason`.
pub const REJECTED_EVENTS: &str = "submeter_agent_rejected_events_total";
/// Accepted events that some meter counts.
pub const MATCHED_EVENTS: &str = "submeter_agent_matched_events_total";
/// Accepted events that no meter counts.
pub const UNMATCHED_EVENTS: &str = "submeter_agent_unmatched_events_total";
/// Events an aggregation could not take (overflow).
pub const QUARANTINED_EVENTS: &str = "submeter_agent_quarantined_events_total";
/// Partials not sealed yet.
pub const OPEN_PARTIALS: &str = "submeter_agent_open_partials";
/// Memory and disk that partials not sealed yet take.
pub const OPEN_BYTES: &str = "submeter_agent_open_bytes";
/// How often the clock was set back so far that the watermark had to follow it.
pub const CLOCK_SET_BACK: &str = "submeter_agent_clock_set_back_total";
/// Sealed frames the collector does not hold yet.
pub const OUTBOX_FRAMES: &str = "submeter_agent_outbox_frames";
/// Bytes of sealed frames the collector does not hold yet.
pub const OUTBOX_BYTES: &str = "submeter_agent_outbox_bytes";
/// When the oldest frame the collector does not hold was sealed, in seconds since 1970; 0 when there is none.
pub const OLDEST_UNACKNOWLEDGED_SECONDS: &str =
    "submeter_agent_oldest_unacknowledged_timestamp_seconds";
/// The newest frame sealed.
pub const SEALED_SEQ: &str = "submeter_agent_sealed_seq";
/// The newest frame the collector acknowledged.
pub const ACKNOWLEDGED_SEQ: &str = "submeter_agent_acknowledged_seq";
/// The newest frame's watermark, in seconds since 1970.
pub const WATERMARK_SECONDS: &str = "submeter_agent_watermark_timestamp_seconds";
/// Bytes of retained journal records.
pub const JOURNAL_BYTES: &str = "submeter_agent_journal_bytes";
/// Event ids remembered.
pub const DEDUP_IDS: &str = "submeter_agent_dedup_ids";
/// Memory of the deduplication.
pub const DEDUP_BYTES: &str = "submeter_agent_dedup_bytes";
/// Memory that the deduplication may use; beyond it, events are refused.
pub const DEDUP_BYTES_MAX: &str = "submeter_agent_dedup_bytes_max";
/// Runs of event ids on disk.
pub const DEDUP_RUNS: &str = "submeter_agent_dedup_runs";
/// Look-ups of event ids on disk, since the start.
pub const DEDUP_DISK_READS: &str = "submeter_agent_dedup_disk_reads_total";
/// Time of a write to the state directory that ends with an fsync.
pub const FSYNC_SECONDS: &str = "submeter_agent_fsync_duration_seconds";
/// Free bytes on the state directory's disk.
pub const DISK_FREE_BYTES: &str = "submeter_agent_disk_free_bytes";
/// Recoveries from damage that nobody has taken note of.
pub const DAMAGE_INCIDENTS: &str = "submeter_agent_damage_incidents";
/// Acknowledged events that damage took, in those recoveries.
pub const DAMAGE_EVENTS_LOST: &str = "submeter_agent_damage_events_lost";
/// 1 when new events are taken, 0 when they are refused.
pub const HEALTHY: &str = "submeter_agent_healthy";
/// What befell the identity or the state directory and is remembered, by `kind`.
pub const INCIDENTS: &str = "submeter_agent_incidents";
/// Version of the catalog in force.
pub const CATALOG_VERSION: &str = "submeter_agent_catalog_version";

/// The limits in force, by `budget`: the setting's name. Bytes, seconds or pieces.
pub const BUDGET_LIMIT: &str = "submeter_agent_budget_limit";
/// What is used of a limit now, by `budget`.
pub const BUDGET_USED: &str = "submeter_agent_budget_used";
/// How often a limit was reached, by `budget`.
pub const BUDGET_HITS: &str = "submeter_agent_budget_hits_total";
/// Requests answered, by `route` and `status`.
pub const REQUESTS: &str = "submeter_agent_requests_total";
/// Time to answer a request, by `route`.
pub const REQUEST_SECONDS: &str = "submeter_agent_request_duration_seconds";
/// Frames sent, by `result`.
pub const FRAMES_SENT: &str = "submeter_agent_frames_sent_total";
/// Bytes of the frames sent, re-sent ones counted again.
pub const FRAME_BYTES_SENT: &str = "submeter_agent_frame_bytes_sent_total";
/// Time from sending a frame to the collector's reply.
pub const FLUSH_SECONDS: &str = "submeter_agent_flush_duration_seconds";
/// Failed calls of the collector, by `cause`.
pub const FLUSH_FAILURES: &str = "submeter_agent_flush_failures_total";
/// 1 while frames flow, 0 while the flusher waits for something to be mended.
pub const FLUSHING: &str = "submeter_agent_flushing";
/// The collector's clock minus the agent's, in seconds, as of the last reply.
pub const CLOCK_SKEW_SECONDS: &str = "submeter_agent_clock_skew_seconds";

/// Tells the recorder what the metrics mean.
pub(super) fn describe() {
    describe_gauge!(
        AT_RISK_EVENTS,
        "Events acknowledged to applications and not yet acknowledged by the collector"
    );
    describe_counter!(
        RECEIVED_EVENTS,
        "Events received since the state directory was born"
    );
    describe_counter!(
        ACCEPTED_EVENTS,
        "Events accepted since the state directory was born"
    );
    describe_counter!(DUPLICATE_EVENTS, "Events seen before with the same payload");
    describe_counter!(
        CONFLICT_EVENTS,
        "Events seen before with another payload; the first one counts"
    );
    describe_counter!(REJECTED_EVENTS, "Events refused, by reason");
    describe_counter!(MATCHED_EVENTS, "Accepted events that some meter counts");
    describe_counter!(UNMATCHED_EVENTS, "Accepted events that no meter counts");
    describe_counter!(QUARANTINED_EVENTS, "Events an aggregation could not take");
    describe_gauge!(OPEN_PARTIALS, "Partials not sealed yet");
    describe_gauge!(
        OPEN_BYTES,
        "Memory and disk that partials not sealed yet take"
    );
    describe_counter!(
        CLOCK_SET_BACK,
        "How often the clock was set back so far that the watermark had to follow it"
    );
    describe_gauge!(
        OUTBOX_FRAMES,
        "Sealed frames the collector does not hold yet"
    );
    describe_gauge!(
        OUTBOX_BYTES,
        "Bytes of sealed frames the collector does not hold yet"
    );
    describe_gauge!(
        OLDEST_UNACKNOWLEDGED_SECONDS,
        "When the oldest frame the collector does not hold was sealed"
    );
    describe_gauge!(SEALED_SEQ, "The newest frame sealed");
    describe_gauge!(
        ACKNOWLEDGED_SEQ,
        "The newest frame the collector acknowledged"
    );
    describe_gauge!(WATERMARK_SECONDS, "The newest frame's watermark");
    describe_gauge!(JOURNAL_BYTES, "Bytes of retained journal records");
    describe_gauge!(DEDUP_IDS, "Event ids remembered");
    describe_gauge!(DEDUP_BYTES, "Memory of the deduplication in bytes");
    describe_gauge!(
        DEDUP_BYTES_MAX,
        "Memory that the deduplication may use; beyond it, events are refused"
    );
    describe_gauge!(DEDUP_RUNS, "Runs of event ids on disk");
    describe_counter!(
        DEDUP_DISK_READS,
        "Look-ups of event ids on disk since the start"
    );
    describe_histogram!(
        FSYNC_SECONDS,
        "Time of a write to the state directory that ends with an fsync"
    );
    describe_gauge!(DISK_FREE_BYTES, "Free bytes on the state directory's disk");
    describe_gauge!(
        DAMAGE_INCIDENTS,
        "Recoveries from damage that nobody has taken note of"
    );
    describe_gauge!(
        DAMAGE_EVENTS_LOST,
        "Acknowledged events that damage took, in recoveries that nobody has taken note of"
    );
    describe_gauge!(
        HEALTHY,
        "1 when new events are taken, 0 when they are refused"
    );
    describe_gauge!(
        INCIDENTS,
        "What befell the identity or the state directory and is remembered, by kind"
    );
    describe_gauge!(CATALOG_VERSION, "Version of the catalog in force");
    describe_gauge!(BUDGET_LIMIT, "The limits in force, by setting");
    describe_gauge!(BUDGET_USED, "What is used of a limit now, by setting");
    describe_counter!(BUDGET_HITS, "How often a limit was reached, by setting");
    describe_counter!(REQUESTS, "Requests answered, by route and status");
    describe_histogram!(REQUEST_SECONDS, "Time to answer a request");
    describe_counter!(FRAMES_SENT, "Frames sent, by result");
    describe_counter!(FRAME_BYTES_SENT, "Bytes of the frames sent");
    describe_histogram!(
        FLUSH_SECONDS,
        "Time from sending a frame to the collector's reply"
    );
    describe_counter!(FLUSH_FAILURES, "Failed calls of the collector, by cause");
    describe_gauge!(
        FLUSHING,
        "1 while frames flow, 0 while the flusher waits for something to be mended"
    );
    describe_gauge!(
        CLOCK_SKEW_SECONDS,
        "The collector's clock minus the agent's"
    );
}

/// Sets everything that is read from the store rather than counted where it happens.
pub(super) fn observe(status: &Status) {
    let receipts = &status.receipts;
    counter!(RECEIVED_EVENTS).absolute(receipts.received);
    counter!(ACCEPTED_EVENTS).absolute(receipts.accepted);
    counter!(DUPLICATE_EVENTS).absolute(receipts.duplicate);
    counter!(CONFLICT_EVENTS).absolute(receipts.conflict);
    counter!(MATCHED_EVENTS).absolute(receipts.matched);
    counter!(UNMATCHED_EVENTS).absolute(receipts.unmatched);
    counter!(QUARANTINED_EVENTS).absolute(status.quarantined);
    for (reason, events) in &receipts.rejected {
        counter!(REJECTED_EVENTS, "reason" => reason.clone()).absolute(*events);
    }
    gauge!(AT_RISK_EVENTS).set(status.at_risk_events as f64);
    gauge!(OPEN_PARTIALS).set(status.open_partials as f64);
    gauge!(OPEN_BYTES).set(status.usage.open_bytes as f64);
    counter!(CLOCK_SET_BACK).absolute(status.usage.clock_set_back);
    gauge!(OUTBOX_FRAMES).set(status.outbox_frames as f64);
    gauge!(OUTBOX_BYTES).set(status.outbox_bytes as f64);
    gauge!(OLDEST_UNACKNOWLEDGED_SECONDS).set(seconds(status.oldest_unacknowledged_at));
    gauge!(SEALED_SEQ).set(status.sealed.seq as f64);
    gauge!(ACKNOWLEDGED_SEQ).set(status.acknowledged.seq as f64);
    gauge!(WATERMARK_SECONDS).set(seconds(status.watermark));
    gauge!(JOURNAL_BYTES).set(status.journal_bytes as f64);
    gauge!(DEDUP_IDS).set(status.dedup_ids as f64);
    gauge!(DEDUP_BYTES).set(status.dedup_bytes as f64);
    gauge!(DEDUP_BYTES_MAX).set(status.dedup_bytes_max as f64);
    gauge!(DEDUP_RUNS).set(status.dedup_runs as f64);
    counter!(DEDUP_DISK_READS).absolute(status.dedup_disk_reads);
    gauge!(DISK_FREE_BYTES).set(status.disk_free_bytes as f64);
    gauge!(DAMAGE_INCIDENTS).set(status.damage.len() as f64);
    let lost: u64 = status
        .damage
        .iter()
        .map(|incident| incident.events_lost)
        .sum();
    gauge!(DAMAGE_EVENTS_LOST).set(lost as f64);
    gauge!(HEALTHY).set(if status.health == Health::Ok {
        1.0
    } else {
        0.0
    });
    let mut incidents = BTreeMap::<&str, f64>::new();
    for incident in &status.incidents {
        *incidents.entry(incident.kind.as_str()).or_default() += 1.0;
    }
    for (kind, count) in incidents {
        gauge!(INCIDENTS, "kind" => kind).set(count);
    }
    gauge!(CATALOG_VERSION).set(status.catalog_version as f64);
}

fn seconds(at: Option<Timestamp>) -> f64 {
    at.map_or(0.0, |at| at.as_micros() as f64 / 1e6)
}
