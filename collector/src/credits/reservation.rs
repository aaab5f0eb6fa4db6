//! Reservations: credits set aside for work that has begun, until it is known what it took.

use super::burn_down::Draw;
use crate::{
    id::{EntitlementId, GrantId, ReservationId},
    money::Decimal,
};
use serde::{Deserialize, Serialize};
use submeter_common::{id::CustomerId, time::Timestamp};

/// Credits set aside. It ends once: committed (wholly, partly, or beyond what was held) or released.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reservation {
    /// The id.
    pub reservation_id: ReservationId,
    /// Whose credits.
    pub customer_id: CustomerId,
    /// The kind of credits.
    pub credit_entitlement_id: EntitlementId,
    /// Credits set aside.
    pub amount: Decimal,
    /// From which grants, in the order of burning.
    pub holds: Vec<Hold>,
    /// Where it stands.
    pub status: ReservationStatus,
    /// Credits used, once committed.
    pub committed: Decimal,
    /// When it is released by itself.
    pub expires_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Credits of one grant that are set aside.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// The grant.
    pub grant_id: GrantId,
    /// How many.
    pub amount: Decimal,
}

/// Where a reservation stands.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReservationStatus {
    /// The credits are set aside.
    Held,
    /// They were used, in part or whole; the rest went back.
    Committed,
    /// They all went back, as told.
    Released,
    /// They all went back, because nobody said anything in time.
    Expired,
}

impl Reservation {
    /// Whether its time is over although nobody ended it.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.status == ReservationStatus::Held && self.expires_at <= now
    }
}

impl From<&Draw> for Hold {
    fn from(draw: &Draw) -> Self {
        Self {
            grant_id: draw.grant_id.clone(),
            amount: draw.amount(),
        }
    }
}
