//! Connections to the collector, made anew when the certificates on disk change: some live for a few hours only.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::tls::{Stamp, TlsFiles, client_builder};

/// Time to reach the collector.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An HTTP client that follows its certificates.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    base: String,
    timeout: Duration,
    files: TlsFiles,
    current: Arc<Mutex<(Stamp, reqwest::Client)>>,
}

impl Transport {
    /// A client for `base` whose calls take at most `timeout`. The error is a fault of the TLS set-up.
    pub(super) fn new(base: &str, timeout: Duration, files: TlsFiles) -> Result<Self, String> {
        let stamp = files.stamp();
        let client = build(base, timeout, &files)?;
        Ok(Self {
            base: base.to_owned(),
            timeout,
            files,
            current: Arc::new(Mutex::new((stamp, client))),
        })
    }

    /// The client for the next call. New files that cannot be used, perhaps because the second of two is not written yet,
    /// leave the client as it is.
    pub(super) fn client(&self) -> reqwest::Client {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.files.stamp();
        if current.0 != stamp {
            current.0 = stamp;
            match build(&self.base, self.timeout, &self.files) {
                Ok(client) => {
                    tracing::info!(
                        "the certificates changed; connections are made with the new ones"
                    );
                    current.1 = client;
                }
                Err(problem) => {
                    tracing::warn!(
                        "the certificates changed and the new ones are not used: {problem}"
                    );
                }
            }
        }
        current.1.clone()
    }
}

fn build(base: &str, timeout: Duration, files: &TlsFiles) -> Result<reqwest::Client, String> {
    files
        .apply(client_builder(base))?
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .build()
        .map_err(|error| chain(&error))
}

/// An error with all its causes on one line: reqwest's own says only that sending failed.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
