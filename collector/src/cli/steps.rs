//! The steps of a charge as a table.

use serde_json::Value;

use super::table::{Table, cell};

/// Lists every step of a derivation; their exact amounts add up to that of the charge.
pub(super) fn steps(derivation: &Value) -> Table {
    let heads = ["Step", "Quantity", "Packages", "Price", "Flat", "Exact"];
    let mut table = Table::new(&heads).right(&[1, 2, 3, 4, 5]);
    let parts = derivation["parts"].as_array();
    let is_grouped = parts.is_some_and(|parts| parts.len() > 1);
    for part in parts.into_iter().flatten() {
        part_rows(&mut table, part, is_grouped);
    }
    let events = &derivation["events"];
    if !events.is_null() {
        let free = cell(&events["free_events"]);
        table.row([
            format!("events ({free} free)"),
            cell(&events["events"]),
            String::new(),
            cell(&events["price_per_event"]),
            String::new(),
            cell(&events["amount_exact"]),
        ]);
    }
    for bound in ["minimum", "maximum"] {
        let step = &derivation[bound];
        if !step.is_null() {
            let name = format!("{bound} of {}", cell(&step["bound"]));
            table.row(row(name, "", cell(&step["amount_exact"])));
        }
    }
    table
}

fn part_rows(table: &mut Table, part: &Value, is_grouped: bool) {
    let group = match &part["group"] {
        Value::Null if is_grouped => "others: ".to_owned(),
        Value::Null => String::new(),
        values => format!("{}: ", cell(values)),
    };
    if !part["converted_quantity"].is_null() {
        let name = format!("{group}converted from {}", cell(&part["quantity"]));
        table.row(row(name, &cell(&part["converted_quantity"]), String::new()));
    }
    if part["free_quantity"] != "0" {
        let name = format!("{group}free");
        table.row(row(name, &cell(&part["free_quantity"]), String::new()));
    }
    for tier in part["tiers"].as_array().into_iter().flatten() {
        let packages = match &tier["packages"] {
            Value::Null => String::new(),
            packages => format!("{} of {}", cell(packages), cell(&tier["package_size"])),
        };
        let bound = match &tier["up_to"] {
            Value::Null => format!("over {}", cell(&tier["over"])),
            bound => format!("{} to {}", cell(&tier["over"]), cell(bound)),
        };
        table.row([
            format!("{group}tier {}, {bound}", cell(&tier["tier"])),
            cell(&tier["quantity"]),
            packages,
            cell(&tier["unit_price"]),
            cell(&tier["flat_price"]),
            cell(&tier["amount_exact"]),
        ]);
    }
}

fn row(name: String, quantity: &str, exact: String) -> [String; 6] {
    let nothing = String::new;
    [
        name,
        quantity.to_owned(),
        nothing(),
        nothing(),
        nothing(),
        exact,
    ]
}
