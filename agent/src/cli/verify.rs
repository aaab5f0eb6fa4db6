//! `verify`: whether the state directory of a stopped agent is sound, area by area.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use submeter_common::time::{Clock as _, SystemClock};

use super::say::{remark, say};
use super::settings::Settings;
use super::table::Table;
use super::{EXIT_DAMAGED, EXIT_FAILED, EXIT_NOT_FOUND, EXIT_OK, Failure, Outcome};
use crate::pipeline::DamageReport;
use crate::store::damage;
use crate::verify::{State, Verdict, VerifyError, verify};

const EXAMPLES: &str = "\
Exit codes:
  0   every area is sound
  5   something is damaged
  1   it could not be checked, such as while the agent runs
  66  there is no state directory

Examples:
  submeter-agent verify --data-dir /var/lib/submeter-agent
  submeter-agent verify --json | jq '.areas[] | select(.state != \"sound\")'
  submeter-agent verify --acknowledge    # you have read what a recovery could not bring back";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Verify {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Take note of the recoveries from damage that the status shows; works while the agent runs, and checks nothing
    #[arg(long)]
    acknowledge: bool,
    #[command(flatten)]
    settings: Settings,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    data_dir: PathBuf,
    sound: bool,
    areas: Vec<Verdict>,
    /// Recoveries from damage that nobody has taken note of.
    recoveries: Vec<DamageReport>,
}

impl Verify {
    pub(super) fn execute(self) -> Outcome {
        let config = self.settings.load()?;
        if self.acknowledge {
            let count = damage::acknowledge(&config.data_dir)
                .map_err(|error| failure(EXIT_FAILED, error))?;
            say(format_args!("took note of {count} recoveries from damage"))?;
            return Ok(EXIT_OK);
        }
        let areas = verify(&config.store(), SystemClock.now()).map_err(|error| {
            let code = match &error {
                VerifyError::Absent(_) => EXIT_NOT_FOUND,
                VerifyError::Running(_) | VerifyError::Unreadable(..) => EXIT_FAILED,
            };
            failure(code, error)
        })?;
        let mut recoveries = damage::damage_reports(&config.data_dir)
            .map_err(|error| failure(EXIT_FAILED, error))?;
        recoveries.retain(|recovery| !recovery.acknowledged);
        let report = Report {
            sound: areas.iter().all(|verdict| verdict.state == State::Sound),
            data_dir: config.data_dir,
            areas,
            recoveries,
        };
        if self.json {
            say(serde_json::to_string_pretty(&report).map_err(anyhow::Error::from)?)?;
        } else {
            print(&report)?;
        }
        Ok(if report.sound { EXIT_OK } else { EXIT_DAMAGED })
    }
}

fn print(report: &Report) -> Result<(), Failure> {
    let mut table = Table::new(&["area", "verdict", "checked"]);
    for verdict in &report.areas {
        let state = match verdict.state {
            State::Sound => "ok",
            State::Damaged => "DAMAGED",
            State::Unchecked => "not checked",
        };
        let mut lines = vec![verdict.checked.clone()];
        lines.extend(
            verdict
                .problems
                .iter()
                .map(|problem| format!("! {problem}")),
        );
        lines.retain(|line| !line.is_empty());
        table.row(vec![
            verdict.area.as_str().to_owned(),
            state.to_owned(),
            lines.join("\n"),
        ]);
    }
    say(table)?;
    if !report.sound {
        remark(format_args!(
            "the agent recovers what reads when it meets the damage, keeps the rest aside, and tells in its status what is lost; an empty file {} has the next start read everything first",
            report.data_dir.join("suspect").display()
        ));
    }
    if !report.recoveries.is_empty() {
        remark(format_args!(
            "{} recoveries from damage are not taken note of: see `submeter-agent status`, then `verify --acknowledge`",
            report.recoveries.len()
        ));
    }
    Ok(())
}

fn failure(code: u8, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure {
        code,
        error: error.into(),
    }
}
