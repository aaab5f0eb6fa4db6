//! Customers: who usage belongs to and who is billed.

use crate::{id::TestClockId, metadata::Metadata};
use serde::{Deserialize, Serialize};
use submeter_common::{id::CustomerId, time::Timestamp};

/// A customer. Applications may choose the id; usage that arrives before the customer is known waits for it.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Customer {
    /// The id, which events name.
    pub customer_id: CustomerId,
    /// Display name.
    pub name: String,
    /// Where invoices would go.
    pub email: String,
    /// Telephone number, if told.
    pub phone_number: Option<String>,
    /// What the application attached.
    #[serde(default)]
    pub metadata: Metadata,
    /// The test clock that the customer lives by, for ever.
    #[serde(default)]
    pub test_clock: Option<TestClockId>,
    /// When the customer was made.
    pub created_at: Timestamp,
    /// When name, email, telephone number or metadata last changed.
    pub updated_at: Timestamp,
}
