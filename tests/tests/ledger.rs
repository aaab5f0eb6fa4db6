//! Do the commands for credits and the ledger do what finance people need, and the page about them say, against a running
//! collector?

use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use submeter_tests::builders;
use submeter_tests::system::{Collector, System};

/// A collector with a kind of credits and a customer whose id needs care in a path.
async fn with_a_customer() -> Result<(System, String)> {
    let system = System::start("").await?;
    let api = system.collector.api();
    let kind = builders::create_credits(api, &builders::credits("Tokens", "token", 2)).await?;
    let mut customer = builders::customer(CUSTOMER, "Acme");
    customer["email"] = json!("books@acme.example");
    builders::create_customer(api, &customer).await?;
    Ok((system, kind))
}

const CUSTOMER: &str = "acme/eu west";

fn json_of(output: &Output) -> Result<Value> {
    ensure!(output.status.success(), "{output:?}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn text_of(output: &Output) -> Result<String> {
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn refusal_of(collector: &Collector, arguments: &[&str]) -> Result<String> {
    let output = collector.command(arguments)?;
    ensure!(output.status.code() == Some(1), "{arguments:?}: {output:?}");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_are_given_taken_and_taken_back_by_hand() -> Result<()> {
    let (system, kind) = with_a_customer().await?;
    let collector = &system.collector;
    let give = [
        "credits",
        "give",
        CUSTOMER,
        &kind,
        "500.25",
        "--reason",
        "outage of 3 February",
        "--idempotency-key",
        "outage-3",
    ];
    let said = text_of(&collector.command(&give)?)?;
    ensure!(said.contains("gave 500.25 credits"), "{said}");
    // The same key gives nothing more.
    text_of(&collector.command(&give)?)?;
    let said = text_of(&collector.command(&["credits", "take", CUSTOMER, &kind, "20.25"])?)?;
    ensure!(said.contains("480 are left"), "{said}");
    let balance = json_of(&collector.command(&["credits", "balance", CUSTOMER, "--json"])?)?;
    ensure!(balance["items"][0]["balance"] == "480", "{balance}");

    let grants = ["credits", "grants", CUSTOMER, &kind, "--json"];
    let listed = json_of(&collector.command(&grants)?)?;
    let grant = listed[0]["id"].as_str().context("a grant")?.to_owned();
    let void = ["credits", "void", &grant, "--amount", "80"];
    let said = text_of(&collector.command(&void)?)?;
    ensure!(said.contains("400 are left"), "{said}");
    let table = text_of(&collector.command(&["credits", "grants", CUSTOMER, &kind])?)?;
    ensure!(table.contains("500.25") && table.contains("400"), "{table}");

    let said = refusal_of(collector, &["credits", "take", CUSTOMER, &kind, "400.01"])?;
    ensure!(said.contains("at most 400 credits"), "{said}");
    let said = refusal_of(collector, &["credits", "take", CUSTOMER, &kind, "0.001"])?;
    ensure!(
        said.contains("at most") && said.contains("amount"),
        "{said}"
    );
    let said = refusal_of(collector, &["credits", "balance", "nobody"])?;
    ensure!(said.contains("404"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_is_listed_added_up_and_rebuilt() -> Result<()> {
    let (system, kind) = with_a_customer().await?;
    let collector = &system.collector;
    text_of(&collector.command(&["credits", "give", CUSTOMER, &kind, "100"])?)?;
    text_of(&collector.command(&["credits", "take", CUSTOMER, &kind, "30"])?)?;
    let fund = json!({
        "amount": 2500, "currency": "USD", "entry_type": "credit", "idempotency_key": "wire 17",
    });
    let path = "/customers/acme%2Feu%20west/wallets/ledger-entries";
    collector.api().create(path, &fund).await?;

    let entries = json_of(&collector.command(&["ledger", "list", CUSTOMER, "--json"])?)?;
    let numbers: Vec<_> = entries
        .as_array()
        .context("entries")?
        .iter()
        .filter_map(|entry| entry["sequence"].as_u64())
        .collect();
    ensure!(numbers == [3, 2, 1], "{numbers:?}");
    ensure!(
        entries[0]["previous"] == entries[1]["digest"],
        "each names the one before"
    );
    let table = text_of(&collector.command(&["ledger", "list", CUSTOMER])?)?;
    ensure!(
        table.contains("credits_available") && table.contains("debited"),
        "{table}"
    );

    let accounts = ["ledger", "accounts", CUSTOMER];
    let table = text_of(&collector.command(&accounts)?)?;
    for shown in ["credits_consumed", "100 = 100", "2500 = 2500", "wallet"] {
        ensure!(table.contains(shown), "no {shown} in\n{table}");
    }

    let verified = ["ledger", "verify", "--json"];
    let verified = json_of(&collector.command(&verified)?)?;
    ensure!(
        verified["faults"] == 0 && verified["ledgers"][0]["entries"] == 3,
        "{verified}"
    );
    let said = text_of(&collector.command(&["ledger", "verify", CUSTOMER])?)?;
    ensure!(
        said.contains("3 entries") && said.contains("everything adds up"),
        "{said}"
    );
    let said = text_of(&collector.command(&["ledger", "rebuild", CUSTOMER])?)?;
    ensure!(said.contains("are those of the entries"), "{said}");
    let audit = collector.api().fetch("/v1/audit").await?;
    ensure!(
        audit.to_string().contains("ledger.rebuilt"),
        "a rebuild is in the audit log"
    );
    for command in ["list", "accounts", "verify", "rebuild"] {
        let said = refusal_of(collector, &["ledger", command, "nobody"])?;
        ensure!(said.contains("404"), "{command}: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_page_does_as_it_stands_there() -> Result<()> {
    let system = System::start("").await?;
    let api = system.collector.api();
    let kind = builders::create_credits(api, &builders::credits("Tokens", "token", 2)).await?;
    builders::create_customer(api, &builders::customer("acme", "Acme")).await?;
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/credits.md"))?;
    let commands = page
        .lines()
        .filter_map(|line| line.strip_prefix("submeter-collector "));
    let mut tried = 0;
    for line in commands {
        let line = line.replace("$CREDITS", &kind);
        let words = words(&line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        text_of(&system.collector.command(&words)?).with_context(|| line.clone())?;
        tried += 1;
    }
    ensure!(tried > 10, "{tried} commands");
    let balance = api.fetch("/customers/acme/credit-entitlements").await?;
    ensure!(balance["items"][0]["balance"] == "530", "{balance}");
    Ok(())
}

/// The words of a line, as a shell takes them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
