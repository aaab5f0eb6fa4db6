//! Which journal records of an agent have been delivered, by every process that ever spoke under its name.
//!
//! A state directory can be copied and an older copy can be restored, so one identity may have had several journals that
//! share a beginning. What was applied is kept for each such *branch*; how far a journal has been delivered is then a
//! question of how much of it is shared with a branch, and of how far that branch came. Nothing is decided by time.

use serde::{Deserialize, Serialize};
use submeter_common::protocol::{Life, Lineage, Reach};

/// Branches kept beside the current one. Each is a copy that delivered something and was then superseded.
const FORMER_MAX: usize = 8;

/// One journal and how far its frames were applied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Branch {
    /// The processes that wrote it, oldest first.
    pub lives: Vec<Life>,
    /// The last record that went into an applied frame.
    pub record: u64,
    /// After which record only a part was applied: the frame is one of several of its seal, and not the last.
    pub torn_after: Option<u64>,
}

/// All journals under one name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// The one whose frames are applied now.
    pub current: Branch,
    /// Superseded ones, oldest first.
    pub former: Vec<Branch>,
}

/// How much of a journal is not its holder's to deliver any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivered {
    /// The last such record.
    pub record: u64,
    /// After which record the delivery is in part only.
    pub torn_after: Option<u64>,
}

impl Branch {
    /// The newest record that is in `journal` too. A branch's last life may have gone on since it was heard of.
    fn shared(&self, journal: &Lineage) -> u64 {
        self.as_lineage().common(journal)
    }

    fn as_lineage(&self) -> Lineage {
        Lineage {
            lives: self.lives.clone(),
            last: u64::MAX,
        }
    }

    /// Tells whether `journal` holds all that was applied. One that does not say that far back is believed.
    fn is_within(&self, journal: &Lineage) -> bool {
        self.record == 0
            || self.lives.is_empty()
            || !journal.reaches(self.record)
            || self.shared(journal) >= self.record
    }

    fn delivered_of(&self, journal: &Lineage) -> Delivered {
        let record = self.shared(journal).min(self.record);
        Delivered {
            record,
            torn_after: self.torn_after.filter(|after| *after < record),
        }
    }
}

impl History {
    /// A journal of which nothing was applied.
    pub fn of(journal: &Lineage) -> Self {
        Self {
            current: Branch {
                lives: journal.lives.clone(),
                ..Branch::default()
            },
            former: Vec::new(),
        }
    }

    /// Tells whether `journal` goes on where the applied frames end.
    pub fn continues_in(&self, journal: &Lineage) -> bool {
        self.current.is_within(journal)
    }

    /// Notes the processes that write the current branch.
    pub fn resume(&mut self, journal: &Lineage) {
        // Of two processes that take turns, each has delivered what it delivered.
        self.current.record = self.current.record.max(self.delivered_of(journal).record);
        self.current.lives.clone_from(&journal.lives);
    }

    /// Notes an applied frame.
    pub fn advance(&mut self, reach: Reach) {
        let branch = &mut self.current;
        if reach.whole {
            branch.torn_after = None;
        } else if branch.torn_after.is_none() {
            branch.torn_after = Some(branch.record);
        }
        branch.record = branch.record.max(reach.record);
    }

    /// How much of `journal` was applied, by whichever branch.
    pub fn delivered_of(&self, journal: &Lineage) -> Delivered {
        let branches = self.former.iter().chain([&self.current]);
        branches
            .map(|branch| branch.delivered_of(journal))
            .max_by_key(|delivered| delivered.record)
            .unwrap_or_default()
    }

    /// How much of `journal` is not its own to deliver while the current branch's process lives: that one delivers all
    /// that they share.
    pub fn left_of(&self, journal: &Lineage) -> Delivered {
        let delivered = self.delivered_of(journal);
        if self.current.as_lineage().same_writer(journal) {
            return delivered;
        }
        Delivered {
            record: delivered.record.max(self.current.shared(journal)),
            ..delivered
        }
    }

