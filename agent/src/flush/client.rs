//! The collector as seen from an agent: register, send a frame, read the catalog.
//!
//! A call ends in a reply or in a [`CallError`] that says what the flusher does next. One connection is kept open and
//! reused. Replies are read within a bound, and a reply that is cut off is a call nobody knows the outcome of: the frame is
//! sent again and the collector answers `duplicate`. So is one that answers another call: each call has a name, which its
//! reply must carry, or an old acknowledgement would be taken for a new one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use submeter_common::id::AgentId;
use submeter_common::protocol::{CALL_HEADER, Catalog, FrameReply, RegisterReply, RegisterRequest};
use thiserror::Error;
use uuid::Uuid;

use super::retry_after::retry_after;
use super::transport::{Transport, chain};
use crate::budget::Budget;
use crate::config::{NO_COLLECTOR, Secret};
use crate::tls::TlsFiles;

/// Longest reply: a catalog of many thousand meters.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// Longest part of a foreign error page that is quoted.
const QUOTE_CHARS_MAX: usize = 200;

/// Why a call brought no reply, by what to do next.
#[derive(Clone, Debug, Error)]
pub enum CallError {
    /// There is no collector: frames leave by `export`.
    #[error("there is no collector: frames leave by `submeter-agent export`")]
    NoCollector,
    /// There is no key to show. Waits for one.
    #[error("no key for the collector: {0}")]
    NoKey(String),
    /// The collector was not reached, or its reply was cut off. Tried again with growing waits.
    #[error("the collector cannot be reached: {0}")]
    Unreachable(String),
    /// A reply came, but not to this call. Tried again over another connection.
    #[error("something on the way to the collector mixes up replies: {0}")]
    Misdelivered(String),
    /// The collector asks to come back later.
    #[error("the collector is busy: {message}")]
    Busy {
        /// The wait it named.
        retry_after: Option<Duration>,
        /// What it said.
        message: String,
    },
    /// The key is unknown, revoked or lacks the scope `agent`. Tried again with the key file read anew.
    #[error("the collector refused the key: {0}")]
    KeyRefused(String),
    /// The collector does not know this agent: register again.
    #[error("the collector does not know this agent")]
    UnknownAgent,
    /// The collector refuses this call for good, or something else answers in its place. A person is needed; tried again
    /// in case one came.
    #[error("the collector refused: {status} {code}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its error code.
        code: String,
        /// What it said.
        message: String,
    },
}

impl CallError {
    /// The cause as a metric's label.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::NoCollector => "no_collector",
            Self::NoKey(_) => "no_key",
            Self::Unreachable(_) => "unreachable",
            Self::Misdelivered(_) => "misdelivered",
            Self::Busy { .. } => "busy",
            Self::KeyRefused(_) => "key_refused",
            Self::UnknownAgent => "unknown_agent",
            Self::Refused { .. } => "refused",
        }
    }
}

/// Where the key comes from. Files are read at each call, so that a rotated key is used without a restart.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// From the environment.
    Fixed(Secret),
    /// From a file.
    File(PathBuf),
    /// No key: a client certificate says who this is.
    Certificate,
    /// Nowhere.
    Missing,
}

impl KeySource {
    fn read(&self) -> Result<Option<Secret>, CallError> {
        match self {
            Self::Fixed(key) => Ok(Some(key.clone())),
            Self::File(path) => Secret::read(path).map(Some).map_err(CallError::NoKey),
            Self::Certificate => Ok(None),
            Self::Missing => Err(CallError::NoKey(
                "set key_file (--key-file) or SUBMETER_AGENT_KEY".to_owned(),
            )),
        }
    }
}

/// A client of one collector.
#[derive(Clone, Debug)]
pub struct CollectorClient {
    transport: Transport,
    /// None: the agent has no collector.
    base: Option<String>,
    key: KeySource,
    /// A connection that brought a foreign reply is out of step: until a call is answered rightly, none is used twice.
    out_of_step: Arc<AtomicBool>,
}

/// A call and the name its reply must carry.
struct Call {
    request: RequestBuilder,
    name: String,
}

impl CollectorClient {
    /// A client for the collector at `base`; a path prefix in it is kept. A call takes at most `timeout`. The error is a fault
    /// of the TLS set-up.
    pub fn new(
        base: &str,
        key: KeySource,
        timeout: Duration,
        tls: TlsFiles,
    ) -> Result<Self, String> {
        Ok(Self {
            transport: Transport::new(base, timeout, tls)?,
            base: (base != NO_COLLECTOR).then(|| base.trim_end_matches('/').to_owned()),
            key,
            out_of_step: Arc::default(),
        })
    }

    /// Whether there is a collector at all.
    pub(crate) fn has_collector(&self) -> bool {
        self.base.is_some()
    }

