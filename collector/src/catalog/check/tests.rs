#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    catalog::{NewProduct, UsageBasedPrice},
    credits::{OverageBehavior, Rollover},
    id::EntitlementId,
    money::Currency,
    rating::Tariff,
};
use submeter_common::{Aggregation, AggregationKind, MeterId, Timestamp};

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn meter(id: &str, archived: bool) -> Meter {
    Meter {
        id: MeterId::new(id).unwrap(),
        name: id.to_owned(),
        description: None,
        event_name: id.to_owned(),
        measurement_unit: "units".to_owned(),
        aggregation: Aggregation {
            kind: AggregationKind::Count,
            key: None,
        },
        filter: None,
        group_by: Vec::new(),
        archived,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn entitlement() -> CreditEntitlement {
    CreditEntitlement {
        id: EntitlementId::from_text("cde_1"),
        name: "Tokens".to_owned(),
        description: None,
        unit: "tokens".to_owned(),
        precision: 2,
        expires_after_days: None,
        rollover: Rollover::default(),
        overage_enabled: true,
        overage_limit: None,
        overage_behavior: OverageBehavior::InvoiceAtBilling,
        currency: Some(Currency::USD),
        price_per_unit: Some(decimal("3")),
        archived: false,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

fn per_unit(id: &str, price: &str) -> MeterPrice {
    let pricing = MeterPricing::money(Tariff::per_unit(decimal(price)));
    MeterPrice {
        meter_id: MeterId::new(id).unwrap(),
        free_threshold: 0,
        pricing,
    }
}

fn in_credits(id: &str, entitlement: &str, units: &str) -> MeterPrice {
    let pricing = MeterPricing::Credits {
        credit_entitlement_id: EntitlementId::from_text(entitlement),
        meter_units_per_credit: decimal(units),
    };
    MeterPrice {
        meter_id: MeterId::new(id).unwrap(),
        free_threshold: 0,
        pricing,
    }
}

fn new() -> NewProduct {
    NewProduct {
        name: "Plan".to_owned(),
        description: None,
        tax_category: "saas".to_owned(),
        metadata: Default::default(),
        price: Price::UsageBased(UsageBasedPrice {
            currency: Currency::USD,
            fixed_price: 0,
            payment_frequency: Frequency {
                count: 1,
                interval: Interval::Month,
            },
            subscription_period: Frequency {
                count: 20,
                interval: Interval::Year,
            },
            meters: vec![per_unit("mtr_1", "0.5"), in_credits("mtr_2", "cde_1", "10")],
            discount: 0,
            purchasing_power_parity: false,
            tax_inclusive: false,
        }),
        credit_entitlements: vec![entitlement().attach(decimal("100.25"), NOW)],
    }
}

fn create(new: NewProduct) -> Result<Product, CatalogError> {
    let meters = [
        meter("mtr_1", false),
        meter("mtr_2", false),
        meter("mtr_old", true),
    ];
    Product::create(new, &meters, &[entitlement()], NOW)
}

/// Changes a product that is right, and expects the field to be named.
fn refused(
    field: &str,
    kind: Kind,
    change: impl FnOnce(&mut UsageBasedPrice, &mut Vec<CreditAttachment>),
) {
    let mut new = new();
    let Price::UsageBased(price) = &mut new.price;
    change(price, &mut new.credit_entitlements);
    let error = create(new).unwrap_err();
    assert_eq!((error.field.as_str(), error.kind), (field, kind), "{error}");
}

#[test]
fn a_product_that_can_be_billed_is_taken() {
    let product = create(new()).unwrap();
    assert!(product.product_id.as_str().starts_with("pdt_"));
    let json = serde_json::to_string(&product).unwrap();
    assert_eq!(serde_json::from_str::<Product>(&json).unwrap(), product);
}

#[test]
fn unit_prices_have_at_most_5_digits_before_and_12_after_the_point() {
    for good in ["0.000000000001", "99999.999999999999", "1"] {
        assert_eq!(unit_price("p", &decimal(good)), Ok(()), "{good}");
    }
    for bad in ["0", "-1", "100000", "0.0000000000001"] {
        assert!(unit_price("p", &decimal(bad)).is_err(), "{bad}");
    }
    let field = "price.meters[0].price_per_unit";
    refused(field, Kind::Invalid, |price, _| {
        price.meters[0] = per_unit("mtr_1", "0")
    });
}

#[test]
fn prices_that_cannot_be_billed_are_refused_with_their_field() {
    refused("price.fixed_price", Kind::Invalid, |price, _| {
        price.fixed_price = -1
    });
    refused("price.discount", Kind::Unsupported, |price, _| {
        price.discount = 10
    });
    let parity = "price.purchasing_power_parity";
    refused(parity, Kind::Unsupported, |price, _| {
        price.purchasing_power_parity = true
    });
    let payment = "price.payment_frequency_count";
    refused(payment, Kind::Invalid, |price, _| {
        price.payment_frequency.count = 0
    });
    refused(payment, Kind::Invalid, |price, _| {
        price.payment_frequency.count = 241
    });
    let period = "price.subscription_period_count";
    refused(period, Kind::Invalid, |price, _| {
        price.subscription_period.count = 21
    });
    refused("price.meters", Kind::Invalid, |price, _| {
        price.meters = (0..51)
            .map(|n| per_unit(&format!("mtr_{n}"), "1"))
            .collect();
    });
    let second = "price.meters[1].meter_id";
    refused(second, Kind::DuplicateMeters, |price, _| {
        price.meters[1] = per_unit("mtr_1", "1")
    });
    refused(second, Kind::MissingMeters, |price, _| {
        price.meters[1] = per_unit("mtr_none", "1")
    });
    refused(second, Kind::MissingMeters, |price, _| {
        price.meters[1] = per_unit("mtr_old", "1")
    });
    refused(
        "price.meters[0].free_threshold",
        Kind::Invalid,
        |price, _| {
            price.meters[0].free_threshold = -1;
        },
    );
    let units = "price.meters[1].meter_units_per_credit";
    for bad in ["0", "-1", "1000000000000000000", "0.0000000000001"] {
        refused(units, Kind::Invalid, |price, _| {
            price.meters[1] = in_credits("mtr_2", "cde_1", bad)
        });
    }
    let entitlement = "price.meters[1].credit_entitlement_id";
    refused(entitlement, Kind::MissingEntitlement, |price, _| {
        price.meters[1] = in_credits("mtr_2", "cde_2", "1");
    });
}

#[test]
fn attachments_that_cannot_be_billed_are_refused_with_their_field() {
    let field = |name: &str| format!("credit_entitlements[0].{name}");
    let invalid = |name: &str, change: fn(&mut CreditAttachment)| {
        refused(&field(name), Kind::Invalid, |_, attached| {
            change(&mut attached[0])
        });
    };
    invalid("credits_amount", |terms| {
        terms.credits_amount = Decimal::zero()
    });
    invalid("credits_amount", |terms| {
        terms.credits_amount = decimal("0.001")
    });
    invalid("credits_amount", |terms| {
        terms.credits_amount = decimal("1000000000000000000")
    });
    invalid("expires_after_days", |terms| {
        terms.expires_after_days = Some(0)
    });
    invalid("overage_limit", |terms| {
        terms.overage_limit = Some(decimal("0.001"))
    });
    invalid("overage_limit", |terms| {
        terms.overage_limit = Some(decimal("-1"))
    });
    invalid("price_per_unit", |terms| terms.price_per_unit = None);
    invalid("currency", |terms| {
        terms.currency = Some(Currency::parse("EUR").unwrap())
    });
    invalid("low_balance_threshold_percent", |terms| {
        terms.low_balance_threshold_percent = Some(101)
    });
    invalid("rollover_percentage", |terms| {
        terms.rollover.percentage = Some(101)
    });
    invalid("rollover_amount_max", |terms| {
        terms.rollover.amount_max = Some(decimal("0.001"));
    });
    invalid("rollover_amount_min", |terms| {
        terms.rollover.amount_min = Some(decimal("2"));
        terms.rollover.amount_max = Some(decimal("1"));
    });
    refused("credit_entitlements", Kind::Invalid, |_, attached| {
        *attached = vec![attached[0].clone(); 6];
    });
    refused(
        "credit_entitlements[1].credit_entitlement_id",
        Kind::Invalid,
        |_, attached| {
            attached.push(attached[0].clone());
        },
    );
    let id = field("credit_entitlement_id");
    refused(&id, Kind::MissingEntitlement, |_, attached| {
        attached[0].credit_entitlement_id = EntitlementId::from_text("cde_2");
    });
}

#[test]
fn entitlements_that_cannot_be_billed_are_refused_with_their_field() {
    let check = |field: &str, change: fn(&mut CreditEntitlement)| {
        let mut entitlement = entitlement();
        change(&mut entitlement);
        assert_eq!(entitlement.check().unwrap_err().field, field);
    };
    assert_eq!(entitlement().check(), Ok(()));
    check("name", |entitlement| entitlement.name = String::new());
    check("unit", |entitlement| entitlement.unit = "a\u{0}".to_owned());
    check("precision", |entitlement| entitlement.precision = 11);
    check("currency", |entitlement| entitlement.currency = None);
    check("price_per_unit", |entitlement| {
        entitlement.price_per_unit = Some(Decimal::zero())
    });
    check("rollover_percentage", |entitlement| {
        entitlement.rollover.percentage = Some(101)
    });
}
