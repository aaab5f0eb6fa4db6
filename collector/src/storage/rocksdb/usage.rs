//! Reading usage: the fewest cells of a range, merged by group.

use std::collections::BTreeMap;

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
                view.read(segment, |_, group, cell| {
                    add(&mut totals, group.to_vec(), &cell)
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

    /// Hands out the cells of a segment in order of time, then group.
    fn read(
        &self,
        segment: Segment,
        mut take: impl FnMut(i32, &[u8], Cell) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
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
            take(
                suffix.minute,
                suffix.group,
                roster.named(codec::decode_cell(&bytes)?),
            )?;
        }
        Ok(())
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
    for step in steps(range, level) {
        if points.len() >= limit {
            break;
        }
        view.read(step, |minute, group, cell| {
            add(&mut points, (level.start_of(minute), group.to_vec()), &cell)
        })?;
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

/// Cuts the range so that a read can stop between two steps of the series: edges by minute or hour, the
/// middle in runs of at most [`RUN_CELLS`] cells.
fn steps(range: Minutes, level: Level) -> impl Iterator<Item = Segment> {
    decompose(range.start, range.end, level)
        .into_iter()
        .flat_map(|segment| {
            let run = segment.level.minutes().saturating_mul(RUN_CELLS);
            let mut start = segment.start;
            std::iter::from_fn(move || {
                let end = start.saturating_add(run).min(segment.end);
                let next = (start < end).then_some(Segment {
                    start,
                    end,
                    ..segment
                });
                start = end;
                next
            })
        })
}

/// Cells between two looks at the limit.
const RUN_CELLS: i32 = 60;

impl Granularity {
    const fn level(self) -> Level {
        match self {
            Granularity::Minute => Level::Minute,
            Granularity::Hour => Level::Hour,
            Granularity::Day => Level::Day,
        }
    }
}
