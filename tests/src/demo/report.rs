//! Usage and invoices as tables a person can read.

use anyhow::{Context, Result};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde_json::Value;

use super::Month;
use super::shop::{CUSTOMERS, Shop};
use crate::system::Api;

/// The invoices that close `month`, by customer and number.
///
/// # Errors
/// When the collector does not answer.
pub(crate) async fn closing_invoices(api: &Api, month: &Month) -> Result<Vec<Value>> {
    let mut closing = Vec::new();
    for listed in api.list("/v1/invoices").await? {
        if listed["period"]["start"] == month.start.to_string() {
            let id = listed["invoice_id"].as_str().context("invoice_id")?;
            closing.push(api.fetch(&format!("/v1/invoices/{id}")).await?);
        }
    }
    closing.sort_by_key(|invoice| {
        (
            invoice["customer_id"].to_string(),
            invoice["number"].to_string(),
        )
    });
    Ok(closing)
}

/// Prints what every customer used of every meter.
///
/// # Errors
/// When the collector does not answer.
pub(crate) async fn usage(api: &Api, shop: &Shop, month: &Month) -> Result<()> {
    let mut table = table();
    let heads = shop
        .meters
        .iter()
        .map(|meter| format!("{}\n({})", meter.name, meter.unit));
    table.set_header(std::iter::once("Customer".to_owned()).chain(heads));
    for customer in CUSTOMERS {
        let mut row = vec![customer.to_owned()];
        for meter in &shop.meters {
            let path = format!(
                "/v1/usage?customer_id={customer}&meter_id={}&start={}&end={}&granularity=total",
                meter.id, month.start, month.end
            );
            row.push(text(&api.fetch(&path).await?["quantity"])?);
        }
        table.add_row(row);
    }
    right(&mut table, 1..=shop.meters.len());
    println!("\nUsage of {}\n{table}", month.name());
    Ok(())
}

/// Prints every invoice with its lines.
///
/// # Errors
/// When an invoice lacks a field.
pub(crate) fn invoices(invoices: &[Value]) -> Result<()> {
    let mut table = table();
    table.set_header([
        "Invoice",
        "Customer",
        "Line",
        "Quantity",
        "Free",
        "Credits",
        "Billed",
        "Unit price",
        "Amount",
    ]);
    for invoice in invoices {
        let mut first = true;
        for line in invoice["lines"].as_array().context("lines")? {
            let mut row = head(invoice, first)?;
            row.extend(cells(line)?);
            table.add_row(row);
            first = false;
        }
        let mut sum = vec![String::new(); 8];
        sum[2] = "total".to_owned();
        sum.push(money(&invoice["total"])?);
        table.add_row(sum);
    }
    right(&mut table, 3..=8);
    println!("\nInvoices\n{table}");
    Ok(())
}

/// Events behind all lines, as their sources say.
///
/// # Errors
/// When a line lacks its sources.
pub(crate) fn billed_events(invoices: &[Value]) -> Result<u64> {
    let mut events = 0;
    for invoice in invoices {
        for line in invoice["lines"].as_array().context("lines")? {
            for source in line["sources"].as_array().context("sources")? {
                events += source["events"].as_u64().context("events")?;
            }
        }
    }
    Ok(events)
}

/// Number and customer, on an invoice's first line only.
fn head(invoice: &Value, first: bool) -> Result<Vec<String>> {
    if !first {
        return Ok(vec![String::new(), String::new()]);
    }
    Ok(vec![
        text(&invoice["number"])?,
        text(&invoice["customer_id"])?,
    ])
}

/// What a line is for: base fees are paid in advance, so their month is not the usage's.
fn name(line: &Value) -> Result<String> {
    let description = text(&line["description"])?;
    Ok(match line["kind"].as_str() {
        Some("base_fee") => {
            let start = text(&line["service_period"]["start"])?;
            format!(
                "{description}, from {}",
                start.chars().take(10).collect::<String>()
            )
        }
        _ => description,
    })
}

fn cells(line: &Value) -> Result<Vec<String>> {
    let price = if line["unit_price"].is_null() {
        String::new()
    } else {
        unit_price(&text(&line["unit_price"])?)
    };
    let credits = match &line["credits"]["credits_used"] {
        Value::Null => String::new(),
        used => text(used)?,
    };
    Ok(vec![
        name(line)?,
        text(&line["quantity"])?,
        text(&line["free_quantity"])?,
        credits,
        text(&line["billed_quantity"])?,
        price,
        money(&line["amount"])?,
    ])
}

fn text(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => anyhow::bail!("a text or a number: {other}"),
    }
}

/// Cents as dollars.
fn money(cents: &Value) -> Result<String> {
    let cents = cents.as_i64().with_context(|| format!("cents: {cents}"))?;
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    Ok(format!("{sign}${}.{:02}", cents / 100, cents % 100))
}

/// A price in cents, of any fineness, as dollars: `0.1` is $0.001.
fn unit_price(cents: &str) -> String {
    let (whole, fraction) = cents.split_once('.').unwrap_or((cents, ""));
    let whole = format!("{whole:0>3}");
    let (dollars, hundredths) = whole.split_at(whole.len() - 2);
    let finer = fraction.trim_end_matches('0');
    format!("${dollars}.{hundredths}{finer}")
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table
}

fn right(table: &mut Table, columns: std::ops::RangeInclusive<usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::unit_price;

    #[test]
    fn prices_are_shown_in_dollars_without_losing_a_digit() {
        assert_eq!(unit_price("0.1"), "$0.001");
        assert_eq!(unit_price("2.5"), "$0.025");
        assert_eq!(unit_price("4"), "$0.04");
        assert_eq!(unit_price("500"), "$5.00");
    }
}
