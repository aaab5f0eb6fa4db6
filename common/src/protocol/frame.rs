//! A frame's envelope: sizes, magic, version, digest; and the agreement of header and rows.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
};

use bincode::config;

use super::{FRAME_VERSION, Frame, FrameError, FrameHeader, Row, codec};
use crate::{
    id::{Digest, MeterId},
    limits::{FRAME_BYTES_MAX, FRAME_HEADER_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX, FRAME_ROWS_MAX},
};

const MAGIC: &[u8; 4] = b"SMTR";
const DIGEST_BYTES: usize = 32;

/// Magic, version, header length.
const PREFIX_BYTES: usize = 4 + 1 + 4;

/// zstd's default: a good ratio at a speed far above any network's.
const ZSTD_LEVEL: i32 = 3;

/// Level 3 never looks back further than 2 MiB; a decoder need not hold more than this, whatever a
/// frame claims.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Freezes a frame: its bytes, and the digest that they end with.
///
/// Rows are written sorted by customer, meter, group and window, whatever order they come in.
///
/// # Errors
/// A frame beyond its limits, two rows of the same key, or a header whose `meter_events` are not
/// the rows'.
pub fn encode_frame(frame: &Frame) -> Result<(Vec<u8>, Digest), FrameError> {
    limit("rows", frame.rows.len(), FRAME_ROWS_MAX)?;
    check_events(&frame.header, &frame.rows)?;
    let header = bincode::encode_to_vec(&frame.header, header_config())
        .map_err(|error| FrameError::Inconsistent(format!("header: {error}")))?;
    limit("header", header.len(), FRAME_HEADER_BYTES_MAX)?;
    let header_len = u32::try_from(header.len())
        .map_err(|_| too_large("header", header.len(), u32::MAX as usize))?;
    let payload = codec::encode_rows(&frame.rows)?;
    limit("payload", payload.len(), FRAME_PAYLOAD_BYTES_MAX)?;

    let mut bytes =
        Vec::with_capacity(PREFIX_BYTES + header.len() + payload.len() / 4 + DIGEST_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.push(FRAME_VERSION);
    bytes.extend_from_slice(&header_len.to_le_bytes());
    bytes.extend_from_slice(&header);
    let mut bytes =
        compress(&payload, bytes).map_err(|error| FrameError::Corrupt(error.to_string()))?;
    let digest = Digest::of(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    limit("frame", bytes.len(), FRAME_BYTES_MAX)?;
    Ok((bytes, digest))
}

/// Reads a frame, its rows sorted and unique by customer, meter, group and window, and its digest.
///
/// # Errors
/// Anything that [`encode_frame`] would not have written. Never panics, and never allocates more
/// than the limits say.
pub fn decode_frame(bytes: &[u8]) -> Result<(Frame, Digest), FrameError> {
    limit("frame", bytes.len(), FRAME_BYTES_MAX)?;
    let version = match bytes {
        [b'S', b'M', b'T', b'R', version, ..] => *version,
        _ => return Err(FrameError::NotAFrame),
    };
    if version > FRAME_VERSION {
        return Err(FrameError::UnsupportedVersion { found: version });
    }
    if version == 0 {
        return Err(FrameError::Corrupt("version 0 never was".to_owned()));
    }
    let (body, digest) = check_digest(bytes)?;
    let (header, payload) = split(body)?;
    let header = decode_header(header)?;
    let rows = codec::decode_rows(&decompress(payload)?)?;
    check_events(&header, &rows)?;
    Ok((Frame { header, rows }, digest))
}

/// Adds up the rows' events by meter, sorted by meter: what belongs into a header's `meter_events`.
///
/// # Errors
/// A sum beyond 64 bits.
pub fn events_by_meter(rows: &[Row]) -> Result<Vec<(MeterId, u64)>, FrameError> {
    let mut sums = BTreeMap::<&MeterId, u64>::new();
    for row in rows {
        let sum = sums.entry(&row.meter_id).or_default();
        *sum = sum.checked_add(row.partial.events).ok_or_else(|| {
            FrameError::Inconsistent(format!("too many events of meter {}", row.meter_id))
        })?;
    }
    Ok(sums
        .into_iter()
        .map(|(meter, sum)| (meter.clone(), sum))
        .collect())
}

fn check_events(header: &FrameHeader, rows: &[Row]) -> Result<(), FrameError> {
    if header.meter_events == events_by_meter(rows)? {
        return Ok(());
    }
    Err(FrameError::Inconsistent(
        "meter_events are not the sums of the rows' events, sorted by meter".to_owned(),
    ))
}

fn limit(what: &'static str, found: usize, max: usize) -> Result<(), FrameError> {
    if found > max {
        Err(too_large(what, found, max))
    } else {
        Ok(())
    }
}

fn too_large(what: &'static str, found: usize, max: usize) -> FrameError {
    FrameError::TooLarge { what, max, found }
}

fn check_digest(bytes: &[u8]) -> Result<(&[u8], Digest), FrameError> {
    let cut = || FrameError::Corrupt("it ends before its digest".to_owned());
    let (body, digest) = bytes.split_last_chunk::<DIGEST_BYTES>().ok_or_else(cut)?;
    let found = Digest::of(body);
    if found == Digest::new(*digest) {
        Ok((body, found))
    } else {
        Err(FrameError::Corrupt(
            "its digest does not fit its bytes".to_owned(),
        ))
    }
}

fn split(body: &[u8]) -> Result<(&[u8], &[u8]), FrameError> {
    let cut = || FrameError::Corrupt("it ends inside its header".to_owned());
    let (_, rest) = body.split_at_checked(PREFIX_BYTES - 4).ok_or_else(cut)?;
    let (len, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| cut())?;
    limit("header", len, FRAME_HEADER_BYTES_MAX)?;
    rest.split_at_checked(len).ok_or_else(cut)
}

fn header_config() -> impl config::Config {
    config::standard().with_limit::<FRAME_HEADER_BYTES_MAX>()
}

fn decode_header(bytes: &[u8]) -> Result<FrameHeader, FrameError> {
    let (header, read) = bincode::decode_from_slice(bytes, header_config())
        .map_err(|error| FrameError::Corrupt(format!("header: {error}")))?;
    if read == bytes.len() {
        Ok(header)
    } else {
        Err(FrameError::Corrupt(
            "its header is longer than it".to_owned(),
        ))
    }
}

fn compress(payload: &[u8], bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(bytes, ZSTD_LEVEL)?;
    encoder.write_all(payload)?;
    encoder.finish()
}

/// Grows with what really comes out, up to the limit; a claimed size is not believed.
fn decompress(compressed: &[u8]) -> Result<Vec<u8>, FrameError> {
    let corrupt = |error: std::io::Error| FrameError::Corrupt(format!("payload: {error}"));
    let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed)
        .map_err(corrupt)?
        .single_frame();
    decoder
        .window_log_max(ZSTD_WINDOW_LOG_MAX)
        .map_err(corrupt)?;
    let mut payload = Vec::new();
    decoder
        .by_ref()
        .take(FRAME_PAYLOAD_BYTES_MAX as u64 + 1)
        .read_to_end(&mut payload)
        .map_err(corrupt)?;
    limit("payload", payload.len(), FRAME_PAYLOAD_BYTES_MAX)?;
    if decoder.finish().is_empty() {
        Ok(payload)
    } else {
        Err(FrameError::Corrupt("bytes follow its payload".to_owned()))
    }
}
