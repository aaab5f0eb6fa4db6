//! The gateway that asks the merchant's own service: one signed POST for each payment.
//!
//! The body of a payment never changes, whenever it is asked for, so that its bytes may be handed on under its key. What is no
//! answer in the form that `docs/payments.md` has is no answer: a payment is taken for refused only when somebody says so.

use super::{
    gateway::{Answer, Charge, Gateway},
    signature::{self, SigningSecret},
};
use async_trait::async_trait;
use bytes::BytesMut;
use reqwest::{Response, StatusCode, Url, header::CONTENT_TYPE, redirect::Policy};
use serde::Deserialize;
use serde_json::json;
use std::{error::Error, sync::Arc, time::Duration};
use submeter_common::Clock;
use tokio::runtime::Handle;

/// What payments name as their gateway.
pub const NAME: &str = "webhook";

/// Time to reach the endpoint; the setting bounds the whole.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Characters that are kept of a reason or a reference.
const WORDS_CHARS_MAX: usize = 256;

/// Where the merchant's service is, and how it knows us.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndpointConfig {
    /// What is posted to.
    pub url: Url,
    /// Signs what is posted.
    pub secret: SigningSecret,
    /// Longest wait for an answer.
    pub timeout: Duration,
}

/// The merchant's service.
pub struct Endpoint {
    config: EndpointConfig,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    /// Where connections live, whoever asks: a busy thread of its own would let answers wait until they are too late.
    runtime: Handle,
}

/// What the service answers.
#[derive(Deserialize)]
struct Reply {
    status: Status,
    reference: Option<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Succeeded,
    Failed,
    Processing,
}

impl Endpoint {
    /// Makes the gateway; `clock` is the machine's. Connections live on the runtime that this is called on.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(config: EndpointConfig, clock: Arc<dyn Clock>) -> Result<Self, reqwest::Error> {
        // Whoever was first has installed the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            // The signature is for the endpoint that was configured, and for nobody it may point at.
            .redirect(Policy::none())
            .user_agent(concat!("submeter-collector/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT.min(config.timeout))
            .timeout(config.timeout)
            .build()?;
        Ok(Self {
            config,
            http,
            clock,
            runtime: Handle::current(),
        })
    }

    fn request(&self, charge: &Charge) -> reqwest::RequestBuilder {
        let body = body(charge);
        let id = charge.payment_id.as_str();
        let sent_at = self.clock.now();
        let signature = self.config.secret.sign(id, sent_at, body.as_bytes());
        self.http
            .post(self.config.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", id)
            .header("webhook-id", id)
            .header("webhook-timestamp", signature::seconds(sent_at))
            .header("webhook-signature", signature)
            .header("submeter-asked", charge.asked)
            .body(body)
    }
}

#[async_trait]
impl Gateway for Endpoint {
    fn name(&self) -> &'static str {
        NAME
    }

    fn timeout(&self) -> Duration {
        self.config.timeout
    }

    async fn ask(&self, charge: &Charge) -> Answer {
        let request = self.request(charge);
        let asking = self.runtime.spawn(async move {
            match request.send().await {
                Ok(response) => read(response).await,
                Err(error) => unanswered(chain(&error)),
            }
        });
        asking.await.unwrap_or_else(unanswered)
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Endpoint").field(&self.config).finish()
    }
}

/// Writes what is asked for, each time the same for the same payment.
fn body(charge: &Charge) -> String {
    let request = json!({
        "type": "payment.requested",
        "timestamp": charge.requested_at,
        "data": {
            "payment_id": charge.payment_id,
            "idempotency_key": charge.payment_id,
            "invoice_id": charge.invoice_id,
            "invoice_number": charge.invoice_number,
            "customer_id": charge.customer_id,
            "subscription_id": charge.subscription_id,
            "amount": charge.amount,
            "currency": charge.currency,
            "attempt": charge.attempt,
        },
    });
    request.to_string()
}

async fn read(mut response: Response) -> Answer {
    let status = response.status();
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) if body.len() + piece.len() <= ANSWER_BYTES_MAX => {
                body.extend_from_slice(&piece);
            }
            Ok(Some(_)) => return unanswered("the answer is too long"),
            Ok(None) => return understood(status, &body),
            Err(error) => return unanswered(format!("the answer was cut off: {}", chain(&error))),
        }
    }
}

fn understood(status: StatusCode, body: &[u8]) -> Answer {
    if !status.is_success() {
        return unanswered(format!("it answered {status}"));
    }
    if status == StatusCode::ACCEPTED && body.is_empty() {
        return Answer::Processing { reference: None };
    }
    let reply: Reply = match serde_json::from_slice(body) {
        Ok(reply) => reply,
        Err(error) => {
            return unanswered(format!(
                "it answered {status}, but in another form: {error}"
            ));
        }
    };
    let reference = reply.reference.as_deref().and_then(words);
    match reply.status {
        Status::Succeeded => Answer::Succeeded { reference },
        Status::Processing => Answer::Processing { reference },
        Status::Failed => Answer::Failed {
            reason: reply
                .reason
                .as_deref()
                .and_then(words)
                .unwrap_or_else(|| "no reason was given".to_owned()),
            reference,
        },
    }
}

/// What is kept of somebody else's words: money has moved, so they are cut, not refused.
fn words(text: &str) -> Option<String> {
    let kept = text.chars().filter(|character| !character.is_control());
    let kept: String = kept.take(WORDS_CHARS_MAX).collect();
    Some(kept).filter(|kept| !kept.is_empty())
}

fn unanswered(detail: impl ToString) -> Answer {
    let detail = detail.to_string();
    Answer::Unanswered { detail }
}

/// An error with its causes on one line: reqwest's own says only that sending failed.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
