//! Every hard bound of the vocabulary in one place, each with its reason.
//!
//! A bound that is a default may be changed by configuration; the others are part of the interface.

use std::time::Duration;

/// Most events in one request: what the compatible API allows, and few enough to answer within one
/// fsync.
pub const EVENTS_PER_REQUEST_MAX: usize = 1000;

/// Most metadata pairs of one event. Lookups scan the pairs, so the number stays small.
pub const METADATA_PAIRS_MAX: usize = 50;

/// Longest metadata key, in characters.
pub const METADATA_KEY_CHARS_MAX: usize = 100;

/// Longest metadata string, in characters.
pub const METADATA_STRING_CHARS_MAX: usize = 500;

/// Longest id or name, in bytes: fits any UUID, URN or e-mail address and keeps storage keys short.
pub const ID_BYTES_MAX: usize = 256;

/// Default limit of a request body: 1000 events of 4 KiB each.
pub const REQUEST_BYTES_MAX_DEFAULT: usize = 4 * 1024 * 1024;

/// Default age up to which an event is admitted. It must not exceed the dedup retention, or a retry
/// could count twice.
pub const HORIZON_PAST_DEFAULT: Duration = Duration::from_secs(60 * 60);

/// Default distance into the future up to which an event is admitted: clocks of applications drift.
pub const HORIZON_FUTURE_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// Most keys a meter groups by: every key multiplies the number of partials.
pub const GROUP_KEYS_MAX: usize = 5;

/// Deepest nesting of a filter, the outermost one included.
pub const FILTER_DEPTH_MAX: usize = 3;

/// Most clauses of one filter level.
pub const FILTER_CLAUSES_MAX: usize = 10;

/// Largest encoded frame. A collector can refuse a body before it reads it.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Largest encoded frame header: thousands of meters with their counts.
pub const FRAME_HEADER_BYTES_MAX: usize = 1024 * 1024;

/// Largest frame payload once decompressed. It bounds what a hostile frame can make a collector
/// allocate.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Most rows in one frame: one atomic write of the collector applies them all.
pub const FRAME_ROWS_MAX: usize = 100_000;

/// Most bytes that the rows of one frame may take once their shared strings are spelled out in each.
///
/// Without it, one long group value named by every row would swell a small frame a thousandfold.
pub const FRAME_ROW_TEXT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Most digits before the decimal point that an event's number may have.
///
/// With [`NUMBER_FRACTION_DIGITS_MAX`] it leaves room for 10^10 summed events of the largest size
/// in 256 bits.
pub const NUMBER_INTEGER_DIGITS_MAX: usize = 30;

/// Most digits after the decimal point that an event's number may have, trailing zeros not counted.
pub const NUMBER_FRACTION_DIGITS_MAX: usize = 36;

/// Most decimal digits that a 256-bit signed integer always holds.
const MANTISSA_DIGITS_MAX: usize = 76;

const _: () =
    assert!(NUMBER_INTEGER_DIGITS_MAX + NUMBER_FRACTION_DIGITS_MAX + 10 <= MANTISSA_DIGITS_MAX);
/// Most bytes of frames in one bundle, which a collector holds in memory to check it wholly before it applies any.
pub const BUNDLE_FRAMES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Largest head of a bundle: some 60 000 frames.
pub const BUNDLE_HEAD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Largest bundle: frames, head, and beside them magic, version, length and signature, generously.
pub const BUNDLE_BYTES_MAX: usize = BUNDLE_FRAMES_BYTES_MAX + BUNDLE_HEAD_BYTES_MAX + 1024;

// Any frame fits into a bundle.
const _: () = assert!(FRAME_BYTES_MAX <= BUNDLE_FRAMES_BYTES_MAX);
const _: () = assert!(FRAME_HEADER_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_MAX < FRAME_PAYLOAD_BYTES_MAX);
// One accepted request always fits into one frame's worth of rows per meter.
const _: () = assert!(EVENTS_PER_REQUEST_MAX <= FRAME_ROWS_MAX);
