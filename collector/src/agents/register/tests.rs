//! Each way an agent can come back.

use submeter_common::id::{AgentId, Digest};
use submeter_common::protocol::{
    Incident, IncidentKind, Life, Lineage, Position, Reach, RegisterRequest, RegisterStatus,
    Stretch,
};
use submeter_common::time::Timestamp;
use uuid::Uuid;

use super::{Registered, register, replace};
use crate::agents::{Agent, Alarm};

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
const LATER: Timestamp = Timestamp::from_micros(1_700_000_060_000_000);
const FIRST_BOOT: u128 = 3;

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

/// One process for each life; its boot has the life's number.
fn journal(lives: &[(u128, u64)], last: u64) -> Lineage {
    let life = |&(id, first)| Life {
        id: Uuid::from_u128(id),
        first,
    };
    Lineage {
        lives: lives.iter().map(life).collect(),
        last,
    }
}

fn request(acknowledged: u64, sealed: u64) -> RegisterRequest {
    RegisterRequest {
        agent_id: AgentId::new(Uuid::from_u128(1)),
        state_nonce: Uuid::from_u128(2),
        boot_id: Uuid::from_u128(FIRST_BOOT),
        agent_version: "0.1.0".to_owned(),
        catalog_version: 5,
        acknowledged: position(acknowledged),
        sealed: position(sealed),
        watermark: NOW,
        lineage: journal(&[(FIRST_BOOT, 1)], 70),
        name: Some("web-1".to_owned()),
        disowned: None,
        incidents: Vec::new(),
    }
}

/// A copy of the journal as it was at record 45, opened by another process.
fn copy(acknowledged: u64, sealed: u64) -> RegisterRequest {
    RegisterRequest {
        boot_id: Uuid::from_u128(4),
        lineage: journal(&[(FIRST_BOOT, 1), (4, 46)], 50),
        ..request(acknowledged, sealed)
    }
}

/// Ten records went into each frame.
fn at(applied: u64) -> Agent {
    let mut agent = register(None, &request(0, 0), None, NOW).agent;
    for seq in 1..=applied {
        advance(&mut agent, seq, true);
    }
    agent.watermark = LATER;
    agent
}

fn advance(agent: &mut Agent, seq: u64, whole: bool) {
    agent.applied = position(seq);
    agent.history.advance(Reach {
        record: seq * 10,
        whole,
        backfilling: false,
    });
}

fn actions(registered: &Registered) -> Vec<&str> {
    let entries = registered.audit.iter();
    entries.map(|entry| entry.action.as_str()).collect()
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
    assert!(found.audit.is_empty());
}

#[test]
fn a_new_agent_with_frames_to_send_promises_nothing_yet() {
    let found = register(None, &request(0, 3), None, NOW);
    assert_eq!(found.agent.watermark, Timestamp::from_micros(0));
}

#[test]
fn an_agent_that_goes_on_gets_the_next_epoch_and_keeps_its_watermark() {
    for sealed in [7, 8, 9] {
        let known = Some(position(6).digest);
        let found = register(Some(&at(7)), &request(6, sealed), known, NOW);
        assert_eq!(found.registration.status, RegisterStatus::Resumed);
        assert_eq!(
            (found.registration.epoch, found.registration.applied),
            (2, position(7))
        );
        assert_eq!(found.registration.delivered.record, 70);
        assert_eq!(found.agent.watermark, LATER);
        assert!(found.audit.is_empty() && found.agent.alarms.is_empty());
    }
}

