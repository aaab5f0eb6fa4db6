//! What a customer holds of one kind of credits, with what open periods have used so far.

use crate::{
    credits::{Grant, GrantId, Reservation},
    id::EntitlementId,
    ledger::{Account, Books, LedgerUnit},
    money::Decimal,
};
use submeter_common::{CustomerId, Timestamp};

/// A customer's credits of one kind at one instant.
#[derive(Clone, Debug)]
pub struct Holdings {
    /// Whose.
    pub customer_id: CustomerId,
    /// The kind.
    pub credit_entitlement_id: EntitlementId,
    /// The customer's balances, read before the grants.
    pub books: Books,
    /// The grants as they are booked.
    pub booked: Vec<Grant>,
    /// Grants that have begun and are not booked yet, because the period before them is still open. Whoever decides on
    /// these holdings books them first.
    pub due: Vec<Grant>,
    /// All grants as they would be if every open period were closed now.
    pub live: Vec<Grant>,
    /// Overage of the open periods, which no grant covers.
    pub open_overage: Decimal,
    /// When the newest open period began. A clock that was read earlier than that stands behind what was read.
    pub since: Timestamp,
}

impl Holdings {
    /// Takes grants of which no open period uses any.
    #[must_use]
    pub fn booked_only(
        customer_id: CustomerId,
        credit_entitlement_id: EntitlementId,
        books: Books,
        booked: Vec<Grant>,
    ) -> Self {
        Self {
            customer_id,
            credit_entitlement_id,
            books,
            live: booked.clone(),
            due: Vec::new(),
            booked,
            open_overage: Decimal::zero(),
            since: Timestamp::from_micros(0),
        }
    }

    /// Returns the credits that could be used at `now`.
    #[must_use]
    pub fn available(&self, now: Timestamp) -> Decimal {
        self.spendable(now)
            .fold(Decimal::zero(), |sum, grant| &sum + &grant.remaining)
    }

    /// Returns the credits that were used beyond those that were there, booked or not.
    #[must_use]
    pub fn overage(&self) -> Decimal {
        &self.owed() + &self.open_overage
    }

    /// Returns the credits that the customer owes by its books.
    #[must_use]
    pub fn owed(&self) -> Decimal {
        let unit = LedgerUnit::Credits(self.credit_entitlement_id.clone());
        self.books.balance(&unit, Account::CreditsOwed)
    }

    /// Returns the grants that are good at `now`, with what of each nobody uses yet.
    pub fn spendable(&self, now: Timestamp) -> impl Iterator<Item = Grant> + '_ {
        let now = now.max(self.since);
        self.booked
            .iter()
            .chain(&self.due)
            .filter(move |grant| grant.is_good_at(now))
            .map(|grant| self.unused(grant))
    }

    /// Returns a booked grant with what of it neither the books nor an open period have used.
    pub(super) fn unused(&self, grant: &Grant) -> Grant {
        let live = self
            .live
            .iter()
            .find(|live| live.grant_id == grant.grant_id);
        let left = live.map_or(&grant.remaining, |live| &live.remaining);
        Grant {
            remaining: grant.remaining.clone().min(left.clone()),
            expired: Decimal::zero(),
            ..grant.clone()
        }
    }

    /// Returns a grant as it is booked.
    #[must_use]
    pub fn booked_grant(&self, id: &GrantId) -> Option<&Grant> {
        self.booked.iter().find(|grant| grant.grant_id == *id)
    }

    /// Whether all grants that a reservation holds credits of are among these.
    pub(super) fn holds_all_of(&self, reservation: &Reservation) -> bool {
        let known = |id| self.booked_grant(id).is_some();
        reservation.holds.iter().all(|hold| known(&hold.grant_id))
    }
}
