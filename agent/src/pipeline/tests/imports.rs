//! Imports: resumed where they stopped, past events taken, the watermark held.

use submeter_common::time::Timestamp;

use super::kit::{Kit, at, event, seconds, submission};
use crate::pipeline::EventOutcome::{Accepted, Duplicate, TooOld};
use crate::pipeline::{
    EventOutcome, ImportCursor, ImportRequest, Pipeline, SealReason, SubmitError,
};

const DAY: u64 = 24 * 3600;

fn request() -> ImportRequest {
    ImportRequest {
        id: "abc".into(),
        name: "past.ndjson".into(),
        max_age: seconds(40 * DAY),
    }
}

async fn line(
    pipeline: &Pipeline,
    first_line: u64,
    id: &str,
    timestamp: Timestamp,
) -> Result<Vec<EventOutcome>, SubmitError> {
    let mut submission = submission(pipeline, &[event(id, "cus", timestamp, 1)]);
    submission.import = Some(ImportCursor {
        id: "abc".into(),
        first_line,
        next_line: first_line + 1,
    });
    pipeline.submit(submission).await
}

#[tokio::test]
async fn an_import_goes_on_at_its_line_after_a_crash() {
    let kit = Kit::new();
    let past = at("2025-12-20T00:00:00Z");
    let pipeline = kit.open();
    assert_eq!(
        pipeline.begin_import(request()).await.unwrap().lines_done,
        0
    );
    assert_eq!(line(&pipeline, 0, "a", past).await.unwrap(), [Accepted]);
    assert_eq!(line(&pipeline, 1, "b", past).await.unwrap(), [Accepted]);
    drop(pipeline);
    let pipeline = kit.open();
    assert_eq!(
        pipeline.begin_import(request()).await.unwrap().lines_done,
        2
    );
    let again = line(&pipeline, 1, "b", past).await;
    assert!(matches!(
        again,
        Err(SubmitError::ImportMismatch { expected: Some(2) })
    ));
    // A line of duplicates only advances the import as well.
    assert_eq!(line(&pipeline, 2, "a", past).await.unwrap(), [Duplicate]);
    drop(pipeline);
    assert_eq!(kit.open().imports()[0].lines_done, 3);
}

#[tokio::test]
async fn an_import_holds_the_watermark_until_it_is_complete() {
    let kit = Kit::new();
    let pipeline = kit.open();
    pipeline.seal(SealReason::Requested).await.unwrap();
    let live = pipeline.status().watermark.unwrap();
    assert_eq!(live, at("2026-01-10T10:59:00Z"));
    pipeline.begin_import(request()).await.unwrap();
    pipeline.seal(SealReason::Requested).await.unwrap();
    assert_eq!(
        pipeline.status().watermark,
        Some(at("2025-12-01T12:00:00Z"))
    );
    let done = pipeline.complete_import("abc").await.unwrap().unwrap();
    assert!(done.complete);
    pipeline.seal(SealReason::Requested).await.unwrap();
    assert_eq!(pipeline.status().watermark, Some(live));
    let late = line(&pipeline, 0, "a", live).await;
    assert!(matches!(
        late,
        Err(SubmitError::ImportMismatch { expected: None })
    ));
    // The same file again is known to be done.
    assert!(pipeline.begin_import(request()).await.unwrap().complete);
}

#[tokio::test]
async fn an_import_takes_nothing_older_than_it_holds_the_watermark_for() {
    let kit = Kit::new();
    let pipeline = kit.open();
    pipeline.begin_import(request()).await.unwrap();
    assert_eq!(
        line(&pipeline, 0, "a", at("2025-12-01T11:59:59Z"))
            .await
            .unwrap(),
        [TooOld]
    );
    assert_eq!(
        line(&pipeline, 1, "a", at("2025-12-01T12:00:00Z"))
            .await
            .unwrap(),
        [Accepted]
    );
}

#[tokio::test]
async fn an_abandoned_import_is_forgotten() {
    let kit = Kit::new();
    let pipeline = kit.open();
    pipeline.begin_import(request()).await.unwrap();
    assert!(pipeline.abandon_import("abc").await.unwrap().is_some());
    assert!(pipeline.abandon_import("abc").await.unwrap().is_none());
    assert!(pipeline.complete_import("abc").await.unwrap().is_none());
    assert!(pipeline.imports().is_empty());
}
