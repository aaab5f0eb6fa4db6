//! The way in for events: from bytes to submissions.
//!
//! A request is parsed once, borrowed from its buffer, checked, and handed to the pipeline; the reply is written when the
//! pipeline says that the events are on stable storage. Nothing here knows about files, frames or the collector.

pub(crate) mod cloudevents;
pub(crate) mod compatible;
pub(crate) mod events;
pub(crate) mod imports;
pub(crate) mod lines;
pub(crate) mod native;

use std::sync::Arc;

use submeter_common::event::Horizon;
use submeter_common::time::Clock;
use tokio::sync::Mutex;

use crate::http::body::BodyRoom;
use crate::pipeline::Pipeline;

/// What the handlers of events work with.
pub(crate) struct Ingest {
    pipeline: Pipeline,
    clock: Arc<dyn Clock>,
    horizon: Horizon,
    budget: BodyRoom,
    /// Held while a part of an import is taken: each part must find the line where the one before it ended.
    imports: Mutex<()>,
}

impl Ingest {
    /// Takes events that are within `horizon` around the clock, with `budget` for the bodies they come in.
    pub(crate) fn new(
        pipeline: Pipeline,
        clock: Arc<dyn Clock>,
        horizon: Horizon,
        budget: BodyRoom,
    ) -> Self {
        Self {
            pipeline,
            clock,
            horizon,
            budget,
            imports: Mutex::new(()),
        }
    }
}
