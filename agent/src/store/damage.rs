//! What recovery from damage found: which areas, and exactly what could not be brought back.
//!
//! The account stands beside the database, as JSON, so that it outlives the next damage and reads without a program. It
//! stays until a person has acknowledged it.
//!
//! An account is for who looks after this directory. What the collector must know of it, that frames it waits for were lost
//! or usage is missing, is told as an *incident* when it is found to be so.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use submeter_common::time::Timestamp;

use super::directory::{Directory, write_durably};
use super::{StoreError, directory};

/// Accounts kept; older acknowledged ones go first.
const REPORTS_MAX: usize = 32;

/// A part of the state directory.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// The database's files as a whole: its tables and its list of files.
    Files,
    /// The write-ahead log.
    Log,
    /// The mark of what was acknowledged last.
    Mark,
    /// Identity, progress, catalog, imports.
    Meta,
    /// The accepted events.
    Journal,
    /// The ids of accepted events.
    Dedup,
    /// Partials that are not sealed yet.
    Open,
    /// Sealed frames.
    Outbox,
    /// Events that could not be counted.
    Quarantine,
    /// Whether the counts add up.
    Conservation,
}

impl Area {
    /// The area's name, as reports have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Log => "log",
            Self::Mark => "mark",
            Self::Meta => "meta",
            Self::Journal => "journal",
            Self::Dedup => "dedup",
            Self::Open => "open",
            Self::Outbox => "outbox",
            Self::Quarantine => "quarantine",
            Self::Conservation => "conservation",
        }
    }
}

/// One thing that recovery found.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// Where.
    pub area: Area,
    /// Whether something that was acknowledged is gone.
    pub lost: bool,
    /// The journal records concerned, first and last; none when it is not about records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<(u64, u64)>,
    /// A sentence for people.
    pub message: String,
}

/// One recovery from damage.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct DamageReport {
    /// When the damage was recovered from.
    pub at: Timestamp,
    /// How it was noticed.
    pub noticed: String,
    /// Where the damaged database was put, within the state directory.
    pub kept_in: String,
    /// Acknowledged events that were not counted and can no longer be.
    pub events_lost: u64,
    /// What is affected.
    pub findings: Vec<Finding>,
    /// Whether a person has taken note.
    pub acknowledged: bool,
}

impl DamageReport {
    /// Whether something that was acknowledged is gone.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        self.events_lost > 0 || self.findings.iter().any(|finding| finding.lost)
    }
}

/// All accounts of a state directory, oldest first.
pub(crate) fn damage_reports(path: &Path) -> Result<Vec<DamageReport>, StoreError> {
    let failed = |error: String| StoreError::of_system(format!("damage: {error}"));
    match fs::read(directory::damage(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error.to_string())),
        Ok(json) => serde_json::from_slice(&json).map_err(|error| failed(error.to_string())),
    }
}

/// Notes that a person has taken note of all accounts; answers how many were new. The agent may run meanwhile.
pub(crate) fn acknowledge(path: &Path) -> Result<usize, StoreError> {
    let mut reports = damage_reports(path)?;
    let new = reports.iter_mut().filter(|known| !known.acknowledged);
    let count = new.map(|known| known.acknowledged = true).count();
    if count > 0 {
        write(path, &reports)?;
    }
    Ok(count)
}

fn write(path: &Path, reports: &[DamageReport]) -> Result<(), StoreError> {
    let failed = |error: String| StoreError::of_system(format!("damage: {error}"));
    let json = serde_json::to_vec_pretty(reports).map_err(|error| failed(error.to_string()))?;
    write_durably(&directory::damage(path), &json).map_err(|error| failed(error.to_string()))
}

impl Directory {
    /// The accounts; one that does not read back is put aside, for it must not keep an agent from starting.
    pub(crate) fn damage_reports(&self) -> Vec<DamageReport> {
        damage_reports(self.path()).unwrap_or_else(|error| {
            tracing::error!(%error, "the account of earlier damage does not read back and is put aside");
            let aside = self.damage().with_extension("unreadable");
            if let Err(error) = fs::rename(self.damage(), &aside) {
                tracing::warn!(%error, "it cannot be put aside");
            }
            Vec::new()
        })
    }

    /// The accounts that nobody has taken note of.
    pub(crate) fn new_damage(&self) -> Vec<DamageReport> {
        let mut reports = self.damage_reports();
        reports.retain(|report| !report.acknowledged);
        reports
    }

    /// Adds an account, durably; once, however often it is added.
    pub(super) fn add_damage(&self, report: &DamageReport) -> Result<(), StoreError> {
        let mut reports = self.damage_reports();
        if !reports.iter().any(|known| known.kept_in == report.kept_in) {
            reports.push(report.clone());
        }
        if reports.len() > REPORTS_MAX {
            let oldest = reports.iter().position(|known| known.acknowledged);
            reports.remove(oldest.unwrap_or(0));
        }
        write(self.path(), &reports)
    }
}
