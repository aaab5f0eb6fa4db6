//! The agent's front door: HTTP on localhost, from bytes to submissions.
//!
//! A request is parsed once, borrowed from its buffer, checked, and handed to the pipeline; the reply is written when the
//! pipeline says that the events are on stable storage. Nothing here knows about files, frames or the collector.

mod body;
mod compatible;
mod events;
mod guard;
mod imports;
mod lines;
mod native;
mod query;
mod reply;
mod routes;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use submeter_common::event::Horizon;
use submeter_common::time::Clock;
use tokio::sync::Mutex;

pub use body::Budget;
pub use guard::Guard;
pub use imports::BeginImport;
pub use lines::{Block, Line, Lines};
pub use query::Query;
pub use reply::{ApiError, json};
pub use routes::router;
pub use server::Server;

use crate::flush::FlushHandle;
use crate::pipeline::Pipeline;

/// What the handlers work with.
pub struct Context {
    /// Where events go.
    pub pipeline: Pipeline,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How old and how new an event may be.
    pub horizon: Horizon,
    /// Memory for request bodies.
    pub budget: Budget,
    /// The flusher, for `flush` and `status`.
    pub flush: FlushHandle,
    imports: Mutex<()>,
    draining: AtomicBool,
}

impl Context {
    /// The context of a running agent.
    pub fn new(
        pipeline: Pipeline,
        clock: Arc<dyn Clock>,
        horizon: Horizon,
        budget: Budget,
        flush: FlushHandle,
    ) -> Self {
        Self {
            pipeline,
            clock,
            horizon,
            budget,
            flush,
            imports: Mutex::new(()),
            draining: AtomicBool::new(false),
        }
    }

    /// Makes `/readyz` say that the agent is stopping, before the door is closed.
    pub fn begin_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the agent is stopping.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
