//! Does a balance follow usage within a flush and a second, and is nothing ever deducted twice? Do reservations hold?

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use submeter_common::time::{Clock, SystemClock};
use submeter_tests::builders::{self, Every};
use submeter_tests::system::{Agent, Api, Outcome, PATIENCE, System, eventually};
use submeter_tests::workload::rfc3339;
use tokio::task::JoinSet;

/// How often the agent sends what it has.
const FLUSH: Duration = Duration::from_millis(500);
/// What a balance may lag behind a flush.
const LAG_MAX: Duration = Duration::from_secs(1);
const ROUNDS: i64 = 9;
const DAY: i64 = 86_400_000_000;
const RESERVATIONS: &str = "/v1/customers/acme/reservations";

/// A customer with credits, a meter that burns them, and the agent beside its application.
struct Shop {
    system: System,
    agent: Agent,
    kind: String,
}

impl Shop {
    /// Subscribes `acme`, who may live by a test clock, to 100 credits a month; one call costs one.
    async fn open(settings: &str, clock: Option<i64>) -> Result<(Self, Option<String>)> {
        let settings = format!("billing_interval = \"50ms\"\n{settings}");
        let system = System::start(&settings).await?;
        let api = system.collector.api();
        let meter = builders::meter("Calls", "call", "count", "", "call");
        let meter = builders::create_meter(api, &meter).await?;
        let kind = builders::create_credits(api, &builders::credits("Tokens", "token", 0)).await?;
        let price = builders::credited(&meter, &kind, "1", 0);
        let product = builders::product("Plan", Every::Month, 0, &[price]);
        let product = builders::with_credits(product, &kind, "100", "3");
        let product = builders::create_product(api, &product).await?;
        let mut customer = builders::customer("acme", "Acme");
        let mut start = minute() - 3_600_000_000;
        let mut clock_id = None;
        if let Some(at) = clock {
            let made = json!({"frozen_time": rfc3339(at)});
            let made = api.create("/v1/test-clocks", &made).await?;
            customer["test_clock"] = made["test_clock_id"].clone();
            clock_id = made["test_clock_id"].as_str().map(str::to_owned);
            start = at;
        }
        builders::create_customer(api, &customer).await?;
        let subscription = builders::subscription("acme", &product, &rfc3339(start));
        builders::subscribe(api, &subscription).await?;
        let agent = format!("flush_interval = \"{}ms\"", FLUSH.as_millis());
        let agent = system.agent("agent", &agent).await?;
        let shop = Self {
            system,
            agent,
            kind,
        };
        Ok((shop, clock_id))
    }

    fn api(&self) -> &Api {
        self.system.collector.api()
    }

    /// Calls once for each id.
    async fn call(&self, ids: impl Iterator<Item = i64>) -> Result<()> {
        let event =
            |id| json!({"event_id": format!("e{id}"), "customer_id": "acme", "event_name": "call"});
        let events: Vec<Value> = ids.map(event).collect();
        let body = json!({ "events": events });
        self.agent.api().create("/events/ingest", &body).await?;
        Ok(())
    }

    async fn balance(&self) -> Result<i64> {
        balance(self.api(), &self.kind).await
    }

    /// What sets credits aside.
    fn hold(&self, amount: i64, key: &str, seconds: u32) -> Value {
        json!({
            "credit_entitlement_id": self.kind,
            "amount": amount,
            "idempotency_key": key,
            "timeout_seconds": seconds,
        })
    }

    async fn reserve(&self, amount: i64, key: &str, seconds: u32) -> Result<(u16, Value)> {
        let body = self.hold(amount, key, seconds);
        let reply = self.api().post(RESERVATIONS, &body).await?;
        Ok((reply.status, reply.json()?))
    }

    /// Ends a reservation.
    async fn end(&self, reservation: &Value, step: &str, body: &Value) -> Result<(u16, Value)> {
        let id = reservation["reservation_id"].as_str().context("an id")?;
        let path = format!("/v1/reservations/{id}/{step}");
        let reply = self.api().post(&path, body).await?;
        Ok((reply.status, reply.json()?))
    }
}

async fn balance(api: &Api, kind: &str) -> Result<i64> {
    let path = format!("/credit-entitlements/{kind}/balances/acme");
    let reply = api.fetch(&path).await?;
    let balance = reply["balance"].as_str().context("balance")?;
    Ok(balance.parse()?)
}

