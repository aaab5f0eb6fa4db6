//! A receipt from the collector, checked and applied.

use serde::{Deserialize, Serialize};
use submeter_common::bundle::{BundleError, decode_receipt};
use submeter_common::protocol::Position;
use submeter_common::signature::PublicKey;
use thiserror::Error;

use crate::pipeline::{Pipeline, PipelineError};

/// What a receipt changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Accepted {
    /// The newest frame that the collector holds.
    pub(crate) acknowledged: Position,
    /// Frames that are still to be carried.
    pub(crate) outbox_frames: u64,
    /// The catalog in force.
    pub(crate) catalog_version: u64,
    /// Whose receipts are taken.
    pub(crate) collector_key: PublicKey,
}

/// Why a receipt was refused; nothing has changed.
#[derive(Debug, Error)]
pub(crate) enum ReceiptError {
    /// It is not what the collector wrote, or it is for another agent.
    #[error("the receipt is refused: {0}")]
    Refused(String),
    /// The store failed or stops.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

impl From<BundleError> for ReceiptError {
    fn from(error: BundleError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// Applies a receipt. The first one tells whose receipts are taken from then on; an older one changes nothing.
pub(crate) async fn accept(pipeline: &Pipeline, text: &str) -> Result<Accepted, ReceiptError> {
    let receipt = decode_receipt(text)?;
    let identity = pipeline.identity();
    if receipt.agent_id != identity.agent_id {
        return Err(ReceiptError::Refused(format!(
            "it is for agent {}, and this is agent {}",
            receipt.agent_id, identity.agent_id
        )));
    }
    let known = pipeline.collector_key()?;
    if let Some(known) = known.filter(|known| *known != receipt.public_key) {
        return Err(ReceiptError::Refused(format!(
            "it is signed by {}, and this agent takes receipts of {known} only",
            receipt.public_key
        )));
    }
    let outbox = pipeline.outbox();
    if receipt.applied.seq > outbox.sealed().seq {
        return Err(ReceiptError::Refused(format!(
            "it acknowledges frame {}, and only {} are sealed here: this state directory is an older copy of the one that was exported",
            receipt.applied.seq,
            outbox.sealed().seq
        )));
    }
    outbox
        .acknowledge(receipt.applied)
        .map_err(|error| match error {
            PipelineError::Invalid(message) => ReceiptError::Refused(format!(
                "{message}: another agent was exported under this agent's name"
            )),
            error => error.into(),
        })?;
    if known.is_none() {
        pipeline.take_collector_key(receipt.public_key)?;
    }
    if receipt.catalog.version > pipeline.catalog().version {
        pipeline.set_catalog(receipt.catalog).await?;
    }
    let status = pipeline.status();
    Ok(Accepted {
        acknowledged: status.acknowledged,
        outbox_frames: status.outbox_frames,
        catalog_version: pipeline.catalog().version,
        collector_key: receipt.public_key,
    })
}
