//! The trace: 8 819 real LLM requests of one hour (Azure, 2023, CC-BY 4.0), read from where it lies.
//!
//! It is not part of this repository. Where it is absent a generated trace of the same shape serves,
//! but not in continuous integration: there its absence is a failure.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Number of requests in the real trace; a file with fewer was cut off.
const ROWS: usize = 8_819;

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// When it happened, microseconds since 1970.
    pub at: i64,
    /// Tokens of the prompt.
    pub context_tokens: u64,
    /// Tokens of the answer.
    pub generated_tokens: u64,
}

/// The rows: of the file that `SUBMETER_TRACE` names, else of the shared data directory beside the
/// checkout, else generated.
///
/// # Errors
/// When the file is damaged, or absent in continuous integration (`CI` is `true`).
pub fn load() -> Result<Vec<Row>> {
    let named = std::env::var_os("SUBMETER_TRACE").map(PathBuf::from);
    // Asked at run time: checkouts share a target directory, and this may have been built from another one.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").context("cargo names the package")?;
    let beside = || Path::new(&package).join("../../shared/data/azure_llm_code_2023.csv");
    let path = named.clone().unwrap_or_else(beside);
    if path.exists() {
        return read(&path).with_context(|| path.display().to_string());
    }
    if named.is_some() || std::env::var("CI").is_ok_and(|ci| ci == "true") {
        bail!(
            "{} is absent; SUBMETER_TRACE names another place",
            path.display()
        );
    }
    eprintln!("{} is absent: a generated trace serves", path.display());
    Ok(generated(2023))
}

fn read(path: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::with_capacity(ROWS);
    for (index, record) in csv::Reader::from_path(path)?.records().enumerate() {
        rows.push(row(&record?).with_context(|| format!("row {index}"))?);
    }
    if rows.len() != ROWS {
        bail!("{} rows, expected {ROWS}", rows.len());
    }
    Ok(rows)
}

fn row(record: &csv::StringRecord) -> Result<Row> {
    let field = |index: usize| record.get(index).with_context(|| format!("column {index}"));
    let at: DateTime = field(0)?.parse()?;
    Ok(Row {
        at: at.to_zoned(TimeZone::UTC)?.timestamp().as_microsecond(),
        context_tokens: field(1)?.parse()?,
        generated_tokens: field(2)?.parse()?,
    })
}

/// Rows of the same number, length and spread as the real ones; the same `seed` gives the same rows.
#[must_use]
pub fn generated(seed: u64) -> Vec<Row> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut at = 1_700_158_623_979_960;
    let mut row = || {
        // Most gaps are short and a few are long, as the product of two even numbers is.
        at += random.i64(1..1_200) * random.i64(1..1_300);
        Row {
            at,
            context_tokens: random.u64(1..90) * random.u64(1..85) + 3,
            generated_tokens: random.u64(1..16) * random.u64(1..8),
        }
    };
    (0..ROWS).map(|_| row()).collect()
}
