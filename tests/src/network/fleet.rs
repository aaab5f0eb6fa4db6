//! Agents by the hundred that speak the protocol without being processes: what a collector meets after an outage.
//!
//! Each member registers and sends its frames over one kept connection, in order, one in flight, and does with each answer
//! what an agent does: waits as it is told, registers again, tries again after a cut. Frames are those of the product's own
//! codec; what they hold is known, so that the totals can be checked to the last event.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use submeter_common::aggregate::{Group, Partial, State};
use submeter_common::id::{AgentId, CustomerId, MeterId};
use submeter_common::protocol::{
    Frame, FrameHeader, Position, Reach, Receipts, Row, encode_frame, events_by_meter,
};
use submeter_common::time::{Clock, SystemClock, Timestamp};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::http::{Inbound, Message, header};
use crate::system::Api;

/// Ceiling of a member's wait after its first cut; it doubles with each.
const BACKOFF: Duration = Duration::from_millis(250);
/// No wait after a cut is longer.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A member that is not done by then never will be.
const GIVE_UP: Duration = Duration::from_secs(300);
/// A call without an answer by then is tried again.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Agents that are driven together.
#[derive(Debug)]
pub struct Fleet {
    members: Vec<Member>,
    meter: MeterId,
    customers: usize,
}

/// One agent.
#[derive(Debug)]
struct Member {
    number: usize,
    agent_id: AgentId,
    state_nonce: Uuid,
    sealed: Position,
    acknowledged: Position,
    /// Frames not acknowledged yet, oldest first.
    outbox: Vec<(Position, Vec<u8>)>,
    accepted: u64,
    random: fastrand::Rng,
}

/// What it took to bring everything in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Frames acknowledged.
    pub frames: u64,
    /// Answers 429 and 503.
    pub refusals: u64,
    /// Connections that broke or could not be made.
    pub cuts: u64,
    /// Registers.
    pub registers: u64,
    /// The longest a single call took to be answered.
    pub slowest: Duration,
}

impl Report {
    fn add(&mut self, other: Report) {
        self.frames += other.frames;
        self.refusals += other.refusals;
        self.cuts += other.cuts;
        self.registers += other.registers;
        self.slowest = self.slowest.max(other.slowest);
    }
}

impl Fleet {
    /// `members` agents that count calls of `customers` customers by `meter`; `seed` decides their jitter.
    ///
    /// # Errors
    /// When `meter` is no id.
    pub fn new(members: usize, customers: usize, meter: &str, seed: u64) -> Result<Self> {
        let mut random = fastrand::Rng::with_seed(seed);
        let member = |number| Member {
            number,
            agent_id: AgentId::new(Uuid::new_v4()),
            state_nonce: Uuid::new_v4(),
            sealed: Position::default(),
            acknowledged: Position::default(),
            outbox: Vec::new(),
            accepted: 0,
            random: random.fork(),
        };
        Ok(Self {
            members: (0..members).map(member).collect(),
            meter: MeterId::new(meter)?,
            customers,
        })
    }

    /// Every member seals a frame of `rows` customers for the minute `at`, each with one event more than the one before.
    ///
    /// # Errors
    /// When a frame cannot be encoded.
    pub fn seal(&mut self, rows: usize, at: Timestamp) -> Result<()> {
        let (customers, meter) = (self.customers, self.meter.clone());
        for member in &mut self.members {
            member.seal(rows, customers, &meter, at)?;
        }
        Ok(())
    }

