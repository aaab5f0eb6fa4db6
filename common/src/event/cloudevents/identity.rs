//! Which event a CloudEvent is: CloudEvents are the same when source and id are, events when their
//! id is.

use crate::{id::Digest, limits::ID_BYTES_MAX};

/// The event id of the CloudEvent (`source`, `id`): `ce:11:/eu/billing:4711`.
///
/// The length of the source, in bytes, makes it injective: no other pair has this text, whatever
/// either holds. Where it would be longer than an id may be, it is `ce:blake3:` and the digest of
/// that text in hexadecimal digits. An id given at another endpoint is another event unless it is
/// spelled like this, which names the same one on purpose.
#[must_use]
pub fn event_id(source: &str, id: &str) -> String {
    let pair = format!("ce:{}:{source}:{id}", source.len());
    if pair.len() <= ID_BYTES_MAX {
        pair
    } else {
        format!("ce:blake3:{}", Digest::of(pair.as_bytes()))
    }
}
