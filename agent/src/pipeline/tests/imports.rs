//! Imports: resumed where they stopped, past events taken, the watermark held.

use submeter_common::time::Timestamp;

use super::kit::{Kit, at, event, seconds, submission};
use crate::pipeline::EventOutcome::{Accepted, Duplicate, TooOld};
use crate::pipeline::ImportStatus::{Abandoned, Complete, Open};
use crate::pipeline::{
    EventOutcome, ImportCursor, ImportRequest, Pipeline, PipelineError, SealReason, SubmitError,
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
    assert_eq!(done.status, Complete);
    pipeline.seal(SealReason::Requested).await.unwrap();
    assert_eq!(pipeline.status().watermark, Some(live));
    let late = line(&pipeline, 0, "a", live).await;
    assert!(matches!(
        late,
        Err(SubmitError::ImportMismatch { expected: None })
    ));
    // The same file again is known to be done.
    let again = pipeline.begin_import(request()).await.unwrap();
    assert_eq!(again.status, Complete);
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
async fn an_import_abandoned_before_its_first_line_is_forgotten() {
    let kit = Kit::new();
    let pipeline = kit.open();
    pipeline.begin_import(request()).await.unwrap();
    assert!(pipeline.abandon_import("abc").await.unwrap().is_some());
    assert!(pipeline.abandon_import("abc").await.unwrap().is_none());
    assert!(pipeline.complete_import("abc").await.unwrap().is_none());
    assert!(pipeline.imports().is_empty());
}

/// Longer than any id is remembered: only the line knows what was taken.
const FORGOTTEN: u64 = 3 * DAY;

#[tokio::test]
async fn an_abandoned_import_goes_on_behind_its_lines_however_much_later() {
    let kit = Kit::new();
    let past = at("2025-12-20T00:00:00Z");
    let pipeline = kit.open();
    let begun = pipeline.begin_import(request()).await.unwrap();
    assert_eq!(line(&pipeline, 0, "a", past).await.unwrap(), [Accepted]);
    let given_up = pipeline.abandon_import("abc").await.unwrap().unwrap();
    assert_eq!((given_up.status, given_up.lines_done), (Abandoned, 1));
    let refused = line(&pipeline, 1, "b", past).await;
    assert!(matches!(
        refused,
        Err(SubmitError::ImportMismatch { expected: None })
    ));
    drop(pipeline);
    kit.clock.advance(seconds(FORGOTTEN));
    let pipeline = kit.open();
    let again = pipeline.begin_import(request()).await.unwrap();
    assert_eq!((again.status, again.lines_done), (Open, 1));
    assert_eq!(again.oldest, begun.oldest, "as far back as it was promised");
    let repeated = line(&pipeline, 0, "a", past).await;
    assert!(matches!(
        repeated,
        Err(SubmitError::ImportMismatch { expected: Some(1) })
    ));
    assert_eq!(line(&pipeline, 1, "b", past).await.unwrap(), [Accepted]);
}

#[tokio::test]
async fn a_finished_import_is_known_after_any_number_of_others() {
    let kit = Kit::new();
    let pipeline = kit.open();
    pipeline.begin_import(request()).await.unwrap();
    pipeline.complete_import("abc").await.unwrap();
    let given_up = pipeline.abandon_import("abc").await.unwrap().unwrap();
    assert_eq!(given_up.status, Complete, "nothing to give up");
    for number in 0..120 {
        let id = format!("other-{number}");
        let other = ImportRequest {
            id: id.clone(),
            ..request()
        };
        pipeline.begin_import(other).await.unwrap();
        pipeline.complete_import(&id).await.unwrap();
    }
    assert_eq!(pipeline.imports().len(), 100, "the youngest are listed");
    drop(pipeline);
    let pipeline = kit.open();
    let again = pipeline.begin_import(request()).await.unwrap();
    assert_eq!(again.status, Complete);
}

#[tokio::test]
async fn only_so_many_imports_are_open_at_one_time() {
    let kit = Kit::new();
    let pipeline = kit.open();
    let begin = |number: u64| {
        pipeline.begin_import(ImportRequest {
            id: number.to_string(),
            ..request()
        })
    };
    for number in 0..1000 {
        begin(number).await.unwrap();
    }
    assert!(matches!(
        begin(1000).await,
        Err(PipelineError::Invalid(message)) if message.contains("1000 imports are open")
    ));
    begin(7).await.expect("found again");
    pipeline.abandon_import("7").await.unwrap();
    begin(1000).await.expect("there is room again");
}
