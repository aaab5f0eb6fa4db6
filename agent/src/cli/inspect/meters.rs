//! `inspect meters`.

use clap::Args;

use super::to_json;
use crate::cli::client::Target;
use crate::cli::say::{remark, say};
use crate::cli::table::{Table, or_dash};
use crate::cli::{EXIT_OK, Outcome};
use crate::inspection::{MeterItem, MetersQuery};

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-agent inspect meters
  submeter-agent inspect meters --json

`sealed` and `open` are events counted: in frames since the state directory was born, and in open partials. Exit codes:
0 listed, 1 nobody answers or the directory cannot be read, 64 a setting is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Meters {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Meters {
    pub(super) async fn execute(self) -> Outcome {
        let reply = self.target.source()?.ask(&MetersQuery).await?;
        if self.json {
            say(to_json(&reply)?)?;
            return Ok(EXIT_OK);
        }
        let mut table = Table::new(&[
            "Meter",
            "Name",
            "Event",
            "Aggregation",
            "Groups",
            ">Sealed",
            ">Open",
            ">Open keys",
            "State",
        ]);
        for meter in &reply.meters {
            table.row(cells(meter));
        }
        say(format_args!("catalog version {}", reply.catalog_version))?;
        say(table)?;
        if !reply.open_counts_complete {
            remark(
                "the open set is too large to be counted at once: the open counts are a lower bound",
            );
        }
        Ok(EXIT_OK)
    }
}

fn cells(meter: &MeterItem) -> Vec<String> {
    let aggregation = meter.aggregation.as_ref().map(|aggregation| {
        let kind = serde_json::to_value(aggregation.kind).unwrap_or_default();
        let kind = kind.as_str().unwrap_or_default().to_owned();
        match &aggregation.key {
            Some(key) => format!("{kind}({key})"),
            None => kind,
        }
    });
    vec![
        meter.meter_id.clone(),
        or_dash(meter.name.clone()),
        or_dash(meter.event_name.clone()),
        or_dash(aggregation),
        meter.group_by.join(", "),
        meter.sealed_events.to_string(),
        meter.open_events.to_string(),
        meter.open_partials.to_string(),
        state(meter),
    ]
}

fn state(meter: &MeterItem) -> String {
    let mut state = match meter {
        MeterItem { name: None, .. } => "gone from the catalog".to_owned(),
        MeterItem { archived: true, .. } => "archived".to_owned(),
        _ => "up to date".to_owned(),
    };
    if meter.backfill_records > 0 {
        let left = meter.backfill_records;
        state = format!("backfilling: {left} journal records to go");
    }
    if let Some(since) = meter.counts_since {
        state.push_str(&format!(", counts since {since}"));
    }
    state
}
