//! Every budget of the state directory in one place, with its default and the reason for it.

use std::path::PathBuf;
use std::time::Duration;

use submeter_common::limits::{FRAME_ROWS_MAX, HORIZON_FUTURE_DEFAULT, HORIZON_PAST_DEFAULT};

use super::OpenError;
use crate::fail_point::squeezed;

/// Settings of the agent's durable core.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The state directory; created when missing, locked while open.
    pub data_dir: PathBuf,
    /// How long an event id is remembered; never less than the whole horizon.
    pub dedup_retention: Duration,
    /// Memory of the remembered ids above which new events are refused.
    pub dedup_bytes_max: u64,
    /// Ids in one dedup generation, an exact map in memory: the open one's, and those that are on their way to disk.
    pub dedup_generation_ids_max: usize,
    /// Journal bytes kept for explain, inspect and backfill, once a checkpoint covers them.
    pub journal_bytes_max: u64,
    /// Age up to which covered journal records are kept.
    pub journal_age_max: Duration,
    /// Bytes of unacknowledged frames above which new events are refused.
    pub outbox_bytes_max: u64,
    /// Bytes of acknowledged frames kept for a collector that was restored from an older backup.
    pub acknowledged_bytes_max: u64,
    /// Age up to which acknowledged frames are kept.
    pub acknowledged_age_max: Duration,
    /// Event bytes in one journal record (one fsync).
    pub commit_bytes_max: usize,
    /// Requests that may wait for the committer before new ones are refused.
    pub queue_requests_max: usize,
    /// Event bytes that may wait for the committer before new requests are refused.
    pub queue_bytes_max: usize,
    /// Imports that may be open at one time. Each holds a place in memory and the watermark back; a fleet of files is
    /// imported a few at a time.
    pub imports_max: usize,
    /// Longest time between two checkpoints while events arrive; bounds the replay at start.
    pub checkpoint_interval: Duration,
    /// Most journal bytes between two checkpoints; bounds the replay at start.
    pub checkpoint_bytes_max: u64,
    /// An idle agent seals an empty frame this often, so that its watermark advances.
    pub heartbeat_interval: Duration,
    /// Rows in one frame.
    pub frame_rows_max: usize,
    /// Open partials held in memory; beyond it they spill to the state directory at the next checkpoint.
    pub open_partials_in_memory_max: usize,
    /// Bytes of open partials, in memory and on disk; beyond it they are sealed although the collector is away.
    pub open_bytes_max: u64,
    /// Distinct groups of one meter between two seals; the rest folds into `__other__`.
    pub groups_per_meter_max: usize,
    /// Free disk bytes below which new events are refused.
    pub disk_free_bytes_min: u64,
    /// How old an event may be at admission; the watermark stays this far behind the clock.
    pub horizon_past: Duration,
    /// How far ahead of the clock an event may be at admission.
    pub horizon_future: Duration,
}

/// A journal record numbers its events in 20 bits; the shortest event takes more than eight bytes.
const COMMIT_BYTES_MAX: usize = 4 * 1024 * 1024;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;
const HOUR: Duration = Duration::from_secs(3600);

impl StoreConfig {
    /// The default budgets for a state directory at `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            dedup_retention: 24 * HOUR,
            // More than 150 million ids.
            dedup_bytes_max: 256 * MIB,
            // The hash table takes 114 688 before it grows, some 4 MiB: room for the last commit. Half as many make merging
            // dearer, twice as many the agent larger.
            dedup_generation_ids_max: squeezed(100_000, 500),
            journal_bytes_max: GIB,
            journal_age_max: 24 * HOUR,
            outbox_bytes_max: 4 * GIB,
            acknowledged_bytes_max: 256 * MIB,
            acknowledged_age_max: 24 * HOUR,
            commit_bytes_max: 2 * 1024 * 1024,
            queue_requests_max: 4096,
            queue_bytes_max: 16 * 1024 * 1024,
            imports_max: 1000,
            checkpoint_interval: Duration::from_secs(5),
            checkpoint_bytes_max: 64 * MIB,
            heartbeat_interval: Duration::from_secs(60),
            frame_rows_max: 20_000,
            open_partials_in_memory_max: squeezed(100_000, 60),
            open_bytes_max: 256 * MIB,
            groups_per_meter_max: 100_000,
            disk_free_bytes_min: 512 * MIB,
            horizon_past: HORIZON_PAST_DEFAULT,
            horizon_future: HORIZON_FUTURE_DEFAULT,
        }
    }

    /// Checks what must hold between settings.
    pub(super) fn check(&self) -> Result<(), OpenError> {
        let horizon = self.horizon_past.saturating_add(self.horizon_future);
        if self.dedup_retention < horizon {
            // A retry later than the retention but within the horizon would count twice.
            return Err(invalid(
                "dedup_retention",
                format!(
                    "must be at least the whole horizon, {} s",
                    horizon.as_secs()
                ),
            ));
        }
        if self.commit_bytes_max > COMMIT_BYTES_MAX {
            return Err(invalid(
                "commit_bytes_max",
                format!("must be at most {COMMIT_BYTES_MAX}"),
            ));
        }
        if self.frame_rows_max == 0 || self.frame_rows_max > FRAME_ROWS_MAX {
            return Err(invalid(
                "frame_rows_max",
                format!("must be 1 to {FRAME_ROWS_MAX}"),
            ));
        }
        if self.dedup_generation_ids_max == 0 {
            return Err(invalid(
                "dedup_generation_ids_max",
                "must be at least 1".into(),
            ));
        }
        Ok(())
    }
}

fn invalid(field: &'static str, message: String) -> OpenError {
    OpenError::InvalidConfig { field, message }
}
