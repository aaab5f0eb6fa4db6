//! Reading usage: the fewest cells of a range, merged by group.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ::rocksdb::{DB, IteratorMode, ReadOptions, SnapshotWithThreadMode};
use async_trait::async_trait;
use submeter_common::id::{CustomerId, MeterId};
use submeter_common::time::{Period, Window};

use super::RocksStore;
use super::codec;
use super::database::{Database, Family, failed, poisoned};
use super::key::{CellSuffix, Key, Kind};
use crate::merge::FrameOutcome;
use crate::storage::{IncomingFrame, Page, QuarantinedRow, StorageError, UsageStore};
use crate::usage::range::decompose;
use crate::usage::{Cell, Granularity, GroupUsage, Level, Segment, UsagePoint};

#[async_trait]
impl UsageStore for RocksStore {
    async fn apply_frame(&self, frame: IncomingFrame) -> Result<FrameOutcome, StorageError> {
        self.frames.apply(frame).await
    }

    async fn usage(
        &self,
        customer: &CustomerId,
        meter: &MeterId,
        period: Period,
    ) -> Result<Vec<GroupUsage>, StorageError> {
        let prefix = Key::of_meter(customer, meter);
        self.blocking(move |database| {
            let mut totals = Totals::new();
            let range = Minutes::of(period);
            let view = View::new(database, &prefix);
            for segment in decompose(range.start, range.end, Level::Day) {
                // All of it: a total has never enough.
                let _ = view.read(segment, |_, group, cell| {
                    add(&mut totals, group.to_vec(), &cell).map(ControlFlow::Continue)
                })?;
            }
            totals
                .into_iter()
                .map(|(group, cell)| {
                    Ok(GroupUsage {
                        group: codec::decode_group(&group)?,
                        cell,
                    })
                })
                .collect()
        })
        .await
    }

    async fn series(
        &self,
        customer: &CustomerId,
        meter: &MeterId,
        period: Period,
        granularity: Granularity,
        limit: usize,
    ) -> Result<Vec<UsagePoint>, StorageError> {
        let prefix = Key::of_meter(customer, meter);
        self.blocking(move |database| {
            let view = View::new(database, &prefix);
            series(&view, Minutes::of(period), granularity.level(), limit)
        })
        .await
    }

    async fn quarantined(&self, page: Page) -> Result<Vec<QuarantinedRow>, StorageError> {
        self.blocking(move |database| database.newest_documents(Kind::Quarantine, page))
            .await
    }
}

/// Totals by encoded group.
type Totals = BTreeMap<Vec<u8>, Cell>;

/// A half-open range of minutes.
#[derive(Clone, Copy)]
struct Minutes {
    start: i32,
    end: i32,
}

impl Minutes {
    fn of(period: Period) -> Self {
        Self {
            start: period.start.window().minute(),
            end: period.end.window().minute(),
        }
    }
}

/// One meter of one customer at one instant: a frame is in it whole or not at all.
struct View<'a> {
    database: &'a Database,
    snapshot: SnapshotWithThreadMode<'a, DB>,
    prefix: &'a Key,
}

impl<'a> View<'a> {
    fn new(database: &'a Database, prefix: &'a Key) -> Self {
        Self {
            database,
            snapshot: database.db.snapshot(),
            prefix,
        }
    }

    /// Hands out the cells of a segment in order of time, then group, until `take` has enough.
    fn read(
        &self,
        segment: Segment,
        mut take: impl FnMut(i32, &[u8], Cell) -> Result<ControlFlow<()>, StorageError>,
    ) -> Result<ControlFlow<()>, StorageError> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(
            self.prefix
                .clone()
                .window(segment.level, segment.start)
                .into_bytes(),
        );
        options.set_iterate_upper_bound(
            self.prefix
                .clone()
                .window(segment.level, segment.end)
                .into_bytes(),
        );
        let family = self.database.family(Family::Usage);
        let roster = self.database.roster.read().map_err(poisoned)?;
        for entry in self
            .snapshot
            .iterator_cf_opt(family, options, IteratorMode::Start)
        {
            let (key, bytes) = entry.map_err(failed)?;
            let suffix = key
                .get(self.prefix.as_bytes().len()..)
                .and_then(CellSuffix::decode);
            let suffix =
                suffix.ok_or_else(|| codec::corrupt("key of a cell", key.escape_ascii()))?;
            let taken = take(
                suffix.minute,
                suffix.group,
                roster.named(codec::decode_cell(&bytes)?),
            )?;
            if taken.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn add<K: Ord>(totals: &mut BTreeMap<K, Cell>, key: K, cell: &Cell) -> Result<(), StorageError> {
    let total = totals
        .entry(key)
        .or_insert_with(|| Cell::identity(cell.partial.kind()));
    total
        .merge(cell)
        .map_err(|error| codec::corrupt("total of a range", error))
}

fn series(
    view: &View<'_>,
    range: Minutes,
    level: Level,
    limit: usize,
) -> Result<Vec<UsagePoint>, StorageError> {
    let mut points: BTreeMap<(i32, Vec<u8>), Cell> = BTreeMap::new();
    for segment in decompose(range.start, range.end, level) {
        let read = view.read(segment, |minute, group, cell| {
            let start = level.start_of(minute);
            // A step is read whole: the cells of its first minutes and hours alone would be too little of it.
            let begins = points
                .last_key_value()
                .is_none_or(|((last, _), _)| *last < start);
            if begins && points.len() >= limit {
                return Ok(ControlFlow::Break(()));
            }
            add(&mut points, (start, group.to_vec()), &cell)?;
            Ok(ControlFlow::Continue(()))
        })?;
        if read.is_break() {
            break;
        }
    }
    let point = |((start, group), cell): ((i32, Vec<u8>), Cell)| {
        let period = Period {
            start: Window::from_minute(start.max(range.start)).start(),
            end: Window::from_minute(start.saturating_add(level.minutes()).min(range.end)).start(),
        };
        Ok(UsagePoint {
            period,
            group: codec::decode_group(&group)?,
            cell,
        })
    };
    points.into_iter().take(limit).map(point).collect()
}

impl Granularity {
    const fn level(self) -> Level {
        match self {
            Granularity::Minute => Level::Minute,
            Granularity::Hour => Level::Hour,
            Granularity::Day => Level::Day,
        }
    }
}
