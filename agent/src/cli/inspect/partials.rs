//! `inspect partials`.

use clap::Args;
use submeter_common::time::Timestamp;

use super::{Listing, Row, group, time};
use crate::cli::Outcome;
use crate::cli::table::moment;
use crate::inspection::{PartialItem, PartialsQuery};

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-agent inspect partials --customer acme
  submeter-agent inspect partials --meter mtr_123 --limit 0 --json

A partial is what a meter has counted for one customer, group and minute since the last seal; of a running agent it
holds everything that was accepted before the call. Exit codes: 0 listed (an empty list, too), 1 nobody answers or the
directory cannot be read, 64 a setting is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Partials {
    /// Only this customer's
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// Only this meter's
    #[arg(long, value_name = "ID")]
    meter: Option<String>,
    /// Only minutes that end after this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    start: Option<Timestamp>,
    /// Only minutes that begin before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    end: Option<Timestamp>,
    #[command(flatten)]
    listing: Listing,
}

impl Partials {
    pub(super) async fn execute(self) -> Outcome {
        let question = |paging| PartialsQuery {
            customer_id: self.customer.clone(),
            meter_id: self.meter.clone(),
            start: self.start,
            end: self.end,
            paging,
        };
        self.listing.show(question).await
    }
}

impl Row for PartialItem {
    const HEADS: &'static [&'static str] = &[
        "Customer",
        "Meter",
        "Name",
        "Minute",
        "Group",
        ">Quantity",
        ">Events",
        ">Not numeric",
    ];

    fn cursor(&self) -> &str {
        &self.cursor
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.customer_id.clone(),
            self.meter_id.clone(),
            self.meter_name.clone().unwrap_or_default(),
            moment(self.window),
            group(&self.group, self.other),
            self.quantity.clone(),
            self.events.to_string(),
            self.non_numeric.to_string(),
        ]
    }
}
