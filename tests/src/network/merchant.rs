//! A merchant's service that is asked to charge: it takes money once for each key, and is as unreliable as it is told to be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::http::{Inbound, header};

/// How the service behaves.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Manner {
    /// It takes the money and says so.
    Prompt,
    /// It takes the money, and never answers.
    TakesAndHangs,
    /// It does nothing, and never answers.
    Hangs,
    /// Any of these by chance, and refusals; the number is in ten.
    Moody,
}

/// What was asked for under one key.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The invoice that it is for.
    pub invoice_id: String,
    /// Minor units that were taken; none while nothing was.
    pub taken: Option<i64>,
    /// Each request's body.
    pub bodies: Vec<Vec<u8>>,
    /// Whether it was refused, which is final.
    refused: bool,
}

#[derive(Debug)]
struct State {
    manner: Manner,
    asked: BTreeMap<String, Asked>,
    chance: fastrand::Rng,
}

/// A running service; it ends with the handle.
#[derive(Debug)]
pub struct Merchant {
    state: Arc<Mutex<State>>,
    url: String,
    accepting: tokio::task::JoinHandle<()>,
}

/// What the service does with one request.
enum Act {
    Answer(&'static str),
    CutOff,
    Hang,
}

impl Merchant {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(manner: Manner, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/charge", listener.local_addr()?);
        let state = Arc::new(Mutex::new(State {
            manner,
            asked: BTreeMap::new(),
            chance: fastrand::Rng::with_seed(seed),
        }));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self {
            state,
            url,
            accepting,
        })
    }

    /// Where it is asked.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lets it behave so from the next request on.
    pub fn behave(&self, manner: Manner) {
        lock(&self.state).manner = manner;
    }

    /// Everything that was asked for, by key.
    #[must_use]
    pub fn asked(&self) -> BTreeMap<String, Asked> {
        lock(&self.state).asked.clone()
    }
}

impl Drop for Merchant {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        // A connection that breaks is a killed collector.
        tokio::spawn(serve(stream, Arc::clone(&state)));
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) -> Result<()> {
    let mut inbound = Inbound::new(stream);
    while let Some(request) = inbound.request().await? {
        let (head, body) = request.bytes.split_at(request.head);
        let key = header(head, "idempotency-key").context("a key")?;
        let act = decide(&mut lock(&state), key, body)?;
        match act {
            Act::Answer(status) => {
                let reply = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{status}",
                    status.len()
                );
                inbound.stream().write_all(reply.as_bytes()).await?;
            }
            Act::CutOff => return Ok(()),
            Act::Hang => std::future::pending().await,
        }
    }
    Ok(())
}

fn decide(state: &mut State, key: &str, body: &[u8]) -> Result<Act> {
    let request: Value = serde_json::from_slice(body)?;
    let data = &request["data"];
    let amount = data["amount"].as_i64().context("an amount")?;
    let invoice = data["invoice_id"].as_str().context("an invoice")?;
    let chance = state.chance.u8(0..10);
    let manner = state.manner;
    let asked = state.asked.entry(key.to_owned()).or_insert_with(|| Asked {
        invoice_id: invoice.to_owned(),
        taken: None,
        bodies: Vec::new(),
        refused: false,
    });
    asked.bodies.push(body.to_vec());
    if manner == Manner::Hangs {
        return Ok(Act::Hang);
    }
    if manner == Manner::Moody && chance < 2 {
        return Ok(Act::CutOff);
    }
    if asked.taken.is_none() && (asked.refused || manner == Manner::Moody && chance < 5) {
        asked.refused = true;
        return Ok(Act::Answer(r#"{"status":"failed","reason":"declined"}"#));
    }
    asked.taken = Some(amount);
    match manner {
        Manner::TakesAndHangs => Ok(Act::Hang),
        Manner::Moody if chance < 7 => Ok(Act::CutOff),
        _ => Ok(Act::Answer(r#"{"status":"succeeded"}"#)),
    }
}
