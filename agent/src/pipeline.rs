//! The durable path of an event through the agent: dedup, journal, aggregate, checkpoint, seal.
//!
//! `Pipeline` is the one face the rest of the agent sees. Ingest submits, flush reads the outbox, admin reads the
//! status; none of them knows about threads, locks or RocksDB. Two threads do the work:
//!
//! - the *committer* takes everything that waits, removes duplicates, writes one journal record with one fsync for all
//!   of it, and only then answers the callers;
//! - the *aggregator* takes the same records in the same order, keeps the open partials, and owns checkpoint, seal,
//!   backfill and reclaim.
//!
//! Catalog changes and seals travel through the committer, so that each has an exact place between two records.

mod config;
mod error;
mod import;
mod outbox;
mod query;
mod status;
mod submission;

use std::sync::Arc;

use submeter_common::event::RejectionCode;
use submeter_common::id::AgentId;
use submeter_common::protocol::{Catalog, Position};
use submeter_common::time::Clock;
use uuid::Uuid;

pub use config::StoreConfig;
pub use error::{OpenError, PipelineError, RefusalReason, SubmitError};
pub use import::{ImportCursor, ImportRequest, ImportState};
pub use outbox::{Outbox, StoredFrame};
pub use query::{EventQuery, StoredEvent, StoredValue};
pub use status::{Health, Status};
pub use submission::{EventOutcome, Submission};

/// Says why a seal was asked for; decides whether an empty frame is worth sealing.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum SealReason {
    /// The flush interval has passed: an empty frame only as a heartbeat, at most every `heartbeat_interval`.
    Interval,
    /// A person or a test asked: an empty frame when it tells anything new (receipts or a further watermark).
    Requested,
    /// The process stops after this frame; it is marked `farewell` and always sealed.
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
pub struct Pipeline;

impl Pipeline {
    /// Opens the state directory: locks it, recovers, replays the journal after the last checkpoint, seals what a
    /// previous life left open, starts the threads.
    ///
    /// Blocking; call it before the runtime serves anything, or inside `spawn_blocking`.
    pub fn open(_config: StoreConfig, _clock: Arc<dyn Clock>) -> Result<Pipeline, OpenError> {
        todo!()
    }

    /// Starts an empty submission; fill it with `Submission::push`.
    pub fn submission(&self) -> Submission {
        todo!()
    }

    /// Makes the submission's new events durable and says for each event, in order, what became of it.
    ///
    /// Resolves only after the fsync of the journal record that holds the events (P1).
    pub async fn submit(&self, _submission: Submission) -> Result<Vec<EventOutcome>, SubmitError> {
        todo!()
    }

    /// Counts `events` events refused before they reached the pipeline, by reason.
    pub fn record_rejected(&self, _reason: RejectionCode, _events: u64) {
        todo!()
    }

    /// Replaces the catalog; meters new to this agent are backfilled from the retained journal, exactly once.
    ///
    /// Resolves when the catalog and the duty to backfill are durable; the backfill itself runs between records.
    pub async fn set_catalog(&self, _catalog: Catalog) -> Result<(), PipelineError> {
        todo!()
    }

    /// The catalog in force (version 0 and no meters before the first `set_catalog`).
    pub fn catalog(&self) -> Arc<Catalog> {
        todo!()
    }

    /// Freezes everything acknowledged so far into frames in the outbox; answers the newest frozen position.
    pub async fn seal(&self, _reason: SealReason) -> Result<Position, PipelineError> {
        todo!()
    }

    /// The frames on their way to the collector.
    pub fn outbox(&self) -> Outbox {
        todo!()
    }

    /// Who this state directory is.
    pub fn identity(&self) -> Identity {
        todo!()
    }

    /// Takes a new random identity (the collector answered `lost_state`): sequence numbers start again at 1, and what
    /// was sealed but not acknowledged is sealed again under the new name. Nothing is lost or counted twice.
    pub async fn new_identity(&self) -> Result<Identity, PipelineError> {
        todo!()
    }

    /// Goes on at the collector's position (it answered `rollback`): frames a previous life sealed up to there are the
    /// collector's already and are dropped; what this life accepted since is sealed again behind that position.
    pub async fn skip_to(&self, _position: Position) -> Result<(), PipelineError> {
        todo!()
    }

    /// Everything an operator asks first; cheap enough for every scrape.
    pub fn status(&self) -> Status {
        todo!()
    }

    /// Finds one event by its id, for as long as its journal record and its dedup entry are retained. Blocking.
    pub fn event(&self, _event_id: &str) -> Result<Option<StoredEvent>, PipelineError> {
        todo!()
    }

    /// Lists retained events, newest first. Blocking: it walks the journal.
    pub fn events(&self, _query: &EventQuery) -> Result<Vec<StoredEvent>, PipelineError> {
        todo!()
    }

    /// Begins an import, or finds it again under the same id and says how far it came.
    pub async fn begin_import(&self, _request: ImportRequest) -> Result<ImportState, PipelineError> {
        todo!()
    }

    /// Marks an import complete: it no longer holds the watermark. None: there is no such import.
    pub async fn complete_import(&self, _id: &str) -> Result<Option<ImportState>, PipelineError> {
        todo!()
    }

    /// Forgets an import that will not be finished; events already taken stay counted. None: there is no such import.
    pub async fn abandon_import(&self, _id: &str) -> Result<Option<ImportState>, PipelineError> {
        todo!()
    }

    /// All imports this state directory remembers, oldest first.
    pub fn imports(&self) -> Vec<ImportState> {
        todo!()
    }

    /// Resolves with the reason when a write has failed or a worker has died. The process must then exit non-zero.
    pub async fn poisoned(&self) -> String {
        todo!()
    }

    /// Says whether the pipeline is poisoned, and why.
    pub fn poison_reason(&self) -> Option<String> {
        todo!()
    }

    /// Refuses new submissions, finishes those that wait, checkpoints, joins the threads. Does not seal.
    pub async fn stop(&self) -> Result<(), PipelineError> {
        todo!()
    }
}
