//! The HTTP client of the commands.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use reqwest::{Method, Url};
use serde_json::Value;

use super::say::{remark, say};
use crate::secret_file;
use submeter_common::secrecy::Secrecy;

/// Environment variable that may hold the key itself.
const KEY_VARIABLE: &str = "SUBMETER_COLLECTOR_KEY";

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Longest wait for an answer to a file of megabytes.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(900);

/// Entries that lists fetch at once: the largest page.
const PAGE_SIZE: usize = 100;

/// Which collector to ask, and as whom. The key comes from a file or from SUBMETER_COLLECTOR_KEY, never from an
/// argument, which every process of the machine could read.
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    /// URL of the collector.
    #[arg(
        long,
        value_name = "URL",
        env = "SUBMETER_COLLECTOR_URL",
        default_value = "http://127.0.0.1:7700"
    )]
    collector: String,
    /// File with the API key; without it, SUBMETER_COLLECTOR_KEY holds the key.
    #[arg(long, value_name = "FILE", env = "SUBMETER_COLLECTOR_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub(super) json: bool,
}

/// A connection to one collector.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
}

impl ClientArgs {
    /// Connects as told, and runs `act` with the connection.
    pub(super) fn run<T>(
        &self,
        act: impl AsyncFnOnce(&Client) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let client = self.client()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(act(&client))
    }

    fn client(&self) -> anyhow::Result<Client> {
        // Whoever was first has installed the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .build()
            .context("cannot make an HTTP client")?;
        let base = self.collector.trim_end_matches('/').to_owned();
        Url::parse(&base).with_context(|| format!("--collector: `{base}` is no URL"))?;
        Ok(Client {
            http,
            base,
            key: self.key()?,
        })
    }

    fn key(&self) -> anyhow::Result<String> {
        let text = match &self.key_file {
            Some(path) => read_key(path)?,
            None => std::env::var(KEY_VARIABLE).map_err(|_| {
                anyhow!(
                    "an API key is needed: give --key-file FILE or set {KEY_VARIABLE} \
                     (the first start of a collector writes one to DATA_DIR/bootstrap.key)"
                )
            })?,
        };
        Ok(text.trim().to_owned())
    }
}

/// Reads a key that is kept from others.
fn read_key(path: &Path) -> anyhow::Result<String> {
    let (secrecy, text) = secret_file::read(path)
        .with_context(|| format!("cannot read the key from {}", path.display()))?;
    match secrecy {
        Secrecy::Exposed { .. } => bail!("{} {secrecy}", path.display()),
        Secrecy::Shared { .. } => remark(format_args!("warning: {} {secrecy}", path.display())),
        Secrecy::Private => {}
    }
    Ok(text)
}

impl Client {
    /// Sends a request and returns the JSON of its answer, null for an empty one.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let mut url = Url::parse(&format!("{}{path}", self.base))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let response = request
            .send()
            .await
            .with_context(|| format!("cannot reach the collector at {}", self.base))?;
        let status = response.status();
        let text = response.text().await.context("the answer was cut off")?;
        if !status.is_success() {
            return Err(Refusal::new(status.as_u16(), &text).into());
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).context("the answer is not JSON; is this a collector?")
    }

    /// POST of a file.
    pub(super) async fn send_bytes(&self, path: &str, bytes: Vec<u8>) -> anyhow::Result<Value> {
        let request = self
            .http
            .post(format!("{}{path}", self.base))
            .timeout(UPLOAD_TIMEOUT)
            .bearer_auth(&self.key)
            .header("content-type", "application/octet-stream")
            .body(bytes);
        self.answer(request).await
    }

    /// GET.
    pub(super) async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        self.send(Method::GET, path, query, None).await
    }

    /// Up to `limit` entries of a paged list.
    pub(super) async fn list(
        &self,
        path: &str,
        query: &[(&str, String)],
        limit: usize,
    ) -> anyhow::Result<Vec<Value>> {
        let mut entries = Vec::new();
        for page in 0_usize.. {
            let mut query = query.to_vec();
            query.extend([
                ("page_size", PAGE_SIZE.to_string()),
                ("page_number", page.to_string()),
            ]);
            let mut reply = self.get(path, &query).await?;
            let items = reply["items"]
                .as_array_mut()
                .context("the answer has no `items`")?;
            let is_last = items.len() < PAGE_SIZE;
            entries.append(items);
            if is_last || entries.len() >= limit {
                break;
            }
        }
        entries.truncate(limit);
        Ok(entries)
    }
}

/// An answer that is not 2xx.
#[derive(Debug, thiserror::Error)]
#[error("{message} ({status} {code})")]
pub(super) struct Refusal {
    /// The status.
    pub(super) status: u16,
    /// The error code, where the collector itself answered.
    pub(super) code: String,
    message: String,
}

impl Refusal {
    fn new(status: u16, text: &str) -> Self {
        let body: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        let text = |field: &str| body[field].as_str().map(str::to_owned);
        let unknown = || "the collector did not say why it refused".to_owned();
        Self {
            status,
            code: text("code").unwrap_or_else(|| "without a code".to_owned()),
            message: text("message").unwrap_or_else(unknown),
        }
    }
}

/// Writes an id as one segment of a path: applications give their customers ids with any characters.
pub(super) fn segment(id: &str) -> String {
    let mut text = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Prints JSON for machines.
pub(super) fn print_json(value: &Value) -> anyhow::Result<()> {
    say(format_args!("{}", serde_json::to_string_pretty(value)?))?;
    Ok(())
}
