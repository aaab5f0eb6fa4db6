//! A merchant's service that takes money once for each key, and answers what the test says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;
use serde_json::{Value, json};
use submeter_collector::config::{Config, GatewayConfig};
use submeter_collector::payment::SigningSecret;
use submeter_collector::payment::endpoint::EndpointConfig;

/// The key of the secret that both sides have.
const KEY: &[u8] = b"a key of thirty-two random bytes";

/// What the service does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// It answers so.
    Say(u16, Value),
    /// It takes the money, and fails before it can say so.
    TakeAndFail,
    /// It fails before it does anything.
    Fail,
}

/// What came in under one key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Bodies, in order.
    pub(crate) bodies: Vec<Value>,
    /// Whether money was taken: at most once, however often somebody asked.
    pub(crate) taken: Option<i64>,
}

#[derive(Default)]
struct Books {
    script: VecDeque<Act>,
    asked: BTreeMap<String, Asked>,
    order: Vec<String>,
}

/// The running service.
#[derive(Clone)]
pub(crate) struct Merchant {
    books: Arc<Mutex<Books>>,
    url: String,
}

impl Merchant {
    /// Starts it; without a script, it takes what it is asked for.
    pub(crate) async fn start(script: &[Act]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/charge", listener.local_addr().unwrap());
        let books = Arc::new(Mutex::new(Books {
            script: script.iter().cloned().collect(),
            ..Books::default()
        }));
        let routes = Router::new().route("/charge", post(charge));
        let routes = routes.with_state(Arc::clone(&books));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { books, url }
    }

    /// Lets a collector ask this service.
    pub(crate) fn asked_by(&self, config: &mut Config) {
        let secret = format!("whsec_{}", STANDARD.encode(KEY));
        config.payment.gateway = GatewayConfig::Endpoint(EndpointConfig {
            url: self.url.parse().unwrap(),
            secret: SigningSecret::parse(&secret).unwrap(),
            timeout: Duration::from_secs(15),
        });
        config.payment.terms.due_after = Duration::ZERO;
        config.payment.terms.retries = [1, 3]
            .map(|days| Duration::from_secs(days * 86_400))
            .to_vec();
    }

    /// What came in, in the order of the keys' first requests.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let books = self.books.lock().unwrap();
        let of_key = |key: &String| books.asked[key].clone();
        books.order.iter().map(of_key).collect()
    }

    /// What comes next.
    pub(crate) fn then(&self, script: &[Act]) {
        self.books.lock().unwrap().script = script.iter().cloned().collect();
    }
}

pub(crate) fn declined() -> Act {
    Act::Say(200, json!({"status": "failed", "reason": "card declined"}))
}

/// Judges a request as the contract has it, by the raw bytes.
fn is_signed(headers: &HeaderMap, body: &[u8]) -> bool {
    let header = |name: &str| headers[name].to_str().unwrap();
    let signed = [
        header("webhook-id").as_bytes(),
        b".",
        header("webhook-timestamp").as_bytes(),
        b".",
        body,
    ];
    let signature = header("webhook-signature").strip_prefix("v1,").unwrap();
    let signature = STANDARD.decode(signature).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
    hmac::verify(&key, &signed.concat(), &signature).is_ok()
}

async fn charge(
    State(books): State<Arc<Mutex<Books>>>,
    headers: HeaderMap,
    bytes: Bytes,
) -> (StatusCode, String) {
    assert!(is_signed(&headers, &bytes), "{headers:?}");
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(body["data"]["idempotency_key"], json!(key));
    let mut books = books.lock().unwrap();
    if !books.asked.contains_key(&key) {
        books.order.push(key.clone());
    }
    let taking = || {
        Act::Say(
            200,
            json!({"status": "succeeded", "reference": format!("ch_{key}")}),
        )
    };
    let act = books.script.pop_front().unwrap_or_else(taking);
    let asked = books.asked.entry(key.clone()).or_default();
    let amount = body["data"]["amount"].as_i64();
    asked.bodies.push(body);
    match act {
        Act::Say(status, answer) => {
            if answer["status"] == "succeeded" {
                asked.taken = amount;
            }
            let status = StatusCode::from_u16(status).unwrap();
            (status, answer.to_string())
        }
        Act::TakeAndFail => {
            asked.taken = amount;
            (StatusCode::BAD_GATEWAY, String::new())
        }
        Act::Fail => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
    }
}
