//! The program itself, started as a person would.

use std::process::{Command, Stdio};

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
