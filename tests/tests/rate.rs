//! Does the command say what a price comes to, step by step, without a collector?

use std::process::{Command, Output};

use anyhow::{Result, ensure};
use submeter_tests::system::program;

const PRICE: &str = r#"{"currency": "USD", "free_threshold": 2, "pricing": {"model": "graduated",
  "tiers": [{"up_to": 5, "price_per_unit": "100.0000000000000000", "flat_price": 50}, {"up_to": null, "price_per_unit": 0.123456789012}]}}"#;

fn rate(price: &str, arguments: &[&str]) -> Result<Output> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), price)?;
    let mut command = Command::new(program("submeter-collector")?);
    command.env_clear().arg("rate").arg(file.path());
    Ok(command.args(arguments).output()?)
}

#[test]
fn every_tier_and_the_rounding_are_printed() -> Result<()> {
    let output = rate(PRICE, &["9", "--already-billed", "500"])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{text}");
    // Two are free; five in the first tier, two in the second at twelve digits.
    for shown in [
        "free",
        "tier 1, 0 to 5",
        "550",
        "tier 2, over 5",
        "0.123456789012",
        "0.246913578024",
        "exact     550.246913578024 minor units",
        "rounding  -0.246913578024",
        "amount    5.50 USD",
        "due       0.50 USD",
    ] {
        ensure!(text.contains(shown), "no `{shown}` in\n{text}");
    }
    Ok(())
}

#[test]
fn several_quantities_and_groups_are_rated_as_json() -> Result<()> {
    let price = r#"{"currency": "JPY", "pricing": {"model": "per_unit", "price_per_unit": 1,
      "groups": {"by": ["region"], "prices": [{"values": ["eu"], "model": "flat", "fixed_price": 70}]}}}"#;
    let output = rate(price, &["eu=5,us=3.5", "10", "-4", "--json"])?;
    ensure!(output.status.success(), "{output:?}");
    let reply: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let amounts: Vec<_> = (0..3)
        .map(|item| reply["items"][item]["amount"].as_i64())
        .collect();
    ensure!(amounts == [Some(74), Some(80), Some(70)], "{reply}");
    Ok(())
}

#[test]
fn what_is_wrong_is_said_with_its_field() -> Result<()> {
    let unknown = PRICE.replace("USD", "usd");
    let overlapping = PRICE.replace("\"up_to\": null", "\"up_to\": 4");
    for (price, quantity, said) in [
        (PRICE, "x", "usage[0].quantity"),
        (PRICE, "eu=5", "usage[0].groups"),
        (unknown.as_str(), "1", "price.currency"),
        (overlapping.as_str(), "1", "price.pricing.tiers[1].up_to"),
        ("{", "1", "is not JSON"),
    ] {
        let output = rate(price, &[quantity])?;
        let text = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(1) && text.contains(said),
            "`{said}`: {text}"
        );
    }
    Ok(())
}
