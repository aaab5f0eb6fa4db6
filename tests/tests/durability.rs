//! Is an acknowledged event on stable storage, and what happens when the disk does not do its work?

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use submeter_tests::faulty_disk::proof::{prove, traced_id};
use submeter_tests::faulty_disk::{Call, Fault, FaultyDisk, NoteKind, Rule, Target};
use submeter_tests::system::{Agent, Api, Outcome, System};

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledgement_comes_after_the_fsync_of_all_its_events() -> Result<()> {
    let system = System::start("").await?;
    let (mut agent, disk) = watched_agent(&system).await?;
    let work = Work {
        clients: 24,
        requests: 12,
        // Together more than a write-ahead log takes, so that new ones are begun and old ones written over.
        padding: 900,
    };
    let acknowledged = work.send(agent.api()).await?;
    ensure!(agent.drain().await? == Outcome::Drained);

    let notes = disk.notes()?;
    let proved = prove(&notes)?;
    ensure!(
        proved.acknowledgements == acknowledged,
        "{acknowledged} acknowledgements were received: {proved:?}"
    );
    ensure!(
        proved.syncs < acknowledged,
        "no fsync was shared: {proved:?}"
    );
    let logs = notes.iter().filter(|note| begins_log(&note.kind)).count();
    ensure!(logs > 1, "only {logs} logs were begun: {proved:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_without_an_fsync_would_be_found() -> Result<()> {
    let system = System::start("").await?;
    let (agent, disk) = watched_agent(&system).await?;
    disk.set(&[Rule::always(Call::Sync, Target::Log, Fault::Swallow)])?;
    let work = Work {
        clients: 4,
        requests: 3,
        padding: 0,
    };
    work.send(agent.api()).await?;
    let found = prove(&disk.notes()?);
    let found = format!("{:#}", found.err().context("nothing was found")?);
    ensure!(found.contains("is not synced"), "{found}");
    Ok(())
}

/// An agent on a disk that takes notes.
async fn watched_agent(system: &System) -> Result<(Agent, FaultyDisk)> {
    let disk = FaultyDisk::around(&system.root().join("agent"))?;
    disk.record(true)?;
    let settings = "flush_interval = \"100ms\"\ncheckpoint_interval = \"50ms\"";
    let mut agent = system.spawn_agent("agent", settings, disk.environment())?;
    agent.ready().await?;
    Ok((agent, disk))
}

fn begins_log(kind: &NoteKind) -> bool {
    matches!(kind, NoteKind::Opened { path, .. } if path.ends_with(".log"))
}

/// Clients that send at the same time, each one request after another.
#[derive(Clone, Copy)]
struct Work {
    clients: u64,
    requests: u64,
    padding: usize,
}

/// Events of one request at most.
const EVENTS_MAX: u64 = 60;

impl Work {
    /// Sends everything; how many requests were acknowledged, which must be all.
    async fn send(self, api: &Api) -> Result<usize> {
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..self.clients {
            let api = api.clone();
            clients.spawn(async move { self.send_as(client, &api).await });
        }
        let mut acknowledged = 0;
        while let Some(client) = clients.join_next().await {
            acknowledged += client??;
        }
        Ok(acknowledged)
    }

    async fn send_as(self, client: u64, api: &Api) -> Result<usize> {
        let mut random = fastrand::Rng::with_seed(client);
        let mut acknowledged = 0;
        for request in 0..self.requests {
            // Every third request of two neighbours is the same: whoever is told "seen before" must be told so
            // only when the first copy is durable.
            let sender = if request % 3 == 0 { client / 2 } else { client };
            let first = (sender * self.requests + request) * EVENTS_MAX;
            let events = if request % 4 == 1 { 1 } else { EVENTS_MAX };
            let events = (first..first + events).map(|number| self.event(number));
            let (path, media_type, body) = if request % 3 == 0 || random.bool() {
                let events: Vec<String> = events.collect();
                let body = format!("{{\"events\":[{}]}}", events.join(","));
                ("/events/ingest", "application/json", body)
            } else {
                let events: Vec<String> = events.collect();
                ("/v1/events", "application/x-ndjson", events.join("\n"))
            };
            let reply = api.send(Method::POST, path, Some(media_type), body).await?;
            reply.success()?;
            acknowledged += 1;
        }
        Ok(acknowledged)
    }

    fn event(self, number: u64) -> String {
        let padding = "p".repeat(self.padding / 2);
        format!(
            r#"{{"event_id":"{}","customer_id":"acme","event_name":"call","metadata":{{"a":"{padding}","b":"{padding}"}}}}"#,
            traced_id(number)
        )
    }
}
