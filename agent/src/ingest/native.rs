//! `POST /v1/events`: one event, an array of them or NDJSON of any length, answered event by event.
//!
//! One bad event does not hold up the others. A JSON body is read as a whole before anything of it is stored, so that a
//! malformed one leaves nothing behind. NDJSON is worked on in blocks while it arrives: memory is bounded by a block, and
//! when the request breaks off, the reply says how far it came; sending all of it again counts nothing twice.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use submeter_common::event::{
    Event, EventError, Horizon, Rejection, RejectionCode, parse_each, readable_event_id,
};
use submeter_common::limits::EVENTS_PER_REQUEST_MAX;

use super::Ingest;
use super::compatible::{TIMESTAMP, behind_watermark};
use super::lines::{Block, LINE_BYTES_MAX, Line, Lines};
use crate::http::body::{BodyError, drain, media_type, next_piece, unsupported};
use crate::http::reply::{ApiError, json};
use crate::pipeline::{EventOutcome, ImportCursor};

/// Bytes of a block of lines; one more line may come on top.
const BLOCK_BYTES_MAX: usize = 1 << 20;

/// Refused events that are listed; the others are only counted, so that a reply stays small.
const REJECTED_LISTED_MAX: usize = 1000;

/// What became of the events of a request.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Tally {
    accepted: u64,
    duplicates: u64,
    conflicts: u64,
    rejected_count: u64,
    /// The first of the refused events.
    rejected: Vec<EventError>,
}

/// Where the lines of a stream belong.
pub(crate) struct Stream<'a> {
    /// The first line's number.
    pub(crate) first_line: u64,
    /// Lines before this one are passed over: they are done.
    pub(crate) lines_done: u64,
    /// The import they are part of.
    pub(crate) import: Option<&'a str>,
    /// How old and how new events may be.
    pub(crate) horizon: Horizon,
}

/// Takes events one by one; the reply is sent after all accepted ones are on stable storage.
pub(crate) async fn ingest(
    State(ingest): State<Arc<Ingest>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let mut tally = Tally::default();
    match media_type(&headers)?.as_str() {
        "application/json" => {
            let (body, _share) = ingest.budget.read(&headers, body).await?;
            take_json(&ingest, &body, &mut tally).await?;
        }
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
            let mut stream = Stream {
                first_line: 0,
                lines_done: 0,
                import: None,
                horizon: ingest.horizon,
            };
            take_lines(&ingest, body, &mut stream, &mut tally).await?;
        }
        other => {
            drain(body).await;
            return Err(unsupported(
                other,
                "application/json or application/x-ndjson",
            ));
        }
    }
    Ok(json(StatusCode::OK, &tally))
}

async fn take_json(ingest: &Ingest, body: &[u8], tally: &mut Tally) -> Result<(), ApiError> {
    let now = ingest.clock.now();
    let each = parse_each(body, now)?;
    let mut submission = ingest.pipeline.submission();
    let mut pushed = Vec::with_capacity(each.len());
    for (index, (event_id, read)) in each.iter().enumerate() {
        let checked = match read {
            Ok(event) => event
                .check_horizon(now, &ingest.horizon)
                .map(|()| event)
                .map_err(|rejection| (Some(event.event_id.to_string()), rejection)),
            Err(rejection) => Err((event_id.clone(), rejection.clone())),
        };
        match checked {
            Ok(event) => {
                submission.push(event);
                pushed.push((index, event));
            }
            Err((event_id, rejection)) => tally.refuse(ingest, index, event_id, rejection),
        }
    }
    if pushed.is_empty() {
        return Ok(());
    }
    let outcomes = ingest.pipeline.submit(submission).await?;
    for (outcome, (index, event)) in outcomes.into_iter().zip(pushed) {
        if tally.add(outcome) {
            tally.list(
                index,
                Some(event.event_id.to_string()),
                behind_watermark(TIMESTAMP, event),
            );
        }
    }
    Ok(())
}

/// Takes NDJSON while it arrives. On an error, what was taken before stays, and the message says how much that is.
pub(crate) async fn take_lines(
    ingest: &Ingest,
    body: Body,
    stream: &mut Stream<'_>,
    tally: &mut Tally,
) -> Result<(), ApiError> {
    read_lines(ingest, body, stream, tally).await.map_err(|error| {
        let stored = tally.accepted + tally.duplicates + tally.conflicts;
        if stored == 0 {
            return error;
        }
        error.prefixed(&format!("{stored} events before this are stored, and sending them again counts nothing twice:"))
    })
}

