//! The teller: gives, takes, reserves and takes back credits as callers ask.
//!
//! What is asked for is taken from what nobody uses: neither the books nor, so far, an open period. So a debit never makes
//! usage that was covered uncovered, and what is not there is refused.

use super::{Book, GrantChange, Holdings, Posting, ReservationStep};
use crate::{
    credits::{
        Grant, GrantId, GrantSource, Hold, Reservation, ReservationStatus,
        burn_down::{Draw, Purse, Usable},
    },
    id::ReservationId,
    ledger::{Account, Note, Transfer},
    metadata::Metadata,
    money::Decimal,
};
use std::collections::BTreeMap;
use submeter_common::Timestamp;

/// What a caller asks for: when, under which key, and what is to be remembered with it.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// Names the request: the same key is the same request.
    pub key: &'a str,
    /// What is to be remembered.
    pub note: Note,
    /// Now.
    pub at: Timestamp,
}

/// A grant to be made.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// Where it comes from.
    pub source: GrantSource,
    /// Credits given; above zero and within the precision by the caller's check.
    pub amount: Decimal,
    /// Lower burns first.
    pub priority: u32,
    /// From when on it is good.
    pub effective_at: Timestamp,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// What the application attaches.
    pub metadata: Metadata,
    /// Whether overage that is owed is repaid from it at once.
    pub repays_overage: bool,
}

/// Why the teller does not do as asked; nothing changes.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum Refusal {
    /// There are not as many credits that nobody uses.
    #[error("expected at most {available} credits, which is what is available")]
    Insufficient {
        /// What there is.
        available: Decimal,
    },
    /// The reservation has ended.
    #[error("the reservation is {}", name(*.0))]
    Ended(ReservationStatus),
}

/// Gives credits.
#[must_use]
pub fn grant(holdings: &Holdings, new: NewGrant, order: &Order<'_>) -> (Posting, Grant) {
    let cause = [
        holdings.customer_id.as_str(),
        holdings.credit_entitlement_id.as_str(),
        order.key,
    ];
    let mut grant = Grant {
        grant_id: GrantId::derived(&cause),
        customer_id: holdings.customer_id.clone(),
        credit_entitlement_id: holdings.credit_entitlement_id.clone(),
        source: new.source,
        remaining: new.amount.clone(),
        amount: new.amount,
        held: Decimal::zero(),
        expired: Decimal::zero(),
        priority: new.priority,
        effective_at: new.effective_at,
        expires_at: new.expires_at,
        ends_at_close: false,
        subscription_id: None,
        period: None,
        parent_grant_id: None,
        rollover_count: 0,
        metadata: new.metadata,
        created_at: order.at,
        updated_at: order.at,
    };
    let mut book = order.book(holdings);
    book.granted_as(order.transfer_key(holdings, 0), &grant);
    if new.repays_overage && grant.is_good_at(order.at) {
        let repaid = grant.remaining.clone().min(holdings.owed());
        grant.remaining -= &repaid;
        book.overage_repaid(
            &grant.credit_entitlement_id,
            &grant.grant_id,
            &repaid,
            "grant",
        );
    }
    let posting = Posting {
        grants_new: vec![grant.clone()],
        transfers: book.into_transfers(),
        ..order.posting(holdings)
    };
    (posting, grant)
}

/// Books the grants that have begun and are not booked yet, as the close of the period before them would.
#[must_use]
pub fn begin(holdings: &Holdings, at: Timestamp) -> Posting {
    let mut book = Book::new(holdings.customer_id.clone(), at);
    for grant in &holdings.due {
        book.granted(grant);
    }
    Posting {
        expected_entries: Some(holdings.books.entries),
        grants_new: holdings.due.clone(),
        transfers: book.into_transfers(),
        ..Posting::empty(holdings.customer_id.clone())
    }
}

