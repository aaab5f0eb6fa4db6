//! What a frame is to the collector: the next one, one it has, one too far, or not this chain's.
//!
//! The decision is pure. It needs the agent's stored session, the frame's place in the chain, and, for
//! a frame at or before the applied one, the digest that was applied under its number.

use submeter_common::id::Digest;
use submeter_common::protocol::Position;

/// A frame's place in its agent's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The session it was sent in.
    pub epoch: u64,
    /// Its number, from 1.
    pub seq: u64,
    /// The digest of the frame before it.
    pub previous: Digest,
    /// Its own digest.
    pub digest: Digest,
}

/// What to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is the next one: apply it.
    Apply,
    /// It was applied before.
    Duplicate,
    /// Frames before it are missing.
    Gap {
        /// The number to send next.
        expected: u64,
    },
    /// It was sent in another session than the current one, or is too old to be compared.
    Fenced,
    /// It contradicts what was applied.
    Fork,
}

/// Judges a frame against the agent's stored session (`epoch`, `applied`).
///
/// `known` is the digest applied under the frame's number, when that number is not beyond `applied` and
/// its digest is still kept. A frame whose digest is not kept any more is neither shown to be the same (to answer
/// `Duplicate` would let its sender forget what was never merged) nor shown to be another's (to answer `Fork`
/// would let it deliver twice). It ends the session: the sender registers, and there positions and journals are
/// compared, which are kept for ever.
pub fn decide(epoch: u64, applied: Position, frame: &Link, known: Option<Digest>) -> Decision {
    if frame.epoch != epoch {
        return Decision::Fenced;
    }
    if frame.seq <= applied.seq {
        return match known {
            Some(digest) if digest == frame.digest => Decision::Duplicate,
            Some(_) => Decision::Fork,
            None => Decision::Fenced,
        };
    }
    // Not beyond the largest number: `frame.seq` is above `applied.seq`.
    let expected = applied.seq.saturating_add(1);
    if frame.seq > expected {
        return Decision::Gap { expected };
    }
    if frame.previous == applied.digest {
        Decision::Apply
    } else {
        Decision::Fork
    }
}

#[cfg(test)]
mod tests {
    use super::{Decision, Link, decide};
    use submeter_common::id::Digest;
    use submeter_common::protocol::Position;

    const EPOCH: u64 = 4;

    fn digest(byte: u8) -> Digest {
        Digest::new([byte; 32])
    }

    /// The agent is at frame 7 (digest 7) of a chain in which frame n has the digest n.
    fn check(epoch: u64, seq: u64, previous: u8, own: u8, expected: Decision) {
        let applied = Position {
            seq: 7,
            digest: digest(7),
        };
        let known = (3..=7)
            .contains(&seq)
            .then(|| digest(u8::try_from(seq).unwrap_or(0)));
        let frame = Link {
            epoch,
            seq,
            previous: digest(previous),
            digest: digest(own),
        };
        assert_eq!(
            decide(EPOCH, applied, &frame, known),
            expected,
            "epoch {epoch} seq {seq}"
        );
    }

    #[test]
    fn each_frame_has_one_answer() {
        check(EPOCH, 8, 7, 8, Decision::Apply);
        check(EPOCH, 8, 99, 8, Decision::Fork);
        check(EPOCH, 7, 6, 7, Decision::Duplicate);
        check(EPOCH, 3, 2, 3, Decision::Duplicate);
        check(EPOCH, 7, 6, 99, Decision::Fork);
        check(EPOCH, 3, 2, 99, Decision::Fork);
        check(EPOCH, 9, 8, 9, Decision::Gap { expected: 8 });
        check(EPOCH, u64::MAX, 8, 9, Decision::Gap { expected: 8 });
    }

    #[test]
    fn a_number_whose_digest_is_not_kept_is_neither_called_a_duplicate_nor_a_fork() {
        check(EPOCH, 2, 1, 2, Decision::Fenced);
        check(EPOCH, 2, 1, 99, Decision::Fenced);
        check(EPOCH, 0, 0, 0, Decision::Fenced);
    }

    #[test]
    fn another_session_is_fenced_whatever_it_sends() {
        for epoch in [0, EPOCH - 1, EPOCH + 1] {
            check(epoch, 8, 7, 8, Decision::Fenced);
            check(epoch, 7, 6, 7, Decision::Fenced);
            check(epoch, 9, 99, 9, Decision::Fenced);
        }
    }

    #[test]
    fn the_first_frame_continues_nothing() {
        let nothing = Position {
            seq: 0,
            digest: Digest::ZERO,
        };
        let first = Link {
            epoch: 1,
            seq: 1,
            previous: Digest::ZERO,
            digest: digest(1),
        };
        assert_eq!(decide(1, nothing, &first, None), Decision::Apply);
        let stranger = Link {
            previous: digest(9),
            ..first
        };
        assert_eq!(decide(1, nothing, &stranger, None), Decision::Fork);
    }
}
