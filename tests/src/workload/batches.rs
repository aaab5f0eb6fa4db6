//! Batches of numbered events, sent by clients that try again with the same ids until they are acknowledged.
//!
//! A batch is one request. Each event carries its batch's name and a value of its own, so that usage grouped by batch says of
//! every single batch whether it was counted, wholly, and once. What was sent and what was acknowledged is noted here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::system::Api;

/// Events of one batch.
pub const BATCH_EVENTS: u64 = 20;

/// For this long a client goes on trying; an agent that is being restarted again and again comes back within it.
const RETRY_FOR: Duration = Duration::from_secs(120);

/// Wait between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// All batches of one customer, whoever sends them.
#[derive(Debug)]
pub struct Batches {
    customer: String,
    event_name: String,
    next: AtomicU64,
    stopped: AtomicBool,
    /// Every batch that was sent at least once, and whether it was acknowledged.
    sent: Mutex<BTreeMap<u64, bool>>,
}

impl Batches {
    /// Batches of events called `event_name`, all of `customer`; none is sent yet.
    #[must_use]
    pub fn new(customer: &str, event_name: &str) -> Self {
        Self {
            customer: customer.to_owned(),
            event_name: event_name.to_owned(),
            next: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            sent: Mutex::default(),
        }
    }

    /// Whose usage it is.
    #[must_use]
    pub fn customer(&self) -> &str {
        &self.customer
    }

    /// Every batch that was sent, and whether it was acknowledged.
    #[must_use]
    pub fn fates(&self) -> BTreeMap<u64, bool> {
        self.lock().clone()
    }

    /// Number of batches that were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.lock().values().filter(|known| **known).count()
    }

    /// Makes every client end with the batch it is at.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Sends one more batch until it is acknowledged.
    ///
    /// # Errors
    /// When it is refused for good, or nobody answers for too long.
    pub async fn send(&self, api: &Api) -> Result<()> {
        let batch = self.take();
        let start = Instant::now();
        while let Err(error) = self.try_once(api, batch).await {
            if error.is::<Refused>() || start.elapsed() > RETRY_FOR {
                return Err(error).with_context(|| format!("batch {batch} of {}", self.customer));
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Ok(())
    }

    /// Sends batch after batch, with `pause` between them, until [`Batches::stop`].
    ///
    /// # Errors
    /// As [`Batches::send`].
    pub async fn send_patiently(&self, api: &Api, pause: Duration) -> Result<()> {
        while !self.stopped.load(Ordering::SeqCst) {
            self.send(api).await?;
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// Sends batch after batch as well, but gives a batch up when it is not acknowledged at the first try: whether it
    /// counts is then open, but never in part and never twice.
    ///
    /// # Errors
    /// When one is refused for good.
    pub async fn send_impatiently(&self, api: &Api, pause: Duration) -> Result<()> {
        while !self.stopped.load(Ordering::SeqCst) {
            match self.try_once(api, self.take()).await {
                Err(error) if error.is::<Refused>() => return Err(error),
                _ => tokio::time::sleep(pause).await,
            }
        }
        Ok(())
    }

    /// The events of the next `batches` batches as lines of a file, noted as sent.
    pub fn lines(&self, batches: u64) -> String {
        let mut lines = String::new();
        for _ in 0..batches {
            let batch = self.take();
            self.lock().insert(batch, false);
            for event in self.events(batch) {
                lines.push_str(&event);
                lines.push('\n');
            }
        }
        lines
    }

    /// Notes that everything sent so far was acknowledged.
    pub fn note_acknowledged(&self) {
        self.lock().values_mut().for_each(|known| *known = true);
    }

    fn take(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    async fn try_once(&self, api: &Api, batch: u64) -> Result<()> {
        self.lock().entry(batch).or_insert(false);
        let events: Vec<String> = self.events(batch).collect();
        let body = format!(r#"{{"events":[{}]}}"#, events.join(","));
        let reply = api
            .send(
                reqwest::Method::POST,
                "/events/ingest",
                Some("application/json"),
                body,
            )
            .await?;
        match reply.status {
            200 => {}
            429 | 503 => bail!("{}: {}", reply.status, reply.body),
            _ => return Err(Refused(reply.body).into()),
        }
        let counts = reply.json()?;
        ensure!(
            counts["ingested_count"] == BATCH_EVENTS && counts["conflict_count"] == 0,
            Refused(reply.body)
        );
        self.lock().insert(batch, true);
        Ok(())
    }

    fn events(&self, batch: u64) -> impl Iterator<Item = String> + '_ {
        (0..BATCH_EVENTS).map(move |place| {
            let number = batch * BATCH_EVENTS + place;
            format!(
                r#"{{"event_id":"{}-{number}","customer_id":"{}","event_name":"{}","metadata":{{"batch":"{batch}","value":{number}}}}}"#,
                self.customer, self.customer, self.event_name
            )
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, bool>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that no further try will change.
#[derive(Debug)]
struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refused: {}", self.0)
    }
}

impl std::error::Error for Refused {}
