//! `import`: frames that came in files, and receipts to carry back.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs, Refusal, print_json};
use super::say::{remark, say};
use super::table::cell;
use super::{EXIT_DATA, EXIT_FAILED, EXIT_OK};

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-collector agents trust smpk_… --name site-7      once, with the key from `submeter-agent export --public-key`
  submeter-collector import site-7.smtb                     writes site-7.smtb.receipt: carry it back to the site
  submeter-collector import site-7.smtb site-7.smtb.2       what was split is imported in order

A file is applied wholly or refused wholly. Importing it again, or another one with some of the same frames, counts
nothing twice and writes the receipt again. The key needs the scope `agent`. Exit codes: 0 all files are applied and
their receipts written, 1 failed, or the collector was not reached, 65 a file was refused (those before it are applied):
it is damaged or was edited, its signer is not trusted, or frames before it are missing.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ImportArgs {
    /// Files written by `submeter-agent export`, in their order.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the receipt here; FILE.receipt otherwise.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn run(arguments: ImportArgs) -> u8 {
    let Err(error) = import_all(&arguments) else {
        return EXIT_OK;
    };
    remark(format_args!("error: {error:#}"));
    match error.downcast_ref::<Refusal>() {
        Some(refusal) if is_of_the_file(refusal) => EXIT_DATA,
        _ => EXIT_FAILED,
    }
}

/// Tells what no second try changes from what the network, the key or the collector's state is to blame for.
fn is_of_the_file(refusal: &Refusal) -> bool {
    matches!(refusal.status, 409 | 413 | 422) || refusal.code == "UNTRUSTED_SIGNER"
}

fn import_all(arguments: &ImportArgs) -> anyhow::Result<()> {
    arguments.client.run(async |collector| {
        for file in &arguments.files {
            import(collector, file, arguments)
                .await
                .with_context(|| file.display().to_string())?;
        }
        Ok(())
    })
}

async fn import(collector: &Client, file: &Path, arguments: &ImportArgs) -> anyhow::Result<()> {
    let bytes = std::fs::read(file).context("cannot be read")?;
    let reply = collector.send_bytes("/v1/bundles", bytes).await?;
    let path = match &arguments.receipt {
        Some(path) => path.clone(),
        None => {
            let mut name = file.as_os_str().to_owned();
            name.push(".receipt");
            name.into()
        }
    };
    let receipt = reply["receipt"]
        .as_str()
        .context("the answer has no receipt")?;
    std::fs::write(&path, receipt)
        .with_context(|| format!("the receipt cannot be written to {}", path.display()))?;
    if arguments.client.json {
        return print_json(&reply);
    }
    say(summary(file, &path, &reply))
}

fn summary(file: &Path, receipt: &Path, reply: &Value) -> String {
    format!(
        "{}: frames {} to {} of agent {}: {} applied ({} rows), {} were applied before; receipt in {}",
        file.display(),
        cell(&reply["first_seq"]),
        cell(&reply["last_seq"]),
        cell(&reply["agent_id"]),
        cell(&reply["applied_frames"]),
        cell(&reply["applied_rows"]),
        cell(&reply["duplicate_frames"]),
        receipt.display()
    )
}
