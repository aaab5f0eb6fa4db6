//! What can go wrong at the pipeline's face, by what the caller does next.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why the state directory could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A setting contradicts another; the process must not start.
    #[error("{field}: {message}")]
    InvalidConfig {
        /// The setting's name.
        field: &'static str,
        /// What was expected.
        message: String,
    },
    /// Another process holds the directory.
    #[error("{path} is in use by another process")]
    Locked {
        /// The state directory.
        path: PathBuf,
    },
    /// The directory was written by a newer version of the agent.
    #[error(
        "the state directory has layout {found}, this agent knows up to {known}: start a newer agent"
    )]
    NewerLayout {
        /// The layout number found.
        found: u32,
        /// The newest layout number this program knows.
        known: u32,
    },
    /// Something stored does not read back; the message says what.
    #[error("the state directory is damaged: {0}")]
    Corrupt(String),
    /// The disk is full: nothing is lost, and with some room the same start succeeds.
    #[error("the disk is full: {0}")]
    NoSpace(String),
    /// The directory or the database cannot be read or written.
    #[error("the state directory cannot be opened: {0}")]
    Storage(String),
}

/// Which budget refused a submission.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum RefusalReason {
    /// Too many requests wait for the committer.
    QueueLong,
    /// Too many bytes wait for the committer.
    QueueFull,
    /// Too many bytes of frames wait for the collector.
    OutboxFull,
    /// Too little free disk.
    DiskLow,
    /// The event ids within the retention take all the memory they may.
    DedupFull,
}

impl RefusalReason {
    /// The reason as a short sentence for replies and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueLong => "too many requests wait to be written",
            Self::QueueFull => "too many events wait to be written",
            Self::OutboxFull => "too many frames wait for the collector",
            Self::DiskLow => "too little free disk",
            Self::DedupFull => "the event ids within dedup_retention take all of dedup_bytes_max",
        }
    }
}

/// Why a submission was not taken. Nothing of it is stored, but for `Failed`, where nobody knows.
#[derive(Clone, Debug, Error)]
pub enum SubmitError {
    /// A budget is used up: answer 503 with `Retry-After`.
    #[error("{}", reason.as_str())]
    Refused {
        /// Which budget.
        reason: RefusalReason,
        /// When to try again.
        retry_after: Duration,
    },
    /// The submission was `whole` and these of its events (by index) are older than the sealed watermark: answer 400.
    #[error("{} events are older than the sealed watermark", indices.len())]
    TooOld {
        /// Positions in the submission.
        indices: Vec<usize>,
    },
    /// The import is unknown, over, or expects another line: ask for its state and go on from there.
    #[error("the import expects line {expected:?}")]
    ImportMismatch {
        /// The line the import expects next; none when it is unknown or over.
        expected: Option<u64>,
    },
    /// The process is stopping: answer 503.
    #[error("the agent is stopping")]
    Stopping,
    /// A write failed; the events may or may not be stored, a retry finds out. The process must exit.
    #[error("the state directory failed: {0}")]
    Failed(String),
}

/// Why another operation of the pipeline failed.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// The pipeline has stopped.
    #[error("the agent is stopping")]
    Stopping,
    /// The pipeline is poisoned: a write failed or a worker died. The process must exit.
    #[error("the state directory failed: {0}")]
    Failed(String),
    /// The request contradicts what is stored; the message says how.
    #[error("{0}")]
    Invalid(String),
    /// A frame was lost to damage. If the collector does not hold it, [`super::Pipeline::recount_lost`] goes on.
    #[error("frame {0} was lost to damage")]
    FrameLost(u64),
}
