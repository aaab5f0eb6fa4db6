//! `tail`: accepted events as they come.

use clap::Args;

use super::client::Target;
use super::say::{Reader, remark, say};
use super::source::Source;
use super::table::moment;
use super::{EXIT_FAILED, EXIT_OK, Failure, Outcome};
use crate::inspection::{EventItem, EventsQuery, Paging, Question as _, Skipped};

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-agent tail
  submeter-agent tail --customer acme --event-name api.call
  submeter-agent tail --json | jq .event_id

A reader that is too slow never holds the agent back: what it misses is told as a number of skipped events ({\"skipped\":
N} with --json). Exit codes: 0 the wanted count was shown or the output's reader went away, 1 no agent answers or the
agent stopped, 64 a setting is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Tail {
    /// Only this customer's
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// Only this event name
    #[arg(long, value_name = "NAME")]
    event_name: Option<String>,
    /// Only events that this meter matches
    #[arg(long, value_name = "ID")]
    meter: Option<String>,
    /// End after so many events [default: never]
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Tail {
    pub(super) async fn execute(self) -> Outcome {
        let Source::Running(client, why) = self.target.source()? else {
            return Err(Failure {
                code: EXIT_FAILED,
                error: anyhow::anyhow!(
                    "the agent does not run, so no events come; `submeter-agent inspect events` shows those it has"
                ),
            });
        };
        let wanted = EventsQuery {
            customer_id: self.customer.clone(),
            event_name: self.event_name.clone(),
            meter_id: self.meter.clone(),
            paging: Paging {
                after: None,
                limit: 1,
            },
            ..EventsQuery::default()
        };
        let path = super::client::path("/v1/tail", wanted.parameters());
        let mut stream = client
            .stream(&path)
            .await
            .map_err(|error| super::source::unanswered(error, why.as_ref()))?;
        let mut line = Vec::new();
        let mut left = self.count;
        while let Some(piece) = client.piece(&mut stream).await? {
            for byte in piece {
                if byte != b'\n' {
                    line.push(byte);
                    continue;
                }
                let shown = self.show(&line)?;
                line.clear();
                match shown {
                    None => return Ok(EXIT_OK),
                    Some(events) => {
                        left = left.map(|left| left.saturating_sub(events));
                    }
                }
                if left == Some(0) {
                    return Ok(EXIT_OK);
                }
            }
        }
        remark("the agent stopped");
        Ok(EXIT_FAILED)
    }

    /// Prints one line; says how many events it was, none when nobody reads any more.
    fn show(&self, line: &[u8]) -> Result<Option<u64>, Failure> {
        if line.is_empty() {
            return Ok(Some(0));
        }
        let skipped = serde_json::from_slice::<Skipped>(line).ok();
        let reader = match (&skipped, self.json) {
            (_, true) => say(String::from_utf8_lossy(line))?,
            (Some(skipped), false) => {
                say(format_args!("… {} events skipped", spaced(skipped.skipped)))?
            }
            (None, false) => {
                let event: EventItem = serde_json::from_slice(line).map_err(anyhow::Error::from)?;
                say(format_args!(
                    "{}  {}  {}  {}  {}  → {}",
                    moment(event.accepted_at),
                    event.customer_id,
                    event.event_name,
                    event.event_id,
                    event.metadata,
                    event.why()
                ))?
            }
        };
        Ok((reader == Reader::Listening).then_some(u64::from(skipped.is_none())))
    }
}

/// A number with its thousands apart.
fn spaced(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::spaced;

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1234, "1 234"),
            (1_000_000, "1 000 000"),
        ] {
            assert_eq!(spaced(number), text);
        }
    }
}
