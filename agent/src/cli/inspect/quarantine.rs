//! `inspect quarantine`.

use clap::Args;

use super::{Listing, Row};
use crate::cli::Outcome;
use crate::cli::table::{moment, or_dash};
use crate::inspection::{QuarantineItem, QuarantineQuery};

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-agent inspect quarantine
  submeter-agent inspect quarantine --meter mtr_123 --json

An event is here for a meter that could not count it (its total would not fit any more), or for all of them when it does
not read back. Exit codes: 0 listed (an empty list, too), 1 nobody answers or the directory cannot be read, 64 a setting
is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Quarantine {
    /// Only this meter's
    #[arg(long, value_name = "ID")]
    meter: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

impl Quarantine {
    pub(super) async fn execute(self) -> Outcome {
        let question = |paging| QuarantineQuery {
            meter_id: self.meter.clone(),
            paging,
        };
        self.listing.show(question).await
    }
}

impl Row for QuarantineItem {
    const HEADS: &'static [&'static str] = &[
        ">Place", "Event", "Customer", "Name", "Happened", "Meter", "Why",
    ];

    fn cursor(&self) -> &str {
        &self.cursor
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.place.clone(),
            or_dash(self.event_id.clone()),
            or_dash(self.customer_id.clone()),
            or_dash(self.event_name.clone()),
            or_dash(self.timestamp.map(moment)),
            self.meter_id.clone().unwrap_or_else(|| "all".to_owned()),
            self.reason.clone(),
        ]
    }
}
