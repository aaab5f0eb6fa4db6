//! Prices of more than one step on invoices: derived on the line, corrected by the one rule.

use super::world::{World, at, by_tariff, decimal};
use crate::{
    billing::{Invoice, InvoiceLine, LineKind},
    catalog::{Frequency, Interval, UsageBasedPrice},
    money::{Currency, Decimal, Rounding},
    rating::{
        Conversion, EventPrice, Factor, Matrix, MatrixRow, Model, Package, Tariff, Tier, Usage,
        rate,
    },
};
use submeter_common::AggregationKind::{Max, Sum};

fn tier(up_to: Option<i64>, price: &str, flat_price: i64) -> Tier {
    Tier {
        up_to: up_to.map(Decimal::from),
        price_per_unit: decimal(price),
        package: None,
        flat_price,
    }
}

fn graduated() -> Tariff {
    Tariff::of(Model::Graduated {
        tiers: vec![tier(Some(10), "100", 500), tier(None, "50.5", 0)],
    })
}

fn volume() -> Tariff {
    Tariff::of(Model::Volume {
        tiers: vec![tier(Some(15), "1000", 0), tier(None, "500", 0)],
    })
}

fn per_unit(price: &str) -> Model {
    Model::PerUnit {
        price_per_unit: decimal(price),
        fixed_price: 0,
    }
}

fn by_region() -> Tariff {
    Tariff {
        matrix: Some(Matrix {
            keys: vec!["region".to_owned()],
            rows: vec![MatrixRow {
                values: vec!["eu".to_owned()],
                model: per_unit("300"),
            }],
        }),
        ..Tariff::of(per_unit("100"))
    }
}

fn lines_of(invoices: &[Invoice]) -> impl Iterator<Item = &InvoiceLine> {
    invoices.iter().flat_map(|invoice| &invoice.lines)
}

/// Bills January with what came in time, corrects it with what came late, and returns January's lines.
async fn billed(
    tariff: Tariff,
    in_time: &[(&str, &str)],
    late: &[(&str, &str)],
) -> Vec<InvoiceLine> {
    let mut world = World::new("2024-01-01").await;
    let group_by: &[&str] = if tariff.matrix.is_some() {
        &["region"]
    } else {
        &[]
    };
    world.meter_by("calls", Sum, group_by).await;
    let product = world
        .product(0, vec![by_tariff("calls", 0, tariff)], Vec::new())
        .await;
    world.subscribe(&product, "2024-01-01", 1).await;
    for (now, usage) in [("2024-02-01", in_time), ("2024-03-01", late)] {
        let used: Vec<_> = usage
            .iter()
            .map(|(meter, units)| (*meter, "2024-01-10T12:00:00Z", *units))
            .collect();
        world.deliver("2024-01-20", &used).await;
        let report = world.run_at(now).await;
        assert_eq!(report.failed_count, 0, "{report:?}");
    }
    let invoices = world.invoices().await;
    for invoice in &invoices {
        let sum: i64 = invoice.lines.iter().map(|line| line.amount).sum();
        assert_eq!(sum, invoice.total);
    }
    let is_january = |line: &&InvoiceLine| line.service_period.start == at("2024-01-01");
    lines_of(&invoices).filter(is_january).cloned().collect()
}

#[tokio::test]
async fn a_line_of_tiers_carries_its_derivation_and_a_late_tier_is_adjusted() {
    let lines = billed(graduated(), &[("calls", "8")], &[("calls", "4")]).await;
    let [usage, adjustment] = lines.as_slice() else {
        panic!("two lines: {lines:?}");
    };
    assert_eq!((usage.kind, usage.amount), (LineKind::Usage, 1300));
    let part = &usage.derivation.as_ref().unwrap().parts[0];
    assert_eq!(part.tiers.len(), 1);
    assert_eq!(part.tiers[0].flat_price, 500);
    // Twelve are 5.00 + 10.00 + 2 × 0.505, less 13.00.
    assert_eq!(
        (adjustment.kind, adjustment.amount),
        (LineKind::Adjustment, 301)
    );
    assert_eq!(adjustment.already_billed, Some(1300));
    assert_eq!(adjustment.unit_price, None);
    let part = &adjustment.derivation.as_ref().unwrap().parts[0];
    let units: Vec<String> = part
        .tiers
        .iter()
        .map(|step| step.quantity.to_string())
        .collect();
    assert_eq!(units, ["10", "2"]);
}

