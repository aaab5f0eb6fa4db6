//! Does every invoice line say what the application's requests add up to?
//!
//! 8 819 real LLM requests of 50 customers go to two agents: shuffled, repeated, re-cut, and with one
//! agent killed half way. The invoices of the period are then compared, line by line, with the
//! auditor's own computation from the same requests.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use submeter_common::time::{Clock, SystemClock};
use submeter_tests::auditor::{self, Decimal, Measure};
use submeter_tests::builders::{self, Every};
use submeter_tests::system::{Agent, Api, Outcome, PATIENCE, System, eventually};
use submeter_tests::workload::delivery::Delivery;
use submeter_tests::workload::{self, CUSTOMERS, Call, customer_id, rfc3339, trace};

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// A meter, its price in cents for one unit, and its free threshold.
struct Tariff {
    name: &'static str,
    measure: Measure,
    price: &'static str,
    free: i64,
}

const fn tariff(name: &'static str, measure: Measure, price: &'static str, free: i64) -> Tariff {
    Tariff {
        name,
        measure,
        price,
        free,
    }
}

/// Everything paid with money, in one product with this base fee in cents.
const BASE_FEE: i64 = 1_900;
const PAID: [Tariff; 8] = [
    tariff("Requests", Measure::Requests, "0.1", 100),
    tariff("Long requests", Measure::LongRequests(4_000), "12.5", 3),
    tariff(
        "Context tokens",
        Measure::ContextTokens,
        "0.000375",
        100_000,
    ),
    tariff(
        "Longest context",
        Measure::LongestContext,
        "0.333333333333",
        5_000,
    ),
    tariff("Shortest answer", Measure::ShortestAnswer, "1", 0),
    tariff("Last context", Measure::LastContext, "0.05", 10),
    tariff("Users", Measure::Users, "99", 5),
    tariff(
        "Compute seconds, eu",
        Measure::ComputeSeconds("eu"),
        "1.7",
        2,
    ),
];

/// Answer tokens, paid with credits: 1 000 tokens are one credit, some come each day, more cost money.
const ANSWERS: Tariff = tariff("Generated tokens", Measure::GeneratedTokens, "35.5", 500);
const CREDITS_A_DAY: &str = "2.25";
const CREDIT_DIGITS: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_every_invoice_equals_the_auditors() -> Result<()> {
    let mut system =
        System::start("completeness_wait = \"1h\"\nbilling_interval = \"200ms\"").await?;
    let api = system.collector.api().clone();
    let products = Products::create(&api).await?;
    let settings =
        "horizon_past = \"6h\"\nflush_interval = \"300ms\"\ncheckpoint_interval = \"1s\"";
    let mut north = system.agent("north", settings).await?;
    let mut south = system.agent("south", settings).await?;
    eventually("both agents to register", PATIENCE, || async {
        let agents = api.fetch("/v1/agents").await?["items"]
            .as_array()
            .map_or(0, Vec::len);
        ensure!(agents == 2, "{agents} agents");
        Ok(())
    })
    .await?;

    // The period is the day that ended with the current minute; its last event is its last microsecond.
    let end = SystemClock.now().as_micros() / MINUTE * MINUTE;
    let calls = workload::calls(&trace::load()?, end - 1);
    let subscriptions = products
        .subscribe_everyone(&api, &rfc3339(end - DAY))
        .await?;

    let (to_north, to_south): (Vec<Call>, Vec<Call>) = calls
        .iter()
        .cloned()
        .partition(|call| call.index * 31 % 5 < 3);
    let (plan_north, plan_south) = (Delivery::plan(&to_north, 1), Delivery::plan(&to_south, 2));
    let (api_north, api_south) = (north.api().clone(), south.api().clone());
    let crash = async {
        plan_north.half_sent().await;
        north.crash_and_start().await
    };
    let (report, _, ()) = tokio::try_join!(
        plan_north.send(&api_north),
        plan_south.send(&api_south),
        crash
    )?;
    ensure!(
        report.failures > 0,
        "the crash fell between two requests: {report:?}"
    );

    conserved(&north, to_north.len()).await?;
    conserved(&south, to_south.len()).await?;
    north.flush().await?;
    south.flush().await?;
    let early = closing_invoices(&api).await?;
    ensure!(
        early.is_empty(),
        "a period was closed before its agents were through: {early:?}"
    );

    ensure!(north.drain().await? == Outcome::Drained);
    ensure!(south.drain().await? == Outcome::Drained);
    let invoices = eventually("an invoice for each subscription", PATIENCE, || async {
        let invoices = closing_invoices(&api).await?;
        ensure!(
            invoices.len() == subscriptions.len(),
            "{} invoices",
            invoices.len()
        );
        Ok(invoices)
    })
    .await?;

    for customer in 0..CUSTOMERS {
        let own: Vec<&Call> = calls
            .iter()
            .filter(|call| call.customer == customer)
            .collect();
        let id = customer_id(customer);
        check_paid(&invoices[&(id.clone(), products.paid.clone())], &own, end)
            .with_context(|| format!("{id}, paid with money"))?;
        check_credits(&invoices[&(id.clone(), products.credited.clone())], &own)
            .with_context(|| format!("{id}, paid with credits"))?;
    }

    // A crash of the collector neither loses nor repeats anything.
    system.collector.kill()?;
    system.collector.start_again().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(closing_invoices(system.collector.api()).await? == invoices);
    Ok(())
}

