//! The teller against a model that shares no code with it: lots of whole credits in a list.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    bookkeeping::{consistency, wallet},
    id::EntitlementId,
    ledger::{Audit, Books, GrantBalance, LedgerUnit},
    money::Currency,
};
use proptest::prelude::*;
use submeter_common::CustomerId;

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn whole(amount: i64) -> Decimal {
    Decimal::from(amount)
}

/// What a caller does.
#[derive(Clone, Debug)]
enum Act {
    Grant {
        amount: i64,
        priority: u32,
        begins_in: i64,
        lives: Option<i64>,
        repays: bool,
    },
    Debit(i64),
    VoidAny(i64),
    VoidOne {
        which: usize,
        amount: i64,
    },
    Hold(i64),
    Commit {
        which: usize,
        amount: i64,
    },
    Release {
        which: usize,
    },
    Wait(i64),
    Expire,
    Fund(i64),
    /// Usage beyond the credits, as a closing period books it.
    Overuse(i64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let grant = (
        1..100_i64,
        0..3_u32,
        0..3_i64,
        prop::option::of(1..20_i64),
        any::<bool>(),
    );
    let act = prop_oneof![
        4 => grant.prop_map(|(amount, priority, begins_in, lives, repays)| Act::Grant {
            amount, priority, begins_in, lives, repays
        }),
        4 => (1..120_i64).prop_map(Act::Debit),
        1 => (1..60_i64).prop_map(Act::VoidAny),
        1 => (0..8_usize, 1..60_i64).prop_map(|(which, amount)| Act::VoidOne { which, amount }),
        3 => (1..60_i64).prop_map(Act::Hold),
        2 => (0..6_usize, 1..90_i64).prop_map(|(which, amount)| Act::Commit { which, amount }),
        1 => (0..6_usize).prop_map(|which| Act::Release { which }),
        3 => (1..8_i64).prop_map(Act::Wait),
        2 => Just(Act::Expire),
        2 => (-50..80_i64).prop_filter("nothing moves", |amount| *amount != 0).prop_map(Act::Fund),
        1 => (1..40_i64).prop_map(Act::Overuse),
    ];
    prop::collection::vec(act, 1..60)
}

/// The model: what everything comes to, in whole credits.
#[derive(Clone, Debug, Default)]
struct Model {
    lots: Vec<Lot>,
    holds: Vec<Held>,
    used: i64,
    voided: i64,
    expired: i64,
    owed: i64,
    wallet: i64,
}

#[derive(Clone, Debug)]
struct Lot {
    left: i64,
    priority: u32,
    begins: i64,
    ends: Option<i64>,
}

#[derive(Clone, Debug)]
struct Held {
    parts: Vec<(usize, i64)>,
    ends: i64,
    is_open: bool,
}

impl Model {
    /// Takes from lots in the order of burning; nothing when there is not enough.
    fn take(&mut self, amount: i64, now: i64) -> Option<Vec<(usize, i64)>> {
        let mut good: Vec<usize> = (0..self.lots.len())
            .filter(|index| {
                let lot = &self.lots[*index];
                lot.begins <= now && lot.ends.is_none_or(|ends| now < ends)
            })
            .collect();
        good.sort_by_key(|index| {
            let lot = &self.lots[*index];
            (
                lot.priority,
                lot.ends.unwrap_or(i64::MAX),
                lot.begins,
                *index,
            )
        });
        if good.iter().map(|index| self.lots[*index].left).sum::<i64>() < amount {
            return None;
        }
        let mut left = amount;
        let mut parts = Vec::new();
        for index in good {
            let part = left.min(self.lots[index].left);
            if part > 0 {
                self.lots[index].left -= part;
                left -= part;
                parts.push((index, part));
            }
        }
        Some(parts)
    }

    fn give_back(&mut self, (lot, amount): (usize, i64), now: i64) {
        if self.lots[lot].ends.is_some_and(|ends| ends <= now) {
            self.expired += amount;
        } else {
            self.lots[lot].left += amount;
        }
    }
}

/// The product: postings applied as an engine applies them, and every entry audited.
struct Bench {
    books: Books,
    audit: Audit,
    grants: Vec<Grant>,
    reservations: Vec<Reservation>,
}

impl Bench {
    fn holdings(&self) -> Holdings {
        let customer = CustomerId::new("cus_1").unwrap();
        let kind = EntitlementId::from_text("cde_1");
        Holdings::booked_only(customer, kind, self.books.clone(), self.grants.clone())
    }

