//! Sending on a bad day: requests shuffled, repeated, re-cut, and retried until they are acknowledged.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Call;
use crate::system::Api;

/// An agent that is being restarted refuses connections; for this long a client goes on trying.
const RETRY_FOR: Duration = Duration::from_secs(90);

/// Requests for one agent, in the order they will be sent.
#[derive(Debug)]
pub struct Delivery {
    requests: Vec<Request>,
    acknowledged: AtomicUsize,
}

/// One `POST /events/ingest`.
#[derive(Clone, Debug)]
struct Request {
    events: usize,
    body: String,
}

/// What it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests that were acknowledged.
    pub requests: usize,
    /// Events in them, those sent before included.
    pub events: usize,
    /// Events the agent had seen before.
    pub duplicates: usize,
    /// Tries that ended without an acknowledgement.
    pub failures: usize,
}

impl Delivery {
    /// Cuts `calls` into requests of 1 to 200 events, sends one request in three twice and one event
    /// in ten again in another company, all in an order of chance; the same `seed` gives the same requests.
    #[must_use]
    pub fn plan(calls: &[Call], seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut order: Vec<&Call> = calls.iter().collect();
        random.shuffle(&mut order);
        let mut requests = cut(&order, &mut random);
        let repeated: Vec<Request> = requests
            .iter()
            .filter(|_| random.u8(0..3) == 0)
            .cloned()
            .collect();
        order.retain(|_| random.u8(0..10) == 0);
        random.shuffle(&mut order);
        requests.extend(cut(&order, &mut random));
        requests.extend(repeated);
        random.shuffle(&mut requests);
        Self {
            requests,
            acknowledged: AtomicUsize::new(0),
        }
    }

    /// Sends everything; returns when all is acknowledged.
    ///
    /// # Errors
    /// When a request is refused for good or nobody answers for too long.
    pub async fn send(&self, api: &Api) -> Result<Report> {
        let next = AtomicUsize::new(0);
        let report = Mutex::new(Report::default());
        let worker = || async {
            while let Some(request) = self.requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let one = request.send_until_acknowledged(api).await?;
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                let mut report = report
                    .lock()
                    .map_err(|_| anyhow::anyhow!("a worker panicked"))?;
                report.requests += 1;
                report.events += request.events;
                report.duplicates += one.duplicates;
                report.failures += one.failures;
            }
            anyhow::Ok(())
        };
        // Four requests in flight at one time.
        tokio::try_join!(worker(), worker(), worker(), worker())?;
        report
            .into_inner()
            .map_err(|_| anyhow::anyhow!("a worker panicked"))
    }

    /// Waits until half of the requests are acknowledged.
    pub async fn half_sent(&self) {
        while self.acknowledged.load(Ordering::Relaxed) * 2 < self.requests.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Events in all requests, repeated ones counted each time.
    #[must_use]
    pub fn events(&self) -> usize {
        self.requests.iter().map(|request| request.events).sum()
    }
}

impl Request {
    async fn send_until_acknowledged(&self, api: &Api) -> Result<Report> {
        let start = Instant::now();
        let mut failures = 0;
        loop {
            match self.send(api).await {
                Ok(duplicates) => {
                    return Ok(Report {
                        duplicates,
                        failures,
                        ..Report::default()
                    });
                }
                Err(Failure::Final(reason)) => return Err(reason),
                Err(Failure::Again(reason)) if start.elapsed() > RETRY_FOR => return Err(reason),
                Err(Failure::Again(_)) => failures += 1,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// One try; how many of the events had been seen before.
    async fn send(&self, api: &Api) -> Result<usize, Failure> {
        let path = "/events/ingest";
        let json = Some("application/json");
        let reply = api
            .send(reqwest::Method::POST, path, json, self.body.clone())
            .await;
        let reply = reply.map_err(Failure::Again)?;
        match reply.status {
            200 => self
                .check(&reply.json().map_err(Failure::Final)?)
                .map_err(Failure::Final),
            429 | 500.. => Err(Failure::Again(anyhow::anyhow!(
                "{}: {}",
                reply.status,
                reply.body
            ))),
            status => Err(Failure::Final(anyhow::anyhow!("{status}: {}", reply.body))),
        }
    }

    fn check(&self, answer: &Value) -> Result<usize> {
        if answer["ingested_count"] != self.events {
            bail!("{} events were sent, the answer is {answer}", self.events);
        }
        let duplicates = answer["duplicate_count"]
            .as_u64()
            .context("duplicate_count")?;
        Ok(usize::try_from(duplicates)?)
    }
}

/// Why a try was not acknowledged.
enum Failure {
    /// The same request may do better later.
    Again(anyhow::Error),
    /// It never will.
    Final(anyhow::Error),
}

fn cut(calls: &[&Call], random: &mut fastrand::Rng) -> Vec<Request> {
    let mut rest = calls;
    let mut requests = Vec::new();
    while !rest.is_empty() {
        let (some, later) = rest.split_at(random.usize(1..=200).min(rest.len()));
        let events: Vec<String> = some.iter().map(|call| call.json()).collect();
        let body = format!("{{\"events\":[{}]}}", events.join(","));
        requests.push(Request {
            events: some.len(),
            body,
        });
        rest = later;
    }
    requests
}
