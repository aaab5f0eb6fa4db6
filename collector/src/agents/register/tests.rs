//! Each way an agent can come back.

use submeter_common::id::{AgentId, Digest};
use submeter_common::protocol::{Position, RegisterRequest, RegisterStatus};
use submeter_common::time::Timestamp;
use uuid::Uuid;

use super::{Registered, register};
use crate::agents::{Agent, Alarm};

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
const LATER: Timestamp = Timestamp::from_micros(1_700_000_060_000_000);

fn position(seq: u64) -> Position {
    match u8::try_from(seq) {
        Ok(0) | Err(_) => Position {
            seq: 0,
            digest: Digest::ZERO,
        },
        Ok(byte) => Position {
            seq,
            digest: Digest::new([byte; 32]),
        },
    }
}

fn request(acknowledged: u64, sealed: u64) -> RegisterRequest {
    RegisterRequest {
        agent_id: AgentId::new(Uuid::from_u128(1)),
        state_nonce: Uuid::from_u128(2),
        boot_id: Uuid::from_u128(3),
        agent_version: "0.1.0".to_owned(),
        catalog_version: 5,
        acknowledged: position(acknowledged),
        sealed: position(sealed),
        watermark: NOW,
    }
}

fn at(applied: u64) -> Agent {
    let mut agent = register(None, &request(0, 0), None, NOW).agent;
    agent.applied = position(applied);
    agent.watermark = LATER;
    agent
}

fn action(registered: &Registered) -> Option<&str> {
    registered.audit.as_ref().map(|entry| entry.action.as_str())
}

#[test]
fn a_fresh_id_is_new_and_its_promise_holds_until_its_first_frame() {
    let found = register(None, &request(0, 0), None, NOW);
    assert_eq!(found.registration.status, RegisterStatus::New);
    assert_eq!(
        (found.registration.epoch, found.registration.applied),
        (1, position(0))
    );
    assert_eq!(found.agent.watermark, NOW);
    assert_eq!(action(&found), None);
}

#[test]
fn a_new_agent_with_frames_to_send_promises_nothing_yet() {
    let found = register(None, &request(0, 3), None, NOW);
    assert_eq!(found.agent.watermark, Timestamp::from_micros(0));
}

#[test]
fn an_agent_that_goes_on_gets_the_next_epoch_and_keeps_its_watermark() {
    for sealed in [7, 8, 9] {
        let found = register(
            Some(&at(7)),
            &request(6, sealed),
            Some(position(6).digest),
            NOW,
        );
        assert_eq!(found.registration.status, RegisterStatus::Resumed);
        assert_eq!(
            (found.registration.epoch, found.registration.applied),
            (2, position(7))
        );
        assert_eq!(found.agent.watermark, LATER);
        assert_eq!((action(&found), found.agent.alarm), (None, None));
    }
}

#[test]
fn an_agent_that_said_farewell_is_live_again() {
    let gone = Agent {
        farewell: true,
        ..at(7)
    };
    assert!(!gone.is_live());
    assert!(
        register(Some(&gone), &request(7, 7), None, NOW)
            .agent
            .is_live()
    );
}

#[test]
fn an_older_state_is_a_rollback_and_takes_back_its_watermark() {
    let found = register(Some(&at(7)), &request(3, 4), Some(position(3).digest), NOW);
    assert_eq!(found.registration.status, RegisterStatus::Rollback);
    assert_eq!(
        (found.registration.epoch, found.registration.applied),
        (2, position(7))
    );
    assert_eq!(found.agent.watermark, NOW);
    assert_eq!(found.agent.alarm, Some(Alarm::RolledBack));
    assert_eq!(action(&found), Some("agent.rolled_back"));
}

#[test]
fn another_state_under_a_known_id_gets_no_session_and_disturbs_none() {
    let stranger = RegisterRequest {
        state_nonce: Uuid::from_u128(99),
        ..request(0, 0)
    };
    let found = register(Some(&at(7)), &stranger, None, NOW);
    assert_eq!(found.registration.status, RegisterStatus::LostState);
    assert_eq!((found.registration.epoch, found.agent.epoch), (0, 1));
    assert_eq!(found.agent.state_nonce, Uuid::from_u128(2));
    assert_eq!(action(&found), Some("agent.lost_state"));
    assert_eq!(
        action(&register(Some(&found.agent), &stranger, None, NOW)),
        None
    );
}

#[test]
fn another_frame_under_the_applied_number_is_a_fork() {
    let mut twin = request(6, 7);
    twin.sealed.digest = Digest::new([99; 32]);
    let found = register(Some(&at(7)), &twin, Some(position(6).digest), NOW);
    assert_eq!(
        (found.agent.alarm, action(&found)),
        (Some(Alarm::Forked), Some("agent.forked"))
    );
    assert_eq!(
        action(&register(Some(&found.agent), &twin, None, NOW)),
        None
    );
}

#[test]
fn another_frame_under_an_acknowledged_number_is_a_fork() {
    let found = register(
        Some(&at(7)),
        &request(6, 9),
        Some(Digest::new([99; 32])),
        NOW,
    );
    assert_eq!(found.agent.alarm, Some(Alarm::Forked));
}

#[test]
fn an_agent_ahead_of_the_collector_is_recorded() {
    let found = register(Some(&at(7)), &request(9, 9), None, NOW);
    assert_eq!(found.registration.status, RegisterStatus::Resumed);
    assert_eq!(action(&found), Some("agent.ahead_of_collector"));
    assert_eq!(
        action(&register(None, &request(9, 9), None, NOW)),
        Some("agent.ahead_of_collector")
    );
}

#[test]
fn a_retired_agent_is_heard_but_not_waited_for() {
    let retired = Agent {
        retired_at: Some(NOW),
        ..at(7)
    };
    let found = register(Some(&retired), &request(7, 8), None, NOW);
    assert_eq!(found.registration.status, RegisterStatus::Retired);
    assert_eq!(found.registration.epoch, 2);
    assert!(!found.agent.is_live());
}
