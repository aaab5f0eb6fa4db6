//! The meters, as the collector last gave them.
//!
//! A catalog comes with every register reply and whenever a flush reply names another version. The last good one is kept by
//! the store, so that an agent starts and counts with the collector away.

use submeter_common::protocol::Catalog;

use super::client::{CallError, CollectorClient};
use crate::fail_point::fail_point;
use crate::pipeline::{Pipeline, PipelineError};

/// Hands a catalog to the pipeline, unless it is the one in force; true when it is new.
pub(super) async fn adopt(pipeline: &Pipeline, catalog: Catalog) -> Result<bool, PipelineError> {
    let version = catalog.version;
    let in_force = pipeline.catalog();
    let before = in_force.version;
    // Numbers alone do not tell: a collector that was set back, or a new one, comes to the same number by other meters.
    if catalog == *in_force {
        return Ok(false);
    }
    let meters = catalog.meters.len();
    fail_point!(CatalogRead);
    match pipeline.set_catalog(catalog).await {
        Ok(()) => {
            tracing::info!(before, version, meters, "new catalog in force");
            Ok(true)
        }
        Err(PipelineError::Invalid(problem)) => {
            tracing::error!(
                before,
                version,
                problem,
                "the collector's catalog is refused; the last good one stays in force"
            );
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Reads the catalog when the collector's `version` is not the one in force; true when a new one is.
pub(super) async fn follow(
    client: &CollectorClient,
    pipeline: &Pipeline,
    version: u64,
) -> Result<bool, FollowError> {
    if version == pipeline.catalog().version {
        return Ok(false);
    }
    let catalog = client.catalog().await.map_err(FollowError::Call)?;
    adopt(pipeline, catalog)
        .await
        .map_err(FollowError::Pipeline)
}

/// Why a catalog was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    /// The collector did not answer; the next flush reply brings another chance.
    #[error(transparent)]
    Call(CallError),
    /// The store failed or is stopping.
    #[error(transparent)]
    Pipeline(PipelineError),
}