async fn read_lines(
    ingest: &Ingest,
    mut body: Body,
    stream: &mut Stream<'_>,
    tally: &mut Tally,
) -> Result<(), ApiError> {
    let mut share = ingest.budget.share();
    let mut lines = Lines::default();
    let mut next_line = stream.first_line;
    let mut deadline = ingest.budget.deadline();
    loop {
        let piece = match next_piece(&mut body, deadline).await {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            // Lines that come slowly are taken as they come, so that only a line without end is late.
            Err(BodyError::Late) if lines.count() > 0 => {
                next_line = take_block(ingest, lines.take(), next_line, stream, tally).await?;
                deadline = ingest.budget.deadline();
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let taken = lines.push(rest, EVENTS_PER_REQUEST_MAX);
            rest = &rest[taken..];
            ingest.budget.cover(&mut share, lines.bytes())?;
            if lines.count() >= EVENTS_PER_REQUEST_MAX
                || lines.bytes() >= BLOCK_BYTES_MAX && lines.count() > 0
            {
                next_line = take_block(ingest, lines.take(), next_line, stream, tally).await?;
                deadline = ingest.budget.deadline();
            }
        }
    }
    lines.finish();
    take_block(ingest, lines.take(), next_line, stream, tally).await?;
    Ok(())
}

/// Takes one block; returns the number of the line after it.
async fn take_block(
    ingest: &Ingest,
    block: Block,
    first_line: u64,
    stream: &Stream<'_>,
    tally: &mut Tally,
) -> Result<u64, ApiError> {
    let next_line = first_line + block.count() as u64;
    let mut submission = ingest.pipeline.submission();
    let mut pushed = Vec::new();
    if next_line <= stream.lines_done || block.count() == 0 {
        return Ok(next_line);
    }
    let now = ingest.clock.now();
    for (number, line) in (first_line..)
        .zip(block.lines())
        .skip_while(|(number, _)| *number < stream.lines_done)
    {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(text) = line_text(line).unwrap_or_else(|rejection| {
            tally.refuse(ingest, index, None, rejection);
            None
        }) else {
            continue;
        };
        let read = Event::parse(text, now)
            .and_then(|event| event.check_horizon(now, &stream.horizon).map(|()| event));
        match read {
            Ok(event) => {
                submission.push(&event);
                pushed.push((index, text));
            }
            Err(rejection) => tally.refuse(ingest, index, readable_event_id(text), rejection),
        }
    }
    if let Some(id) = stream.import {
        let first_line = first_line.max(stream.lines_done);
        submission.import = Some(ImportCursor {
            id: id.to_owned(),
            first_line,
            next_line,
        });
    } else if pushed.is_empty() {
        return Ok(next_line);
    }
    let outcomes = ingest.pipeline.submit(submission).await?;
    for (outcome, (index, text)) in outcomes.into_iter().zip(pushed) {
        if tally.add(outcome)
            && let Ok(event) = Event::parse(text, now)
        {
            tally.list(
                index,
                Some(event.event_id.to_string()),
                behind_watermark(TIMESTAMP, &event),
            );
        }
    }
    Ok(next_line)
}

/// The text of a line, None when it is blank.
fn line_text(line: Line<'_>) -> Result<Option<&str>, Rejection> {
    let malformed =
        |message: String| Err(Rejection::new(RejectionCode::MalformedEvent, None, message));
    match line {
        Line::Text(text) => Ok(Some(text)),
        Line::Blank => Ok(None),
        Line::NotUtf8 => malformed("the line must be UTF-8".to_owned()),
        Line::TooLong => malformed(format!(
            "the line must be at most {LINE_BYTES_MAX} bytes long"
        )),
    }
}

impl Tally {
    /// Counts an outcome; true when the event was refused for its age and must be listed.
    fn add(&mut self, outcome: EventOutcome) -> bool {
        match outcome {
            EventOutcome::Accepted => self.accepted += 1,
            EventOutcome::Duplicate => self.duplicates += 1,
            EventOutcome::Conflict => self.conflicts += 1,
            EventOutcome::TooOld => return true,
        }
        false
    }

    /// Refuses an event before it reaches the pipeline, and counts it in the agent's receipts.
    fn refuse(
        &mut self,
        ingest: &Ingest,
        index: usize,
        event_id: Option<String>,
        rejection: Rejection,
    ) {
        ingest.pipeline.record_rejected(rejection.code, 1);
        self.list(index, event_id, rejection);
    }

    fn list(&mut self, index: usize, event_id: Option<String>, rejection: Rejection) {
        self.rejected_count += 1;
        if self.rejected.len() < REJECTED_LISTED_MAX {
            self.rejected
                .push(EventError::new(index, event_id, rejection));
        }
    }
}
