//! `agents list|acknowledge|retire|trust|trusted|distrust`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};
use submeter_common::signature::PublicKey;

use super::client::{Client, ClientArgs, print_json};
use super::say::say;
use super::table::{Table, cell};

/// Examples of the command.
const LIST_EXAMPLES: &str = "\
Examples:
  submeter-collector agents list --json

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
const ACKNOWLEDGE_EXAMPLES: &str = "\
Examples:
  submeter-collector agents acknowledge 01a203b5-2a96-7070-b788-f524514f12fc

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
const RETIRE_EXAMPLES: &str = "\
Examples:
  submeter-collector agents retire 01a203b5-2a96-7070-b788-f524514f12fc

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
const TRUST_EXAMPLES: &str = "\
Examples:
  submeter-collector agents trust smpk_… --name site-7

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
const TRUSTED_EXAMPLES: &str = "\
Examples:
  submeter-collector agents trusted

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
const DISTRUST_EXAMPLES: &str = "\
Examples:
  submeter-collector agents distrust smpk_…

Exit codes: 0 done, 1 refused or the collector was not reached.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List agents with their position, watermark and receipts.
    #[command(after_help = LIST_EXAMPLES)]
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Clear an agent's alarms after you have looked at them; the audit log keeps them.
    #[command(after_help = ACKNOWLEDGE_EXAMPLES)]
    Acknowledge {
        /// The agent's id, as `agents list` shows it.
        agent_id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Retire an agent that will not come back, so that periods no longer wait for it.
    #[command(after_help = RETIRE_EXAMPLES)]
    Retire {
        /// The agent's id, as `agents list` shows it.
        agent_id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take bundles that are signed with this key.
    #[command(after_help = TRUST_EXAMPLES)]
    Trust {
        /// The key, as `submeter-agent export --public-key` prints it.
        public_key: PublicKey,
        /// What people call the site.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List the keys whose bundles are taken.
    #[command(after_help = TRUSTED_EXAMPLES)]
    Trusted {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take no more bundles that are signed with this key; what was applied stays applied.
    #[command(after_help = DISTRUST_EXAMPLES)]
    Distrust {
        /// The key, as `agents trusted` lists it.
        public_key: PublicKey,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { client } => {
            client.run(async |collector| list(collector, client.json).await)
        }
        Command::Acknowledge { agent_id, client } => client.run(async |collector| {
            let path = format!("/v1/agents/{agent_id}/acknowledge");
            let agent = collector.send(Method::POST, &path, &[], None).await?;
            if client.json {
                return print_json(&agent);
            }
            say(format_args!("{agent_id} has no alarms any more"))?;
            Ok(())
        }),
        Command::Retire { agent_id, client } => client.run(async |collector| {
            let path = format!("/v1/agents/{agent_id}/retire");
            let agent = collector.send(Method::POST, &path, &[], None).await?;
            if client.json {
                return print_json(&agent);
            }
            say(format_args!(
                "{agent_id} is retired: periods no longer wait for it"
            ))?;
            Ok(())
        }),
        Command::Trust {
            public_key,
            name,
            client,
        } => client.run(async |collector| trust(collector, public_key, &name, client.json).await),
        Command::Trusted { client } => {
            client.run(async |collector| trusted(collector, client.json).await)
        }
        Command::Distrust { public_key, client } => client.run(async |collector| {
            let path = format!("/v1/trusted-keys/{public_key}");
            collector.send(Method::DELETE, &path, &[], None).await?;
            say(format_args!("{public_key} is trusted no longer"))
        }),
    }
}

async fn trust(
    collector: &Client,
    public_key: PublicKey,
    name: &str,
    json: bool,
) -> anyhow::Result<()> {
    let body = json!({ "public_key": public_key, "name": name });
    let key = collector
        .send(Method::POST, "/v1/trusted-keys", &[], Some(&body))
        .await?;
    if json {
        return print_json(&key);
    }
    say(format_args!("bundles of `{name}` are taken from now on"))
}

async fn trusted(collector: &Client, json: bool) -> anyhow::Result<()> {
    let keys = collector.list("/v1/trusted-keys", &[], usize::MAX).await?;
    if json {
        return print_json(&Value::Array(keys));
    }
    let mut table = Table::new(&["Key", "Name", "Trusted since"]);
    for key in &keys {
        table.row(["public_key", "name", "trusted_at"].map(|field| cell(&key[field])));
    }
    say(&table)
}

async fn list(collector: &Client, json: bool) -> anyhow::Result<()> {
    let agents = collector.list("/v1/agents", &[], usize::MAX).await?;
    if json {
        return print_json(&Value::Array(agents));
    }
    let mut table = Table::new(&[
        "Agent",
        "State",
        "Epoch",
        "Seq",
        "Watermark",
        "Last seen",
        "Accepted",
        "Duplicate",
        "Unmatched",
        "Alarms",
    ])
    .right(&[2, 3, 6, 7, 8]);
    for agent in &agents {
        let receipts = &agent["receipts"];
        table.row([
            cell(&agent["agent_id"]),
            state(agent).to_owned(),
            cell(&agent["epoch"]),
            cell(&agent["seq"]),
            cell(&agent["watermark"]),
            cell(&agent["last_seen_at"]),
            cell(&receipts["accepted"]),
            cell(&receipts["duplicate"]),
            cell(&receipts["unmatched"]),
            alarms(agent),
        ]);
    }
    say(&table)?;
    Ok(())
}

fn alarms(agent: &Value) -> String {
    let alarms = agent["alarms"].as_array().into_iter().flatten();
    let names: Vec<&str> = alarms.filter_map(Value::as_str).collect();
    names.join(", ")
}

fn state(agent: &Value) -> &'static str {
    match (agent["retired_at"].is_null(), agent["farewell"].as_bool()) {
        (false, _) => "retired",
        (true, Some(true)) => "left",
        _ => "live",
    }
}
