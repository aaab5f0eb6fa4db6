//! Usage over any range of minutes, with its sources.

use std::collections::BTreeMap;
use std::sync::Arc;

use submeter_collector::storage::{Storage, UsageStore};
use submeter_collector::usage::Granularity;
use submeter_common::aggregate::{Group, Partial};
use submeter_common::protocol::Row;
use submeter_common::time::{Period, Window};

use crate::Engine;
use crate::builders::{
    Sender, agent_id, count, customer, events, is_applied, meter, minute, period, row, sum,
};

/// Four days of rows of two agents: a count, and a sum by region.
async fn filled(store: &impl Storage, seed: u64) -> Vec<Row> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut all = Vec::new();
    let mut senders = [
        Sender::registered(1, store).await,
        Sender::registered(2, store).await,
    ];
    for _ in 0..20 {
        let mut rows = BTreeMap::new();
        for _ in 0..50 {
            let at = random.i32(0..4 * 1440);
            let region = ["eu", "us"]
                .get(random.usize(0..3))
                .map(|region| (*region).to_owned());
            let tenths = random.i32(-500..500);
            let amount = sum(
                random.u64(1..9),
                &format!(
                    "{}{}.{}",
                    if tenths < 0 { "-" } else { "" },
                    tenths.abs() / 10,
                    tenths.abs() % 10
                ),
            );
            let group = Group::of([region]);
            rows.insert(
                (1, at, format!("{group:?}")),
                Row {
                    group,
                    ..row("acme", "gigabytes", minute(at), amount)
                },
            );
            rows.insert(
                (0, at, String::new()),
                row("acme", "calls", minute(at), count(random.u64(1..9))),
            );
        }
        let rows: Vec<Row> = rows.into_values().collect();
        all.extend(rows.iter().cloned());
        let sender = &mut senders[random.usize(0..2)];
        assert!(is_applied(
            &store.apply_frame(sender.seal(rows)).await.unwrap()
        ));
    }
    all
}

/// The totals by group, straight from the rows.
fn expected(rows: &[Row], of: &str, start: i32, end: i32) -> BTreeMap<String, Partial> {
    let mut totals: BTreeMap<String, Partial> = BTreeMap::new();
    let wanted = |row: &&Row| {
        row.meter_id.as_str() == of && (minute(start)..minute(end)).contains(&row.window)
    };
    for row in rows.iter().filter(wanted) {
        let group = format!("{:?}", row.group);
        totals
            .entry(group)
            .or_insert_with(|| Partial::identity(row.partial.kind()))
            .merge(&row.partial)
            .unwrap();
    }
    totals
}

async fn found(store: &impl Storage, of: &str, start: i32, end: i32) -> BTreeMap<String, Partial> {
    let groups = store
        .usage(&customer("acme"), &meter(of), period(start, end))
        .await
        .unwrap();
    for usage in &groups {
        assert!(usage.cell.is_conserved(), "{usage:?}");
    }
    groups
        .into_iter()
        .map(|usage| (format!("{:?}", usage.group), usage.cell.partial))
        .collect()
}

pub(crate) async fn any_range_of_minutes_is_the_sum_of_its_minutes<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let seed = 20_240_101;
    let rows = filled(&*store, seed).await;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut ranges = vec![
        (0, 0),
        (0, 1),
        (0, 1440),
        (0, 5760),
        (-10_000, 10_000),
        (100, 50),
        (59, 61),
        (1380, 2940),
    ];
    ranges.extend((0..150).map(|_| (random.i32(-100..5900), random.i32(-100..5900))));
    for (start, end) in ranges {
        for of in ["calls", "gigabytes"] {
            assert_eq!(
                found(&*store, of, start, end).await,
                expected(&rows, of, start, end),
                "{of} [{start}, {end})"
            );
        }
    }
}

pub(crate) async fn a_series_costs_what_it_holds_and_not_what_it_spans<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    filled(&*store, 7).await;
    let centuries = Period {
        start: Window::from_minute(0).start(),
        end: Window::from_minute(200_000_000).start(),
    };
    let begun = std::time::Instant::now();
    let points = store
        .series(
            &customer("acme"),
            &meter("calls"),
            centuries,
            Granularity::Minute,
            10,
        )
        .await
        .unwrap();
    assert_eq!(points.len(), 10);
    let nobody = store
        .series(
            &customer("nobody"),
            &meter("calls"),
            centuries,
            Granularity::Minute,
            10,
        )
        .await
        .unwrap();
    assert!(nobody.is_empty());
    let took = begun.elapsed();
    assert!(took < std::time::Duration::from_secs(1), "{took:?}");
}

