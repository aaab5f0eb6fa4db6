//! A state directory in a temporary place, a clock that is set by hand, and short ways to say things.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use submeter_common::event::{Event, Value};
use submeter_common::id::MeterId;
use submeter_common::meter::{Aggregation, AggregationKind, Meter};
use submeter_common::protocol::Catalog;
use submeter_common::quantity::Quantity;
use submeter_common::time::{Clock, ManualClock, Timestamp};
use tempfile::TempDir;

use crate::pipeline::{EventOutcome, Pipeline, StoreConfig, Submission, SubmitError};

pub(super) struct Kit {
    _dir: TempDir,
    pub(super) clock: ManualClock,
    pub(super) config: StoreConfig,
}

impl Kit {
    /// Noon of a day, default budgets.
    pub(super) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let mut config = StoreConfig::new(dir.path().join("state"));
        config.disk_free_bytes_min = 0;
        let clock = ManualClock::new(at("2026-01-10T12:00:00Z"));
        Self {
            _dir: dir,
            clock,
            config,
        }
    }

    pub(super) fn open(&self) -> Pipeline {
        Pipeline::open(self.config.clone(), Arc::new(self.clock.clone())).unwrap()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

pub(super) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An event of customer `customer` with one number and one model name.
pub(super) fn event(
    id: impl Into<String>,
    customer: impl Into<String>,
    timestamp: Timestamp,
    tokens: i64,
) -> Event<'static> {
    let model = if tokens % 2 == 0 { "even" } else { "odd" };
    Event {
        event_id: Cow::Owned(id.into()),
        customer_id: Cow::Owned(customer.into()),
        event_name: Cow::Borrowed("llm.request"),
        timestamp,
        timestamp_given: true,
        metadata: vec![
            (Cow::Borrowed("model"), Value::String(Cow::Borrowed(model))),
            (
                Cow::Borrowed("tokens"),
                Value::Number(Quantity::from_i64(tokens)),
            ),
        ],
    }
}

pub(super) fn submission(pipeline: &Pipeline, events: &[Event<'_>]) -> Submission {
    let mut submission = pipeline.submission();
    events.iter().for_each(|event| submission.push(event));
    submission
}

pub(super) async fn submit(
    pipeline: &Pipeline,
    events: &[Event<'_>],
) -> Result<Vec<EventOutcome>, SubmitError> {
    pipeline.submit(submission(pipeline, events)).await
}

/// A meter over `tokens` of `llm.request`, named after its aggregation.
pub(super) fn meter(kind: AggregationKind) -> Meter {
    let name = format!("{kind:?}").to_lowercase();
    let key = (kind != AggregationKind::Count).then(|| "tokens".to_owned());
    Meter {
        id: MeterId::new(format!("mtr_{name}")).unwrap(),
        name,
        description: None,
        event_name: "llm.request".to_owned(),
        measurement_unit: "tokens".to_owned(),
        aggregation: Aggregation { kind, key },
        filter: None,
        group_by: Vec::new(),
        archived: false,
        created_at: at("2026-01-01T00:00:00Z"),
        updated_at: at("2026-01-01T00:00:00Z"),
    }
}

/// A meter of the same kind, kept apart by model.
pub(super) fn grouped(kind: AggregationKind) -> Meter {
    let mut meter = meter(kind);
    meter.id = MeterId::new(format!("{}_by_model", meter.id)).unwrap();
    meter.group_by = vec!["model".to_owned()];
    meter
}

pub(super) fn catalog(version: u64, meters: &[Meter]) -> Catalog {
    Catalog {
        version,
        meters: meters.to_vec(),
    }
}

/// Waits until no meter misses any retained record.
pub(super) async fn backfilled(pipeline: &Pipeline) {
    while pipeline.status().backfilling {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
