//! Sending sealed frames to the collector until it acknowledges them.
//!
//! One task does it all, so that frames go strictly in order, one in flight. It retries for ever: what was acknowledged to
//! an application is on disk, and waiting costs nothing but disk. The open partials are sealed at the agent's own moment
//! of every interval, but only when the last frames have arrived: while the collector is away the open set keeps
//! merging, and a day offline costs one row per key and minute instead of a frame every ten seconds.

mod backoff;
mod catalog;
mod client;
mod retry_after;
mod schedule;
mod session;
mod transport;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use submeter_common::time::{Clock, Timestamp};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

pub use client::{CallError, CollectorClient, KeySource};

use crate::fail_point::fail_point;
use crate::pipeline::{Pipeline, PipelineError, SealReason};
use crate::telemetry::names;
use backoff::Backoff;
use schedule::Schedule;
use session::{Session, Trouble};

/// How often the flusher looks whether a new meter's past is counted.
const BACKFILL_POLL: Duration = Duration::from_millis(5);

/// Longest wait for a new meter's past; what is not counted by then comes with a later frame, and the watermark says so.
const BACKFILL_WAIT_MAX: Duration = Duration::from_secs(30);

/// Whether frames flow.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlushState {
    /// The collector was not called yet.
    Starting,
    /// The last round went through.
    Flowing,
    /// There is no collector: frames leave by `export`.
    NoCollector,
    /// There is no key to show to the collector.
    NoKey,
    /// The last round failed; the next one comes by itself.
    Retrying,
    /// The agent does not run.
    Stopped,
    /// The store failed or is stopping: there is nothing left to flush from.
    Halted,
}

/// What the flusher is doing, for people.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FlushStatus {
    /// Whether frames flow.
    pub state: FlushState,
    /// Since when.
    pub since: Timestamp,
    /// Why not, when they don't.
    pub message: Option<String>,
    /// The last time a round went through.
    pub last_success_at: Option<Timestamp>,
}

/// What a stopping agent managed to send.
#[derive(Debug)]
pub struct Drained {
    /// Whether everything sealed is acknowledged.
    pub complete: bool,
    /// Why not.
    pub trouble: Option<String>,
}

/// Wakes the flusher and watches it; clones share it.
#[derive(Clone)]
pub struct FlushHandle {
    pipeline: Pipeline,
    nudge: Arc<Notify>,
    requested: Arc<AtomicU64>,
    served: watch::Receiver<u64>,
    status: watch::Receiver<FlushStatus>,
}

/// A flush that was asked for.
#[derive(Copy, Clone, Debug)]
pub struct FlushTicket(u64);

/// The running flusher.
pub struct Flusher {
    handle: FlushHandle,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Worker>,
    /// What an orderly end is sealed as.
    last_words: SealReason,
}

struct Worker {
    pipeline: Pipeline,
    session: Session,
    clock: Arc<dyn Clock>,
    interval: Duration,
    backoff: Backoff,
    nudge: Arc<Notify>,
    /// Number of the newest round that was asked for.
    requested: Arc<AtomicU64>,
    /// Number of the newest one that went through.
    served: watch::Sender<u64>,
    status: watch::Sender<FlushStatus>,
    last_cause: &'static str,
}

/// When the next round begins.
enum Pause {
    /// After a wait that a nudge cuts short.
    Nudgeable(Duration),
    /// After a wait the collector asked for.
    Asked(Duration),
    /// Never.
    Ended,
}

impl Flusher {
    /// Starts to flush. The first round begins at once, for it brings the catalog.
    pub fn start(
        pipeline: Pipeline,
        client: CollectorClient,
        clock: Arc<dyn Clock>,
        interval: Duration,
        name: Option<String>,
    ) -> Self {
        // A farewell tells the collector not to wait. Where there is none, nobody would hear that the agent is back.
        let last_words = if client.has_collector() {
            SealReason::Farewell
        } else {
            SealReason::Requested
        };
        let first = FlushStatus {
            state: FlushState::Starting,
            since: clock.now(),
            message: None,
            last_success_at: None,
        };
        let (status_sender, status) = watch::channel(first);
        let (served_sender, served) = watch::channel(0);
        let requested = Arc::new(AtomicU64::new(0));
        let nudge = Arc::new(Notify::new());
        let (stop, stopped) = oneshot::channel();
        let worker = Worker {
            session: Session::new(pipeline.clone(), client, Arc::clone(&clock), name),
            pipeline: pipeline.clone(),
            clock,
            interval,
            backoff: Backoff::new(fastrand::u64(..)),
            nudge: Arc::clone(&nudge),
            requested: Arc::clone(&requested),
            served: served_sender,
            status: status_sender,
            last_cause: "",
        };
        let task = tokio::spawn(worker.run(stopped));
        Self {
            handle: FlushHandle {
                pipeline,
                nudge,
                requested,
                served,
                status,
            },
            stop,
            task,
            last_words,
        }
    }