pub(crate) async fn a_series_is_cut_to_its_range_and_bounded<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let rows = filled(&*store, 7).await;
    let (start, end) = (30, 4000);
    let of = |granularity, limit| {
        let store = Arc::clone(&store);
        async move {
            store
                .series(
                    &customer("acme"),
                    &meter("calls"),
                    period(start, end),
                    granularity,
                    limit,
                )
                .await
                .unwrap()
        }
    };
    for (granularity, minutes) in [
        (Granularity::Minute, 1),
        (Granularity::Hour, 60),
        (Granularity::Day, 1440),
    ] {
        let points = of(granularity, usize::MAX).await;
        let all: u64 = points.iter().map(|point| point.cell.partial.events).sum();
        let whole: u64 = expected(&rows, "calls", start, end)
            .values()
            .map(|total| total.events)
            .sum();
        assert_eq!(all, whole, "{granularity:?}");
        assert!(points.is_sorted_by_key(|point| point.period.start));
        for point in &points {
            let (from, to) = (
                point.period.start.window().minute(),
                point.period.end.window().minute(),
            );
            assert!(to - from <= minutes && to > from, "{point:?}");
            let base = minute(0).minute();
            let total = expected(&rows, "calls", from - base, to - base);
            assert_eq!(
                total.values().map(|total| total.events).sum::<u64>(),
                point.cell.partial.events
            );
        }
        assert_eq!(of(granularity, 2).await, points[..2]);
    }
    let hours = of(Granularity::Hour, usize::MAX).await;
    assert_eq!(
        hours[0].period.start,
        minute(30).start(),
        "the first hour is cut"
    );
}

pub(crate) async fn sources_name_every_event<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let mut one = Sender::registered(1, &*store).await;
    let mut other = Sender::registered(2, &*store).await;
    for (sender, at, events) in [
        (true, 0, 2),
        (false, 0, 3),
        (true, 61, 4),
        (true, 2000, 5),
        (false, 1, 6),
    ] {
        let sender = if sender { &mut one } else { &mut other };
        let frame = sender.seal(vec![row("acme", "calls", minute(at), count(events))]);
        assert!(is_applied(&store.apply_frame(frame).await.unwrap()));
    }
    let groups = store
        .usage(&customer("acme"), &meter("calls"), period(0, 1440))
        .await
        .unwrap();
    let sources: Vec<_> = groups[0]
        .cell
        .sources
        .iter()
        .map(|source| {
            (
                source.agent_id,
                source.first_seq,
                source.last_seq,
                source.events,
            )
        })
        .collect();
    assert_eq!(sources, [(agent_id(1), 1, 2, 6), (agent_id(2), 1, 2, 9)]);
}

pub(crate) async fn a_frame_is_in_a_total_whole_or_not_at_all<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let mut sender = Sender::registered(1, &*store).await;
    let writer = Arc::clone(&store);
    let writing = tokio::spawn(async move {
        for _ in 0..100 {
            // One event in each kind of cell that the range below is cut into.
            let rows =
                [30, 70, 2000, 2900, 2950].map(|at| row("acme", "calls", minute(at), count(1)));
            assert!(is_applied(
                &writer.apply_frame(sender.seal(rows.into())).await.unwrap()
            ));
        }
    });
    let mut seen = 0;
    while !writing.is_finished() {
        let now = events(&*store, "acme", "calls", period(30, 2951)).await;
        assert_eq!(now % 5, 0);
        assert!(now >= seen);
        seen = now;
    }
    writing.await.unwrap();
    assert_eq!(
        events(&*store, "acme", "calls", period(30, 2951)).await,
        500
    );
}

pub(crate) async fn usage_of_the_unknown_is_kept<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let mut sender = Sender::registered(1, &*store).await;
    let long = "x".repeat(256);
    let rows = vec![
        row(&long, &long, minute(0), count(1)),
        row("nobody", "nothing", minute(0), count(1)),
    ];
    assert!(is_applied(
        &store.apply_frame(sender.seal(rows)).await.unwrap()
    ));
    assert_eq!(events(&*store, &long, &long, period(0, 1)).await, 1);
    assert_eq!(events(&*store, "nobody", "nothing", period(0, 1)).await, 1);
    assert_eq!(events(&*store, "nobod", "nothing", period(0, 1)).await, 0);
}
