//! What holds for every tariff and every quantity.

use super::*;
use proptest::prelude::*;

/// Any quantity that a meter can come to: 30 digits before and 36 after the point, of either sign.
fn any_quantity() -> impl Strategy<Value = Decimal> {
    (any::<i128>(), 0_usize..=36).prop_map(|(digits, scale)| {
        let sign = if digits < 0 { "-" } else { "" };
        let digits = format!("{:0>66}", digits.unsigned_abs());
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        decimal(&format!("{sign}{whole}.{fraction}0"))
    })
}

/// A quantity near the bounds of the tiers below, whole or not.
fn small_quantity() -> impl Strategy<Value = Decimal> {
    (-50_i64..3_000, 0_u32..1000)
        .prop_map(|(whole, fraction)| &Decimal::from(whole) + &decimal(&format!("0.{fraction:03}")))
}

fn any_price() -> impl Strategy<Value = Decimal> {
    (0_u32..100_000, 0_u64..1_000_000_000_000)
        .prop_map(|(whole, fraction)| decimal(&format!("{whole}.{fraction:012}")))
}

fn any_package() -> impl Strategy<Value = Option<Package>> {
    let package = (1_u32..5_000, any::<bool>()).prop_map(|(tenths, up)| {
        let size = format!("{}.{}", tenths / 10, tenths % 10);
        package_of(&size, if up { Rounding::Up } else { Rounding::Down })
    });
    let package = package.prop_filter("a package holds something", |package| {
        package.package_size.is_positive()
    });
    proptest::option::of(package)
}

fn any_tiers() -> impl Strategy<Value = Vec<Tier>> {
    let tier = (any_price(), any_package(), 0_i64..100_000);
    let widths = proptest::collection::vec((1_i64..500, tier), 1..6);
    widths.prop_map(|tiers| {
        let last = tiers.len() - 1;
        let mut bound = 0;
        let tier = |(index, (width, (price_per_unit, package, flat_price)))| {
            bound += width;
            Tier {
                up_to: (index != last).then(|| Decimal::from(bound)),
                price_per_unit,
                package,
                flat_price,
            }
        };
        tiers.into_iter().enumerate().map(tier).collect()
    })
}

fn any_model(with_volume: bool) -> impl Strategy<Value = Model> {
    (
        any_tiers(),
        any_price(),
        any_package(),
        0..if with_volume { 5 } else { 4 },
    )
        .prop_map(|(tiers, price, package, which)| match (which, package) {
            (0, _) => Model::Flat { fixed_price: 70 },
            (1, Some(package)) => Model::Package {
                package,
                price_per_package: price,
                fixed_price: 3,
            },
            (2, _) => Model::Percentage {
                percent: price,
                fixed_price: 5,
            },
            (3, _) => Model::Graduated { tiers },
            (4, _) => Model::Volume { tiers },
            _ => Model::PerUnit {
                price_per_unit: price,
                fixed_price: 0,
            },
        })
}

fn any_conversion() -> impl Strategy<Value = Option<Conversion>> {
    let factors = [
        ("1000", true),
        ("1024", true),
        ("3600", false),
        ("0.07", false),
    ];
    let conversion = (0..factors.len(), any::<bool>(), 0_u8..12, any::<bool>());
    let conversion = conversion.prop_map(move |(which, divides, digits, is_rounded)| {
        let (factor, ends) = factors[which];
        let factor = if divides {
            Factor::DivideBy(decimal(factor))
        } else {
            Factor::MultiplyBy(decimal(factor))
        };
        let is_rounded = is_rounded || (divides && !ends);
        Conversion {
            factor,
            rounding: is_rounded.then_some((Rounding::Up, digits)),
        }
    });
    proptest::option::of(conversion)
}

/// Any tariff of two rows and a default.
fn any_tariff(with_volume: bool) -> impl Strategy<Value = Tariff> {
    let models = [(); 3].map(|()| any_model(with_volume));
    let bounds = proptest::option::of((0_i64..10_000, 0_i64..10_000_000));
    (models, any_conversion(), bounds, any::<bool>(), any_price()).prop_map(
        |([eu, us, model], conversion, bounds, is_free, price_per_event)| {
            let row = |value: &str, model| MatrixRow {
                values: vec![value.to_owned()],
                model,
            };
            Tariff {
                conversion,
                model,
                matrix: Some(Matrix {
                    keys: vec!["region".to_owned()],
                    rows: vec![row("eu", eu), row("us", us)],
                }),
                events: Some(EventPrice {
                    price_per_event,
                    free_events: 3,
                }),
                minimum: bounds.map(|(minimum, _)| minimum),
                maximum: bounds.map(|(minimum, more)| minimum + more),
                zero_usage: if is_free {
                    ZeroUsage::Free
                } else {
                    ZeroUsage::Charge
                },
            }
        },
    )
}

