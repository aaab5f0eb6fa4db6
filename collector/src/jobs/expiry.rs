//! Books the expiry of grants that end by themselves, at their time.
//!
//! A balance never waits for this: a grant that is over is not counted, booked or not.

use crate::{
    billing::{self, BillingError},
    bookkeeping::teller::{self, Order},
    credits::Grant,
    ledger::Note,
    storage::{PostOutcome, Storage, StorageError},
    test_clock::Present,
};

/// Overdue grants looked at together at first.
const LOOK: usize = 256;
/// How often a grant is decided on anew within one look, when something else changes the customer's credits meanwhile.
const DECISIONS_MAX: u32 = 5;

/// Ends every grant that is over for those who live in `present`.
pub(crate) async fn end_overdue<S: Storage + ?Sized>(
    storage: &S,
    present: &Present,
) -> Result<(), StorageError> {
    let mut limit = LOOK;
    loop {
        let timeline = present.timeline.as_ref();
        let overdue = storage.overdue_grants(timeline, present.now, limit).await?;
        let is_all = overdue.len() < limit;
        let mut ended = false;
        for grant in overdue {
            ended |= end(storage, present, &grant).await?;
        }
        if is_all {
            return Ok(());
        }
        if !ended {
            // Those in front cannot be ended now.
            limit = limit.saturating_mul(2);
        }
    }
}

/// Ends one, and whatever else of these credits is over; false when it has to wait for a later look.
async fn end<S: Storage + ?Sized>(
    storage: &S,
    present: &Present,
    grant: &Grant,
) -> Result<bool, StorageError> {
    let key = format!("expiry:{}", present.now);
    let order = Order {
        key: &key,
        note: Note::default(),
        at: present.now,
    };
    let (customer, entitlement) = (&grant.customer_id, &grant.credit_entitlement_id);
    for _ in 0..DECISIONS_MAX {
        let holdings = match billing::holdings(storage, customer, entitlement, present.now).await {
            Ok(holdings) => holdings,
            Err(BillingError::Storage(error)) if error.is_outage() => return Err(error),
            Err(error) => {
                // The billing run says so, loudly and once.
                tracing::debug!(%error, grant = %grant.grant_id, "a grant stays until its period can be billed");
                return Ok(false);
            }
        };
        // One that was ended meanwhile, with others of its kind, is not over any more.
        let posting = teller::expire(&holdings, &order);
        if posting.is_empty() || storage.post(posting).await? == PostOutcome::Posted {
            return Ok(true);
        }
    }
    Ok(false)
}
