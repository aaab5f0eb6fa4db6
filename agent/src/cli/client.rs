//! The running agent as its commands see it: where it is, and one call at a time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::settings::Settings;
use super::{EXIT_CONFIG, EXIT_DATA, EXIT_FAILED, EXIT_NOT_FOUND, Failure};
use crate::config::{ADDRESS_FILE, Config, Secret};
use crate::inspection::Question;

/// Time for a call that does not wait on purpose.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Time for a reply that goes on for as long as somebody reads it.
const STREAM_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Which agent a command talks to.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// URL of the running agent, or unix:PATH of its socket [default: the address in DATA_DIR/agent.addr, else the listen address]
    #[arg(long, value_name = "URL")]
    agent: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// A client of the running agent.
pub(super) struct AgentClient {
    http: reqwest::Client,
    base: String,
    found_in: String,
    token: Option<Secret>,
}

/// Why a call of the agent failed.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    /// Nothing answers.
    #[error("no agent answers at {base} ({found_in}); is it running? ({problem})")]
    Unreachable {
        base: String,
        found_in: String,
        problem: String,
    },
    /// The agent refused.
    #[error("the agent answered {status} {code}: {message}")]
    Refused {
        status: u16,
        code: String,
        message: String,
        retry_after: Option<Duration>,
    },
}

impl Target {
    /// The settings.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        self.settings.load()
    }

    /// Whether a certain running agent was named, and not a state directory.
    pub(super) fn names_agent(&self) -> bool {
        self.agent.is_some() || self.settings.names_address()
    }

    /// Finds the running agent.
    pub(super) fn client(&self) -> Result<AgentClient, Failure> {
        let config = self.settings.load()?;
        let (base, found_in) = match &self.agent {
            Some(url) => (
                url.trim_end_matches('/').to_owned(),
                "from --agent".to_owned(),
            ),
            None => self.locate(&config),
        };
        let token = match &config.ingest_token_file {
            Some(path) => Some(Secret::read(path).map_err(|error| Failure {
                code: EXIT_CONFIG,
                error: anyhow::anyhow!("ingest_token_file: {error}"),
            })?),
            None => config.ingest_token,
        };
        let (base, socket) = match base.strip_prefix("unix:") {
            Some(path) => ("http://localhost".to_owned(), Some(PathBuf::from(path))),
            None => (base, None),
        };
        let mut http = crate::tls::client_builder(&base).timeout(CALL_TIMEOUT);
        if let Some(path) = socket {
            http = http.unix_socket(path);
        }
        let http = http.build().map_err(anyhow::Error::from)?;
        Ok(AgentClient {
            http,
            base,
            found_in,
            token,
        })
    }

    /// Follows an agent that came back on another port. Stays with the old one while no agent has written its address.
    pub(super) fn find_again(&self, client: &mut AgentClient) -> Result<(), Failure> {
        let config = self.settings.load()?;
        if self.agent.is_none()
            && !self.settings.names_address()
            && let Some((base, found_in)) = written_address(&config)
        {
            (client.base, client.found_in) = (base, found_in);
        }
        Ok(())
    }

    fn locate(&self, config: &Config) -> (String, String) {
        let listen = || (url(config.listen), "the listen address".to_owned());
        if self.settings.names_address() {
            return listen();
        }
        written_address(config).unwrap_or_else(listen)
    }
}

/// The address that the running agent wrote into its data directory.
fn written_address(config: &Config) -> Option<(String, String)> {
    let file = config.data_dir.join(ADDRESS_FILE);
    let address: SocketAddr = std::fs::read_to_string(&file).ok()?.trim().parse().ok()?;
    Some((url(address), format!("from {}", file.display())))
}

/// An agent that listens on all addresses is reached on the loopback one.
fn url(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            IpAddr::V6(Ipv6Addr::LOCALHOST)
        });
    }
    format!("http://{address}")
}

/// A path with those parameters that have a value.
pub(super) fn path(path: &str, parameters: Vec<(&'static str, Option<String>)>) -> String {
    let given: Vec<_> = parameters
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    if given.is_empty() {
        return path.to_owned();
    }
    let mut url = reqwest::Url::parse("http://agent").expect("a constant URL parses");
    url.query_pairs_mut().extend_pairs(given);
    format!("{path}?{}", url.query().unwrap_or_default())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    code: String,
    message: String,
}

impl AgentClient {
    /// Reads something.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(self.call(Method::GET, path)).await
    }

    /// Asks a question.
    pub(super) async fn ask<Q: Question>(&self, question: &Q) -> Result<Q::Answer, ClientError> {
        self.get(&path(Q::PATH, question.parameters())).await
    }

    /// Orders something; `limit` is on top of the usual time.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<T, ClientError> {
        self.send(self.call(Method::POST, path).timeout(CALL_TIMEOUT + limit))
            .await
    }

    /// Sends a JSON body.
    pub(super) async fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<T, ClientError> {
        self.send(self.call(Method::POST, path).json(body)).await
    }

    /// Sends a text.
    pub(super) async fn post_text<T: DeserializeOwned>(
        &self,
        path: &str,
        text: String,
    ) -> Result<T, ClientError> {
        self.send(self.call(Method::POST, path).body(text)).await
    }

    /// Begins to read a reply that goes on for long.
    pub(super) async fn stream(&self, path: &str) -> Result<Response, ClientError> {
        let call = self.call(Method::GET, path).timeout(STREAM_TIMEOUT);
        let response = call
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = response
            .bytes()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let error: ErrorBody = serde_json::from_slice(&body).unwrap_or_default();
        Err(ClientError::Refused {
            status,
            code: error.code,
            message: error.message,
            retry_after: None,
        })
    }

    /// The next piece of it; none at its end.
    pub(super) async fn piece(
        &self,
        stream: &mut Response,
    ) -> Result<Option<bytes::Bytes>, ClientError> {
        stream
            .chunk()
            .await
            .map_err(|error| self.unreachable(&error))
    }

    /// Sends NDJSON.
    pub(super) async fn post_lines<T: DeserializeOwned>(
        &self,
        path: &str,
        lines: Vec<u8>,
    ) -> Result<T, ClientError> {
        self.send(
            self.call(Method::POST, path)
                .header(CONTENT_TYPE, "application/x-ndjson")
                .body(lines),
        )
        .await
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        let call = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => call.bearer_auth(token.expose()),
            None => call,
        }
    }

    async fn send<T: DeserializeOwned>(&self, call: RequestBuilder) -> Result<T, ClientError> {
        let response = call
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let seconds = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response
            .bytes()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let error = if status.is_success() {
            match serde_json::from_slice(&body) {
                Ok(reply) => return Ok(reply),
                Err(error) => ErrorBody {
                    code: "UNEXPECTED_REPLY".to_owned(),
                    message: format!("this is no agent's reply: {error}"),
                },
            }
        } else {
            serde_json::from_slice(&body).unwrap_or_default()
        };
        let retry_after = seconds.map(Duration::from_secs);
        Err(ClientError::Refused {
            status: status.as_u16(),
            code: error.code,
            message: error.message,
            retry_after,
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        ClientError::Unreachable {
            base: self.base.clone(),
            found_in: self.found_in.clone(),
            problem: cause.to_string(),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Refused { status: 404, .. } => EXIT_NOT_FOUND,
            ClientError::Refused { code, .. } if code == "RECEIPT_REFUSED" => EXIT_DATA,
            _ => EXIT_FAILED,
        };
        Failure {
            code,
            error: error.into(),
        }
    }
}
