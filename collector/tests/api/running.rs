//! A collector inside the test's process, with a clock that the test moves, and an agent made of frames.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use submeter_collector::collector::Collector;
use submeter_collector::config::Config;
use submeter_common::aggregate::{Group, Partial, State};
use submeter_common::id::{AgentId, CustomerId, Digest, MeterId};
use submeter_common::meter::AggregationKind;
use submeter_common::protocol::{
    Frame, FrameHeader, Reach, Receipts, Row, encode_frame, events_by_meter,
};
use submeter_common::quantity::Quantity;
use submeter_common::time::{ManualClock, Timestamp};
use tempfile::TempDir;
use uuid::Uuid;

/// When every test begins.
pub(crate) const NOW: &str = "2026-03-10T12:00:30Z";

/// A running collector and a key that may do everything.
pub(crate) struct Running {
    collector: Collector,
    pub(crate) clock: ManualClock,
    pub(crate) directory: TempDir,
    pub(crate) api: Api,
}

/// A client of the collector.
#[derive(Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    pub(crate) base: String,
    key: Option<String>,
}

/// An answer, kept whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) should_retry: Option<String>,
    pub(crate) body: Value,
}

pub(crate) fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

impl Running {
    /// Starts a collector over an empty directory.
    pub(crate) async fn start() -> Self {
        Self::start_over(tempfile::tempdir().unwrap(), ManualClock::new(time(NOW))).await
    }

    /// Starts a collector over what is in `directory`.
    pub(crate) async fn start_over(directory: TempDir, clock: ManualClock) -> Self {
        Self::start_with(directory, clock, |_| {}).await
    }

    /// Starts a collector with other settings.
    pub(crate) async fn start_with(
        directory: TempDir,
        clock: ManualClock,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config {
            data_dir: directory.path().to_owned(),
            listen: "127.0.0.1:0".parse().unwrap(),
            drain_grace: Duration::from_secs(5),
            ..Config::default()
        };
        config.jobs.billing_interval = Duration::from_millis(20);
        change(&mut config);
        let collector = Collector::start(config, Arc::new(clock.clone()))
            .await
            .unwrap();
        let key = std::fs::read_to_string(directory.path().join("bootstrap.key")).unwrap();
        let base = format!("http://{}", collector.address());
        let api = Api::new(base, Some(key.trim().to_owned()));
        Self {
            collector,
            clock,
            directory,
            api,
        }
    }

    /// Stops it; returns what it stood on.
    pub(crate) async fn stop(self) -> (TempDir, ManualClock) {
        assert_eq!(
            self.collector.stop().await,
            0,
            "no connection had to be cut"
        );
        (self.directory, self.clock)
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.directory.path()).join(name)
    }
}

impl Api {
    fn new(base: String, key: Option<String>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, base, key }
    }

    /// The same client with another key, or none.
    pub(crate) fn with_key(&self, key: Option<&str>) -> Self {
        Self {
            key: key.map(str::to_owned),
            ..self.clone()
        }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> Reply {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.unwrap();
        let header = response.headers().get("x-should-retry");
        let should_retry = header.map(|value| value.to_str().unwrap().to_owned());
        let status = response.status();
        let text = response.text().await.unwrap();
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        Reply {
            status,
            should_retry,
            body,
        }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: &Value) -> Reply {
        self.send(method, path, Some("application/json"), body.to_string())
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None, "").await
    }

    /// GET that must succeed.
    pub(crate) async fn fetch(&self, path: &str) -> Value {
        self.get(path).await.expect_success()
    }

    /// POST that must succeed.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.call(Method::POST, path, &body).await.expect_success()
    }

    /// POST that must succeed; the id in the answer.
    pub(crate) async fn create(&self, path: &str, body: Value, id: &str) -> String {
        self.post(path, body).await[id].as_str().unwrap().to_owned()
    }

    /// A meter that counts events `name`.
    pub(crate) async fn counter(&self, name: &str) -> String {
        let meter = json!({
            "name": name, "event_name": name, "measurement_unit": "calls", "aggregation": {"type": "count"},
        });
        self.create("/meters", meter, "id").await
    }

    /// A monthly product without a fee that prices meters: `(meter, minor units a unit, free units)`.
    pub(crate) async fn product(&self, meters: &[(&str, &str, i64)]) -> String {
        let meters: Vec<Value> = meters
            .iter()
            .map(|(id, price, free)| json!({"meter_id": id, "price_per_unit": price, "free_threshold": free}))
            .collect();
        self.create("/products", product(0, json!(meters)), "product_id")
            .await
    }

    pub(crate) async fn customer(&self, id: &str) {
        let customer = json!({"customer_id": id, "name": id, "email": format!("{id}@example.com")});
        self.post("/customers", customer).await;
    }

    pub(crate) async fn subscribe(&self, customer: &str, product: &str, start: &str) -> String {
        self.create(
            "/subscriptions",
            subscription(customer, product, start),
            "subscription_id",
        )
        .await
    }
}

