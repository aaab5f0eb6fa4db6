//! What is wrong with settings: each alone, and those that contradict each other. All of it is told at once.

use std::path::Path;
use std::time::Duration;

use submeter_common::limits;

use super::{Bytes, Config, NO_COLLECTOR, Span};

const HOUR: Duration = Duration::from_secs(3600);
/// A pace faster than this is busy with itself.
const PACE_LEAST: Duration = Duration::from_millis(10);
/// A wait shorter than this fails on a healthy network.
const WAIT_LEAST: Duration = Duration::from_millis(100);
/// Ten years: any longer is a typing error in the unit.
const YEARS: Duration = Duration::from_secs(3600 * 24 * 3653);

/// Every problem, as a sentence that names the setting and what is expected.
pub(super) fn problems(config: &Config) -> Vec<String> {
    let mut problems: Vec<String> = horizon(config).into_iter().collect();
    problems.extend(check_collector(&config.collector).err());
    problems.extend(tls(config));
    problems.extend(config.unix_socket.as_deref().and_then(check_socket_path));
    let hosts = config.allowed_hosts.iter();
    problems.extend(hosts.filter_map(|host| check_host(host)));
    problems.extend(name(config));
    problems.extend(spans(config));
    problems.extend(bytes(config));
    problems.extend(counts(config));
    problems
}

fn horizon(config: &Config) -> Option<String> {
    let reach = config
        .horizon_past
        .0
        .saturating_add(config.horizon_future.0);
    (reach > config.dedup_retention.0).then(|| {
        format!(
            "horizon_past is {} but dedup_retention only {}: a retry of an event older than the retention would be counted twice; expected horizon_past + horizon_future <= dedup_retention",
            config.horizon_past, config.dedup_retention
        )
    })
}

fn tls(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    if config.tls_cert_file.is_some() != config.tls_key_file.is_some() {
        problems.push(
            "tls_cert_file and tls_key_file belong together, expected both or none".to_owned(),
        );
    }
    let set = config.tls_ca_file.is_some() || config.tls_cert_file.is_some();
    if set && config.collector.starts_with("http://") {
        problems.push(
            "tls_ca_file and tls_cert_file are for TLS, expected collector to begin with https://"
                .to_owned(),
        );
    }
    problems
}

fn name(config: &Config) -> Option<String> {
    (!config.name.is_empty() && !is_name(&config.name)).then(|| {
        format!(
            "name is {:?}, expected at most {} bytes without control characters",
            config.name,
            limits::ID_BYTES_MAX
        )
    })
}

fn spans(config: &Config) -> impl Iterator<Item = String> {
    let bounds = [
        ("flush_interval", config.flush_interval, PACE_LEAST, HOUR),
        (
            "heartbeat_interval",
            config.heartbeat_interval,
            PACE_LEAST,
            HOUR,
        ),
        (
            "checkpoint_interval",
            config.checkpoint_interval,
            PACE_LEAST,
            HOUR,
        ),
        (
            "collector_timeout",
            config.collector_timeout,
            WAIT_LEAST,
            HOUR,
        ),
        ("head_timeout", config.head_timeout, WAIT_LEAST, HOUR),
        ("request_timeout", config.request_timeout, WAIT_LEAST, HOUR),
        (
            "shutdown_grace",
            config.shutdown_grace,
            Duration::ZERO,
            HOUR,
        ),
        (
            "horizon_past",
            config.horizon_past,
            Duration::from_secs(1),
            YEARS,
        ),
        (
            "horizon_future",
            config.horizon_future,
            Duration::ZERO,
            24 * HOUR,
        ),
        (
            "dedup_retention",
            config.dedup_retention,
            Duration::from_secs(1),
            YEARS,
        ),
    ];
    let outside = bounds
        .into_iter()
        .filter(|(_, span, least, most)| span.0 < *least || span.0 > *most);
    outside.map(|(name, span, least, most)| {
        let (least, most) = (Span(least), Span(most));
        format!("{name} is {span}, expected from {least} to {most}")
    })
}

fn bytes(config: &Config) -> impl Iterator<Item = String> {
    let bounds = [
        ("request_bytes_max", config.request_bytes_max, 1024),
        (
            "requests_bytes_max",
            config.requests_bytes_max,
            config.request_bytes_max.0,
        ),
        (
            "queue_bytes_max",
            config.queue_bytes_max,
            config.request_bytes_max.0,
        ),
        ("outbox_bytes_max", config.outbox_bytes_max, 1 << 20),
        // Two generations in memory take more than half of it.
        ("dedup_bytes_max", config.dedup_bytes_max, 32 << 20),
        ("open_bytes_max", config.open_bytes_max, 1 << 20),
    ];
    let below = bounds
        .into_iter()
        .filter(|(_, bytes, least)| bytes.0 < *least);
    below.map(|(name, bytes, least)| {
        format!("{name} is {bytes}, expected at least {}", Bytes(least))
    })
}

fn counts(config: &Config) -> impl Iterator<Item = String> {
    let bounds = [
        ("connections_max", config.connections_max, 1 << 20),
        ("queue_requests_max", config.queue_requests_max, 1 << 20),
        ("imports_max", config.imports_max, 10_000),
        (
            "frame_rows_max",
            config.frame_rows_max,
            limits::FRAME_ROWS_MAX,
        ),
        ("groups_per_meter_max", config.groups_per_meter_max, 1 << 30),
    ];
    let outside = bounds
        .into_iter()
        .filter(|(_, count, most)| *count == 0 || count > most);
    outside.map(|(name, count, most)| format!("{name} is {count}, expected from 1 to {most}"))
}

/// Whether the collector can call an agent so.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= limits::ID_BYTES_MAX && !name.chars().any(char::is_control)
}

pub(super) fn check_collector(url: &str) -> Result<(), String> {
    if url == NO_COLLECTOR {
        return Ok(());
    }
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    match host {
        Some(host) if !host.is_empty() && !host.contains('@') && !url.contains(['?', '#']) => {
            Ok(())
        }
        // A password may stand in it.
        _ if url.contains('@') => Err(
            "collector names a user, expected a base URL without; a key goes into key_file"
                .to_owned(),
        ),
        _ => Err(format!(
            "collector is {url:?}, expected a base URL such as \"https://collector.example.com\", without user, query or fragment, or \"none\""
        )),
    }
}

/// The system keeps the path in a field of this size, the end mark included.
const SOCKET_PATH_BYTES_MAX: usize = 107;

fn check_socket_path(path: &Path) -> Option<String> {
    let bytes = path.as_os_str().len();
    (bytes == 0 || bytes > SOCKET_PATH_BYTES_MAX).then(|| {
        format!(
            "unix_socket is {bytes} bytes long, expected a path of 1 to {SOCKET_PATH_BYTES_MAX} bytes"
        )
    })
}

/// A name with a port or scheme would never match, and silently so.
pub(super) fn check_host(host: &str) -> Option<String> {
    let is_bare = host.starts_with('[') || !host.contains(':');
    let reads = host
        .parse::<axum::http::uri::Authority>()
        .is_ok_and(|authority| authority.host() == host);
    (!is_bare || !reads || host.ends_with('.')).then(|| {
        format!(
            "allowed_hosts holds {host:?}, expected names such as \"meter.local\" or addresses such as \"10.0.0.7\" or \"[fd00::7]\", without scheme, port or dot at the end"
        )
    })
}
