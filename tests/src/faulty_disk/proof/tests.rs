#![allow(clippy::unwrap_used)]

use super::*;
use crate::faulty_disk::log::written;

const LOG: i32 = 5;
const DIRECTORY: i32 = 6;
const CLIENT: i32 = 9;
const PATH: &str = "/state/000004.log";

fn note(fd: i32, kind: NoteKind) -> Note {
    Note { fd, kind }
}

fn opened(fd: i32, path: &str, flags: i64) -> Note {
    let path = path.to_owned();
    note(fd, NoteKind::Opened { path, flags })
}

/// A log whose name is durable, and a connection.
fn begin() -> Vec<Note> {
    let mut notes = vec![opened(LOG, PATH, O_CREAT), opened(DIRECTORY, "/state", 0)];
    notes.extend(sync(DIRECTORY, true));
    notes.push(note(CLIENT, NoteKind::Accepted));
    notes
}

fn request(events: &[u64]) -> Note {
    let ids: Vec<String> = events.iter().map(|event| traced_id(*event)).collect();
    let text = format!("POST /events/ingest HTTP/1.1\r\n\r\n{}", ids.join(","));
    note(CLIENT, NoteKind::Received(text.into_bytes()))
}

fn record(event: u64) -> Vec<u8> {
    format!("put {} and more", traced_id(event)).into_bytes()
}

fn wrote(bytes: &[u8]) -> Note {
    note(LOG, NoteKind::WroteLog(bytes.to_vec()))
}

fn sync(fd: i32, success: bool) -> [Note; 2] {
    [
        note(fd, NoteKind::SyncBegan),
        note(fd, NoteKind::Synced { success }),
    ]
}

fn answer(status: u16) -> Note {
    let text = format!("HTTP/1.1 {status} \r\n");
    note(CLIENT, NoteKind::Answering(text.into_bytes()))
}

fn refused(notes: Vec<Note>) {
    let told = prove(&notes).unwrap_err();
    let told = format!("{told:#}");
    assert!(told.contains("acknowledged too early"), "{told}");
}

#[test]
fn an_answer_after_the_fsync_of_all_its_events_is_proved() {
    let mut notes = begin();
    notes.push(request(&[1, 2]));
    notes.push(wrote(&written(&[&record(1), &record(2)])));
    notes.extend(sync(LOG, true));
    notes.push(answer(200));
    let expected = Proved {
        acknowledgements: 1,
        events: 2,
        syncs: 1,
    };
    assert_eq!(prove(&notes).unwrap(), expected);
}

#[test]
fn an_answer_before_the_fsync_is_refused() {
    let mut notes = begin();
    notes.extend([request(&[1]), wrote(&written(&[&record(1)])), answer(200)]);
    refused(notes);
}

#[test]
fn an_answer_between_begin_and_end_of_the_fsync_is_refused() {
    let mut notes = begin();
    notes.extend([request(&[1]), wrote(&written(&[&record(1)]))]);
    let [began, ended] = sync(LOG, true);
    notes.extend([began, answer(200), ended]);
    refused(notes);
}

#[test]
fn what_was_written_while_the_fsync_ran_is_not_covered_by_it() {
    let mut notes = begin();
    let [began, ended] = sync(LOG, true);
    notes.extend([
        request(&[1]),
        began,
        wrote(&written(&[&record(1)])),
        ended,
        answer(200),
    ]);
    refused(notes);
}

#[test]
fn a_record_that_lacks_its_end_is_not_covered() {
    let mut notes = begin();
    let log = written(&[&record(1)]);
    notes.extend([request(&[1]), wrote(&log[..log.len() - 1])]);
    notes.extend(sync(LOG, true));
    notes.push(answer(200));
    refused(notes);
}

#[test]
fn one_event_of_a_request_that_is_in_no_record_is_missed() {
    let mut notes = begin();
    notes.extend([request(&[1, 2]), wrote(&written(&[&record(1)]))]);
    notes.extend(sync(LOG, true));
    notes.push(answer(200));
    refused(notes);
}

#[test]
fn a_failed_fsync_and_one_of_another_file_prove_nothing() {
    for (fd, success) in [(LOG, false), (LOG + 10, true), (DIRECTORY, true)] {
        let mut notes = begin();
        notes.extend([request(&[1]), wrote(&written(&[&record(1)]))]);
        notes.extend(sync(fd, success));
        notes.push(answer(200));
        refused(notes);
    }
}

#[test]
fn a_log_whose_name_is_not_durable_proves_nothing() {
    let mut notes = vec![opened(LOG, PATH, O_CREAT), note(CLIENT, NoteKind::Accepted)];
    notes.extend([request(&[1]), wrote(&written(&[&record(1)]))]);
    notes.extend(sync(LOG, true));
    notes.push(answer(200));
    refused(notes);

    let mut notes = begin();
    let (from, to) = (PATH.to_owned(), "/state/000009.log".to_owned());
    notes.push(note(-1, NoteKind::Renamed { from, to }));
    notes.extend([request(&[1]), wrote(&written(&[&record(1)]))]);
    notes.extend(sync(LOG, true));
    notes.push(answer(200));
    refused(notes);
}

#[test]
fn a_refusal_needs_no_fsync() {
    let mut notes = begin();
    notes.extend([request(&[1]), answer(503), request(&[2]), answer(400)]);
    assert_eq!(prove(&notes).unwrap(), Proved::default());
}
