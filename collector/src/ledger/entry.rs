//! Entries: the links of a customer's chain.

use super::Transfer;
use crate::money::Decimal;
use serde::{Deserialize, Serialize};
use submeter_common::id::Digest;

/// One transfer in its place. It never changes.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the customer's chain: 1, 2, 3, … without gaps.
    pub sequence: u64,
    /// Digest of the entry before; zeros before the first.
    pub previous: Digest,
    /// Digest of everything else here.
    pub digest: Digest,
    /// What is moved.
    pub transfer: Transfer,
    /// Where the customer stands in the transfer's unit afterwards.
    pub standing: Standing,
}

/// What a customer has and owes in one unit.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Standing {
    /// Credits that can be burned, or money in the wallet.
    pub has: Decimal,
    /// Credits of overage, or money that was invoiced and not paid.
    pub owes: Decimal,
}

/// What the digest of an entry is taken of, in this order.
#[derive(Serialize)]
struct Sealed<'a> {
    sequence: u64,
    previous: &'a Digest,
    transfer: &'a Transfer,
    standing: &'a Standing,
}

impl Entry {
    /// Puts a transfer behind the entry whose digest is `previous`.
    #[must_use]
    pub(super) fn seal(
        sequence: u64,
        previous: Digest,
        transfer: Transfer,
        standing: Standing,
    ) -> Self {
        let digest = digest(sequence, &previous, &transfer, &standing);
        Self {
            sequence,
            previous,
            digest,
            transfer,
            standing,
        }
    }

    /// Whether the digest is that of what the entry says.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.digest
            == digest(
                self.sequence,
                &self.previous,
                &self.transfer,
                &self.standing,
            )
    }
}

fn digest(sequence: u64, previous: &Digest, transfer: &Transfer, standing: &Standing) -> Digest {
    let sealed = Sealed {
        sequence,
        previous,
        transfer,
        standing,
    };
    // The fields of a struct keep their order and metadata is sorted: one entry has one text.
    let text = serde_json::to_vec(&sealed).expect("an entry has no keys but texts");
    Digest::of(&text)
}