/// The start of this minute.
fn minute() -> i64 {
    SystemClock.now().as_micros() / 60_000_000 * 60_000_000
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_follows_usage_within_a_flush_and_a_second() -> Result<()> {
    let (shop, _) = Shop::open("", None).await?;
    let mut lags = Vec::new();
    for round in 0..ROUNDS {
        let before = 100 - 10 * round;
        ensure!(shop.balance().await? == before);
        shop.call(10 * round..10 * (round + 1)).await?;
        let acknowledged = Instant::now();
        loop {
            let shown = shop.balance().await?;
            if shown == before - 10 {
                break;
            }
            ensure!(shown == before, "{shown} between {before} and ten less");
            ensure!(acknowledged.elapsed() < PATIENCE, "it stays {shown}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        lags.push(acknowledged.elapsed());
    }
    lags.sort();
    let (median, longest) = (lags[lags.len() / 2], lags[lags.len() - 1]);
    println!(
        "from the acknowledgement of an event to the balance: median {median:.0?}, longest {longest:.0?}, \
         with a flush every {FLUSH:.0?}"
    );
    // The longest of a machine that is busy with other things says nothing.
    ensure!(median <= FLUSH + LAG_MAX, "{lags:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deducted_twice_or_not_at_all_while_a_period_is_closed() -> Result<()> {
    let start = minute() - DAY;
    let (mut shop, clock) = Shop::open("mode = \"test\"", Some(start)).await?;
    let clock = clock.context("a clock")?;
    // 500 that do not end and burn first, so that neither begin nor end of a month changes what is left.
    let gift = json!({"credit_entitlement_id": shop.kind, "amount": 500, "priority": 1});
    shop.api()
        .create("/v1/customers/acme/grants", &gift)
        .await?;
    ensure!(shop.balance().await? == 600);
    shop.call(0..30).await?;
    let expected = 570;
    eventually("the usage to show", PATIENCE, || async {
        let shown = shop.balance().await?;
        ensure!(shown == expected, "{shown}");
        Ok(())
    })
    .await?;
    // Whoever is gone for good is waited for by no period.
    ensure!(shop.agent.drain().await? == Outcome::Drained);

    let (is_over, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    let watch = async {
        while !is_over.load(Ordering::Relaxed) {
            let shown = shop.balance().await?;
            ensure!(shown == expected, "{shown} after {looks:?} looks");
            looks.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let advance = async {
        let path = format!("/v1/test-clocks/{clock}");
        let target = json!({"frozen_time": rfc3339(start + 100 * DAY)});
        shop.api()
            .create(&format!("{path}/advance"), &target)
            .await?;
        let arrived = eventually("three months to pass", PATIENCE, || async {
            let clock = shop.api().fetch(&path).await?;
            ensure!(clock["status"] == "ready", "{clock}");
            Ok(())
        });
        let arrived = arrived.await;
        is_over.store(true, Ordering::Relaxed);
        arrived
    };
    tokio::try_join!(watch, advance)?;
    ensure!(looks.load(Ordering::Relaxed) > 3, "{looks:?} looks");
    let invoices = shop.api().list("/v1/invoices").await?;
    let used: Vec<&Value> = invoices
        .iter()
        .flat_map(|invoice| invoice["lines"].as_array().into_iter().flatten())
        .map(|line| &line["credits"]["credits_used"])
        .filter(|used| !used.is_null())
        .collect();
    ensure!(used == [&json!("30")], "{used:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reservations_are_held_committed_in_part_released_and_never_twice() -> Result<()> {
    let (shop, _) = Shop::open("", None).await?;
    let (status, held) = shop.reserve(40, "job-1", 600).await?;
    ensure!(status == 201 && held["status"] == "held", "{held}");
    ensure!(shop.balance().await? == 60);
    let (status, again) = shop.reserve(40, "job-1", 600).await?;
    ensure!(status == 200 && again == held, "{again}");
    ensure!(shop.balance().await? == 60, "one key is one reservation");

    let partly = json!({"amount": 15});
    let (status, done) = shop.end(&held, "commit", &partly).await?;
    ensure!(status == 200 && done["committed_amount"] == "15", "{done}");
    ensure!(shop.balance().await? == 85, "25 came back");
    let (status, again) = shop.end(&held, "commit", &partly).await?;
    ensure!(status == 200 && again == done, "{again}");
    for (step, body) in [("commit", json!({"amount": 16})), ("release", json!({}))] {
        let (status, refused) = shop.end(&held, step, &body).await?;
        let code = refused["code"].as_str();
        ensure!(
            status == 409 && code == Some("RESERVATION_ENDED"),
            "{refused}"
        );
    }

    let (_, held) = shop.reserve(85, "job-2", 600).await?;
    let (status, refused) = shop.reserve(1, "job-3", 600).await?;
    ensure!(
        status == 400 && refused["code"] == "INSUFFICIENT_CREDITS" && refused["field"] == "amount",
        "{refused}"
    );
    for _ in 0..2 {
        let (status, released) = shop.end(&held, "release", &json!({})).await?;
        ensure!(
            status == 200 && released["status"] == "released",
            "{released}"
        );
        ensure!(shop.balance().await? == 85);
    }
    for (amount, seconds, field) in [(0, 600, "amount"), (1, 0, "timeout_seconds")] {
        let (status, refused) = shop.reserve(amount, "bad", seconds).await?;
        ensure!(status == 422 && refused["field"] == field, "{refused}");
    }

    // Twenty at once on what is enough for eight.
    let mut all = JoinSet::new();
    for job in 0..20 {
        let (api, body) = (
            shop.api().clone(),
            shop.hold(10, &format!("many-{job}"), 600),
        );
        all.spawn(async move { api.post(RESERVATIONS, &body).await });
    }
    let mut held = 0;
    for reply in all.join_all().await {
        let reply = reply?;
        ensure!([201, 400].contains(&reply.status), "{reply:?}");
        held += i64::from(reply.status == 201);
    }
    ensure!(held == 8, "{held} were held");
    ensure!(shop.balance().await? == 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_ends_by_itself_when_its_time_is_over() -> Result<()> {
    let (shop, _) = Shop::open("", None).await?;
    let (_, held) = shop.reserve(40, "short", 1).await?;
    ensure!(held["status"] == "held", "{held}");
    eventually("the credits to come back", PATIENCE, || async {
        let shown = shop.balance().await?;
        ensure!(shown == 100, "{shown}");
        Ok(())
    })
    .await?;
    let (status, refused) = shop.end(&held, "commit", &json!({})).await?;
    ensure!(status == 409, "{refused}");
    let listed = shop.api().list(RESERVATIONS).await?;
    ensure!(listed[0]["status"] == "expired", "{listed:?}");
    Ok(())
}
