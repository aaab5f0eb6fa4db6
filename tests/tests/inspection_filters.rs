//! Does each filter of `inspect` pick what it names, and nothing else, of a running agent and of a stopped one?
//!
//! What must come is computed here, from what was sent.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use submeter_common::time::{Clock, SystemClock, Timestamp};
use submeter_tests::builders;
use submeter_tests::system::{Agent, PATIENCE, System, eventually};

const CUSTOMERS: [&str; 3] = ["acme", "globex", "initech"];
const NAMES: [&str; 2] = ["call", "stray"];
/// Events, half a minute apart.
const EVENTS: usize = 48;

/// One event as it was sent.
#[derive(Clone, Debug)]
struct Sent {
    id: String,
    customer: &'static str,
    name: &'static str,
    /// What the second meter counts.
    paid: bool,
    at: Timestamp,
}

impl Sent {
    fn new(number: usize, first: Timestamp) -> Self {
        let after = Duration::from_secs(30 * number as u64);
        Self {
            id: format!("e{number}"),
            customer: CUSTOMERS[number % 3],
            name: NAMES[usize::from(number % 4 == 3)],
            paid: number.is_multiple_of(2),
            at: first.saturating_add(after),
        }
    }

    fn minute(&self) -> Timestamp {
        self.at.truncate_to_minute()
    }
}

/// An agent with an open set, and what it was sent.
struct Story {
    system: System,
    agent: Agent,
    sent: Vec<Sent>,
    /// Counts every call.
    all: String,
    /// Counts the paid ones.
    paid: String,
}

/// Nothing is sealed but on request.
const PATIENT: &str = "flush_interval = \"1h\"\ncheckpoint_interval = \"1h\"";
/// What is open is soon sealed, into many frames.
const HASTY: &str = "flush_interval = \"1s\"\nframe_rows_max = 5";

impl Story {
    async fn begin(settings: &str) -> Result<Self> {
        let system = System::start("").await?;
        let api = system.collector.api();
        let all = builders::meter("All calls", "call", "count", "", "call");
        let paid = builders::meter("Paid calls", "call", "count", "", "call");
        let paid = builders::filtered(paid, "paid", "equals", json!(true));
        let all = builders::create_meter(api, &all).await?;
        let paid = builders::create_meter(api, &paid).await?;
        let agent = system.agent("agent", settings).await?;
        let half_an_hour = Duration::from_secs(30 * 60);
        let first = SystemClock.now().truncate_to_minute();
        let first = first.saturating_sub(half_an_hour);
        let sent: Vec<Sent> = (0..EVENTS).map(|number| Sent::new(number, first)).collect();
        agent.flush().await?;
        ingest(&agent, &sent, 1).await?;
        Ok(Self {
            system,
            agent,
            sent,
            all,
            paid,
        })
    }

    /// Ids of the events that are wanted, newest first.
    fn ids(&self, wanted: impl Fn(&Sent) -> bool) -> Vec<String> {
        let wanted = self.sent.iter().rev().filter(|event| wanted(event));
        wanted.map(|event| event.id.clone()).collect()
    }

