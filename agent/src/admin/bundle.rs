//! Bundles of a running agent: the file, the key it is signed with, and the receipt that comes back.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use submeter_common::signature::PublicKey;
use submeter_common::time::{Clock as _, SystemClock};

use super::Admin;
use crate::bundle::{Export, ExportError, ReceiptError, accept};
use crate::http::query::Query;
use crate::http::reply::{ApiError, json};
use crate::http::stream;

/// A catalog of many thousand meters.
pub(super) const RECEIPT_BYTES_MAX: usize = 64 << 20;

/// The key that bundles are signed with.
#[derive(Serialize, Deserialize)]
pub(crate) struct PublicKeyReply {
    pub(crate) public_key: PublicKey,
}

/// `GET /v1/bundle[?from=SEQ]`: one bundle, frame after frame as the reader takes them.
pub(crate) async fn bundle(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = Query::of(&uri)?;
    let from = query.number("from", 1, u64::MAX)?;
    let room = admin.stream()?;
    let pipeline = admin.pipeline.clone();
    let export =
        blocking(move || Export::prepare(pipeline.store(), from, SystemClock.now())).await?;
    let (sender, body) = stream::body();
    let pipeline = admin.pipeline.clone();
    tokio::task::spawn_blocking(move || {
        let _room = room;
        let written = export.write(pipeline.store(), |piece| {
            match sender.blocking_send(piece.into()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        if let Err(error) = written {
            tracing::warn!(%error, "a bundle was cut off; it is refused wherever it is read");
        }
    });
    Ok(([(CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// `GET /v1/bundle/public-key`.
pub(crate) async fn public_key(State(admin): State<Arc<Admin>>) -> Result<Response, ApiError> {
    let pipeline = admin.pipeline.clone();
    let public_key = blocking(move || Export::public_key(pipeline.store())).await?;
    Ok(json(StatusCode::OK, &PublicKeyReply { public_key }))
}

/// `POST /v1/bundle/receipt`: what the collector gave back for a bundle.
pub(crate) async fn receipt(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (bytes, _share) = admin.receipts.read(&headers, body).await?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| refused("the receipt is refused: it is not UTF-8".to_owned()))?;
    let accepted = accept(&admin.pipeline, text).await?;
    Ok(json(StatusCode::OK, &accepted))
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ExportError> + Send + 'static,
) -> Result<T, ApiError> {
    let read = tokio::task::spawn_blocking(read).await;
    Ok(read.map_err(|error| ApiError::internal(&error))??)
}

fn refused(message: String) -> ApiError {
    ApiError::unprocessable("RECEIPT_REFUSED", message)
}

impl From<ExportError> for ApiError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Nothing | ExportError::NotRetained(_) | ExportError::Unborn => {
                Self::not_found("NOTHING_TO_EXPORT", error.to_string())
            }
            ExportError::Store(_) | ExportError::Bundle(_) => Self::internal(&error),
        }
    }
}

impl From<ReceiptError> for ApiError {
    fn from(error: ReceiptError) -> Self {
        match error {
            ReceiptError::Refused(_) => refused(error.to_string()),
            ReceiptError::Pipeline(error) => error.into(),
        }
    }
}