    fn apply(&mut self, posting: Posting) {
        consistency::check(&posting, None).unwrap();
        assert_eq!(posting.expected_entries, Some(self.books.entries));
        for change in posting.grants_changed {
            let stored = self
                .grants
                .iter_mut()
                .find(|grant| grant.grant_id == change.before.grant_id);
            let stored = stored.unwrap();
            assert_eq!(*stored, change.before);
            *stored = change.after;
        }
        self.grants.extend(posting.grants_new);
        if let Some(reservation) = posting.reservation {
            let id = reservation.reservation_id.clone();
            self.reservations.retain(|held| held.reservation_id != id);
            self.reservations.push(reservation);
        }
        for transfer in posting.transfers {
            let entry = self.books.post(transfer).unwrap();
            self.audit.add(&entry).unwrap();
        }
    }
}

fn run(acts: &[Act]) {
    let mut model = Model::default();
    let mut books = Bench {
        books: Books::default(),
        audit: Audit::default(),
        grants: Vec::new(),
        reservations: Vec::new(),
    };
    let mut holds: Vec<ReservationId> = Vec::new();
    let mut now = 1_000;
    for (step, act) in acts.iter().enumerate() {
        let key = format!("act-{step}");
        let order = Order {
            key: &key,
            note: Note::default(),
            at: at(now),
        };
        let holdings = books.holdings();
        match act.clone() {
            Act::Wait(seconds) => now += seconds,
            Act::Grant {
                amount,
                priority,
                begins_in,
                lives,
                repays,
            } => {
                let begins = now + begins_in;
                let ends = lives.map(|lives| begins + lives);
                let new = NewGrant {
                    source: GrantSource::Api,
                    amount: whole(amount),
                    priority,
                    effective_at: at(begins),
                    expires_at: ends.map(at),
                    metadata: Metadata::new(),
                    repays_overage: repays,
                };
                books.apply(grant(&holdings, new, &order).0);
                let repaid = if repays && begins_in == 0 {
                    amount.min(model.owed)
                } else {
                    0
                };
                model.owed -= repaid;
                model.lots.push(Lot {
                    left: amount - repaid,
                    priority,
                    begins,
                    ends,
                });
                // No two grants are of one age: what burns first is never left to their ids.
                now += 1;
            }
            Act::Debit(amount) => {
                let expected = model.take(amount, now);
                model.used += expected.as_ref().map_or(0, |_| amount);
                let done = debit(&holdings, &whole(amount), &order);
                assert_eq!(done.is_ok(), expected.is_some(), "{act:?}");
                done.into_iter().for_each(|posting| books.apply(posting));
            }
            Act::VoidAny(amount) => {
                let expected = model.take(amount, now);
                model.voided += expected.as_ref().map_or(0, |_| amount);
                let done = void(&holdings, None, Some(&whole(amount)), &order);
                assert_eq!(done.is_ok(), expected.is_some(), "{act:?}");
                done.into_iter().for_each(|posting| books.apply(posting));
            }
            Act::VoidOne { which, amount } => {
                let Some(id) = books.grants.get(which).map(|grant| grant.grant_id.clone()) else {
                    continue;
                };
                let lot = &mut model.lots[which];
                let is_over = lot.ends.is_some_and(|ends| ends <= now);
                let expected = !is_over && lot.left >= amount;
                if expected {
                    lot.left -= amount;
                    model.voided += amount;
                }
                let done = void(&holdings, Some(&id), Some(&whole(amount)), &order);
                assert_eq!(done.is_ok(), expected, "{act:?}");
                done.into_iter().for_each(|posting| books.apply(posting));
            }
            Act::Hold(amount) => {
                let expected = model.take(amount, now);
                let done = hold(&holdings, &whole(amount), at(now + 5), &order);
                assert_eq!(done.is_ok(), expected.is_some(), "{act:?}");
                if let (Ok((posting, reservation)), Some(parts)) = (done, expected) {
                    holds.push(reservation.reservation_id);
                    model.holds.push(Held {
                        parts,
                        ends: now + 5,
                        is_open: true,
                    });
                    books.apply(posting);
                }
            }
            Act::Commit { which, amount } => {
                let Some(reservation) = find(&books, holds.get(which)) else {
                    continue;
                };
                let held = model.holds[which].clone();
                let total: i64 = held.parts.iter().map(|(_, part)| part).sum();
                let mut after = model.clone();
                let more = after.take((amount - total).max(0), now);
                let expected = held.is_open && now < held.ends && more.is_some();
                let done = commit(&holdings, &reservation, &whole(amount), &order);
                assert_eq!(done.is_ok(), expected, "{act:?}");
                if let Ok((posting, _)) = done {
                    let mut left = amount;
                    for (lot, part) in held.parts {
                        let used = part.min(left);
                        left -= used;
                        after.give_back((lot, part - used), now);
                    }
                    after.used += amount;
                    after.holds[which].is_open = false;
                    model = after;
                    books.apply(posting);
                }
            }
            Act::Release { which } => {
                let Some(reservation) = find(&books, holds.get(which)) else {
                    continue;
                };
                let held = model.holds[which].clone();
                let done = release(&holdings, &reservation, &order);
                assert_eq!(done.is_ok(), held.is_open);
                if let Ok((posting, _)) = done {
                    held.parts
                        .iter()
                        .for_each(|part| model.give_back(*part, now));
                    model.holds[which].is_open = false;
                    books.apply(posting);
                }
            }
            Act::Expire => {
                for lot in model
                    .lots
                    .iter_mut()
                    .filter(|lot| lot.ends.is_some_and(|end| end <= now))
                {
                    model.expired += std::mem::take(&mut lot.left);
                }
                books.apply(expire(&holdings, &order));
            }
            Act::Fund(amount) => {
                let adjustment = wallet::Adjustment {
                    customer_id: CustomerId::new("cus_1").unwrap(),
                    currency: Currency::USD,
                    amount,
                    key: &key,
                    note: Note::default(),
                    at: at(now),
                };
                let done = wallet::adjust(&books.books, adjustment);
                assert_eq!(done.is_ok(), model.wallet + amount >= 0, "{act:?}");
                if let Ok(posting) = done {
                    model.wallet += amount;
                    books.apply(posting);
                }
            }
            Act::Overuse(amount) => {
                let invoice = crate::id::InvoiceId::derived(&[&key]);
                let mut book = order.book(&holdings);
                book.overage(
                    &holdings.credit_entitlement_id,
                    &invoice,
                    "usage",
                    &whole(amount),
                );
                model.owed += amount;
                model.used += amount;
                let transfers = book.into_transfers();
                books.apply(Posting {
                    transfers,
                    ..order.posting(&holdings)
                });
            }
        }
        compare(&model, &books, now);
    }
}

fn find(books: &Bench, id: Option<&ReservationId>) -> Option<Reservation> {
    let mut all = books.reservations.iter();
    all.find(|held| Some(&held.reservation_id) == id).cloned()
}

fn compare(model: &Model, books: &Bench, now: i64) {
    let kind = LedgerUnit::Credits(EntitlementId::from_text("cde_1"));
    let balance = |account| books.books.balance(&kind, account).to_i64().unwrap();
    let open = model.holds.iter().filter(|held| held.is_open);
    let held: i64 = open
        .flat_map(|held| &held.parts)
        .map(|(_, part)| part)
        .sum();
    let left: Vec<i64> = model.lots.iter().map(|lot| lot.left).collect();
    let stored: Vec<i64> = books
        .grants
        .iter()
        .map(|g| g.remaining.to_i64().unwrap())
        .collect();
    assert_eq!(stored, left);
    assert_eq!(balance(Account::CreditsAvailable), left.iter().sum::<i64>());
    assert_eq!(balance(Account::CreditsHeld), held);
    assert_eq!(balance(Account::CreditsConsumed), model.used);
    assert_eq!(balance(Account::CreditsVoided), model.voided);
    assert_eq!(balance(Account::CreditsExpired), model.expired);
    assert_eq!(balance(Account::CreditsOwed), model.owed);
    assert_eq!(wallet::balance(&books.books, Currency::USD), model.wallet);
    books.books.check().unwrap();
    let good = model
        .lots
        .iter()
        .filter(|lot| lot.begins <= now && lot.ends.is_none_or(|ends| now < ends));
    let good: i64 = good.map(|lot| lot.left).sum();
    assert_eq!(books.holdings().available(at(now)), whole(good));
    // Balances and grants can be had from the entries alone.
    books.audit.compare_books(&books.books).unwrap();
    for grant in &books.grants {
        let stored = GrantBalance {
            remaining: grant.remaining.clone(),
            held: grant.held.clone(),
            expired: grant.expired.clone(),
        };
        books.audit.compare_grant(&grant.grant_id, stored).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_callers_do_the_books_are_those_of_the_model(acts in acts()) {
        run(&acts);
    }
}

/// A bench with grants of these amounts, in the order of burning.
fn with_grants(amounts: &[i64]) -> Bench {
    let mut books = Bench {
        books: Books::default(),
        audit: Audit::default(),
        grants: Vec::new(),
        reservations: Vec::new(),
    };
    for (index, amount) in amounts.iter().enumerate() {
        let key = format!("grant-{index}");
        let order = Order {
            key: &key,
            note: Note::default(),
            at: at(0),
        };
        let new = NewGrant {
            source: GrantSource::Api,
            amount: whole(*amount),
            priority: u32::try_from(index).unwrap(),
            effective_at: at(0),
            expires_at: None,
            metadata: Metadata::new(),
            repays_overage: false,
        };
        let posting = grant(&books.holdings(), new, &order).0;
        books.apply(posting);
    }
    books
}

fn order(key: &str) -> Order<'_> {
    Order {
        key,
        note: Note::default(),
        at: at(1),
    }
}

fn left(books: &Bench) -> Vec<i64> {
    books
        .grants
        .iter()
        .map(|grant| grant.remaining.to_i64().unwrap())
        .collect()
}

#[test]
fn oracle_k19_a_void_goes_over_grants_in_the_order_of_burning() {
    let mut books = with_grants(&[20, 25, 25]);
    let posting = void(&books.holdings(), None, Some(&whole(50)), &order("void")).unwrap();
    let taken: Vec<String> = posting
        .transfers
        .iter()
        .map(|t| t.amount.to_string())
        .collect();
    assert_eq!(taken, ["20", "25", "5"]);
    books.apply(posting);
    assert_eq!(left(&books), [0, 0, 20]);
}

#[test]
fn oracle_k24b_a_second_debit_goes_on_with_the_next_grant() {
    // 500 a month and 200 for ever: using 400 leaves 100 and 200, using 200 more leaves 0 and 100.
    let mut books = with_grants(&[500, 200]);
    for (key, amount, expected) in [("one", 400, [100, 200]), ("two", 200, [0, 100])] {
        let posting = debit(&books.holdings(), &whole(amount), &order(key)).unwrap();
        books.apply(posting);
        assert_eq!(left(&books), expected);
    }
}

#[test]
fn oracle_k28_reservations_are_committed_beyond_in_part_or_released() {
    let check = |committed: Option<i64>, expected: i64| {
        let mut books = with_grants(&[5, 10]);
        let (posting, held) = hold(&books.holdings(), &whole(8), at(10), &order("k")).unwrap();
        books.apply(posting);
        assert_eq!(left(&books), [0, 7]);
        let end = match committed {
            Some(amount) => commit(&books.holdings(), &held, &whole(amount), &order("end")),
            None => release(&books.holdings(), &held, &order("end")),
        };
        let (posting, after) = end.unwrap();
        books.apply(posting);
        assert_eq!(left(&books).iter().sum::<i64>(), expected);
        assert!(release(&books.holdings(), &after, &order("again")).is_err());
    };
    check(Some(11), 4); // K28b
    check(None, 15); // K28f
    check(Some(8), 7);
    check(Some(3), 12);
}

#[test]
fn oracle_k33_what_is_pending_is_posted_in_part_and_never_overdrawn() {
    // K33b: pending 123, post 100: nothing stays pending and 23 come back.
    let mut books = with_grants(&[200]);
    let (posting, held) = hold(&books.holdings(), &whole(123), at(10), &order("k")).unwrap();
    books.apply(posting);
    let (posting, _) = commit(&books.holdings(), &held, &whole(100), &order("end")).unwrap();
    books.apply(posting);
    assert_eq!(
        (left(&books), books.grants[0].held.to_string()),
        (vec![100], "0".to_owned())
    );
    // K33d: 100 given, 70 used: 50 more are refused at the hold already.
    let mut books = with_grants(&[100]);
    let posting = debit(&books.holdings(), &whole(70), &order("use")).unwrap();
    books.apply(posting);
    let refused = hold(&books.holdings(), &whole(50), at(10), &order("k")).unwrap_err();
    assert_eq!(
        refused,
        Refusal::Insufficient {
            available: whole(30)
        }
    );
}

#[test]
fn what_open_periods_have_used_cannot_be_taken() {
    let books = with_grants(&[20, 10]);
    let mut holdings = books.holdings();
    holdings.live[0].remaining = whole(5);
    assert_eq!(holdings.available(at(1)), whole(15));
    assert!(debit(&holdings, &whole(16), &order("k")).is_err());
    let posting = debit(&holdings, &whole(12), &order("k")).unwrap();
    let left: Vec<String> = posting
        .grants_changed
        .iter()
        .map(|change| change.after.remaining.to_string())
        .collect();
    assert_eq!(
        left,
        ["15", "3"],
        "15 are for the usage, 7 of the second for the debit"
    );
}

#[test]
fn an_overdue_reservation_cannot_be_committed_and_its_credits_expire_with_their_grant() {
    let mut books = with_grants(&[20]);
    books.grants[0].expires_at = Some(at(12));
    let (posting, held) = hold(&books.holdings(), &whole(8), at(10), &order("k")).unwrap();
    books.apply(posting);
    let late = Order {
        at: at(15),
        ..order("end")
    };
    let refused = commit(&books.holdings(), &held, &whole(8), &late).unwrap_err();
    assert_eq!(refused, Refusal::Ended(ReservationStatus::Expired));
    let (posting, after) = release(&books.holdings(), &held, &late).unwrap();
    books.apply(posting);
    assert_eq!(after.status, ReservationStatus::Expired);
    let grant = &books.grants[0];
    let balances = [&grant.remaining, &grant.held, &grant.expired].map(ToString::to_string);
    assert_eq!(balances, ["12", "0", "8"]);
}
