//! Who may speak to the agent: local names only, and the token where one is set.
//!
//! A web page can make a browser send requests to `127.0.0.1` and, by DNS rebinding, even read the replies. Such requests
//! carry a foreign name in `Host` or `Origin`; that is what is refused here, before any route is looked at. Whoever comes
//! through the Unix socket is no browser and may call the agent as it likes, but an `Origin` that a proxy passes on counts
//! there too. No reply carries CORS headers: pages are no clients of the agent, and preflights fail.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::body::drain;
use super::reply::ApiError;
use super::server::Door;
use crate::config::Secret;

/// Paths that a probe without a token may read: they tell nothing about events.
const OPEN_PATHS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// What a request must show.
#[derive(Debug)]
pub(crate) struct Guard {
    listen: IpAddr,
    allowed_hosts: Vec<String>,
    token: Option<Secret>,
}

impl Guard {
    /// A guard for an agent that listens on `listen`. `allowed_hosts` come on top of loopback names.
    pub(crate) fn new(listen: SocketAddr, allowed_hosts: &[String], token: Option<Secret>) -> Self {
        let allowed_hosts = allowed_hosts
            .iter()
            .map(|host| host.to_ascii_lowercase())
            .collect();
        Self {
            listen: listen.ip(),
            allowed_hosts,
            token,
        }
    }

    /// Lets a request pass that came in at `door`, or answers it.
    pub(crate) async fn pass(&self, request: Request, door: Door) -> Result<Request, Response> {
        match self.check(&request, door) {
            Ok(()) => Ok(request),
            Err(error) => Err(refuse(request, error).await),
        }
    }

    fn check(&self, request: &Request, door: Door) -> Result<(), ApiError> {
        if door == Door::Tcp {
            self.check_host(request)?;
        }
        self.check_origin(request.headers())?;
        if OPEN_PATHS.contains(&request.uri().path()) {
            Ok(())
        } else {
            self.check_token(request.headers())
        }
    }

    fn check_host(&self, request: &Request) -> Result<(), ApiError> {
        let mut named = request
            .headers()
            .get_all(HOST)
            .iter()
            .map(|value| value.to_str().unwrap_or_default());
        let (Some(host), None) = (named.next(), named.next()) else {
            return Err(forbidden_host("the Host header must be sent once"));
        };
        let target = request.uri().authority().map(Authority::as_str);
        for name in [Some(host), target].into_iter().flatten() {
            if !self.allows(name) {
                return Err(forbidden_host(&format!(
                    "Host {name:?} is not a name of this agent; expected localhost, 127.0.0.1 or a name from allowed_hosts"
                )));
            }
        }
        Ok(())
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        for origin in headers.get_all(ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            if !authority.is_some_and(|authority| self.allows(authority)) {
                return Err(forbidden_host(&format!(
                    "Origin {origin:?} may not talk to this agent; pages served from localhost may"
                )));
            }
        }
        Ok(())
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let sent = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(bearer);
        match sent {
            Some(sent) if token.matches(sent) => Ok(()),
            Some(_) => Err(unauthorized(
                "the token in the Authorization header is not this agent's ingest token",
            )),
            None => Err(unauthorized(
                "this agent asks for its ingest token, expected a header \"Authorization: Bearer <token>\"",
            )),
        }
    }

    fn lists(&self, host: &str) -> bool {
        self.allowed_hosts.iter().any(|allowed| allowed == host)
    }

    /// Whether the host of `authority` (`host[:port]`) is one of the agent's own names.
    fn allows(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else {
            return false;
        };
        if authority.as_str().contains('@') {
            return false;
        }
        let host = authority.host().to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        match host_address(host) {
            // A numeric address cannot be rebound; it is allowed where the agent answers on it.
            Some(address) => {
                address.is_loopback()
                    || self.listen.is_unspecified()
                    || address == self.listen
                    || self.lists(host)
            }
            None => host == "localhost" || host.ends_with(".localhost") || self.lists(host),
        }
    }
}

/// The address that a host is, if it is no name. An IPv4 address in the dress of an IPv6 one is what it is.
fn host_address(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address: IpAddr = bare.unwrap_or(host).parse().ok()?;
    (address.is_ipv6() == bare.is_some()).then(|| address.to_canonical())
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn forbidden_host(message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "FORBIDDEN_HOST", message)
}

fn unauthorized(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
}

/// Answers a request that the guard refused.
async fn refuse(request: Request, error: ApiError) -> Response {
    // Cut off while it sends, a client would see a broken connection instead of the reason.
    drain(request.into_body()).await;
    let mut response = error.into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listen: &str, authority: &str, expected: bool) {
        let listen: SocketAddr = listen.parse().expect("an address");
        let guard = Guard::new(listen, &["Meter.Local".to_owned()], None);
        assert_eq!(guard.allows(authority), expected, "{authority} at {listen}");
    }

    #[test]
    fn only_the_agents_own_names_are_allowed() {
        for name in [
            "localhost",
            "LOCALHOST:7600",
            "127.0.0.1:7600",
            "127.9.9.9",
            "[::1]:80",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]:7600",
            "app.localhost",
            "meter.local:1",
            "meter.local.",
            "localhost.",
        ] {
            check("127.0.0.1:7600", name, true);
        }
        for name in [
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "",
            "user@localhost",
            "localhost:x y",
            "0.0.0.0",
            "[::]",
            "[::ffff:10.0.0.1]",
            "[fe80::1%25lo]",
            "[::1",
            "::1",
            "[127.0.0.1]",
            "localhost..",
            "localhost.evil",
            "evil.localhost.example",
            "localhost@evil.example",
            "127.1",
            "2130706433",
        ] {
            check("127.0.0.1:7600", name, false);
        }
    }

    #[test]
    fn an_agent_on_all_addresses_answers_to_any_address_but_to_no_foreign_name() {
        check("0.0.0.0:7600", "10.0.0.1:7600", true);
        check("10.0.0.1:7600", "10.0.0.1", true);
        check("10.0.0.1:7600", "10.0.0.2", false);
        check("0.0.0.0:7600", "evil.example", false);
    }
}
