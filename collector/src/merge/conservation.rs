//! Whether an agent's receipts add up, frame by frame.
//!
//! Receipts are cumulative: they only grow, and received = accepted + duplicate + conflict + rejected,
//! accepted = matched + unmatched. A violation means that the agent lost or invented events before they
//! reached the frame; the frame's own rows are still the best account there is, so it is applied and the
//! violation is recorded.

use std::fmt;

use submeter_common::protocol::Receipts;

/// How receipts contradict themselves or those before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// The counts of one frame do not add up.
    NotConserved,
    /// A count is lower than in the frame before.
    WentBackwards {
        /// Which count.
        count: String,
        /// In the frame before.
        before: u64,
        /// Now.
        after: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConserved => out.write_str(
                "received is not accepted + duplicate + conflict + rejected, or accepted is not matched + unmatched",
            ),
            Self::WentBackwards { count, before, after } => {
                write!(out, "{count} went back from {before} to {after}")
            }
        }
    }
}

/// Checks the receipts of a frame against those of the frame before it.
pub fn check(before: &Receipts, after: &Receipts) -> Option<Violation> {
    if !after.is_conserved() {
        return Some(Violation::NotConserved);
    }
    counts(before)
        .into_iter()
        .zip(counts(after))
        .chain(rejections(before, after))
        .find_map(|((count, before), (_, after))| {
            (after < before).then(|| Violation::WentBackwards {
                count: count.to_owned(),
                before,
                after,
            })
        })
}

type Count<'a> = (&'a str, u64);

fn counts(receipts: &Receipts) -> [Count<'static>; 6] {
    [
        ("received", receipts.received),
        ("accepted", receipts.accepted),
        ("duplicate", receipts.duplicate),
        ("conflict", receipts.conflict),
        ("matched", receipts.matched),
        ("unmatched", receipts.unmatched),
    ]
}

fn rejections<'a>(
    before: &'a Receipts,
    after: &'a Receipts,
) -> impl Iterator<Item = (Count<'a>, Count<'a>)> {
    before.rejected.iter().map(|(reason, count)| {
        let now = after.rejected.get(reason).copied().unwrap_or(0);
        ((reason.as_str(), *count), (reason.as_str(), now))
    })
}

#[cfg(test)]
mod tests {
    use super::{Violation, check};
    use submeter_common::protocol::Receipts;

    fn receipts(accepted: u64, rejected: u64) -> Receipts {
        Receipts {
            received: accepted + 2 + 1 + rejected,
            accepted,
            duplicate: 2,
            conflict: 1,
            matched: accepted,
            unmatched: 0,
            rejected: [("MISSING_FIELD".to_owned(), rejected)].into(),
        }
    }

    #[test]
    fn receipts_that_add_up_and_grow_are_in_order() {
        assert_eq!(check(&Receipts::default(), &receipts(5, 3)), None);
        assert_eq!(check(&receipts(5, 3), &receipts(5, 3)), None);
        assert_eq!(check(&receipts(5, 3), &receipts(9, 4)), None);
    }

    #[test]
    fn counts_that_do_not_add_up_are_a_violation() {
        let mut one_lost = receipts(5, 3);
        one_lost.received += 1;
        assert_eq!(
            check(&Receipts::default(), &one_lost),
            Some(Violation::NotConserved)
        );
        let mut one_unaccounted = receipts(5, 3);
        one_unaccounted.matched -= 1;
        assert_eq!(
            check(&Receipts::default(), &one_unaccounted),
            Some(Violation::NotConserved)
        );
    }

    #[test]
    fn a_count_that_shrinks_is_a_violation() {
        let found = check(&receipts(9, 3), &receipts(5, 3));
        let expected = Violation::WentBackwards {
            count: "received".to_owned(),
            before: 15,
            after: 11,
        };
        assert_eq!(found, Some(expected));
        let found = check(&receipts(5, 3), &receipts(9, 2));
        let expected = Violation::WentBackwards {
            count: "MISSING_FIELD".to_owned(),
            before: 3,
            after: 2,
        };
        assert_eq!(found, Some(expected));
    }
}
