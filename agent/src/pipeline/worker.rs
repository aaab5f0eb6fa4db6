//! The three threads: started together, joined together; a failure or a panic in one poisons the pipeline.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use super::recovery::Recovered;
use super::shared::Shared;
use crate::store::StoreError;

/// The running threads.
#[derive(Default)]
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts the committer, the aggregator and the compactor.
    pub(super) fn start(recovered: Recovered) -> std::io::Result<Self> {
        let Recovered {
            shared,
            committer,
            aggregator,
            compactor,
        } = recovered;
        let mut workers = Self::default();
        let started = workers
            .spawn("compactor", &shared, || compactor.run())
            .and_then(|()| workers.spawn("aggregator", &shared, || aggregator.run()))
            .and_then(|()| workers.spawn("committer", &shared, || committer.run()));
        if let Err(error) = started {
            shared.work.close();
            shared.closings.close();
            workers.join();
            return Err(error);
        }
        Ok(workers)
    }

    fn spawn(
        &mut self,
        name: &'static str,
        shared: &Arc<Shared>,
        work: impl FnOnce() -> Result<(), StoreError> + Send + 'static,
    ) -> std::io::Result<()> {
        let shared = Arc::clone(shared);
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            let failure = match catch_unwind(AssertUnwindSafe(work)) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => format!("it panicked: {}", panic_message(&*panic)),
            };
            shared.fail(format!("{name}: {failure}"));
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Waits for the threads to end, which they do once their queues are closed or a stop has gone through.
    pub(super) fn join(&mut self) {
        for thread in self.threads.drain(..) {
            // A panic was caught and reported inside.
            let _ = thread.join();
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
