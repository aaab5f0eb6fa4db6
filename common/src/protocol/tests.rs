#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::{
    AggregationKind, Quantity, State, Value,
    aggregate::{Fingerprint, UniqueSet},
    limits::{FRAME_BYTES_MAX, FRAME_HEADER_BYTES_MAX, FRAME_ROWS_MAX},
    samples::{NOW, any_kind, any_partial, frame, header, meter, number, row, sample_frame},
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .trim()
        .bytes()
        .map(|digit| char::from(digit).to_digit(16).unwrap().to_le_bytes()[0])
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// Puts a digest under a frame that was changed on purpose.
fn signed(mut body: Vec<u8>) -> Vec<u8> {
    let digest = Digest::of(&body);
    body.extend_from_slice(digest.as_bytes());
    body
}

fn unsigned(frame: &Frame) -> Vec<u8> {
    let mut bytes = encode_frame(frame).unwrap().0;
    bytes.truncate(bytes.len() - 32);
    bytes
}

/// The sample frame's envelope around another payload.
fn around(payload: &[u8]) -> Vec<u8> {
    let mut body = unsigned(&frame(Vec::new()));
    let header_len = usize::try_from(u32::from_le_bytes(body[5..9].try_into().unwrap())).unwrap();
    body.truncate(9 + header_len);
    body.extend_from_slice(&zstd::encode_all(payload, 3).unwrap());
    signed(body)
}

#[test]
fn a_released_frame_decodes_for_ever() {
    let golden = unhex(include_str!("../../tests/fixtures/frame_v1.hex"));
    let (decoded, digest) = decode_frame(&golden).unwrap();
    assert_eq!(decoded, sample_frame());
    assert_eq!(digest.as_bytes()[..], golden[golden.len() - 32..]);
}

#[test]
fn what_this_build_writes_is_the_released_form() {
    let payload = codec::encode_rows(&sample_frame().rows).unwrap();
    assert_eq!(
        hex(&payload),
        include_str!("../../tests/fixtures/frame_payload_v1.hex").trim()
    );
    let golden = unhex(include_str!("../../tests/fixtures/frame_v1.hex"));
    let (bytes, _) = encode_frame(&sample_frame()).unwrap();
    // All but the compressed payload, which another zstd may write otherwise.
    let header_end =
        9 + usize::try_from(u32::from_le_bytes(golden[5..9].try_into().unwrap())).unwrap();
    assert_eq!(
        hex(&bytes[..header_end]),
        hex(&golden[..header_end]),
        "whole frame: {}",
        hex(&bytes)
    );
}

#[test]
fn a_heartbeat_is_small_and_comes_back() {
    let heartbeat = frame(Vec::new());
    let (bytes, digest) = encode_frame(&heartbeat).unwrap();
    assert_eq!(decode_frame(&bytes), Ok((heartbeat, digest)));
    assert!(bytes.len() < 200, "{} bytes", bytes.len());
}

#[test]
fn rows_are_written_in_order_whatever_order_they_come_in() {
    let sorted = sample_frame();
    let mut shuffled = sorted.clone();
    shuffled.rows.reverse();
    assert_eq!(encode_frame(&shuffled), encode_frame(&sorted));
}

#[test]
fn a_frame_that_contradicts_itself_is_not_written() {
    let mut twice = sample_frame();
    twice.rows.push(twice.rows[0].clone());
    twice.header.meter_events = events_by_meter(&twice.rows).unwrap();
    assert!(
        matches!(encode_frame(&twice), Err(FrameError::Inconsistent(message)) if message.contains("one key"))
    );

    let mut miscounted = sample_frame();
    miscounted.header.meter_events[0].1 += 1;
    assert!(matches!(
        encode_frame(&miscounted),
        Err(FrameError::Inconsistent(_))
    ));

    let mut overflowing = sample_frame();
    for row in &mut overflowing.rows {
        row.partial.events = u64::MAX;
    }
    assert!(matches!(
        events_by_meter(&overflowing.rows),
        Err(FrameError::Inconsistent(_))
    ));
}

