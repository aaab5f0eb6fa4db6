#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    id::{EntitlementId, GrantId, TransferId},
    ledger::{Audit, Cause, Fault, Note},
};
use submeter_common::{CustomerId, Timestamp};

fn tokens() -> LedgerUnit {
    LedgerUnit::Credits(EntitlementId::from_text("cde_1"))
}

/// A movement of `amount` from the second account to the first, under `key`.
fn transfer(key: &str, debit: Account, credit: Account, amount: i64) -> Transfer {
    Transfer {
        transfer_id: TransferId::derived(&[key]),
        customer_id: CustomerId::new("cus_1").unwrap(),
        unit: tokens(),
        debit,
        credit,
        amount: Decimal::from(amount),
        idempotency_key: key.to_owned(),
        at: Timestamp::from_micros(0),
        cause: Cause::Granted {
            grant_id: GrantId::from_text("cgr_1"),
        },
        note: Note::default(),
    }
}

/// Three entries: 100 given, 30 used, 20 forfeited.
fn chain() -> (Books, Vec<Entry>) {
    use Account::{CreditsAvailable, CreditsConsumed, CreditsExpired, CreditsIssued};
    let mut books = Books::default();
    let transfers = [
        transfer("a", CreditsAvailable, CreditsIssued, 100),
        transfer("b", CreditsConsumed, CreditsAvailable, 30),
        transfer("c", CreditsExpired, CreditsAvailable, 20),
    ];
    let entries = transfers.map(|transfer| books.post(transfer).unwrap());
    (books, entries.into())
}

#[test]
fn balances_are_told_on_the_side_on_which_they_grow_and_add_up_to_zero() {
    let (books, entries) = chain();
    let balance = |account| books.balance(&tokens(), account).to_string();
    assert_eq!(balance(Account::CreditsIssued), "100");
    assert_eq!(balance(Account::CreditsAvailable), "50");
    assert_eq!(balance(Account::CreditsConsumed), "30");
    assert_eq!(entries[2].standing.has.to_string(), "50");
    assert_eq!(books.entries, 3);
    assert!(books.check().is_ok());
}

#[test]
fn what_is_not_there_cannot_be_spent_and_a_refusal_changes_nothing() {
    let (mut books, _) = chain();
    let before = books.clone();
    let check = |books: &mut Books, transfer: Transfer, expected: &str| {
        let error = books.post(transfer).unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
    };
    use Account::{CreditsAvailable, CreditsConsumed, CreditsOwed, Receivable};
    let over = transfer("d", CreditsConsumed, CreditsAvailable, 51);
    check(&mut books, over, "Overdrawn");
    let repaid_too_much = transfer("d", CreditsOwed, CreditsAvailable, 1);
    check(&mut books, repaid_too_much, "Overdrawn");
    for amount in [0, -1] {
        let nothing = transfer("d", CreditsConsumed, CreditsAvailable, amount);
        check(&mut books, nothing, "Malformed");
    }
    let itself = transfer("d", CreditsAvailable, CreditsAvailable, 1);
    check(&mut books, itself, "Malformed");
    let other_unit = transfer("d", Receivable, CreditsAvailable, 1);
    check(&mut books, other_unit, "Malformed");
    assert_eq!(books, before);
}

#[test]
fn money_that_is_owed_can_turn_and_a_wallet_cannot() {
    let money = |debit, credit, amount| Transfer {
        unit: LedgerUnit::Money(crate::money::Currency::USD),
        ..transfer("m", debit, credit, amount)
    };
    let mut books = Books::default();
    // A correction in the customer's favour.
    assert!(
        books
            .post(money(Account::Revenue, Account::Receivable, 5))
            .is_ok()
    );
    assert!(
        books
            .post(money(Account::Receivable, Account::Wallet, 1))
            .is_ok()
    );
    assert!(
        books
            .post(money(Account::Wallet, Account::Receivable, 2))
            .is_err()
    );
}

#[test]
fn an_audit_finds_whatever_was_changed() {
    let audit = |entries: &[Entry]| -> Result<Audit, Fault> {
        let mut audit = Audit::default();
        entries.iter().try_for_each(|entry| audit.add(entry))?;
        Ok(audit)
    };
    let (books, entries) = chain();
    let whole = audit(&entries).unwrap();
    assert!(whole.compare_books(&books).is_ok());

    let spoiled = |spoil: fn(&mut Vec<Entry>)| {
        let mut entries = entries.clone();
        spoil(&mut entries);
        audit(&entries).map(|audit| audit.compare_books(&books))
    };
    let amount = spoiled(|entries| entries[1].transfer.amount = Decimal::from(31_i64));
    assert_eq!(amount.unwrap_err(), Fault::Digest(2));
    let time = spoiled(|entries| entries[2].transfer.at = Timestamp::from_micros(1));
    assert_eq!(time.unwrap_err(), Fault::Digest(3));
    let missing = spoiled(|entries| drop(entries.remove(1)));
    assert_eq!(
        missing.unwrap_err(),
        Fault::Gap {
            expected: 2,
            found: 3
        }
    );
    let cut = spoiled(|entries| drop(entries.pop()));
    assert_eq!(cut.unwrap().unwrap_err(), Fault::Books(2));
    let resealed = spoiled(|entries| {
        let mut other = Books::default();
        entries[0].transfer.amount = Decimal::from(1_000_i64);
        entries[0] = other.post(entries[0].transfer.clone()).unwrap();
    });
    assert_eq!(resealed.unwrap_err(), Fault::Chain(2));
    let resealed_in_place = spoiled(|entries| {
        entries[1].transfer.amount = Decimal::from(31_i64);
        let standing = entries[1].standing.clone();
        entries[1] = Entry::seal(
            2,
            entries[1].previous,
            entries[1].transfer.clone(),
            standing,
        );
    });
    assert_eq!(resealed_in_place.unwrap_err(), Fault::Digest(2));
}