/// Takes credits, in the order of burning.
///
/// # Errors
/// [`Refusal::Insufficient`].
pub fn debit(holdings: &Holdings, amount: &Decimal, order: &Order<'_>) -> Result<Posting, Refusal> {
    let draws = take(holdings.spendable(order.at), amount, order.at)?;
    let mut book = order.book(holdings);
    for (index, draw) in draws.iter().enumerate() {
        let key = order.transfer_key(holdings, index);
        let entitlement = &holdings.credit_entitlement_id;
        book.debited(entitlement, &draw.grant_id, &draw.from_remaining, key);
    }
    Ok(order.taken(holdings, &draws, book.into_transfers()))
}

/// Takes back `amount` credits, or all there are: of one grant, or of all in the order of burning.
///
/// # Errors
/// [`Refusal::Insufficient`].
pub fn void(
    holdings: &Holdings,
    grant_id: Option<&GrantId>,
    amount: Option<&Decimal>,
    order: &Order<'_>,
) -> Result<Posting, Refusal> {
    let grants: Vec<Grant> = match grant_id {
        None => holdings.spendable(order.at).collect(),
        // One grant can be taken back before it is good.
        Some(id) => holdings
            .booked_grant(id)
            .filter(|grant| grant.expires_at.is_none_or(|end| order.at < end))
            .map(|grant| Grant {
                effective_at: grant.effective_at.min(order.at),
                ..holdings.unused(grant)
            })
            .into_iter()
            .collect(),
    };
    let all = sum(grants.iter().map(|grant| &grant.remaining));
    let draws = take(grants.into_iter(), amount.unwrap_or(&all), order.at)?;
    let mut book = order.book(holdings);
    for (index, draw) in draws.iter().enumerate() {
        let key = order.transfer_key(holdings, index);
        let entitlement = &holdings.credit_entitlement_id;
        book.voided(entitlement, &draw.grant_id, &draw.from_remaining, key);
    }
    Ok(order.taken(holdings, &draws, book.into_transfers()))
}

/// Sets credits aside until `expires_at`.
///
/// # Errors
/// [`Refusal::Insufficient`].
pub fn hold(
    holdings: &Holdings,
    amount: &Decimal,
    expires_at: Timestamp,
    order: &Order<'_>,
) -> Result<(Posting, Reservation), Refusal> {
    let draws = take(holdings.spendable(order.at), amount, order.at)?;
    let cause = [
        holdings.customer_id.as_str(),
        holdings.credit_entitlement_id.as_str(),
        order.key,
    ];
    let reservation = Reservation {
        reservation_id: ReservationId::derived(&cause),
        customer_id: holdings.customer_id.clone(),
        credit_entitlement_id: holdings.credit_entitlement_id.clone(),
        amount: amount.clone(),
        holds: draws.iter().map(Hold::from).collect(),
        status: ReservationStatus::Held,
        committed: Decimal::zero(),
        expires_at,
        created_at: order.at,
        updated_at: order.at,
    };
    let mut desk = Desk::open(holdings, &reservation, order);
    for draw in &draws {
        desk.step(ReservationStep::Hold, &draw.grant_id, &draw.from_remaining);
    }
    Ok((desk.close(reservation.clone()), reservation))
}

/// Uses `amount` of a reservation and gives the rest back; what it is beyond the reservation is taken from what is available.
///
/// # Errors
/// [`Refusal::Insufficient`]; [`Refusal::Ended`] for one that has ended, or whose time is over.
pub fn commit(
    holdings: &Holdings,
    reservation: &Reservation,
    amount: &Decimal,
    order: &Order<'_>,
) -> Result<(Posting, Reservation), Refusal> {
    check_held(holdings, reservation)?;
    if reservation.is_overdue(order.at) {
        return Err(Refusal::Ended(ReservationStatus::Expired));
    }
    let more = (amount - &reservation.amount).or_zero();
    let extra = take(holdings.spendable(order.at), &more, order.at)?;
    let mut desk = Desk::open(holdings, reservation, order);
    let mut left = amount.clone();
    for hold in &reservation.holds {
        let used = hold.amount.clone().min(left.clone());
        left -= &used;
        desk.step(ReservationStep::Commit, &hold.grant_id, &used);
        desk.give_back(&hold.grant_id, &(&hold.amount - &used));
    }
    for draw in &extra {
        desk.step(
            ReservationStep::CommitMore,
            &draw.grant_id,
            &draw.from_remaining,
        );
    }
    let after = Reservation {
        status: ReservationStatus::Committed,
        committed: amount.clone(),
        updated_at: order.at,
        ..reservation.clone()
    };
    Ok((desk.close(after.clone()), after))
}

