//! The journal's form of an event, and the bytes by which two payloads are told apart.
//!
//! ```text
//! version << 1 | timestamp_given   u8
//! timestamp                microseconds, zigzag varint
//! length of the shape      u16, little-endian
//! length of event_id       varint
//! shape    ┐ lengths of customer_id and event_name, varints
//!          │ pairs, varint, then each:
//!          │   length of the key, varint · tag u8 (0 string, 1 number, 2 false, 3 true)
//!          │   string: its length, varint; number: its compact form
//! texts    ┘ customer_id · event_name · each key and its string
//! event_id
//! ```
//!
//! All text stands together, so that it is checked to be UTF-8 once. Shape and texts stand together and hold neither id
//! nor time: they are the *payload*. The shape says where each text ends, so that no two payloads are the same bytes.

use std::{borrow::Cow, ops::Range};

use super::{Event, Value, metadata::Metadata};
use crate::{
    bytes::{CodecError, Reader, put_varint, unzigzag, zigzag},
    limits::METADATA_PAIRS_MAX,
    quantity::Quantity,
    time::Timestamp,
};

const VERSION: u8 = 1;

const STRING: u8 = 0;
const NUMBER: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;

/// Appends the journal form; answers where in `out` the payload is.
pub(super) fn encode(event: &Event<'_>, out: &mut Vec<u8>) -> Range<usize> {
    out.push(VERSION << 1 | u8::from(event.timestamp_given));
    put_varint(out, zigzag(event.timestamp.as_micros()));
    let shape_len_at = out.len();
    out.extend_from_slice(&[0; 2]);
    put_varint(out, event.event_id.len() as u64);
    let payload = out.len();
    put_shape(event, out);
    let shape_len = u16::try_from(out.len() - payload).expect("50 pairs take some 2 KiB at most");
    out[shape_len_at..shape_len_at + 2].copy_from_slice(&shape_len.to_le_bytes());
    put_texts(event, out);
    let payload = payload..out.len();
    out.extend_from_slice(event.event_id.as_bytes());
    payload
}

fn put_shape(event: &Event<'_>, out: &mut Vec<u8>) {
    put_varint(out, event.customer_id.len() as u64);
    put_varint(out, event.event_name.len() as u64);
    put_varint(out, event.metadata.len() as u64);
    for (key, value) in &event.metadata {
        put_varint(out, key.len() as u64);
        match value {
            Value::String(text) => {
                out.push(STRING);
                put_varint(out, text.len() as u64);
            }
            Value::Number(number) => {
                out.push(NUMBER);
                out.extend_from_slice(number.to_bytes().as_slice());
            }
            Value::Bool(flag) => out.push(if *flag { TRUE } else { FALSE }),
        }
    }
}

fn put_texts(event: &Event<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(event.customer_id.as_bytes());
    out.extend_from_slice(event.event_name.as_bytes());
    for (key, value) in &event.metadata {
        out.extend_from_slice(key.as_bytes());
        if let Value::String(text) = value {
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// The payload within a journal form.
pub(super) fn payload(bytes: &[u8]) -> Result<&[u8], CodecError> {
    let head = Head::read(bytes)?;
    let end = head.rest.len().checked_sub(head.event_id_len);
    end.and_then(|end| head.rest.get(..end))
        .ok_or(CodecError::Truncated("event_id"))
}

/// What stands before the payload.
struct Head<'a> {
    timestamp_given: bool,
    timestamp: Timestamp,
    shape_len: usize,
    event_id_len: usize,
    rest: &'a [u8],
}

impl<'a> Head<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let first = reader.byte("event version")?;
        if first >> 1 != VERSION {
            return Err(CodecError::UnsupportedVersion(first >> 1));
        }
        let timestamp = Timestamp::from_micros(unzigzag(reader.varint("timestamp")?));
        let shape_len = u16::from_le_bytes([reader.byte("shape")?, reader.byte("shape")?]);
        Ok(Head {
            timestamp_given: first & 1 == 1,
            timestamp,
            shape_len: usize::from(shape_len),
            event_id_len: reader.count(usize::MAX, "event_id")?,
            rest: reader.rest(),
        })
    }
}

/// Reads the journal form. The metadata are kept in `room`, which must be empty.
pub(super) fn decode<'a>(bytes: &'a [u8], room: Metadata<'a>) -> Result<Event<'a>, CodecError> {
    let head = Head::read(bytes)?;
    let (shape, texts) = head
        .rest
        .split_at_checked(head.shape_len)
        .ok_or(CodecError::Truncated("shape"))?;
    let (mut shape, mut texts) = (Reader::new(shape), Texts::new(texts)?);
    let customer_id = texts.next(&mut shape, "customer_id")?;
    let event_name = texts.next(&mut shape, "event_name")?;
    let metadata = metadata(&mut shape, &mut texts, room)?;
    if !shape.is_empty() || texts.rest.len() != head.event_id_len {
        return Err(CodecError::Invalid("event length"));
    }
    Ok(Event {
        event_id: Cow::Borrowed(texts.rest),
        customer_id: Cow::Borrowed(customer_id),
        event_name: Cow::Borrowed(event_name),
        timestamp: head.timestamp,
        timestamp_given: head.timestamp_given,
        metadata,
    })
}

fn metadata<'a>(
    shape: &mut Reader<'a>,
    texts: &mut Texts<'a>,
    mut pairs: Metadata<'a>,
) -> Result<Metadata<'a>, CodecError> {
    let count = shape.count(METADATA_PAIRS_MAX, "metadata")?;
    pairs.reserve_exact(count);
    for _ in 0..count {
        let key = Cow::Borrowed(texts.next(shape, "metadata key")?);
        let value = match shape.byte("metadata tag")? {
            STRING => Value::String(Cow::Borrowed(texts.next(shape, "metadata string")?)),
            NUMBER => Value::Number(Quantity::read(shape)?),
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            _ => return Err(CodecError::Invalid("metadata tag")),
        };
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// The texts that are still to be given out.
struct Texts<'a> {
    rest: &'a str,
}

impl<'a> Texts<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let rest = std::str::from_utf8(bytes).map_err(|_| CodecError::Invalid("event text"))?;
        Ok(Texts { rest })
    }

    /// The next text, as long as the shape says.
    fn next(&mut self, shape: &mut Reader<'_>, what: &'static str) -> Result<&'a str, CodecError> {
        let len = usize::try_from(shape.varint(what)?).map_err(|_| CodecError::Invalid(what))?;
        if len > self.rest.len() {
            return Err(CodecError::Truncated(what));
        }
        // Not between two characters: such lengths no writer writes.
        let (text, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(CodecError::Invalid(what))?;
        self.rest = rest;
        Ok(text)
    }
}