    /// A handle for those who ask for a flush or look at its state.
    pub fn handle(&self) -> FlushHandle {
        self.handle.clone()
    }

    /// Ends without a farewell, and lets go of the pipeline before it returns.
    pub async fn stop(self) {
        drop(self.stop);
        // Whether it panicked does not matter to who gives up.
        let _ = self.task.await;
    }

    /// Seals the farewell frame and sends what is left until `deadline`. What does not get through stays on disk.
    pub async fn drain(self, deadline: Instant) -> Result<Drained, PipelineError> {
        drop(self.stop);
        let pipeline = &self.handle.pipeline;
        let sealed = timeout_at(deadline, pipeline.seal(self.last_words)).await;
        if sealed.is_err() {
            pipeline.hurry();
        }
        let mut worker = self
            .task
            .await
            .map_err(|error| PipelineError::Failed(format!("the flusher died: {error}")))?;
        let Ok(sealed) = sealed else {
            return Ok(Drained {
                complete: false,
                trouble: Some("the grace was over before the farewell was sealed".to_owned()),
            });
        };
        sealed?;
        fail_point!(StopFarewellSealed);
        let trouble = match timeout_at(deadline, worker.send_rest()).await {
            Ok(sent) => sent.err().map(|trouble| trouble.to_string()),
            Err(_) => Some(
                worker
                    .status
                    .borrow()
                    .message
                    .clone()
                    .unwrap_or_else(|| "the grace was over".to_owned()),
            ),
        };
        Ok(Drained {
            complete: worker.session.is_flushed(),
            trouble,
        })
    }
}

impl FlushHandle {
    /// What the flusher is doing.
    pub fn status(&self) -> FlushStatus {
        self.status.borrow().clone()
    }

    /// Asks for a round that begins now, or as soon as a pause the collector asked for is over. It went through when all is
    /// sent as meters count it that were made before this call, too.
    pub fn request(&self) -> FlushTicket {
        let number = self.requested.fetch_add(1, Ordering::AcqRel) + 1;
        self.nudge.notify_one();
        FlushTicket(number)
    }

    /// Waits until the round of `ticket` went through, at most for `limit`; says whether it did.
    pub async fn wait_for(&self, ticket: FlushTicket, limit: Duration) -> bool {
        let mut served = self.served.clone();
        let waiting = served.wait_for(|served| *served >= ticket.0);
        matches!(timeout(limit, waiting).await, Ok(Ok(_)))
    }
}

impl Worker {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> Self {
        loop {
            // A round may be dropped anywhere: a frame whose reply was not read is sent again and answered `duplicate`.
            let pause = tokio::select! {
                _ = &mut stopped => return self,
                result = self.round() => self.conclude(result),
            };
            let waiting = async {
                match pause {
                    Pause::Nudgeable(delay) => tokio::select! {
                        () = sleep(delay) => {}
                        () = self.nudge.notified() => {}
                    },
                    Pause::Asked(delay) => sleep(delay).await,
                    Pause::Ended => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = &mut stopped => return self,
                () = waiting => {}
            }
        }
    }

    async fn round(&mut self) -> Result<(), Trouble> {
        let requested = self.requested.load(Ordering::Acquire);
        self.session.open().await?;
        if self.session.is_flushed() {
            self.pipeline.seal(SealReason::Interval).await?;
        }
        self.session.send_all().await?;
        if requested > *self.served.borrow() {
            // Only now: a catalog that cannot be read must not keep back what is sealed.
            self.session.read_catalog().await?;
            self.pipeline.seal(SealReason::Requested).await?;
            self.session.send_all().await?;
        }
        while self.session.take_new_catalog() {
            // What was accepted before and counts by the new meters belongs to this round too.
            self.backfilled().await;
            self.pipeline.seal(SealReason::Requested).await?;
            self.session.send_all().await?;
        }
        self.served.send_replace(requested);
        Ok(())
    }

