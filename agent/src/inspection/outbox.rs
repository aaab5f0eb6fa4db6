//! Frames of the outbox: where each stands, and what is in one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use submeter_common::id::{AgentId, Digest};
use submeter_common::meter::AggregationKind;
use submeter_common::protocol::{Receipts, Row, decode_frame};
use submeter_common::time::Timestamp;

use super::page::Gathering;
use super::partials::group_values;
use super::{InspectError, Inspection, Page, Paging, Parameters, Question};
use crate::store::StoreError;
use crate::store::outbox::FrameMeta;

/// How far a frame has come.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FrameState {
    /// Frozen, and not sent since the agent started.
    Waiting,
    /// Sent, and not acknowledged yet.
    Sent,
    /// Held by the collector; kept for a while in case it is restored from a backup.
    Acknowledged,
}

impl FrameState {
    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Acknowledged => "acknowledged",
        }
    }
}

impl FromStr for FrameState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Waiting, Self::Sent, Self::Acknowledged]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("state must be waiting, sent or acknowledged, but is {text:?}"))
    }
}

/// Which frame to open, and which of its rows.
#[derive(Clone, Debug)]
pub(crate) struct FrameQuery {
    pub(crate) seq: u64,
    pub(crate) paging: Paging,
}

/// Which frames to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutboxQuery {
    /// Only frames in this state.
    pub(crate) state: Option<FrameState>,
    pub(crate) paging: Paging,
}

/// A retained frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FrameItem {
    /// Its place in the list: its number.
    pub(crate) cursor: String,
    pub(crate) seq: u64,
    pub(crate) digest: Digest,
    pub(crate) previous: Digest,
    pub(crate) sealed_at: Timestamp,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Accepted events that this frame closes the account of, those that no meter matched included.
    pub(crate) accepted: u64,
    pub(crate) state: FrameState,
}

/// A frame and a page of its rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FrameContent {
    pub(crate) frame: FrameItem,
    pub(crate) agent_id: AgentId,
    pub(crate) epoch: u64,
    pub(crate) watermark: Timestamp,
    pub(crate) farewell: bool,
    pub(crate) catalog_version: u64,
    pub(crate) receipts: Receipts,
    pub(crate) meter_events: BTreeMap<String, u64>,
    pub(crate) rows: Page<RowItem>,
}

/// One row of a frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RowItem {
    /// Its place among the frame's rows, from 1.
    pub(crate) cursor: String,
    pub(crate) meter_id: String,
    pub(crate) aggregation: AggregationKind,
    pub(crate) customer_id: String,
    pub(crate) window: Timestamp,
    pub(crate) group: BTreeMap<String, Option<String>>,
    pub(crate) other: bool,
    pub(crate) quantity: String,
    pub(crate) events: u64,
    pub(crate) non_numeric: u64,
}

