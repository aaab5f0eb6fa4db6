//! Frames count exactly once, in order, whatever the network and the process do.

use std::sync::Arc;

use submeter_collector::agents::Alarm;
use submeter_collector::merge::FrameOutcome;
use submeter_collector::outbox::Topic;
use submeter_collector::storage::{
    AgentStore, CatalogStore, IncomingFrame, OutboxStore as _, Page, PutOutcome, RetireOutcome,
    Storage, UsageStore,
};
use submeter_common::id::Digest;
use submeter_common::protocol::{Position, RegisterStatus};
use submeter_common::quantity::Quantity;
use uuid::Uuid;

use crate::Engine;
use crate::builders::{
    DAY, NEW_YEAR, Sender, after, agent_id, count, customer, events, is_applied, meter, minute,
    period, row, sum,
};
use crate::catalog::definition;

async fn send(store: &impl Storage, frame: &IncomingFrame) -> FrameOutcome {
    store.apply_frame(frame.clone()).await.unwrap()
}

async fn actions(store: &impl Storage) -> Vec<String> {
    let log = store.audit(Page::new(0, 100)).await.unwrap();
    log.into_iter()
        .rev()
        .map(|record| record.entry.action)
        .collect()
}

pub(crate) async fn a_frame_counts_once_however_often_it_comes<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let mut sender = Sender::registered(1, &*store).await;
    let first = sender.seal(vec![row("acme", "calls", minute(0), count(3))]);
    let second = sender.seal(vec![row("acme", "calls", minute(0), count(4))]);
    let at = |frame: &IncomingFrame| Position {
        seq: frame.frame.header.seq,
        digest: frame.digest,
    };

    let applied = send(&*store, &first).await;
    let expected = FrameOutcome::Applied {
        applied: at(&first),
        rows: 1,
        quarantined: 0,
        unconserved: false,
    };
    assert_eq!(applied, expected);
    assert_eq!(
        send(&*store, &first).await,
        FrameOutcome::Duplicate {
            applied: at(&first)
        }
    );
    assert!(is_applied(&send(&*store, &second).await));
    for frame in [&first, &second, &first] {
        assert_eq!(
            send(&*store, frame).await,
            FrameOutcome::Duplicate {
                applied: at(&second)
            }
        );
    }
    assert_eq!(events(&*store, "acme", "calls", period(0, 1)).await, 7);
    let agent = store.agent(sender.agent_id).await.unwrap().unwrap();
    assert_eq!(
        (agent.applied, agent.rows_applied, agent.receipts.accepted),
        (at(&second), 2, 7)
    );
}

pub(crate) async fn copies_sent_at_once_count_once<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let mut sender = Sender::registered(1, &*store).await;
    for seq in 1..=5_u64 {
        let frame = sender.seal(vec![row("acme", "calls", minute(0), count(1))]);
        let copies = (0..32).map(|_| {
            let (store, frame) = (Arc::clone(&store), frame.clone());
            tokio::spawn(async move { store.apply_frame(frame).await.unwrap() })
        });
        let mut applied = 0;
        for copy in copies.collect::<Vec<_>>() {
            match copy.await.unwrap() {
                FrameOutcome::Applied { .. } => applied += 1,
                FrameOutcome::Duplicate { applied } => assert_eq!(applied.seq, seq),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(applied, 1);
    }
    assert_eq!(events(&*store, "acme", "calls", period(0, 1)).await, 5);
}

pub(crate) async fn every_agent_is_applied_in_its_own_order<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let agents = (1..=16_u128).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut sender = Sender::registered(number, &*store).await;
            for _ in 0..20 {
                let rows = (0..5)
                    .map(|at| row("acme", "calls", minute(at * 31), count(1)))
                    .collect();
                assert!(is_applied(&send(&*store, &sender.seal(rows)).await));
            }
        })
    });
    for agent in agents.collect::<Vec<_>>() {
        agent.await.unwrap();
    }
    assert_eq!(
        events(&*store, "acme", "calls", period(0, 1440)).await,
        16 * 20 * 5
    );
    let agents = store.agents().await.unwrap();
    assert_eq!(agents.len(), 16);
    assert!(
        agents
            .iter()
            .all(|agent| agent.applied.seq == 20 && agent.rows_applied == 100)
    );
}

