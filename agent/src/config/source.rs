//! Where settings come from, and how all their problems are found at once.
//!
//! Serde stops at the first bad field. So each given key is first laid over the defaults alone: that names every bad key
//! with the place it was written in. Only when each is good are they merged.

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::{Config, Secret};

const ENV_PREFIX: &str = "SUBMETER_AGENT_";

/// What the settings are read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The TOML file, if one was named.
    pub file: Option<PathBuf>,
    /// The environment, all of it; only `SUBMETER_AGENT_*` is looked at.
    pub env: BTreeMap<String, String>,
    /// Settings given as flags.
    pub flags: Vec<(&'static str, String)>,
}

impl Sources {
    /// The process environment, and the file it names in `SUBMETER_AGENT_CONFIG`.
    pub fn from_env() -> Self {
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let file = env.get("SUBMETER_AGENT_CONFIG").map(PathBuf::from);
        Self {
            file,
            env,
            flags: Vec::new(),
        }
    }
}

/// Every problem of the settings, one line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .problems.join("\n"))]
pub struct ConfigError {
    /// One sentence per problem: the setting, where it was given, what was expected.
    pub problems: Vec<String>,
}

pub(super) fn merge(sources: &Sources) -> Result<Config, ConfigError> {
    let mut problems = Vec::new();
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    if let Some(path) = &sources.file {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                figment = figment.merge(Named {
                    name: path.display().to_string(),
                    provider: Toml::string(&text),
                })
            }
            Err(error) => problems.push(format!("cannot read {}: {error}", path.display())),
        }
    }
    let (env, secrets) = environment(&sources.env, &mut problems);
    figment = figment.merge(Given {
        name: "the environment",
        values: env,
    });
    let flags = sources
        .flags
        .iter()
        .map(|(name, text)| ((*name).to_owned(), text.clone()))
        .collect();
    figment = figment.merge(Given {
        name: "the command line",
        values: flags,
    });

    problems.extend(key_problems(&figment));
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let mut config: Config = figment.extract().map_err(|error| ConfigError {
        problems: error.into_iter().map(describe).collect(),
    })?;
    config.key = secrets.key;
    config.ingest_token = secrets.ingest_token;
    Ok(config)
}

pub(super) fn to_toml(config: &Config) -> String {
    let mut text = String::new();
    let values = Value::serialize(config)
        .ok()
        .and_then(Value::into_dict)
        .unwrap_or_default();
    for (key, value) in values {
        match toml_value(&value) {
            Some(value) => text.push_str(&format!("{key} = {value}\n")),
            None => text.push_str(&format!("# {key} is not set\n")),
        }
    }
    text
}

fn toml_value(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(quoted(text)),
        Value::Num(_, number) => number.to_u128().map(|number| number.to_string()),
        Value::Bool(_, flag) => Some(flag.to_string()),
        Value::Array(_, items) => Some(format!(
            "[{}]",
            items
                .iter()
                .filter_map(toml_value)
                .collect::<Vec<_>>()
                .join(", ")
        )),
        _ => None,
    }
}

/// A TOML basic string: the escapes of JSON strings are all valid in it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[derive(Default)]
struct Secrets {
    key: Option<Secret>,
    ingest_token: Option<Secret>,
}

/// Splits `SUBMETER_AGENT_*` into settings and secrets.
fn environment(
    env: &BTreeMap<String, String>,
    problems: &mut Vec<String>,
) -> (BTreeMap<String, String>, Secrets) {
    let mut settings = BTreeMap::new();
    let mut secrets = Secrets::default();
    for (name, value) in env {
        let Some(setting) = name.strip_prefix(ENV_PREFIX) else {
            continue;
        };
        let target = match setting {
            "CONFIG" => continue,
            "KEY" => &mut secrets.key,
            "INGEST_TOKEN" => &mut secrets.ingest_token,
            _ => {
                settings.insert(setting.to_ascii_lowercase(), value.clone());
                continue;
            }
        };
        *target = Secret::new(value);
        if target.is_none() {
            problems.push(format!("{name}: expected printable ASCII characters"));
        }
    }
    (settings, secrets)
}

/// Lays every given key alone over the defaults and collects what is wrong with it.
fn key_problems(figment: &Figment) -> Vec<String> {
    let given = match figment.extract::<Dict>() {
        Ok(given) => given,
        Err(error) => return error.into_iter().map(describe).collect(),
    };
    let defaults = Serialized::defaults(Config::default());
    let mut problems = Vec::new();
    for (key, value) in given {
        let place = figment
            .find_metadata(&key)
            .map(|metadata| metadata.name.to_string())
            .unwrap_or_default();
        let alone = Figment::from(&defaults).merge((key.as_str(), &value));
        if let Err(error) = alone.extract::<Config>() {
            problems.extend(
                error
                    .into_iter()
                    .map(|error| format!("{key} in {place}: {}", explain(&key, &error))),
            );
        }
    }
    problems
}

fn explain(key: &str, error: &figment::Error) -> String {
    use figment::error::Kind;
    match &error.kind {
        Kind::UnknownField(_, known) if key == "key" || key == "ingest_token" => {
            let _ = known;
            format!(
                "is a secret and no setting; use {key}_file or {ENV_PREFIX}{}",
                key.to_ascii_uppercase()
            )
        }
        Kind::UnknownField(_, known) => format!("unknown setting; known are {}", known.join(", ")),
        kind => kind.to_string(),
    }
}

fn describe(error: figment::Error) -> String {
    let place = error
        .metadata
        .as_ref()
        .map(|metadata| format!("{}: ", metadata.name))
        .unwrap_or_default();
    format!("{place}{}", error.kind)
}

/// A provider under a name a person recognises.
struct Named<P> {
    name: String,
    provider: P,
}

impl<P: Provider> Provider for Named<P> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        self.provider.data()
    }
}

/// Settings given as text, which is read as the setting's type asks: quotes are needed nowhere.
struct Given {
    name: &'static str,
    values: BTreeMap<String, String>,
}

impl Provider for Given {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let values = self
            .values
            .iter()
            .map(|(key, text)| (key.clone(), typed(key, text)))
            .collect();
        Ok(Profile::Default.collect(values))
    }
}

/// Only counts and lists are not text; a directory called `123` stays a directory.
fn typed(key: &str, text: &str) -> Value {
    match key {
        "connections_max"
        | "queue_requests_max"
        | "imports_max"
        | "frame_rows_max"
        | "groups_per_meter_max" => text
            .trim()
            .parse::<u64>()
            .map_or_else(|_| Value::from(text), Value::from),
        "allowed_hosts" => {
            let names: Vec<Value> = text
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(Value::from)
                .collect();
            Value::from(names)
        }
        _ => Value::from(text),
    }
}
