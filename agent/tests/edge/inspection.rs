//! Quarantine: what an agent could not count is shown with the reason, whether it runs or not.
//!
//! It is a net below what cannot happen: totals that do not fit go on in a further part, and journal records carry
//! checksums. So the rows are put into the state directory by hand, in the form the store keeps them in.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use submeter_common::event::Event;
use submeter_common::time::{Clock as _, SystemClock};

use crate::collector::Collector;
use crate::harness::{Running, config, event};

const METERS: [&str; 2] = ["mtr_also", "mtr_count"];
const EVENTS: usize = 6;
/// The first events could not be counted by the first meter, the last one by neither.
const REFUSED: usize = 3;
const REASON: &str = "the total is too large to be kept exactly";

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_counted_is_listed_by_meter_and_page_by_page() {
    let place = tempfile::tempdir().expect("a directory");
    let collector = Collector::start().await;
    for id in METERS {
        collector.count_meter(id);
    }
    let agent = start(&collector, place.path()).await;
    let events: Vec<String> = (0..EVENTS).map(|id| event(&format!("e{id}"))).collect();
    agent.ingest(&events).await;
    assert_eq!(list(place.path(), &["quarantine"]), Vec::<Value>::new());
    agent.stop().await;
    set_aside(place.path());

    let stopped = told(place.path());
    let agent = start(&collector, place.path()).await;
    assert_eq!(
        told(place.path()),
        stopped,
        "a running agent tells otherwise"
    );
    let table = inspect(place.path(), &["quarantine"]);
    for words in [
        "e0",
        "mtr_also",
        "mtr_count",
        REASON,
        "all",
        "it ends early",
    ] {
        assert!(table.contains(words), "no {words:?} in\n{table}");
    }
    let table = inspect(place.path(), &["events"]);
    assert!(
        table.contains("mtr_also (QUARANTINED), mtr_count"),
        "{table}"
    );
    agent.stop().await;
}

async fn start(collector: &Collector, place: &Path) -> Running {
    let agent = Running::start(config(&data(place), &collector.url())).await;
    agent
        .until("the catalog", |status| status["catalog_version"] == 2)
        .await;
    agent
}

/// Lists the quarantine in every way; what comes of it must fit together.
fn told(place: &Path) -> [Vec<Value>; 2] {
    let all = list(place, &["quarantine", "--limit", "0"]);
    let found: Vec<_> = all
        .iter()
        .map(|item| (text(&item["event_id"]), text(&item["meter_id"])))
        .collect();
    let expected = [
        ("e0", METERS[0]),
        ("e1", METERS[0]),
        ("e2", METERS[0]),
        ("e5", METERS[0]),
        ("e5", METERS[1]),
        // It does not read back, so nobody knows what it was.
        ("", ""),
    ];
    assert_eq!(found, expected);
    assert!(
        all[..5]
            .iter()
            .all(|item| item["reason"] == REASON && item["bytes"].is_null())
    );
    assert_eq!(
        (text(&all[5]["bytes"]), text(&all[5]["reason"])),
        ("ab01", "it ends early")
    );

    for meter in METERS {
        let of_meter: Vec<Value> = all
            .iter()
            .filter(|item| item["meter_id"] == meter)
            .cloned()
            .collect();
        assert_eq!(list(place, &["quarantine", "--meter", meter]), of_meter);
    }
    assert_eq!(
        list(place, &["quarantine", "--meter", "mtr_other"]),
        Vec::<Value>::new()
    );

    let mut walked: Vec<Value> = Vec::new();
    loop {
        let mut page = vec!["quarantine", "--limit", "2"];
        page.extend(
            walked
                .last()
                .into_iter()
                .flat_map(|last| ["--after", text(&last["cursor"])]),
        );
        let page = list(place, &page);
        assert!(page.len() <= 2, "{page:?}");
        if page.is_empty() {
            break;
        }
        walked.extend(page);
    }
    assert_eq!(walked, all, "page by page");
    let events = list(place, &["events", "--limit", "0"]);
    check_events(&events);
    [all, events]
}

/// An event says for which meters it counts, and for which it is set aside.
fn check_events(events: &[Value]) {
    assert_eq!(events.len(), EVENTS);
    for (number, event) in events.iter().rev().enumerate() {
        assert_eq!(event["event_id"], format!("e{number}"));
        let is_last = number == EVENTS - 1;
        for (meter, aside) in METERS
            .into_iter()
            .zip([number < REFUSED || is_last, is_last])
        {
            let told = event["meters"].as_array().expect("meters");
            let told = told
                .iter()
                .find(|told| told["meter_id"] == meter)
                .expect("the meter");
            let expected = if aside {
                ("quarantined", REASON)
            } else {
                ("counted", "")
            };
            assert_eq!(
                (text(&told["state"]), text(&told["reason"])),
                expected,
                "{event}"
            );
        }
    }
}

/// Puts rows into the quarantine of a stopped agent.
fn set_aside(place: &Path) {
    let path = data(place).join("db");
    let options = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&options, &path).expect("its families");
    let places: Vec<(u64, u32)> = list(place, &["events", "--limit", "0"])
        .iter()
        .rev()
        .map(|event| text(&event["cursor"]).split_once('.').expect("a place"))
        .map(|(record, index)| {
            (
                record.parse().expect("a record"),
                index.parse().expect("an index"),
            )
        })
        .collect();
    let db = rocksdb::DB::open_cf(&options, &path, families).expect("nobody has it open");
    let put = |(record, index): (u64, u32), meter: &str, reason: &str, event: &[u8]| {
        let key = [
            &record.to_be_bytes()[..],
            &index.to_be_bytes(),
            meter.as_bytes(),
        ]
        .concat();
        let row = (record, index, meter, reason, event);
        let row = bincode::encode_to_vec(row, bincode::config::standard()).expect("a row");
        let family = db.cf_handle("quarantine").expect("the quarantine");
        db.put_cf(family, key, row).expect("a write");
    };
    for number in (0..REFUSED).chain([EVENTS - 1]) {
        put(places[number], METERS[0], REASON, &encoded(number));
    }
    put(places[EVENTS - 1], METERS[1], REASON, &encoded(EVENTS - 1));
    let (last, _) = places[EVENTS - 1];
    put((last + 1, 0), "", "it ends early", &[0xab, 0x01]);
}

/// An event as the journal has it.
fn encoded(number: usize) -> Vec<u8> {
    let event = Event {
        event_id: Cow::Owned(format!("e{number}")),
        customer_id: Cow::Borrowed("acme"),
        event_name: Cow::Borrowed("api.call"),
        timestamp: SystemClock.now(),
        timestamp_given: false,
        metadata: Vec::new(),
    };
    let mut bytes = Vec::new();
    event.encode(&mut bytes);
    bytes
}

fn data(place: &Path) -> PathBuf {
    place.join("data")
}

/// A text, or nothing.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(place: &Path, arguments: &[&str]) -> Vec<Value> {
    let text = inspect(place, &[arguments, &["--json"]].concat());
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("lines of JSON")
}

fn inspect(place: &Path, arguments: &[&str]) -> String {
    let ended = Command::new(env!("CARGO_BIN_EXE_submeter-agent"))
        .arg("inspect")
        .args(arguments)
        .arg("--data-dir")
        .arg(data(place))
        .current_dir(place)
        .env_clear()
        .output()
        .expect("the program starts");
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    String::from_utf8(ended.stdout).expect("text")
}
