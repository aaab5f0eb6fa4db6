//! Which journal records each meter counted between two points of progress.
//!
//! What a lost frame or a lost open set held is what was counted between two seals, or since the last one: so it can be
//! counted again from the journal, record by record, and nothing else with it.

use std::collections::BTreeMap;

use submeter_common::id::MeterId;

use crate::store::meta::{Coverage, Gap, Progress};

/// For each meter the records that are counted in `after` and were not in `before`.
pub(crate) fn counted_between(before: &Progress, after: &Progress) -> BTreeMap<MeterId, Vec<Gap>> {
    let mut counted = BTreeMap::new();
    for (meter, coverage) in &after.coverage {
        let missed = match before.coverage.get(meter) {
            Some(coverage) => uncounted(coverage, before.cursor),
            None => vec![EVERYTHING],
        };
        let still_missed = uncounted(coverage, after.cursor);
        let difference = subtract(missed, &still_missed);
        if !difference.is_empty() {
            counted.insert(meter.clone(), difference);
        }
    }
    counted
}

const EVERYTHING: Gap = Gap {
    from: 1,
    to: u64::MAX,
};

/// The records a meter has not counted: its gaps, and all from where it stopped or from the cursor on.
fn uncounted(coverage: &Coverage, cursor: u64) -> Vec<Gap> {
    let end = coverage.vanished_after.unwrap_or(cursor).min(cursor);
    let mut gaps = coverage.gaps.clone();
    gaps.extend(&coverage.archived);
    if end < u64::MAX {
        gaps.push(Gap {
            from: end + 1,
            to: u64::MAX,
        });
    }
    gaps
}

/// What of `gaps` is in none of `others`.
fn subtract(gaps: Vec<Gap>, others: &[Gap]) -> Vec<Gap> {
    let mut rest = gaps;
    for other in others {
        rest = rest
            .into_iter()
            .flat_map(|gap| {
                let before = Gap {
                    from: gap.from,
                    to: gap.to.min(other.from.saturating_sub(1)),
                };
                let after = Gap {
                    from: gap.from.max(other.to.saturating_add(1)),
                    to: gap.to,
                };
                // A gap to the end of time has nothing after it.
                let after = (other.to < u64::MAX).then_some(after);
                [Some(before), after]
            })
            .flatten()
            .filter(|gap| gap.from <= gap.to)
            .collect();
    }
    rest
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use submeter_common::id::MeterId;

    use super::counted_between;
    use crate::store::meta::{Coverage, Gap, Progress};

    /// A meter's name, gaps, and where it vanished.
    type Covered<'a> = (&'a str, &'a [(u64, u64)], Option<u64>);

    fn progress(cursor: u64, meters: &[Covered<'_>]) -> Progress {
        let mut progress = Progress::new();
        progress.cursor = cursor;
        for (id, gaps, vanished_after) in meters {
            let coverage = Coverage {
                gaps: gaps
                    .iter()
                    .map(|(from, to)| Gap {
                        from: *from,
                        to: *to,
                    })
                    .collect(),
                vanished_after: *vanished_after,
                ..Coverage::default()
            };
            progress
                .coverage
                .insert(MeterId::new(*id).unwrap(), coverage);
        }
        progress
    }

    fn counted(before: &Progress, after: &Progress) -> Vec<(u64, u64)> {
        let mut gaps: Vec<_> = counted_between(before, after)
            .into_values()
            .flatten()
            .map(|gap| (gap.from, gap.to))
            .collect();
        gaps.sort_unstable();
        gaps
    }

    #[test]
    fn live_records_are_those_between_the_cursors() {
        let (before, after) = (
            progress(10, &[("a", &[], None)]),
            progress(20, &[("a", &[], None)]),
        );
        assert_eq!(counted(&before, &after), [(11, 20)]);
        assert_eq!(counted(&before, &before), []);
    }

    #[test]
    fn a_new_meter_counted_what_its_gaps_leave() {
        let before = progress(10, &[]);
        let after = progress(20, &[("a", &[(6, 10)], None)]);
        assert_eq!(counted(&before, &after), [(1, 5), (11, 20)]);
    }

    #[test]
    fn a_backfill_counted_what_its_gap_lost() {
        let before = progress(10, &[("a", &[(1, 10)], None)]);
        let after = progress(10, &[("a", &[(4, 10)], None)]);
        assert_eq!(counted(&before, &after), [(1, 3)]);
    }

    #[test]
    fn a_meter_that_vanished_counted_up_to_there() {
        let before = progress(10, &[("a", &[], None)]);
        let after = progress(20, &[("a", &[], Some(14))]);
        assert_eq!(counted(&before, &after), [(11, 14)]);
    }
}
