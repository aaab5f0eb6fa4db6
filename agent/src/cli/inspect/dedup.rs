//! `inspect dedup`.

use clap::Args;

use super::to_json;
use crate::cli::client::Target;
use crate::cli::say::say;
use crate::cli::table::{Table, moment, or_dash};
use crate::cli::{EXIT_OK, Outcome};
use crate::inspection::{DedupQuery, IdQuery, IdReply};

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-agent inspect dedup
  submeter-agent inspect dedup --event-id evt-42

An id is remembered for `dedup_retention` after it came; a repetition within that time does not count again. Ids are kept in
runs on disk; the newest, shown in the last row without a number, are in memory, and on disk in the journal alone. Exit codes: 0
shown, 1 nobody answers or the directory cannot be read, 64 a setting is wrong, 66 the id is not remembered.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Dedup {
    /// What is known of this event id: where and when it came first
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Dedup {
    pub(super) async fn execute(self) -> Outcome {
        let source = self.target.source()?;
        if let Some(event_id) = self.event_id {
            let reply = source.ask(&IdQuery { event_id }).await?;
            if self.json {
                say(to_json(&reply)?)?;
            } else {
                say(known(&reply))?;
            }
            return Ok(EXIT_OK);
        }
        let reply = source.ask(&DedupQuery).await?;
        if self.json {
            say(to_json(&reply)?)?;
            return Ok(EXIT_OK);
        }
        say(format_args!(
            "{} ids remembered, the oldest since {}",
            reply.ids,
            or_dash(reply.oldest_at)
        ))?;
        let mut table = Table::new(&[">Run", "Level", ">Ids", "Opened", "Closed"]);
        for run in &reply.runs {
            table.row(vec![
                run.run
                    .map_or_else(|| "open".to_owned(), |run| run.to_string()),
                match run.level {
                    None => "journal".to_owned(),
                    Some(level) if run.merged_from.is_empty() => level.to_string(),
                    Some(level) => format!("{level}, being merged"),
                },
                run.ids.to_string(),
                moment(run.opened_at),
                or_dash(run.closed_at.map(moment)),
            ]);
        }
        say(table)?;
        Ok(EXIT_OK)
    }
}

fn known(reply: &IdReply) -> Table {
    let mut table = Table::new(&["event id", &reply.event_id]);
    table.fact("place", &reply.place);
    match &reply.event {
        None => table.fact(
            "event",
            "no longer in the journal; repetitions are still refused",
        ),
        Some(event) => {
            table.fact("accepted", event.accepted_at);
            table.fact("happened", event.timestamp);
            table.fact("customer", &event.customer_id);
            table.fact("name", &event.event_name);
            table.fact("metadata", &event.metadata);
            table.fact("counts for", event.why());
            table.fact("import", or_dash(event.import.as_ref()));
        }
    }
    table
}
