//! The program itself, started as a person would.

use std::process::{Command, Stdio};

use crate::harness::{NOBODY, Running, config};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_finds_the_agent_behind_its_unix_socket() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("agent.sock");
    let mut config = config(&directory.path().join("data"), NOBODY);
    config.unix_socket = Some(path.clone());
    let agent = Running::start(config).await;
    let ended = Command::new(env!("CARGO_BIN_EXE_submeter-agent"))
        .args([
            "status",
            "--json",
            "--agent",
            &format!("unix:{}", path.display()),
        ])
        .current_dir(directory.path())
        .env_clear()
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{ended:?}");
    let id = agent.status().await["agent_id"].clone();
    assert!(said.contains(id.as_str().expect("an id")), "{said}");
}

#[test]
fn a_command_whose_reader_went_away_ends_quietly() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let directory = tempfile::tempdir().expect("a directory");
    let ended = Command::new(env!("CARGO_BIN_EXE_submeter-agent"))
        .arg("check-config")
        .current_dir(directory.path())
        .env_clear()
        .stdout(Stdio::from(writer))
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{:?}: {said}", ended.status);
    assert_eq!(said, "");
}
