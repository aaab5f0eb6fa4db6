//! Reads settings key by key, so that one bad value does not hide the next.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Source};
use reqwest::Url;

use super::{ENV_PREFIX, Flags, Mode, size};
use crate::telemetry::LogFormat;

/// Environment variables with the prefix that commands use; they are no settings of the server.
const NOT_SETTINGS: [&str; 4] = ["config", "url", "key", "key_file"];

/// Everything that was wrong with the settings, in the order it was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigProblems(Vec<String>);

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            f.write_str(problem)?;
        }
        Ok(())
    }
}

/// One key as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key in the file; in the environment it is upper-cased behind the prefix.
    pub key: &'static str,
    /// The value in force, as it would be written.
    pub value: String,
    /// Where the value came from: `default`, a file, the environment, a flag.
    pub source: String,
}

/// Takes keys out of the merged sources one by one, and remembers what was wrong.
pub(super) struct Reader {
    figment: Figment,
    values: Dict,
    settings: BTreeMap<&'static str, Setting>,
    problems: Vec<String>,
}

impl Reader {
    /// Merges the sources.
    pub(super) fn open(file: Option<&Path>, flags: &Flags) -> Result<Self, ConfigProblems> {
        let mut figment = Figment::new();
        if let Some(path) = file {
            figment = figment.merge(Toml::file_exact(path));
        }
        figment = figment.merge(Env::prefixed(ENV_PREFIX).ignore(&NOT_SETTINGS));
        for (key, value) in flag_values(flags) {
            figment = figment.merge(Serialized::default(key, value));
        }
        let values = figment.extract::<Dict>().map_err(|error| {
            ConfigProblems(
                error
                    .into_iter()
                    .map(|problem| problem.to_string())
                    .collect(),
            )
        })?;
        Ok(Self {
            figment,
            values,
            settings: BTreeMap::new(),
            problems: Vec::new(),
        })
    }

    /// A path, as it is written.
    pub(super) fn path(&mut self, key: &'static str, default: PathBuf) -> PathBuf {
        let path = self.parse(key, default, "a path", |text| {
            (!text.is_empty()).then(|| PathBuf::from(text))
        });
        self.note(key, path.display().to_string());
        path
    }

    /// A value with its own text form.
    pub(super) fn text<T: FromStr + fmt::Display>(
        &mut self,
        key: &'static str,
        default: T,
        expected: &str,
    ) -> T {
        let value = self.parse(key, default, expected, |text| text.parse().ok());
        self.note(key, value.to_string());
        value
    }

    /// `human` or `json`.
    pub(super) fn log_format(&mut self, key: &'static str, default: LogFormat) -> LogFormat {
        let names = (LogFormat::from_name, LogFormat::name);
        self.named(key, default, "human or json", names.0, names.1)
    }

    /// One of a few words.
    pub(super) fn named<T: Copy>(
        &mut self,
        key: &'static str,
        default: T,
        expected: &str,
        from_name: impl Fn(&str) -> Option<T>,
        name: impl Fn(T) -> &'static str,
    ) -> T {
        let value = self.parse(key, default, expected, from_name);
        self.note(key, name(value).to_owned());
        value
    }

    /// `live` or `test`.
    pub(super) fn mode(&mut self, key: &'static str, default: Mode) -> Mode {
        self.named(key, default, "live or test", Mode::from_name, Mode::name)
    }

    /// A duration above zero, with its unit.
    pub(super) fn duration(&mut self, key: &'static str, default: Duration) -> Duration {
        let expected = "a duration above zero with its unit, such as 10s, 5m or 72h";
        let duration = self.parse(key, default, expected, |text| {
            humantime::parse_duration(text)
                .ok()
                .filter(|duration| !duration.is_zero())
        });
        self.note(key, humantime::format_duration(duration).to_string());
        duration
    }

    /// A duration with its unit, which may be none at all.
    pub(super) fn duration_or_none(&mut self, key: &'static str, default: Duration) -> Duration {
        let expected = "a duration with its unit, such as 0s, 36h or 14d";
        let read = |text: &str| humantime::parse_duration(text).ok();
        let duration = self.parse(key, default, expected, read);
        self.note(key, humantime::format_duration(duration).to_string());
        duration
    }

    /// Durations above zero with commas between them, or nothing.
    pub(super) fn durations(
        &mut self,
        key: &'static str,
        default: Vec<Duration>,
        count_max: usize,
        longest: Duration,
    ) -> Vec<Duration> {
        let expected = format!(
            "at most {count_max} durations of up to {} with commas between them, such as `1d, 3d, 5d`, or nothing",
            humantime::format_duration(longest)
        );
        let read = |text: &str| {
            let parts = text.split(',').map(str::trim);
            let parts: Vec<&str> = parts.filter(|_| !text.trim().is_empty()).collect();
            let one = |part: &&str| {
                let duration = humantime::parse_duration(part).ok()?;
                (!duration.is_zero() && duration <= longest).then_some(duration)
            };
            (parts.len() <= count_max).then(|| parts.iter().map(one).collect::<Option<_>>())?
        };
        let durations = self.parse(key, default, &expected, read);
        let shown = durations.iter().map(|one| humantime::format_duration(*one));
        let shown: Vec<String> = shown.map(|one| one.to_string()).collect();
        self.note(key, shown.join(", "));
        durations
    }

