//! Applying a group of frames: each judged in turn, all committed in one batch.

use std::collections::{BTreeSet, HashMap};

use serde_json::json;
use submeter_common::aggregate::AggregateError;
use submeter_common::id::{AgentId, Digest};
use submeter_common::protocol::{Frame, Position, Row};

use super::agent;
use super::cells::{Cells, Notes};
use super::codec;
use super::database::{Database, Family};
use super::key::{Key, Kind};
use super::transaction::Transaction;
use crate::agents::{Agent, Alarm};
use crate::merge::FrameOutcome;
use crate::merge::conservation;
use crate::merge::sequence::{self, Decision, Link};
use crate::storage::{AuditEntry, CatalogSnapshot, IncomingFrame, QuarantinedRow, StorageError};
use crate::usage::Cell;

/// Digests of an agent's last frames that are kept, to tell a repeated frame from a twin's. One frame is
/// in flight per agent, so what is repeated is nearly always the last one. An older one than these is not
/// guessed at: its sender registers again and is told where it stands.
const DIGESTS_KEPT: u64 = 1024;

/// Applies frames in order and answers each. The answers hold only when all of it is durable.
///
/// # Errors
/// When the group could not be committed; then nothing of it was.
pub(super) fn apply(
    database: &Database,
    frames: &[&IncomingFrame],
) -> Result<Vec<FrameOutcome>, StorageError> {
    let mut group = Group::begin(database)?;
    let judged = frames
        .iter()
        .map(|incoming| group.judge(incoming))
        .collect::<Result<Vec<_>, _>>()?;
    let outcomes = group.merge(frames, judged)?;
    group.commit()?;
    Ok(outcomes)
}

/// The frames of one commit, and what they have changed so far.
struct Group<'a> {
    write: Transaction<'a>,
    agents: HashMap<AgentId, Known>,
    digests: HashMap<(AgentId, u64), Digest>,
}

/// An agent as the group has left it.
struct Known {
    agent: Option<Agent>,
    changed: bool,
}

impl<'a> Group<'a> {
    fn begin(database: &'a Database) -> Result<Self, StorageError> {
        database.disk.expect_room_for_frames()?;
        let write = Transaction::begin(database)?;
        Ok(Self {
            write,
            agents: HashMap::new(),
            digests: HashMap::new(),
        })
    }

    /// Decides what a frame is, and moves its agent's position when it is the next one. `Applied` has its
    /// rows still to come.
    fn judge(&mut self, incoming: &IncomingFrame) -> Result<FrameOutcome, StorageError> {
        let header = &incoming.frame.header;
        let id = header.agent_id;
        let Some(agent) = self.agent(id)?.cloned() else {
            return Ok(FrameOutcome::UnknownAgent);
        };
        let known = self.digest(id, header.seq)?;
        let link = Link {
            epoch: incoming.epoch,
            seq: header.seq,
            previous: header.previous,
            digest: incoming.digest,
        };
        let applied = agent.applied;
        Ok(match sequence::decide(agent.epoch, applied, &link, known) {
            Decision::Apply => self.advance(agent, incoming)?,
            Decision::Duplicate => FrameOutcome::Duplicate { applied },
            Decision::Gap { expected } => FrameOutcome::Gap { applied, expected },
            Decision::Fenced => FrameOutcome::Fenced {
                applied,
                epoch: agent.epoch,
            },
            Decision::Fork => {
                self.report_fork(agent, incoming)?;
                FrameOutcome::Fork { applied }
            }
        })
    }

    fn advance(
        &mut self,
        mut agent: Agent,
        incoming: &IncomingFrame,
    ) -> Result<FrameOutcome, StorageError> {
        let header = &incoming.frame.header;
        let violation = conservation::check(&agent.receipts, &header.receipts);
        if let Some(violation) = &violation
            && agent.alarms.insert(Alarm::Unconserved)
        {
            let detail = json!({ "seq": header.seq, "found": violation.to_string(), "receipts": header.receipts });
            self.report("agent.unconserved", incoming, detail)?;
        }
        let applied = Position {
            seq: header.seq,
            digest: incoming.digest,
        };
        agent.applied = applied;
        // Nobody can vouch for what has not happened yet: an agent whose clock is ahead must not close periods to come.
        agent.watermark = header.watermark.min(incoming.received_at);
        agent.catalog_version = header.catalog_version;
        agent.backfilling = header.reach.backfilling;
        agent.history.advance(header.reach);
        agent.receipts = header.receipts.clone();
        agent.farewell = header.farewell;
        agent.sealed_at = Some(header.sealed_at);
        agent.last_seen_at = incoming.received_at;
        agent.alarms.remove(&Alarm::Silent);
        self.digests
            .insert((agent.agent_id, header.seq), incoming.digest);
        self.keep(agent);
        Ok(FrameOutcome::Applied {
            applied,
            rows: 0,
            quarantined: 0,
            unconserved: violation.is_some(),
        })
    }