pub(crate) async fn gaps_forks_and_old_sessions_are_told_apart<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let mut sender = Sender::new(1);
    let unknown = sender.seal(Vec::new());
    assert_eq!(send(&*store, &unknown).await, FrameOutcome::UnknownAgent);

    let mut sender = Sender::registered(1, &*store).await;
    let mut twin = sender.clone();
    let first = sender.seal(vec![row("acme", "calls", minute(0), count(1))]);
    let second = sender.seal(vec![row("acme", "calls", minute(0), count(1))]);
    let third = sender.seal(vec![row("acme", "calls", minute(0), count(1))]);
    let applied = Position::default();
    assert_eq!(
        send(&*store, &second).await,
        FrameOutcome::Gap {
            applied,
            expected: 1
        }
    );
    assert!(is_applied(&send(&*store, &first).await));
    let applied = Position {
        seq: 1,
        digest: first.digest,
    };
    assert_eq!(
        send(&*store, &third).await,
        FrameOutcome::Gap {
            applied,
            expected: 2
        }
    );

    // The twin began from the same state and counted something else.
    let twins_first = twin.seal(vec![row("acme", "calls", minute(0), count(50))]);
    let twins_second = twin.seal(vec![row("acme", "calls", minute(0), count(50))]);
    for _ in 0..3 {
        assert_eq!(
            send(&*store, &twins_first).await,
            FrameOutcome::Fork { applied }
        );
        assert_eq!(
            send(&*store, &twins_second).await,
            FrameOutcome::Fork { applied }
        );
    }
    assert_eq!(actions(&*store).await, ["agent.forked"]);
    assert_eq!(
        store.agent(sender.agent_id).await.unwrap().unwrap().alarms,
        [Alarm::Forked].into()
    );

    let mut old = second.clone();
    sender.register(&*store).await;
    assert_eq!(
        send(&*store, &old).await,
        FrameOutcome::Fenced { applied, epoch: 2 }
    );
    old.epoch = 2;
    assert!(
        is_applied(&send(&*store, &old).await),
        "the same bytes under the new session"
    );
    assert_eq!(events(&*store, "acme", "calls", period(0, 1)).await, 2);
}

pub(crate) async fn a_repeated_frame_of_long_ago_is_recognised<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let mut sender = Sender::registered(1, &*store).await;
    let first = sender.seal(vec![row("acme", "calls", minute(0), count(1))]);
    assert!(is_applied(&send(&*store, &first).await));
    for _ in 0..100 {
        assert!(is_applied(&send(&*store, &sender.seal(Vec::new())).await));
    }
    assert!(
        matches!(send(&*store, &first).await, FrameOutcome::Duplicate { applied } if applied.seq == 101)
    );
    let forged = IncomingFrame {
        digest: Digest::new([9; 32]),
        ..first
    };
    assert!(matches!(
        send(&*store, &forged).await,
        FrameOutcome::Fork { .. }
    ));
}

pub(crate) async fn what_was_answered_survives_a_restart_and_a_kill<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let mut sender = Sender::registered(1, &*store).await;
    let mut frames = Vec::new();
    for number in 0..30 {
        let frame = sender.seal(vec![row("acme", "calls", minute(number), sum(2, "0.5"))]);
        assert!(is_applied(&send(&*store, &frame).await));
        frames.push(frame);
    }
    let killed = engine.killed();
    drop(store);
    for engine in [killed, engine] {
        let store = engine.open();
        let total = store
            .usage(&customer("acme"), &meter("calls"), period(0, 60))
            .await
            .unwrap();
        assert_eq!(total.len(), 1);
        assert_eq!(
            total[0].cell.partial.value(),
            Quantity::parse("15").unwrap()
        );
        assert_eq!(total[0].cell.partial.events, 60);
        for frame in &frames {
            assert!(matches!(
                send(&*store, frame).await,
                FrameOutcome::Duplicate { .. }
            ));
        }
        let next = sender
            .clone()
            .seal(vec![row("acme", "calls", minute(0), sum(1, "1"))]);
        assert!(is_applied(&send(&*store, &next).await));
        assert_eq!(events(&*store, "acme", "calls", period(0, 60)).await, 61);
    }
}

