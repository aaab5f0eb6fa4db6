//! The one-way switch that a failed write or a dead worker throws: nothing is acknowledged after it.

use std::sync::OnceLock;

use tokio::sync::Notify;

/// Says whether, and why, the pipeline must not go on.
#[derive(Default, Debug)]
pub(super) struct Poison {
    reason: OnceLock<String>,
    thrown: Notify,
}

impl Poison {
    /// Throws the switch; the first reason stays.
    pub(super) fn throw(&self, reason: String) {
        if self.reason.set(reason).is_ok() {
            let reason = self.reason().unwrap_or_default();
            tracing::error!(
                reason,
                "the state directory failed; nothing is acknowledged any more"
            );
        }
        self.thrown.notify_waiters();
    }

    /// The reason, once thrown.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    /// Waits for the reason.
    pub(super) async fn thrown(&self) -> String {
        let thrown = self.thrown.notified();
        tokio::pin!(thrown);
        // Listening begins before looking, so that a throw in between is not missed.
        thrown.as_mut().enable();
        if self.reason().is_none() {
            thrown.await;
        }
        self.reason().unwrap_or_default().to_owned()
    }
}
