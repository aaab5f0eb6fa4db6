//! The payload: rows as columns over tables of their strings, so that a key costs a byte or two a
//! row.
//!
//! ```text
//! customers   count varint, then length-prefixed strings, ascending
//! meters      likewise
//! groups      count varint, then bincode, ascending
//! rows        count varint, ascending by (customer, meter, group, window), then in columns:
//!             customer as step from the row before · meter index · group index · window as zigzag step · partial
//! ```
//! Ascending means strictly: a table has no entry twice and no two rows have the same key.

use bincode::{Decode, Encode, config};

use super::{FrameError, Row};
use crate::{
    aggregate::Group,
    bytes::{CodecError, Reader, put_str, put_varint, unzigzag, zigzag},
    id::{CustomerId, IdError, MeterId},
    limits::{FRAME_PAYLOAD_BYTES_MAX, FRAME_ROW_TEXT_BYTES_MAX, FRAME_ROWS_MAX},
    time::Window,
};

fn part_config() -> impl config::Config {
    config::standard().with_limit::<FRAME_PAYLOAD_BYTES_MAX>()
}

pub(super) fn encode_rows(rows: &[Row]) -> Result<Vec<u8>, FrameError> {
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
    if let Some(twice) = sorted.windows(2).find(|two| key(two[0]) == key(two[1])) {
        let (customer, meter) = (&twice[0].customer_id, &twice[0].meter_id);
        return Err(FrameError::Inconsistent(format!(
            "two rows of customer {customer}, meter {meter} have one key"
        )));
    }
    check_text(sorted.iter().map(|row| &row.group))?;
    let customers = table(sorted.iter().map(|row| &row.customer_id));
    let meters = table(sorted.iter().map(|row| &row.meter_id));
    let groups = table(sorted.iter().map(|row| &row.group));

    let mut out = Vec::new();
    put_varint(&mut out, customers.len() as u64);
    customers
        .iter()
        .for_each(|id| put_str(&mut out, id.as_str()));
    put_varint(&mut out, meters.len() as u64);
    meters.iter().for_each(|id| put_str(&mut out, id.as_str()));
    put_varint(&mut out, groups.len() as u64);
    groups
        .iter()
        .try_for_each(|group| put_part(&mut out, *group))?;

    put_varint(&mut out, sorted.len() as u64);
    let mut before = 0;
    for row in &sorted {
        let index = index_of(&customers, &&row.customer_id);
        put_varint(&mut out, index - before);
        before = index;
    }
    sorted
        .iter()
        .for_each(|row| put_varint(&mut out, index_of(&meters, &&row.meter_id)));
    sorted
        .iter()
        .for_each(|row| put_varint(&mut out, index_of(&groups, &&row.group)));
    let mut before = 0;
    for row in &sorted {
        let minute = i64::from(row.window.minute());
        put_varint(&mut out, zigzag(minute - before));
        before = minute;
    }
    sorted
        .iter()
        .try_for_each(|row| put_part(&mut out, &row.partial))?;
    Ok(out)
}

pub(super) fn decode_rows(payload: &[u8]) -> Result<Vec<Row>, FrameError> {
    let mut reader = Reader::new(payload);
    let customers = ascending(
        "customers",
        strings(&mut reader, "customers", CustomerId::new)?,
    )?;
    let meters = ascending("meters", strings(&mut reader, "meters", MeterId::new)?)?;
    let groups: Vec<Group> = {
        let count = reader.count(FRAME_ROWS_MAX, "groups").map_err(corrupt)?;
        (0..count)
            .map(|_| part(&mut reader))
            .collect::<Result<_, _>>()?
    };
    let groups = ascending("groups", groups)?;

    let count = reader.count(FRAME_ROWS_MAX, "rows").map_err(corrupt)?;
    let customer_of = column(
        &mut reader,
        count,
        Running::default(),
        |step, before: &mut Running| before.step(step),
    )?;
    let meter_of = column(&mut reader, count, (), |index, ()| Some(index))?;
    let group_of = column(&mut reader, count, (), |index, ()| Some(index))?;
    let minute_of = column(&mut reader, count, 0i64, |step, before| {
        *before = before.checked_add(unzigzag(step))?;
        i32::try_from(*before).ok()
    })?;
    let group_of = group_of
        .into_iter()
        .map(|index| entry(&groups, index, "group"));
    let group_of = group_of.collect::<Result<Vec<_>, _>>()?;
    check_text(group_of.iter().copied())?;
    let mut rows = Vec::with_capacity(count);
    for index in 0..count {
        rows.push(Row {
            customer_id: entry(&customers, customer_of[index], "customer")?.clone(),
            meter_id: entry(&meters, meter_of[index], "meter")?.clone(),
            group: group_of[index].clone(),
            window: Window::from_minute(minute_of[index]),
            partial: part(&mut reader)?,
        });
    }
    if !reader.is_empty() {
        return Err(FrameError::Corrupt("bytes follow its rows".to_owned()));
    }
    if !rows.is_sorted_by(|a, b| key(a) < key(b)) {
        return Err(FrameError::Corrupt("its rows are not in order".to_owned()));
    }
    Ok(rows)
}

