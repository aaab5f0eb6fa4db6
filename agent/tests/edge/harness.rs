//! A running agent in a temporary directory, and a client of it.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use submeter_agent::agent::{Agent, Stopped};
use submeter_agent::config::{Config, Secret, Span};
use submeter_common::time::{Clock, SystemClock};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A collector nobody runs.
pub(crate) const NOBODY: &str = "http://127.0.0.1:9";

/// An agent that runs until it is stopped or dropped.
pub(crate) struct Running {
    address: SocketAddr,
    http: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Stopped>,
}

/// Status, content type, headers and body of a reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) retry_after: Option<String>,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// Settings of a test: any port, quick flushes, a short grace.
pub(crate) fn config(directory: &Path, collector: &str) -> Config {
    Config {
        data_dir: directory.to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        collector: collector.to_owned(),
        key: Secret::new("smk_test"),
        flush_interval: Span(Duration::from_millis(50)),
        heartbeat_interval: Span(Duration::from_millis(200)),
        shutdown_grace: Span(Duration::from_millis(500)),
        ..Config::default()
    }
}

/// An agent without collector in a directory of its own.
pub(crate) async fn alone() -> (TempDir, Running) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(config(directory.path(), NOBODY)).await;
    (directory, running)
}

impl Running {
    pub(crate) async fn start(config: Config) -> Self {
        Self::start_at(config, Arc::new(SystemClock)).await
    }

    pub(crate) async fn start_at(config: Config, clock: Arc<dyn Clock>) -> Self {
        let agent = Agent::start(&config, clock)
            .await
            .expect("the agent starts");
        let address = agent.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let asked = async {
            let _dropped_means_stop_too = stopped.await;
        };
        let task = tokio::spawn(agent.run(asked, std::future::pending()));
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .build()
            .expect("a client");
        Self {
            address,
            http,
            stop: Some(stop),
            task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Stops the agent as a signal does.
    pub(crate) async fn stop(mut self) -> Stopped {
        drop(self.stop.take());
        self.task.await.expect("the agent ends")
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let response = request.send().await.expect("a reply");
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap_or("").to_owned())
        };
        let (status, content_type, retry_after) = (
            response.status().as_u16(),
            header("content-type").unwrap_or_default(),
            header("retry-after"),
        );
        Reply {
            status,
            content_type,
            retry_after,
            text: response.text().await.expect("a whole reply"),
        }
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Reply {
        self.send(
            self.http
                .post(self.url(path))
                .header("content-type", content_type)
                .body(body),
        )
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(self.http.get(self.url(path))).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(self.http.delete(self.url(path))).await
    }

    /// Sends events to the compatible endpoint; they must be taken.
    pub(crate) async fn ingest(&self, events: &[String]) -> Value {
        let reply = self
            .post("/events/ingest", "application/json", batch(events))
            .await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    pub(crate) async fn status(&self) -> Value {
        self.get("/v1/status").await.json()
    }

    /// Waits until the status is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            if wanted(&status) {
                return status;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited for {what}: {status:#}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Writes a file with these mode bits, which are right from its first moment.
pub(crate) fn secret_file(path: &Path, text: &str, mode: u32) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).expect("the file");
    std::fs::set_permissions(&beside, Permissions::from_mode(mode)).expect("its mode");
    std::fs::rename(&beside, path).expect("in its place");
}

/// One event as JSON.
pub(crate) fn event(id: &str) -> String {
    format!(
        r#"{{"event_id":"{id}","customer_id":"acme","event_name":"api.call","metadata":{{"tokens":12.5,"model":"small"}}}}"#
    )
}

/// Events as the compatible endpoint takes them.
pub(crate) fn batch(events: &[String]) -> String {
    format!(r#"{{"events":[{}]}}"#, events.join(","))
}

/// The time `seconds` from now, as RFC 3339.
pub(crate) fn seconds_from_now(seconds: i64) -> String {
    use submeter_common::time::{Clock as _, Timestamp};
    Timestamp::from_micros(SystemClock.now().as_micros() + seconds * 1_000_000).to_string()
}
