//! Every limit of the agent in one list: what it bounds, by which setting, and how close the agent is to it.
//!
//! Three metrics carry the setting's name as their label `budget`: the limit, what is used of it, and how often it was
//! reached. What is a rate, a size of one thing or a time has no use that stands still; there the last one tells. What the
//! agent does at each limit is in the README's table of settings.

use metrics::{counter, gauge};
use submeter_common::event::RejectionCode;
use submeter_common::time::Timestamp;

use crate::config::Config;
use crate::pipeline::{ImportState, ImportStatus, Status};
use crate::telemetry::names;

/// A limit of the agent.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "each is named after its setting")]
pub enum Budget {
    Connections,
    HeadTimeout,
    RequestTimeout,
    RequestBytes,
    RequestsBytes,
    QueueRequests,
    QueueBytes,
    HorizonPast,
    HorizonFuture,
    DedupBytes,
    Groups,
    OpenBytes,
    OutboxBytes,
    DiskFree,
    JournalBytes,
    JournalAge,
    AcknowledgedBytes,
    AcknowledgedAge,
    Imports,
    CollectorTimeout,
}

impl Budget {
    /// All of them.
    pub const ALL: [Budget; 20] = [
        Budget::Connections,
        Budget::HeadTimeout,
        Budget::RequestTimeout,
        Budget::RequestBytes,
        Budget::RequestsBytes,
        Budget::QueueRequests,
        Budget::QueueBytes,
        Budget::HorizonPast,
        Budget::HorizonFuture,
        Budget::DedupBytes,
        Budget::Groups,
        Budget::OpenBytes,
        Budget::OutboxBytes,
        Budget::DiskFree,
        Budget::JournalBytes,
        Budget::JournalAge,
        Budget::AcknowledgedBytes,
        Budget::AcknowledgedAge,
        Budget::Imports,
        Budget::CollectorTimeout,
    ];