/// Gives a reservation back: as told, or because its time is over.
///
/// # Errors
/// [`Refusal::Ended`] for one that has ended.
pub fn release(
    holdings: &Holdings,
    reservation: &Reservation,
    order: &Order<'_>,
) -> Result<(Posting, Reservation), Refusal> {
    check_held(holdings, reservation)?;
    let mut desk = Desk::open(holdings, reservation, order);
    for hold in &reservation.holds {
        desk.give_back(&hold.grant_id, &hold.amount);
    }
    let status = if reservation.is_overdue(order.at) {
        ReservationStatus::Expired
    } else {
        ReservationStatus::Released
    };
    let after = Reservation {
        status,
        updated_at: order.at,
        ..reservation.clone()
    };
    Ok((desk.close(after.clone()), after))
}

/// Forfeits what nobody uses of grants that expire by themselves and are over at `order.at`. What open periods have used is left
/// for their close.
#[must_use]
pub fn expire(holdings: &Holdings, order: &Order<'_>) -> Posting {
    let is_over = |grant: &&Grant| grant.expires_itself().is_some_and(|end| end <= order.at);
    let mut book = order.book(holdings);
    let mut grants_changed = Vec::new();
    for grant in holdings.booked.iter().filter(is_over) {
        let rest = holdings.unused(grant).remaining;
        book.expired(
            &holdings.credit_entitlement_id,
            &grant.grant_id,
            &rest,
            order.key,
        );
        let after = Grant {
            remaining: &grant.remaining - &rest,
            expired: &grant.expired + &rest,
            ends_at_close: true,
            updated_at: order.at,
            ..grant.clone()
        };
        let before = grant.clone();
        grants_changed.push(GrantChange { before, after });
    }
    Posting {
        grants_changed,
        transfers: book.into_transfers(),
        ..order.posting(holdings)
    }
}

/// A reservation held by these very holdings, which has not ended.
fn check_held(holdings: &Holdings, reservation: &Reservation) -> Result<(), Refusal> {
    let is_held = reservation.status == ReservationStatus::Held;
    if is_held && holdings.holds_all_of(reservation) {
        return Ok(());
    }
    Err(Refusal::Ended(reservation.status))
}

fn take(
    grants: impl Iterator<Item = Grant>,
    amount: &Decimal,
    now: Timestamp,
) -> Result<Vec<Draw>, Refusal> {
    let grants: Vec<Grant> = grants.collect();
    let available = sum(grants.iter().map(|grant| &grant.remaining));
    let burned = Purse::new(grants).burn(amount, Usable::At(now), now);
    if burned.uncovered.is_positive() {
        return Err(Refusal::Insufficient { available });
    }
    Ok(burned.draws)
}

fn sum<'a>(amounts: impl Iterator<Item = &'a Decimal>) -> Decimal {
    amounts.fold(Decimal::zero(), |sum, amount| &sum + amount)
}