    /// An address of the web without a name or a password in it; none when nothing is said.
    pub(super) fn url(&mut self, key: &'static str) -> Option<Url> {
        let expected = "an address such as https://billing.example.com/charge, without name, password or fragment";
        let url = self.parse(key, None, expected, |text| {
            let url = Url::parse(text).ok()?;
            let is_good = matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.fragment().is_none();
            is_good.then_some(Some(url))
        });
        self.note(key, url.as_ref().map_or_else(String::new, Url::to_string));
        url
    }

    /// A secret, which only the environment may hold; it is never shown.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<String> {
        let is_in_file = self.figment.find_metadata(key).is_some_and(|metadata| {
            metadata
                .source
                .as_ref()
                .is_some_and(|source| source.file_path().is_some())
        });
        let text = self.take(key);
        let shown = if text.is_some() {
            "(set, not shown)"
        } else {
            ""
        };
        self.note(key, shown.to_owned());
        if is_in_file {
            let what = format!(
                "expected in the environment, or in a file of its own that {key}_file names: settings are read by many"
            );
            self.problem(key, &what);
            return None;
        }
        text
    }

    /// Whether anybody said something about a key.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.figment.find_metadata(key).is_some()
    }

    /// A whole number within bounds.
    pub(super) fn count(
        &mut self,
        key: &'static str,
        default: usize,
        bounds: RangeInclusive<usize>,
    ) -> usize {
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let count = self.parse(key, default, &expected, |text| {
            text.parse().ok().filter(|count| bounds.contains(count))
        });
        self.note(key, count.to_string());
        count
    }

    /// A number of bytes within bounds, plain or with a unit.
    pub(super) fn size(
        &mut self,
        key: &'static str,
        default: usize,
        bounds: RangeInclusive<usize>,
    ) -> usize {
        let expected = format!(
            "a size from {} to {}, such as 65536, 64KiB or 4MiB",
            size::format(*bounds.start()),
            size::format(*bounds.end())
        );
        let bytes = self.parse(key, default, &expected, |text| {
            size::parse(text).filter(|bytes| bounds.contains(bytes))
        });
        self.note(key, size::format(bytes));
        bytes
    }

    /// A path that begins with a slash and does not end with one, or nothing.
    pub(super) fn path_prefix(&mut self, key: &'static str, default: String) -> String {
        let expected = "a path such as /billing, of letters, digits, - and _";
        let prefix = self.parse(key, default, expected, |text| {
            is_path_prefix(text).then(|| text.to_owned())
        });
        self.note(key, prefix.clone());
        prefix
    }

    /// Names the keys nobody asked for, and hands out the settings when nothing was wrong.
    pub(super) fn finish(mut self) -> Result<Vec<Setting>, ConfigProblems> {
        let unknown: Vec<String> = self.values.keys().cloned().collect();
        for key in unknown {
            let source = self.source_of(&key);
            let known = self.settings.keys().copied().collect::<Vec<_>>().join(", ");
            self.problems.push(format!(
                "{key} ({source}): no such setting; there are {known}"
            ));
        }
        if self.problems.is_empty() {
            return Ok(self.settings.into_values().collect());
        }
        Err(ConfigProblems(self.problems))
    }

    fn parse<T>(
        &mut self,
        key: &'static str,
        default: T,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Some(text) = self.take(key) else {
            return default;
        };
        read(&text).unwrap_or_else(|| {
            self.problem(key, &format!("expected {expected}, found `{text}`"));
            default
        })
    }

    /// Takes a key's value in the form it would have as text; tables and lists are a problem of that key.
    fn take(&mut self, key: &'static str) -> Option<String> {
        let value = self.values.remove(key)?;
        let text = match &value {
            Value::String(_, text) => Some(text.clone()),
            Value::Num(_, number) => number.to_i128().map(|number| number.to_string()),
            _ => None,
        };
        if text.is_none() {
            self.problem(key, "expected a single value");
        }
        text
    }

    /// Remembers the value in force, for `check-config`.
    fn note(&mut self, key: &'static str, value: String) {
        let source = self.source_of(key);
        self.settings.insert(key, Setting { key, value, source });
    }

    /// Remembers what is wrong with a key.
    pub(super) fn problem(&mut self, key: &str, what: &str) {
        let source = self.source_of(key);
        self.problems.push(format!("{key} ({source}): {what}"));
    }

    fn source_of(&self, key: &str) -> String {
        match self.figment.find_metadata(key) {
            None => "default".to_owned(),
            Some(metadata) => match &metadata.source {
                Some(Source::File(path)) => path.display().to_string(),
                _ if metadata.name.contains("environment") => {
                    format!("environment variable {ENV_PREFIX}{}", key.to_uppercase())
                }
                _ => format!("--{}", key.replace('_', "-")),
            },
        }
    }
}

fn is_path_prefix(text: &str) -> bool {
    let is_segment = |segment: &str| {
        !segment.is_empty()
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    match text.strip_prefix('/') {
        Some(rest) => rest.split('/').all(is_segment),
        None => text.is_empty(),
    }
}

fn flag_values(flags: &Flags) -> Vec<(&'static str, String)> {
    let listen = flags.listen.as_ref().map(SocketAddr::to_string);
    let data_dir = flags
        .data_dir
        .as_ref()
        .map(|path| path.to_string_lossy().into_owned());
    let log_format = flags.log_format.map(|format| format.name().to_owned());
    [
        ("data_dir", data_dir),
        ("listen", listen),
        ("log_format", log_format),
    ]
    .into_iter()
    .filter_map(|(key, value)| value.map(|value| (key, value)))
    .collect()
}