#[test]
fn a_frame_that_contradicts_itself_is_not_read() {
    // Written with one header, read with another: the row is there, its meter's count is not.
    let whole = unsigned(&sample_frame());
    let payload_at =
        9 + usize::try_from(u32::from_le_bytes(whole[5..9].try_into().unwrap())).unwrap();
    let empty = unsigned(&frame(Vec::new()));
    let header_end =
        9 + usize::try_from(u32::from_le_bytes(empty[5..9].try_into().unwrap())).unwrap();
    let mixed = signed([&empty[..header_end], &whole[payload_at..]].concat());
    assert!(
        matches!(decode_frame(&mixed), Err(FrameError::Inconsistent(message)) if message.contains("meter_events"))
    );
}

#[test]
fn foreign_bytes_and_newer_versions_are_told_apart_from_damage() {
    let good = encode_frame(&sample_frame()).unwrap().0;
    for foreign in [
        &b""[..],
        b"SMT",
        b"SMTR",
        b"GET / HTTP/1.1\r\n",
        b"smtr\x01",
        b"{\"events\": []}",
    ] {
        assert_eq!(
            decode_frame(foreign),
            Err(FrameError::NotAFrame),
            "{foreign:?}"
        );
    }
    for newer in [2, 9, 255] {
        let mut bytes = good.clone();
        bytes[4] = newer;
        assert_eq!(
            decode_frame(&bytes),
            Err(FrameError::UnsupportedVersion { found: newer })
        );
        // Even where the rest would make no sense to this build.
        assert_eq!(
            decode_frame(&[b'S', b'M', b'T', b'R', newer]),
            Err(FrameError::UnsupportedVersion { found: newer })
        );
    }
    let mut zero = good;
    zero[4] = 0;
    assert!(matches!(decode_frame(&zero), Err(FrameError::Corrupt(_))));
}

#[test]
fn every_cut_and_every_flipped_bit_is_an_error() {
    let good = encode_frame(&sample_frame()).unwrap().0;
    for len in 0..good.len() {
        assert!(decode_frame(&good[..len]).is_err(), "cut to {len}");
    }
    for bit in 0..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_frame(&flipped).is_err(), "bit {bit}");
    }
    assert!(decode_frame(&[&good[..], &[0]].concat()).is_err());
}

#[test]
fn limits_hold_before_anything_is_allocated() {
    let large = |what, max, found| Err(FrameError::TooLarge { what, max, found });
    let decode_frame = |bytes: &[u8]| decode_frame(bytes).map(|_| ());
    assert_eq!(
        decode_frame(&vec![0; FRAME_BYTES_MAX + 1]),
        large("frame", FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1)
    );

    let mut body = b"SMTR\x01".to_vec();
    body.extend_from_slice(&u32::MAX.to_le_bytes());
    let claimed = usize::try_from(u32::MAX).unwrap();
    assert_eq!(
        decode_frame(&signed(body)),
        large("header", FRAME_HEADER_BYTES_MAX, claimed)
    );

    // 129 MiB of zeros compress to a few KiB.
    let bomb = around(&vec![0; 129 * 1024 * 1024]);
    assert!(bomb.len() < 64 * 1024);
    let max = crate::limits::FRAME_PAYLOAD_BYTES_MAX;
    assert_eq!(decode_frame(&bomb), large("payload", max, max + 1));

    let partial = Partial::identity(AggregationKind::Count);
    let rows = |count: i32| {
        (0..count)
            .map(|n| row("c", "m", Group::none(), n, partial.clone()))
            .collect::<Vec<_>>()
    };
    let most = frame(rows(100_000));
    assert_eq!(
        super::decode_frame(&encode_frame(&most).unwrap().0)
            .unwrap()
            .0,
        most
    );
    assert_eq!(
        encode_frame(&frame(rows(100_001))).map(|_| ()),
        large("rows", FRAME_ROWS_MAX, 100_001)
    );
}

