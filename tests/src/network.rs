//! The network on a bad day: a proxy between two processes that does to requests and replies what networks and their
//! boxes do.
//!
//! [`Proxy`] reads whole requests and decides for each, by a seeded draw, what becomes of it: see [`Fault`]. It keeps one
//! connection per client and opens one to the server for each request, so that every fault is that of one request.
//! [`fleet`] is the other side of a bad day: hundreds of agents that come back at one moment. [`Merchant`] is a service that is
//! asked for money and has bad days of its own.

pub mod fleet;
mod http;
mod merchant;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use http::{Inbound, Message};
pub use merchant::{Asked, Manner, Merchant};

/// Longest delay of a request or a reply.
const DELAY_MAX_MILLIS: u64 = 150;

/// How long a request that goes nowhere is held: longer than the patience its sender is given in tests.
const BLACK_HOLE: Duration = Duration::from_secs(3);

/// Requests and replies that may come up again later.
const OLD_KEPT: usize = 16;

/// What becomes of a request or of its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The connection breaks before the server sees anything.
    CutBeforeRequest,
    /// The server gets a part of the request, then the connection breaks.
    CutInRequest,
    /// The server does its work, and the connection breaks within the head of the reply.
    CutInReply,
    /// The head of the reply arrives whole and promises more than comes.
    TruncatedReply,
    /// Both take their time.
    Delay,
    /// The server gets the request twice; the client gets the second reply.
    Duplicate,
    /// The server gets an old request once more before this one.
    OldRequest,
    /// The server never gets the request; the client gets the reply to an old one.
    OldReply,
    /// Nothing comes back until the client has given up.
    BlackHole,
}

impl Fault {
    /// Every fault that a client can tell from a reply, or that does it no harm.
    pub const HONEST: [Fault; 8] = [
        Fault::CutBeforeRequest,
        Fault::CutInRequest,
        Fault::CutInReply,
        Fault::TruncatedReply,
        Fault::Delay,
        Fault::Duplicate,
        Fault::OldRequest,
        Fault::BlackHole,
    ];

    /// Those, and replies that lie: only a client whose replies name their requests notices.
    pub const ALL: [Fault; 9] = [
        Fault::CutBeforeRequest,
        Fault::CutInRequest,
        Fault::CutInReply,
        Fault::TruncatedReply,
        Fault::Delay,
        Fault::Duplicate,
        Fault::OldRequest,
        Fault::OldReply,
        Fault::BlackHole,
    ];
}

/// A proxy in front of one server; it ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    upstream: String,
    weather: Mutex<Weather>,
}

#[derive(Debug)]
struct Weather {
    faults: Vec<Fault>,
    random: fastrand::Rng,
    happened: BTreeMap<Fault, u64>,
    old: Vec<(Message, Message)>,
}

