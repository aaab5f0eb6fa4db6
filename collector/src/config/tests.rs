//! Settings from each source, and every problem at once.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn load(toml: &str, flags: &Flags) -> Result<(Config, Vec<Setting>), String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("collector.toml");
    fs::write(&file, toml).unwrap();
    Config::load(Some(&file), flags).map_err(|problems| problems.to_string())
}

#[test]
fn without_any_source_the_defaults_are_in_force() {
    let (config, settings) = Config::load(None, &Flags::default()).unwrap();
    assert_eq!(config, Config::default());
    assert!(settings.iter().all(|setting| setting.source == "default"));
}

#[test]
fn a_file_sets_keys_and_a_flag_wins_over_it() {
    let flags = Flags {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        ..Flags::default()
    };
    let (config, settings) = load(
        "listen = \"0.0.0.0:80\"\ncompleteness_wait = \"90m\"",
        &flags,
    )
    .unwrap();
    assert_eq!(config.listen.port(), 0);
    assert_eq!(config.jobs.completeness_wait, Duration::from_secs(5400));
    let listen = settings
        .iter()
        .find(|setting| setting.key == "listen")
        .unwrap();
    assert_eq!(listen.source, "--listen");
}

#[test]
fn every_problem_is_reported_at_once_with_key_and_source() {
    let problems = load(
        "listn = \"x\"\nlisten = \"nowhere\"\nbilling_interval = \"0s\"\nconnections_max = 0\nhead_timeout = [1]",
        &Flags::default(),
    )
    .unwrap_err();
    for expected in [
        "listn",
        "listen",
        "billing_interval",
        "connections_max",
        "head_timeout",
        "collector.toml",
    ] {
        assert!(
            problems.contains(expected),
            "{expected} is missing in:\n{problems}"
        );
    }
    assert_eq!(problems.lines().count(), 5, "{problems}");
}

#[test]
fn a_file_that_is_absent_or_no_toml_is_a_problem() {
    assert!(
        Config::load(
            Some(Path::new("/nowhere/collector.toml")),
            &Flags::default()
        )
        .is_err()
    );
    assert!(load("= =", &Flags::default()).is_err());
}

#[test]
fn sizes_are_written_with_or_without_a_unit() {
    for text in ["2097152", "\"2MiB\"", "\"2048KiB\""] {
        let toml = format!("request_bytes_max = {text}");
        let (config, settings) = load(&toml, &Flags::default()).unwrap();
        assert_eq!(config.api.request_bytes_max, 2 << 20, "{text}");
        let shown = settings
            .iter()
            .find(|setting| setting.key == "request_bytes_max");
        assert_eq!(shown.map(|setting| setting.value.as_str()), Some("2MiB"));
    }
}

#[test]
fn memory_for_bodies_has_room_for_the_largest_of_them() {
    let least = limits::BUNDLE_BYTES_MAX;
    let with = |bytes: usize| {
        let toml = format!("requests_bytes_max = {bytes}");
        load(&toml, &Flags::default()).map(|_| ())
    };
    let problems = with(least - 1).unwrap_err();
    assert!(
        problems.contains("requests_bytes_max") && problems.contains("a size from 73729KiB"),
        "{problems}"
    );
    with(least).unwrap();
}

#[test]
fn a_path_prefix_begins_with_a_slash_and_ends_without_one() {
    for (text, is_good) in [
        ("", true),
        ("/billing", true),
        ("/a/b-c_d", true),
        ("billing", false),
        ("/billing/", false),
        ("/", false),
        ("/{id}", false),
    ] {
        let loaded = load(&format!("path_prefix = \"{text}\""), &Flags::default());
        assert_eq!(loaded.is_ok(), is_good, "{text}");
    }
}

