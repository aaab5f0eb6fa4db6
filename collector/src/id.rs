//! Identifiers of what the collector creates: prefixed, opaque strings.
//!
//! What a person creates gets a fresh id that sorts by its time of birth. What billing creates gets a *derived* id, a
//! function of its cause: the second run of a crashed billing job then writes the very same invoice, grants and transfers.

use serde::{Deserialize, Serialize};
use std::fmt;
use submeter_common::time::Timestamp;
use uuid::Uuid;

/// Bytes of the digest kept in a derived id: 128 bits, as many as a fresh id has.
const DERIVED_BYTES: usize = 16;

/// What compatible replies and messages carry as the business: this collector serves one.
pub(crate) const BUSINESS_ID: &str = "biz_submeter";

/// What compatible replies and messages carry as the brand.
pub(crate) const BRAND_ID: &str = "brd_submeter";

macro_rules! prefixed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// What every id of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// Makes a fresh id, which sorts by `now` and is otherwise random.
            #[must_use]
            pub fn fresh(now: Timestamp) -> Self {
                Self(fresh($prefix, now))
            }

            /// Makes the id that always belongs to `cause`: the same parts give the same id.
            #[must_use]
            pub fn derived(cause: &[&str]) -> Self {
                Self(derived($prefix, cause))
            }

            /// Takes an id as a caller spelled it; one that was never issued is simply not found.
            #[must_use]
            pub fn from_text(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// Returns the text of the id, prefix included.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

prefixed_id!(
    /// Names a product.
    ProductId,
    "pdt_"
);
prefixed_id!(
    /// Names a subscription.
    SubscriptionId,
    "sub_"
);
prefixed_id!(
    /// Names an invoice.
    InvoiceId,
    "inv_"
);
prefixed_id!(
    /// Names a credit entitlement: a kind of credits.
    EntitlementId,
    "cde_"
);
prefixed_id!(
    /// Names the attachment of an entitlement to a product.
    AttachmentId,
    "cea_"
);
prefixed_id!(
    /// Names a grant of credits to a customer.
    GrantId,
    "cgr_"
);
prefixed_id!(
    /// Names one transfer of the ledger.
    TransferId,
    "cle_"
);
prefixed_id!(
    /// Names a customer's balance of one kind of credits.
    BalanceId,
    "cbl_"
);
prefixed_id!(
    /// Names a reservation of credits.
    ReservationId,
    "rsv_"
);

prefixed_id!(
    /// Names a credit note.
    CreditNoteId,
    "crn_"
);
prefixed_id!(
    /// Names a payment.
    PaymentId,
    "pay_"
);
prefixed_id!(
    /// Names a message of the outbox.
    MessageId,
    "msg_"
);

prefixed_id!(
    /// Names a threshold of usage or spend.
    ThresholdId,
    "thr_"
);

prefixed_id!(
    /// Names a test clock.
    TestClockId,
    "clk_"
);

/// Makes a fresh id text for kinds whose type is defined elsewhere: it sorts by `now` and is otherwise random.
pub(crate) fn fresh(prefix: &str, now: Timestamp) -> String {
    // Before 1970 an id would not sort; it stays unique.
    let micros = u64::try_from(now.as_micros()).unwrap_or(0);
    let seconds = micros / 1_000_000;
    let nanos = u32::try_from((micros % 1_000_000) * 1_000).unwrap_or(0);
    let stamp = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos);
    format!("{prefix}{}", Uuid::new_v7(stamp).simple())
}

fn derived(prefix: &str, cause: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(prefix.as_bytes());
    for part in cause {
        // The length before each part keeps ("ab","c") apart from ("a","bc").
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut id = String::from(prefix);
    for byte in hasher.finalize().as_bytes().iter().take(DERIVED_BYTES) {
        id.push_str(&format!("{byte:02x}"));
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_depend_on_every_part_and_its_bounds() {
        assert_eq!(
            InvoiceId::derived(&["sub_1", "0"]),
            InvoiceId::derived(&["sub_1", "0"])
        );
        assert_ne!(
            InvoiceId::derived(&["sub_1", "0"]),
            InvoiceId::derived(&["sub_1", "1"])
        );
        assert_ne!(
            InvoiceId::derived(&["ab", "c"]),
            InvoiceId::derived(&["a", "bc"])
        );
        assert!(InvoiceId::derived(&["x"]).as_str().starts_with("inv_"));
    }

    #[test]
    fn fresh_ids_sort_by_birth_and_never_repeat() {
        let early = ProductId::fresh(Timestamp::from_micros(1_700_000_000_000_000));
        let late = ProductId::fresh(Timestamp::from_micros(1_700_000_001_000_000));
        assert!(early < late);
        assert_ne!(
            late,
            ProductId::fresh(Timestamp::from_micros(1_700_000_001_000_000))
        );
    }
}
