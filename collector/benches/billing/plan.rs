//! What the customers of the bench buy: one meter with a free threshold, one graduated, one paid by credits.

use submeter_collector::catalog::{
    Frequency, Interval, MeterPrice, MeterPricing, NewProduct, Price, Product, UsageBasedPrice,
};
use submeter_collector::credits::{CreditAttachment, CreditEntitlement, OverageBehavior, Rollover};
use submeter_collector::id::EntitlementId;
use submeter_collector::money::{Currency, Decimal};
use submeter_collector::rating::{Model, Tariff, Tier};
use submeter_collector::storage::CatalogStore;
use submeter_collector::storage::rocksdb::RocksStore;
use submeter_common::meter::{Aggregation, AggregationKind, Meter};

use super::builders::{NEW_YEAR, meter};

pub(super) const METERS: [&str; 3] = ["calls", "images", "tokens"];

pub(super) async fn catalog(store: &RocksStore) -> Product {
    let meters = METERS.map(|name| Meter {
        id: meter(name),
        name: name.to_owned(),
        description: None,
        event_name: name.to_owned(),
        measurement_unit: "units".to_owned(),
        aggregation: Aggregation {
            kind: AggregationKind::Count,
            key: None,
        },
        filter: None,
        group_by: Vec::new(),
        archived: false,
        created_at: NEW_YEAR,
        updated_at: NEW_YEAR,
    });
    for meter in &meters {
        let _ = store.put_meter(None, meter).await.unwrap();
    }
    let (entitlement, credits) = credits();
    let _ = store.put_entitlement(None, &entitlement).await.unwrap();
    let month = Frequency {
        count: 1,
        interval: Interval::Month,
    };
    let new = NewProduct {
        name: "Plan".to_owned(),
        description: None,
        tax_category: "saas".to_owned(),
        metadata: Default::default(),
        price: Price::UsageBased(UsageBasedPrice {
            currency: Currency::USD,
            fixed_price: 0,
            payment_frequency: month,
            subscription_period: Frequency {
                count: 120,
                ..month
            },
            meters: prices(),
            discount: 0,
            purchasing_power_parity: false,
            tax_inclusive: false,
        }),
        credit_entitlements: vec![credits],
    };
    let product = Product::create(new, &meters, &[entitlement], NEW_YEAR).unwrap();
    let _ = store.put_product(None, &product).await.unwrap();
    product
}

fn credits() -> (CreditEntitlement, CreditAttachment) {
    let entitlement = CreditEntitlement {
        id: EntitlementId::from_text("cde_tokens"),
        name: "Tokens".to_owned(),
        description: None,
        unit: "tokens".to_owned(),
        precision: 0,
        expires_after_days: None,
        rollover: Rollover::default(),
        overage_enabled: true,
        overage_limit: None,
        overage_behavior: OverageBehavior::InvoiceAtBilling,
        currency: Some(Currency::USD),
        price_per_unit: Some(Decimal::from(3_i64)),
        archived: false,
        created_at: NEW_YEAR,
        updated_at: NEW_YEAR,
    };
    let attachment = entitlement.attach(Decimal::from(50_i64), NEW_YEAR);
    (entitlement, attachment)
}

fn prices() -> Vec<MeterPrice> {
    let decimal = |text: &str| Decimal::parse(text).unwrap();
    let tier = |up_to: Option<i64>, price: &str| Tier {
        up_to: up_to.map(Decimal::from),
        price_per_unit: decimal(price),
        package: None,
        flat_price: 0,
    };
    let tiers = vec![
        tier(Some(20), "2"),
        tier(Some(60), "1.5"),
        tier(None, "0.75"),
    ];
    let tokens = MeterPricing::Credits {
        credit_entitlement_id: EntitlementId::from_text("cde_tokens"),
        meter_units_per_credit: Decimal::from(2_i64),
    };
    [
        (10, MeterPricing::money(Tariff::per_unit(decimal("0.25")))),
        (
            0,
            MeterPricing::money(Tariff::of(Model::Graduated { tiers })),
        ),
        (0, tokens),
    ]
    .into_iter()
    .zip(METERS)
    .map(|((free_threshold, pricing), name)| MeterPrice {
        meter_id: meter(name),
        free_threshold,
        pricing,
    })
    .collect()
}
