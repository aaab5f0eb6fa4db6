//! The lines of an invoice, each from the charge it shows.

use super::{CreditUse, InvoiceLine, LineKind, reading::Reading};
use crate::{
    credits::{CreditAttachment, overage},
    money::{Decimal, MoneyError, round_half_away},
    rating::{Charge, Derivation, allowance::Allowance},
};
use submeter_common::{Meter, Period};

/// Makes the line of a fixed fee for the period in which it is earned.
pub(super) fn base_fee(product_name: &str, served: Period, charge: Charge) -> InvoiceLine {
    InvoiceLine {
        kind: LineKind::BaseFee,
        description: product_name.to_owned(),
        service_period: served,
        meter_id: None,
        meter_name: None,
        aggregation: None,
        measurement_unit: None,
        quantity: charge.quantity,
        free_quantity: charge.free_quantity,
        credits: None,
        billed_quantity: charge.billed_quantity,
        unit_price: charge.unit_price,
        derivation: None,
        amount_exact: charge.amount_exact,
        amount: charge.amount,
        already_billed: None,
        events: 0,
        sources: Vec::new(),
    }
}

/// Makes the line that corrects a fixed fee, of which `billed` minor units are billed already.
pub(super) fn base_fee_correction(
    product_name: &str,
    served: Period,
    charge: Charge,
    billed: i64,
    amount: i64,
) -> InvoiceLine {
    let due = charge.amount_exact.clone();
    InvoiceLine {
        description: format!("{product_name} (unused time)"),
        amount_exact: &due - &Decimal::from(billed),
        amount,
        already_billed: Some(billed),
        ..base_fee(product_name, served, charge)
    }
}

/// Makes the line of a meter in a trial, where everything is free.
pub(super) fn trial(meter: &Meter, period: Period, reading: &Reading) -> InvoiceLine {
    InvoiceLine {
        description: format!("{} (trial)", meter.name),
        free_quantity: reading.quantity.clone(),
        ..of_meter(LineKind::Usage, meter, period, reading)
    }
}

/// Makes the line of a meter that money pays.
pub(super) fn usage(
    meter: &Meter,
    period: Period,
    reading: &Reading,
    charge: Charge,
) -> InvoiceLine {
    InvoiceLine {
        quantity: charge.quantity,
        free_quantity: charge.free_quantity,
        billed_quantity: charge.billed_quantity,
        unit_price: charge.unit_price,
        derivation: shown(charge.derivation),
        amount_exact: charge.amount_exact,
        amount: charge.amount,
        ..of_meter(LineKind::Usage, meter, period, reading)
    }
}

/// Makes the line of a meter that credits pay. It costs no money itself: overage has a line of its own.
pub(super) fn credits(
    meter: &Meter,
    period: Period,
    reading: &Reading,
    free: Allowance,
    used: CreditUse,
) -> InvoiceLine {
    InvoiceLine {
        free_quantity: free.free,
        credits: Some(used),
        ..of_meter(LineKind::Usage, meter, period, reading)
    }
}

/// Makes the line of credits that were used beyond those that were there; none where they cost nothing.
pub(super) fn credit_overage(
    meter: &Meter,
    period: Period,
    used: &CreditUse,
    terms: &CreditAttachment,
) -> Result<Option<InvoiceLine>, MoneyError> {
    let Some(price) = overage::price(terms).filter(|_| used.overage_billed.is_positive()) else {
        return Ok(None);
    };
    let amount_exact = &used.overage_billed * price;
    let amount = round_half_away(&amount_exact)?;
    Ok(Some(InvoiceLine {
        description: format!("{} (beyond the credits)", meter.name),
        measurement_unit: Some(used.unit.clone()),
        quantity: used.overage_credits.clone(),
        billed_quantity: used.overage_billed.clone(),
        unit_price: Some(price.clone()),
        amount_exact,
        amount,
        ..of_meter(LineKind::CreditOverage, meter, period, &Reading::default())
    }))
}

/// Leaves a derivation out where the line's own numbers say it all.
pub(super) fn shown(derivation: Derivation) -> Option<Derivation> {
    (!derivation.is_plain()).then_some(derivation)
}

/// Makes the frame of a line of `meter`: names, quantity and sources, and no charge yet.
pub(super) fn of_meter(
    kind: LineKind,
    meter: &Meter,
    period: Period,
    reading: &Reading,
) -> InvoiceLine {
    InvoiceLine {
        kind,
        description: meter.name.clone(),
        service_period: period,
        meter_id: Some(meter.id.clone()),
        meter_name: Some(meter.name.clone()),
        aggregation: Some(meter.aggregation.kind),
        measurement_unit: Some(meter.measurement_unit.clone()),
        quantity: reading.quantity.clone(),
        free_quantity: Decimal::zero(),
        credits: None,
        billed_quantity: Decimal::zero(),
        unit_price: None,
        derivation: None,
        amount_exact: Decimal::zero(),
        amount: 0,
        already_billed: None,
        events: reading.events,
        sources: reading.sources.clone(),
    }
}
