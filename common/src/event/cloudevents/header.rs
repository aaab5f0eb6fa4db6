//! The binary mode: attributes in HTTP headers, the data as it is.

use std::borrow::Cow;

use super::{
    super::{BatchRejection, Event, Rejection, RejectionCode, parse::malformed},
    data,
    envelope::{Envelope, check_name},
};
use crate::time::Timestamp;

/// Reads a CloudEvent in the binary mode.
///
/// `attributes` are the names and values of the headers that begin with `ce-`, names in lower case and
/// without it. `content_type` is the data's, JSON where there is none.
///
/// # Errors
/// The first attribute that is refused, or the data.
pub fn parse_binary<'a>(
    attributes: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    content_type: Option<&'a str>,
    body: &'a [u8],
    now: Timestamp,
) -> Result<Event<'a>, BatchRejection> {
    let mut envelope = Envelope::default();
    let filled = fill(&mut envelope, attributes, content_type, body);
    let event_id = envelope.event_id();
    filled
        .and_then(|()| envelope.finish(now))
        .map_err(|rejection| BatchRejection::of_event(event_id, rejection))
}

fn fill<'a>(
    envelope: &mut Envelope<'a>,
    attributes: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    content_type: Option<&'a str>,
    body: &'a [u8],
) -> Result<(), Rejection> {
    for (name, value) in attributes {
        if name == "datacontenttype" {
            return Err(content_type_twice());
        }
        if Envelope::knows(name) {
            envelope.take(name, Some(decode(name, value)?))?;
        } else {
            check_name(name)?;
        }
    }
    envelope.take("datacontenttype", content_type.map(Cow::Borrowed))?;
    envelope.take_data(data::document(body)?)
}

fn content_type_twice() -> Rejection {
    malformed(
        Some("datacontenttype"),
        "datacontenttype must be given as Content-Type, not as ce-datacontenttype".to_owned(),
    )
}

/// The value in a header: quotes removed, then percent-decoded once.
fn decode<'a>(name: &str, raw: &'a [u8]) -> Result<Cow<'a, str>, Rejection> {
    let broken = |how: &str| {
        let message = format!("{name} must be percent-encoded in its header, {how}");
        Rejection::new(RejectionCode::InvalidField, Some(name), message)
    };
    let text = std::str::from_utf8(raw)
        .ok()
        .filter(|text| text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')))
        .ok_or_else(|| broken("but holds bytes that are no printable ASCII"))?;
    let text = unquote(text).ok_or_else(|| broken("but has a quote that does not end"))?;
    percent_decode(text).map_err(broken)
}

/// Takes double-quoted strings out of their quotes, as senders of older versions write them.
fn unquote(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('"') {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut quoted = false;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => quoted = !quoted,
            '\\' if quoted => plain.push(chars.next()?),
            _ => plain.push(char),
        }
    }
    (!quoted).then_some(Cow::Owned(plain))
}

fn percent_decode(text: Cow<'_, str>) -> Result<Cow<'_, str>, &'static str> {
    if !text.contains('%') {
        return Ok(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let [high, low, after @ ..] = after else {
            return Err(NOT_HEX);
        };
        bytes.push(hex(*high)? << 4 | hex(*low)?);
        rest = after;
    }
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| "but what is encoded is not UTF-8")
}

const NOT_HEX: &str = "but has a % without two hexadecimal digits (a % itself is %25)";

fn hex(digit: u8) -> Result<u8, &'static str> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(NOT_HEX),
    }
}
