//! The thread that applies frames, and the queue in front of it.
//!
//! The thread takes all frames that wait (up to a bound) and commits them as one batch with one sync.
//! With one agent that is a frame per sync; with many it is as many as came in during the last one.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::apply;
use super::database::Database;
use crate::merge::FrameOutcome;
use crate::storage::{IncomingFrame, StorageError};

/// Frames that wait at most. A sender waits for room, and so does its agent.
const QUEUE_FRAMES_MAX: usize = 64;

/// Rows after which no further frame joins a group: bounds the memory and the time of one commit.
const GROUP_ROWS_MAX: usize = 50_000;

type Answer = Result<FrameOutcome, StorageError>;

/// A frame and who waits for its outcome.
struct Job {
    incoming: IncomingFrame,
    answer: oneshot::Sender<Answer>,
}

/// Where frames go in. Dropping it lets the thread finish what it has been given.
#[derive(Debug)]
pub(super) struct FrameQueue {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl FrameQueue {
    pub(super) fn start(database: Arc<Database>) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(QUEUE_FRAMES_MAX);
        let thread = thread::Builder::new()
            .name("frames".to_owned())
            .spawn(move || work(&database, waiting))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Hands a frame in and waits until its outcome is durable.
    pub(super) async fn apply(&self, incoming: IncomingFrame) -> Answer {
        let stopped = || StorageError::Unavailable("no frames are taken any more".to_owned());
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        let (answer, outcome) = oneshot::channel();
        jobs.send(Job { incoming, answer })
            .await
            .map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

impl FrameQueue {
    /// Tells whether the thread is gone, so that no frame will be applied.
    pub(super) fn has_ended(&self) -> bool {
        self.jobs.as_ref().is_none_or(mpsc::Sender::is_closed)
    }

    /// Lets the thread finish what it has been given, and waits for it. No further frame is taken.
    pub(super) fn end(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so, and its jobs were answered by their closed channels.
            let _ = thread.join();
        }
    }
}

impl Drop for FrameQueue {
    fn drop(&mut self) {
        self.end();
    }
}

fn work(database: &Database, mut waiting: mpsc::Receiver<Job>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut rows = first.incoming.frame.rows.len();
        let mut group = vec![first];
        while rows < GROUP_ROWS_MAX {
            let Ok(next) = waiting.try_recv() else { break };
            rows = rows.saturating_add(next.incoming.frame.rows.len());
            group.push(next);
        }
        apply_group(database, group);
    }
}

/// Commits a group. Where it fails as a whole, its frames are tried one by one, so that one that cannot
/// be applied holds up nobody else's.
fn apply_group(database: &Database, group: Vec<Job>) {
    let frames: Vec<&IncomingFrame> = group.iter().map(|job| &job.incoming).collect();
    match apply::apply(database, &frames) {
        Ok(outcomes) => {
            for (job, outcome) in group.into_iter().zip(outcomes) {
                answer(job, Ok(outcome));
            }
        }
        Err(_) => {
            for job in group {
                let outcome = apply::apply(database, &[&job.incoming]).and_then(only);
                answer(job, outcome);
            }
        }
    }
}

fn only(outcomes: Vec<FrameOutcome>) -> Answer {
    let missing = || StorageError::Unavailable("the frame was not answered".to_owned());
    outcomes.into_iter().next().ok_or_else(missing)
}

/// The sender may have gone away; the frame is applied all the same, and its retry is a duplicate.
fn answer(job: Job, answer: Answer) {
    let _ = job.answer.send(answer);
}
