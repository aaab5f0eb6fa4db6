//! `keys create|list|revoke`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, ClientArgs, print_json};
use super::say::{remark, say};
use super::table::{Table, cell};
use crate::auth::Scope;

/// Examples of the command.
const CREATE_EXAMPLES: &str = "\
Examples:
  submeter-collector keys create --scope agent --name web-1 > web-1.key

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
const LIST_EXAMPLES: &str = "\
Examples:
  submeter-collector keys list --json

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
const REVOKE_EXAMPLES: &str = "\
Examples:
  submeter-collector keys revoke key_123

Exit codes: 0 done, 1 refused or the collector was not reached.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a key and print its secret, once.
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        /// What the key is good for: read, write, ingest or agent; may be given several times.
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<Scope>,
        /// What people call the key.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List keys, newest first. Secrets are never shown.
    #[command(after_help = LIST_EXAMPLES)]
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Revoke a key for ever.
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke {
        /// The key's id, as `keys list` shows it.
        key_id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create {
            scopes,
            name,
            client,
        } => client.run(async |collector| create(collector, &scopes, &name, client.json).await),
        Command::List { client } => {
            client.run(async |collector| list(collector, client.json).await)
        }
        Command::Revoke { key_id, client } => client.run(async |collector| {
            collector
                .send(Method::DELETE, &format!("/v1/keys/{key_id}"), &[], None)
                .await?;
            say(format_args!("{key_id} is revoked"))?;
            Ok(())
        }),
    }
}

async fn create(
    collector: &Client,
    scopes: &[Scope],
    name: &str,
    json: bool,
) -> anyhow::Result<()> {
    let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    let body = json!({ "name": name, "scopes": scopes });
    let key = collector
        .send(Method::POST, "/v1/keys", &[], Some(&body))
        .await?;
    if json {
        return print_json(&key);
    }
    // The secret alone on standard output, so that `> FILE` keeps just it.
    remark(format_args!(
        "{} `{name}` ({}); its secret is shown only now:",
        cell(&key["key_id"]),
        cell(&key["scopes"])
    ));
    say(format_args!("{}", cell(&key["key"])))?;
    Ok(())
}

async fn list(collector: &Client, json: bool) -> anyhow::Result<()> {
    let keys = collector.list("/v1/keys", &[], usize::MAX).await?;
    if json {
        return print_json(&Value::Array(keys));
    }
    let mut table = Table::new(&["Key", "Name", "Scopes", "Created", "Revoked"]);
    for key in &keys {
        table.row(
            ["key_id", "name", "scopes", "created_at", "revoked_at"].map(|field| cell(&key[field])),
        );
    }
    say(&table)?;
    Ok(())
}