fn key(row: &Row) -> (&CustomerId, &MeterId, &Group, Window) {
    (&row.customer_id, &row.meter_id, &row.group, row.window)
}

/// Checks what the rows' groups take once each row has its own copy.
fn check_text<'a>(groups: impl Iterator<Item = &'a Group>) -> Result<(), FrameError> {
    let max = FRAME_ROW_TEXT_BYTES_MAX;
    let found = groups.map(Group::heap_bytes).fold(0, usize::saturating_add);
    if found > max {
        Err(FrameError::TooLarge {
            what: "row text",
            max,
            found,
        })
    } else {
        Ok(())
    }
}

fn corrupt(error: CodecError) -> FrameError {
    FrameError::Corrupt(error.to_string())
}

/// Each value once, ascending.
fn table<'a, T: Ord>(values: impl Iterator<Item = &'a T>) -> Vec<&'a T> {
    let mut table: Vec<&T> = values.collect();
    table.sort_unstable();
    table.dedup();
    table
}

/// The table was made of all rows' values, so that every value is found.
fn index_of<T: Ord>(table: &[T], value: &T) -> u64 {
    table.partition_point(|entry| entry < value) as u64
}

fn entry<'t, T>(table: &'t [T], index: u64, what: &str) -> Result<&'t T, FrameError> {
    let entry = usize::try_from(index)
        .ok()
        .and_then(|index| table.get(index));
    entry.ok_or_else(|| {
        FrameError::Corrupt(format!("a row names a {what} that is not in its table"))
    })
}

fn ascending<T: Ord>(what: &str, table: Vec<T>) -> Result<Vec<T>, FrameError> {
    if table.is_sorted_by(|a, b| a < b) {
        Ok(table)
    } else {
        Err(FrameError::Corrupt(format!("its {what} are not in order")))
    }
}

fn strings<T>(
    reader: &mut Reader<'_>,
    what: &'static str,
    make: impl Fn(String) -> Result<T, IdError>,
) -> Result<Vec<T>, FrameError> {
    let count = reader.count(FRAME_ROWS_MAX, what).map_err(corrupt)?;
    let one = |_| {
        let text = reader.str(what).map_err(corrupt)?;
        make(text.to_owned()).map_err(|error| FrameError::Corrupt(error.to_string()))
    };
    (0..count).map(one).collect()
}

/// A column of `count` varints, each turned into a value with what is carried from the ones before.
fn column<C, T>(
    reader: &mut Reader<'_>,
    count: usize,
    mut carried: C,
    turn: impl Fn(u64, &mut C) -> Option<T>,
) -> Result<Vec<T>, FrameError> {
    let one = |_| {
        let number = reader.varint("column").map_err(corrupt)?;
        turn(number, &mut carried).ok_or_else(|| corrupt(CodecError::Invalid("column")))
    };
    (0..count).map(one).collect()
}

/// A running sum of steps.
#[derive(Default)]
struct Running(u64);

impl Running {
    fn step(&mut self, by: u64) -> Option<u64> {
        self.0 = self.0.checked_add(by)?;
        Some(self.0)
    }
}

fn put_part<T: Encode>(out: &mut Vec<u8>, value: &T) -> Result<(), FrameError> {
    match bincode::encode_into_std_write(value, out, part_config()) {
        Ok(_) => Ok(()),
        Err(error) => Err(FrameError::Inconsistent(error.to_string())),
    }
}

fn part<T: Decode<()>>(reader: &mut Reader<'_>) -> Result<T, FrameError> {
    let (value, read) = bincode::decode_from_slice(reader.rest(), part_config())
        .map_err(|error| FrameError::Corrupt(error.to_string()))?;
    reader.take(read, "row").map_err(corrupt)?;
    Ok(value)
}
