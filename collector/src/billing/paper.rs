//! What an invoice says to people: every row as text, in the order it is read. HTML and PDF print the same.

use super::{CreditUse, Invoice, InvoiceLine, InvoiceStatus};
use crate::{
    money::{Currency, Decimal, Money},
    rating::TierStep,
};
use submeter_common::{Period, Timestamp};

/// An invoice in words and figures.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Paper {
    /// Its number.
    pub number: String,
    /// What stands above the table: a name and a value each.
    pub head: Vec<(&'static str, String)>,
    /// The table.
    pub rows: Vec<Row>,
    /// What stands below it: a name and an amount each.
    pub foot: Vec<(&'static str, String)>,
    /// What a reader has to know.
    pub remarks: Vec<String>,
}

/// A row of the table. A detail belongs to the line above it.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Row {
    /// Whether it says how the amount of the line above comes about.
    pub is_detail: bool,
    /// What it is.
    pub text: String,
    /// When, on lines.
    pub period: String,
    /// How much.
    pub quantity: String,
    /// Price of one unit, in full.
    pub unit_price: String,
    /// What it comes to.
    pub amount: String,
}

/// Writes out an invoice.
#[must_use]
pub fn paper(invoice: &Invoice) -> Paper {
    let currency = invoice.currency;
    let mut head = vec![
        ("Invoice", invoice.number.clone()),
        ("Issued", day(invoice.issued_at)),
        ("Due", day(invoice.due_at)),
        ("Customer", invoice.customer_id.to_string()),
        ("Subscription", invoice.subscription_id.to_string()),
        ("Status", status(invoice.status).to_owned()),
    ];
    if let Some(period) = invoice.period {
        head.push(("Usage of", span(period)));
    }
    let mut foot = vec![("Total", money(invoice.total, currency))];
    if invoice.credited() != 0 {
        foot.push(("Credit notes", money(-invoice.credited(), currency)));
    }
    if invoice.from_wallet() != 0 {
        foot.push(("From the wallet", money(-invoice.from_wallet(), currency)));
    }
    if invoice.collection.paid != 0 {
        foot.push(("Paid", money(-invoice.collection.paid, currency)));
    }
    foot.push(("Amount due", money(invoice.amount_due(), currency)));
    Paper {
        number: invoice.number.clone(),
        head,
        rows: invoice
            .lines
            .iter()
            .flat_map(|line| rows(line, currency))
            .collect(),
        foot,
        remarks: remarks(invoice),
    }
}

fn remarks(invoice: &Invoice) -> Vec<String> {
    if invoice.complete {
        return vec![
            "All usage of the period had arrived when this invoice was issued.".to_owned(),
        ];
    }
    let agents: Vec<String> = invoice
        .missing_agents
        .iter()
        .map(ToString::to_string)
        .collect();
    vec![format!(
        "Issued without the usage of {}, which had not arrived in time. What comes later is adjusted on the next invoice.",
        agents.join(", ")
    )]
}

/// The row of a line, then what is free, each tier, what bounds changed, and what credits paid.
fn rows(line: &InvoiceLine, currency: Currency) -> Vec<Row> {
    let unit = line.measurement_unit.as_deref().unwrap_or_default();
    let mut rows = vec![Row {
        is_detail: false,
        text: line.description.clone(),
        period: span(line.service_period),
        quantity: counted(&line.quantity, unit),
        unit_price: line
            .unit_price
            .as_ref()
            .map_or_else(String::new, |price| major(price, currency)),
        amount: money(line.amount, currency),
    }];
    if line.free_quantity.is_positive() {
        rows.push(Row {
            quantity: counted(&line.free_quantity, unit),
            unit_price: "free".to_owned(),
            amount: money(0, currency),
            ..detail("free of charge")
        });
    }
    if let Some(derivation) = &line.derivation {
        for tier in derivation.parts.iter().flat_map(|part| &part.tiers) {
            rows.push(tier_row(tier, unit, currency));
        }
        let bounds = [
            ("minimum", &derivation.minimum),
            ("maximum", &derivation.maximum),
        ];
        for (name, bound) in bounds {
            rows.extend(bound.iter().map(|bound| Row {
                amount: exact(&bound.amount_exact, currency),
                ..detail(name)
            }));
        }
    }
    rows.extend(line.credits.iter().flat_map(credit_rows));
    if let Some(billed) = line.already_billed {
        rows.push(Row {
            amount: money(billed, currency),
            ..detail("billed before, and deducted")
        });
    }
    rows
}

fn tier_row(tier: &TierStep, unit: &str, currency: Currency) -> Row {
    let over = &tier.over;
    let text = match &tier.up_to {
        Some(up_to) => format!("tier {}: over {over} to {up_to}", tier.tier),
        None => format!("tier {}: over {over}", tier.tier),
    };
    Row {
        quantity: counted(&tier.quantity, unit),
        unit_price: major(&tier.unit_price, currency),
        amount: exact(&tier.amount_exact, currency),
        ..detail(&text)
    }
}

fn credit_rows(credits: &CreditUse) -> Vec<Row> {
    let mut rows = Vec::new();
    if credits.credits_used != Decimal::zero() {
        rows.push(Row {
            quantity: counted(&credits.credits_used, &credits.unit),
            unit_price: "credits".to_owned(),
            ..detail("paid by credits")
        });
    }
    if credits.overage_credits.is_positive() {
        rows.push(Row {
            quantity: counted(&credits.overage_credits, &credits.unit),
            ..detail("beyond the credits")
        });
    }
    rows
}

fn detail(text: &str) -> Row {
    Row {
        is_detail: true,
        text: text.to_owned(),
        ..Row::default()
    }
}

fn counted(quantity: &Decimal, unit: &str) -> String {
    format!("{quantity} {unit}").trim_end().to_owned()
}

fn money(minor: i64, currency: Currency) -> String {
    Money { minor, currency }.to_string()
}

/// An exact amount of minor units in major ones, with every digit.
fn exact(minor: &Decimal, currency: Currency) -> String {
    format!("{} {}", major(minor, currency), currency.code())
}

fn major(minor: &Decimal, currency: Currency) -> String {
    let scale = match currency.minor_digits() {
        0 => return minor.to_string(),
        2 => Decimal::parse("0.01"),
        _ => Decimal::parse("0.001"),
    };
    scale.map_or_else(|_| minor.to_string(), |scale| (minor * &scale).to_string())
}

const fn status(status: InvoiceStatus) -> &'static str {
    match status {
        InvoiceStatus::Issued => "issued",
        InvoiceStatus::Paid => "paid",
        InvoiceStatus::Void => "void",
    }
}

fn span(period: Period) -> String {
    format!("{} to {}", moment(period.start), moment(period.end))
}

/// The day of a midnight, and day and minute of any other moment (UTC).
fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('T') {
        Some((day, "00:00:00Z")) => day.to_owned(),
        Some((day, time)) => format!("{day} {}", time.get(..5).unwrap_or(time)),
        None => text,
    }
}

fn day(at: Timestamp) -> String {
    let text = at.to_string();
    text.split_once('T')
        .map_or(text.clone(), |(day, _)| day.to_owned())
}
