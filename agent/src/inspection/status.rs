//! The status of a state directory that no agent runs on: what its next start would find.

use std::ops::ControlFlow;

use super::dedup::remembered;
use super::partials::walk_open;
use super::{InspectError, Inspection};
use crate::pipeline::{Health, Status, Usage, listed_imports};

impl Inspection<'_> {
    /// Everything an operator asks first. `disk_free_bytes` is measured by the caller.
    pub(crate) fn status(&self, disk_free_bytes: u64) -> Result<Option<Status>, InspectError> {
        let snapshot = self.store.snapshot();
        let Some(identity) = snapshot.identity()? else {
            return Ok(None);
        };
        let progress = snapshot.progress()?;
        let acknowledged = snapshot.acknowledged()?;
        let catalog = snapshot.catalog()?;
        let replayed = self.replayed(&snapshot, &catalog)?;
        let mut open_partials = 0;
        walk_open(&snapshot, progress.open_set, &replayed, None, |_, _, _| {
            open_partials += 1;
            ControlFlow::Continue(())
        })?;
        let (mut frames, mut bytes, mut oldest) = (0, 0, None);
        let first = acknowledged.position.seq.saturating_add(1);
        snapshot.walk_frames(first, |frame| {
            frames += 1;
            bytes += frame.bytes;
            oldest = oldest.or(Some(frame.sealed_at));
            Ok(ControlFlow::Continue(()))
        })?;
        let imports = listed_imports(snapshot.imports()?);
        let journal_bytes: u64 = snapshot.chunks()?.iter().map(|chunk| chunk.bytes).sum();
        let present = progress
            .coverage
            .values()
            .filter(|coverage| coverage.vanished_after.is_none());
        Ok(Some(Status {
            agent_id: identity.agent_id,
            epoch: snapshot.epoch()?,
            sealed: progress.sealed.into(),
            acknowledged: acknowledged.position.into(),
            watermark: progress.watermark,
            catalog_version: catalog.version,
            at_risk_events: replayed
                .receipts
                .accepted
                .saturating_sub(acknowledged.accepted),
            open_partials,
            outbox_frames: frames,
            outbox_bytes: bytes,
            oldest_unacknowledged_at: oldest,
            journal_bytes: journal_bytes + replayed.bytes,
            journal_seq: replayed.last_record,
            dedup_ids: remembered(&snapshot)?,
            dedup_bytes: 0,
            dedup_bytes_max: 0,
            dedup_runs: snapshot.runs()?.len() as u64,
            dedup_disk_reads: 0,
            quarantined: replayed.quarantined,
            backfilling: present
                .into_iter()
                .any(|coverage| !coverage.gaps.is_empty()),
            receipts: replayed.receipts,
            incidents: self
                .store
                .incidents()?
                .into_iter()
                .map(|one| one.incident)
                .collect(),
            imports,
            usage: Usage::default(),
            disk_free_bytes,
            damage: self.store.directory().new_damage(),
            health: Health::Degraded {
                reasons: vec!["the agent is not running".to_owned()],
            },
        }))
    }
}
