//! The durable path of an event through the agent: dedup, journal, aggregate, checkpoint, seal.
//!
//! `Pipeline` is the one face the rest of the agent sees. Ingest submits, flush reads the outbox, admin reads the
//! status; none of them knows about threads, locks or RocksDB. Three threads do the work:
//!
//! - the *committer* takes everything that waits, removes duplicates, writes one journal record with one fsync for all
//!   of it, and only then answers the callers;
//! - the *aggregator* takes the same records in the same order, keeps the open partials, and owns checkpoint, seal,
//!   backfill and reclaim;
//! - the *compactor* brings full generations of event ids to disk and merges them there, behind everybody's back.
//!
//! Catalog changes and seals travel through the committer, so that each has an exact place between two records.
//!
//! Dropping the last handle without [`Pipeline::stop`] leaves the directory as `kill -9` would.

mod admission;
mod aggregator;
mod committer;
mod compactor;
mod config;
mod disk;
mod error;
mod import;
mod incidents;
mod outbox;
mod poison;
mod query;
mod queue;
mod rebase;
mod recovery;
mod shared;
mod status;
mod submission;
mod work;
mod worker;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use submeter_common::event::RejectionCode;
use submeter_common::id::AgentId;
use submeter_common::protocol::{Catalog, IncidentKind, Lineage, Position};
use submeter_common::signature::PublicKey;
use submeter_common::time::Clock;
use tokio::sync::oneshot;
use uuid::Uuid;

pub use crate::store::damage::{Area, DamageReport, Finding};
pub use config::StoreConfig;
pub(crate) use disk::drop_ballast;
pub use error::{OpenError, PipelineError, RefusalReason, SubmitError};
pub(crate) use import::listed_imports;
pub use import::{ImportCursor, ImportRequest, ImportState, ImportStatus};
pub use outbox::{Outbox, StoredFrame};
pub use query::{EventQuery, StoredEvent, StoredValue};
pub use rebase::{Delivered, Rebase};
pub use status::{Health, Status, Usage};
pub use submission::{EventOutcome, SUBMISSION_EVENTS_MAX, Submission};

use crate::inspection::Inspection;
use crate::store::{Durability, Store};
use shared::{Shared, lock};
use work::{Command, Job, Reply};
use worker::Workers;

/// Says why a seal was asked for; decides whether an empty frame is worth sealing.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum SealReason {
    /// The flush interval has passed: an empty frame only as a heartbeat, at most every `heartbeat_interval`.
    Interval,
    /// A person or a test asked: an empty frame when it tells anything new (receipts or a further watermark).
    Requested,
    /// The process stops after this frame; it is marked `farewell`. Sealed unless the newest frame says the same.
    Farewell,
}

/// Who this state directory is to the collector.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Identity {
    /// Random id born with the state directory.
    pub agent_id: AgentId,
    /// Random number born with the state directory; tells a wiped directory under an old id from the original.
    pub state_nonce: Uuid,
}

/// The agent's durable core; clones share it.
#[derive(Clone)]
pub struct Pipeline {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    workers: Mutex<Workers>,
}

impl Pipeline {
    /// Opens the state directory: locks it, recovers, replays the journal after the last checkpoint, seals what a
    /// previous life left open, starts the threads.
    ///
    /// Blocking; call it before the runtime serves anything, or inside `spawn_blocking`.
    ///
    /// # Errors
    /// The settings contradict each other, or the directory is locked, newer, damaged or not writable.
    pub fn open(config: StoreConfig, clock: Arc<dyn Clock>) -> Result<Pipeline, OpenError> {
        let recovered = recovery::recover(config, clock)?;
        let shared = Arc::clone(&recovered.shared);
        let workers =
            Workers::start(recovered).map_err(|error| OpenError::Storage(error.to_string()))?;
        Ok(Pipeline {
            inner: Arc::new(Inner {
                shared,
                workers: Mutex::new(workers),
            }),
        })
    }

    /// Starts an empty submission; fill it with [`Submission::push`].
    #[must_use]
    pub fn submission(&self) -> Submission {
        Submission::new(self.shared().fingerprinter)
    }

