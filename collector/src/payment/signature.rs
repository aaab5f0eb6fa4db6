//! Signatures by which a receiver knows that a message is of this collector: Standard Webhooks, version `v1`.
//!
//! `v1,` and the base64 of an HMAC-SHA256 over `id.timestamp.body`, under a secret that both sides have.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;
use std::fmt;
use submeter_common::Timestamp;

/// What secrets in their usual form begin with.
const PREFIX: &str = "whsec_";

/// Bytes of a secret's key, as the specification has it.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that signs. It prints as dots.
#[derive(Clone, Eq, PartialEq)]
pub struct SigningSecret(Vec<u8>);

/// Why a text is no secret. It never holds the text.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error(
    "expected `whsec_` and the base64 of 24 to 64 random bytes (such as: echo whsec_$(openssl rand -base64 32))"
)]
pub struct SigningSecretError;

impl SigningSecret {
    /// Reads a secret; white space around it is not part of it.
    ///
    /// # Errors
    /// When it has another form.
    pub fn parse(text: &str) -> Result<Self, SigningSecretError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(SigningSecretError)?;
        let key = STANDARD.decode(encoded).map_err(|_| SigningSecretError)?;
        if KEY_BYTES.contains(&key.len()) {
            Ok(Self(key))
        } else {
            Err(SigningSecretError)
        }
    }

    /// Signs a message: the value of the header `webhook-signature`.
    #[must_use]
    pub fn sign(&self, id: &str, sent_at: Timestamp, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{id}.{}.", seconds(sent_at)).as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

/// An instant as the header `webhook-timestamp` says it.
pub(super) const fn seconds(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(1_000_000)
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specifications_example() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let sent_at = Timestamp::from_micros(1_614_265_330 * 1_000_000 + 999_999);
        let signature = secret.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            sent_at,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_none_is_ever_shown() {
        for bad in [
            "",
            "whsec_",
            "whsec_c2hvcnQ=",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_not base64 at all, really",
        ] {
            assert_eq!(SigningSecret::parse(bad), Err(SigningSecretError), "{bad}");
        }
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{secret:?}"), "SigningSecret(…)");
    }
}
