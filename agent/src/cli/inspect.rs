//! `inspect`: looks at what the agent holds. One question type answers for a running agent and for a stopped one.

mod conflicts;
mod dedup;
mod events;
mod meters;
mod outbox;
mod partials;
mod quarantine;

use clap::{Args, Subcommand};
use serde::Serialize;
use submeter_common::time::Timestamp;

use super::client::Target;
use super::say::{Reader, remark, say};
use super::table::Table;
use super::{EXIT_OK, Failure, Outcome};
use crate::inspection::{LIMIT_MAX, Page, Paging, Question};

#[derive(Debug, Subcommand)]
pub(super) enum Inspect {
    /// List accepted events, newest first, and why each counts
    Events(events::Events),
    /// List open partials: what is counted and not sealed yet
    Partials(partials::Partials),
    /// List frames and how far each has come, or open one
    Outbox(outbox::Outbox),
    /// Show how many event ids are remembered, or what is known of one
    Dedup(dedup::Dedup),
    /// List events that came again with another payload, and do not count
    Conflicts(conflicts::Conflicts),
    /// List the meters in force and how far each has counted
    Meters(meters::Meters),
    /// List events that could not be counted
    Quarantine(quarantine::Quarantine),
}

impl Inspect {
    pub(super) async fn execute(self) -> Outcome {
        match self {
            Self::Events(command) => command.execute().await,
            Self::Partials(command) => command.execute().await,
            Self::Outbox(command) => command.execute().await,
            Self::Dedup(command) => command.execute().await,
            Self::Conflicts(command) => command.execute().await,
            Self::Meters(command) => command.execute().await,
            Self::Quarantine(command) => command.execute().await,
        }
    }
}

/// How a list is shown, and how much of it.
#[derive(Debug, Args)]
pub(super) struct Listing {
    /// How many at most; 0 for all
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    /// Go on behind this cursor, as the last page named it
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// A thing of a list as a row of a table.
pub(super) trait Row: Serialize {
    /// The table's head; `>` marks numbers.
    const HEADS: &'static [&'static str];

    /// Where a list goes on behind it.
    fn cursor(&self) -> &str;

    /// Its cells.
    fn cells(&self) -> Vec<String>;
}

impl Listing {
    /// Asks for page after page until the limit or the end, and prints what comes.
    pub(super) async fn show<Q, T>(&self, question: impl Fn(Paging) -> Q) -> Outcome
    where
        Q: Question<Answer = Page<T>>,
        T: Row,
    {
        let source = self.target.source()?;
        let mut left = if self.limit == 0 {
            usize::MAX
        } else {
            self.limit
        };
        let mut table = Table::new(T::HEADS);
        let (mut after, mut last) = (self.after.clone(), None);
        loop {
            let paging = Paging {
                after: after.take(),
                limit: left.min(LIMIT_MAX),
            };
            let page = source.ask(&question(paging)).await?;
            left = left.saturating_sub(page.items.len());
            for item in &page.items {
                if !self.json {
                    table.row(item.cells());
                } else if say(to_json(item)?)? == Reader::Gone {
                    return Ok(EXIT_OK);
                }
            }
            last = page
                .items
                .last()
                .map(|item| item.cursor().to_owned())
                .or(last);
            after = page.next;
            if left == 0 || after.is_none() {
                break;
            }
        }
        if !self.json {
            say(table)?;
            if let Some(last) = last.filter(|_| after.is_some()) {
                remark(format_args!("there may be more: --after {last}"));
            }
        }
        Ok(EXIT_OK)
    }
}

/// One line of JSON.
pub(super) fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    Ok(serde_json::to_string(value).map_err(anyhow::Error::from)?)
}

/// A time given by a flag.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|error| error.to_string())
}

/// A group of a meter in one cell.
pub(super) fn group(
    values: &std::collections::BTreeMap<String, Option<String>>,
    other: bool,
) -> String {
    if other {
        return "(the rest)".to_owned();
    }
    let values = values
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_deref().unwrap_or("∅")));
    values.collect::<Vec<_>>().join(" ")
}
