//! The invoice that would be issued if the open period ended now.

use super::{BillingError, NewInvoice, close, gather};
use crate::{storage::Storage, subscription::Subscription};
use submeter_common::Timestamp;

/// Computes the next invoice of an active subscription from what is known at `now`, by the very path that closes a period.
/// Nothing is written, and `complete` tells nothing yet.
///
/// # Errors
/// As for closing the period.
pub async fn preview<S: Storage + ?Sized>(
    storage: &S,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<NewInvoice, BillingError> {
    let closing = gather::gather(storage, subscription, Vec::new(), now).await?;
    let (invoice, _) = close::bill(&closing)?;
    Ok(NewInvoice {
        complete: false,
        ..invoice
    })
}