    async fn backfilled(&self) {
        let deadline = Instant::now() + BACKFILL_WAIT_MAX;
        while self.pipeline.status().backfilling && Instant::now() < deadline {
            sleep(BACKFILL_POLL).await;
        }
    }

    /// Sends what is sealed, with retries; ends with the first trouble that time does not mend.
    async fn send_rest(&mut self) -> Result<(), Trouble> {
        self.backoff.reset();
        loop {
            let result = self.session.send_all().await;
            match result {
                Ok(()) => {
                    // The last reply may have named a catalog by which more of the journal counts.
                    self.pipeline.seal(SealReason::Farewell).await?;
                    if self.session.is_flushed() {
                        return Ok(());
                    }
                }
                Err(
                    trouble @ Trouble::Call(
                        CallError::Unreachable(_)
                        | CallError::Misdelivered(_)
                        | CallError::Busy { .. },
                    ),
                ) => {
                    if let Pause::Nudgeable(delay) | Pause::Asked(delay) =
                        self.conclude(Err(trouble))
                    {
                        sleep(delay).await;
                    }
                }
                result => return result,
            }
        }
    }

    /// Notes how a round ended and says when the next one begins.
    fn conclude(&mut self, result: Result<(), Trouble>) -> Pause {
        let trouble = match result {
            Ok(()) => {
                self.backoff.reset();
                self.note(FlushState::Flowing, "", None);
                let schedule = Schedule::new(self.interval, &self.pipeline.identity().agent_id);
                return Pause::Nudgeable(schedule.delay_from(self.clock.now()));
            }
            Err(trouble) => trouble,
        };
        let message = Some(trouble.to_string());
        match trouble {
            Trouble::Store(_) => {
                self.note(FlushState::Halted, "store", message);
                Pause::Ended
            }
            Trouble::Stuck(_) => {
                self.note(FlushState::Retrying, "stuck", message);
                Pause::Nudgeable(self.backoff.next_delay())
            }
            Trouble::Call(error) => {
                let state = match error {
                    CallError::NoCollector => FlushState::NoCollector,
                    CallError::NoKey(_) => FlushState::NoKey,
                    _ => FlushState::Retrying,
                };
                self.note(state, error.cause(), message);
                match error {
                    CallError::Busy {
                        retry_after: Some(delay),
                        ..
                    } => Pause::Asked(self.backoff.delay_after(delay)),
                    _ => Pause::Nudgeable(self.backoff.next_delay()),
                }
            }
        }
    }

    /// Publishes the state, and logs it when it is another than before: a day offline is one line, not a thousand.
    fn note(&mut self, state: FlushState, cause: &'static str, message: Option<String>) {
        let flowing = state == FlushState::Flowing;
        metrics::gauge!(names::FLUSHING).set(if flowing { 1.0 } else { 0.0 });
        if !flowing {
            metrics::counter!(names::FLUSH_FAILURES, "cause" => cause).increment(1);
        }
        let text = message.as_deref().unwrap_or_default();
        if cause == self.last_cause {
            tracing::debug!(state = ?state, failures = self.backoff.failures(), "{text}");
        } else {
            match state {
                FlushState::Flowing => tracing::info!("frames flow again"),
                FlushState::Halted => tracing::error!("{text}"),
                FlushState::NoCollector => tracing::info!("{text}"),
                _ if cause == "stuck" || cause == "refused" => {
                    tracing::error!("{text}; events are accepted and kept on disk, trying again")
                }
                _ => tracing::warn!("{text}; events are accepted and kept on disk, trying again"),
            }
        }
        self.last_cause = cause;
        let now = self.clock.now();
        self.status.send_modify(|status| {
            if status.state != state {
                status.since = now;
            }
            if flowing {
                status.last_success_at = Some(now);
            }
            status.state = state;
            status.message = message;
        });
    }
}