    /// The setting that moves it, and its name among the metrics.
    #[must_use]
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Connections => "connections_max",
            Self::HeadTimeout => "head_timeout",
            Self::RequestTimeout => "request_timeout",
            Self::RequestBytes => "request_bytes_max",
            Self::RequestsBytes => "requests_bytes_max",
            Self::QueueRequests => "queue_requests_max",
            Self::QueueBytes => "queue_bytes_max",
            Self::HorizonPast => "horizon_past",
            Self::HorizonFuture => "horizon_future",
            Self::DedupBytes => "dedup_bytes_max",
            Self::Groups => "groups_per_meter_max",
            Self::OpenBytes => "open_bytes_max",
            Self::OutboxBytes => "outbox_bytes_max",
            Self::DiskFree => "disk_free_bytes_min",
            Self::JournalBytes => "journal_bytes_max",
            Self::JournalAge => "journal_age_max",
            Self::AcknowledgedBytes => "acknowledged_bytes_max",
            Self::AcknowledgedAge => "acknowledged_age_max",
            Self::Imports => "imports_max",
            Self::CollectorTimeout => "collector_timeout",
        }
    }

    /// The limit in force, in bytes, seconds or pieces.
    fn limit(self, config: &Config) -> f64 {
        match self {
            Self::Connections => config.connections_max as f64,
            Self::HeadTimeout => config.head_timeout.0.as_secs_f64(),
            Self::RequestTimeout => config.request_timeout.0.as_secs_f64(),
            Self::RequestBytes => config.request_bytes_max.0 as f64,
            Self::RequestsBytes => config.requests_bytes_max.0 as f64,
            Self::QueueRequests => config.queue_requests_max as f64,
            Self::QueueBytes => config.queue_bytes_max.0 as f64,
            Self::HorizonPast => config.horizon_past.0.as_secs_f64(),
            Self::HorizonFuture => config.horizon_future.0.as_secs_f64(),
            Self::DedupBytes => config.dedup_bytes_max.0 as f64,
            Self::Groups => config.groups_per_meter_max as f64,
            Self::OpenBytes => config.open_bytes_max.0 as f64,
            Self::OutboxBytes => config.outbox_bytes_max.0 as f64,
            Self::DiskFree => config.disk_free_bytes_min.0 as f64,
            Self::JournalBytes => config.journal_bytes_max.0 as f64,
            Self::JournalAge => config.journal_age_max.0.as_secs_f64(),
            Self::AcknowledgedBytes => config.acknowledged_bytes_max.0 as f64,
            Self::AcknowledgedAge => config.acknowledged_age_max.0.as_secs_f64(),
            Self::Imports => config.imports_max as f64,
            Self::CollectorTimeout => config.collector_timeout.0.as_secs_f64(),
        }
    }

    /// What is used now, as far as the pipeline knows it.
    fn used(self, status: &Status, now: Timestamp) -> Option<f64> {
        let age = |oldest: Option<Timestamp>| {
            oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64())
        };
        Some(match self {
            Self::QueueRequests => status.usage.queue_requests as f64,
            Self::QueueBytes => status.usage.queue_bytes as f64,
            Self::DedupBytes => status.dedup_bytes as f64,
            Self::Groups => status.usage.groups_of_one_meter as f64,
            Self::OpenBytes => status.usage.open_bytes as f64,
            Self::OutboxBytes => status.outbox_bytes as f64,
            Self::DiskFree => status.disk_free_bytes as f64,
            Self::JournalBytes => status.journal_bytes as f64,
            Self::JournalAge => age(status.usage.journal_oldest_at),
            Self::AcknowledgedBytes => status.usage.acknowledged_bytes as f64,
            Self::AcknowledgedAge => age(status.usage.acknowledged_oldest_at),
            Self::Imports => {
                let open = |import: &&ImportState| import.status == ImportStatus::Open;
                status.imports.iter().filter(open).count() as f64
            }
            _ => return None,
        })
    }

    /// How often it was reached since the state directory was born, where the pipeline counts that.
    fn reached(self, status: &Status) -> Option<u64> {
        let rejected = |code: RejectionCode| {
            let count = status.receipts.rejected.get(code.as_str());
            Some(count.copied().unwrap_or_default())
        };
        match self {
            Self::HorizonPast => rejected(RejectionCode::TimestampTooOld),
            Self::HorizonFuture => rejected(RejectionCode::TimestampTooNew),
            Self::Groups => Some(status.usage.folded),
            Self::OpenBytes => Some(status.usage.seals_by_size),
            _ => None,
        }
    }

    /// Notes that the limit was reached.
    pub(crate) fn hit(self) {
        counter!(names::BUDGET_HITS, "budget" => self.setting()).increment(1);
    }

    /// Notes what is used now, where the pipeline does not know it.
    pub(crate) fn note_used(self, used: f64) {
        gauge!(names::BUDGET_USED, "budget" => self.setting()).set(used);
    }

    /// Notes that one more is in use.
    pub(crate) fn take_one(self) {
        gauge!(names::BUDGET_USED, "budget" => self.setting()).increment(1.0);
    }

    /// Notes that one less is in use.
    pub(crate) fn give_one_back(self) {
        gauge!(names::BUDGET_USED, "budget" => self.setting()).decrement(1.0);
    }
}

/// Publishes the limits in force.
pub(crate) fn announce(config: &Config) {
    for budget in Budget::ALL {
        gauge!(names::BUDGET_LIMIT, "budget" => budget.setting()).set(budget.limit(config));
        // A series that is there from the start can be alerted on.
        counter!(names::BUDGET_HITS, "budget" => budget.setting()).increment(0);
    }
}

/// Publishes what the pipeline knows of their use.
pub(crate) fn observe(status: &Status, now: Timestamp) {
    for budget in Budget::ALL {
        if let Some(used) = budget.used(status, now) {
            budget.note_used(used);
        }
        if let Some(reached) = budget.reached(status) {
            counter!(names::BUDGET_HITS, "budget" => budget.setting()).absolute(reached);
        }
    }
}