#[test]
fn one_long_text_named_by_every_row_cannot_swell_a_frame() {
    let group = Group::of(std::iter::repeat_n(Some("x".repeat(2000)), 5));
    let partial = Partial::identity(AggregationKind::Count);
    let rows = (0..30_000)
        .map(|n| row("c", "m", group.clone(), n, partial.clone()))
        .collect();
    assert!(matches!(
        encode_frame(&frame(rows)),
        Err(FrameError::TooLarge {
            what: "row text",
            ..
        })
    ));
}

#[test]
fn lengths_and_indices_that_lie_are_errors() {
    let corrupt = |payload: &[u8], message: &str| match decode_frame(&around(payload)) {
        Err(FrameError::Corrupt(found)) => assert!(found.contains(message), "{payload:?}: {found}"),
        other => panic!("{payload:?}: {other:?}"),
    };
    // One customer "c", one meter "m", one group of no values, then rows.
    let tables = |rows: &[u8]| [&[1, 1, b'c', 1, 1, b'm', 1, 0][..], rows].concat();
    assert_eq!(codec::decode_rows(&tables(&[0])), Ok(Vec::new()));
    let one = codec::decode_rows(&tables(&[1, 0, 0, 0, 4, 3, 0, 0])).unwrap();
    assert_eq!(
        (one.len(), one[0].window.minute(), one[0].partial.events),
        (1, 2, 3)
    );

    corrupt(&[], "customers");
    corrupt(
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        "invalid customers",
    );
    corrupt(&[0xff, 0xff, 3], "customers");
    corrupt(&[1, 0], "customer_id must not be empty");
    corrupt(&[1, 1, 0xff, 0, 0, 0], "customers");
    corrupt(&[2, 1, b'd', 1, b'c', 0, 0, 0], "not in order");
    corrupt(&[2, 1, b'c', 1, b'c', 0, 0, 0], "not in order");
    corrupt(&[0, 0, 1, 6], "a group of too many values");
    corrupt(&[0, 0, 1, 1, 2, 0], "neither there nor missing");
    corrupt(
        &[0, 0, 1, 1, 1, 252, 1, 0, 0, 1, 0],
        "text longer than its limit",
    );
    corrupt(&tables(&[1, 1, 0, 0, 4, 3, 0, 0]), "names a customer");
    corrupt(&tables(&[1, 0, 1, 0, 4, 3, 0, 0]), "names a meter");
    corrupt(&tables(&[1, 0, 0, 1, 4, 3, 0, 0]), "names a group");
    corrupt(&tables(&[1, 0, 0, 0, 4, 3, 0, 9]), "");
    corrupt(&tables(&[1, 0, 0, 0, 4, 3, 0]), "");
    corrupt(
        &tables(&[2, 0, 0, 0, 0, 0, 0, 4, 0, 3, 0, 0, 3, 0, 0]),
        "not in order",
    );
    corrupt(&tables(&[1, 0, 0, 0, 4, 3, 0, 0, 7]), "bytes follow");
    // A minute beyond 32 bits, and a step that overflows.
    corrupt(
        &tables(&[1, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 3, 0, 0]),
        "column",
    );
    // A set that claims 2^62 values, and a last value that claims an id of 2^31 bytes.
    corrupt(
        &tables(&[1, 0, 0, 0, 4, 3, 0, 5, 253, 0, 0, 0, 0, 0, 0, 0, 0x40]),
        "",
    );
    corrupt(
        &tables(&[1, 0, 0, 0, 4, 3, 0, 4, 1, 0, 252, 0, 0, 0, 0x80]),
        "longer than its limit",
    );
}

