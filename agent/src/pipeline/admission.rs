//! Back-pressure: a submission is refused before anything is full, never acknowledged and dropped.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::queue::Refused;
use super::shared::{Shared, lock};
use super::submission::SUBMISSION_EVENTS_MAX;
use super::work::{Job, SubmitReply};
use super::{PipelineError, RefusalReason, Submission, SubmitError};

/// A queue empties with the next fsyncs.
const QUEUE_RETRY: Duration = Duration::from_secs(1);
/// An outbox or a disk empties with the next flushes, a memory of ids as they expire.
const SPACE_RETRY: Duration = Duration::from_secs(10);

/// What open partials may take for each byte of the journal: an event of a new customer opens one for each of its meters.
const OPEN_BYTES_PER_JOURNAL_BYTE: u64 = 4;

impl Shared {
    /// Queues a submission for the committer, or says why not.
    pub(super) fn admit(
        &self,
        submission: Submission,
        reply: SubmitReply,
    ) -> Result<(), SubmitError> {
        if self.stopping.load(Ordering::SeqCst) || self.door_closed.load(Ordering::SeqCst) {
            return Err(SubmitError::Stopping);
        }
        if let Some(reason) = self.short_of_space() {
            return Err(refused(reason));
        }
        if submission.len() > SUBMISSION_EVENTS_MAX {
            // No request body within its limit holds so many.
            return Err(SubmitError::Refused {
                reason: RefusalReason::QueueFull,
                retry_after: QUEUE_RETRY,
            });
        }
        let bytes = submission.bytes();
        self.requests
            .try_push(Job::Submit(submission, reply), bytes)
            .map_err(|refused| match refused {
                Refused::Long(_) => SubmitError::Refused {
                    reason: RefusalReason::QueueLong,
                    retry_after: QUEUE_RETRY,
                },
                Refused::Full(_) => SubmitError::Refused {
                    reason: RefusalReason::QueueFull,
                    retry_after: QUEUE_RETRY,
                },
                Refused::Closed(_) => self.gone().into(),
            })
    }

    /// Why what has passed admission must not be written all the same. The disk is measured before each write: whoever
    /// else fills it does not wait for the next look at it.
    pub(super) fn late_refusal(&self) -> Option<SubmitError> {
        if self.door_closed.load(Ordering::SeqCst) {
            // A farewell may claim already that nothing comes after it.
            return Some(SubmitError::Stopping);
        }
        self.disk.measure();
        self.foresee_seal();
        let short = self.disk.is_short();
        short.then(|| refused(RefusalReason::DiskLow))
    }

    /// Foresees the room that the next seal may need, by what is counted and what is still to be: a burst fills a small disk
    /// faster than the aggregator counts it. Whoever is refused for it never comes to a write, so time looks at it, too.
    pub(super) fn foresee_seal(&self) {
        let (_, uncounted) = self.work.waiting();
        let open = lock(&self.view).open_bytes;
        let open = open.saturating_add(uncounted as u64 * OPEN_BYTES_PER_JOURNAL_BYTE);
        self.disk.foresee(open.saturating_mul(2));
    }

    /// Which space is short, if any.
    pub(super) fn short_of_space(&self) -> Option<RefusalReason> {
        if self.disk.is_short() {
            return Some(RefusalReason::DiskLow);
        }
        if self.dedup_bytes.load(Ordering::Relaxed) >= self.config.dedup_bytes_max {
            return Some(RefusalReason::DedupFull);
        }
        let waiting = lock(&self.frames).unacknowledged_bytes();
        (waiting >= self.config.outbox_bytes_max).then_some(RefusalReason::OutboxFull)
    }
}

fn refused(reason: RefusalReason) -> SubmitError {
    SubmitError::Refused {
        reason,
        retry_after: SPACE_RETRY,
    }
}

impl From<PipelineError> for SubmitError {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Stopping => Self::Stopping,
            PipelineError::Failed(reason) | PipelineError::Invalid(reason) => Self::Failed(reason),
            lost @ PipelineError::FrameLost(_) => Self::Failed(lost.to_string()),
        }
    }
}
