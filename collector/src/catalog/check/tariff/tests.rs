#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    money::Rounding,
    rating::{MatrixRow, ZeroUsage},
};

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

fn group_by() -> Vec<String> {
    ["region", "model"].map(str::to_owned).to_vec()
}

fn tier(up_to: Option<&str>, price: &str, flat_price: i64) -> Tier {
    Tier {
        up_to: up_to.map(decimal),
        price_per_unit: decimal(price),
        package: None,
        flat_price,
    }
}

fn graduated(tiers: Vec<Tier>) -> Model {
    Model::Graduated { tiers }
}

/// A tariff that uses everything there is.
fn everything() -> Tariff {
    let package = Package {
        package_size: decimal("10"),
        package_rounding: Rounding::Up,
    };
    Tariff {
        conversion: Some(Conversion {
            factor: Factor::DivideBy(decimal("1073741824")),
            rounding: None,
        }),
        model: graduated(vec![
            tier(Some("10"), "0", 0),
            tier(None, "0.000000000001", 5),
        ]),
        matrix: Some(Matrix {
            keys: vec!["model".to_owned()],
            rows: vec![MatrixRow {
                values: vec!["large".to_owned()],
                model: Model::Package {
                    package,
                    price_per_package: decimal("150"),
                    fixed_price: 0,
                },
            }],
        }),
        events: Some(EventPrice {
            price_per_event: decimal("0.5"),
            free_events: 0,
        }),
        minimum: Some(100),
        maximum: Some(100),
        zero_usage: ZeroUsage::Free,
    }
}

#[test]
fn a_tariff_that_can_be_computed_is_taken() {
    assert_eq!(check("p", &everything(), Some(&group_by())), Ok(()));
    let free_row = Tariff {
        matrix: everything().matrix.map(|matrix| Matrix {
            rows: vec![MatrixRow {
                values: vec!["internal".to_owned()],
                model: Model::Flat { fixed_price: 0 },
            }],
            ..matrix
        }),
        ..everything()
    };
    assert_eq!(check("p", &free_row, Some(&group_by())), Ok(()));
}

/// Changes a tariff that is right, and expects the field to be named.
#[track_caller]
fn refused(field: &str, change: impl FnOnce(&mut Tariff)) {
    let mut tariff = everything();
    change(&mut tariff);
    let error = check("p", &tariff, Some(&group_by())).unwrap_err();
    assert_eq!(error.field, field, "{error}");
}

#[test]
fn tiers_are_in_order_without_gap_or_overlap_and_the_last_has_no_end() {
    let tiers = |tiers: Vec<Tier>| move |tariff: &mut Tariff| tariff.model = graduated(tiers);
    refused("p.tiers", tiers(Vec::new()));
    refused("p.tiers", tiers(vec![tier(Some("1"), "1", 0); 51]));
    refused("p.tiers[0].up_to", tiers(vec![tier(Some("10"), "1", 0)]));
    let open_in_the_middle = vec![tier(None, "1", 0), tier(None, "2", 0)];
    refused("p.tiers[0].up_to", tiers(open_in_the_middle));
    for bound in ["5", "10", "0", "-1"] {
        let second = vec![
            tier(Some("10"), "1", 0),
            tier(Some(bound), "1", 0),
            tier(None, "1", 0),
        ];
        refused("p.tiers[1].up_to", tiers(second));
    }
    let first = |bound| vec![tier(Some(bound), "1", 0), tier(None, "1", 0)];
    refused("p.tiers[0].up_to", tiers(first("0")));
    refused("p.tiers[0].up_to", tiers(first("0.0000000000001")));
    refused(
        "p.tiers[0].price_per_unit",
        tiers(vec![tier(None, "-1", 0)]),
    );
    refused("p.tiers[0].flat_price", tiers(vec![tier(None, "1", -1)]));
    let mut packed = tier(None, "1", 0);
    packed.package = Some(Package {
        package_size: decimal("0"),
        package_rounding: Rounding::Up,
    });
    refused("p.tiers[0].package_size", tiers(vec![packed]));
}

#[test]
fn prices_are_above_zero_and_have_at_most_12_digits_after_the_point() {
    for price in ["0", "-1", "0.0000000000001", "1234567890123456789"] {
        refused("p.price_per_unit", |tariff| {
            tariff.model = Model::PerUnit {
                price_per_unit: decimal(price),
                fixed_price: 1,
            };
        });
        refused("p.price_per_event", |tariff| {
            tariff.events.as_mut().unwrap().price_per_event = decimal(price);
        });
    }
    for percent in ["-1", "0.00000000001"] {
        refused("p.percent", |tariff| {
            tariff.model = Model::Percentage {
                percent: decimal(percent),
                fixed_price: 0,
            };
        });
    }
    refused("p.fixed_price", |tariff| {
        tariff.model = Model::Flat { fixed_price: -1 }
    });
}

#[test]
fn a_price_that_never_charges_anything_is_refused() {
    refused("p", |tariff| {
        *tariff = Tariff::of(graduated(vec![
            tier(Some("10"), "0", 0),
            tier(None, "0", 0),
        ]));
    });
}

#[test]
fn bounds_are_not_negative_and_the_maximum_is_not_below_the_minimum() {
    refused("p.minimum", |tariff| tariff.minimum = Some(-1));
    refused("p.maximum", |tariff| tariff.maximum = Some(99));
    refused("p.maximum", |tariff| {
        (tariff.minimum, tariff.maximum) = (None, Some(0))
    });
}

#[test]
fn a_conversion_has_an_end_or_a_rounding() {
    let convert = |factor: Factor, rounding| {
        move |tariff: &mut Tariff| tariff.conversion = Some(Conversion { factor, rounding })
    };
    let divide = |by: &str| Factor::DivideBy(decimal(by));
    refused("p.convert.rounding", convert(divide("3600"), None));
    refused("p.convert.divide_by", convert(divide("0"), None));
    refused(
        "p.convert.multiply_by",
        convert(Factor::MultiplyBy(decimal("-1")), None),
    );
    refused(
        "p.convert.digits",
        convert(divide("3600"), Some((Rounding::Up, 13))),
    );
}

#[test]
fn a_matrix_names_keys_of_the_meter_and_each_combination_once() {
    fn matrix(change: impl FnOnce(&mut Matrix)) -> impl FnOnce(&mut Tariff) {
        |tariff| change(tariff.matrix.as_mut().unwrap())
    }
    refused("p.groups.by", matrix(|matrix| matrix.keys.clear()));
    refused(
        "p.groups.by[0]",
        matrix(|matrix| matrix.keys[0] = "zone".to_owned()),
    );
    refused(
        "p.groups.by[1]",
        matrix(|matrix| matrix.keys.push("model".to_owned())),
    );
    refused("p.groups.prices", matrix(|matrix| matrix.rows.clear()));
    let twice = matrix(|matrix| matrix.rows.push(matrix.rows[0].clone()));
    refused("p.groups.prices[1].values", twice);
    let more = matrix(|matrix| matrix.rows[0].values.push("eu".to_owned()));
    refused("p.groups.prices[0].values", more);
    let negative = matrix(|matrix| matrix.rows[0].model = Model::Flat { fixed_price: -5 });
    refused("p.groups.prices[0].fixed_price", negative);
}
