//! Does a collector that is killed between question and answer take the money once, and forget nothing?

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use submeter_common::{Clock, SystemClock};
use submeter_tests::builders::{self, Every};
use submeter_tests::network::{Manner, Merchant};
use submeter_tests::system::{Api, Collector, PATIENCE, Process, eventually, free_address};
use tempfile::TempDir;

/// Minor units of each invoice.
const FEE: i64 = 1234;

/// Settings by which somebody is asked, fast.
fn settings(directory: &Path, merchant: &Merchant, more: &str) -> Result<String> {
    let secret = directory.join("payment.secret");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")?;
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600))?;
    Ok(format!(
        "billing_interval = \"10ms\"\npayment_gateway = \"webhook\"\npayment_webhook_url = \"{}\"\n\
         payment_webhook_secret_file = \"{}\"\npayment_recheck_after = \"50ms\"\n{more}\n",
        merchant.url(),
        secret.display()
    ))
}

/// Lets customers begin to owe the fee, each from its opening invoice on.
async fn owing(api: &Api, customers: usize) -> Result<()> {
    let product = builders::product("Plan", Every::Month, FEE, &[]);
    let product = builders::create_product(api, &product).await?;
    let start = jiff::Timestamp::from_microsecond(SystemClock.now().as_micros())?.to_string();
    for number in 0..customers {
        let customer = format!("cus{number}");
        builders::create_customer(api, &builders::customer(&customer, &customer)).await?;
        builders::subscribe(api, &builders::subscription(&customer, &product, &start)).await?;
    }
    Ok(())
}

async fn all_paid(api: &Api, count: usize) -> Result<Vec<Value>> {
    eventually("every invoice to be paid", PATIENCE, || async {
        let invoices = api.list("/v1/invoices?status=paid").await?;
        let found = invoices.len();
        ensure!(found == count, "{found} of {count} invoices are paid");
        Ok(())
    })
    .await?;
    api.list("/v1/invoices").await
}

