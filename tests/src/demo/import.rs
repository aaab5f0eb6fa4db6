//! Bringing past events into an agent through its import endpoint, whatever happens on the way.
//!
//! An import has a cursor: the number of lines that are durably dealt with. After a lost answer or a crash
//! the client asks where the import stands and goes on from there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::Month;
use crate::system::{Api, Reply};

/// Lines in one request.
const CHUNK_LINES: usize = 1_000;
const RETRY_FOR: Duration = Duration::from_secs(30);

/// One import in progress.
#[derive(Debug)]
pub(crate) struct Import<'a> {
    id: String,
    lines: &'a [String],
    max_age: Duration,
    done: AtomicUsize,
    again: AtomicUsize,
}

impl<'a> Import<'a> {
    /// Prepares the import of `lines` (NDJSON) of `month` under a name.
    pub(crate) fn new(name: &str, lines: &'a [String], month: &Month) -> Self {
        Self {
            id: format!("demo-{name}-{}", month.name()),
            lines,
            // Twice a month and more: from the first of last month to now, whatever today is.
            max_age: Duration::from_secs(70 * 86_400),
            done: AtomicUsize::new(0),
            again: AtomicUsize::new(0),
        }
    }

    /// Sends all lines and completes the import; how many requests had to be tried again.
    ///
    /// # Errors
    /// When the agent refuses or stays away too long.
    pub(crate) async fn send(&self, api: &Api) -> Result<usize> {
        let body = json!({
            "id": self.id,
            "name": self.id,
            "max_age_seconds": self.max_age.as_secs(),
        });
        let begin = self
            .until_answered(|| api.post("/v1/imports", &body))
            .await?;
        let mut done = lines_done(&begin)?;
        while done < self.lines.len() {
            done = self.send_chunk(api, done).await?;
            self.done.store(done, Ordering::Relaxed);
        }
        let nothing = json!({});
        let complete = format!("/v1/imports/{}/complete", self.id);
        self.until_answered(|| api.post(&complete, &nothing))
            .await?;
        Ok(self.again.load(Ordering::Relaxed))
    }

    /// Waits until half of the lines are durable in the agent.
    pub(crate) async fn half_sent(&self) {
        while self.done.load(Ordering::Relaxed) * 2 < self.lines.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn send_chunk(&self, api: &Api, first: usize) -> Result<usize> {
        let last = self.lines.len().min(first + CHUNK_LINES);
        let chunk = self.lines[first..last].join("\n");
        let path = format!("/v1/imports/{}/events?first_line={first}", self.id);
        let send = || {
            let body = chunk.clone();
            api.send(
                reqwest::Method::POST,
                &path,
                Some("application/x-ndjson"),
                body,
            )
        };
        lines_done(&self.until_answered(send).await?)
    }

    async fn until_answered<F>(&self, request: impl Fn() -> F) -> Result<Reply>
    where
        F: Future<Output = Result<Reply>>,
    {
        let start = Instant::now();
        loop {
            let problem = match request().await {
                Ok(reply) if reply.success().is_ok() => return Ok(reply),
                Ok(reply) if reply.status < 429 => bail!("{}: {}", reply.status, reply.body),
                Ok(reply) => anyhow::anyhow!("{}: {}", reply.status, reply.body),
                Err(problem) => problem,
            };
            if start.elapsed() > RETRY_FOR {
                return Err(problem);
            }
            self.again.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn lines_done(reply: &Reply) -> Result<usize> {
    let done = reply.json()?["lines_done"].as_u64();
    Ok(usize::try_from(done.with_context(|| {
        format!("lines_done in {}", reply.body)
    })?)?)
}