impl Inspection<'_> {
    /// Lists the retained frames, oldest first.
    fn outbox(&self, query: &OutboxQuery) -> Result<Page<FrameItem>, InspectError> {
        let after = number_of(&query.paging, "the number of a frame")?;
        let snapshot = self.store.snapshot();
        let acknowledged = snapshot.acknowledged()?.position.seq;
        let mut gathering = Gathering::new(query.paging.limit);
        snapshot.walk_frames(after.saturating_add(1), |meta| {
            let item = self.frame_item(&meta, acknowledged);
            let wanted = query.state.is_none_or(|state| state == item.state);
            Ok(gathering.take(wanted.then_some(item), || meta.seq.to_string()))
        })?;
        Ok(gathering.finish())
    }

    /// One frame and some of its rows; none when it is not retained.
    fn frame(&self, seq: u64, paging: &Paging) -> Result<Option<FrameContent>, InspectError> {
        let after = number_of(paging, "the number of a row")?;
        let snapshot = self.store.snapshot();
        let acknowledged = snapshot.acknowledged()?.position.seq;
        let mut item = None;
        snapshot.walk_frames(seq, |meta| {
            item = (meta.seq == seq).then(|| self.frame_item(&meta, acknowledged));
            Ok(ControlFlow::Break(()))
        })?;
        let (Some(frame), Some(bytes)) = (item, snapshot.frame(seq)?) else {
            return Ok(None);
        };
        let (decoded, _) = decode_frame(&bytes).map_err(|error| {
            StoreError::Corrupt(format!("frame {seq} does not read back: {error}"))
        })?;
        let catalog = snapshot.catalog()?;
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        let mut gathering = Gathering::new(paging.limit);
        for (index, row) in decoded.rows.iter().enumerate().skip(skip) {
            let meter = catalog.meters.iter().find(|meter| meter.id == row.meter_id);
            let item = RowItem::new(index + 1, row, group_values(&row.group, meter));
            if gathering
                .take(Some(item), || (index + 1).to_string())
                .is_break()
            {
                break;
            }
        }
        let header = decoded.header;
        Ok(Some(FrameContent {
            frame,
            agent_id: header.agent_id,
            epoch: header.epoch,
            watermark: header.watermark,
            farewell: header.farewell,
            catalog_version: header.catalog_version,
            receipts: header.receipts,
            meter_events: header
                .meter_events
                .into_iter()
                .map(|(meter, events)| (meter.into_string(), events))
                .collect(),
            rows: gathering.finish(),
        }))
    }

    fn frame_item(&self, meta: &FrameMeta, acknowledged: u64) -> FrameItem {
        let state = if meta.seq <= acknowledged {
            FrameState::Acknowledged
        } else if meta.seq <= self.sent {
            FrameState::Sent
        } else {
            FrameState::Waiting
        };
        FrameItem {
            cursor: meta.seq.to_string(),
            seq: meta.seq,
            digest: meta.digest,
            previous: meta.previous,
            sealed_at: meta.sealed_at,
            rows: meta.rows,
            bytes: meta.bytes,
            accepted: meta.accepted.saturating_sub(meta.accepted_before),
            state,
        }
    }
}

fn number_of(paging: &Paging, what: &str) -> Result<u64, InspectError> {
    let Some(text) = &paging.after else {
        return Ok(0);
    };
    text.parse()
        .map_err(|_| InspectError::Question(format!("after must be {what}, but is {text:?}")))
}

impl RowItem {
    fn new(number: usize, row: &Row, group: BTreeMap<String, Option<String>>) -> Self {
        Self {
            cursor: number.to_string(),
            meter_id: row.meter_id.to_string(),
            aggregation: row.partial.kind(),
            customer_id: row.customer_id.to_string(),
            window: row.window.start(),
            group,
            other: row.group.is_other(),
            quantity: row.partial.value().to_string(),
            events: row.partial.events,
            non_numeric: row.partial.non_numeric,
        }
    }
}

impl Question for OutboxQuery {
    type Answer = Page<FrameItem>;
    const PATH: &'static str = "/v1/inspect/outbox";

    fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        let state = self.state.map(|state| state.as_str().to_owned());
        let mut parameters = vec![("state", state)];
        parameters.extend(self.paging.parameters());
        parameters
    }

    fn read(parameters: &Parameters<'_>) -> Result<Self, InspectError> {
        let state = parameters.text("state").map(|text| text.parse());
        Ok(Self {
            state: state.transpose().map_err(InspectError::Question)?,
            paging: parameters.paging()?,
        })
    }

    fn ask(&self, inspection: &Inspection<'_>) -> Result<Self::Answer, InspectError> {
        inspection.outbox(self)
    }
}

impl Question for FrameQuery {
    type Answer = FrameContent;
    const PATH: &'static str = "/v1/inspect/frame";

    fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        let mut parameters = vec![("seq", Some(self.seq.to_string()))];
        parameters.extend(self.paging.parameters());
        parameters
    }

    fn read(parameters: &Parameters<'_>) -> Result<Self, InspectError> {
        let seq = parameters.text("seq").unwrap_or_default();
        Ok(Self {
            seq: seq.parse().map_err(|_| {
                InspectError::Question(format!("seq must be the number of a frame, but is {seq:?}"))
            })?,
            paging: parameters.paging()?,
        })
    }

    fn ask(&self, inspection: &Inspection<'_>) -> Result<Self::Answer, InspectError> {
        inspection.frame(self.seq, &self.paging)?.ok_or_else(|| {
            InspectError::NotFound(format!("frame {} is not in the outbox", self.seq))
        })
    }
}