#[tokio::test]
async fn a_late_event_can_make_the_correction_negative() {
    let lines = billed(volume(), &[("calls", "15")], &[("calls", "1")]).await;
    let amounts: Vec<i64> = lines.iter().map(|line| line.amount).collect();
    assert_eq!(amounts, [15_000, -7_000], "L7");
}

#[tokio::test]
async fn groups_are_billed_at_their_prices() {
    let lines = billed(
        by_region(),
        &[("calls@eu", "2"), ("calls@us", "3"), ("calls@asia", "4")],
        &[("calls@eu", "1")],
    )
    .await;
    let amounts: Vec<i64> = lines.iter().map(|line| line.amount).collect();
    assert_eq!(amounts, [1300, 300]);
    assert_eq!(lines[0].quantity, decimal("9"));
    let derivation = lines[0].derivation.as_ref().unwrap();
    let shown: Vec<_> = derivation
        .parts
        .iter()
        .map(|part| (part.group.clone(), part.quantity.clone()))
        .collect();
    let eu = Some(vec!["eu".to_owned()]);
    assert_eq!(shown, [(eu, decimal("2")), (None, decimal("7"))]);
}

#[tokio::test]
async fn each_group_of_a_maximum_has_its_own() {
    let mut world = World::new("2024-01-01").await;
    world.meter_by("seats", Max, &["region"]).await;
    let product = world
        .product(0, vec![by_tariff("seats", 0, by_region())], Vec::new())
        .await;
    world.subscribe(&product, "2024-01-01", 1).await;
    let day = "2024-01-10T12:00:00Z";
    let used = [
        ("seats@eu", day, "2"),
        ("seats@us", day, "5"),
        ("seats@asia", day, "7"),
    ];
    world.deliver("2024-01-20", &used).await;
    world.run_at("2024-02-01").await;
    let invoices = world.invoices().await;
    // Two of eu; of all others together, the most is seven.
    let amounts: Vec<i64> = lines_of(&invoices).map(|line| line.amount).collect();
    assert_eq!(amounts, [600 + 700]);
}

/// What comes late costs what it would have cost in time, whatever the tariff and the split.
#[tokio::test]
async fn a_split_by_time_costs_what_the_whole_costs() {
    let package = Tariff::of(Model::Package {
        package: Package {
            package_size: decimal("7"),
            package_rounding: Rounding::Up,
        },
        price_per_package: decimal("99.5"),
        fixed_price: 10,
    });
    let bounded = Tariff {
        conversion: Some(Conversion {
            factor: Factor::DivideBy(decimal("3")),
            rounding: Some((Rounding::HalfAway, 3)),
        }),
        events: Some(EventPrice {
            price_per_event: decimal("0.4"),
            free_events: 1,
        }),
        minimum: Some(700),
        maximum: Some(900),
        ..Tariff::of(per_unit("77.7"))
    };
    for tariff in [graduated(), volume(), package, bounded] {
        for (in_time, late) in [("3", "9.25"), ("10", "2"), ("14.5", "30"), ("40", "-33")] {
            let whole = &decimal(in_time) + &decimal(late);
            let usage = Usage::of(whole).with_events(2);
            let expected = rate(&tariff, 0, &usage).unwrap().amount;
            let lines = billed(tariff.clone(), &[("calls", in_time)], &[("calls", late)]).await;
            let total: i64 = lines.iter().map(|line| line.amount).sum();
            assert_eq!(total, expected, "{in_time} and {late} late: {tariff:?}");
        }
    }
}

#[tokio::test]
async fn a_minimum_is_owed_without_usage_and_by_its_share_of_a_last_period() {
    let mut world = World::new("2024-01-01").await;
    world.meter("calls", Sum).await;
    let tariff = Tariff {
        minimum: Some(1000),
        ..Tariff::per_unit(decimal("1"))
    };
    let monthly = |count, interval| Frequency { count, interval };
    let price = UsageBasedPrice {
        currency: Currency::USD,
        fixed_price: 0,
        payment_frequency: monthly(1, Interval::Month),
        // January, and 15 of February's 29 days.
        subscription_period: monthly(46, Interval::Day),
        meters: vec![by_tariff("calls", 0, tariff)],
        discount: 0,
        purchasing_power_parity: false,
        tax_inclusive: false,
    };
    let product = world.product_of(price, Vec::new()).await;
    world.subscribe(&product, "2024-01-01", 1).await;
    world.run_at("2024-03-01").await;
    let invoices = world.invoices().await;
    let amounts: Vec<i64> = lines_of(&invoices).map(|line| line.amount).collect();
    assert_eq!(amounts, [1000, 517]);
}
