//! One API key: the secret its holder has, and the record the collector keeps.

use std::fmt;

use serde::{Deserialize, Serialize};
use submeter_common::id::Digest;
use submeter_common::time::Timestamp;

use super::scope::{Scope, Scopes};
use crate::id::fresh;

/// What every secret begins with, so that a leaked one is recognised by people and by secret scanners.
pub const SECRET_PREFIX: &str = "smk_";

/// 32 characters of base 62 carry 190 bits.
const SECRET_CHARS: usize = 32;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The BLAKE3 hash of a secret: what is stored and looked up.
pub type KeyHash = Digest;

/// A key's secret in the clear. It exists only between creation and the one reply that shows it.
///
/// Its `Debug` hides the characters, so that no log line can leak it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Draws a new secret from the operating system's randomness.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut characters = String::with_capacity(SECRET_PREFIX.len() + SECRET_CHARS);
        characters.push_str(SECRET_PREFIX);
        let mut pool = [0_u8; 64];
        while characters.len() < SECRET_PREFIX.len() + SECRET_CHARS {
            getrandom::fill(&mut pool)?;
            let room = SECRET_PREFIX.len() + SECRET_CHARS - characters.len();
            characters.extend(pool.iter().filter_map(|byte| base62(*byte)).take(room));
        }
        Ok(Self(characters))
    }

    /// The secret's characters: for the one reply or file that hands it out.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The hash under which the key is stored.
    pub fn hash(&self) -> KeyHash {
        hash_presented(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Maps a random byte to a base-62 character; the top of the byte's range is thrown away, because it would make the
/// first characters of the alphabet likelier.
fn base62(byte: u8) -> Option<char> {
    const FAIR: u8 = 62 * 4;
    (byte < FAIR).then(|| char::from(ALPHABET[usize::from(byte % 62)]))
}

/// Hashes what a caller presented, whatever it is.
pub fn hash_presented(presented: &str) -> KeyHash {
    Digest::of(presented.as_bytes())
}

/// What the collector keeps of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Public name of the key: `key_` and a time-ordered random part.
    pub key_id: String,
    /// What people call it.
    pub name: String,
    /// What it is good for.
    pub scopes: Scopes,
    /// BLAKE3 of the secret.
    pub hash: KeyHash,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stopped being good; a revoked key stays listed.
    pub revoked_at: Option<Timestamp>,
}

impl ApiKey {
    /// Makes the record of a new key.
    pub fn new(name: String, scopes: Scopes, secret: &Secret, now: Timestamp) -> Self {
        Self {
            key_id: fresh("key_", now),
            name,
            scopes,
            hash: secret.hash(),
            created_at: now,
            revoked_at: None,
        }
    }

    /// Tells whether the key is still good and holds `scope`.
    pub fn allows(&self, scope: Scope) -> bool {
        self.revoked_at.is_none() && self.scopes.contains(scope)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_secret_is_prefixed_long_and_never_the_same() {
        let first = Secret::generate().unwrap();
        let second = Secret::generate().unwrap();
        assert!(first.reveal().starts_with(SECRET_PREFIX));
        assert_eq!(first.reveal().len(), SECRET_PREFIX.len() + SECRET_CHARS);
        assert_ne!(first.reveal(), second.reveal());
        assert_eq!(first.hash(), hash_presented(first.reveal()));
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        let secret = Secret::generate().unwrap();
        assert!(!format!("{secret:?}").contains(secret.reveal()));
    }

    #[test]
    fn a_revoked_key_allows_nothing() {
        let secret = Secret::generate().unwrap();
        let mut key = ApiKey::new(
            "k".into(),
            Scopes::all(),
            &secret,
            Timestamp::from_micros(0),
        );
        assert!(key.allows(Scope::Write));
        key.revoked_at = Some(Timestamp::from_micros(1));
        assert!(!key.allows(Scope::Write));
    }
}
