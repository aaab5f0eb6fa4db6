//! Imports, as far as their order among the records matters: where each stands, how far back it holds the watermark.

use submeter_common::time::Timestamp;

use super::Committer;
use super::group::Group;
use crate::fail_point::fail_point;
use crate::pipeline::shared::lock;
use crate::pipeline::work::Reply;
use crate::pipeline::{ImportRequest, ImportState, Submission, SubmitError};
use crate::store::{Durability, StoreError};

/// Finished imports that are remembered; the oldest beyond it are forgotten.
const FINISHED_IMPORTS_MAX: usize = 1000;

impl Committer {
    /// Begins an import, or finds it again. A finished one stays finished: the same file counts once.
    pub(super) fn begin_import(
        &self,
        request: ImportRequest,
        reply: Reply<ImportState>,
    ) -> Result<(), StoreError> {
        let known = lock(&self.shared.imports).get(&request.id).cloned();
        let state = match known {
            Some(state) => state,
            None => {
                let now = self.shared.clock.now();
                let oldest = now.saturating_sub(request.max_age).truncate_to_minute();
                let state = ImportState {
                    id: request.id,
                    name: request.name,
                    began_at: now,
                    oldest: oldest.max(Timestamp::from_micros(0)),
                    lines_done: 0,
                    complete: false,
                };
                fail_point!(ImportBeginStaged);
                self.put_import(&state)?;
                fail_point!(ImportBeginWritten);
                state
            }
        };
        let _ = reply.send(Ok(state));
        Ok(())
    }

    /// Marks an import complete.
    pub(super) fn complete_import(
        &self,
        id: &str,
        reply: Reply<Option<ImportState>>,
    ) -> Result<(), StoreError> {
        let known = lock(&self.shared.imports).get(id).cloned();
        let state = match known {
            Some(state) if !state.complete => {
                let state = ImportState {
                    complete: true,
                    ..state
                };
                fail_point!(ImportCompleteStaged);
                self.put_import(&state)?;
                fail_point!(ImportCompleteWritten);
                self.forget_oldest()?;
                Some(state)
            }
            other => other,
        };
        let _ = reply.send(Ok(state));
        Ok(())
    }

    /// Forgets an import; what it brought stays counted, and its ids stay in the dedup memory.
    pub(super) fn abandon_import(
        &self,
        id: &str,
        reply: Reply<Option<ImportState>>,
    ) -> Result<(), StoreError> {
        let known = lock(&self.shared.imports).get(id).cloned();
        if known.is_some() {
            fail_point!(ImportAbandonStaged);
            self.delete_import(id)?;
            fail_point!(ImportAbandonWritten);
        }
        let _ = reply.send(Ok(known));
        Ok(())
    }

    /// The oldest event time this submission may bring: its import's, or the sealed watermark.
    pub(super) fn oldest_allowed(
        &self,
        group: &Group<'_>,
        submission: &Submission,
    ) -> Result<Timestamp, SubmitError> {
        let Some(cursor) = &submission.import else {
            return Ok(self.floor);
        };
        let imports = lock(&self.shared.imports);
        let open = imports.get(&cursor.id).filter(|import| !import.complete);
        let import = open.ok_or(SubmitError::ImportMismatch { expected: None })?;
        let expected = group
            .advanced
            .get(&cursor.id)
            .copied()
            .unwrap_or(import.lines_done);
        if cursor.first_line == expected && cursor.next_line >= expected {
            Ok(import.oldest)
        } else {
            Err(SubmitError::ImportMismatch {
                expected: Some(expected),
            })
        }
    }

    /// The imports that the group advances, as they will be.
    pub(super) fn advanced(&self, group: &Group<'_>) -> Vec<ImportState> {
        let imports = lock(&self.shared.imports);
        let advance = |(id, lines_done): (&String, &u64)| {
            Some(ImportState {
                lines_done: *lines_done,
                ..imports.get(id)?.clone()
            })
        };
        group.advanced.iter().filter_map(advance).collect()
    }

    /// The oldest event time an open import may still bring.
    pub(super) fn oldest_import(&self) -> Option<Timestamp> {
        oldest_open(lock(&self.shared.imports).values())
    }

    fn put_import(&self, state: &ImportState) -> Result<(), StoreError> {
        let mut batch = self.shared.store.batch();
        batch.put_import(state);
        self.shared.write(batch, Durability::Synced)?;
        lock(&self.shared.imports).insert(state.id.clone(), state.clone());
        Ok(())
    }

    fn delete_import(&self, id: &str) -> Result<(), StoreError> {
        let mut batch = self.shared.store.batch();
        batch.delete_import(id);
        self.shared.write(batch, Durability::Synced)?;
        lock(&self.shared.imports).remove(id);
        Ok(())
    }

    fn forget_oldest(&self) -> Result<(), StoreError> {
        let oldest = {
            let imports = lock(&self.shared.imports);
            let finished = || imports.values().filter(|import| import.complete);
            if finished().count() <= FINISHED_IMPORTS_MAX {
                return Ok(());
            }
            finished()
                .min_by_key(|import| import.began_at)
                .map(|import| import.id.clone())
        };
        oldest.map_or(Ok(()), |id| self.delete_import(&id))
    }
}

/// The oldest event time that any open import among these may still bring.
pub(in crate::pipeline) fn oldest_open<'a>(
    imports: impl Iterator<Item = &'a ImportState>,
) -> Option<Timestamp> {
    imports
        .filter(|import| !import.complete)
        .map(|import| import.oldest)
        .min()
}