    /// Merges the rows of the frames that were judged applicable, and completes their outcomes.
    fn merge(
        &mut self,
        frames: &[&IncomingFrame],
        judged: Vec<FrameOutcome>,
    ) -> Result<Vec<FrameOutcome>, StorageError> {
        let mut notes = Notes::default();
        let mut places = Vec::with_capacity(frames.len());
        for (incoming, outcome) in frames.iter().zip(&judged) {
            let applies = matches!(outcome, FrameOutcome::Applied { .. });
            places.push(if applies {
                notes.add(&incoming.frame.rows)?
            } else {
                Vec::new()
            });
        }
        let mut cells = Cells::load(notes, self.write.database)?;
        let catalog = self.write.database.current_catalog()?;
        let mut outcomes = Vec::with_capacity(judged.len());
        for ((incoming, outcome), places) in frames.iter().zip(judged).zip(places) {
            let FrameOutcome::Applied {
                applied,
                unconserved,
                ..
            } = outcome
            else {
                outcomes.push(outcome);
                continue;
            };
            let header = &incoming.frame.header;
            let number = self.write.database.agent_number(header.agent_id)?;
            let (mut rows, mut quarantined) = (0_u64, 0_u64);
            for (row, places) in incoming.frame.rows.iter().zip(places) {
                let merged = check_aggregation(&catalog, row)
                    .and_then(|()| cells.merge(row, places, number, header.seq));
                match merged {
                    Ok(()) => rows += 1,
                    Err(reason) => {
                        self.set_aside(incoming, row, reason)?;
                        quarantined += 1;
                    }
                }
            }
            self.count(header.agent_id, rows, quarantined);
            outcomes.push(FrameOutcome::Applied {
                applied,
                rows,
                quarantined,
                unconserved,
            });
        }
        cells.put(self.write.database, &mut self.write.batch)?;
        self.touch(frames, &outcomes)?;
        Ok(outcomes)
    }

    /// Notes whose usage changed that somebody wants to know of. Rows are sorted by customer and meter, so that each pair is
    /// asked for once in a frame.
    fn touch(
        &mut self,
        frames: &[&IncomingFrame],
        outcomes: &[FrameOutcome],
    ) -> Result<(), StorageError> {
        let database = self.write.database;
        let mut touched = BTreeSet::new();
        {
            let watch = database.watch()?;
            if watch.is_idle() {
                return Ok(());
            }
            for (incoming, outcome) in frames.iter().zip(outcomes) {
                if !matches!(outcome, FrameOutcome::Applied { .. }) {
                    continue;
                }
                let rows = &incoming.frame.rows;
                for pairs in rows.chunk_by(of_one_pair) {
                    let watched = pairs.first().filter(|row| {
                        !touched.contains(&row.customer_id)
                            && watch.concerns(&row.customer_id, &row.meter_id)
                    });
                    touched.extend(watched.map(|row| &row.customer_id));
                }
            }
        }
        touched
            .into_iter()
            .try_for_each(|customer| self.write.touch(customer))
    }

    fn commit(mut self) -> Result<(), StorageError> {
        for known in self.agents.values().filter(|known| known.changed) {
            if let Some(agent) = &known.agent {
                agent::put(&mut self.write, agent)?;
            }
        }
        let family = self.write.database.family(Family::Frames);
        for ((agent, seq), digest) in &self.digests {
            self.write
                .batch
                .put_cf(family, Key::of_frame(*agent, *seq), digest.as_bytes());
            if let Some(old) = seq.checked_sub(DIGESTS_KEPT) {
                self.write
                    .batch
                    .delete_cf(family, Key::of_frame(*agent, old));
            }
        }
        self.write.commit()
    }