pub(crate) async fn rows_that_do_not_fit_are_set_aside_and_the_position_advances<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let mut sender = Sender::registered(1, &*store).await;
    let largest = "999999999999999999999999999999";
    let rows = vec![
        row("acme", "calls", minute(0), count(1)),
        row("acme", "sums", minute(0), sum(1, largest)),
    ];
    assert!(is_applied(&send(&*store, &sender.seal(rows)).await));

    // Another minute of the same day: only the day's cell knows that the kinds differ.
    let rows = vec![
        row("acme", "calls", minute(700), sum(5, "1")),
        row("acme", "sums", minute(700), sum(1, "1")),
    ];
    let frame = sender.seal(rows);
    let outcome = send(&*store, &frame).await;
    let FrameOutcome::Applied {
        rows: 1,
        quarantined: 1,
        applied,
        ..
    } = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(applied.seq, 2);
    assert_eq!(events(&*store, "acme", "calls", period(0, 1440)).await, 1);
    assert_eq!(
        events(&*store, "acme", "calls", period(700, 701)).await,
        0,
        "in no cell at all"
    );
    assert_eq!(events(&*store, "acme", "sums", period(0, 1440)).await, 2);

    let listed = store.quarantined(Page::new(0, 10)).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].agent_id, listed[0].seq, listed[0].events),
        (sender.agent_id, 2, 5)
    );
    assert_eq!(
        (listed[0].customer_id.as_str(), listed[0].meter_id.as_str()),
        ("acme", "calls")
    );
    assert!(listed[0].reason.contains("Count"), "{}", listed[0].reason);
    let agent = store.agent(sender.agent_id).await.unwrap().unwrap();
    assert_eq!((agent.rows_applied, agent.rows_quarantined), (3, 1));
    assert!(matches!(
        send(&*store, &frame).await,
        FrameOutcome::Duplicate { .. }
    ));
    assert_eq!(store.quarantined(Page::new(0, 10)).await.unwrap().len(), 1);
}

pub(crate) async fn a_row_of_another_aggregation_than_its_meters_poisons_no_total<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let written = store.put_meter(None, &definition("calls")).await.unwrap();
    assert_eq!(written, PutOutcome::Written);
    let mut sender = Sender::registered(1, &*store).await;
    // The first row of its day: nothing is stored that it could contradict.
    let wrong = sender.seal(vec![row("acme", "calls", minute(0), sum(5, "1"))]);
    let outcome = send(&*store, &wrong).await;
    assert!(
        matches!(
            outcome,
            FrameOutcome::Applied {
                rows: 0,
                quarantined: 1,
                ..
            }
        ),
        "{outcome:?}"
    );
    let right = sender.seal(vec![row("acme", "calls", minute(0), count(2))]);
    assert!(is_applied(&send(&*store, &right).await));
    assert_eq!(events(&*store, "acme", "calls", period(0, 1440)).await, 2);
}

pub(crate) async fn receipts_that_do_not_add_up_are_recorded_and_the_usage_counts<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let mut sender = Sender::registered(1, &*store).await;
    let one = || vec![row("acme", "calls", minute(0), count(1))];
    assert!(is_applied(&send(&*store, &sender.seal(one())).await));
    sender.receipts.unmatched += 1;
    let outcome = send(&*store, &sender.seal(one())).await;
    assert!(
        matches!(
            outcome,
            FrameOutcome::Applied {
                rows: 1,
                unconserved: true,
                ..
            }
        ),
        "{outcome:?}"
    );
    sender.receipts = Default::default();
    let outcome = send(&*store, &sender.seal(one())).await;
    assert!(
        matches!(
            outcome,
            FrameOutcome::Applied {
                rows: 1,
                unconserved: true,
                ..
            }
        ),
        "{outcome:?}"
    );
    assert!(is_applied(&send(&*store, &sender.seal(one())).await));
    assert_eq!(events(&*store, "acme", "calls", period(0, 1)).await, 4);
    assert_eq!(
        actions(&*store).await,
        ["agent.unconserved"],
        "recorded once until a person has looked"
    );
}

