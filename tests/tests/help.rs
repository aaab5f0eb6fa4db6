//! Does every command say what it does, with examples, and end quietly when nobody reads on?

use std::collections::BTreeSet;
use std::io::Read as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use submeter_tests::system::program;

const PROGRAMS: [&str; 2] = ["submeter-agent", "submeter-collector"];

#[test]
fn every_command_tells_its_use_with_examples() -> Result<()> {
    for name in PROGRAMS {
        let mut told = 0;
        let mut waiting = vec![Vec::<String>::new()];
        while let Some(command) = waiting.pop() {
            let help = help(name, &command)?;
            let below = subcommands(&help);
            ensure!(
                !below.is_empty() || help.contains("Examples:") || help.contains("step by step:"),
                "{name} {command:?} has no examples:\n{help}"
            );
            let below = below.into_iter();
            waiting.extend(below.map(|sub| [command.as_slice(), &[sub]].concat()));
            told += 1;
        }
        ensure!(told > 8, "{name} has but {told} commands");
    }
    Ok(())
}

#[test]
fn every_help_tells_only_of_exit_codes_that_there_are() -> Result<()> {
    // The operator's page lists them; `operating` holds that list to the code.
    let known = [
        BTreeSet::from([0, 1, 2, 3, 4, 5, 64, 65, 66]),
        BTreeSet::from([0, 1, 2, 4, 64, 65]),
    ];
    for (name, known) in PROGRAMS.into_iter().zip(known) {
        let mut told = BTreeSet::new();
        let mut waiting = vec![Vec::<String>::new()];
        while let Some(command) = waiting.pop() {
            let help = help(name, &command)?;
            let below = subcommands(&help).into_iter();
            waiting.extend(below.map(|sub| [command.as_slice(), &[sub]].concat()));
            let Some((_, codes)) = help.split_once("Exit codes:") else {
                continue;
            };
            let codes = codes.split("Examples:").next().unwrap_or_default();
            let words = codes.split(|c: char| !c.is_ascii_alphanumeric());
            let codes: BTreeSet<u32> = words.filter_map(|word| word.parse().ok()).collect();
            ensure!(codes.contains(&0), "{name} {command:?}: {help}");
            ensure!(
                codes.is_subset(&known),
                "{name} {command:?} tells of {codes:?}, there are {known:?}"
            );
            told.extend(codes);
        }
        let silent: Vec<_> = known.difference(&told).filter(|code| **code != 2).collect();
        ensure!(silent.is_empty(), "no help of {name} tells of {silent:?}");
    }
    Ok(())
}

#[test]
fn shells_are_told_how_to_complete() -> Result<()> {
    for (name, command) in PROGRAMS.into_iter().zip(["inspect", "invoices"]) {
        for shell in ["bash", "zsh", "fish"] {
            let output = Command::new(program(name)?)
                .args(["completions", shell])
                .output()?;
            let script = String::from_utf8(output.stdout)?;
            ensure!(
                output.status.success() && script.contains(command) && script.contains(name),
                "{name} {shell}: {script}"
            );
        }
        let bash = Command::new(program(name)?)
            .args(["completions", "bash"])
            .output()?;
        let script = tempfile::NamedTempFile::new()?;
        std::fs::write(script.path(), bash.stdout)?;
        let checked = Command::new("bash").arg("-n").arg(script.path()).output()?;
        ensure!(checked.status.success(), "{checked:?}");
    }
    Ok(())
}

#[test]
fn a_reader_that_goes_away_is_no_failure() -> Result<()> {
    for name in PROGRAMS {
        // Longer than a pipe holds, so that something is still to be printed when the reader is gone.
        let mut child = Command::new(program(name)?)
            .args(["completions", "zsh"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        drop(child.stdout.take());
        let mut said = String::new();
        let mut stderr = child.stderr.take().context("stderr")?;
        stderr.read_to_string(&mut said)?;
        let status = child.wait()?;
        ensure!(
            status.success() && said.is_empty(),
            "{name}: {status} {said}"
        );
    }
    Ok(())
}

fn help(name: &str, command: &[String]) -> Result<String> {
    let output = Command::new(program(name)?)
        .args(command)
        .arg("--help")
        // Settings of this machine would be shown as defaults.
        .env_clear()
        .output()?;
    ensure!(output.status.success(), "{name} {command:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The commands that a help lists, but for `help` itself.
fn subcommands(help: &str) -> Vec<String> {
    let listed = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    listed
        .filter_map(|line| line.strip_prefix("  "))
        // The rest of a long description stands further in.
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}
