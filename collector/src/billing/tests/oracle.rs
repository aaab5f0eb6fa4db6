//! Where each of the oracle's cases is held, and why some are not: none is silently left out.
//!
//! The oracle (`oracle.json`) is a list of numbers taken as facts from the public tests and documents of other billing
//! systems. A case that says "same" has the input that its source has; it stands in its table in full.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The oracle's list.
const ORACLE: &str = include_str!("oracle.json");

/// Cases that a table test names, by the room that holds them.
const HELD: &[(&str, &[&str])] = &[
    ("money", &["N1", "N3", "N11", "N13", "G7", "G9"]),
    (
        "rating",
        &[
            "N15", "N17", "N19", "L1", "L3", "L5", "L7", "L9", "L11", "L15", "U1", "U3", "U5a",
            "U5c", "U6a", "U7a", "U7c", "U7e", "R1", "R3", "R5", "R7", "R13", "R15", "R17", "R17c",
            "R19", "R21", "R23", "R25", "R27", "R29g", "A1", "A3", "A5a", "A5c", "A5e", "A5g",
            "A6b", "A6d", "A6f", "A7b", "A9", "A10b", "A11", "A13a", "A13c", "A14b", "A15b",
            "A15d", "A16b", "A17b", "A17d", "A17f", "A18b", "A19", "A21a", "A21c", "A22", "B1a",
            "B1c", "B1e", "B1g", "B2b", "B3a", "B3c", "B3e", "B3g", "B4b", "B5a", "B6a", "B6c",
            "B7a", "B7c", "B8", "B9b", "B9d", "B11", "B13a", "B13c", "B13e", "B15", "C1a", "C1c",
            "C1e", "C3", "C4b", "C5a", "C5c", "C5e", "C5g", "C8", "C9b", "C9d", "C11a", "P1a",
            "P1c", "P1e", "P3a", "P3c", "P3e", "P4a",
        ],
    ),
    (
        "subscription::period",
        &[
            "M1", "M3", "M4b", "M4d", "M6a", "M6c", "M6e", "M8", "M10", "M12",
        ],
    ),
    ("subscription::proration", &["R9", "R11"]),
    ("credits::rollover", &["K11", "K13"]),
    (
        "bookkeeping::teller",
        &["K19", "K24b", "K28b", "K28f", "K33b", "K33d"],
    ),
    ("billing::reset", &["K5", "K25", "K30"]),
    ("billing::carried", &["K7"]),
    ("credits::burn_down", &["K1", "K3", "K15", "K17", "K23"]),
];

/// Cases of models that do not exist yet, or of policies that differ on purpose, with the reason.
const OUT_OF_SCOPE: &[(&str, &[&str])] = &[
    (
        "a line is never below zero unless it corrects an earlier one; the sign is shown in the case's table all the same",
        &["A15f"],
    ),
    (
        "usage is rated once for the whole period, never window by window",
        &["C6", "U8b", "U8d", "U9b"],
    ),
    (
        "bounds of each event by itself need its single value, which a meter does not keep",
        &["P2a", "P2c", "P2e"],
    ),
    (
        "no taxes and coupons are computed, and a wallet pays what is owed, not a line",
        &["U10", "U12", "N21", "N23"],
    ),
    (
        "usage is not prorated, so there are no prorated units to price",
        &["B3i", "R29a", "R29c", "R29e", "R30"],
    ),
    (
        "a debit beyond what is there is refused, nothing is given back into a bounded bucket, and overage bears no surcharge",
        &["K27a", "K27c", "K32"],
    ),
    (
        "an amount of credits with more digits than the precision is refused, not rounded",
        &["K21"],
    ),
    (
        "a reservation sets credits aside; whoever gives some makes a grant",
        &["K28d", "K28h"],
    ),
    (
        "a period's last value is charged once, at its end; balances within it do not exist",
        &["K9"],
    ),
    (
        "late usage is adjusted for 400 days, not for two periods",
        &["L13"],
    ),
    ("there is no weighted sum", &["G1", "G3", "G5"]),
    ("no amount is split into parts", &["N5", "N7", "N9"]),
];

#[test]
fn every_case_of_the_oracle_is_held_or_out_of_scope_with_a_reason() {
    let cases: Vec<serde_json::Value> = serde_json::from_str(ORACLE).unwrap();
    let cases: Vec<&str> = cases
        .iter()
        .map(|case| case["id"].as_str().unwrap())
        .collect();
    let all = HELD
        .iter()
        .chain(OUT_OF_SCOPE)
        .flat_map(|(_, ids)| ids.iter().copied());
    let listed: Vec<&str> = all.collect();
    let distinct: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(listed.len(), distinct.len(), "a case is listed twice");
    assert_eq!(distinct, cases.into_iter().collect());
}

#[test]
fn every_case_that_is_held_is_named_by_a_test() {
    let mut named = BTreeSet::new();
    for file in tests(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        named.extend(cases_named_in(&fs::read_to_string(file).unwrap()));
    }
    let held = HELD.iter().flat_map(|(_, ids)| ids.iter().copied());
    let missing: Vec<&str> = held
        .filter(|id| !named.contains(&id.to_lowercase()))
        .collect();
    assert_eq!(missing, [""; 0]);
}

/// The sources of the crate that hold tests, but for this one.
fn tests(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tests(&path));
        } else if path.extension().is_some_and(|end| end == "rs")
            && !path.ends_with("billing/tests/oracle.rs")
        {
            found.push(path);
        }
    }
    found
}

/// The cases that a source names: in a text of their own (`"A5a"`), a note (`// K28b`), or the name of a test
/// (`oracle_k25_k30_…`).
fn cases_named_in(source: &str) -> BTreeSet<String> {
    let is_case = |word: &&str| {
        let digits = word.trim_start_matches(|c: char| c.is_ascii_uppercase());
        digits.len() < word.len() && digits.starts_with(|c: char| c.is_ascii_digit())
    };
    let words = source.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let in_names = words
        .clone()
        .filter_map(|word| word.strip_prefix("oracle_"))
        .flat_map(|name| name.split('_'));
    words
        .filter(is_case)
        .chain(in_names)
        .map(str::to_lowercase)
        .collect()
}
