//! `inspect events`.

use clap::Args;
use submeter_common::time::Timestamp;

use super::{Listing, Row, time};
use crate::cli::Outcome;
use crate::cli::table::{moment, or_dash};
use crate::inspection::{EventItem, EventsQuery, MatchState};

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-agent inspect events --customer acme --limit 10
  submeter-agent inspect events --meter mtr_123 --start 2026-01-01T12:00:00Z --json
  submeter-agent inspect events --event-id evt-42 --data-dir /var/lib/submeter-agent

Events are listed from the journal, newest first, for as far back as it is retained. Exit codes: 0 listed (an empty list,
too), 1 nobody answers or the directory cannot be read, 64 a setting is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Events {
    /// Only this customer's
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// Only this event name
    #[arg(long, value_name = "NAME")]
    event_name: Option<String>,
    /// Only events that this meter matches
    #[arg(long, value_name = "ID")]
    meter: Option<String>,
    /// Only the event of this id
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,
    /// Only events that this import brought
    #[arg(long, value_name = "ID")]
    import: Option<String>,
    /// Only events that happened at or after this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    start: Option<Timestamp>,
    /// Only events that happened before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    end: Option<Timestamp>,
    #[command(flatten)]
    listing: Listing,
}

impl Events {
    pub(super) async fn execute(self) -> Outcome {
        let question = |paging| EventsQuery {
            customer_id: self.customer.clone(),
            event_name: self.event_name.clone(),
            meter_id: self.meter.clone(),
            event_id: self.event_id.clone(),
            import: self.import.clone(),
            start: self.start,
            end: self.end,
            paging,
        };
        self.listing.show(question).await
    }
}

impl Row for EventItem {
    const HEADS: &'static [&'static str] = &[
        ">Place",
        "Event",
        "Customer",
        "Name",
        "Happened",
        "Accepted",
        "Metadata",
        "Counts for",
        "Import",
    ];

    fn cursor(&self) -> &str {
        &self.cursor
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.cursor.clone(),
            self.event_id.clone(),
            self.customer_id.clone(),
            self.event_name.clone(),
            moment(self.timestamp),
            moment(self.accepted_at),
            self.metadata.to_string(),
            self.why(),
            or_dash(self.import.as_deref().map(short)),
        ]
    }
}

impl EventItem {
    /// The meters it counts for, in a few words.
    pub(in crate::cli) fn why(&self) -> String {
        if self.meters.is_empty() {
            return "no meter".to_owned();
        }
        let meters = self.meters.iter().map(|meter| match meter.state {
            MatchState::Counted => meter.name.clone(),
            MatchState::Backfilling => format!("{} (backfilling)", meter.name),
            MatchState::Quarantined => format!("{} (QUARANTINED)", meter.name),
        });
        meters.collect::<Vec<_>>().join(", ")
    }
}

/// An import's id is a digest: its beginning is enough for people.
fn short(id: &str) -> String {
    id.chars().take(12).collect()
}