fn usage(rows: &[Decimal], events: u64) -> Usage {
    Usage::by_row(rows.to_vec()).with_events(events)
}

/// The sum of every step of a charge.
fn steps(charge: &Charge) -> Decimal {
    let derivation = &charge.derivation;
    let parts = derivation.parts.iter().flat_map(|part| &part.tiers);
    let bounds = derivation.minimum.iter().chain(&derivation.maximum);
    parts
        .map(|step| &step.amount_exact)
        .chain(derivation.events.iter().map(|step| &step.amount_exact))
        .chain(bounds.map(|step| &step.amount_exact))
        .fold(Decimal::zero(), |sum, amount| &sum + amount)
}

proptest! {
    #[test]
    fn no_quantity_panics_and_no_charge_is_below_zero(
        tariff in any_tariff(true), rows in [any_quantity(), any_quantity(), any_quantity()],
        free in 0_i64.., events in any::<u64>(),
    ) {
        // Beyond an i64 it is an error, and nothing else.
        if let Ok(charge) = rate(&tariff, free, &usage(&rows, events)) {
            prop_assert!(charge.amount >= 0);
            prop_assert!(!charge.free_quantity.is_negative() && charge.free_quantity <= Decimal::from(free));
        }
    }

    #[test]
    fn the_steps_add_up_to_the_amount(
        tariff in any_tariff(true), rows in [small_quantity(), small_quantity(), small_quantity()],
        free in 0_i64..100, events in 0_u64..100,
    ) {
        let charge = rate(&tariff, free, &usage(&rows, events)).unwrap();
        prop_assert_eq!(&steps(&charge), &charge.amount_exact);
        prop_assert_eq!(charge.amount_exact.rounded(0), Decimal::from(charge.amount));
        for part in &charge.derivation.parts {
            let priced = part.converted_quantity.as_ref().unwrap_or(&part.quantity).clone().or_zero();
            prop_assert_eq!(&(&part.free_quantity + &part.billed_quantity), &priced);
            let in_tiers = part.tiers.iter().fold(Decimal::zero(), |sum, step| &sum + &step.quantity);
            prop_assert_eq!(&in_tiers, &part.billed_quantity);
        }
    }

    #[test]
    fn more_usage_never_costs_less_where_the_model_is_monotone(
        tariff in any_tariff(false), rows in [small_quantity(), small_quantity(), small_quantity()],
        more in small_quantity(), row in 0_usize..3, free in 0_i64..1000, events in 0_u64..100,
    ) {
        let less = rate(&tariff, free, &usage(&rows, events)).unwrap();
        let mut rows = rows;
        rows[row] += &more.or_zero();
        let greater = rate(&tariff, free, &usage(&rows, events + 1)).unwrap();
        prop_assert!(less.amount <= greater.amount, "{} {}", less.amount, greater.amount);
    }

    #[test]
    fn what_is_booked_piece_by_piece_is_what_the_whole_costs(
        tariff in any_tariff(true), pieces in proptest::collection::vec((small_quantity(), 0_usize..3), 1..8), free in 0_i64..100,
    ) {
        let mut rows = vec![Decimal::zero(); 3];
        let mut billed = 0_i64;
        for (events, (piece, row)) in pieces.iter().enumerate() {
            rows[*row] += piece;
            let known = rate(&tariff, free, &usage(&rows, events as u64)).unwrap();
            billed += known.due(billed).unwrap();
        }
        let whole = rate(&tariff, free, &usage(&rows, pieces.len() as u64 - 1)).unwrap();
        prop_assert_eq!(billed, whole.amount);
        // Corrected to nothing, what stays booked is what nothing costs.
        let nothing = rate(&tariff, free, &usage(&[(); 3].map(|()| Decimal::zero()), 0)).unwrap();
        prop_assert_eq!(billed + nothing.due(billed).unwrap(), nothing.amount);
    }
}
