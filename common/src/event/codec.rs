//! The journal's form of an event, and the bytes by which two payloads are told apart.
//!
//! ```text
//! version << 1 | timestamp_given   u8
//! event_id, customer_id, event_name   length-prefixed UTF-8
//! timestamp   microseconds, zigzag varint
//! pairs   varint, then each: key · tag u8 (0 string, 1 number, 2 false, 3 true) · value
//! ```

use std::{borrow::Cow, hash::Hasher};

use super::{Event, Value};
use crate::{
    bytes::{CodecError, Reader, put_str, put_varint, unzigzag, zigzag},
    limits::METADATA_PAIRS_MAX,
    quantity::Quantity,
    time::Timestamp,
};

const VERSION: u8 = 1;

const STRING: u8 = 0;
const NUMBER: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;

pub(super) fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
    out.push(VERSION << 1 | u8::from(event.timestamp_given));
    put_str(out, &event.event_id);
    put_str(out, &event.customer_id);
    put_str(out, &event.event_name);
    put_varint(out, zigzag(event.timestamp.as_micros()));
    put_varint(out, event.metadata.len() as u64);
    for (key, value) in &event.metadata {
        put_str(out, key);
        match value {
            Value::String(text) => {
                out.push(STRING);
                put_str(out, text);
            }
            Value::Number(number) => {
                out.push(NUMBER);
                out.extend_from_slice(number.to_bytes().as_slice());
            }
            Value::Bool(flag) => out.push(if *flag { TRUE } else { FALSE }),
        }
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Event<'_>, CodecError> {
    let mut reader = Reader::new(bytes);
    let head = reader.byte("event version")?;
    if head >> 1 != VERSION {
        return Err(CodecError::UnsupportedVersion(head >> 1));
    }
    let event = Event {
        timestamp_given: head & 1 == 1,
        event_id: Cow::Borrowed(reader.str("event_id")?),
        customer_id: Cow::Borrowed(reader.str("customer_id")?),
        event_name: Cow::Borrowed(reader.str("event_name")?),
        timestamp: Timestamp::from_micros(unzigzag(reader.varint("timestamp")?)),
        metadata: metadata(&mut reader)?,
    };
    if reader.is_empty() {
        Ok(event)
    } else {
        Err(CodecError::Invalid("event length"))
    }
}

fn metadata<'a>(reader: &mut Reader<'a>) -> Result<Vec<(Cow<'a, str>, Value<'a>)>, CodecError> {
    let pairs = reader.count(METADATA_PAIRS_MAX, "metadata")?;
    let mut metadata = Vec::with_capacity(pairs);
    for _ in 0..pairs {
        let key = Cow::Borrowed(reader.str("metadata key")?);
        let value = match reader.byte("metadata tag")? {
            STRING => Value::String(Cow::Borrowed(reader.str("metadata string")?)),
            NUMBER => Value::Number(Quantity::read(reader)?),
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            _ => return Err(CodecError::Invalid("metadata tag")),
        };
        metadata.push((key, value));
    }
    Ok(metadata)
}

/// Every part is length-prefixed or of fixed size, so that no two payloads feed the same bytes.
pub(super) fn hash_payload(event: &Event<'_>, hasher: &mut impl Hasher) {
    hash_str(&event.customer_id, hasher);
    hash_str(&event.event_name, hasher);
    if event.timestamp_given {
        hasher.write(&[1]);
        hasher.write(&event.timestamp.as_micros().to_le_bytes());
    } else {
        hasher.write(&[0]);
    }
    for (key, value) in &event.metadata {
        hash_str(key, hasher);
        match value {
            Value::String(text) => {
                hasher.write(&[STRING]);
                hash_str(text, hasher);
            }
            Value::Number(number) => {
                hasher.write(&[NUMBER]);
                hasher.write(&number.to_le_bytes());
            }
            Value::Bool(flag) => hasher.write(&[if *flag { TRUE } else { FALSE }]),
        }
    }
}

fn hash_str(text: &str, hasher: &mut impl Hasher) {
    hasher.write(&(text.len() as u64).to_le_bytes());
    hasher.write(text.as_bytes());
}