impl Order<'_> {
    /// The key of the `index`-th transfer; the first one stands for the whole request.
    fn transfer_key(&self, holdings: &Holdings, index: usize) -> String {
        transfer_key(holdings.credit_entitlement_id.as_str(), self.key, index)
    }

    fn book(&self, holdings: &Holdings) -> Book {
        Book::new(holdings.customer_id.clone(), self.at).with_note(self.note.clone())
    }

    fn posting(&self, holdings: &Holdings) -> Posting {
        Posting {
            expected_entries: Some(holdings.books.entries),
            ..Posting::empty(holdings.customer_id.clone())
        }
    }

    fn taken(&self, holdings: &Holdings, draws: &[Draw], transfers: Vec<Transfer>) -> Posting {
        let change = |draw: &Draw| {
            let before = holdings.booked_grant(&draw.grant_id)?.clone();
            let after = Grant {
                remaining: &before.remaining - &draw.from_remaining,
                updated_at: self.at,
                ..before.clone()
            };
            Some(GrantChange { before, after })
        };
        Posting {
            grants_changed: draws.iter().filter_map(change).collect(),
            transfers,
            ..self.posting(holdings)
        }
    }
}

/// Returns the key under which the `index`-th transfer of a request is booked.
#[must_use]
pub fn transfer_key(entitlement: &str, request_key: &str, index: usize) -> String {
    format!("api:{entitlement}:{index}:{request_key}")
}

/// What a step of a reservation changes, grant by grant.
struct Desk<'a> {
    holdings: &'a Holdings,
    reservation: &'a Reservation,
    order: &'a Order<'a>,
    book: Book,
    grants: BTreeMap<GrantId, Grant>,
}

impl<'a> Desk<'a> {
    fn open(holdings: &'a Holdings, reservation: &'a Reservation, order: &'a Order<'a>) -> Self {
        Self {
            holdings,
            reservation,
            order,
            book: order.book(holdings),
            grants: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: ReservationStep, grant_id: &GrantId, amount: &Decimal) {
        let Some(booked) = self.holdings.booked_grant(grant_id) else {
            return;
        };
        let names = (&self.reservation.reservation_id, grant_id);
        let entitlement = &self.holdings.credit_entitlement_id;
        self.book.reserved(entitlement, names, step, amount);
        let grant = self
            .grants
            .entry(grant_id.clone())
            .or_insert_with(|| booked.clone());
        let (from, to) = step.accounts();
        for (account, amount) in [(from, -amount), (to, amount.clone())] {
            match account {
                Account::CreditsAvailable => grant.remaining += &amount,
                Account::CreditsHeld => grant.held += &amount,
                _ => {}
            }
        }
        grant.updated_at = self.order.at;
    }

    /// Gives held credits back; to a grant that has ended meanwhile only to be forfeited.
    fn give_back(&mut self, grant_id: &GrantId, amount: &Decimal) {
        if amount.is_zero() {
            return;
        }
        self.step(ReservationStep::Release, grant_id, amount);
        let Some(grant) = self.grants.get_mut(grant_id) else {
            return;
        };
        if grant.expires_at.is_some_and(|end| end <= self.order.at) {
            grant.remaining -= amount;
            grant.expired += amount;
            let occasion = self.reservation.reservation_id.as_str();
            let entitlement = &self.holdings.credit_entitlement_id;
            self.book.expired(entitlement, grant_id, amount, occasion);
        }
    }

    fn close(self, reservation: Reservation) -> Posting {
        let holdings = self.holdings;
        let change = |after: Grant| {
            let before = holdings.booked_grant(&after.grant_id)?.clone();
            Some(GrantChange { before, after })
        };
        Posting {
            grants_changed: self.grants.into_values().filter_map(change).collect(),
            reservation: Some(reservation),
            transfers: self.book.into_transfers(),
            ..self.order.posting(holdings)
        }
    }
}

const fn name(status: ReservationStatus) -> &'static str {
    match status {
        ReservationStatus::Held => "held",
        ReservationStatus::Committed => "committed already",
        ReservationStatus::Released => "released already",
        ReservationStatus::Expired => "over: its time has passed",
    }
}

#[cfg(test)]
mod tests;