    fn agent(&mut self, id: AgentId) -> Result<Option<&Agent>, StorageError> {
        if !self.agents.contains_key(&id) {
            let agent = self.write.database.agent(id)?;
            self.agents.insert(
                id,
                Known {
                    agent,
                    changed: false,
                },
            );
        }
        Ok(self.agents.get(&id).and_then(|known| known.agent.as_ref()))
    }

    fn digest(&self, agent: AgentId, seq: u64) -> Result<Option<Digest>, StorageError> {
        match self.digests.get(&(agent, seq)) {
            Some(digest) => Ok(Some(*digest)),
            None => self.write.database.frame_digest(agent, seq),
        }
    }

    fn keep(&mut self, agent: Agent) {
        self.agents.insert(
            agent.agent_id,
            Known {
                agent: Some(agent),
                changed: true,
            },
        );
    }

    fn count(&mut self, id: AgentId, rows: u64, quarantined: u64) {
        if let Some(Known {
            agent: Some(agent), ..
        }) = self.agents.get_mut(&id)
        {
            agent.rows_applied = agent.rows_applied.saturating_add(rows);
            agent.rows_quarantined = agent.rows_quarantined.saturating_add(quarantined);
        }
    }

    /// Records a fork once; a twin that keeps trying does not fill the log.
    fn report_fork(
        &mut self,
        mut agent: Agent,
        incoming: &IncomingFrame,
    ) -> Result<(), StorageError> {
        if !agent.alarms.insert(Alarm::Forked) {
            return Ok(());
        }
        let header = &incoming.frame.header;
        let detail = json!({
            "applied": agent.applied,
            "seq": header.seq,
            "digest": incoming.digest,
            "previous": header.previous,
        });
        self.report("agent.forked", incoming, detail)?;
        self.keep(agent);
        Ok(())
    }

    fn report(
        &mut self,
        action: &str,
        incoming: &IncomingFrame,
        detail: serde_json::Value,
    ) -> Result<(), StorageError> {
        let agent = incoming.frame.header.agent_id;
        self.write.put_audit(AuditEntry {
            at: incoming.received_at,
            actor: format!("agent:{agent}"),
            action: action.to_owned(),
            subject: agent.to_string(),
            detail,
        })?;
        Ok(())
    }

    fn set_aside(
        &mut self,
        incoming: &IncomingFrame,
        row: &Row,
        reason: String,
    ) -> Result<(), StorageError> {
        let Frame { header, .. } = &incoming.frame;
        let number = self.write.next_quarantine()?;
        let mut partial = Vec::new();
        let cell = Cell {
            partial: row.partial.clone(),
            sources: Vec::new(),
        };
        codec::encode_cell(&cell, &mut partial)?;
        let listed = QuarantinedRow {
            agent_id: header.agent_id,
            seq: header.seq,
            received_at: incoming.received_at,
            customer_id: row.customer_id.clone(),
            meter_id: row.meter_id.clone(),
            window: row.window.start(),
            group: row.group.clone(),
            events: row.partial.events,
            reason,
        };
        let stored = StoredRow {
            listed,
            partial: hex(&partial),
        };
        self.write
            .put_document_at(&Key::of_numbered(Kind::Quarantine, number), &stored)
    }
}

fn of_one_pair(one: &Row, next: &Row) -> bool {
    one.customer_id == next.customer_id && one.meter_id == next.meter_id
}

/// Refuses a row of another aggregation than its meter's: where it is the first of its day nothing stored contradicts it,
/// and the meter's right rows would be set aside after it. Rows of a meter that the catalog does not have are kept.
fn check_aggregation(catalog: &CatalogSnapshot, row: &Row) -> Result<(), String> {
    let Some(meter) = catalog.meters.get(&row.meter_id) else {
        return Ok(());
    };
    let (expected, found) = (meter.aggregation.kind, row.partial.kind());
    if expected == found {
        return Ok(());
    }
    Err(AggregateError::KindMismatch { expected, found }.to_string())
}

/// A row that was set aside, with its usage, so that nothing is lost by the refusal.
#[derive(serde::Serialize)]
struct StoredRow {
    #[serde(flatten)]
    listed: QuarantinedRow,
    /// The row's partial, encoded as a cell without sources.
    partial: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