impl Reply {
    pub(crate) fn expect_success(self) -> Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.body);
        self.body
    }

    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("-")
    }
}

/// A monthly product in US dollars.
pub(crate) fn product(fixed_price: i64, meters: Value) -> Value {
    json!({
        "name": "Plan", "tax_category": "saas",
        "price": {
            "type": "usage_based_price", "currency": "USD", "fixed_price": fixed_price,
            "payment_frequency_count": 1, "payment_frequency_interval": "month",
            "subscription_period_count": 10, "subscription_period_interval": "Year",
            "meters": meters,
        },
    })
}

pub(crate) fn subscription(customer: &str, product: &str, start: &str) -> Value {
    json!({
        "billing": {"country": "US"}, "customer": {"customer_id": customer},
        "product_id": product, "quantity": 1, "start_date": start,
    })
}

/// An agent made of nothing but its chain of frames.
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    nonce: Uuid,
    pub(crate) epoch: u64,
    seq: u64,
    previous: Digest,
    events: u64,
    catalog_version: u64,
}

impl Agent {
    pub(crate) fn new(number: u128) -> Self {
        let id = AgentId::new(Uuid::from_u128(number));
        Self {
            id,
            nonce: Uuid::from_u128(number + 1000),
            epoch: 0,
            seq: 0,
            previous: Digest::ZERO,
            events: 0,
            catalog_version: 0,
        }
    }

    /// The same agent with nothing sealed, in a session that was begun elsewhere.
    pub(crate) fn in_session(number: u128, epoch: u64) -> Self {
        Self {
            epoch,
            ..Self::new(number)
        }
    }

    /// Registers, and keeps the epoch and the catalog's version.
    pub(crate) async fn register(&mut self, api: &Api) -> Value {
        let position = json!({"seq": self.seq, "digest": self.previous});
        let request = json!({
            "agent_id": self.id, "state_nonce": self.nonce, "boot_id": self.nonce, "agent_version": "test",
            "catalog_version": 0, "acknowledged": position, "sealed": position, "watermark": time(NOW),
        });
        let reply = api.post("/v1/agents/register", request).await;
        self.epoch = reply["epoch"].as_u64().unwrap();
        self.catalog_version = reply["catalog"]["version"].as_u64().unwrap();
        reply
    }

    /// Freezes the next frame of the chain.
    pub(crate) fn seal(&mut self, rows: Vec<Row>, watermark: &str) -> Vec<u8> {
        let frame = self.frame(rows, watermark);
        let (bytes, digest) = encode_frame(&frame).unwrap();
        self.seq = frame.header.seq;
        self.events = frame.header.receipts.accepted;
        self.previous = digest;
        bytes
    }

    /// Writes the next frame without moving on.
    pub(crate) fn frame(&self, rows: Vec<Row>, watermark: &str) -> Frame {
        let events = self.events + rows.iter().map(|row| row.partial.events).sum::<u64>();
        let header = FrameHeader {
            agent_id: self.id,
            epoch: self.epoch,
            seq: self.seq + 1,
            previous: self.previous,
            sealed_at: time(NOW),
            watermark: time(watermark),
            farewell: false,
            catalog_version: self.catalog_version,
            receipts: Receipts {
                received: events,
                accepted: events,
                matched: events,
                ..Receipts::default()
            },
            reach: Reach::default(),
            meter_events: events_by_meter(&rows).unwrap(),
        };
        Frame { header, rows }
    }

    pub(crate) async fn send(&self, api: &Api, bytes: Vec<u8>) -> Reply {
        let path = format!("/v1/agents/{}/frames?epoch={}", self.id, self.epoch);
        api.send(Method::POST, &path, Some("application/octet-stream"), bytes)
            .await
    }
}

/// `events` counted events of a customer at a minute.
pub(crate) fn counted(customer: &str, meter: &str, at: &str, group: Group, events: u64) -> Row {
    let partial = Partial {
        events,
        non_numeric: 0,
        state: State::Count,
    };
    assert_eq!(partial.kind(), AggregationKind::Count);
    row(customer, meter, at, group, partial)
}

/// A sum that `events` events came to.
pub(crate) fn summed(customer: &str, meter: &str, at: &str, events: u64, sum: &str) -> Row {
    let state = State::Sum(Quantity::parse(sum).unwrap());
    row(
        customer,
        meter,
        at,
        Group::none(),
        Partial {
            events,
            non_numeric: 0,
            state,
        },
    )
}

fn row(customer: &str, meter: &str, at: &str, group: Group, partial: Partial) -> Row {
    Row {
        customer_id: CustomerId::new(customer).unwrap(),
        meter_id: MeterId::new(meter).unwrap(),
        group,
        window: time(at).window(),
        partial,
    }
}
