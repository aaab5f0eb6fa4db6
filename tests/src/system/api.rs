//! A client of one process: a base URL, perhaps a key, and replies kept whole.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

/// Speaks HTTP to one process.
#[derive(Clone, Debug)]
pub struct Api {
    http: Client,
    base: String,
    key: Option<String>,
}

/// What came back, whatever the status.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The whole body.
    pub body: String,
    /// `Retry-After` in seconds, where given.
    pub retry_after: Option<u64>,
    /// The media type, where given.
    pub content_type: Option<String>,
}

impl Api {
    /// A client of `base` (such as `http://127.0.0.1:7700`) that sends `key` with each request.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(base: &str, key: Option<&str>) -> Result<Self> {
        // Whoever was first has installed the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(128)
            .timeout(Duration::from_secs(60))
            .build()?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self {
            http,
            base,
            key: key.map(str::to_owned),
        })
    }

    /// The same client with another key, or none.
    #[must_use]
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self {
            key: key.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The base URL.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The key it sends, if any.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Sends a request as it is.
    ///
    /// # Errors
    /// When no whole reply came back.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> Result<Reply> {
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
        let response = request.send().await?;
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned)
        };
        let retry_after = header("retry-after").and_then(|v| v.parse().ok());
        let content_type = header("content-type");
        let status = response.status().as_u16();
        Ok(Reply {
            status,
            body: response.text().await?,
            retry_after,
            content_type,
        })
    }

    /// GET, whatever the answer.
    ///
    /// # Errors
    /// When no whole reply came back.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        self.send(Method::GET, path, None, "").await
    }

    /// The value of a counter in `/metrics`, summed over its labels.
    ///
    /// # Errors
    /// When it does not answer, or the value is no whole number.
    pub async fn counter(&self, name: &str) -> Result<u64> {
        let text = self.get("/metrics").await?.body;
        let ours = |line: &&str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        let mut sum = 0;
        for line in text.lines().filter(ours) {
            let value = line.rsplit(' ').next().context("a value")?;
            sum += value.parse::<u64>().with_context(|| line.to_owned())?;
        }
        Ok(sum)
    }

    /// POST of a JSON document, whatever the answer.
    ///
    /// # Errors
    /// When no whole reply came back.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Reply> {
        self.send(
            Method::POST,
            path,
            Some("application/json"),
            body.to_string(),
        )
        .await
    }

    /// GET that must succeed; the JSON document.
    ///
    /// # Errors
    /// When the status is not 2xx or the body is not JSON.
    pub async fn fetch(&self, path: &str) -> Result<Value> {
        self.get(path)
            .await?
            .document()
            .with_context(|| format!("GET {path}"))
    }

    /// POST that must succeed; the JSON document.
    ///
    /// # Errors
    /// When the status is not 2xx or the body is not JSON.
    pub async fn create(&self, path: &str, body: &Value) -> Result<Value> {
        self.post(path, body)
            .await?
            .document()
            .with_context(|| format!("POST {path} {body}"))
    }

    /// Every item of a paged list.
    ///
    /// # Errors
    /// When a page cannot be fetched or has no `items`.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut all = Vec::new();
        for page in 0.. {
            let url = format!("{path}{joint}page_size=100&page_number={page}");
            let mut items = self.fetch(&url).await?;
            let items = items["items"].as_array_mut().context("items")?;
            let short = items.len() < 100;
            all.append(items);
            if short {
                break;
            }
        }
        Ok(all)
    }
}

impl Reply {
    /// Refuses any status but 2xx.
    ///
    /// # Errors
    /// Names the status and shows the body.
    pub fn success(&self) -> Result<()> {
        if !StatusCode::from_u16(self.status)?.is_success() {
            bail!("{}: {}", self.status, self.body);
        }
        Ok(())
    }

    /// The JSON document of a successful reply; null where the body is empty.
    ///
    /// # Errors
    /// When the status is not 2xx or the body is not JSON.
    pub fn document(&self) -> Result<Value> {
        self.success()?;
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        self.json()
    }

    /// The body as JSON, whatever the status.
    ///
    /// # Errors
    /// When the body is not JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("JSON in: {}", self.body))
    }

    /// The error code of the body, or an empty string.
    #[must_use]
    pub fn code(&self) -> String {
        let code = self
            .json()
            .ok()
            .and_then(|json| Some(json["code"].as_str()?.to_owned()));
        code.unwrap_or_default()
    }
}
