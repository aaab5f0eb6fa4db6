//! Does a collector that is killed over and over in the middle of billing write every invoice, once, without a gap?

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use submeter_common::{Clock, SystemClock};
use submeter_tests::builders::{self, Every};
use submeter_tests::system::{Api, Collector, PATIENCE, eventually};
use tempfile::TempDir;

/// Subscriptions that are behind, and by how many daily periods.
const SUBSCRIPTIONS: usize = 6;
const DAYS: i64 = 150;
/// Minor units a day.
const FEE: i64 = 10;
/// How often the collector is killed.
const KILLS: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_killed_while_it_bills_issues_every_invoice_once() -> Result<()> {
    let directory = TempDir::new()?;
    let place = directory.path().join("collector");
    let mut collector = Collector::start(&place, "billing_interval = \"10ms\"\n").await?;
    let api = collector.api().clone();
    let product = builders::product("Daily", Every::Day, FEE, &[]);
    let product = builders::create_product(&api, &product).await?;
    let now = SystemClock.now().as_micros() / 1_000_000;
    let start = jiff::Timestamp::from_second(now - DAYS * 86_400 - 3_600)?.to_string();
    for number in 0..SUBSCRIPTIONS {
        let customer = format!("cus{number}");
        builders::create_customer(&api, &builders::customer(&customer, &customer)).await?;
        builders::subscribe(&api, &builders::subscription(&customer, &product, &start)).await?;
    }
    for kill in 0..KILLS {
        collector.kill()?;
        collector.start_again().await?;
        tokio::time::sleep(Duration::from_millis(20 + 37 * kill)).await;
    }
    let api = collector.api().clone();
    // The opening invoice, and one for each day that is over.
    let expected = SUBSCRIPTIONS * usize::try_from(DAYS + 1)?;
    eventually("every period to be invoiced", PATIENCE, || async {
        let found = invoices(&api).await?.len();
        ensure!(found == expected, "{found} of {expected} invoices");
        Ok(())
    })
    .await?;
    let invoices = invoices(&api).await?;
    check_numbers(&invoices)?;
    check_periods(&invoices)?;
    let told = messages(&api).await?;
    ensure!(told == expected, "{told} messages for {expected} invoices");
    Ok(())
}

/// Numbers of a year run from one up, each once.
fn check_numbers(invoices: &[Value]) -> Result<()> {
    let mut years: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for invoice in invoices {
        let number = invoice["number"].as_str().context("a number")?;
        let (year, place) = number.rsplit_once('-').context("its parts")?;
        years.entry(year).or_default().push(place.parse()?);
    }
    for (year, mut places) in years {
        places.sort_unstable();
        let gapless: Vec<u64> = (1..).take(places.len()).collect();
        ensure!(places == gapless, "{year}: {places:?}");
    }
    Ok(())
}

/// Each subscription has each period once, at its price.
fn check_periods(invoices: &[Value]) -> Result<()> {
    let mut closed: BTreeMap<String, Vec<Option<u64>>> = BTreeMap::new();
    for invoice in invoices {
        ensure!(invoice["total"] == FEE, "{invoice}");
        let subscription = invoice["subscription_id"].to_string();
        let periods = closed.entry(subscription).or_default();
        periods.push(invoice["closes_period"].as_u64());
    }
    ensure!(
        closed.len() == SUBSCRIPTIONS,
        "{} subscriptions",
        closed.len()
    );
    for (subscription, mut periods) in closed {
        periods.sort_unstable();
        let days = u64::try_from(DAYS)?;
        let all: Vec<Option<u64>> = [None].into_iter().chain((0..days).map(Some)).collect();
        ensure!(periods == all, "{subscription}: {periods:?}");
    }
    Ok(())
}

async fn invoices(api: &Api) -> Result<Vec<Value>> {
    api.list("/v1/invoices").await
}

async fn messages(api: &Api) -> Result<usize> {
    let (mut after, mut issued) = (0, 0);
    loop {
        let page = api
            .fetch(&format!("/v1/outbox?after={after}&limit=1000"))
            .await?;
        let messages = page["items"].as_array().context("messages")?;
        let Some(last) = messages.last() else {
            return Ok(issued);
        };
        after = last["sequence"].as_u64().context("a sequence")?;
        let is_issued = |message: &&Value| message["topic"] == "invoice.issued";
        issued += messages.iter().filter(is_issued).count();
    }
}
