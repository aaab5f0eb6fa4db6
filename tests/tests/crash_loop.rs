//! Is everything that was acknowledged counted once, however often agent and collector are killed, and whenever?
//!
//! `CRASH_LOOP_KILLS` says how often the agent is killed (20 without it; `make test-crash` has 200), `CRASH_LOOP_SEED` repeats the
//! moments and victims of another run. (The same seed does not make the kernel schedule alike: it repeats the pattern, not
//! the instruction.)

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use submeter_tests::auditor::BatchMeters;
use submeter_tests::system::{Agent, Outcome, System};
use submeter_tests::workload::batches::{BATCH_EVENTS, Batches};

/// Clients that try again until they are acknowledged, each with a customer of its own. One more never does.
const PATIENT_CLIENTS: usize = 4;

/// Wait of a client between two batches: the load is for the moments of the kills, not for the figures.
const PAUSE: Duration = Duration::from_millis(5);

/// Checkpoints, seals and flushes often, and gives back soon, so that kills fall into all of it.
const SETTINGS: &str = r#"
checkpoint_interval = "30ms"
flush_interval = "50ms"
frame_rows_max = 20
journal_bytes_max = "256KiB"
acknowledged_bytes_max = "16KiB"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_again_and_again_all_ends_exact() -> Result<()> {
    let kills = number("CRASH_LOOP_KILLS")?.unwrap_or(20);
    let seed = number("CRASH_LOOP_SEED")?.unwrap_or_else(|| fastrand::u64(..));
    println!("CRASH_LOOP_KILLS={kills} CRASH_LOOP_SEED={seed}");
    story(kills, seed)
        .await
        .with_context(|| format!("CRASH_LOOP_SEED={seed}"))
}

async fn story(kills: u64, seed: u64) -> Result<()> {
    let started = Instant::now();
    let mut system = System::start("").await?;
    let meters = BatchMeters::create(system.collector.api(), "call").await?;
    let mut agent = system.agent("agent", SETTINGS).await?;
    let api = agent.api().clone();
    let clients: Vec<Batches> = (0..=PATIENT_CLIENTS)
        .map(|client| Batches::new(&format!("customer-{client}"), "call"))
        .collect();
    let [a, b, c, d, impatient] = clients.as_slice() else {
        unreachable!("one impatient client beside {PATIENT_CLIENTS} patient ones");
    };
    let deaths = async {
        let deaths = Deaths::at_random(kills, seed, &mut agent, &mut system).await;
        clients.iter().for_each(Batches::stop);
        deaths
    };
    let (deaths, ..) = tokio::try_join!(
        deaths,
        a.send_patiently(&api, PAUSE),
        b.send_patiently(&api, PAUSE),
        c.send_patiently(&api, PAUSE),
        d.send_patiently(&api, PAUSE),
        impatient.send_impatiently(&api, PAUSE),
    )?;

    ensure!(agent.drain().await? == Outcome::Drained);
    let (mut batches, mut unacknowledged) = (0, 0);
    for client in &clients {
        let counted = meters.audit(system.collector.api(), client).await?;
        batches += counted.batches;
        unacknowledged += counted.unacknowledged;
    }
    let acknowledged: usize = clients.iter().map(Batches::acknowledged).sum();
    let events = batches as u64 * BATCH_EVENTS;
    println!(
        "{deaths:?}: {acknowledged} batches acknowledged, {batches} counted, {unacknowledged} of them unacknowledged; {events} events, each once; {:.0?}",
        started.elapsed()
    );
    ensure!(acknowledged > 20, "only {acknowledged} were acknowledged");
    let agents = system.collector.api().list("/v1/agents").await?;
    let accepted: Vec<&Value> = agents.iter().map(|a| &a["receipts"]["accepted"]).collect();
    ensure!(accepted == [&Value::from(events)], "{events}: {accepted:?}");
    Ok(())
}

fn number(variable: &str) -> Result<Option<u64>> {
    let text = std::env::var(variable).ok();
    let parse = |text: String| text.parse().with_context(|| format!("{variable}={text}"));
    text.map(parse).transpose()
}

/// Who was killed, and how often.
#[derive(Debug, Default)]
struct Deaths {
    agent: u64,
    /// Of these, while it was starting.
    agent_starting: u64,
    collector: u64,
}

impl Deaths {
    /// Kills the agent `kills` times, the collector now and then, each at a moment of chance, and lets them live on.
    async fn at_random(
        kills: u64,
        seed: u64,
        agent: &mut Agent,
        system: &mut System,
    ) -> Result<Self> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut deaths = Self::default();
        while deaths.agent < kills {
            // Often soon after the last one, sometimes when everything runs smoothly.
            let most = *random.choice(&[20, 100, 400]).unwrap_or(&100);
            pause(&mut random, most).await;
            let collector_dies = random.u8(0..4) == 0;
            if collector_dies {
                system.collector.kill()?;
                deaths.collector += 1;
                pause(&mut random, 100).await;
            }
            agent.kill()?;
            deaths.agent += 1;
            while deaths.agent < kills && random.u8(0..4) == 0 {
                agent.spawn_again()?;
                pause(&mut random, 150).await;
                agent.kill()?;
                deaths.agent += 1;
                deaths.agent_starting += 1;
            }
            // The agent starts with the collector away, or already there.
            let agent_first = random.bool();
            if collector_dies && !agent_first {
                system.collector.start_again().await?;
            }
            agent.start_again().await?;
            if collector_dies && agent_first {
                system.collector.start_again().await?;
            }
        }
        Ok(deaths)
    }
}

async fn pause(random: &mut fastrand::Rng, most_millis: u64) {
    tokio::time::sleep(Duration::from_millis(random.u64(0..=most_millis))).await;
}
