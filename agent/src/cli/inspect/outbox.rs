//! `inspect outbox`.

use clap::Args;

use super::{Listing, Row, group, to_json};
use crate::cli::say::{remark, say};
use crate::cli::table::{Table, moment, size};
use crate::cli::{EXIT_OK, Outcome};
use crate::inspection::{
    FrameContent, FrameItem, FrameQuery, FrameState, OutboxQuery, Paging, RowItem,
};

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-agent inspect outbox
  submeter-agent inspect outbox --state waiting --json
  submeter-agent inspect outbox --seq 17 --limit 20

Frames are `waiting`, `sent` (on their way since the agent started) or `acknowledged` (kept for a while, in case the
collector is restored from a backup). With --seq, --limit and --after are for the frame's rows, and --json prints the
frame as one object. Exit codes: 0 listed (an empty list, too), 1 nobody answers or the directory cannot be read, 64 a
setting is wrong, 66 no such frame.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Outbox {
    /// Open this frame and show its rows
    #[arg(long, value_name = "NUMBER")]
    seq: Option<u64>,
    /// Only frames that are waiting, sent or acknowledged
    #[arg(long, value_name = "STATE", conflicts_with = "seq")]
    state: Option<FrameState>,
    #[command(flatten)]
    listing: Listing,
}

impl Outbox {
    pub(super) async fn execute(self) -> Outcome {
        match self.seq {
            Some(seq) => self.open(seq).await,
            None => {
                let question = |paging| OutboxQuery {
                    state: self.state,
                    paging,
                };
                self.listing.show(question).await
            }
        }
    }

    async fn open(&self, seq: u64) -> Outcome {
        let source = self.listing.target.source()?;
        let mut left = match self.listing.limit {
            0 => usize::MAX,
            limit => limit,
        };
        let mut shown: Option<FrameContent> = None;
        let mut after = self.listing.after.clone();
        loop {
            let paging = Paging {
                after: after.take(),
                limit: left.min(crate::inspection::LIMIT_MAX),
            };
            let page = source.ask(&FrameQuery { seq, paging }).await?;
            left = left.saturating_sub(page.rows.items.len());
            after = page.rows.next.clone();
            match &mut shown {
                None => shown = Some(page),
                Some(shown) => {
                    shown.rows.items.extend(page.rows.items);
                    shown.rows.next = page.rows.next;
                }
            }
            if left == 0 || after.is_none() {
                break;
            }
        }
        if let Some(content) = shown {
            self.print(&content)?;
        }
        Ok(EXIT_OK)
    }

    fn print(&self, content: &FrameContent) -> Result<(), crate::cli::Failure> {
        if self.listing.json {
            say(to_json(content)?)?;
            return Ok(());
        }
        say(facts(content))?;
        let mut table = Table::new(RowItem::HEADS);
        for row in &content.rows.items {
            table.row(row.cells());
        }
        say(table)?;
        if let Some(next) = &content.rows.next {
            remark(format_args!("there may be more: --after {next}"));
        }
        Ok(())
    }
}

fn facts(content: &FrameContent) -> Table {
    let frame = &content.frame;
    let mut table = Table::new(&["frame", &frame.seq.to_string()]);
    table.fact("state", frame.state.as_str());
    table.fact("agent", content.agent_id);
    table.fact("digest", frame.digest);
    table.fact("previous", frame.previous);
    table.fact("sealed at", frame.sealed_at);
    table.fact("watermark", content.watermark);
    table.fact("farewell", content.farewell);
    table.fact("epoch", content.epoch);
    table.fact("catalog", content.catalog_version);
    table.fact(
        "size",
        format!("{} rows, {}", frame.rows, size(frame.bytes)),
    );
    for (meter, events) in &content.meter_events {
        table.fact(&format!("events of {meter}"), events);
    }
    table
}

impl Row for FrameItem {
    const HEADS: &'static [&'static str] = &[
        ">Seq",
        "State",
        "Sealed",
        ">Rows",
        ">Size",
        ">Accepted",
        "Digest",
    ];

    fn cursor(&self) -> &str {
        &self.cursor
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.seq.to_string(),
            self.state.as_str().to_owned(),
            moment(self.sealed_at),
            self.rows.to_string(),
            size(self.bytes),
            self.accepted.to_string(),
            self.digest.to_string(),
        ]
    }
}

impl Row for RowItem {
    const HEADS: &'static [&'static str] = &[
        ">Row",
        "Customer",
        "Meter",
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
            self.cursor.clone(),
            self.customer_id.clone(),
            self.meter_id.clone(),
            moment(self.window),
            group(&self.group, self.other),
            self.quantity.clone(),
            self.events.to_string(),
            self.non_numeric.to_string(),
        ]
    }
}
