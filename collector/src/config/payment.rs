//! Settings of collecting: who is asked for payments, and by which terms.

use std::path::PathBuf;
use std::time::Duration;

use submeter_common::secrecy::Secrecy;

use super::read::Reader;
use crate::payment::endpoint::{self, EndpointConfig};
use crate::payment::{BY_HAND, Exhausted, SigningSecret, Terms};
use crate::secret_file;

/// Settings that say something only where somebody is asked.
const OF_ENDPOINT: [&str; 9] = [
    "payment_webhook_url",
    "payment_webhook_secret",
    "payment_webhook_secret_file",
    "payment_timeout",
    "payment_retries",
    "payment_exhausted",
    "payment_recheck_after",
    "payment_answer_within",
    "payment_concurrency",
];

/// Most tries after the first.
const RETRIES_MAX: usize = 20;

/// Longest wait between two tries.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(366 * 86_400);

/// How invoices are collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentConfig {
    /// Who is asked.
    pub gateway: GatewayConfig,
    /// When, and how often.
    pub terms: Terms,
    /// Payments that are asked for at one time.
    pub concurrency: usize,
}

/// Who is asked for payments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GatewayConfig {
    /// Nobody: money is received by hand.
    #[default]
    ByHand,
    /// The merchant's own service.
    Endpoint(EndpointConfig),
}

/// The choice, before it is known whether all is there that it needs.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Choice {
    ByHand,
    Endpoint,
}

impl Default for PaymentConfig {
    fn default() -> Self {
        Self {
            gateway: GatewayConfig::ByHand,
            terms: terms(Choice::ByHand),
            concurrency: 8,
        }
    }
}

/// The terms without any setting. By hand people need time to pay; who is asked pays at once.
fn terms(choice: Choice) -> Terms {
    let days = |days: u64| Duration::from_secs(days * 86_400);
    Terms {
        due_after: match choice {
            Choice::ByHand => days(14),
            Choice::Endpoint => Duration::ZERO,
        },
        // An empty account is often full again after pay day, a lost card replaced within two weeks.
        retries: [1, 3, 5, 7].map(days).to_vec(),
        exhausted: Exhausted::PastDue,
        recheck_after: Duration::from_secs(60),
        answer_within: days(3),
    }
}

impl PaymentConfig {
    /// Reads the settings.
    pub(super) fn read(reader: &mut Reader) -> Self {
        let choice = reader.named(
            "payment_gateway",
            Choice::ByHand,
            "manual or webhook",
            Choice::from_name,
            Choice::name,
        );
        let defaults = terms(choice);
        let url = reader.url("payment_webhook_url");
        let secret = secret(reader);
        let timeout = reader.duration("payment_timeout", Duration::from_secs(15));
        let config = Self {
            gateway: GatewayConfig::ByHand,
            terms: Terms {
                due_after: reader.duration_or_none("payment_due_after", defaults.due_after),
                retries: reader.durations(
                    "payment_retries",
                    defaults.retries,
                    RETRIES_MAX,
                    RETRY_WAIT_MAX,
                ),
                exhausted: reader.named(
                    "payment_exhausted",
                    defaults.exhausted,
                    "past_due or cancel",
                    Exhausted::from_name,
                    Exhausted::name,
                ),
                recheck_after: reader.duration("payment_recheck_after", defaults.recheck_after),
                answer_within: reader.duration("payment_answer_within", defaults.answer_within),
            },
            concurrency: reader.count("payment_concurrency", 8, 1..=256),
        };
        match (choice, url, secret) {
            (Choice::ByHand, _, _) => {
                refuse_without_endpoint(reader);
                config
            }
            (Choice::Endpoint, Some(url), Some(secret)) => Self {
                gateway: GatewayConfig::Endpoint(EndpointConfig {
                    url,
                    secret,
                    timeout,
                }),
                ..config
            },
            (Choice::Endpoint, url, secret) => {
                let needed = "needed because payment_gateway = webhook";
                if url.is_none() && !reader.is_given("payment_webhook_url") {
                    reader.problem("payment_webhook_url", needed);
                }
                let keys = ["payment_webhook_secret", "payment_webhook_secret_file"];
                if secret.is_none() && !keys.iter().any(|key| reader.is_given(key)) {
                    reader.problem("payment_webhook_secret_file", needed);
                }
                config
            }
        }
    }
}

impl Choice {
    const fn name(self) -> &'static str {
        match self {
            Self::ByHand => BY_HAND,
            Self::Endpoint => endpoint::NAME,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::ByHand, Self::Endpoint]
            .into_iter()
            .find(|choice| choice.name() == name)
    }
}

/// What nobody would look at is a mistake: whoever wrote it expects to be paid by it.
fn refuse_without_endpoint(reader: &mut Reader) {
    for key in OF_ENDPOINT {
        if reader.is_given(key) {
            reader.problem(key, "only of use with payment_gateway = webhook");
        }
    }
}

/// Reads the secret, from the environment or from the file that is named. Problems never quote it.
fn secret(reader: &mut Reader) -> Option<SigningSecret> {
    let key = "payment_webhook_secret";
    let file_key = "payment_webhook_secret_file";
    let told = reader.secret("payment_webhook_secret");
    let file = reader.path("payment_webhook_secret_file", PathBuf::new());
    let (key, text) = match (told, file.as_os_str().is_empty()) {
        (Some(_), false) => {
            let what = format!("expected either this or {key} in the environment");
            reader.problem(file_key, &what);
            return None;
        }
        (Some(text), true) => (key, text),
        (None, true) => return None,
        (None, false) => match secret_file::read(&file) {
            Ok((secrecy @ Secrecy::Exposed { .. }, _)) => {
                reader.problem(file_key, &format!("{} {secrecy}", file.display()));
                return None;
            }
            Ok((Secrecy::Private | Secrecy::Shared { .. }, text)) => (file_key, text),
            Err(error) => {
                let what = format!("cannot read {}: {error}", file.display());
                reader.problem(file_key, &what);
                return None;
            }
        },
    };
    let parsed = SigningSecret::parse(&text);
    parsed
        .map_err(|error| reader.problem(key, &error.to_string()))
        .ok()
}
