//! Gives back what reservations set aside when their time is over.

use crate::{
    billing,
    bookkeeping::teller::{self, Order},
    credits::Reservation,
    ledger::Note,
    storage::{PostOutcome, Storage, StorageError},
    test_clock::Present,
};

/// Overdue reservations looked at together at first.
const LOOK: usize = 256;
/// How often a reservation is decided on anew within one look, when something else changes the customer's credits meanwhile.
const DECISIONS_MAX: u32 = 5;

/// Ends every reservation that is overdue for those who live in `present`.
pub(super) async fn end_overdue<S: Storage + ?Sized>(
    storage: &S,
    present: &Present,
) -> Result<(), StorageError> {
    let mut limit = LOOK;
    loop {
        let timeline = present.timeline.as_ref();
        let overdue = storage
            .overdue_reservations(timeline, present.now, limit)
            .await?;
        let is_all = overdue.len() < limit;
        let mut ended = false;
        for reservation in overdue {
            ended |= end(storage, present, &reservation).await?;
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

/// Ends one; false when it has to wait for a later look.
async fn end<S: Storage + ?Sized>(
    storage: &S,
    present: &Present,
    reservation: &Reservation,
) -> Result<bool, StorageError> {
    let key = format!("end:{}", reservation.reservation_id);
    let order = Order {
        key: &key,
        note: Note::default(),
        at: present.now,
    };
    let (customer, entitlement) = (&reservation.customer_id, &reservation.credit_entitlement_id);
    for _ in 0..DECISIONS_MAX {
        // One that was ended meanwhile is no longer as it was read.
        let stored = storage.reservation(&reservation.reservation_id).await?;
        let Some(stored) = stored.filter(|stored| stored.is_overdue(present.now)) else {
            return Ok(true);
        };
        let holdings = match billing::holdings(storage, customer, entitlement, present.now).await {
            Ok(holdings) => holdings,
            Err(billing::BillingError::Storage(error)) if error.is_outage() => return Err(error),
            Err(error) => {
                // The billing run says so, loudly and once.
                tracing::debug!(%error, reservation = %stored.reservation_id, "a reservation stays until its period can be billed");
                return Ok(false);
            }
        };
        let Ok((posting, _)) = teller::release(&holdings, &stored, &order) else {
            return Ok(true);
        };
        if storage.post(posting).await? == PostOutcome::Posted {
            return Ok(true);
        }
    }
    Ok(false)
}
