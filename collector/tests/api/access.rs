//! Keys: who may call what.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::json;
use submeter_collector::collector::Collector;
use submeter_collector::config::Config;

use crate::running::{Api, Running};

async fn key(api: &Api, scopes: &[&str]) -> (String, Api) {
    let created = api
        .post("/v1/keys", json!({"name": "k", "scopes": scopes}))
        .await;
    let secret = created["key"].as_str().unwrap();
    (
        created["key_id"].as_str().unwrap().to_owned(),
        api.with_key(Some(secret)),
    )
}

#[tokio::test]
async fn without_a_good_key_nothing_is_answered_but_health() {
    let running = Running::start().await;
    for wrong in [
        None,
        Some(""),
        Some("smk_nonsense"),
        Some("Ünïcode"),
        Some("smk_00000000000000000000000000000000"),
    ] {
        let api = running.api.with_key(wrong);
        for (method, path) in [
            (Method::GET, "/meters"),
            (Method::POST, "/meters"),
            (Method::POST, "/v1/agents/register"),
            (Method::GET, "/v1/keys"),
            (Method::DELETE, "/v1/keys/key_x"),
        ] {
            let reply = api.call(method.clone(), path, &json!({})).await;
            assert_eq!(
                (reply.status, reply.code()),
                (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
                "{method} {path}"
            );
        }
    }
    let nobody = running.api.with_key(None);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(nobody.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn each_route_asks_for_its_scope() {
    let running = Running::start().await;
    let api = &running.api;
    let routes = [
        (Method::GET, "/meters", "read"),
        (Method::GET, "/v1/usage", "read"),
        (Method::GET, "/v1/invoices", "read"),
        (Method::GET, "/v1/agents", "read"),
        (Method::GET, "/v1/keys", "read"),
        (Method::POST, "/meters", "write"),
        (Method::PATCH, "/meters/mtr_x", "write"),
        (Method::POST, "/subscriptions", "write"),
        (Method::POST, "/v1/keys", "write"),
        (Method::DELETE, "/v1/keys/key_x", "write"),
        (Method::POST, "/v1/agents/x/retire", "write"),
        (Method::GET, "/v1/catalog", "agent"),
        (Method::POST, "/v1/agents/register", "agent"),
        (Method::POST, "/v1/agents/x/frames", "agent"),
    ];
    for scope in ["read", "write", "ingest", "agent"] {
        let (_, holder) = key(api, &[scope]).await;
        for (method, path, needed) in &routes {
            let reply = holder.call(method.clone(), path, &json!({})).await;
            let refused = reply.status == StatusCode::FORBIDDEN && reply.code() == "MISSING_SCOPE";
            assert_eq!(
                refused,
                scope != *needed,
                "{method} {path} with {scope}: {} {}",
                reply.status,
                reply.body
            );
        }
    }
}

#[tokio::test]
async fn a_key_hands_on_no_more_than_it_has_and_dies_when_revoked() {
    let running = Running::start().await;
    let api = &running.api;
    let (_, writer) = key(api, &["write"]).await;
    let (reader_id, reader) = key(api, &["read"]).await;
    let more = json!({"name": "more", "scopes": ["write", "read"]});
    assert_eq!(
        writer.call(Method::POST, "/v1/keys", &more).await.code(),
        "MISSING_SCOPE"
    );
    assert_eq!(
        writer
            .call(
                Method::POST,
                "/v1/keys",
                &json!({"name": "same", "scopes": ["write"]})
            )
            .await
            .status,
        201
    );
    let path = format!("/v1/keys/{reader_id}");
    assert_eq!(
        writer.call(Method::DELETE, &path, &json!({})).await.code(),
        "MISSING_SCOPE"
    );

    assert_eq!(reader.get("/meters").await.status, StatusCode::OK);
    for _ in 0..2 {
        assert_eq!(
            api.call(Method::DELETE, &path, &json!({})).await.status,
            StatusCode::NO_CONTENT
        );
    }
    assert_eq!(reader.get("/meters").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        api.call(Method::DELETE, "/v1/keys/key_nobody", &json!({}))
            .await
            .code(),
        "KEY_NOT_FOUND"
    );
}

#[tokio::test]
async fn the_last_key_that_may_do_everything_cannot_be_revoked() {
    let running = Running::start().await;
    let api = &running.api;
    let keys = api.fetch("/v1/keys").await;
    let bootstrap = keys["items"][0]["key_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/keys/{bootstrap}");
    let refused = api.call(Method::DELETE, &path, &json!({})).await;
    assert_eq!(
        (refused.code(), refused.should_retry.as_deref()),
        ("LAST_COMPLETE_KEY", Some("false"))
    );
    let (_, heir) = key(api, &["read", "write", "ingest", "agent"]).await;
    assert_eq!(
        heir.call(Method::DELETE, &path, &json!({})).await.status,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn the_first_key_is_private_made_once_and_no_secret_is_listed() {
    let running = Running::start().await;
    let file = running.path("bootstrap.key");
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let secret = std::fs::read_to_string(&file).unwrap();
    let keys = running.api.fetch("/v1/keys").await;
    assert_eq!(keys["items"].as_array().unwrap().len(), 1);
    assert!(!keys.to_string().contains(secret.trim()));
    assert!(keys["items"][0].get("hash").is_none());

    let (directory, clock) = running.stop().await;
    let again = Running::start_over(directory, clock).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), secret);
    assert_eq!(again.api.get("/meters").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_first_key_that_others_can_read_stops_the_start() {
    let running = Running::start().await;
    let file = running.path("bootstrap.key");
    let (directory, clock) = running.stop().await;
    for mode in [0o644, 0o620] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let config = Config {
            data_dir: directory.path().to_owned(),
            listen: "127.0.0.1:0".parse().unwrap(),
            ..Config::default()
        };
        let refused = Collector::start(config, Arc::new(clock.clone())).await;
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(&format!("{mode:04o}")), "{message}");
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let again = Running::start_over(directory, clock).await;
    assert_eq!(again.api.get("/meters").await.status, StatusCode::OK);
}
