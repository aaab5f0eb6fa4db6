//! Does the operator's page name every metric, every setting and every exit code?
//!
//! Reads the sources, as `architecture` does. A test that fails here says what `docs/operating.md` lacks.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

const PAGE: &str = "docs/operating.md";

#[test]
fn every_metric_is_on_the_page() -> Result<()> {
    for (file, beginning, least) in [
        ("agent/src/telemetry/names.rs", "submeter_agent_", 39),
        ("collector/src/telemetry.rs", "submeter_collector_", 12),
    ] {
        let source = read(file)?;
        let metrics: Vec<&str> = source
            .split('"')
            .filter(|text| text.starts_with(beginning))
            .collect();
        ensure!(
            metrics.len() >= least,
            "only {} metrics in {file}",
            metrics.len()
        );
        on_the_page(&metrics)?;
    }
    Ok(())
}

#[test]
fn every_setting_of_the_agent_is_on_the_page() -> Result<()> {
    let source = read("agent/src/config.rs")?;
    let (_, fields) = source
        .split_once("pub struct Config {")
        .context("the settings")?;
    let (fields, _) = fields.split_once("\n}").context("their end")?;
    let settings: Vec<&str> = fields
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'))
        .map(|(name, _)| name)
        // Secrets, which only the environment may hold.
        .filter(|name| !["key", "ingest_token"].contains(name))
        .collect();
    ensure!(settings.len() >= 30, "only {settings:?}");
    on_the_page(&settings)
}

#[test]
fn every_setting_of_the_collector_is_on_the_page() -> Result<()> {
    let source = read("collector/src/config.rs")? + &read("collector/src/config/payment.rs")?;
    let code: String = source.split_whitespace().collect();
    let settings: Vec<&str> = code
        .split("reader.")
        .skip(1)
        .filter_map(|call| call.split_once("(\""))
        // The setting is the first argument, not part of a later one.
        .filter(|(method, _)| !method.contains('('))
        .filter_map(|(_, rest)| rest.split_once('"'))
        .map(|(name, _)| name)
        .collect();
    ensure!(settings.len() >= 27, "only {settings:?}");
    on_the_page(&settings)
}

#[test]
fn the_list_of_exit_codes_is_that_of_the_code() -> Result<()> {
    let page = read(PAGE)?;
    let (_, list) = page.split_once("## Exit codes").context("the list")?;
    let (list, _) = list.split_once("\n## ").context("its end")?;
    for (file, column) in [("agent/src/cli.rs", 2), ("collector/src/cli.rs", 3)] {
        let source = read(file)?;
        let constants = source
            .lines()
            .filter_map(|line| line.strip_prefix("const EXIT_")?.split_once(": u8 = "));
        let in_code = constants.map(|(_, value)| Ok(value.trim_end_matches(';').parse::<u8>()?));
        let mut in_code: BTreeSet<u8> = in_code.collect::<Result<_>>()?;
        ensure!(in_code.len() >= 4, "only {in_code:?} in {file}");
        // The parser of command lines ends with this one by itself.
        in_code.insert(2);
        let rows = list.lines().map(|line| line.split('|').map(str::trim));
        let on_page = rows.filter_map(|mut cells| {
            let code = cells.nth(1)?.parse::<u8>().ok()?;
            let means = cells.nth(column - 2)?;
            (!means.is_empty()).then_some(code)
        });
        let on_page: BTreeSet<u8> = on_page.collect();
        ensure!(
            on_page == in_code,
            "{file} has the exit codes {in_code:?}, {PAGE} tells of {on_page:?}"
        );
    }
    Ok(())
}

/// Each must stand there as code, a metric perhaps with its labels.
fn on_the_page(names: &[&str]) -> Result<()> {
    let page = read(PAGE)?;
    let stands = |name: &str| {
        ["`", "{"]
            .iter()
            .any(|end| page.contains(&format!("`{name}{end}")))
    };
    let missing: Vec<&str> = names.iter().copied().filter(|name| !stands(name)).collect();
    ensure!(missing.is_empty(), "{PAGE} lacks {missing:?}");
    Ok(())
}

fn read(path: &str) -> Result<String> {
    // Asked at run time: checkouts share a target directory.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").context("cargo names the package")?;
    let root = Path::new(&package).parent().context("the workspace")?;
    fs::read_to_string(root.join(path)).context(path.to_owned())
}
