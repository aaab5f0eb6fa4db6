//! The receipt for a bundle: a JSON document whose inner one is signed as it stands, byte for byte.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::BundleError;
use crate::{
    id::AgentId,
    protocol::{Catalog, Position},
    signature::{PublicKey, Signature, SigningKey},
    time::Timestamp,
};

/// What the collector gives back for a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Whose frames.
    pub agent_id: AgentId,
    /// The newest frame applied; all before it are, too.
    pub applied: Position,
    /// When it was given.
    pub issued_at: Timestamp,
    /// Who signed it.
    pub public_key: PublicKey,
    /// The meters to count by.
    pub catalog: Catalog,
}

#[derive(Serialize)]
struct Written<'a> {
    receipt: &'a RawValue,
    signature: Signature,
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    receipt: &'a RawValue,
    signature: Signature,
}

/// Writes a receipt as text.
///
/// # Errors
/// JSON cannot say it, which a receipt always can.
pub fn encode_receipt(receipt: &Receipt, key: &SigningKey) -> Result<String, BundleError> {
    let failed = |error: serde_json::Error| BundleError::Damaged(error.to_string());
    let inner = serde_json::value::to_raw_value(receipt).map_err(failed)?;
    let written = Written {
        signature: key.sign(inner.get().as_bytes()),
        receipt: &inner,
    };
    Ok(serde_json::to_string(&written).map_err(failed)? + "\n")
}

/// Reads a receipt and checks its signature. Whether the signer is to be trusted is the caller's question.
///
/// # Errors
/// Anything else than what was signed.
pub fn decode_receipt(text: &str) -> Result<Receipt, BundleError> {
    let read: Read<'_> = serde_json::from_str(text).map_err(|error| {
        BundleError::Damaged(format!("the receipt does not read back: {error}"))
    })?;
    let receipt: Receipt = serde_json::from_str(read.receipt.get()).map_err(|error| {
        BundleError::Damaged(format!("the receipt does not read back: {error}"))
    })?;
    if receipt
        .public_key
        .verifies(read.receipt.get().as_bytes(), &read.signature)
    {
        Ok(receipt)
    } else {
        Err(BundleError::WrongSignature)
    }
}
