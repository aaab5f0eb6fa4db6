//! What is carried by hand where there is no network: frames one way, a receipt the other.
//!
//! A bundle is a file of frames, the very bytes that would have been sent:
//!
//! ```text
//! "SMTB" · version u8 · head length u32 LE · head (JSON) · Ed25519 signature of all before · the frames' bytes, in order
//! ```
//! The head names each frame with its length and BLAKE3 digest, and the signature covers the head: so the signature
//! covers every byte of the file, and the head can be written before the first frame is read.
//!
//! A receipt comes back: JSON for people to read, signed by the collector. It says what is applied and brings the
//! meters. An agent without a network counts by them.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    id::{AgentId, Digest},
    limits::{BUNDLE_FRAMES_BYTES_MAX, BUNDLE_HEAD_BYTES_MAX},
    signature::{PublicKey, Signature, SigningKey},
    time::Timestamp,
};

mod receipt;

pub use receipt::{Receipt, decode_receipt, encode_receipt};

/// The version of bundles that this build writes, and the newest that it reads.
pub const BUNDLE_VERSION: u8 = 1;

const MAGIC: &[u8; 4] = b"SMTB";
/// Magic, version, head length.
const PREFIX_BYTES: usize = 4 + 1 + 4;
/// What a frame ends with: the digest of all before.
const DIGEST_BYTES: usize = 32;

/// Why a file is refused, wholly.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BundleError {
    /// It is something else.
    #[error("not {0}")]
    Foreign(&'static str),
    /// A newer build wrote it.
    #[error("version {found} is not supported; this build reads up to version {BUNDLE_VERSION}")]
    UnsupportedVersion {
        /// The version it has.
        found: u8,
    },
    /// It was cut or damaged on the way.
    #[error("damaged: {0}")]
    Damaged(String),
    /// It is whole, but not what its signer has signed.
    #[error("the signature does not fit: the file was changed after it was signed")]
    WrongSignature,
    /// It is larger than a bundle may be.
    #[error("{what} takes {found} bytes, a bundle has room for {max}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its limit.
        max: usize,
        /// Its size.
        found: usize,
    },
}

/// One frame in a bundle's head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundledFrame {
    /// Its number.
    pub seq: u64,
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}

/// What a bundle says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleHead {
    /// Who sealed the frames.
    pub agent_id: AgentId,
    /// Born with the agent's state directory.
    pub state_nonce: Uuid,
    /// The agent's build, for people.
    pub agent_version: String,
    /// The newest frame that the agent knows to be applied, or 0.
    pub acknowledged: u64,
    /// When the bundle was written.
    pub written_at: Timestamp,
    /// Who signed it.
    pub public_key: PublicKey,
    /// The frames, in order and without gaps.
    pub frames: Vec<BundledFrame>,
}

/// A bundle that was read and found whole.
#[derive(Debug)]
pub struct Bundle<'a> {
    /// What it says about itself.
    pub head: BundleHead,
    /// The bytes of its frames, each fitting its digest.
    pub frames: Vec<&'a [u8]>,
}

/// Freezes and signs a bundle's head; the frames' bytes follow it as they are.
///
/// # Errors
/// More frames than a bundle has room for.
pub fn encode_bundle_head(head: &BundleHead, key: &SigningKey) -> Result<Vec<u8>, BundleError> {
    let json = serde_json::to_vec(head).map_err(|error| BundleError::Damaged(error.to_string()))?;
    let length = u32::try_from(json.len())
        .ok()
        .filter(|_| json.len() <= BUNDLE_HEAD_BYTES_MAX)
        .ok_or(BundleError::TooLarge {
            what: "the head",
            max: BUNDLE_HEAD_BYTES_MAX,
            found: json.len(),
        })?;
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + json.len() + Signature::BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.push(BUNDLE_VERSION);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&json);
    let signature = key.sign(&bytes);
    bytes.extend_from_slice(signature.as_bytes());
    Ok(bytes)
}

/// Reads a bundle and checks every byte of it: signature, digests, numbers, length. Whether the signer is to be trusted
/// is the caller's question.
///
/// # Errors
/// Anything else than what was signed.
pub fn decode_bundle(bytes: &[u8]) -> Result<Bundle<'_>, BundleError> {
    let (head, mut rest) = split_head(bytes)?;
    let mut frames = Vec::with_capacity(head.frames.len());
    let mut before: Option<u64> = None;
    for frame in &head.frames {
        if before.is_some_and(|before| before.checked_add(1) != Some(frame.seq)) {
            return Err(damaged(format!(
                "frame {} does not follow the one before",
                frame.seq
            )));
        }
        before = Some(frame.seq);
        let length = usize::try_from(frame.bytes).unwrap_or(usize::MAX);
        let (bytes, behind) = rest
            .split_at_checked(length)
            .ok_or_else(|| damaged(format!("it ends inside frame {}", frame.seq)))?;
        check_digest(frame, bytes)?;
        frames.push(bytes);
        rest = behind;
    }
    if !rest.is_empty() {
        return Err(damaged("bytes follow its last frame".to_owned()));
    }
    if frames.is_empty() {
        return Err(damaged("it holds no frame".to_owned()));
    }
    Ok(Bundle { head, frames })
}

fn split_head(bytes: &[u8]) -> Result<(BundleHead, &[u8]), BundleError> {
    let [b'S', b'M', b'T', b'B', version, ..] = bytes else {
        return Err(BundleError::Foreign("a bundle of frames"));
    };
    if *version != BUNDLE_VERSION {
        return Err(BundleError::UnsupportedVersion { found: *version });
    }
    let cut = || damaged("it ends inside its head".to_owned());
    let (_, rest) = bytes.split_at_checked(PREFIX_BYTES - 4).ok_or_else(cut)?;
    let (length, _) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| cut())?;
    if length > BUNDLE_HEAD_BYTES_MAX {
        return Err(BundleError::TooLarge {
            what: "the head",
            max: BUNDLE_HEAD_BYTES_MAX,
            found: length,
        });
    }
    let (signed, rest) = bytes
        .split_at_checked(PREFIX_BYTES + length)
        .ok_or_else(cut)?;
    let (signature, rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let json = signed.get(PREFIX_BYTES..).ok_or_else(cut)?;
    let head: BundleHead = serde_json::from_slice(json)
        .map_err(|error| damaged(format!("its head does not read back: {error}")))?;
    if !head
        .public_key
        .verifies(signed, &Signature::new(*signature))
    {
        return Err(BundleError::WrongSignature);
    }
    let frames: u64 = head
        .frames
        .iter()
        .fold(0, |sum, frame| sum.saturating_add(frame.bytes));
    let found = usize::try_from(frames).unwrap_or(usize::MAX);
    if found > BUNDLE_FRAMES_BYTES_MAX {
        return Err(BundleError::TooLarge {
            what: "the frames",
            max: BUNDLE_FRAMES_BYTES_MAX,
            found,
        });
    }
    Ok((head, rest))
}

fn check_digest(frame: &BundledFrame, bytes: &[u8]) -> Result<(), BundleError> {
    let whole = bytes
        .split_last_chunk::<DIGEST_BYTES>()
        .is_some_and(|(body, end)| {
            Digest::new(*end) == frame.digest && Digest::of(body) == frame.digest
        });
    if whole {
        Ok(())
    } else {
        Err(damaged(format!(
            "frame {} is not the one that was signed",
            frame.seq
        )))
    }
}

fn damaged(what: String) -> BundleError {
    BundleError::Damaged(what)
}

#[cfg(test)]
mod tests;
