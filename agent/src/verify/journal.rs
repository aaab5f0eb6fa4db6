//! The journal: every record reads, none is missing that nobody has told of, and the accounting agrees.

use std::ops::ControlFlow;

use submeter_common::event::Event;

use super::Check;
use crate::pipeline::Area;
use crate::store::meta::Chunk;
use crate::store::record::Record;
use crate::store::{Store, StoreError};

/// Checks the journal; answers the runs of records that are missing between the oldest and the newest.
pub(super) fn check(store: &Store, known: &[(u64, u64)]) -> (Check, Vec<(u64, u64)>) {
    let mut check = Check::of(Area::Journal);
    let mut holes = Vec::new();
    let ended = walk(store, known, &mut check, &mut holes);
    check.note(ended);
    (check, holes)
}

fn walk(
    store: &Store,
    known: &[(u64, u64)],
    check: &mut Check,
    holes: &mut Vec<(u64, u64)>,
) -> Result<(), StoreError> {
    let cursor = store.progress()?.map_or(0, |progress| progress.cursor);
    let mut accounted = Accounted::new(store.chunks()?);
    let (mut first, mut last, mut records, mut events) = (None, 0, 0u64, 0u64);
    store.walk_records(0, |number, bytes| {
        if first.is_some() && number > last + 1 {
            holes.push((last + 1, number - 1));
        }
        first.get_or_insert(number);
        last = number;
        records += 1;
        match Record::decode(bytes) {
            Err(error) => check.problem(format!("record {number}: {error}")),
            Ok(record) => {
                for event in record.events() {
                    events += 1;
                    if let Err(error) = Event::decode(event) {
                        check.problem(format!("record {number}: {error}"));
                    }
                }
            }
        }
        accounted.add(number, bytes.len() as u64);
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    })?;
    let acknowledged = store.mark().record;
    let reached = if first.is_some() { last } else { cursor };
    if reached.max(cursor) < acknowledged {
        holes.push((reached + 1, acknowledged));
    } else if first.is_some() && last < cursor {
        holes.push((last + 1, cursor));
    }
    for (from, to) in holes.iter() {
        let told = known.iter().any(|known| known.0 <= *from && *to <= known.1);
        if !told {
            check.problem(format!("records {from} to {to} are missing"));
        }
    }
    accounted.settle(check, holes);
    check.checked = format!(
        "{records} records with {events} events, {} to {last}; cursor {cursor}",
        first.unwrap_or(last)
    );
    Ok(())
}

/// The accounted runs of records, with what of them was read.
struct Accounted {
    chunks: Vec<(Chunk, u64)>,
    at: usize,
}

impl Accounted {
    fn new(chunks: Vec<Chunk>) -> Self {
        Self {
            chunks: chunks.into_iter().map(|chunk| (chunk, 0)).collect(),
            at: 0,
        }
    }

    fn add(&mut self, number: u64, bytes: u64) {
        while let Some((chunk, read)) = self.chunks.get_mut(self.at) {
            if number <= chunk.last {
                if number >= chunk.first {
                    *read += bytes;
                }
                return;
            }
            self.at += 1;
        }
    }

    fn settle(self, check: &mut Check, holes: &[(u64, u64)]) {
        for (chunk, read) in self.chunks {
            let cut = holes
                .iter()
                .any(|(from, to)| *from <= chunk.last && chunk.first <= *to);
            if read != chunk.bytes && !cut {
                check.problem(format!(
                    "records {} to {} take {read} bytes, {} are accounted for",
                    chunk.first, chunk.last, chunk.bytes
                ));
            }
        }
    }
}
