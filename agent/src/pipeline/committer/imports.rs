//! Imports, as far as their order among the records matters: where each stands, how far back it holds the watermark.

use submeter_common::time::Timestamp;

use super::Committer;
use super::group::Group;
use crate::fail_point::fail_point;
use crate::pipeline::shared::lock;
use crate::pipeline::work::Reply;
use crate::pipeline::{
    ImportRequest, ImportState, ImportStatus, PipelineError, Submission, SubmitError,
};
use crate::store::{Durability, StoreError};

impl Committer {
    /// Begins an import, or finds it again. A finished one stays finished: the same file counts once. One that was given
    /// up goes on where it stopped.
    pub(super) fn begin_import(
        &self,
        request: ImportRequest,
        reply: Reply<ImportState>,
    ) -> Result<(), StoreError> {
        let known = self.import(&request.id)?;
        if let Some(state) = known.as_ref().filter(|known| !known.is_abandoned()) {
            let _ = reply.send(Ok(state.clone()));
            return Ok(());
        }
        let imports_max = self.shared.config.imports_max;
        if lock(&self.shared.imports).open_count() >= imports_max {
            let message =
                format!("{imports_max} imports are open, expected fewer: complete or abandon one");
            let _ = reply.send(Err(PipelineError::Invalid(message)));
            return Ok(());
        }
        let state = match known {
            Some(abandoned) => abandoned.with(ImportStatus::Open),
            None => self.new_import(request),
        };
        fail_point!(ImportBeginStaged);
        self.put_import(&state)?;
        fail_point!(ImportBeginWritten);
        let _ = reply.send(Ok(state));
        Ok(())
    }

    fn new_import(&self, request: ImportRequest) -> ImportState {
        let now = self.shared.clock.now();
        let oldest = now.saturating_sub(request.max_age).truncate_to_minute();
        ImportState {
            id: request.id,
            name: request.name,
            began_at: now,
            oldest: oldest.max(Timestamp::from_micros(0)),
            lines_done: 0,
            status: ImportStatus::Open,
        }
    }

    /// Marks an open import complete.
    pub(super) fn complete_import(
        &self,
        id: &str,
        reply: Reply<Option<ImportState>>,
    ) -> Result<(), StoreError> {
        let mut known = self.import(id)?;
        if let Some(state) = known.take_if(|known| known.is_open()) {
            fail_point!(ImportCompleteStaged);
            known = Some(self.put_import(&state.with(ImportStatus::Complete))?);
            fail_point!(ImportCompleteWritten);
        }
        let _ = reply.send(Ok(known));
        Ok(())
    }

    /// Gives an open import up. What it brought stays counted, so the line it came to stays known.
    pub(super) fn abandon_import(
        &self,
        id: &str,
        reply: Reply<Option<ImportState>>,
    ) -> Result<(), StoreError> {
        let mut known = self.import(id)?;
        if let Some(state) = known.take_if(|known| known.is_open()) {
            let state = state.with(ImportStatus::Abandoned);
            fail_point!(ImportAbandonStaged);
            if state.lines_done == 0 {
                self.delete_import(id)?;
            } else {
                self.put_import(&state)?;
            }
            fail_point!(ImportAbandonWritten);
            known = Some(state);
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
        let import = imports
            .open(&cursor.id)
            .ok_or(SubmitError::ImportMismatch { expected: None })?;
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
                ..imports.open(id)?.clone()
            })
        };
        group.advanced.iter().filter_map(advance).collect()
    }

    /// What is known of an import: all of them are on disk.
    fn import(&self, id: &str) -> Result<Option<ImportState>, StoreError> {
        self.shared.store.import(id)
    }

    fn put_import(&self, state: &ImportState) -> Result<ImportState, StoreError> {
        let mut batch = self.shared.store.batch();
        batch.put_import(state);
        self.shared.write(batch, Durability::Synced)?;
        lock(&self.shared.imports).put(state.clone());
        Ok(state.clone())
    }

    fn delete_import(&self, id: &str) -> Result<(), StoreError> {
        let mut batch = self.shared.store.batch();
        batch.delete_import(id);
        self.shared.write(batch, Durability::Synced)?;
        lock(&self.shared.imports).remove(id);
        Ok(())
    }
}
