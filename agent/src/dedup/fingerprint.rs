//! Short stand-ins for an event's id and payload, keyed by a secret of the state directory.
//!
//! 128 bits of SipHash-1-3 for the id: with 10^9 ids remembered, two ids share one by chance with a probability below
//! 10^-20, and without the key nobody can make two that do. 64 bits for the payload only tell a retry from a conflict.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use siphasher::sip128;
use submeter_common::event::Event;
use submeter_common::time::Timestamp;

/// An event id's 128-bit stand-in.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub(crate) struct Fingerprint(u128);

impl Fingerprint {
    /// The half that picks a place in a hash table or filter.
    #[inline]
    pub(crate) fn low(self) -> u64 {
        let bytes = self.0.to_le_bytes();
        u64::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default())
    }

    /// The half that orders fingerprints.
    #[inline]
    fn high(self) -> u64 {
        u64::try_from(self.0 >> 64).unwrap_or_default()
    }

    /// Which of 2^`log2` equal slices of all fingerprints holds this one.
    #[inline]
    pub(crate) fn slice(self, log2: u32) -> u32 {
        // In two steps, because none of 64 bits cannot be shifted out in one.
        let top = (self.high() >> 1).wrapping_shr(63u32.wrapping_sub(log2));
        u32::try_from(top).unwrap_or(u32::MAX)
    }

    /// The first fingerprint of a slice; none behind the last slice.
    pub(crate) fn first_of(slice: u32, log2: u32) -> Option<Self> {
        match (slice, u128::BITS - log2) {
            (0, _) => Some(Self(0)),
            (_, shift) => {
                let first = u128::from(slice).checked_shl(shift)?;
                (first >> shift == u128::from(slice)).then_some(Self(first))
            }
        }
    }

    /// The last fingerprint of a slice.
    pub(crate) fn last_of(slice: u32, log2: u32) -> Self {
        Self::first_of(slice.saturating_add(1), log2)
            .map_or(Self(u128::MAX), |next| Self(next.0 - 1))
    }

    /// Big-endian, so that keys sort as fingerprints do.
    pub(crate) fn to_be_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub(crate) fn from_be_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// Makes fingerprints with the state directory's secret.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Fingerprinter {
    id: sip128::SipHasher13,
    payload: SipHasher13,
}

impl Fingerprinter {
    /// Takes the secret.
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        Self {
            id: sip128::SipHasher13::new_with_key(key),
            payload: SipHasher13::new_with_key(key),
        }
    }

    /// The fingerprint of an event id.
    pub(crate) fn id(&self, event_id: &str) -> Fingerprint {
        Fingerprint(self.id.hash(event_id.as_bytes()).as_u128())
    }

    /// The fingerprint of everything else: the time, if the application gave one, and the encoded event's payload.
    pub(crate) fn payload(&self, event: &Event<'_>, payload: &[u8]) -> u64 {
        let given = event.timestamp_given.then_some(event.timestamp);
        let mut hasher = self.payload;
        hasher.write(&given.map_or(i64::MIN, Timestamp::as_micros).to_le_bytes());
        hasher.write(payload);
        hasher.finish()
    }
}