    /// All members come at one moment and bring what they have sealed.
    ///
    /// # Errors
    /// When one of them cannot bring it, or is told something that no good collector says.
    pub async fn come_back(&mut self, api: &Api) -> Result<Report> {
        let address = api.base().trim_start_matches("http://").to_owned();
        let key = api.key().unwrap_or_default().to_owned();
        let mut running = JoinSet::new();
        for mut member in self.members.drain(..) {
            let (address, key) = (address.clone(), key.clone());
            running.spawn(async move {
                let report = member.bring_everything(&address, &key).await;
                (member, report)
            });
        }
        let mut report = Report::default();
        // Like an agent's, a member's connection stays open when there is nothing to say.
        let mut kept = Vec::new();
        while let Some(done) = running.join_next().await {
            let (member, brought) = done?;
            let (brought, connection) =
                brought.with_context(|| format!("member {}", member.number))?;
            report.add(brought);
            kept.push(connection);
            self.members.push(member);
        }
        self.members.sort_unstable_by_key(|member| member.number);
        Ok(report)
    }

    /// Events that the collector must have counted in all.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.members.iter().map(|member| member.accepted).sum()
    }
}

/// How a call ended that did not end well.
enum Trouble {
    /// Wait that long and send the same again.
    Busy(Duration),
    /// The connection is gone.
    Cut,
    /// The session is over.
    Register,
    /// No good collector says that.
    Wrong(anyhow::Error),
}

impl Member {
    fn seal(
        &mut self,
        rows: usize,
        customers: usize,
        meter: &MeterId,
        at: Timestamp,
    ) -> Result<()> {
        let row = |index: usize| {
            let events = u64::try_from(index)? + 1;
            anyhow::Ok(Row {
                customer_id: CustomerId::new(format!("c{}", (self.number + index) % customers))?,
                meter_id: meter.clone(),
                group: Group::none(),
                window: at.window(),
                partial: Partial {
                    events,
                    non_numeric: 0,
                    state: State::Count,
                },
            })
        };
        let rows = (0..rows).map(row).collect::<Result<Vec<_>>>()?;
        self.accepted += rows.iter().map(|row| row.partial.events).sum::<u64>();
        let header = FrameHeader {
            agent_id: self.agent_id,
            epoch: 0,
            seq: self.sealed.seq + 1,
            previous: self.sealed.digest,
            sealed_at: SystemClock.now(),
            watermark: at,
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
        let seq = self.sealed.seq + 1;
        self.sealed = Position { seq, digest };
        self.outbox.push((self.sealed, bytes));
        Ok(())
    }

    /// Brings what is in the outbox, with as many tries as it takes; the connection that it ended with.
    async fn bring_everything(
        &mut self,
        address: &str,
        key: &str,
    ) -> Result<(Report, Option<Inbound>)> {
        let deadline = Instant::now() + GIVE_UP;
        let mut report = Report::default();
        let mut cuts_in_a_row = 0;
        loop {
            let wait = match self.session(address, key, &mut report).await {
                Ok(connection) => return Ok((report, connection)),
                Err(Trouble::Busy(wait)) => {
                    cuts_in_a_row = 0;
                    report.refusals += 1;
                    // A fleet that is told the same second does not return in it together.
                    wait + wait.mul_f64(self.random.f64() / 4.0)
                }
                Err(Trouble::Cut) => {
                    report.cuts += 1;
                    cuts_in_a_row = (cuts_in_a_row + 1).min(10);
                    let ceiling = BACKOFF.saturating_mul(1 << cuts_in_a_row).min(BACKOFF_MAX);
                    ceiling.mul_f64(self.random.f64())
                }
                Err(Trouble::Register) => Duration::ZERO,
                Err(Trouble::Wrong(error)) => return Err(error),
            };
            ensure!(
                Instant::now() < deadline,
                "gave up with {} frames left after {report:?}",
                self.outbox.len()
            );
            tokio::time::sleep(wait).await;
        }
    }

    /// One session: register, then every frame.
    async fn session(
        &mut self,
        address: &str,
        key: &str,
        report: &mut Report,
    ) -> Result<Option<Inbound>, Trouble> {
        let mut line = Line {
            connection: None,
            host: address,
            key,
        };
        let registered = line
            .call("/v1/agents/register", "application/json", &self.register())
            .await;
        let registered = timed(report, registered)?;
        report.registers += 1;
        let epoch = registered["epoch"]
            .as_u64()
            .filter(|epoch| *epoch > 0)
            .with_context(|| registered.to_string())
            .map_err(Trouble::Wrong)?;
        let applied = &registered["applied"]["seq"];
        self.forget_up_to(applied.as_u64().unwrap_or_default());
        let path = format!("/v1/agents/{}/frames?epoch={epoch}", self.agent_id);
        while let Some((position, bytes)) = self.outbox.first() {
            let answered = line.call(&path, "application/octet-stream", bytes).await;
            let answer = timed(report, answered)?;
            if answer["applied"]["seq"] != position.seq {
                return Err(Trouble::Wrong(anyhow::anyhow!(
                    "frame {} was answered {answer}",
                    position.seq
                )));
            }
            report.frames += 1;
            self.forget_up_to(position.seq);
        }
        Ok(line.connection)
    }

    fn forget_up_to(&mut self, seq: u64) {
        let kept = self
            .outbox
            .partition_point(|(position, _)| position.seq <= seq);
        if let Some((last, _)) = self.outbox.drain(..kept).next_back() {
            self.acknowledged = last;
        }
    }

    fn register(&self) -> Vec<u8> {
        let request = json!({
            "agent_id": self.agent_id,
            "state_nonce": self.state_nonce,
            "boot_id": self.state_nonce,
            "agent_version": "fleet",
            "catalog_version": 0,
            "acknowledged": self.acknowledged,
            "sealed": self.sealed,
            "watermark": Timestamp::from_micros(0),
        });
        request.to_string().into_bytes()
    }
}

/// A connection to the collector, kept from call to call unless it asks to close it.
struct Line<'a> {
    connection: Option<Inbound>,
    host: &'a str,
    key: &'a str,
}

