//! Entries of credits as callers read them and as the world is told of them.
//!
//! Each entry that moves what a customer has or owes is a message, written with it: so whatever books credits, tells.

use crate::{
    id::{BRAND_ID, BUSINESS_ID, EntitlementId, GrantId, TransferId},
    ledger::{Account, Entry, LedgerUnit, TransactionType, Transfer},
    metadata::Metadata,
    money::Decimal,
    outbox::{NewMessage, Topic},
};
use serde::Serialize;
use submeter_common::{CustomerId, Timestamp};

/// An entry of credits, in the form that compatible clients know.
#[derive(Clone, Debug, Serialize)]
pub struct CreditEntry {
    id: TransferId,
    business_id: &'static str,
    brand_id: &'static str,
    credit_entitlement_id: EntitlementId,
    customer_id: CustomerId,
    transaction_type: Option<TransactionType>,
    is_credit: bool,
    amount: Decimal,
    balance_before: Decimal,
    balance_after: Decimal,
    overage_before: Decimal,
    overage_after: Decimal,
    grant_id: Option<GrantId>,
    reference_type: Option<&'static str>,
    reference_id: Option<String>,
    description: Option<String>,
    metadata: Metadata,
    created_at: Timestamp,
}

impl CreditEntry {
    /// Shows an entry; none for one of money.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        let transfer = &entry.transfer;
        let LedgerUnit::Credits(entitlement) = &transfer.unit else {
            return None;
        };
        let more = into(transfer, Account::CreditsAvailable);
        let owed_less = into(transfer, Account::CreditsOwed);
        let (reference_type, reference_id) = reference(transfer);
        Some(Self {
            id: transfer.transfer_id.clone(),
            business_id: BUSINESS_ID,
            brand_id: BRAND_ID,
            credit_entitlement_id: entitlement.clone(),
            customer_id: transfer.customer_id.clone(),
            transaction_type: entry.transaction_type(),
            is_credit: more.is_positive() || (more.is_zero() && owed_less.is_positive()),
            amount: transfer.amount.clone(),
            balance_before: &entry.standing.has - &more,
            balance_after: entry.standing.has.clone(),
            overage_before: &entry.standing.owes + &owed_less,
            overage_after: entry.standing.owes.clone(),
            grant_id: transfer.cause.grant_id().cloned(),
            reference_type,
            reference_id,
            description: transfer.note.reason.clone(),
            metadata: transfer.note.metadata.clone(),
            created_at: transfer.at,
        })
    }
}

/// Makes the message that an entry is; none for one that moves nothing that the customer has or owes.
#[must_use]
pub fn message(entry: &Entry) -> Option<NewMessage> {
    let topic = topic(entry)?;
    let transfer = &entry.transfer;
    let shown = CreditEntry::of(entry)?;
    let data = serde_json::to_value(shown).expect("an entry has no keys but texts");
    let cause = [transfer.transfer_id.as_str()];
    let customer = Some(transfer.customer_id.clone());
    Some(NewMessage::new(topic, &cause, transfer.at, customer, data))
}

fn topic(entry: &Entry) -> Option<Topic> {
    if !entry.touches(Account::CreditsAvailable) && !entry.touches(Account::CreditsOwed) {
        return None;
    }
    let is_into = |account| entry.transfer.debit == account;
    Some(match entry.transaction_type()? {
        TransactionType::CreditAdded => Topic::CreditAdded,
        TransactionType::CreditDeducted => Topic::CreditDeducted,
        TransactionType::CreditExpired => Topic::CreditExpired,
        // Out of one grant and into its successor: one thing that happened.
        TransactionType::CreditRolledOver if !is_into(Account::CreditsAvailable) => return None,
        TransactionType::CreditRolledOver => Topic::CreditRolledOver,
        TransactionType::RolloverForfeited => Topic::CreditRolloverForfeited,
        TransactionType::OverageCharged => Topic::CreditOverageCharged,
        TransactionType::OverageReset => Topic::CreditOverageReset,
        TransactionType::ManualAdjustment => Topic::CreditManualAdjustment,
        TransactionType::Refund => Topic::CreditRefunded,
    })
}

/// What a transfer adds to an account that grows on its debit side.
fn into(transfer: &Transfer, account: Account) -> Decimal {
    if transfer.debit == account {
        transfer.amount.clone()
    } else if transfer.credit == account {
        -&transfer.amount
    } else {
        Decimal::zero()
    }
}

fn reference(transfer: &Transfer) -> (Option<&'static str>, Option<String>) {
    if let Some(invoice) = transfer.cause.invoice_id() {
        return (Some("invoice"), Some(invoice.to_string()));
    }
    match transfer.cause.reservation_id() {
        Some(reservation) => (Some("reservation"), Some(reservation.to_string())),
        None => (None, None),
    }
}
