//! Can anybody see how an invoice came about, and does deriving everything again find what was changed behind the collector's back?

use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use rocksdb::{DB, IteratorMode, Options, WriteOptions};
use serde_json::{Value, json};
use submeter_common::time::{Clock, SystemClock};
use submeter_tests::builders::{self, Every};
use submeter_tests::system::{Outcome, PATIENCE, System, eventually};
use submeter_tests::workload::rfc3339;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// Calls in two minutes of the period, so that one can be passed off as the other.
const CALLS: [usize; 2] = [5, 2];

/// A collector that has issued one invoice of a day: calls for money, calls for credits, and a fee.
struct Issued {
    system: System,
    invoice: Value,
    agent_id: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_a_line_down_to_its_frames() -> Result<()> {
    let issued = Issued::new().await?;
    let id = issued.invoice["invoice_id"].as_str().context("its id")?;
    let number = issued.invoice["number"].as_str().context("its number")?;
    let all = told(&issued.command(&["explain", id, "--hours"])?, 0)?;
    let (agent, digest) = (&issued.agent_id, issued.first_digest().await?);
    for shown in [
        number,
        "Calls",
        "Answers",
        "quantity 7, free 3, billed 4",
        "tier",
        "subscription",
        agent,
        &digest,
    ] {
        ensure!(all.contains(shown), "no `{shown}` in:\n{all}");
    }
    let one = told(&issued.command(&["explain", id, "--line", "1"])?, 0)?;
    ensure!(
        one.contains("1. Calls") && !one.contains("2. Answers"),
        "{one}"
    );
    let explained = told(
        &issued.command(&["explain", id, "--line", "1", "--json"])?,
        0,
    )?;
    let explained: Value = serde_json::from_str(&explained)?;
    let days = explained["lines"][0]["days"].as_array().context("days")?;
    let events: u64 = days.iter().filter_map(|day| day["events"].as_u64()).sum();
    ensure!(events == 7, "{explained}");

    let absent = told(&issued.command(&["explain", id, "--line", "99"])?, 1)?;
    ensure!(absent.contains("line"), "{absent}");
    let absent = told(&issued.command(&["explain", "inv_nobody"])?, 1)?;
    ensure!(absent.contains("inv_nobody"), "{absent}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_names_each_row_that_was_changed() -> Result<()> {
    let mut issued = Issued::new().await?;
    let whole = told(&issued.command(&["verify"])?, 0)?;
    ensure!(whole.contains("everything follows"), "{whole}");
    let invoice = issued.invoice["invoice_id"]
        .as_str()
        .context("its id")?
        .to_owned();

    let window = |store: &Store| store.pass_off_one_minute_as_another();
    issued.finds(&window, &[&invoice, "4 in 4 events"]).await?;
    let line = |store: &Store| store.raise_the_first_line(&invoice);
    issued
        .finds(
            &line,
            &[&invoice, "rounds to another amount", "rated again"],
        )
        .await?;
    let transfer = |store: &Store| store.raise_a_transfer();
    issued.finds(&transfer, &["ledger of acme"]).await
}

impl Issued {
    async fn new() -> Result<Self> {
        let system =
            System::start("completeness_wait = \"1h\"\nbilling_interval = \"100ms\"").await?;
        let api = system.collector.api();
        let calls = builders::meter("Calls", "call", "count", "", "call");
        let calls = builders::create_meter(api, &calls).await?;
        let answers = builders::meter("Answers", "call", "count", "", "answer");
        let answers = builders::create_meter(api, &answers).await?;
        let credits = builders::credits("Answer credits", "credits", 0);
        let credits = builders::create_credits(api, &credits).await?;
        let meters = [
            json!({"meter_id": calls, "free_threshold": 3, "pricing": {"model": "graduated", "tiers": [
                {"up_to": 2, "price_per_unit": "2"},
                {"up_to": null, "price_per_unit": "3"},
            ]}}),
            builders::credited(&answers, &credits, "1", 0),
        ];
        let product = builders::product("Proof", Every::Day, 900, &meters);
        let product = builders::with_credits(product, &credits, "10", "4");
        let product = builders::create_product(api, &product).await?;
        let mut agent = system
            .agent("agent", "horizon_past = \"6h\"\nflush_interval = \"200ms\"")
            .await?;
        // The period is the day that ended with the current minute.
        let end = SystemClock.now().as_micros() / MINUTE * MINUTE;
        builders::create_customer(api, &builders::customer("acme", "Acme")).await?;
        let subscription = builders::subscription("acme", &product, &rfc3339(end - DAY));
        builders::subscribe(api, &subscription).await?;
        for (place, calls) in (1..).zip(CALLS) {
            let at = rfc3339(end - place * 10 * MINUTE);
            let events: Vec<Value> = (0..calls)
                .map(|call| {
                    json!({
                        "event_id": format!("{place}-{call}"),
                        "customer_id": "acme",
                        "event_name": "call",
                        "timestamp": at,
                    })
                })
                .collect();
            agent
                .api()
                .post("/v1/events", &json!(events))
                .await?
                .success()?;
        }
        let agent_id = agent.status().await?["agent_id"]
            .as_str()
            .context("agent_id")?
            .to_owned();
        ensure!(agent.drain().await? == Outcome::Drained);
        let invoice = eventually("the period's invoice", PATIENCE, || async {
            let invoices = api.list("/v1/invoices").await?;
            let closing = invoices
                .into_iter()
                .find(|invoice| !invoice["closes_period"].is_null());
            closing.context("no invoice closes the period")
        })
        .await?;
        Ok(Self {
            system,
            invoice,
            agent_id,
        })
    }

    fn command(&self, arguments: &[&str]) -> Result<Output> {
        self.system.collector.command(arguments)
    }

    /// How the first frame behind the first line begins, by the API.
    async fn first_digest(&self) -> Result<String> {
        let id = self.invoice["invoice_id"].as_str().context("its id")?;
        let explained = self
            .system
            .collector
            .api()
            .fetch(&format!("/v1/invoices/{id}/explain"))
            .await?;
        let digest = explained["lines"][0]["frames"][0]["first_digest"].as_str();
        Ok(digest.context("a digest")?.chars().take(16).collect())
    }

    /// Changes one row of the stopped collector's store, and expects that `verify` says so, and ends with 1; then that it is
    /// content again with the row as it was.
    async fn finds(&mut self, damage: &dyn Fn(&Store) -> Result<Row>, says: &[&str]) -> Result<()> {
        let original = self.stopped(damage).await?;
        let found = told(&self.command(&["verify"])?, 1)?;
        for says in says {
            ensure!(found.contains(says), "no `{says}` in:\n{found}");
        }
        self.stopped(&|store| store.put(&original)).await?;
        let whole = told(&self.command(&["verify"])?, 0)?;
        ensure!(whole.contains("everything follows"), "{whole}");
        Ok(())
    }

    async fn stopped<T>(&mut self, act: &dyn Fn(&Store) -> Result<T>) -> Result<T> {
        let root = self.system.root().join("collector");
        self.system.collector.terminate().await?;
        let done = act(&Store::open(&root)?)?;
        self.system.collector.start_again().await?;
        Ok(done)
    }
}

/// A family, a key and its value.
type Row = (&'static str, Vec<u8>, Vec<u8>);

/// The stopped collector's store.
struct Store(DB);

impl Store {
    fn open(directory: &Path) -> Result<Self> {
        let path = directory.join("store");
        let families = DB::list_cf(&Options::default(), &path)?;
        Ok(Self(DB::open_cf(&Options::default(), path, families)?))
    }

    /// Returns the rows of a family that `is_it` says, in their order.
    fn rows(&self, family: &'static str, is_it: impl Fn(&[u8], &[u8]) -> bool) -> Result<Vec<Row>> {
        let mut found = Vec::new();
        for row in self.0.iterator_cf(
            self.0.cf_handle(family).context(family)?,
            IteratorMode::Start,
        ) {
            let (key, value) = row?;
            if is_it(&key, &value) {
                found.push((family, key.into_vec(), value.into_vec()));
            }
        }
        Ok(found)
    }

    fn put(&self, (family, key, value): &Row) -> Result<()> {
        let mut durably = WriteOptions::default();
        durably.set_sync(true);
        let family = self.0.cf_handle(family).context("a family")?;
        Ok(self.0.put_cf_opt(family, key, value, &durably)?)
    }

    /// Gives a minute the value of the one before.
    fn pass_off_one_minute_as_another(&self) -> Result<Row> {
        // Cells of one customer and meter stand together: minutes first, and those in their order.
        let cells = self.rows("usage", |_, _| true)?;
        let [earlier, later, ..] = &cells[..] else {
            anyhow::bail!("{} cells", cells.len());
        };
        let changed = (later.0, later.1.clone(), earlier.2.clone());
        self.put(&changed)?;
        Ok(later.clone())
    }

    /// Adds a cent to an invoice's first line and to its total.
    fn raise_the_first_line(&self, invoice: &str) -> Result<Row> {
        self.change(
            "documents",
            |value| value["invoice_id"] == invoice && value["lines"].is_array(),
            |value| {
                for amount in ["/lines/0/amount", "/total"] {
                    if let Some(amount) = value.pointer_mut(amount) {
                        *amount = json!(amount.as_i64().unwrap_or_default() + 1);
                    }
                }
            },
        )
    }

    /// Adds to the amount of a transfer.
    fn raise_a_transfer(&self) -> Result<Row> {
        self.change(
            "documents",
            |value| value["transfer"]["cause"]["kind"] == "invoiced",
            |value| value["transfer"]["amount"] = json!("1000000"),
        )
    }

    /// Changes the first document that `is_it`; returns it as it was.
    fn change(
        &self,
        family: &'static str,
        is_it: impl Fn(&Value) -> bool,
        change: impl Fn(&mut Value),
    ) -> Result<Row> {
        // A byte that names the format, then JSON.
        let document =
            |value: &[u8]| serde_json::from_slice::<Value>(value.get(1..).unwrap_or_default()).ok();
        let rows = self.rows(family, |_, value| {
            document(value).is_some_and(|value| is_it(&value))
        })?;
        let row = rows.into_iter().next().context("no such document")?;
        let mut value = document(&row.2).context("a document")?;
        change(&mut value);
        let mut bytes = vec![row.2[0]];
        serde_json::to_writer(&mut bytes, &value)?;
        self.put(&(row.0, row.1.clone(), bytes))?;
        Ok(row)
    }
}

/// What a command said, on both channels, when it ended with `code`.
fn told(output: &Output, code: i32) -> Result<String> {
    ensure!(output.status.code() == Some(code), "{output:?}");
    let texts =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    Ok(texts.concat())
}