pub(crate) async fn registers_are_judged_and_recorded<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let mut sender = Sender::new(1);
    let answer = sender.register(&*store).await;
    assert_eq!(
        (answer.status, answer.epoch, answer.applied),
        (RegisterStatus::New, 1, Position::default())
    );
    let backup = sender.clone();
    for _ in 0..3 {
        let frame = sender.seal(vec![row("acme", "calls", minute(0), count(1))]);
        assert!(is_applied(&send(&*store, &frame).await));
    }
    let answer = sender.register(&*store).await;
    assert_eq!(
        (answer.status, answer.epoch, answer.applied),
        (RegisterStatus::Resumed, 2, sender.sealed)
    );

    let mut restored = Sender {
        boot: Uuid::from_u128(2),
        ..backup.clone()
    };
    let answer = restored.register(&*store).await;
    assert_eq!(
        (answer.status, answer.epoch, answer.applied),
        (RegisterStatus::Rollback, 3, sender.sealed)
    );
    restored.sealed = answer.applied;
    assert!(
        !is_applied(&send(&*store, &sender.seal(Vec::new())).await),
        "fenced by the restored one"
    );
    let frame = restored.seal(vec![row("acme", "calls", minute(0), count(1))]);
    assert!(matches!(
        send(&*store, &frame).await,
        FrameOutcome::Applied { rows: 1, .. }
    ));

    let mut lost = Sender {
        nonce: Uuid::from_u128(77),
        ..Sender::new(1)
    };
    let answer = lost.register(&*store).await;
    assert_eq!(
        (answer.status, answer.epoch),
        (RegisterStatus::LostState, 0)
    );
    assert!(matches!(
        send(&*store, &lost.seal(Vec::new())).await,
        FrameOutcome::Fenced { .. }
    ));
    let frame = restored.seal(vec![row("acme", "calls", minute(0), count(1))]);
    assert!(
        matches!(
            send(&*store, &frame).await,
            FrameOutcome::Applied { rows: 1, .. }
        ),
        "not disturbed"
    );
    assert_eq!(events(&*store, "acme", "calls", period(0, 1)).await, 5);

    let recorded = actions(&*store).await;
    assert_eq!(recorded, ["agent.rolled_back", "agent.lost_state"]);
    drop(store);
    assert_eq!(restored.register(&*engine.open()).await.epoch, 4);
}

pub(crate) async fn a_retired_agent_is_fenced_until_it_registers_and_never_waited_for<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    assert_eq!(
        store
            .retire_agent(agent_id(1), "key_1", NEW_YEAR)
            .await
            .unwrap(),
        RetireOutcome::NotFound
    );
    let mut sender = Sender::registered(1, &*store).await;
    assert!(
        store
            .agent(sender.agent_id)
            .await
            .unwrap()
            .unwrap()
            .is_live()
    );
    assert_eq!(
        store
            .retire_agent(sender.agent_id, "key_1", NEW_YEAR)
            .await
            .unwrap(),
        RetireOutcome::Retired
    );
    assert_eq!(
        store
            .retire_agent(sender.agent_id, "key_1", NEW_YEAR)
            .await
            .unwrap(),
        RetireOutcome::AlreadyRetired
    );
    let mut frame = sender.seal(vec![row("acme", "calls", minute(0), count(1))]);
    assert!(matches!(
        send(&*store, &frame).await,
        FrameOutcome::Fenced { .. }
    ));

    assert_eq!(
        sender.register(&*store).await.status,
        RegisterStatus::Retired
    );
    frame.epoch = sender.epoch;
    assert!(is_applied(&send(&*store, &frame).await));
    assert_eq!(events(&*store, "acme", "calls", period(0, 1)).await, 1);
    assert!(
        !store
            .agent(sender.agent_id)
            .await
            .unwrap()
            .unwrap()
            .is_live()
    );
    assert_eq!(actions(&*store).await, ["agent.retired"]);
}

pub(crate) async fn an_agent_that_is_silent_is_told_of_once_until_it_is_heard_of<E: Engine>() {
    let store = E::new().open();
    let mut sender = Sender::registered(1, &*store).await;
    let mut gone = Sender::registered(2, &*store).await;
    gone.farewell = true;
    let last = gone.seal(Vec::new());
    assert!(is_applied(&store.apply_frame(last).await.unwrap()));
    let raise = async |heard_by| store.raise_silent(heard_by, after(DAY)).await.unwrap();
    assert_eq!(raise(after(-1)).await, []);
    assert_eq!(raise(after(1)).await, [sender.agent_id]);
    // Neither told twice nor quieted by a person: it is silent still.
    assert_eq!(raise(after(1)).await, []);
    let _ = store
        .acknowledge_agent(sender.agent_id, "key_1", after(DAY))
        .await
        .unwrap();
    let agent = store.agent(sender.agent_id).await.unwrap().unwrap();
    assert_eq!(agent.alarms, [Alarm::Silent].into());
    assert_eq!(raise(after(1)).await, []);

    let frame = sender.seal(Vec::new());
    assert!(is_applied(&store.apply_frame(frame).await.unwrap()));
    let agent = store.agent(sender.agent_id).await.unwrap().unwrap();
    assert!(agent.alarms.is_empty());
    assert_eq!(raise(agent.last_seen_at).await, [sender.agent_id]);
    let told = store.messages(0, 10).await.unwrap();
    assert!(
        told.iter()
            .all(|message| message.message.topic == Topic::AgentSilent)
    );
    assert_eq!(told.len(), 2);
}
