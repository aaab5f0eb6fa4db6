//! API keys: who may ask the collector for what.
//!
//! A key is 32 random base-62 characters behind `smk_`: 190 bits, which nobody guesses, so a plain BLAKE3 hash of it is a
//! safe thing to store (a slow password hash would only protect short secrets). The secret itself is shown once and
//! never kept. A presented key is hashed and the *hash* is looked up: the work is the same for a right and a wrong key,
//! and no byte of a stored secret is ever compared with a guess.

mod bootstrap;
mod key;
mod scope;

pub use bootstrap::{BOOTSTRAP_FILE, BootstrapError, ensure_bootstrap_key};
pub use key::{ApiKey, KeyHash, SECRET_PREFIX, Secret, hash_presented};
pub use scope::{Scope, ScopeError, Scopes};
