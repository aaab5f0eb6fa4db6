//! `agents list|acknowledge|retire`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::Value;

use super::client::{Client, ClientArgs, print_json};
use super::table::{Table, cell};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List agents with their position, watermark and receipts.
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Clear an agent's alarms after you have looked at them; the audit log keeps them.
    Acknowledge {
        /// The agent's id, as `agents list` shows it.
        agent_id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Retire an agent that will not come back, so that periods no longer wait for it.
    Retire {
        /// The agent's id, as `agents list` shows it.
        agent_id: String,
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
            println!("{agent_id} has no alarms any more");
            Ok(())
        }),
        Command::Retire { agent_id, client } => client.run(async |collector| {
            let path = format!("/v1/agents/{agent_id}/retire");
            let agent = collector.send(Method::POST, &path, &[], None).await?;
            if client.json {
                return print_json(&agent);
            }
            println!("{agent_id} is retired: periods no longer wait for it");
            Ok(())
        }),
    }
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
    println!("{table}");
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
