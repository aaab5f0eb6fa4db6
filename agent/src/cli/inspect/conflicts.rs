//! `inspect conflicts`.

use clap::Args;

use super::{Listing, Row};
use crate::cli::Outcome;
use crate::cli::table::moment;
use crate::inspection::{ConflictItem, ConflictsQuery};

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-agent inspect conflicts
  submeter-agent inspect conflicts --customer acme --json

An event is here when another one with the same event_id and another payload came first: that one counts, this one does
not. The last 1000 are kept, newest first. Exit codes: 0 listed (an empty list, too), 1 nobody answers or the directory
cannot be read, 64 a setting is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Conflicts {
    /// Only this customer's
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

impl Conflicts {
    pub(super) async fn execute(self) -> Outcome {
        let question = |paging| ConflictsQuery {
            customer_id: self.customer.clone(),
            paging,
        };
        self.listing.show(question).await
    }
}

impl Row for ConflictItem {
    const HEADS: &'static [&'static str] =
        &["Refused", "Event", "Customer", "Name", "Happened", ">First"];

    fn cursor(&self) -> &str {
        &self.cursor
    }

    fn cells(&self) -> Vec<String> {
        vec![
            moment(self.refused_at),
            self.event_id.clone(),
            self.customer_id.clone(),
            self.event_name.clone(),
            moment(self.timestamp),
            self.first_place.clone(),
        ]
    }
}