    /// Makes `journal` the current branch, of which `delivered` was applied before.
    pub fn supersede(&mut self, journal: &Lineage, delivered: Delivered) {
        let next = Branch {
            lives: journal.lives.clone(),
            record: delivered.record,
            torn_after: None,
        };
        let repeated = self.current.as_lineage().same_writer(journal);
        let superseded = std::mem::replace(&mut self.current, next);
        if !repeated {
            self.former.push(superseded);
            let surplus = self.former.len().saturating_sub(FORMER_MAX);
            self.former.drain(..surplus);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Delivered, History};
    use submeter_common::protocol::{Life, Lineage, Reach};
    use uuid::Uuid;

    fn journal(lives: &[(u128, u64)], last: u64) -> Lineage {
        let life = |&(id, first)| Life {
            id: Uuid::from_u128(id),
            first,
        };
        Lineage {
            lives: lives.iter().map(life).collect(),
            last,
        }
    }

    fn reach(record: u64, whole: bool) -> Reach {
        Reach {
            record,
            whole,
            backfilling: false,
        }
    }

    fn up_to(record: u64) -> Delivered {
        Delivered {
            record,
            torn_after: None,
        }
    }

    #[test]
    fn a_copy_made_at_45_has_had_what_the_original_delivered_of_it() {
        let mut history = History::of(&journal(&[(1, 1)], 10));
        let copy = journal(&[(1, 1), (2, 46)], 50);
        history.advance(reach(30, true));
        assert!(history.continues_in(&copy));
        assert_eq!(history.delivered_of(&copy), up_to(30));
        assert_eq!(history.left_of(&copy), up_to(45), "the original lives");
        history.advance(reach(70, true));
        assert!(!history.continues_in(&copy));
        assert_eq!(history.delivered_of(&copy), up_to(45));
    }

    #[test]
    fn an_original_that_was_superseded_has_had_what_both_delivered() {
        let original = journal(&[(1, 1)], 90);
        let copy = journal(&[(1, 1), (2, 46)], 50);
        let mut history = History::of(&original);
        history.advance(reach(70, true));
        history.supersede(&copy, history.delivered_of(&copy));
        assert!(history.continues_in(&copy));
        assert!(
            history.continues_in(&original),
            "nothing new of the copy was applied yet"
        );
        assert_eq!(history.delivered_of(&original), up_to(70));
        history.advance(reach(50, true));
        assert!(!history.continues_in(&original));
        assert_eq!(history.left_of(&original), up_to(70));
    }

    #[test]
    fn a_repeated_register_supersedes_once() {
        let copy = journal(&[(1, 1), (2, 46)], 50);
        let mut history = History::of(&journal(&[(1, 1)], 10));
        history.advance(reach(70, true));
        for _ in 0..3 {
            let delivered = history.delivered_of(&copy);
            assert_eq!(delivered, up_to(45));
            history.supersede(&copy, delivered);
            assert_eq!(history.former.len(), 1);
            // Its own later records are its own, whatever else is decided.
            let later = journal(&[(1, 1), (2, 46)], 80);
            assert_eq!(history.left_of(&later), up_to(45));
        }
    }

    #[test]
    fn a_seal_that_arrived_in_part_is_said() {
        let copy = journal(&[(1, 1), (2, 46)], 50);
        let mut history = History::of(&journal(&[(1, 1)], 10));
        history.advance(reach(30, true));
        history.advance(reach(70, false));
        let torn = Delivered {
            record: 45,
            torn_after: Some(30),
        };
        assert_eq!(history.delivered_of(&copy), torn);
        history.advance(reach(70, true));
        assert_eq!(history.delivered_of(&copy), up_to(45));
    }

    #[test]
    fn who_names_no_lives_is_believed() {
        let mut history = History::of(&Lineage::default());
        history.advance(reach(9, true));
        assert!(history.continues_in(&Lineage::default()));
        assert_eq!(history.delivered_of(&Lineage::default()), up_to(0));
    }

    #[test]
    fn superseded_branches_are_bounded() {
        let mut history = History::default();
        for number in 1..40_u128 {
            history.supersede(&journal(&[(number, 1)], 1), up_to(1));
        }
        assert_eq!(history.former.len(), super::FORMER_MAX);
    }
}
