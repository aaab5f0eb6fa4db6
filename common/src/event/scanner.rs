//! The short way to an event, for JSON as nearly all of it is written: no escapes, nothing odd, nothing wrong.
//!
//! The scanner reads the bytes once, borrows everything and stops at the first thing it does not take, without saying
//! why; the thorough reader (`parse`) then reads the same text from the start and decides. So the scanner may refuse
//! what is good, but what it takes is what the thorough reader would have taken, to the last digit. A property test
//! holds the two against each other.

use std::borrow::Cow;

use super::{Event, Value, metadata::Metadata};
use crate::{
    id::has_control,
    limits::{ID_BYTES_MAX, METADATA_KEY_CHARS_MAX, METADATA_PAIRS_MAX, METADATA_STRING_CHARS_MAX},
    quantity::Quantity,
    time::Timestamp,
};

/// Room for so many pairs is made at once: one allocation for nearly every event.
const PAIRS_USUAL: usize = 8;

/// A place in a JSON text. Every method answers none for what it does not take.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Scanner { text, at: 0 }
    }

    /// The text from here on.
    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Goes over `len` bytes that another reader has read.
    pub(super) fn skip(&mut self, len: usize) {
        self.at += len;
    }

    /// Takes the next byte that is not blank.
    pub(super) fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            self.at += 1;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
        }
    }

    /// Takes the next byte that is not blank if it is this one.
    pub(super) fn take(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    /// Takes `key` and the colon after it.
    pub(super) fn key(&mut self, key: &str) -> Option<()> {
        (self.string()? == key).then_some(())?;
        self.take(b':')
    }

    /// Says whether nothing but blanks is left.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.next().is_none()
    }

    /// Takes one event. Its metadata are kept in `room`, which must be empty.
    pub(super) fn event(&mut self, now: Timestamp, room: Metadata<'a>) -> Option<Event<'a>> {
        let (mut event_id, mut customer_id, mut event_name) = (None, None, None);
        let (mut timestamp, mut metadata) = (None, None);
        let mut room = Some(room);
        self.take(b'{')?;
        loop {
            let key = self.string()?;
            self.take(b':')?;
            match key {
                "event_id" if event_id.is_none() => event_id = Some(self.id()?),
                "customer_id" if customer_id.is_none() => customer_id = Some(self.id()?),
                "event_name" if event_name.is_none() => event_name = Some(self.id()?),
                "timestamp" if timestamp.is_none() => {
                    timestamp = Some(Timestamp::parse(self.string()?).ok()?);
                }
                "metadata" => metadata = Some(self.metadata(room.take()?)?),
                _ => return None,
            }
            match self.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        Some(Event {
            event_id: Cow::Borrowed(event_id?),
            customer_id: Cow::Borrowed(customer_id?),
            event_name: Cow::Borrowed(event_name?),
            timestamp: timestamp.unwrap_or(now),
            timestamp_given: timestamp.is_some(),
            metadata: metadata.or(room)?,
        })
    }

    fn id(&mut self) -> Option<&'a str> {
        let id = self.string()?;
        (1..=ID_BYTES_MAX).contains(&id.len()).then_some(id)
    }

    fn metadata(&mut self, mut pairs: Metadata<'a>) -> Option<Metadata<'a>> {
        self.take(b'{')?;
        if self.rest().starts_with('}') {
            self.skip(1);
            return Some(pairs);
        }
        if pairs.capacity() == 0 {
            pairs.reserve_exact(PAIRS_USUAL);
        }
        loop {
            let key = self.string()?;
            if key.is_empty()
                || is_longer(key, METADATA_KEY_CHARS_MAX)
                || pairs.len() == METADATA_PAIRS_MAX
            {
                return None;
            }
            self.take(b':')?;
            pairs.push((Cow::Borrowed(key), self.value()?));
            match self.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            if pairs.windows(2).any(|two| two[0].0 == two[1].0) {
                return None;
            }
        }
        Some(pairs)
    }

    fn value(&mut self) -> Option<Value<'a>> {
        let first = self.next()?;
        self.at -= 1;
        match first {
            b'"' => {
                let text = self.string()?;
                (!is_longer(text, METADATA_STRING_CHARS_MAX))
                    .then_some(Value::String(Cow::Borrowed(text)))
            }
            b't' => self.word("true").map(|()| Value::Bool(true)),
            b'f' => self.word("false").map(|()| Value::Bool(false)),
            _ => self.number().map(Value::Number),
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.rest().starts_with(word).then(|| self.skip(word.len()))
    }

    fn number(&mut self) -> Option<Quantity> {
        let rest = self.rest();
        let end = rest
            .bytes()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'))?;
        let digits = rest.get(..end)?;
        // What JSON refuses and `Quantity::parse` would take: a plus, a zero before other digits.
        match digits.strip_prefix('-').unwrap_or(digits).as_bytes() {
            [b'0', b'0'..=b'9', ..] => return None,
            [b'0'..=b'9', ..] => {}
            _ => return None,
        }
        self.skip(end);
        Quantity::parse(digits).ok()
    }

    /// Takes a string without escapes and without control characters.
    fn string(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let bytes = self.text.as_bytes().get(self.at..)?;
        let mut len = plain_len(bytes);
        let mut is_ascii = true;
        loop {
            match *bytes.get(len)? {
                b'"' => break,
                0x80.. => {
                    is_ascii = false;
                    len += 1;
                    len += plain_len(bytes.get(len..)?);
                }
                _ => return None,
            }
        }
        let text = self.text.get(self.at..self.at + len)?;
        if !is_ascii && has_control(text) {
            return None;
        }
        self.at += len + 1;
        Some(text)
    }
}

/// Counts characters only where the bytes do not already decide.
fn is_longer(text: &str, chars_max: usize) -> bool {
    text.len() > chars_max && text.chars().count() > chars_max
}

/// How many bytes from the start on are printable ASCII that a JSON string holds as it is; eight at a time.
fn plain_len(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let stops = stops(u64::from_le_bytes(*word));
        if stops != 0 {
            return index * 8 + stops.trailing_zeros() as usize / 8;
        }
    }
    let plain = |byte: &u8| matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b'\\');
    words.len() * 8 + rest.iter().take_while(|byte| plain(byte)).count()
}

/// Sets the high bit of each byte that ends a plain run. Bits above the lowest one set may be wrong: a borrow runs
/// upwards.
fn stops(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let below = |limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
    let equal = |byte: u8| {
        let zero = word ^ (ONES * u64::from(byte));
        zero.wrapping_sub(ONES) & !zero
    };
    (word | below(b' ') | equal(b'"') | equal(b'\\') | equal(0x7f)) & HIGH
}

#[cfg(test)]
mod tests;