    /// Makes the submission's new events durable and says for each event, in order, what became of it.
    ///
    /// Resolves only after the fsync of the journal record that holds the events (P1).
    ///
    /// # Errors
    /// Says whether to answer 400, 409 or 503; nothing is stored then, but for [`SubmitError::Failed`].
    pub async fn submit(&self, submission: Submission) -> Result<Vec<EventOutcome>, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.shared().admit(submission, reply)?;
        answer
            .await
            .unwrap_or_else(|_| Err(self.shared().gone().into()))
    }

    /// Counts `events` events refused before they reached the pipeline, by reason.
    pub fn record_rejected(&self, reason: RejectionCode, events: u64) {
        let mut pending = lock(&self.shared().pending);
        let count = pending
            .rejected
            .entry(reason.as_str().to_owned())
            .or_default();
        *count = count.saturating_add(events);
    }

    /// Replaces the catalog; meters new to this agent are backfilled from the retained journal, exactly once.
    ///
    /// Resolves when the catalog and the duty to backfill are durable; the backfill itself runs between records.
    ///
    /// # Errors
    /// The pipeline has stopped or is poisoned.
    pub async fn set_catalog(&self, catalog: Catalog) -> Result<(), PipelineError> {
        self.command(|reply| Command::Catalog(catalog, reply)).await
    }

    /// The catalog in force (version 0 and no meters before the first `set_catalog`).
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&lock(&self.shared().catalog))
    }

    /// Freezes everything acknowledged so far into frames in the outbox; answers the newest frozen position.
    ///
    /// # Errors
    /// The pipeline has stopped or is poisoned.
    pub async fn seal(&self, reason: SealReason) -> Result<Position, PipelineError> {
        self.command(|reply| Command::Seal(reason, reply)).await
    }

    /// The frames on their way to the collector.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        Outbox::new(Arc::clone(self.shared()))
    }

    /// Who this state directory is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let identity = lock(&self.shared().identity);
        Identity {
            agent_id: identity.agent_id,
            state_nonce: identity.nonce(),
        }
    }

    /// Takes a new random identity: sequence numbers start again at 1, and what was sealed but not acknowledged is opened
    /// again, to be sealed under the new name. Nothing is lost.
    ///
    /// # Errors
    /// The pipeline has stopped or is poisoned.
    pub async fn new_identity(&self, kind: IncidentKind) -> Result<Identity, PipelineError> {
        self.rebase(Rebase {
            kind,
            position: None,
            delivered: Delivered::Acknowledged,
            backfilled: true,
        })
        .await
    }

    /// Goes on at another place in the chain of frames, with what is this directory's own to deliver: the rest is dropped,
    /// what was sealed of it is opened again. What could not be had exactly is told as an incident.
    ///
    /// # Errors
    /// The pipeline has stopped or is poisoned.
    pub async fn rebase(&self, rebase: Rebase) -> Result<Identity, PipelineError> {
        self.command(|reply| Command::Rebase(rebase, reply)).await
    }

    /// Which processes wrote the journal, up to the newest record.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        Lineage {
            lives: lock(&self.shared().lives).clone(),
            last: self.shared().committed.load(Ordering::SeqCst),
        }
    }

    /// Lets nothing long begin any more: who stops has no time left. What is not done then is done after the next start.
    pub fn hurry(&self) {
        self.shared().hurrying.store(true, Ordering::SeqCst);
    }

    /// Goes on behind the collector's position although frames after it were lost to damage ([`PipelineError::FrameLost`]):
    /// what they held is counted again from the journal, for as far as it reaches, and sealed anew.
    ///
    /// # Errors
    /// The pipeline has stopped or is poisoned.
    pub async fn recount_lost(&self) -> Result<(), PipelineError> {
        self.command(Command::RecountLost).await
    }

    /// Begins an import, or finds it again under the same id and says how far it came. One that was abandoned is open again
    /// then, behind the lines it had taken.
    ///
    /// # Errors
    /// `Invalid` when too many are open; else the pipeline has stopped or is poisoned.
    pub async fn begin_import(&self, request: ImportRequest) -> Result<ImportState, PipelineError> {
        self.command(|reply| Command::BeginImport(request, reply))
            .await
    }

    /// Marks an open import complete: it no longer holds the watermark. Answers its state, that of an abandoned one as it
    /// is. None: there is no such import.
    ///
    /// # Errors
    /// The pipeline has stopped or is poisoned.
    pub async fn complete_import(&self, id: &str) -> Result<Option<ImportState>, PipelineError> {
        self.command(|reply| Command::CompleteImport(id.to_owned(), reply))
            .await
    }

    /// Gives an open import up: it no longer holds the watermark. Events already taken stay counted and the line it came
    /// to stays known. Answers its state, that of a complete one as it is. None: there is no such import.
    ///
    /// # Errors
    /// The pipeline has stopped or is poisoned.
    pub async fn abandon_import(&self, id: &str) -> Result<Option<ImportState>, PipelineError> {
        self.command(|reply| Command::AbandonImport(id.to_owned(), reply))
            .await
    }

    /// Looks into the state directory, for people.
    pub(crate) fn inspection(&self) -> Inspection<'_> {
        let shared = self.shared();
        let sent = lock(&shared.frames).sent;
        Inspection::new(&shared.store, sent, shared.config.groups_per_meter_max)
    }

    /// The newest journal record that is counted, and the events accepted up to it.
    pub(crate) fn counted(&self) -> (u64, u64) {
        let view = lock(&self.shared().view);
        (view.counted, view.receipts.accepted)
    }

    /// Reads the state directory, for people and for bundles.
    pub(crate) fn store(&self) -> &Store {
        &self.shared().store
    }

    /// Whose receipts for bundles are taken; none before the first.
    pub(crate) fn collector_key(&self) -> Result<Option<PublicKey>, PipelineError> {
        let key = self.store().snapshot().collector_key();
        key.map_err(|error| PipelineError::Failed(error.to_string()))
    }

    /// Takes receipts of this collector from now on.
    pub(crate) fn take_collector_key(&self, key: PublicKey) -> Result<(), PipelineError> {
        let mut batch = self.store().batch();
        batch.put_collector_key(&key);
        let written = self.shared().write(batch, Durability::Synced);
        written.map_err(|error| PipelineError::Failed(error.to_string()))
    }

    /// The open imports and the youngest hundred of the others, oldest first.
    #[must_use]
    pub fn imports(&self) -> Vec<ImportState> {
        lock(&self.shared().imports).listed()
    }

    /// One import, however long ago it was. Blocking.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn import(&self, id: &str) -> Result<Option<ImportState>, PipelineError> {
        let found = self.shared().store.import(id);
        found.map_err(|error| PipelineError::Failed(error.to_string()))
    }

    /// Resolves with the reason when a write has failed or a worker has died. The process must then exit non-zero.
    pub async fn poisoned(&self) -> String {
        self.shared().poison.thrown().await
    }

    /// Says whether the pipeline is poisoned, and why.
    #[must_use]
    pub fn poison_reason(&self) -> Option<String> {
        self.shared().poison.reason().map(str::to_owned)
    }

    /// Refuses new submissions from now on, those that wait included; seals still work. A farewell sealed after this
    /// claims what nothing contradicts.
    pub fn close_door(&self) {
        self.shared().door_closed.store(true, Ordering::SeqCst);
    }

    /// Refuses new submissions, finishes those that wait, checkpoints, joins the threads. Does not seal.
    ///
    /// # Errors
    /// The pipeline is poisoned: what is on disk is what a crash would have left.
    pub async fn stop(&self) -> Result<(), PipelineError> {
        if self.shared().stopping.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let stopped = self.command(Command::Stop).await;
        self.shared().closings.close();
        lock(&self.inner.workers).join();
        stopped
    }

    async fn command<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, PipelineError> {
        let (reply, answer) = oneshot::channel();
        let job = Job::Command(command(reply));
        self.shared()
            .requests
            .push_command(job)
            .map_err(|_| self.shared().gone())?;
        answer.await.unwrap_or_else(|_| Err(self.shared().gone()))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.requests.close();
        self.shared.work.close();
        self.shared.closings.close();
        lock(&self.workers).join();
    }
}

#[cfg(test)]
mod tests;