#[test]
fn a_duration_needs_its_unit() {
    let problems = load("drain_grace = 20", &Flags::default()).unwrap_err();
    assert!(
        problems.contains("drain_grace") && problems.contains("with its unit"),
        "{problems}"
    );
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Settings by which somebody is asked, with a secret of `text` in a file of `mode`, and `more`.
fn load_endpoint(text: &str, mode: u32, more: &str) -> Result<(Config, Vec<Setting>), String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("payment.secret");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    let toml = format!(
        "payment_gateway = \"webhook\"\npayment_webhook_secret_file = \"{}\"\n{more}",
        file.display()
    );
    load(&toml, &Flags::default())
}

#[test]
fn who_is_asked_for_payments_pays_at_once_and_the_secret_is_never_shown() {
    let url = "payment_webhook_url = \"https://pay.example.com/charge?a=b\"";
    let more = format!("{url}\npayment_retries = \"12h, 2d\"\npayment_exhausted = \"cancel\"");
    let (config, settings) = load_endpoint(&format!("{SECRET}\n"), 0o600, &more).unwrap();
    let terms = &config.payment.terms;
    assert_eq!(terms.due_after, Duration::ZERO);
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    assert_eq!(terms.retries, [hours(12), hours(48)]);
    assert!(matches!(config.payment.gateway, GatewayConfig::Endpoint(_)));
    for shown in [format!("{settings:?}"), format!("{config:?}")] {
        assert!(!shown.contains("MfKQ9r8"), "{shown}");
    }
    let shown = |key: &str| {
        let setting = settings.iter().find(|setting| setting.key == key);
        setting.unwrap().value.clone()
    };
    assert_eq!(shown("payment_retries"), "12h, 2days");
    assert_eq!(
        shown("payment_webhook_url"),
        "https://pay.example.com/charge?a=b"
    );
    let (config, _) = load("payment_due_after = \"0s\"", &Flags::default()).unwrap();
    assert_eq!(config.payment.terms.due_after, Duration::ZERO);
    let (config, _) =
        load_endpoint(SECRET, 0o600, &format!("{url}\npayment_retries = \"\"")).unwrap();
    assert!(config.payment.terms.retries.is_empty());
}

#[test]
fn settings_by_which_nobody_would_be_paid_are_refused_by_name() {
    let url = "payment_webhook_url = \"https://pay.example.com\"";
    for (toml, expected) in [
        ("payment_gateway = \"webhook\"", "payment_webhook_url"),
        (
            "payment_gateway = \"webhook\"",
            "payment_webhook_secret_file",
        ),
        ("payment_gateway = \"stripe\"", "manual or webhook"),
        (
            "payment_retries = \"1d\"",
            "only of use with payment_gateway = webhook",
        ),
        (url, "only of use with payment_gateway = webhook"),
        (
            "payment_webhook_secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
            "in the environment",
        ),
        (
            "payment_gateway = \"webhook\"\npayment_webhook_secret_file = \"/nowhere\"",
            "cannot read /nowhere",
        ),
    ] {
        let problems = load(toml, &Flags::default()).unwrap_err();
        assert!(problems.contains(expected), "{toml}: {problems}");
        assert!(!problems.contains("MfKQ9r8"), "{problems}");
    }
    for bad in [
        "ftp://pay.example.com",
        "pay.example.com",
        "https://me:pw@pay.example.com",
        "https://pay.example.com/#top",
        "",
    ] {
        let more = format!("payment_webhook_url = \"{bad}\"");
        let problems = load_endpoint(SECRET, 0o600, &more).unwrap_err();
        assert!(
            problems.contains("payment_webhook_url"),
            "{bad}: {problems}"
        );
        assert_eq!(problems.lines().count(), 1, "{problems}");
    }
    for (text, mode, expected) in [
        ("hunter2", 0o600, "expected `whsec_`"),
        (SECRET, 0o644, "others can read"),
    ] {
        let problems = load_endpoint(text, mode, url).unwrap_err();
        assert!(problems.contains(expected), "{problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
    }
    for bad in ["0s", "1d,", "1d; 2d", "500d", "soon"] {
        let more = format!("{url}\npayment_retries = \"{bad}\"");
        let problems = load_endpoint(SECRET, 0o600, &more).unwrap_err();
        assert!(
            problems.contains("at most 20 durations"),
            "{bad}: {problems}"
        );
    }
}
