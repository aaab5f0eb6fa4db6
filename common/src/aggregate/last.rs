//! `last`: the number of the greatest event, by event time and then by event id.
//!
//! The order is total (the value decides last), so that the result does not depend on the order of
//! arrival.

use bincode::{
    BorrowDecode, Decode, Encode,
    de::{BorrowDecoder, Decoder},
    error::DecodeError,
};

use crate::{
    bytes::decode_text, event::Event, limits::ID_BYTES_MAX, quantity::Quantity, time::Timestamp,
};

/// The latest number and the event it came from. Ordered by time, then id, then value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode)]
pub struct LastValue {
    /// The event's time.
    pub at: Timestamp,
    /// The event's id, which decides between events of the same time.
    pub event_id: String,
    /// The number.
    pub value: Quantity,
}

pub(super) fn observe(last: &mut Option<LastValue>, event: &Event<'_>, value: Quantity) {
    let Some(current) = last else {
        *last = Some(LastValue {
            at: event.timestamp,
            event_id: event.event_id.to_string(),
            value,
        });
        return;
    };
    let newer = (event.timestamp, event.event_id.as_ref(), value);
    if newer > (current.at, current.event_id.as_str(), current.value) {
        current.at = event.timestamp;
        // In place: the buffer is reused.
        current.event_id.clear();
        current.event_id.push_str(&event.event_id);
        current.value = value;
    }
}

pub(super) fn merge(last: &mut Option<LastValue>, other: &LastValue) {
    if last.as_ref().is_none_or(|current| other > current) {
        *last = Some(other.clone());
    }
}

impl<Context> Decode<Context> for LastValue {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Ok(LastValue {
            at: Timestamp::decode(decoder)?,
            event_id: decode_text(decoder, ID_BYTES_MAX)?,
            value: Quantity::decode(decoder)?,
        })
    }
}

impl<'de, Context> BorrowDecode<'de, Context> for LastValue {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}