#[test]
fn a_restarted_agent_goes_on_too() {
    let restarted = RegisterRequest {
        boot_id: Uuid::from_u128(4),
        lineage: journal(&[(FIRST_BOOT, 1), (4, 71)], 75),
        ..request(7, 8)
    };
    let found = register(Some(&at(7)), &restarted, None, NOW);
    assert_eq!(found.registration.status, RegisterStatus::Resumed);
    assert_eq!(found.registration.delivered.record, 70);
    assert_eq!(found.agent.former_boots, [Uuid::from_u128(FIRST_BOOT)]);
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
fn an_older_state_is_a_rollback_at_any_distance() {
    // One frame behind, many behind, and with frames of its own under the applied number and beyond it.
    for (acknowledged, sealed) in [(3, 4), (4, 6), (4, 7), (4, 9)] {
        let mut older = copy(acknowledged, sealed);
        older.sealed.digest = Digest::new([99; 32]);
        let known = Some(position(acknowledged).digest);
        let found = register(Some(&at(7)), &older, known, NOW);
        assert_eq!(
            found.registration.status,
            RegisterStatus::Rollback,
            "{sealed}"
        );
        assert_eq!(
            (found.registration.epoch, found.registration.applied),
            (2, position(7))
        );
        assert_eq!(found.registration.delivered.record, 45);
        assert_eq!(found.agent.watermark, NOW, "it may take back its promise");
        assert_eq!(found.agent.alarms, [Alarm::RolledBack].into());
        assert_eq!(actions(&found), ["agent.rolled_back"]);
        // Its answer was lost; it asks again, and is recorded once. Frames beyond the applied one do not show by
        // themselves that the applied one is not its own: it says so.
        older.disowned = (sealed > 7).then(|| position(7));
        let again = register(Some(&found.agent), &older, known, NOW);
        assert_eq!(again.registration.status, RegisterStatus::Rollback);
        assert_eq!(again.registration.delivered.record, 45);
        assert!(again.audit.is_empty());
        // It has gone behind the applied frame.
        let behind = RegisterRequest {
            acknowledged: position(7),
            sealed: position(7),
            disowned: None,
            ..older
        };
        let on = register(Some(&again.agent), &behind, None, NOW);
        assert_eq!(on.registration.status, RegisterStatus::Resumed);
    }
}

#[test]
fn a_superseded_process_that_speaks_again_is_a_fork_and_keeps_what_is_its_own() {
    let copy_in_session = register(Some(&at(7)), &copy(4, 4), None, NOW).agent;
    // Nothing of the copy has arrived: the original goes on, and the copy is the one that is superseded.
    let original = request(7, 7);
    let found = register(Some(&copy_in_session), &original, None, NOW);
    assert_eq!(found.registration.status, RegisterStatus::Resumed);

    // A frame of the copy has arrived, which holds what it took by itself, up to its record 50.
    let mut agent = copy_in_session;
    agent.applied = position(8);
    agent.history.advance(Reach {
        record: 50,
        whole: true,
        backfilling: false,
    });
    let epoch = agent.epoch;
    let found = register(Some(&agent), &original, None, NOW);
    assert_eq!(found.registration.status, RegisterStatus::Forked);
    assert_eq!(found.registration.delivered.record, 70);
    assert_eq!((found.registration.epoch, found.agent.epoch), (0, epoch));
    assert!(found.agent.alarms.contains(&Alarm::Forked));
    assert_eq!(actions(&found), ["agent.forked"]);
    assert_eq!(
        found.audit[0].detail["records_the_other_copy_has_yet_to_deliver"],
        serde_json::Value::Null
    );
}

#[test]
fn a_fork_leaves_what_both_took_to_the_one_that_delivers() {
    // Both register before anything that one of them took has arrived; then the original delivers a part of a seal.
    let mut agent = register(Some(&at(4)), &copy(4, 4), None, NOW).agent;
    agent = register(Some(&agent), &request(4, 5), None, NOW).agent;
    advance(&mut agent, 5, false);
    let mut twin = copy(4, 5);
    twin.sealed.digest = Digest::new([99; 32]);
    let found = register(Some(&agent), &twin, None, NOW);
    assert_eq!(found.registration.status, RegisterStatus::Forked);
    assert_eq!(found.registration.delivered.record, 45);
    assert_eq!(found.registration.delivered.torn_after, Some(40));
}

#[test]
fn an_agent_that_disowns_the_applied_frame_has_another_history() {
    // As long as the applied chain, and no record of it is missing: only the digests differ.
    let mut twin = copy(4, 9);
    twin.lineage = journal(&[(FIRST_BOOT, 1), (4, 71)], 80);
    let found = register(Some(&at(7)), &twin, None, NOW);
    assert_eq!(found.registration.status, RegisterStatus::Resumed);
    twin.disowned = Some(position(7));
    let found = register(Some(&found.agent), &twin, None, NOW);
    assert_eq!(found.registration.status, RegisterStatus::Rollback);
    assert_eq!(found.registration.delivered.record, 70);
}

#[test]
fn another_frame_under_an_acknowledged_number_is_another_history() {
    let known = Some(Digest::new([99; 32]));
    let found = register(Some(&at(7)), &request(6, 9), known, NOW);
    assert_eq!(found.registration.status, RegisterStatus::Rollback);
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
    assert_eq!(actions(&found), ["agent.lost_state"]);
    let again = register(Some(&found.agent), &stranger, None, NOW);
    assert!(again.audit.is_empty());
}

#[test]
fn a_fresh_state_under_a_known_name_is_a_lost_state_unless_the_other_left_or_became_it() {
    let fresh = RegisterRequest {
        agent_id: AgentId::new(Uuid::from_u128(77)),
        ..request(0, 0)
    };
    let (agent, entry) = replace(&at(7), &fresh, NOW).expect("it has not left");
    assert_eq!(agent.alarms, [Alarm::LostState].into());
    assert_eq!(entry.action, "agent.lost_state");
    let gone = Agent {
        farewell: true,
        ..at(7)
    };
    let retired = Agent {
        retired_at: Some(NOW),
        ..at(7)
    };
    assert!(replace(&gone, &fresh, NOW).is_none());
    assert!(replace(&retired, &fresh, NOW).is_none());
    assert!(replace(&at(7), &request(0, 0), NOW).is_none());
    let renamed = RegisterRequest {
        incidents: vec![incident(1)],
        ..fresh
    };
    assert!(replace(&at(7), &renamed, NOW).is_none());
}

fn incident(id: u128) -> Incident {
    Incident {
        id: Uuid::from_u128(id),
        at: NOW,
        kind: IncidentKind::Forked,
        former_agent_id: AgentId::new(Uuid::from_u128(1)),
        agent_id: AgentId::new(Uuid::from_u128(77)),
        missing: Some(Stretch { first: 3, last: 5 }),
        repeated: None,
        message: "a copy".to_owned(),
    }
}

#[test]
fn what_an_agent_tells_of_itself_is_recorded_once() {
    let telling = RegisterRequest {
        incidents: vec![incident(1), incident(2), incident(1)],
        ..request(0, 0)
    };
    let found = register(None, &telling, None, NOW);
    assert_eq!(actions(&found), ["agent.reported", "agent.reported"]);
    assert_eq!(found.agent.alarms, [Alarm::EventsMissing].into());
    assert_eq!(found.audit[0].detail["missing"]["last"], 5);
    let again = register(Some(&found.agent), &telling, None, NOW);
    assert!(again.audit.is_empty());
}

#[test]
fn an_agent_ahead_of_the_collector_is_recorded_once_for_each_loss() {
    let found = register(Some(&at(7)), &request(9, 9), None, NOW);
    assert_eq!(found.registration.status, RegisterStatus::Resumed);
    assert_eq!(actions(&found), ["agent.ahead_of_collector"]);
    assert_eq!(found.agent.alarms, [Alarm::CollectorBehind].into());
    let again = register(Some(&found.agent), &request(9, 9), None, NOW);
    assert!(again.audit.is_empty());
    let new = register(None, &request(9, 9), None, NOW);
    assert_eq!(actions(&new), ["agent.ahead_of_collector"]);
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
