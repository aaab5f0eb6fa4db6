//! Cutting a range of minutes into the fewest cells.
//!
//! Days in the middle, hours and minutes at the edges: at most five runs of neighbouring cells. The
//! month of a subscription that began at any minute is never more than 120 cells a group.

/// How much time one cell holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// One minute.
    Minute = 0,
    /// One hour, UTC.
    Hour = 1,
    /// One day, UTC.
    Day = 2,
}

impl Level {
    /// Every level, finest first.
    pub const ALL: [Level; 3] = [Level::Minute, Level::Hour, Level::Day];

    /// Returns how many minutes a cell holds.
    pub const fn minutes(self) -> i32 {
        match self {
            Level::Minute => 1,
            Level::Hour => 60,
            Level::Day => 24 * 60,
        }
    }

    /// Returns the first minute of the cell that holds `minute` (minutes since 1970; may be negative).
    pub fn start_of(self, minute: i32) -> i32 {
        // Below the first whole day that an i32 can name there is no earlier start.
        minute
            .checked_sub(minute.rem_euclid(self.minutes()))
            .unwrap_or(i32::MIN)
    }

    fn finer(self) -> Option<Level> {
        match self {
            Level::Minute => None,
            Level::Hour => Some(Level::Minute),
            Level::Day => Some(Level::Hour),
        }
    }
}

/// A run of neighbouring cells of one level: minutes `[start, end)`, both on the level's grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The cells' level.
    pub level: Level,
    /// First minute.
    pub start: i32,
    /// The minute behind the last.
    pub end: i32,
}

/// Cuts minutes `[start, end)` into cells no coarser than `coarsest`, in order of time, without gap or
/// overlap. Empty when the range is.
pub fn decompose(start: i32, end: i32, coarsest: Level) -> Vec<Segment> {
    let mut segments = Vec::with_capacity(5);
    cut(start, end, coarsest, &mut segments);
    segments
}

fn cut(start: i32, end: i32, level: Level, segments: &mut Vec<Segment>) {
    if start >= end {
        return;
    }
    let Some(finer) = level.finer() else {
        segments.push(Segment { level, start, end });
        return;
    };
    let inner_end = level.start_of(end);
    match first_on_grid(start, level).filter(|inner_start| *inner_start < inner_end) {
        Some(inner_start) => {
            cut(start, inner_start, finer, segments);
            segments.push(Segment {
                level,
                start: inner_start,
                end: inner_end,
            });
            cut(inner_end, end, finer, segments);
        }
        None => cut(start, end, finer, segments),
    }
}

/// Returns the first cell start at or after `minute`, if an i32 can name it.
fn first_on_grid(minute: i32, level: Level) -> Option<i32> {
    let floor = level.start_of(minute);
    if floor == minute {
        Some(minute)
    } else {
        floor.checked_add(level.minutes())
    }
}

#[cfg(test)]
mod tests;
