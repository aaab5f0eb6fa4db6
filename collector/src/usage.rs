//! Usage: what a meter of a customer came to over any range of minutes, and who said so.
//!
//! A *cell* is the merged partial of one customer, meter, group and window, together with its sources. Cells are kept at
//! three levels, so that a month is tens of reads and not 43 200: every minute, and the hour and the day that hold it.
//! [`range`] cuts a range of minutes into the fewest cells; aggregation being a commutative monoid, their merge is the
//! merge of the minutes.

pub mod cell;
pub mod range;
pub mod source;

use serde::{Deserialize, Serialize};
use submeter_common::aggregate::Group;
use submeter_common::time::Period;

pub use cell::Cell;
pub use range::{Level, Segment};
pub use source::Source;

/// One group's usage over a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupUsage {
    /// The values of the meter's `group_by` keys.
    pub group: Group,
    /// What it came to, and from whom.
    pub cell: Cell,
}

/// One group's usage over one step of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsagePoint {
    /// The step, cut to the range that was asked for.
    pub period: Period,
    /// The values of the meter's `group_by` keys.
    pub group: Group,
    /// What it came to, and from whom.
    pub cell: Cell,
}

/// The step of a series, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// Minutes.
    Minute,
    /// Hours.
    Hour,
    /// Days.
    Day,
}