impl Proxy {
    /// A proxy to the server at `upstream` (such as `http://127.0.0.1:7700`) in calm weather; `seed` decides what the storms
    /// to come will do.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(upstream: &str, seed: u64) -> Result<Self> {
        println!("the network in front of {upstream} has the seed {seed}");
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            upstream: upstream.trim_start_matches("http://").to_owned(),
            weather: Mutex::new(Weather {
                faults: Vec::new(),
                random: fastrand::Rng::with_seed(seed),
                happened: BTreeMap::new(),
                old: Vec::new(),
            }),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            accepting,
        })
    }

    /// The base URL that clients use.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on every other request meets one of `faults`; none: calm weather.
    pub fn storm(&self, faults: &[Fault]) {
        self.state.weather().faults = faults.to_vec();
    }

    /// How often a fault has happened.
    #[must_use]
    pub fn happened(&self, fault: Fault) -> u64 {
        let weather = self.state.weather();
        weather.happened.get(&fault).copied().unwrap_or_default()
    }

    /// Makes sure that each of `faults` has happened, or the test has tested nothing.
    ///
    /// # Errors
    /// Names those that have not.
    pub fn has_seen(&self, faults: &[Fault]) -> Result<()> {
        let mut unseen = faults.to_vec();
        unseen.retain(|fault| self.happened(*fault) == 0);
        ensure!(unseen.is_empty(), "these never happened: {unseen:?}");
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws what becomes of the next request. What needs an old request or reply becomes a delay while there is none.
    fn draw(&self) -> Option<Fault> {
        let mut weather = self.weather();
        let Weather { faults, random, .. } = &mut *weather;
        if faults.is_empty() || random.bool() {
            return None;
        }
        let drawn = random.choice(faults.iter().copied())?;
        let needs_old = matches!(drawn, Fault::OldRequest | Fault::OldReply);
        let fault = if needs_old && weather.old.is_empty() {
            Fault::Delay
        } else {
            drawn
        };
        *weather.happened.entry(fault).or_default() += 1;
        Some(fault)
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(self.weather().random.u64(0..=DELAY_MAX_MILLIS))
    }

    /// A place within a message to break it at.
    fn place(&self, length: usize) -> usize {
        self.weather().random.usize(0..length.max(1))
    }

    fn old(&self) -> Result<(Message, Message)> {
        let mut weather = self.weather();
        let Weather { old, random, .. } = &mut *weather;
        random.choice(old.iter()).cloned().context("an old request")
    }

    fn keep(&self, request: &Message, reply: &Message) {
        let mut weather = self.weather();
        let kept = (request.clone(), reply.clone());
        if weather.old.len() < OLD_KEPT {
            weather.old.push(kept);
        } else {
            let place = weather.random.usize(0..OLD_KEPT);
            weather.old[place] = kept;
        }
    }

    /// Hands a request to the server; its reply.
    async fn forward(&self, request: &Message) -> Result<Message> {
        let mut server = Inbound::new(TcpStream::connect(&self.upstream).await?);
        server.stream().write_all(&request.bytes).await?;
        server.reply().await
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            // An error is a cut like any other: the connection ends.
            let _ = serve(client, &state).await;
        });
    }
}

async fn serve(client: TcpStream, state: &State) -> Result<()> {
    let mut client = Inbound::new(client);
    while let Some(request) = client.request().await? {
        let reply = match state.draw() {
            None => state.forward(&request).await?,
            Some(fault) => meet(fault, &request, &mut client, state).await?,
        };
        client.stream().write_all(&reply.bytes).await?;
        state.keep(&request, &reply);
    }
    Ok(())
}

/// Lets a request meet a fault; the reply that reaches the client, or the error with which its connection ends.
async fn meet(
    fault: Fault,
    request: &Message,
    client: &mut Inbound,
    state: &State,
) -> Result<Message> {
    match fault {
        Fault::CutBeforeRequest => anyhow::bail!("cut before the request"),
        Fault::CutInRequest => {
            let mut server = TcpStream::connect(&state.upstream).await?;
            let part = state.place(request.bytes.len());
            server.write_all(&request.bytes[..part]).await?;
            anyhow::bail!("cut in the request")
        }
        Fault::CutInReply => {
            let reply = state.forward(request).await?;
            let part = state.place(reply.head);
            client.stream().write_all(&reply.bytes[..part]).await?;
            anyhow::bail!("cut in the reply")
        }
        Fault::TruncatedReply => {
            let reply = state.forward(request).await?;
            let part = reply.head + state.place(reply.bytes.len() - reply.head);
            client.stream().write_all(&reply.bytes[..part]).await?;
            anyhow::bail!("a reply cut short")
        }
        Fault::Delay => {
            tokio::time::sleep(state.delay()).await;
            let reply = state.forward(request).await?;
            tokio::time::sleep(state.delay()).await;
            Ok(reply)
        }
        Fault::Duplicate => {
            state.forward(request).await?;
            state.forward(request).await
        }
        Fault::OldRequest => {
            let (old, _) = state.old()?;
            state.forward(&old).await?;
            state.forward(request).await
        }
        Fault::OldReply => Ok(state.old()?.1),
        Fault::BlackHole => {
            tokio::time::sleep(BLACK_HOLE).await;
            anyhow::bail!("nothing ever came back")
        }
    }
}
