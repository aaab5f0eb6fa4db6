//! What is handed from the callers to the committer, and from the committer to the aggregator.

use submeter_common::protocol::{Catalog, Position};
use submeter_common::time::Timestamp;
use tokio::sync::oneshot;

use super::{
    EventOutcome, Identity, ImportRequest, ImportState, PipelineError, Rebase, SealReason,
    Submission, SubmitError,
};
use crate::store::meta::Deltas;

pub(super) type Reply<T> = oneshot::Sender<Result<T, PipelineError>>;
pub(super) type SubmitReply = oneshot::Sender<Result<Vec<EventOutcome>, SubmitError>>;

/// For the committer, in the order it came.
pub(super) enum Job {
    Submit(Submission, SubmitReply),
    Command(Command),
}

/// What has its exact place between two journal records.
pub(super) enum Command {
    Seal(SealReason, Reply<Position>),
    Catalog(Catalog, Reply<()>),
    BeginImport(ImportRequest, Reply<ImportState>),
    CompleteImport(String, Reply<Option<ImportState>>),
    AbandonImport(String, Reply<Option<ImportState>>),
    Rebase(Rebase, Reply<Identity>),
    RecountLost(Reply<()>),
    /// Brings the ids of all records so far to disk: the journal is to be given back.
    CloseGeneration,
    Stop(Reply<()>),
}

/// A durable journal record on its way into the partials.
pub(super) struct Committed {
    pub(super) seq: u64,
    pub(super) record: Vec<u8>,
}

/// A seal with everything the committer decides about it.
pub(super) struct SealOrder {
    pub(super) reason: SealReason,
    pub(super) at: Timestamp,
    /// What the last frame of the seal will claim.
    pub(super) watermark: Timestamp,
    /// What the committer has refused since: it never goes back.
    pub(super) floor: Timestamp,
    /// Counts that are in no journal record.
    pub(super) deltas: Deltas,
}

/// For the aggregator, in the committer's order.
pub(super) enum Work {
    Record(Committed),
    Seal(SealOrder, Reply<Position>),
    Catalog(Catalog, Reply<()>),
    Rebase(Rebase, Reply<Identity>),
    RecountLost(Reply<()>),
    Stop(Reply<()>),
}
