//! Which journal records two copies of a state directory have in common.
//!
//! Every process that opens a state directory begins a new *life* under a random id, from the record it writes first. A
//! copy therefore shares the lives from before it was made, and none from after: two lineages are compared to find the
//! record at which their journals part, without looking at a single event.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Most lives that are named; older ones are left out. A life in which nothing was written is not named at all, so this
/// many restarts between two contacts with the collector are rare.
pub const LIVES_MAX: usize = 32;

/// One process's stretch of a journal, up to where the next life begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Random; nobody else writes records under it.
    pub id: Uuid,
    /// The first record that it wrote, or would write.
    pub first: u64,
}

/// A journal as a row of lives, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lineage {
    /// At most [`LIVES_MAX`], the newest last.
    pub lives: Vec<Life>,
    /// The newest record of the newest life; 0 before the first record.
    pub last: u64,
}

impl Lineage {
    /// The newest record that both journals hold; 0 when they are not known to share any.
    #[must_use]
    pub fn common(&self, other: &Self) -> u64 {
        let newest_first = self.lives.iter().enumerate().rev();
        let mut shared = newest_first.filter_map(|(index, life)| {
            let theirs = other.lives.iter().position(|their| their == life)?;
            Some(self.end_of(index).min(other.end_of(theirs)))
        });
        shared.next().unwrap_or(0)
    }

    /// Tells whether the lives that are named reach back to `record`.
    #[must_use]
    pub fn reaches(&self, record: u64) -> bool {
        self.lives.first().is_some_and(|life| life.first <= record)
    }

    /// Tells whether both are written by the same process.
    #[must_use]
    pub fn same_writer(&self, other: &Self) -> bool {
        self.lives.last().is_some() && self.lives.last() == other.lives.last()
    }

    fn end_of(&self, index: usize) -> u64 {
        match self.lives.get(index + 1) {
            Some(next) => next.first.saturating_sub(1),
            None => self.last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Life, Lineage};
    use uuid::Uuid;

    fn lineage(lives: &[(u128, u64)], last: u64) -> Lineage {
        let life = |&(id, first)| Life {
            id: Uuid::from_u128(id),
            first,
        };
        Lineage {
            lives: lives.iter().map(life).collect(),
            last,
        }
    }

    fn check(one: &Lineage, other: &Lineage, common: u64) {
        assert_eq!(one.common(other), common);
        assert_eq!(other.common(one), common);
    }

    #[test]
    fn a_copy_shares_what_was_written_before_it_was_made() {
        let original = lineage(&[(1, 1)], 70);
        check(&original, &lineage(&[(1, 1), (2, 46)], 50), 45);
        check(&original, &lineage(&[(1, 1), (2, 46), (3, 51)], 60), 45);
        let restarted = lineage(&[(1, 1), (4, 71)], 90);
        check(&restarted, &lineage(&[(1, 1), (2, 46)], 50), 45);
    }

    #[test]
    fn a_journal_shares_all_of_itself_with_its_own_past() {
        let then = lineage(&[(1, 1), (2, 46)], 50);
        check(&then, &lineage(&[(1, 1), (2, 46), (3, 81)], 99), 50);
        check(&then, &then, 50);
    }

    #[test]
    fn strangers_share_nothing() {
        check(&lineage(&[(1, 1)], 9), &lineage(&[(2, 1)], 9), 0);
        check(&lineage(&[], 0), &lineage(&[(2, 1)], 9), 0);
    }

    #[test]
    fn a_life_without_records_ends_before_it_begins() {
        check(&lineage(&[(1, 1)], 9), &lineage(&[(1, 1), (2, 5)], 4), 4);
        check(&lineage(&[(1, 1)], 0), &lineage(&[(1, 1)], 9), 0);
    }

    #[test]
    fn lives_that_are_not_named_are_not_reached() {
        let cut = lineage(&[(3, 20), (4, 30)], 40);
        assert!(cut.reaches(20) && !cut.reaches(19));
        assert!(!lineage(&[], 0).reaches(1));
        assert!(cut.same_writer(&lineage(&[(4, 30)], 99)));
        assert!(!cut.same_writer(&lineage(&[(3, 20)], 40)));
    }
}