    /// The open partials of the events that are wanted.
    fn partials(&self, wanted: impl Fn(&Sent, &str) -> bool) -> BTreeSet<[String; 3]> {
        let calls = self.sent.iter().filter(|event| event.name == "call");
        let counted = calls.flat_map(|event| {
            let paid = event.paid.then_some(self.paid.as_str());
            let meters = std::iter::once(self.all.as_str()).chain(paid);
            meters.map(move |meter| (event, meter))
        });
        let counted = counted.filter(|(event, meter)| wanted(event, meter));
        let partial = |(event, meter): (&Sent, &str)| {
            [event.customer, meter, &event.minute().to_string()].map(str::to_owned)
        };
        counted.map(partial).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_events_pick_what_they_name() -> Result<()> {
    let mut story = Story::begin(PATIENT).await?;
    let (all, paid) = (story.all.clone(), story.paid.clone());
    // Exactly at an event: it is in from there on, and no longer in up to there.
    let (start, end) = (story.sent[10].at, story.sent[20].at);
    let between = |event: &Sent| event.at >= start && event.at < end;
    let cases = [
        (vec![], story.ids(|_| true)),
        (
            vec![("--customer", "globex".to_owned())],
            story.ids(|event| event.customer == "globex"),
        ),
        (
            vec![("--event-name", "stray".to_owned())],
            story.ids(|event| event.name == "stray"),
        ),
        (
            vec![("--meter", all)],
            story.ids(|event| event.name == "call"),
        ),
        (
            vec![("--meter", paid.clone())],
            story.ids(|event| event.name == "call" && event.paid),
        ),
        (
            vec![("--event-id", "e7".to_owned())],
            story.ids(|event| event.id == "e7"),
        ),
        (
            vec![("--start", start.to_string())],
            story.ids(|event| event.at >= start),
        ),
        (
            vec![("--end", end.to_string())],
            story.ids(|event| event.at < end),
        ),
        (
            vec![
                ("--start", start.to_string()),
                ("--end", end.to_string()),
                ("--customer", "acme".to_owned()),
                ("--meter", paid),
            ],
            story.ids(|event| {
                between(event) && event.customer == "acme" && event.name == "call" && event.paid
            }),
        ),
        (vec![("--customer", "nobody".to_owned())], Vec::new()),
    ];
    for stopped in [false, true] {
        if stopped {
            story.agent.kill()?;
        }
        for (filter, expected) in &cases {
            let listed = list(&story.agent, "events", filter)?;
            let found: Vec<&str> = texts(&listed, "event_id");
            ensure!(
                found == *expected,
                "{filter:?}, stopped {stopped}: {found:?} instead of {expected:?}"
            );
        }
    }
    ensure!(
        cases.iter().filter(|(_, ids)| !ids.is_empty()).count() == 9,
        "a filter found nothing to pick"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_partials_pick_what_they_name() -> Result<()> {
    let mut story = Story::begin(PATIENT).await?;
    let paid = story.paid.clone();
    let (start, end) = (story.sent[11].at, story.sent[30].minute());
    let minute = Duration::from_secs(60);
    let ends_after = |event: &Sent| event.minute().saturating_add(minute) > start;
    let cases = [
        (vec![], story.partials(|_, _| true)),
        (
            vec![("--customer", "initech".to_owned())],
            story.partials(|event, _| event.customer == "initech"),
        ),
        (
            vec![("--meter", paid.clone())],
            story.partials(|_, meter| meter == paid),
        ),
        (
            vec![("--start", start.to_string())],
            story.partials(|event, _| ends_after(event)),
        ),
        (
            vec![("--end", end.to_string())],
            story.partials(|event, _| event.minute() < end),
        ),
        (
            vec![
                ("--start", start.to_string()),
                ("--end", end.to_string()),
                ("--meter", paid.clone()),
                ("--customer", "acme".to_owned()),
            ],
            story.partials(|event, meter| {
                ends_after(event)
                    && event.minute() < end
                    && meter == paid
                    && event.customer == "acme"
            }),
        ),
    ];
    for stopped in [false, true] {
        if stopped {
            story.agent.kill()?;
        }
        for (filter, expected) in &cases {
            let listed = list(&story.agent, "partials", filter)?;
            let found: BTreeSet<[String; 3]> = listed.iter().map(partial).collect();
            ensure!(!expected.is_empty(), "{filter:?} has nothing to pick");
            ensure!(
                found == *expected && found.len() == listed.len(),
                "{filter:?}, stopped {stopped}: {found:#?} instead of {expected:#?}"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_listed_by_how_far_they_have_come_and_opened_page_by_page() -> Result<()> {
    let mut story = Story::begin(HASTY).await?;
    story.agent.flush().await?;
    let acknowledged = numbers(&story.agent, "acknowledged")?;
    ensure!(acknowledged.len() > 2, "{acknowledged:?}");

    // Stopped, not gone: what is sent to it is on its way for as long as it does not answer.
    story.system.collector.process().signal(Signal::STOP)?;
    let later: Vec<Sent> = story.sent.iter().map(again).collect();
    ingest(&story.agent, &later, 1).await?;
    eventually("the first frame to be tried", PATIENCE, || async {
        let sent = numbers(&story.agent, "sent")?;
        ensure!(sent.len() == 1, "{sent:?}");
        Ok(())
    })
    .await?;
    let (sent, waiting) = (
        numbers(&story.agent, "sent")?,
        numbers(&story.agent, "waiting")?,
    );
    ensure!(waiting.len() > 2, "{waiting:?}");
    let all = [&acknowledged[..], &sent, &waiting].concat();
    ensure!(
        all == (1..=all.len() as u64).collect::<Vec<_>>(),
        "{all:?} are all frames, each in one state"
    );

    let running = rows_by_pages(&story.agent, acknowledged[1])?;
    story.agent.kill()?;
    ensure!(numbers(&story.agent, "acknowledged")? == acknowledged);
    ensure!(numbers(&story.agent, "sent")?.is_empty());
    ensure!(numbers(&story.agent, "waiting")? == [sent, waiting].concat());
    ensure!(rows_by_pages(&story.agent, acknowledged[1])? == running);
    said(
        &story.agent,
        &["inspect", "outbox", "--state", "lost"],
        2,
        "acknowledged",
    )
}

/// Every row of a frame, two at a time.
fn rows_by_pages(agent: &Agent, seq: u64) -> Result<Vec<Value>> {
    let seq = seq.to_string();
    let frame = ["inspect", "outbox", "--json", "--seq", &seq];
    let whole = document(agent, &[&frame[..], &["--limit", "0"]].concat())?;
    let rows = whole["rows"]["items"].as_array().context("rows")?.clone();
    ensure!(
        rows.len() == 5 && whole["rows"]["next"].is_null() && whole["frame"]["rows"] == 5,
        "{whole}"
    );
    let mut walked = Vec::new();
    let mut after = None::<String>;
    loop {
        let mut page = [&frame[..], &["--limit", "2"]].concat();
        if let Some(after) = &after {
            page.extend(["--after", after.as_str()]);
        }
        let page = document(agent, &page)?;
        let rows = page["rows"]["items"].as_array().context("rows")?;
        ensure!(rows.len() <= 2, "{page}");
        walked.extend(rows.iter().cloned());
        match page["rows"]["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    ensure!(walked == rows, "{walked:?} instead of {rows:?}");
    Ok(walked)
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_are_listed_by_customer_and_page_by_page() -> Result<()> {
    let mut story = Story::begin(PATIENT).await?;
    // The same ids, but other events.
    ingest(&story.agent, &story.sent, 2).await?;
    // They are written with the next checkpoint.
    story.agent.flush().await?;
    for stopped in [false, true] {
        if stopped {
            story.agent.kill()?;
        }
        let of_globex = list(
            &story.agent,
            "conflicts",
            &[("--customer", "globex".to_owned())],
        )?;
        let expected = story.ids(|event| event.customer == "globex");
        ensure!(texts(&of_globex, "event_id") == expected, "{of_globex:?}");
        let all = list(&story.agent, "conflicts", &[])?;
        ensure!(texts(&all, "event_id") == story.ids(|_| true), "{all:?}");
        let mut walked: Vec<Value> = Vec::new();
        loop {
            let mut page = vec!["inspect", "conflicts", "--json", "--limit", "5"];
            let last = walked.last().map(|item| item["cursor"].clone());
            if let Some(last) = last.as_ref().and_then(Value::as_str) {
                page.extend(["--after", last]);
            }
            let page = lines(&story.agent, &page)?;
            if page.is_empty() {
                break;
            }
            walked.extend(page);
        }
        ensure!(walked == all, "stopped {stopped}: {walked:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_of_ids_and_states_of_meters_are_told() -> Result<()> {
    let mut story = Story::begin(PATIENT).await?;
    for stopped in [false, true] {
        if stopped {
            story.agent.kill()?;
        }
        let dedup = document(&story.agent, &["inspect", "dedup", "--json"])?;
        let in_runs = dedup["runs"].as_array().context("runs")?;
        let in_runs = in_runs.iter().filter_map(|run| run["ids"].as_u64());
        ensure!(
            dedup["ids"] == EVENTS && in_runs.sum::<u64>() == EVENTS as u64,
            "{dedup}"
        );
        let oldest = dedup["oldest_at"].as_str().context("oldest_at")?;
        ensure!(Timestamp::parse(oldest)? <= SystemClock.now(), "{dedup}");
        let table = story.agent.command(&["inspect", "dedup"])?;
        let head = format!("{EVENTS} ids remembered, the oldest since {oldest}");
        ensure!(
            String::from_utf8(table.stdout)?.contains(&head),
            "no {head:?}"
        );

        let meters = document(&story.agent, &["inspect", "meters", "--json"])?;
        for (meter, wanted) in [(&story.all, false), (&story.paid, true)] {
            let told = meters["meters"].as_array().context("meters")?;
            let told = told.iter().find(|told| told["meter_id"] == **meter);
            let told = told.context("the meter")?;
            let open = story.partials(|_, of| of == meter).len();
            let counted = story.sent.iter();
            let counted = counted.filter(|event| event.name == "call" && (event.paid || !wanted));
            ensure!(
                told["open_events"] == counted.count() && told["open_partials"] == open,
                "{told}"
            );
        }
        ensure!(meters["open_counts_complete"] == true, "{meters}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_not_the_last_says_how_to_go_on_and_a_bad_question_what_is_wrong()
-> Result<()> {
    let mut story = Story::begin(PATIENT).await?;
    for (query, names) in [
        ("events?limit=0", "limit"),
        ("events?limit=1001", "limit"),
        ("events?limit=many", "limit"),
        ("events?start=noon", "start"),
        ("events?end=later", "end"),
        ("events?after=here", "17.3"),
        ("partials?after=zz", "after"),
        ("partials?start=noon", "start"),
        ("outbox?state=lost", "lost"),
        ("outbox?after=x", "after"),
        ("frame?seq=first", "seq"),
        ("id", "event_id"),
        ("conflicts?after=x", "after"),
        ("quarantine?after=x", "after"),
    ] {
        let reply = story
            .agent
            .api()
            .get(&format!("/v1/inspect/{query}"))
            .await?;
        ensure!(
            reply.status == 422 && reply.code() == "INVALID_QUERY" && reply.body.contains(names),
            "{query}: {} {}",
            reply.status,
            reply.body
        );
    }
    for stopped in [false, true] {
        if stopped {
            story.agent.kill()?;
        }
        said(
            &story.agent,
            &["inspect", "events", "--limit", "3"],
            0,
            "--after",
        )?;
        let whole = story
            .agent
            .command(&["inspect", "events", "--limit", "0"])?;
        ensure!(
            whole.status.success() && whole.stderr.is_empty(),
            "{whole:?}"
        );
        let table = String::from_utf8(whole.stdout)?;
        ensure!(
            table.contains("e47") && table.contains("All calls, Paid calls"),
            "{table}"
        );
        for area in ["partials", "outbox", "quarantine", "conflicts"] {
            said(&story.agent, &["inspect", area, "--after", "§"], 1, "after")?;
        }
    }
    Ok(())
}

/// The same event under an id of its own.
fn again(event: &Sent) -> Sent {
    let id = format!("{}-again", event.id);
    Sent {
        id,
        ..event.clone()
    }
}

async fn ingest(agent: &Agent, sent: &[Sent], value: u64) -> Result<()> {
    let events: Vec<Value> = sent
        .iter()
        .map(|event| {
            json!({
                "event_id": event.id,
                "customer_id": event.customer,
                "event_name": event.name,
                "timestamp": event.at.to_string(),
                "metadata": { "paid": event.paid, "value": value },
            })
        })
        .collect();
    let body = json!({ "events": events });
    agent.api().create("/events/ingest", &body).await?;
    Ok(())
}

/// All that a filter picks.
fn list(agent: &Agent, area: &str, filter: &[(&str, String)]) -> Result<Vec<Value>> {
    let mut arguments = vec!["inspect", area, "--limit", "0", "--json"];
    for (flag, value) in filter {
        arguments.extend([flag, value.as_str()]);
    }
    lines(agent, &arguments)
}

fn numbers(agent: &Agent, state: &str) -> Result<Vec<u64>> {
    let frames = list(agent, "outbox", &[("--state", state.to_owned())])?;
    ensure!(
        frames.iter().all(|frame| frame["state"] == state),
        "{frames:?}"
    );
    let numbers = frames.iter().map(|frame| frame["seq"].as_u64());
    numbers.collect::<Option<_>>().context("seq")
}

fn partial(item: &Value) -> [String; 3] {
    ["customer_id", "meter_id", "window"]
        .map(|field| item[field].as_str().unwrap_or_default().to_owned())
}

fn texts<'a>(items: &'a [Value], field: &str) -> Vec<&'a str> {
    let texts = items.iter().map(|item| item[field].as_str());
    texts.map(Option::unwrap_or_default).collect()
}

fn document(agent: &Agent, arguments: &[&str]) -> Result<Value> {
    let output = agent.command(arguments)?;
    ensure!(output.status.success(), "{arguments:?}: {output:?}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn lines(agent: &Agent, arguments: &[&str]) -> Result<Vec<Value>> {
    let output = agent.command(arguments)?;
    ensure!(output.status.success(), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().context(text.clone())
}

/// Ends with this code and says this on standard error.
fn said(agent: &Agent, arguments: &[&str], code: i32, says: &str) -> Result<()> {
    let output = agent.command(arguments)?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(code) && text.contains(says),
        "{arguments:?}: expected {code} and {says:?}: {output:?}"
    );
    Ok(())
}