/// The catalog of the test.
struct Products {
    paid: String,
    credited: String,
}

impl Products {
    async fn create(api: &Api) -> Result<Self> {
        let mut prices = Vec::new();
        for tariff in &PAID {
            let meter = builders::create_meter(api, &meter(tariff)).await?;
            prices.push(builders::paid(&meter, tariff.price, tariff.free));
        }
        let paid = builders::product("Metered LLM", Every::Day, BASE_FEE, &prices);
        let paid = builders::create_product(api, &paid).await?;

        let credits = builders::credits("Answer credits", "credit", 3);
        let credits = builders::create_credits(api, &credits).await?;
        let answers = builders::create_meter(api, &meter(&ANSWERS)).await?;
        let price = builders::credited(&answers, &credits, "1000", ANSWERS.free);
        let product = builders::product("Answers", Every::Day, 0, &[price]);
        let product = builders::with_credits(product, &credits, CREDITS_A_DAY, ANSWERS.price);
        let credited = builders::create_product(api, &product).await?;
        Ok(Self { paid, credited })
    }

    async fn subscribe_everyone(&self, api: &Api, start: &str) -> Result<Vec<String>> {
        let mut subscriptions = Vec::new();
        for customer in 0..CUSTOMERS {
            let id = customer_id(customer);
            builders::create_customer(api, &builders::customer(&id, &id)).await?;
            for product in [&self.paid, &self.credited] {
                let subscription = builders::subscription(&id, product, start);
                subscriptions.push(builders::subscribe(api, &subscription).await?);
            }
        }
        Ok(subscriptions)
    }
}

/// The definition of a tariff's meter, as an application would send it.
fn meter(tariff: &Tariff) -> Value {
    let on = |aggregation: &str, key: &str| {
        builders::meter(tariff.name, "llm.request", aggregation, key, "unit")
    };
    match tariff.measure {
        Measure::Requests => on("count", ""),
        Measure::LongRequests(beyond) => builders::filtered(
            on("count", ""),
            "context_tokens",
            "greater_than",
            json!(beyond),
        ),
        Measure::ContextTokens => builders::grouped(on("sum", "context_tokens"), "region"),
        Measure::GeneratedTokens => on("sum", "generated_tokens"),
        Measure::LongestContext => on("max", "context_tokens"),
        Measure::ShortestAnswer => on("min", "generated_tokens"),
        Measure::LastContext => on("last", "context_tokens"),
        Measure::Users => on("unique_count", "user"),
        Measure::ComputeSeconds(region) => builders::filtered(
            on("sum", "compute_seconds"),
            "region",
            "equals",
            json!(region),
        ),
    }
}

/// Invoices that close a period, by customer and product.
async fn closing_invoices(api: &Api) -> Result<BTreeMap<(String, String), Value>> {
    let mut closing = BTreeMap::new();
    for listed in api.list("/v1/invoices").await? {
        if listed["closes_period"].is_null() {
            continue;
        }
        let id = listed["invoice_id"].as_str().context("invoice_id")?;
        let invoice = api.fetch(&format!("/v1/invoices/{id}")).await?;
        let field = |name: &str| invoice[name].as_str().map(str::to_owned);
        let key = field("customer_id")
            .zip(field("product_id"))
            .context("ids")?;
        ensure!(!closing.contains_key(&key), "two invoices for {key:?}");
        closing.insert(key, invoice);
    }
    Ok(closing)
}