#[test]
fn receipts_are_conserved_or_not() {
    let mut receipts = Receipts {
        received: 10,
        accepted: 6,
        duplicate: 1,
        conflict: 1,
        matched: 4,
        unmatched: 2,
        rejected: BTreeMap::from([("INVALID_FIELD".to_owned(), 2)]),
    };
    assert!(receipts.is_conserved());
    assert!(Receipts::default().is_conserved());
    receipts.received += 1;
    assert!(!receipts.is_conserved());
    receipts.duplicate += 1;
    assert!(receipts.is_conserved());
    receipts.matched += 1;
    assert!(!receipts.is_conserved());
    receipts.matched = u64::MAX;
    assert!(!receipts.is_conserved());
}

#[test]
fn messages_are_json_that_comes_back() {
    let position = Position {
        seq: 7,
        digest: Digest::of(b"seven"),
    };
    let register = RegisterRequest {
        agent_id: header(&[]).agent_id,
        state_nonce: uuid::Uuid::from_u128(1),
        boot_id: uuid::Uuid::from_u128(2),
        agent_version: "0.1.0".to_owned(),
        catalog_version: 3,
        acknowledged: Position::default(),
        sealed: position,
        watermark: NOW,
        lineage: Lineage {
            lives: vec![Life {
                id: uuid::Uuid::from_u128(4),
                first: 1,
            }],
            last: 9,
        },
        name: Some("web-1".to_owned()),
        disowned: Some(position),
        incidents: vec![Incident {
            id: uuid::Uuid::from_u128(5),
            at: NOW,
            kind: IncidentKind::CollectorBehind,
            former_agent_id: header(&[]).agent_id,
            agent_id: header(&[]).agent_id,
            missing: Some(Stretch { first: 3, last: 4 }),
            repeated: None,
            message: "two records are gone".to_owned(),
        }],
    };
    let json = serde_json::to_string(&register).unwrap();
    assert_eq!(
        serde_json::from_str::<RegisterRequest>(&json).unwrap(),
        register
    );
    assert!(
        json.contains(&format!(
            "\"acknowledged\":{{\"seq\":0,\"digest\":\"{}\"}}",
            "0".repeat(64)
        )),
        "{json}"
    );

    let catalog = Catalog {
        version: 4,
        meters: vec![meter(AggregationKind::Sum, true)],
    };
    let reply = RegisterReply {
        epoch: 2,
        applied: position,
        status: RegisterStatus::LostState,
        delivered: 7,
        torn_after: None,
        backfilled: true,
        replaces: None,
        catalog,
        now: NOW,
    };
    let json = serde_json::to_string(&reply).unwrap();
    assert_eq!(serde_json::from_str::<RegisterReply>(&json).unwrap(), reply);
    assert!(json.contains("\"status\":\"lost_state\""), "{json}");

    let reply = FrameReply {
        result: FrameResult::Gap,
        applied: position,
        catalog_version: 4,
        now: NOW,
        message: None,
    };
    let json = serde_json::to_string(&reply).unwrap();
    assert_eq!(serde_json::from_str::<FrameReply>(&json).unwrap(), reply);
    assert!(json.starts_with("{\"result\":\"gap\""), "{json}");
}

#[test]
fn a_group_is_json_and_the_rest_is_no_value() {
    let named = Group::of([Some("__other__".to_owned())]);
    for (group, json) in [
        (Group::none(), "[]"),
        (Group::of([Some("eu".to_owned()), None]), "[\"eu\",null]"),
        (Group::other(), "\"__other__\""),
        (named, "[\"__other__\"]"),
    ] {
        assert_eq!(serde_json::to_string(&group).unwrap(), json);
        assert_eq!(serde_json::from_str::<Group>(json).unwrap(), group);
    }
    for wrong in ["\"eu\"", "[1]", "[null,null,null,null,null,null]"] {
        assert!(serde_json::from_str::<Group>(wrong).is_err(), "{wrong}");
    }
}

