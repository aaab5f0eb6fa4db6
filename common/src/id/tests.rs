#![allow(clippy::unwrap_used)]

use bincode::config;

use super::*;

#[test]
fn an_id_is_1_to_256_bytes_without_control_characters() {
    for good in [
        "a",
        "cus_1",
        "user@example.com",
        "Zoë 😀",
        " ",
        &"x".repeat(256),
    ] {
        assert_eq!(CustomerId::new(good).unwrap().as_str(), good);
    }
    for (wrong, message) in [
        ("", "customer_id must not be empty"),
        (
            &"x".repeat(257)[..],
            "customer_id must be at most 256 bytes long, but has 257",
        ),
        ("a\0", "customer_id must not contain control characters"),
        ("a\u{85}", "customer_id must not contain control characters"),
    ] {
        assert_eq!(CustomerId::new(wrong).unwrap_err().to_string(), message);
        let json = serde_json::to_string(wrong).unwrap();
        let error = serde_json::from_str::<CustomerId>(&json)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(message), "{error}");
        let bytes = bincode::encode_to_vec(wrong, config::standard()).unwrap();
        assert!(bincode::decode_from_slice::<CustomerId, _>(&bytes, config::standard()).is_err());
    }
}

#[test]
fn ids_come_back_from_text_json_and_bytes() {
    let agent = AgentId::from_bytes([7; 16]);
    let digest = Digest::of(b"frame");
    assert_eq!(agent.to_string().parse(), Ok(agent));
    assert_eq!(digest.to_string().parse(), Ok(digest));
    let whole = (
        CustomerId::new("acme").unwrap(),
        MeterId::new("mtr_1").unwrap(),
        agent,
        digest,
    );

    let json = serde_json::to_string(&whole).unwrap();
    assert!(
        json.contains("\"07070707-0707-0707-0707-070707070707\""),
        "{json}"
    );
    assert_eq!(
        serde_json::from_str::<(CustomerId, MeterId, AgentId, Digest)>(&json).unwrap(),
        whole
    );
    let bytes = bincode::encode_to_vec(&whole, config::standard()).unwrap();
    // Two lengths, nine letters, a UUID, a digest: nothing more.
    assert_eq!(bytes.len(), 2 + "acmemtr_1".len() + 16 + 32);
    let (decoded, read): ((CustomerId, MeterId, AgentId, Digest), usize) =
        bincode::decode_from_slice(&bytes, config::standard()).unwrap();
    assert_eq!((decoded, read), (whole, bytes.len()));
}

#[test]
fn malformed_identities_name_what_was_expected() {
    let error = "7".parse::<AgentId>().unwrap_err();
    assert_eq!(error.to_string(), "agent_id must be a UUID");
    for wrong in ["", "00", &"g".repeat(64), &"0".repeat(65)] {
        let error = wrong.parse::<Digest>().unwrap_err();
        assert_eq!(error.to_string(), "digest must be 64 hex digits");
    }
}