/// Messages by topic.
async fn told(api: &Api) -> Result<BTreeMap<String, usize>> {
    let page = api.fetch("/v1/outbox?limit=1000").await?;
    let mut told = BTreeMap::new();
    for message in page["items"].as_array().context("messages")? {
        let topic = message["topic"].as_str().context("a topic")?;
        *told.entry(topic.to_owned()).or_default() += 1;
    }
    Ok(told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_killed_between_question_and_answer_takes_the_money_once() -> Result<()> {
    for manner in [Manner::TakesAndHangs, Manner::Hangs] {
        let directory = TempDir::new()?;
        let merchant = Merchant::start(manner, 1).await?;
        let settings = settings(directory.path(), &merchant, "payment_timeout = \"1s\"")?;
        let place = directory.path().join("collector");
        let mut collector = Collector::start(&place, &settings).await?;
        owing(collector.api(), 1).await?;
        eventually("the payment to be asked for", PATIENCE, || async {
            ensure!(!merchant.asked().is_empty(), "nobody asked");
            Ok(())
        })
        .await?;
        collector.kill()?;
        let asked_before = merchant.asked();
        merchant.behave(Manner::Prompt);
        collector.start_again().await?;
        let api = collector.api();
        let invoices = all_paid(api, 1).await?;
        let asked = merchant.asked();
        ensure!(asked.len() == 1, "{manner:?}: one payment, {asked:?}");
        for (key, before) in &asked_before {
            let after = asked.get(key).context("the same key")?;
            ensure!(after.bodies.len() > before.bodies.len(), "{manner:?}");
            ensure!(after.taken == Some(FEE), "{manner:?}: {after:?}");
            ensure!(after.bodies.iter().all(|body| *body == before.bodies[0]));
        }
        ensure!(invoices[0]["amount_paid"] == json!(FEE), "{invoices:?}");
        let tries = invoices[0]["payments"].as_array().context("payments")?;
        ensure!(tries.len() == 1 && tries[0]["status"] == "succeeded");
        let told = told(api).await?;
        let expected = [
            "invoice.issued",
            "invoice.paid",
            "payment.processing",
            "payment.succeeded",
        ];
        let expected: BTreeMap<String, usize> = expected.map(|topic| (topic.to_owned(), 1)).into();
        ensure!(told == expected, "{told:?}");
    }
    Ok(())
}

/// The service that the documentation shows, which judges signatures by another library than ours.
#[tokio::test(flavor = "multi_thread")]
async fn the_service_of_the_documentation_is_asked_and_paid() -> Result<()> {
    let directory = TempDir::new()?;
    let merchant = Merchant::start(Manner::Prompt, 1).await?;
    let settings = settings(directory.path(), &merchant, "payment_timeout = \"1s\"")?;
    let package = std::env::var_os("CARGO_MANIFEST_DIR").context("cargo names the package")?;
    let page = Path::new(&package).join("../docs/payments.md");
    let page = std::fs::read_to_string(page)?;
    let (_, example) = page.split_once("```python\n").context("an example")?;
    let (example, _) = example.split_once("```").context("its end")?;
    let address = free_address()?;
    let port = address.rsplit(':').next().context("a port")?;
    ensure!(example.contains("8090"), "{example}");
    let script = directory.path().join("charge.py");
    std::fs::write(&script, example.replace("8090", port))?;
    let secret = std::fs::read_to_string(directory.path().join("payment.secret"))?;
    let environment = [("SECRET", secret.trim())];
    let log = directory.path().join("charge.log");
    let _service = Process::spawn_with(Path::new("python3"), &[script], &log, &environment)?;
    let settings = settings.replace(merchant.url(), &format!("http://{address}/charge"));
    let place = directory.path().join("collector");
    let collector = Collector::start(&place, &settings).await?;
    owing(collector.api(), 1).await?;
    let invoices = all_paid(collector.api(), 1).await?;
    let payment = &invoices[0]["payments"][0];
    let id = payment["payment_id"].as_str().context("an id")?;
    ensure!(
        payment["reference"] == json!(format!("ch_{id}")),
        "{payment}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_over_and_over_with_a_moody_service_it_takes_each_invoices_money_once() -> Result<()>
{
    const CUSTOMERS: usize = 25;
    const KILLS: u64 = 6;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let directory = TempDir::new()?;
    let merchant = Merchant::start(Manner::Moody, seed).await?;
    let retries = vec!["30ms"; 20].join(", ");
    let more = format!(
        "payment_timeout = \"5s\"\npayment_retries = \"{retries}\"\npayment_concurrency = 3"
    );
    let settings = settings(directory.path(), &merchant, &more)?;
    let place = directory.path().join("collector");
    let mut collector = Collector::start(&place, &settings).await?;
    owing(collector.api(), CUSTOMERS).await?;
    for kill in 0..KILLS {
        collector.kill()?;
        collector.start_again().await?;
        tokio::time::sleep(Duration::from_millis(15 + 31 * kill)).await;
    }
    merchant.behave(Manner::Prompt);
    let api = collector.api();
    let invoices = all_paid(api, CUSTOMERS).await?;
    let mut taken: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for asked in merchant.asked().into_values() {
        let of_invoice = taken.entry(asked.invoice_id).or_default();
        of_invoice.extend(asked.taken);
        let first = &asked.bodies[0];
        ensure!(asked.bodies.iter().all(|body| body == first), "seed {seed}");
    }
    for invoice in &invoices {
        let id = invoice["invoice_id"].as_str().context("an id")?;
        ensure!(taken.get(id) == Some(&vec![FEE]), "seed {seed}: {taken:?}");
        ensure!(
            invoice["amount_paid"] == json!(FEE),
            "seed {seed}: {invoice}"
        );
        ensure!(invoice["past_due_since"].is_null(), "seed {seed}");
    }
    let told = told(api).await?;
    let count = |topic: &str| told.get(topic).copied().unwrap_or(0);
    ensure!(count("payment.succeeded") == CUSTOMERS, "{told:?}");
    ensure!(
        count("subscription.past_due") == count("subscription.active"),
        "{told:?}"
    );
    let ended = count("payment.succeeded") + count("payment.failed");
    ensure!(count("payment.processing") == ended, "{told:?}");
    Ok(())
}
