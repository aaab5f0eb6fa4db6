//! Does each frame count exactly once, whatever the network does with it?
//!
//! The test is an agent by hand: it registers, seals frames of its own and sends them in every wrong way.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use submeter_common::aggregate::{Group, Partial, State};
use submeter_common::id::{AgentId, CustomerId, Digest, MeterId};
use submeter_common::protocol::{
    Frame, FrameHeader, Position, Reach, Receipts, Row, encode_frame, events_by_meter,
};
use submeter_common::time::{Clock, SystemClock, Timestamp};
use submeter_tests::builders;
use submeter_tests::system::{Api, Reply, System};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_counts_once_however_often_it_arrives() -> Result<()> {
    let system = System::start("").await?;
    let mut sender = Sender::register(system.collector.api()).await?;
    let first = sender.seal(3)?;
    let second = sender.seal(4)?;

    check(&sender.send(&second).await?, 409, "gap", "GAP")?;
    check(&sender.send(&first).await?, 200, "applied", "")?;
    check(&sender.send(&first).await?, 200, "duplicate", "")?;
    check(&sender.send(&second).await?, 200, "applied", "")?;
    check(&sender.send(&first).await?, 200, "duplicate", "")?;
    check(&sender.send(&second).await?, 200, "duplicate", "")?;
    ensure!(sender.counted().await? == 7);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_session_is_fenced() -> Result<()> {
    let system = System::start("").await?;
    let mut old = Sender::register(system.collector.api()).await?;
    let first = old.seal(3)?;
    check(&old.send(&first).await?, 200, "applied", "")?;
    let second = old.seal(4)?;
    let new = old.register_again().await?;
    check(&old.send(&second).await?, 409, "fenced", "FENCED")?;
    // The same bytes are good in the new session: a frame does not know which session sends it.
    check(&new.send(&second).await?, 200, "applied", "")?;
    ensure!(new.counted().await? == 7);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_states_under_one_id_are_a_fork_and_the_first_one_counts() -> Result<()> {
    let system = System::start("").await?;
    let mut one = Sender::register(system.collector.api()).await?;
    let mut other = one.clone();
    check(&one.send(&one.clone().seal(3)?).await?, 200, "applied", "")?;
    one.seal(3)?;
    check(
        &other.send(&other.clone().seal(5)?).await?,
        409,
        "fork",
        "FORK",
    )?;
    other.seal(5)?;
    // A frame that continues the wrong history is one, too.
    check(
        &other.send(&other.clone().seal(1)?).await?,
        409,
        "fork",
        "FORK",
    )?;
    ensure!(one.counted().await? == 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_foreign_frame_changes_nothing() -> Result<()> {
    let system = System::start("").await?;
    let mut sender = Sender::register(system.collector.api()).await?;
    let good = sender.seal(3)?;

    for at in [0, 4, 8, good.len() / 2, good.len() - 1] {
        let mut damaged = good.clone();
        damaged[at] ^= 0x20;
        let reply = sender.send(&damaged).await?;
        let code = if at == 4 {
            "UNSUPPORTED_FRAME_VERSION"
        } else {
            "INVALID_FRAME"
        };
        ensure!(
            reply.status == 422,
            "byte {at}: {} {}",
            reply.status,
            reply.body
        );
        ensure!(reply.code() == code, "byte {at}: {}", reply.body);
    }
    for bytes in [&b""[..], b"hello", &good[..good.len() / 2]] {
        let reply = sender.send(bytes).await?;
        ensure!(
            reply.status == 422 && reply.code() == "INVALID_FRAME",
            "{}",
            reply.body
        );
    }
    let mut newer = good.clone();
    newer[4] = 200;
    let reply = sender.send(&newer).await?;
    ensure!(
        reply.code() == "UNSUPPORTED_FRAME_VERSION",
        "{}",
        reply.body
    );
    ensure!(
        reply.body.contains("200"),
        "the version is not named: {}",
        reply.body
    );

    let stranger = Sender {
        agent_id: AgentId::new(Uuid::new_v4()),
        ..sender.clone()
    };
    let reply = stranger.send(&good).await?;
    ensure!(
        reply.status == 422,
        "another agent's frame: {} {}",
        reply.status,
        reply.body
    );
    let unknown = stranger.clone().first(1)?;
    let reply = stranger.send(&unknown).await?;
    ensure!(
        reply.status == 404 && reply.code() == "AGENT_NOT_FOUND",
        "{}",
        reply.body
    );

    check(&sender.send(&good).await?, 200, "applied", "")?;
    ensure!(sender.counted().await? == 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_collector_forgets_no_frame() -> Result<()> {
    let mut system = System::start("").await?;
    let mut sender = Sender::register(system.collector.api()).await?;
    for round in 1..=5_u64 {
        let frame = sender.seal(round)?;
        check(&sender.send(&frame).await?, 200, "applied", "")?;
        system.collector.kill()?;
        system.collector.start_again().await?;
        check(&sender.send(&frame).await?, 200, "duplicate", "")?;
    }
    ensure!(sender.counted().await? == 15);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_need_a_key_for_agents() -> Result<()> {
    let system = System::start("").await?;
    let mut sender = Sender::register(system.collector.api()).await?;
    let frame = sender.seal(3)?;
    let scopes = json!({"name": "reader", "scopes": ["read", "write", "ingest"]});
    let reader = system.collector.api().create("/v1/keys", &scopes).await?;
    for (key, status) in [
        (None, 401),
        (Some("smk_wrong"), 401),
        (reader["key"].as_str(), 403),
    ] {
        let denied = Sender {
            api: sender.api.with_key(key),
            ..sender.clone()
        };
        let reply = denied.send(&frame).await?;
        ensure!(reply.status == status, "{} {}", reply.status, reply.body);
    }
    check(&sender.send(&frame).await?, 200, "applied", "")
}

/// An agent by hand.
#[derive(Clone)]
struct Sender {
    api: Api,
    agent_id: AgentId,
    state_nonce: Uuid,
    epoch: u64,
    last: Position,
    meter: MeterId,
    minute: Timestamp,
    accepted: u64,
}

impl Sender {
    async fn register(api: &Api) -> Result<Self> {
        let definition = builders::meter("Calls", "call", "count", "", "call");
        let meter = builders::create_meter(api, &definition).await?;
        let sender = Self {
            api: api.clone(),
            agent_id: AgentId::new(Uuid::new_v4()),
            state_nonce: Uuid::new_v4(),
            epoch: 0,
            last: Position::default(),
            meter: MeterId::new(meter)?,
            minute: SystemClock.now().truncate_to_minute(),
            accepted: 0,
        };
        sender.register_again().await
    }

    async fn register_again(&self) -> Result<Self> {
        let request = json!({
            "agent_id": self.agent_id,
            "state_nonce": self.state_nonce,
            "boot_id": Uuid::new_v4(),
            "agent_version": "by hand",
            "catalog_version": 0,
            "acknowledged": self.last,
            "sealed": self.last,
            "watermark": self.minute,
        });
        let reply = self.api.create("/v1/agents/register", &request).await?;
        let epoch = reply["epoch"].as_u64().with_context(|| reply.to_string())?;
        ensure!(epoch > self.epoch, "the epoch does not grow: {reply}");
        Ok(Self {
            epoch,
            ..self.clone()
        })
    }

    /// Seals the next frame: `events` calls of one customer in one minute.
    fn seal(&mut self, events: u64) -> Result<Vec<u8>> {
        self.accepted += events;
        let row = Row {
            customer_id: CustomerId::new("acme")?,
            meter_id: self.meter.clone(),
            group: Group::none(),
            window: self.minute.window(),
            partial: Partial {
                events,
                non_numeric: 0,
                state: State::Count,
            },
        };
        let rows = vec![row];
        let header = FrameHeader {
            agent_id: self.agent_id,
            epoch: self.epoch,
            seq: self.last.seq + 1,
            previous: self.last.digest,
            sealed_at: SystemClock.now(),
            watermark: self.minute,
            farewell: false,
            catalog_version: 1,
            receipts: Receipts {
                received: self.accepted,
                accepted: self.accepted,
                matched: self.accepted,
                ..Receipts::default()
            },
            reach: Reach::default(),
            meter_events: events_by_meter(&rows)?,
        };
        let (bytes, digest) = encode_frame(&Frame { header, rows })?;
        self.last = Position {
            seq: self.last.seq + 1,
            digest,
        };
        Ok(bytes)
    }

    /// Seals frame 1 as an agent that has sent nothing yet.
    fn first(mut self, events: u64) -> Result<Vec<u8>> {
        self.last = Position {
            seq: 0,
            digest: Digest::ZERO,
        };
        self.seal(events)
    }

    async fn send(&self, frame: &[u8]) -> Result<Reply> {
        let path = format!("/v1/agents/{}/frames?epoch={}", self.agent_id, self.epoch);
        let bytes = Some("application/octet-stream");
        self.api
            .send(Method::POST, &path, bytes, frame.to_vec())
            .await
    }

    /// Events the collector has counted.
    async fn counted(&self) -> Result<u64> {
        let path = format!(
            "/v1/usage?customer_id=acme&meter_id={}",
            self.meter.as_str()
        );
        let usage = self.api.fetch(&path).await?;
        let item = usage["items"].get(0).with_context(|| usage.to_string())?;
        ensure!(
            item["quantity"] == json!(item["events"].to_string()),
            "{item}"
        );
        item["events"].as_u64().context("events")
    }
}

fn check(reply: &Reply, status: u16, result: &str, code: &str) -> Result<()> {
    let body: Value = reply.json()?;
    ensure!(
        reply.status == status,
        "expected {status} {result}: {} {body}",
        reply.status
    );
    ensure!(body["result"] == result, "expected {result}: {body}");
    ensure!(reply.code() == code, "expected {code}: {body}");
    Ok(())
}