/// Many rows cost a few bytes each: what makes frames compact is that keys repeat.
#[test]
fn a_row_costs_a_few_bytes() {
    let rows: Vec<Row> = (0..10_000)
        .map(|n| {
            let state = State::Sum(Quantity::from_i64(i64::from(n % 97) * 13));
            let partial = Partial {
                events: 1 + u64::try_from(n % 7).unwrap(),
                non_numeric: 0,
                state,
            };
            row(
                &format!("customer_{:04}", n / 60),
                "mtr_tokens",
                Group::none(),
                n % 60,
                partial,
            )
        })
        .collect();
    let (bytes, _) = encode_frame(&frame(rows)).unwrap();
    assert!(
        bytes.len() < 10_000 * 5,
        "{} bytes for 10 000 rows",
        bytes.len()
    );
}

#[test]
fn a_set_of_many_values_comes_back() {
    let values: UniqueSet = (0..50_000u64)
        .map(|n| Fingerprint::of(&Value::Number(Quantity::from_u64(n))))
        .collect();
    let partial = Partial {
        events: 50_000,
        non_numeric: 0,
        state: State::Unique(values),
    };
    assert_eq!(partial.value(), number("50000"));
    let whole = frame(vec![row("c", "m", Group::none(), 1, partial)]);
    assert_eq!(
        decode_frame(&encode_frame(&whole).unwrap().0).unwrap().0,
        whole
    );
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let group = prop_oneof![
        Just(Group::none()),
        Just(Group::other()),
        prop::collection::vec(prop::option::of("\\PC{0,8}"), 1..6).prop_map(Group::of),
    ];
    let one = (
        "[a-c]{1,3}",
        "[m-n]{1,2}",
        group,
        any::<i32>(),
        any_kind().prop_flat_map(any_partial),
    );
    prop::collection::vec(one, 0..20).prop_map(|drawn| {
        let mut rows: Vec<Row> = drawn
            .into_iter()
            .map(|(customer, meter, group, minute, partial)| {
                row(&customer, &meter, group, minute, partial)
            })
            .collect();
        let key = |row: &Row| {
            (
                row.customer_id.clone(),
                row.meter_id.clone(),
                row.group.clone(),
                row.window,
            )
        };
        rows.sort_by_key(key);
        rows.dedup_by_key(|row| key(row));
        rows
    })
}

proptest! {
    #[test]
    fn a_frame_comes_back(rows in any_rows()) {
        let whole = frame(rows);
        let (bytes, digest) = encode_frame(&whole).unwrap();
        prop_assert_eq!(decode_frame(&bytes), Ok((whole, digest)));
    }

    #[test]
    fn a_damaged_frame_is_an_error(rows in any_rows(), at in any::<prop::sample::Index>(), by in 1..=255u8) {
        let mut bytes = encode_frame(&frame(rows)).unwrap().0;
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        prop_assert!(decode_frame(&bytes).is_err());
    }

    #[test]
    fn foreign_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode_frame(&bytes).is_err());
        let named = [b"SMTR\x01", &bytes[..]].concat();
        prop_assert!(decode_frame(&named).is_err());
        prop_assert!(decode_frame(&signed(named)).is_err());
    }

    /// With the digest made to fit, so that the damage reaches the decoders behind it.
    #[test]
    fn damage_under_a_good_digest_never_panics(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut body = unsigned(&sample_frame());
        let at = at.index(body.len());
        body[at] = to;
        let _ = decode_frame(&signed(body));
    }

    #[test]
    fn a_payload_of_any_bytes_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), to in any::<u8>(),
    ) {
        let _ = codec::decode_rows(&bytes);
        let mut payload = codec::encode_rows(&sample_frame().rows).unwrap();
        let at = at.index(payload.len());
        payload[at] = to;
        if let Ok(rows) = codec::decode_rows(&payload) {
            // What is read is in order and can be written again.
            prop_assert!(codec::encode_rows(&rows).is_ok());
        }
    }
}
