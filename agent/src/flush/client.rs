//! The collector as seen from an agent: register, send a frame, read the catalog.
//!
//! A call ends in a reply or in a [`CallError`] that says what the flusher does next. One connection is kept open and
//! reused. Replies are read within a bound, and a reply that is cut off is a call nobody knows the outcome of: the frame is
//! sent again and the collector answers `duplicate`.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use submeter_common::id::AgentId;
use submeter_common::protocol::{Catalog, FrameReply, RegisterReply, RegisterRequest};
use thiserror::Error;

use crate::config::Secret;

/// Time to reach the collector.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a whole call. The largest frame is 16 MiB: it fits into a minute on a line of 3 Mbit/s.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest reply: a catalog of many thousand meters.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// Longest part of a foreign error page that is quoted.
const QUOTE_CHARS_MAX: usize = 200;

/// Why a call brought no reply, by what to do next.
#[derive(Clone, Debug, Error)]
pub enum CallError {
    /// There is no key to show. Waits for one.
    #[error("no key for the collector: {0}")]
    NoKey(String),
    /// The collector was not reached, or its reply was cut off. Tried again with growing waits.
    #[error("the collector cannot be reached: {0}")]
    Unreachable(String),
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
            Self::NoKey(_) => "no_key",
            Self::Unreachable(_) => "unreachable",
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
    /// Nowhere.
    Missing,
}

impl KeySource {
    fn read(&self) -> Result<Secret, CallError> {
        match self {
            Self::Fixed(key) => Ok(key.clone()),
            Self::File(path) => Secret::read(path).map_err(CallError::NoKey),
            Self::Missing => Err(CallError::NoKey(
                "set key_file (--key-file) or SUBMETER_AGENT_KEY".to_owned(),
            )),
        }
    }
}

/// A client of one collector.
#[derive(Clone, Debug)]
pub struct CollectorClient {
    http: reqwest::Client,
    base: String,
    key: KeySource,
}

impl CollectorClient {
    /// A client for the collector at `base`; a path prefix in it is kept. The error is a fault of the TLS set-up.
    pub fn new(base: &str, key: KeySource) -> Result<Self, String> {
        let http = crate::tls::client_builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .build()
            .map_err(|error| chain(&error))?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            key,
        })
    }

    /// Says who the agent is and how far it came; the reply opens a session.
    pub async fn register(&self, request: &RegisterRequest) -> Result<RegisterReply, CallError> {
        let call = self
            .call(Method::POST, "/v1/agents/register")?
            .json(request);
        let response = send(call).await?;
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
        let call = self.call(
            Method::POST,
            &format!("/v1/agents/{agent}/frames?epoch={epoch}"),
        )?;
        let call = call
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(bytes);
        let response = send(call).await?;
        match response.status() {
            StatusCode::OK | StatusCode::CONFLICT => read(response).await,
            _ => Err(refusal(response).await),
        }
    }

    /// The catalog in force.
    pub async fn catalog(&self) -> Result<Catalog, CallError> {
        let response = send(self.call(Method::GET, "/v1/catalog")?).await?;
        if response.status() == StatusCode::OK {
            read(response).await
        } else {
            Err(refusal(response).await)
        }
    }

    fn call(&self, method: Method, path: &str) -> Result<RequestBuilder, CallError> {
        let key = self.key.read()?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", key.expose()))
            .map_err(|_| CallError::NoKey("the key cannot stand in a header".to_owned()))?;
        authorization.set_sensitive(true);
        Ok(self
            .http
            .request(method, format!("{}{path}", self.base))
            .header(AUTHORIZATION, authorization))
    }
}

async fn send(call: RequestBuilder) -> Result<Response, CallError> {
    call.send()
        .await
        .map_err(|error| CallError::Unreachable(chain(&error)))
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
    let retry_after = response.headers().get(RETRY_AFTER).and_then(retry_after);
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

/// Seconds only: the date form would compare two clocks.
fn retry_after(header: &HeaderValue) -> Option<Duration> {
    header
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

fn quote(body: &[u8]) -> String {
    String::from_utf8_lossy(body)
        .chars()
        .filter(|c| !c.is_control())
        .take(QUOTE_CHARS_MAX)
        .collect()
}

/// An error with all its causes on one line: reqwest's own says only that sending failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