    /// Says who the agent is and how far it came; the reply opens a session.
    pub async fn register(&self, request: &RegisterRequest) -> Result<RegisterReply, CallError> {
        let mut call = self.call(Method::POST, "/v1/agents/register")?;
        call.request = call.request.json(request);
        let response = self.send(call).await?;
        if response.status() == StatusCode::OK {
            read(response).await
        } else {
            Err(refusal(response).await)
        }
    }

    /// Sends one frozen frame. Refusals that carry a position (`gap`, `fenced`, `fork`) are replies, not errors.
    pub async fn send_frame(
        &self,
        agent: &AgentId,
        epoch: u64,
        bytes: Vec<u8>,
    ) -> Result<FrameReply, CallError> {
        let path = format!("/v1/agents/{agent}/frames?epoch={epoch}");
        let mut call = self.call(Method::POST, &path)?;
        call.request = call
            .request
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(bytes);
        let response = self.send(call).await?;
        match response.status() {
            StatusCode::OK | StatusCode::CONFLICT => read(response).await,
            _ => Err(refusal(response).await),
        }
    }

    /// The catalog in force.
    pub async fn catalog(&self) -> Result<Catalog, CallError> {
        let response = self.send(self.call(Method::GET, "/v1/catalog")?).await?;
        if response.status() == StatusCode::OK {
            read(response).await
        } else {
            Err(refusal(response).await)
        }
    }

    fn call(&self, method: Method, path: &str) -> Result<Call, CallError> {
        let base = self.base.as_deref().ok_or(CallError::NoCollector)?;
        let key = self.key.read()?;
        let name = Uuid::new_v4().to_string();
        let mut request = self
            .transport
            .client()
            .request(method, format!("{base}{path}"))
            .header(CALL_HEADER, &name);
        if let Some(key) = key {
            let mut authorization = HeaderValue::try_from(format!("Bearer {}", key.expose()))
                .map_err(|_| CallError::NoKey("the key cannot stand in a header".to_owned()))?;
            authorization.set_sensitive(true);
            request = request.header(AUTHORIZATION, authorization);
        }
        if self.out_of_step.load(Ordering::Relaxed) {
            request = request.header(CONNECTION, "close");
        }
        Ok(Call { request, name })
    }

    /// Sends a call. What only the collector can say is believed only in the reply to this very call; that somebody on the
    /// way is busy, anybody may say.
    async fn send(&self, call: Call) -> Result<Response, CallError> {
        let response = call.request.send().await.map_err(|error| {
            if error.is_timeout() {
                Budget::CollectorTimeout.hit();
            }
            CallError::Unreachable(chain(&error))
        })?;
        let status = response.status();
        let told = response.headers().get(CALL_HEADER);
        let strayed = told.map_or(
            status.is_success() || status == StatusCode::CONFLICT,
            |told| told.as_bytes() != call.name.as_bytes(),
        );
        self.out_of_step.store(strayed, Ordering::Relaxed);
        if !strayed {
            return Ok(response);
        }
        let told = told.map_or_else(|| "no call".to_owned(), |told| format!("call {told:?}"));
        Err(CallError::Misdelivered(format!(
            "a reply of status {status} names {told}, expected call {}",
            call.name
        )))
    }
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, CallError> {
    let status = response.status().as_u16();
    let body = read_bytes(response).await?;
    serde_json::from_slice(&body).map_err(|error| CallError::Refused {
        status,
        code: "UNEXPECTED_REPLY".to_owned(),
        message: format!(
            "this is not a collector's reply ({error}): {}",
            quote(&body)
        ),
    })
}

async fn read_bytes(mut response: Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) if body.len() + piece.len() <= REPLY_BYTES_MAX => {
                body.extend_from_slice(&piece)
            }
            Ok(Some(_)) => {
                return Err(CallError::Unreachable(
                    "the reply is longer than any catalog".to_owned(),
                ));
            }
            Ok(None) => return Ok(body),
            Err(error) => {
                return Err(CallError::Unreachable(format!(
                    "the reply was cut off: {}",
                    chain(&error)
                )));
            }
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    code: String,
    message: String,
}

async fn refusal(response: Response) -> CallError {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let body = match read_bytes(response).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    let error: ErrorBody = serde_json::from_slice(&body).unwrap_or_default();
    let message = if error.message.is_empty() {
        quote(&body)
    } else {
        error.message
    };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => CallError::KeyRefused(message),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => CallError::Busy {
            retry_after,
            message,
        },
        status if status.is_server_error() => CallError::Busy {
            retry_after,
            message: format!("{status}: {message}"),
        },
        StatusCode::NOT_FOUND if error.code == "AGENT_NOT_FOUND" => CallError::UnknownAgent,
        status => CallError::Refused {
            status: status.as_u16(),
            code: error.code,
            message,
        },
    }
}

fn quote(body: &[u8]) -> String {
    String::from_utf8_lossy(body)
        .chars()
        .filter(|c| !c.is_control())
        .take(QUOTE_CHARS_MAX)
        .collect()
}
