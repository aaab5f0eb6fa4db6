//! `GET /v1/invoices/{id}/explain`: each line down to tiers, grants, usage by day and hour, and frames.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use submeter_common::id::Digest;
use submeter_common::time::Timestamp;

use super::super::error::ApiError;
use super::super::query::Query;
use super::super::reply::SourceReply;
use super::super::state::ApiState;
use super::reply::{InvoiceReply, LineReply};
use super::{found, shown};
use crate::billing::explain::{self, FrameRange, LineExplanation, UsageDay, UsageHour};
use crate::credits::Grant;
use crate::money::Decimal;

/// An invoice with what its lines come from.
#[derive(Serialize)]
pub(in super::super) struct ExplanationReply {
    invoice: InvoiceReply,
    lines: Vec<ExplainedLine>,
}

/// What a line comes from.
#[derive(Serialize)]
struct ExplainedLine {
    /// Its place on the invoice, from 1.
    number: usize,
    #[serde(flatten)]
    line: LineReply,
    /// The grants that paid for it, as they are now.
    paid_by: Vec<Grant>,
    /// Usage of the service period as it is known now.
    days: Vec<DayReply>,
    /// Events of the service period that are known now; what is beyond the line's own came later.
    events_known: u64,
    frames: Vec<FramesReply>,
}

#[derive(Serialize)]
struct DayReply {
    start: Timestamp,
    end: Timestamp,
    group: serde_json::Value,
    quantity: Decimal,
    events: u64,
    hours: Vec<HourReply>,
}

#[derive(Serialize)]
struct HourReply {
    start: Timestamp,
    end: Timestamp,
    quantity: Decimal,
    events: u64,
}

#[derive(Serialize)]
struct FramesReply {
    #[serde(flatten)]
    source: SourceReply,
    first_digest: Option<Digest>,
    last_digest: Option<Digest>,
}

impl From<UsageDay> for DayReply {
    fn from(day: UsageDay) -> Self {
        Self {
            start: day.period.start,
            end: day.period.end,
            group: serde_json::json!(day.group),
            quantity: day.quantity,
            events: day.events,
            hours: day.hours.into_iter().map(HourReply::from).collect(),
        }
    }
}

impl From<UsageHour> for HourReply {
    fn from(hour: UsageHour) -> Self {
        Self {
            start: hour.period.start,
            end: hour.period.end,
            quantity: hour.quantity,
            events: hour.events,
        }
    }
}

impl From<FrameRange> for FramesReply {
    fn from(frames: FrameRange) -> Self {
        Self {
            source: frames.source.into(),
            first_digest: frames.first_digest,
            last_digest: frames.last_digest,
        }
    }
}

impl From<LineExplanation> for ExplainedLine {
    fn from(explained: LineExplanation) -> Self {
        Self {
            number: explained.number,
            line: explained.line.into(),
            paid_by: explained.grants,
            days: explained.days.into_iter().map(DayReply::from).collect(),
            events_known: explained.events_known,
            frames: explained
                .frames
                .into_iter()
                .map(FramesReply::from)
                .collect(),
        }
    }
}

/// `GET /v1/invoices/{id}/explain?line`.
pub(in super::super) async fn explain(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut query: Query,
) -> Result<Json<ExplanationReply>, ApiError> {
    let wanted = query.number("line", 1, u32::MAX, 0)?;
    query.finish()?;
    let invoice = found(&state, &id).await?;
    let wanted = usize::try_from(wanted).ok().filter(|line| *line > 0);
    if wanted.is_some_and(|line| line > invoice.lines.len()) {
        let lines = invoice.lines.len();
        return Err(ApiError::field("line", format!("expected 1 to {lines}")));
    }
    let lines = explain::explain(&*state.storage, &invoice, wanted).await?;
    Ok(Json(ExplanationReply {
        invoice: shown(&state, invoice).await?,
        lines: lines.into_iter().map(ExplainedLine::from).collect(),
    }))
}