fn check_paid(invoice: &Value, calls: &[&Call], end: i64) -> Result<()> {
    check_head(invoice, end)?;
    let lines = invoice["lines"].as_array().context("lines")?;
    ensure!(lines.len() == PAID.len() + 1, "{} lines", lines.len());
    let mut total = i128::from(BASE_FEE);
    let fee = lines
        .iter()
        .find(|line| line["kind"] == "base_fee")
        .context("base fee")?;
    ensure!(fee["amount"] == BASE_FEE, "{fee}");
    for tariff in &PAID {
        let line = line(lines, tariff.name)?;
        let quantity = tariff.measure.of(calls)?;
        let price = Decimal::parse(tariff.price)?;
        let expected = auditor::charge(quantity, tariff.free.into(), price);
        let billed = [
            ("quantity", expected.quantity),
            ("billed_quantity", expected.billed),
            ("unit_price", price),
            ("amount_exact", expected.exact),
            ("amount", Decimal::new(expected.amount, 0)),
            ("free_quantity", expected.quantity.minus(expected.billed)),
        ];
        for (field, expected) in billed {
            same(line, field, expected).with_context(|| format!("{}: {line}", tariff.name))?;
        }
        check_sources(line, matching(tariff.measure, calls))?;
        total += expected.amount;
    }
    same(invoice, "total", Decimal::new(total, 0))
}

fn check_credits(invoice: &Value, calls: &[&Call]) -> Result<()> {
    let lines = invoice["lines"].as_array().context("lines")?;
    let line = line(lines, ANSWERS.name)?;
    let quantity = ANSWERS.measure.of(calls)?;
    let granted = Decimal::parse(CREDITS_A_DAY)?;
    let expected = auditor::credit_charge(quantity, ANSWERS.free.into(), CREDIT_DIGITS, granted);
    same(line, "quantity", expected.quantity)?;
    let credits = &line["credits"];
    same(credits, "credits_needed", expected.needed)?;
    same(credits, "credits_used", expected.used)?;
    same(credits, "overage_credits", expected.overage)?;
    let granted: Vec<Decimal> = credits["grants"]
        .as_array()
        .context("grants")?
        .iter()
        .map(|grant| Decimal::read(&grant["amount"]))
        .collect::<Result<_>>()?;
    let granted = granted.into_iter().fold(Decimal::new(0, 0), Decimal::plus);
    ensure!(
        granted == expected.used,
        "grants paid {granted}, expected {}",
        expected.used
    );

    let exact = expected.overage.times(Decimal::parse(ANSWERS.price)?);
    same(invoice, "total", Decimal::new(exact.rounded(), 0)).with_context(|| invoice.to_string())
}

fn check_head(invoice: &Value, end: i64) -> Result<()> {
    ensure!(invoice["complete"] == true, "complete: {invoice}");
    ensure!(
        invoice["period"]["start"] == rfc3339(end - DAY),
        "{}",
        invoice["period"]
    );
    ensure!(
        invoice["period"]["end"] == rfc3339(end),
        "{}",
        invoice["period"]
    );
    Ok(())
}

/// Every event that counted came in by one of the two agents' frames.
fn check_sources(line: &Value, events: usize) -> Result<()> {
    let sources = line["sources"].as_array().context("sources")?;
    let counted: Option<u64> = sources.iter().map(|source| source["events"].as_u64()).sum();
    ensure!(
        counted == Some(u64::try_from(events)?),
        "{events} events, sources say {sources:?}"
    );
    Ok(())
}

/// How many of the calls a meter of this kind counts.
fn matching(measure: Measure, calls: &[&Call]) -> usize {
    let counts = |call: &&&Call| match measure {
        Measure::LongRequests(beyond) => call.context_tokens > beyond,
        Measure::ComputeSeconds(region) => call.region() == region,
        _ => true,
    };
    calls.iter().filter(counts).count()
}

fn line<'a>(lines: &'a [Value], meter: &str) -> Result<&'a Value> {
    let found = lines.iter().find(|line| line["meter_name"] == meter);
    found.with_context(|| format!("no line for {meter}"))
}

#[track_caller]
fn same(document: &Value, field: &str, expected: Decimal) -> Result<()> {
    let found = Decimal::read(&document[field]).with_context(|| field.to_owned())?;
    ensure!(
        found == expected,
        "{field} is {found}, the auditor says {expected}"
    );
    Ok(())
}

/// The agent accepted each of its calls once, and its receipts add up.
async fn conserved(agent: &Agent, calls: usize) -> Result<()> {
    let status = agent.status().await?;
    let receipts = &status["receipts"];
    let count = |name: &str| {
        receipts[name]
            .as_u64()
            .with_context(|| format!("{name}: {status}"))
    };
    ensure!(
        count("accepted")? == u64::try_from(calls)?,
        "{calls} calls, {receipts}"
    );
    let rejected = receipts["rejected"].as_object().context("rejected")?;
    let rejected: u64 = rejected.values().filter_map(Value::as_u64).sum();
    let known = count("accepted")? + count("duplicate")? + count("conflict")? + rejected;
    ensure!(count("received")? == known, "{receipts}");
    ensure!(
        count("accepted")? == count("matched")? + count("unmatched")?,
        "{receipts}"
    );
    Ok(())
}
