//! Drafts that cannot be issued: one of a subscription at most, that of its oldest open period.

use super::database::Database;
use super::key::Kind;
use super::transaction::Transaction;
use crate::billing::{BlockedDraft, messages};
use crate::id::SubscriptionId;
use crate::storage::StorageError;

/// Keeps a draft, unless one of the same period and reason is kept.
pub(super) fn block(database: &Database, draft: BlockedDraft) -> Result<(), StorageError> {
    let mut write = Transaction::begin(database)?;
    let id = draft.subscription_id.as_str();
    let known: Option<BlockedDraft> = database.document(Kind::Draft, id)?;
    let is_known = known.is_some_and(|known| {
        known.closes_period == draft.closes_period && known.reason == draft.reason
    });
    if is_known {
        return Ok(());
    }
    write.put_document(Kind::Draft, id, &draft)?;
    write.put_message(messages::draft_blocked(&draft))?;
    write.commit()
}

/// Drops a subscription's draft: its period is closed.
pub(super) fn unblock(
    write: &mut Transaction<'_>,
    subscription: &SubscriptionId,
) -> Result<(), StorageError> {
    let id = subscription.as_str();
    if write.database.has_document(Kind::Draft, id)? {
        write.delete_document(Kind::Draft, id);
    }
    Ok(())
}
