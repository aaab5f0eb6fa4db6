//! A damaged state directory: whatever byte is flipped or file cut, a start recovers, counts nothing twice, and names
//! what it could not bring back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use submeter_common::event::Event;
use submeter_common::meter::AggregationKind;
use submeter_common::protocol::Position;
use tempfile::TempDir;

use super::collector::Collector;
use super::kit::{Kit, at, backfilled, catalog, event, grouped, meter, seconds, submit};
use crate::pipeline::EventOutcome::{Accepted, Duplicate};
use crate::pipeline::{DamageReport, Pipeline, PipelineError, SealReason, StoreConfig};
use crate::verify::{State, Verdict, verify};

/// A state directory that was lived in and then killed, and what must be in it.
struct Victim {
    kit: Kit,
    copies: TempDir,
    accepted: Vec<Event<'static>>,
    /// Frames applied by the collector, each with what it made of them.
    collector: Collector,
}

impl Victim {
    /// Some lives, so that there are several tables; frames the collector has and frames that wait; open partials on
    /// disk and in the journal only; closed and open generations of ids; and a log that was never written out.
    async fn new() -> Self {
        let mut kit = Kit::new();
        kit.config.dedup_generation_ids_max = 150;
        let mut victim = Self {
            kit,
            copies: TempDir::new().unwrap(),
            accepted: Vec::new(),
            collector: Collector::default(),
        };
        let meters = [
            meter(AggregationKind::Count),
            meter(AggregationKind::Sum),
            grouped(AggregationKind::Max),
        ];
        for life in 0..5 {
            let pipeline = victim.kit.open();
            let known = if life == 0 { 2 } else { 3 };
            let catalog = catalog(known as u64, &meters[..known]);
            pipeline.set_catalog(catalog).await.unwrap();
            for batch in 0..6 {
                victim.accept(&pipeline, 20).await;
                if batch % 3 == 1 {
                    pipeline.seal(SealReason::Requested).await.unwrap();
                    if life < 4 {
                        victim.collector.drain(&pipeline.outbox());
                    }
                }
            }
            backfilled(&pipeline).await;
            if life % 2 == 0 {
                // Else it is killed, and what is open is in the journal only.
                pipeline.stop().await.unwrap();
            }
            victim.kit.clock.advance(seconds(30));
        }
        let pipeline = victim.kit.open();
        victim.accept(&pipeline, 30).await;
        pipeline.seal(SealReason::Requested).await.unwrap();
        // The collector has the frame; the acknowledgement never came.
        let frame = pipeline.outbox().next().unwrap().unwrap();
        victim.collector.apply(frame.seq, &frame.bytes);
        for _ in 0..10 {
            victim.accept(&pipeline, 10).await;
        }
        drop(pipeline);
        victim
    }

    async fn accept(&mut self, pipeline: &Pipeline, events: usize) {
        let first = self.accepted.len();
        let events: Vec<_> = (first..first + events)
            .map(|n| {
                let customer = format!("cus_{}", n % 7);
                event(format!("evt_{n}"), customer, self.kit.now(), n as i64)
            })
            .collect();
        let outcomes = submit(pipeline, &events).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Accepted));
        self.accepted.extend(events);
    }

    fn state(&self) -> &Path {
        &self.kit.config.data_dir
    }

    /// A copy to be damaged.
    fn copy(&self, name: &str) -> PathBuf {
        let copy = self.copies.path().join(name);
        copy_all(self.state(), &copy);
        copy
    }

    /// Everything is counted: what the collector must have in the end.
    fn expected(&self) -> u64 {
        self.accepted.len() as u64
    }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What is done to a file.
#[derive(Copy, Clone, Debug)]
enum Damage {
    Flip { at: usize, bit: u8 },
    Zeros { at: usize, bytes: usize },
    Cut { length: usize },
    Empty,
    Gone,
}

impl Damage {
    fn draw(random: &mut fastrand::Rng, length: usize) -> Self {
        let at = random.usize(..length.max(1));
        match random.u8(..12) {
            0..7 => Self::Flip {
                at,
                bit: random.u8(..8),
            },
            7 => Self::Zeros {
                at,
                bytes: random.usize(1..5000),
            },
            8 | 9 => Self::Cut { length: at },
            10 => Self::Empty,
            _ => Self::Gone,
        }
    }

    fn inflict(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Flip { at, bit } => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Zeros { at, bytes: count } => {
                let end = (at + count).min(bytes.len());
                bytes[at..end].fill(0);
            }
            Self::Cut { length } => bytes.truncate(length),
            Self::Empty => bytes.clear(),
            Self::Gone => return fs::remove_file(path).unwrap(),
        }
        fs::write(path, bytes).unwrap();
    }
}

