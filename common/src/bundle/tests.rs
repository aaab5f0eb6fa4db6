#![allow(clippy::unwrap_used)]

use super::*;
use crate::protocol::{Catalog, Position};

fn key(byte: u8) -> SigningKey {
    SigningKey::from_seed(&[byte; 32])
}

/// Bytes that end with their digest, as frames do.
fn frame(body: &[u8]) -> (Vec<u8>, Digest) {
    let digest = Digest::of(body);
    ([body, digest.as_bytes().as_slice()].concat(), digest)
}

fn head(frames: Vec<BundledFrame>, key: &SigningKey) -> BundleHead {
    BundleHead {
        agent_id: AgentId::from_bytes([1; 16]),
        state_nonce: Uuid::from_bytes([2; 16]),
        agent_version: "0.1.0".to_owned(),
        acknowledged: 4,
        written_at: Timestamp::from_micros(1_700_000_000_000_000),
        public_key: key.public(),
        frames,
    }
}

fn sample() -> Vec<u8> {
    let key = key(7);
    let frames = [frame(b"first"), frame(b"second")];
    let listed = (5..)
        .zip(&frames)
        .map(|(seq, (bytes, digest))| BundledFrame {
            seq,
            digest: *digest,
            bytes: bytes.len() as u64,
        })
        .collect();
    let mut bytes = encode_bundle_head(&head(listed, &key), &key).unwrap();
    for (frame, _) in &frames {
        bytes.extend_from_slice(frame);
    }
    bytes
}

#[test]
fn a_bundle_reads_back_as_it_was_written() {
    let bytes = sample();
    let bundle = decode_bundle(&bytes).unwrap();
    assert_eq!(bundle.head.public_key, key(7).public());
    let seqs: Vec<u64> = bundle.head.frames.iter().map(|frame| frame.seq).collect();
    assert_eq!(seqs, [5, 6]);
    assert!(bundle.frames[1].starts_with(b"second"));
}

#[test]
fn no_byte_of_a_bundle_can_be_changed_cut_or_added() {
    let bytes = sample();
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            assert!(decode_bundle(&changed).is_err(), "byte {at} ^ {flip}");
        }
        assert!(decode_bundle(&bytes[..at]).is_err(), "cut at {at}");
    }
    assert!(decode_bundle(&[bytes.as_slice(), b"x"].concat()).is_err());
}

#[test]
fn who_signs_anew_signs_as_somebody_else() {
    let (bytes, digest) = frame(b"forged");
    let listed = vec![BundledFrame {
        seq: 5,
        digest,
        bytes: bytes.len() as u64,
    }];
    // The head names one key and another one has signed.
    let forged = encode_bundle_head(&head(listed, &key(7)), &key(8)).unwrap();
    let forged = [forged, bytes].concat();
    assert_eq!(
        decode_bundle(&forged).unwrap_err(),
        BundleError::WrongSignature
    );
}

#[test]
fn frames_of_a_bundle_follow_each_other() {
    let key = key(7);
    let (bytes, digest) = frame(b"one");
    let listed = [5, 7].map(|seq| BundledFrame {
        seq,
        digest,
        bytes: bytes.len() as u64,
    });
    let head = encode_bundle_head(&head(listed.to_vec(), &key), &key).unwrap();
    let whole = [head, bytes.clone(), bytes].concat();
    let error = decode_bundle(&whole).unwrap_err().to_string();
    assert!(error.contains("frame 7 does not follow"), "{error}");
}

#[test]
fn a_receipt_reads_back_and_cannot_be_edited() {
    let key = key(9);
    let receipt = Receipt {
        agent_id: AgentId::from_bytes([1; 16]),
        applied: Position {
            seq: 6,
            digest: Digest::of(b"six"),
        },
        issued_at: Timestamp::from_micros(1_700_000_000_000_000),
        public_key: key.public(),
        catalog: Catalog::default(),
    };
    let text = encode_receipt(&receipt, &key).unwrap();
    assert_eq!(decode_receipt(&text).unwrap(), receipt);
    let edited = text.replace("\"seq\":6", "\"seq\":9");
    assert_ne!(edited, text);
    assert_eq!(
        decode_receipt(&edited).unwrap_err(),
        BundleError::WrongSignature
    );
    assert!(decode_receipt("{}").is_err());
}

#[test]
fn keys_are_written_and_read_as_text() {
    let public = key(3).public();
    let text = public.to_string();
    assert!(text.starts_with("smpk_") && text.len() == 69, "{text}");
    assert_eq!(text.parse::<PublicKey>().unwrap(), public);
    for wrong in ["smpk_", &text[5..], &text[..68], "smpk_é"] {
        assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
    }
}