impl Line<'_> {
    /// Posts and reads the answer, and how long that took.
    async fn call(
        &mut self,
        path: &str,
        media_type: &str,
        body: &[u8],
    ) -> (Duration, Result<Value, Trouble>) {
        let started = Instant::now();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\n\r\n",
            self.host,
            self.key,
            body.len()
        );
        let reply = timely(self.exchange(head.as_bytes(), body)).await;
        (started.elapsed(), reply.and_then(|reply| judge(&reply)))
    }

    async fn exchange(&mut self, head: &[u8], body: &[u8]) -> Result<Message> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Inbound::new(TcpStream::connect(self.host).await?),
        };
        connection.stream().write_all(head).await?;
        connection.stream().write_all(body).await?;
        let reply = connection.reply().await?;
        if header(&reply.bytes[..reply.head], "connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(reply)
    }
}

fn timed(
    report: &mut Report,
    (took, answer): (Duration, Result<Value, Trouble>),
) -> Result<Value, Trouble> {
    report.slowest = report.slowest.max(took);
    answer
}

/// A call that is not answered in time is cut.
async fn timely<T, E>(call: impl Future<Output = Result<T, E>>) -> Result<T, Trouble> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) | Err(_) => Err(Trouble::Cut),
    }
}

fn judge(reply: &Message) -> Result<Value, Trouble> {
    let (head, body) = reply.bytes.split_at(reply.head);
    read(head, body).unwrap_or_else(|error| Err(Trouble::Wrong(error)))
}

fn read(head: &[u8], body: &[u8]) -> Result<Result<Value, Trouble>> {
    let text = std::str::from_utf8(head)?;
    let status: u16 = text.split(' ').nth(1).context("a status")?.parse()?;
    let answer: Value = serde_json::from_slice(body).context("a JSON body")?;
    if matches!(status, 429 | 503) {
        // Who refuses has to say for how long.
        let seconds = header(head, "retry-after").context("a Retry-After")?;
        return Ok(Err(Trouble::Busy(Duration::from_secs(seconds.parse()?))));
    }
    let result = answer["result"].as_str().unwrap_or_default();
    match (status, result) {
        (200, _) => Ok(Ok(answer)),
        (409, "fenced") => Ok(Err(Trouble::Register)),
        _ => bail!("{status}: {answer}"),
    }
}
