#![expect(clippy::unwrap_used, reason = "a failed test is the point")]

use std::io::Write as _;

use super::*;

fn sources(
    toml: &str,
    env: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> (tempfile::NamedTempFile, Sources) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    let sources = Sources {
        file: Some(file.path().to_owned()),
        env: env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        flags: flags
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect(),
    };
    (file, sources)
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let toml = "flush_interval = \"1s\"\nshutdown_grace = \"2s\"\nlisten = \"127.0.0.1:1\"\n";
    let env = [
        ("SUBMETER_AGENT_SHUTDOWN_GRACE", "3s"),
        ("SUBMETER_AGENT_LISTEN", "127.0.0.1:2"),
        ("OTHER", "x"),
    ];
    let (_file, sources) = sources(toml, &env, &[("listen", "127.0.0.1:3")]);
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.flush_interval, Span::seconds(1));
    assert_eq!(config.shutdown_grace, Span::seconds(3));
    assert_eq!(config.listen, SocketAddr::from(([127, 0, 0, 1], 3)));
    assert_eq!(config.horizon_past, Span::hours(1));
}

#[test]
fn all_problems_are_reported_at_once_with_name_and_place() {
    let toml = "flush_intervall = \"1s\"\nshutdown_grace = 7\nlisten = \"nowhere\"\n";
    let (file, sources) = sources(toml, &[("SUBMETER_AGENT_OUTBOX_BYTES_MAX", "many")], &[]);
    let problems = Config::load(&sources).unwrap_err().problems;
    assert_eq!(problems.len(), 4, "{problems:#?}");
    let all = problems.join("\n");
    for part in [
        "flush_intervall",
        "unknown setting",
        "shutdown_grace",
        "listen",
        "outbox_bytes_max",
        "the environment",
    ] {
        assert!(all.contains(part), "{part} is not in {all}");
    }
    assert!(all.contains(&file.path().display().to_string()), "{all}");
}

#[test]
fn a_horizon_longer_than_the_dedup_retention_is_refused() {
    let (_file, sources) = sources(
        "horizon_past = \"25h\"\ndedup_retention = \"24h\"\n",
        &[],
        &[],
    );
    let problems = Config::load(&sources).unwrap_err().problems;
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].contains("horizon_past is 25h but dedup_retention only 1d"),
        "{problems:?}"
    );
}

#[test]
fn the_retention_covers_the_horizon_both_ways() {
    let (_file, short) = sources("horizon_past = \"24h\"\n", &[], &[]);
    let problems = Config::load(&short).unwrap_err().problems;
    assert!(problems[0].contains("horizon_future"), "{problems:?}");
}

#[test]
fn secrets_are_no_settings_and_do_not_print() {
    let (_file, bad) = sources("key = \"smk_secret\"\n", &[], &[]);
    let problems = Config::load(&bad).unwrap_err().problems;
    assert!(problems[0].contains("key_file"), "{problems:?}");

    let (_file, good) = sources("", &[("SUBMETER_AGENT_KEY", "smk_secret\n")], &[]);
    let config = Config::load(&good).unwrap();
    assert_eq!(config.key.as_ref().unwrap().expose(), "smk_secret");
    assert!(!format!("{config:?}").contains("smk_secret"));
    assert!(!config.to_toml().contains("smk_secret"));
}

#[test]
fn the_effective_settings_read_back_as_a_file() {
    let (_file, first) = sources(
        "allowed_hosts = [\"meter.local\"]\nrequest_bytes_max = 2097152\n",
        &[],
        &[],
    );
    let toml = Config::load(&first).unwrap().to_toml();
    let (_file, second) = sources(&toml, &[], &[]);
    let config = Config::load(&second).unwrap();
    assert_eq!(config.allowed_hosts, ["meter.local"]);
    assert_eq!(config.request_bytes_max, Bytes::mebibytes(2));
    assert_eq!(config.to_toml(), toml);
}

#[test]
fn certificates_come_whole_and_for_tls() {
    for (toml, problems) in [
        ("tls_cert_file = \"a\"\ncollector = \"https://c\"", 1),
        ("tls_key_file = \"a\"\ncollector = \"https://c\"", 1),
        ("tls_ca_file = \"a\"", 1),
        ("tls_cert_file = \"a\"", 2),
        (
            "tls_ca_file = \"a\"\ntls_cert_file = \"a\"\ntls_key_file = \"a\"\ncollector = \"https://c\"",
            0,
        ),
    ] {
        let (_file, sources) = sources(toml, &[], &[]);
        let found = Config::load(&sources).map_or_else(|error| error.problems, |_| Vec::new());
        assert_eq!(found.len(), problems, "{toml}: {found:?}");
    }
}

#[test]
fn names_that_could_never_match_are_refused() {
    for host in ["meter.local", "localhost", "10.0.0.7", "[fd00::7]", "x-1.y"] {
        assert_eq!(check::check_host(host), None, "{host}");
    }
    for host in [
        "",
        "meter.local:7600",
        "http://meter.local",
        "a b",
        "fd00::7",
        "[fd00::7]:1",
        "user@host",
        "a.",
        "*/",
    ] {
        assert!(check::check_host(host).is_some(), "{host}");
    }
}

#[test]
fn a_unix_socket_has_a_path_that_fits_and_an_octal_mode() {
    let long = "x".repeat(108);
    for (toml, says) in [
        ("unix_socket = \"\"".to_owned(), "1 to 107"),
        (format!("unix_socket = \"{long}\""), "108"),
        ("unix_socket_mode = 660".to_owned(), "quotes"),
        ("unix_socket_mode = \"rw\"".to_owned(), "octal"),
    ] {
        let (_file, sources) = sources(&toml, &[], &[]);
        let problems = Config::load(&sources).unwrap_err().problems;
        assert!(problems[0].contains(says), "{problems:?}");
    }
    let env = [("SUBMETER_AGENT_UNIX_SOCKET_MODE", "600")];
    let (_file, sources) = sources("unix_socket = \"a.sock\"", &env, &[]);
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.unix_socket_mode, Mode(0o600));
    assert!(config.to_toml().contains("unix_socket_mode = \"0600\""));
}

#[test]
fn a_collector_that_is_no_base_url_is_refused() {
    for url in [
        "",
        "collector:7700",
        "ftp://x",
        "http://",
        "http://user@host",
        "http://host/?a=b",
    ] {
        assert!(check::check_collector(url).is_err(), "{url}");
    }
    for url in [
        "http://127.0.0.1:7700",
        "https://collector.example.com/submeter/",
    ] {
        assert!(check::check_collector(url).is_ok(), "{url}");
    }
}
