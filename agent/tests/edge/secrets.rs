//! Keys and tokens: kept from others or not used, and never told.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use submeter_agent::agent::{Agent, StartError};
use submeter_agent::config::Config;
use submeter_common::time::SystemClock;

use crate::harness::{NOBODY, PATIENCE, Running, config, event, secret_file};

const KEY: &str = "smk_hush_this_is_the_key";
const TOKEN: &str = "hush_this_is_the_token";

async fn refused(config: &Config) -> String {
    match Agent::start(config, Arc::new(SystemClock)).await {
        Err(StartError::Config(message)) => message,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("started"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_others_can_read_or_replace_stops_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    let mut with_key = config(&directory.path().join("data"), NOBODY);
    with_key.key = None;
    let mut with_token = with_key.clone();
    with_key.key_file = Some(path.clone());
    with_token.ingest_token_file = Some(path.clone());
    for mode in [0o644, 0o604, 0o602, 0o620, 0o666] {
        secret_file(&path, KEY, mode);
        for (setting, config) in [("key_file", &with_key), ("ingest_token_file", &with_token)] {
            let message = refused(config).await;
            for part in [
                setting,
                path.to_str().expect("a path"),
                &format!("{mode:04o}"),
                "0600",
            ] {
                assert!(message.contains(part), "{part} is not in {message}");
            }
            assert!(!message.contains(KEY), "{message}");
        }
    }
    for mode in [0o600, 0o400, 0o640] {
        secret_file(&path, KEY, mode);
        Running::start(with_key.clone()).await.stop().await;
        Running::start(with_token.clone()).await.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opened_to_others_later_is_no_longer_sent() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("key");
    secret_file(&path, KEY, 0o600);
    let mut config = config(&directory.path().join("data"), NOBODY);
    (config.key, config.key_file) = (None, Some(path.clone()));
    let agent = Running::start(config).await;
    let state =
        |wanted: &'static str| move |status: &serde_json::Value| status["flush"]["state"] == wanted;
    agent.until("a try", state("retrying")).await;
    secret_file(&path, KEY, 0o644);
    agent.post("/v1/flush", "application/json", "").await;
    let status = agent.until("no key", state("no_key")).await;
    let message = status["flush"]["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("0644") && !message.contains(KEY),
        "{message}"
    );
    agent.ingest(&[event("e1")]).await;
}

fn program(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_submeter-agent"));
    command
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn check_config_names_where_secrets_come_from_and_never_tells_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("token");
    secret_file(&path, TOKEN, 0o600);
    let check = |arguments: &[&str]| {
        program(directory.path(), &[&["check-config"], arguments].concat())
            .env("SUBMETER_AGENT_KEY", KEY)
            .output()
            .expect("the program starts")
    };
    let good = check(&["--ingest-token-file", "token"]);
    assert_eq!(good.status.code(), Some(0), "{}", said(&good));
    assert!(
        said(&good).contains("from SUBMETER_AGENT_KEY"),
        "{}",
        said(&good)
    );
    secret_file(&path, TOKEN, 0o644);
    let exposed = check(&["--ingest-token-file", "token"]);
    assert_eq!(exposed.status.code(), Some(64), "{}", said(&exposed));
    assert!(said(&exposed).contains("0644"), "{}", said(&exposed));
    let userinfo = check(&["--collector", &format!("http://user:{TOKEN}@host")]);
    assert_eq!(userinfo.status.code(), Some(64), "{}", said(&userinfo));
    std::fs::write(
        directory.path().join("a.toml"),
        format!("key = \"{KEY}\"\ningest_token = \"{TOKEN}\"\n"),
    )
    .expect("the file");
    let in_file = check(&["--config", "a.toml"]);
    assert_eq!(in_file.status.code(), Some(64), "{}", said(&in_file));
    let argv = check(&["--key", "x"]);
    assert_ne!(argv.status.code(), Some(0), "{}", said(&argv));
    for output in [good, exposed, userinfo, in_file, argv] {
        let said = said(&output);
        assert!(!said.contains(KEY) && !said.contains(TOKEN), "{said}");
    }
}

#[test]
fn no_log_line_holds_a_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    secret_file(&directory.path().join("token"), TOKEN, 0o600);
    // Nobody answers there, so that errors of calls with the key are logged too.
    let arguments = [
        "run",
        "--collector",
        NOBODY,
        "--listen",
        "127.0.0.1:0",
        "--log",
        "trace",
    ];
    let more = [
        "--ingest-token-file",
        "token",
        "--flush-interval",
        "20ms",
        "--shutdown-grace",
        "1s",
    ];
    let log = directory.path().join("log");
    let log_file = || {
        let mut options = std::fs::OpenOptions::new();
        options.append(true).create(true).open(&log).expect("a log")
    };
    let mut child = program(directory.path(), &[&arguments[..], &more].concat())
        .env("SUBMETER_AGENT_KEY", KEY)
        .stdout(log_file())
        .stderr(log_file())
        .spawn()
        .expect("the program starts");
    let deadline = std::time::Instant::now() + PATIENCE;
    let failed_to_reach =
        || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("cannot be reached"));
    while !failed_to_reach() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let text = std::fs::read_to_string(&log).expect("the log");
    assert!(text.contains("cannot be reached"), "{text}");
    assert!(!text.contains(KEY) && !text.contains(TOKEN), "{text}");
}