/// The files of a state directory, in an order that does not depend on the machine.
fn files(state: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in [state.to_owned(), state.join("db")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn contents(state: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = files(state).into_iter();
    files
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect()
}

/// Sends what waits as the flusher does: first the position is compared, then frames go out in order.
async fn flush(pipeline: &Pipeline, collector: &mut Collector) -> Result<(), PipelineError> {
    let outbox = pipeline.outbox();
    let applied = collector.applied;
    if applied.seq > outbox.acknowledged().seq {
        let known = outbox.digest_of(applied.seq);
        assert!(
            known.is_none() || known == Some(applied.digest),
            "a fork at frame {}: {known:?}",
            applied.seq
        );
        outbox.acknowledge(applied)?;
    }
    loop {
        match outbox.next() {
            Ok(None) => return Ok(()),
            Ok(Some(frame)) => {
                collector.apply(frame.seq, &frame.bytes);
                outbox.acknowledge(Position {
                    seq: frame.seq,
                    digest: frame.digest,
                })?;
            }
            Err(PipelineError::FrameLost(_)) => {
                pipeline.recount_lost().await?;
                pipeline.seal(SealReason::Requested).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Events that the collector's totals hold.
fn counted(collector: &Collector) -> u64 {
    let totals = collector.totals().into_iter();
    totals
        .filter(|((_, meter, _), _)| meter == "mtr_count")
        .map(|(_, (_, events))| events)
        .sum()
}

/// What a recovery came to.
#[derive(Default, Debug)]
struct Outcome {
    reports: Vec<DamageReport>,
    missing: u64,
    forgotten: u64,
}

/// Lives that may find damage only when they read it: then they fail, and the next one recovers.
async fn recover(victim: &Victim, state: &Path, what: &str) -> Outcome {
    let mut config = victim.kit.config.clone();
    config.data_dir = state.to_owned();
    let open = || {
        Pipeline::open(config.clone(), Arc::new(victim.kit.clock.clone()))
            .unwrap_or_else(|error| panic!("{what}: {error}"))
    };
    let mut collector = victim.collector.clone();
    let mut outcome = Outcome::default();
    for life in 0.. {
        let pipeline = open();
        outcome.reports = pipeline.status().damage;
        match live(victim, &pipeline, &mut collector, &mut outcome).await {
            Ok(()) => {
                pipeline.stop().await.unwrap();
                break;
            }
            Err(error) => assert!(life < 2, "{what}: {error}, {outcome:#?}"),
        }
    }
    let counted = counted(&collector);
    let lost = outcome.reports.iter().any(DamageReport::is_loss);
    assert!(
        counted <= victim.expected() + outcome.forgotten,
        "{what}: counted {counted}, {outcome:#?}"
    );
    outcome.missing = victim.expected().saturating_sub(counted);
    let whole = outcome.missing == 0 && outcome.forgotten == 0;
    assert!(whole || lost, "{what}: {outcome:#?}");

    // Who only looks agrees that all is well again, unless nothing but a look has read what is damaged.
    let verdicts = look(&config, what);
    let whole = outcome.reports.is_empty() || verdicts.is_empty();
    assert!(whole, "{what}: {verdicts:#?}, {outcome:#?}");
    // Once damage was recovered from, the next start finds nothing new. What nothing has read yet may show at any start.
    if outcome.reports.is_empty() {
        drop(open());
    }
    let again = open();
    if !outcome.reports.is_empty() {
        assert_eq!(again.status().damage, outcome.reports, "{what}");
    }
    let mut reports = again.status().damage;
    let waiting = again.status().outbox_frames;
    assert!(
        waiting == 0 || outcome.forgotten > 0,
        "{what}: {waiting} frames"
    );
    drop(again);
    // Work in the background may come upon what nothing had read before, at any later time. Once found, it stays found,
    // and nothing is found twice.
    for _ in 0..3 {
        let later = open().status().damage;
        if !reports.is_empty() {
            assert_eq!(later, reports, "{what}");
        }
        reports = later;
    }
    outcome
}

/// What `verify` finds wrong.
fn look(config: &StoreConfig, what: &str) -> Vec<Verdict> {
    let now = at("2026-01-10T12:02:30Z");
    let mut verdicts = verify(config, now).unwrap_or_else(|error| panic!("{what}: {error}"));
    verdicts.retain(|verdict| verdict.state != State::Sound);
    verdicts
}

/// What an agent does after a start, until everything is collected and every event was sent once more.
async fn live(
    victim: &Victim,
    pipeline: &Pipeline,
    collector: &mut Collector,
    outcome: &mut Outcome,
) -> Result<(), PipelineError> {
    if pipeline.identity().agent_id != collector.newest().agent_id {
        collector.meet_new_agent();
    }
    // An agent without its catalog asks for it.
    let meters = [
        meter(AggregationKind::Count),
        meter(AggregationKind::Sum),
        grouped(AggregationKind::Max),
    ];
    pipeline.set_catalog(catalog(3, &meters)).await?;
    flush(pipeline, collector).await?;
    while pipeline.status().backfilling && pipeline.poison_reason().is_none() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    pipeline.seal(SealReason::Requested).await?;
    flush(pipeline, collector).await?;
    for events in victim.accepted.chunks(100) {
        match submit(pipeline, events).await {
            Ok(outcomes) => {
                let new = outcomes.iter().filter(|outcome| **outcome != Duplicate);
                outcome.forgotten += new.count() as u64;
            }
            Err(error) => return Err(PipelineError::Failed(error.to_string())),
        }
    }
    assert!(pipeline.status().receipts.is_conserved());
    Ok(())
}

#[tokio::test]
async fn a_sound_directory_has_nothing_to_report() {
    let victim = Victim::new().await;
    let state = victim.copy("sound");
    let before = contents(&state);
    let mut config = victim.kit.config.clone();
    config.data_dir.clone_from(&state);
    assert_eq!(look(&config, "before"), []);
    assert!(contents(&state) == before, "a look changes nothing");
    let outcome = recover(&victim, &state, "nothing").await;
    assert!(outcome.reports.is_empty(), "{outcome:?}");
    assert_eq!((outcome.missing, outcome.forgotten), (0, 0));
}

/// Ids move from run to run in the background, and what was moved is deleted: a log without its end must not bring back
/// names of runs whose ids are gone.
#[tokio::test]
async fn a_log_cut_anywhere_near_its_end_forgets_no_id() {
    let victim = Victim::new().await;
    let logs = files(victim.state()).into_iter().filter(|file| {
        let log = file.extension().is_some_and(|extension| extension == "log");
        log && fs::metadata(file).unwrap().len() > 0
    });
    let log = logs.max().unwrap();
    let name = log.strip_prefix(victim.state()).unwrap();
    let length = fs::metadata(&log).unwrap().len();
    for step in 0..20_u64 {
        let cut = (length - 1).saturating_sub(step * length / 40);
        let state = victim.copy(&format!("cut-{cut}"));
        let file = fs::File::options().write(true).open(state.join(name));
        file.unwrap().set_len(cut).unwrap();
        let what = format!("{} of {length} bytes, cut to {cut}", name.display());
        let outcome = recover(&victim, &state, &what).await;
        let lost: u64 = outcome.reports.iter().map(|found| found.events_lost).sum();
        assert!(outcome.forgotten <= lost, "{what}: {outcome:#?}");
        fs::remove_dir_all(&state).unwrap();
    }
}

#[tokio::test]
async fn damage_anywhere_is_recovered_from_and_accounted_for() {
    // SUBMETER_TEST_DAMAGE=1..5000 tells many stories, =17 one.
    let seeds = std::env::var("SUBMETER_TEST_DAMAGE").unwrap_or_else(|_| "1..81".to_owned());
    let (first, end) = seeds.split_once("..").unwrap_or((&seeds, ""));
    let first: u64 = first.parse().unwrap();
    let victim = Victim::new().await;
    for seed in first..end.parse().unwrap_or(first + 1) {
        let mut random = fastrand::Rng::with_seed(seed);
        let state = victim.copy(&format!("{seed}"));
        let files = files(&state);
        let file = &files[random.usize(..files.len())];
        let length = fs::metadata(file).unwrap().len();
        let damage = Damage::draw(&mut random, usize::try_from(length).unwrap());
        damage.inflict(file);
        let name = file.strip_prefix(&state).unwrap().display().to_string();
        let what = format!("seed {seed}: {name} of {length} bytes, {damage:?}");
        let mut config = victim.kit.config.clone();
        config.data_dir.clone_from(&state);
        let seen = !look(&config, &what).is_empty();
        let outcome = recover(&victim, &state, &what).await;
        assert!(
            seen || outcome.reports.is_empty(),
            "{what}: not seen, {outcome:#?}"
        );
        if std::env::var_os("SUBMETER_TEST_DAMAGE").is_some() {
            println!(
                "{what}: {} reports, {} missing, {} forgotten",
                outcome.reports.len(),
                outcome.missing,
                outcome.forgotten
            );
            for report in &outcome.reports {
                println!(
                    "    noticed: {} ({} lost)",
                    report.noticed, report.events_lost
                );
                for finding in &report.findings {
                    println!(
                        "    {:?} {} {}",
                        finding.area, finding.lost, finding.message
                    );
                }
            }
        }
        fs::remove_dir_all(&state).unwrap();
    }
}
