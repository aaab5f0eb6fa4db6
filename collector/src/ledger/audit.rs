//! Adding a chain up again: are books and grants what the entries come to?

use super::{Account, Books, Entry, PostError, Transfer};
use crate::{id::GrantId, money::Decimal};
use std::{collections::BTreeMap, fmt};

/// A customer's ledger, added up from its first entry on. Feed every entry in order, then compare.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    books: Books,
    grants: BTreeMap<GrantId, GrantBalance>,
}

/// What the entries say that a grant holds.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct GrantBalance {
    /// Credits to burn.
    pub remaining: Decimal,
    /// Credits reserved.
    pub held: Decimal,
    /// Credits forfeited.
    pub expired: Decimal,
}

/// Something that is not as it was written.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum Fault {
    /// The next entry is another one: some are missing, or out of order.
    #[error("entry {expected} is missing: the next one is {found}")]
    Gap {
        /// The number that should follow.
        expected: u64,
        /// The number that does.
        found: u64,
    },
    /// An entry does not follow the one before it.
    #[error("entry {0} does not follow the entry before it: the chain is broken")]
    Chain(u64),
    /// An entry is not what its digest was taken of.
    #[error("entry {0} was changed after it was written")]
    Digest(u64),
    /// An entry could never have been posted.
    #[error("entry {sequence} cannot be posted: {error}")]
    Posting {
        /// Its number.
        sequence: u64,
        /// Why not.
        error: PostError,
    },
    /// The stored balances are not what the entries come to.
    #[error("the stored balances are not those of the {0} entries")]
    Books(u64),
    /// A grant does not hold what the entries say.
    #[error("grant {grant_id} holds {stored}; by the entries {derived}")]
    Grant {
        /// The grant.
        grant_id: GrantId,
        /// What its document says.
        stored: Box<GrantBalance>,
        /// What the entries say.
        derived: Box<GrantBalance>,
    },
    /// The entries name a grant that is not stored, or in no list, or cannot be read.
    #[error("grant {grant_id} cannot be found, by the entries it holds {derived}")]
    Lost {
        /// The grant.
        grant_id: GrantId,
        /// What the entries say.
        derived: Box<GrantBalance>,
    },
}

impl Fault {
    /// Returns the grant that is not as it should be, where it is one.
    #[must_use]
    pub const fn grant_id(&self) -> Option<&GrantId> {
        match self {
            Self::Grant { grant_id, .. } | Self::Lost { grant_id, .. } => Some(grant_id),
            _ => None,
        }
    }
}

impl fmt::Display for GrantBalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            remaining,
            held,
            expired,
        } = self;
        write!(f, "{remaining} to burn, {held} held, {expired} expired")
    }
}

impl Audit {
    /// Takes the next entry.
    ///
    /// # Errors
    /// What is wrong with it. What comes behind a broken link proves nothing any more.
    pub fn add(&mut self, entry: &Entry) -> Result<(), Fault> {
        let expected = self.books.entries.saturating_add(1);
        if entry.sequence != expected {
            let found = entry.sequence;
            return Err(Fault::Gap { expected, found });
        }
        if entry.previous != self.books.head {
            return Err(Fault::Chain(entry.sequence));
        }
        let again = self
            .books
            .post(entry.transfer.clone())
            .map_err(|error| Fault::Posting {
                sequence: entry.sequence,
                error,
            })?;
        if again != *entry {
            return Err(Fault::Digest(entry.sequence));
        }
        self.note_grant(&entry.transfer);
        Ok(())
    }

    /// Returns the balances that the entries come to: what stored ones can be rebuilt from.
    #[must_use]
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// Returns what the entries say that a grant holds.
    #[must_use]
    pub fn grant(&self, grant_id: &GrantId) -> GrantBalance {
        self.grants.get(grant_id).cloned().unwrap_or_default()
    }

    /// Returns a fault for each grant that the entries name and `stored` does not.
    pub fn lost_grants(&self, stored: impl Fn(&GrantId) -> bool) -> impl Iterator<Item = Fault> {
        let lost = self.grants.iter().filter(move |(id, _)| !stored(id));
        lost.map(|(grant_id, derived)| Fault::Lost {
            grant_id: grant_id.clone(),
            derived: Box::new(derived.clone()),
        })
    }

    /// Compares the balances that are stored.
    ///
    /// # Errors
    /// [`Fault::Books`].
    pub fn compare_books(&self, stored: &Books) -> Result<(), Fault> {
        if self.books == *stored {
            return Ok(());
        }
        Err(Fault::Books(self.books.entries))
    }

    /// Compares what a grant's document says.
    ///
    /// # Errors
    /// [`Fault::Grant`].
    pub fn compare_grant(&self, grant_id: &GrantId, stored: GrantBalance) -> Result<(), Fault> {
        let derived = self.grant(grant_id);
        if derived == stored {
            return Ok(());
        }
        let grant_id = grant_id.clone();
        Err(Fault::Grant {
            grant_id,
            stored: Box::new(stored),
            derived: Box::new(derived),
        })
    }

    fn note_grant(&mut self, transfer: &Transfer) {
        let Some(id) = transfer.cause.grant_id() else {
            return;
        };
        let grant = self.grants.entry(id.clone()).or_default();
        let moves = [
            (transfer.debit, transfer.amount.clone()),
            (transfer.credit, -&transfer.amount),
        ];
        for (account, amount) in moves {
            match account {
                Account::CreditsAvailable => grant.remaining += &amount,
                Account::CreditsHeld => grant.held += &amount,
                Account::CreditsExpired => grant.expired += &amount,
                _ => {}
            }
        }
    }
}
