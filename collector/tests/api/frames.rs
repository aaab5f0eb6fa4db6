//! Agents: registering, and every fate of a frame.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use submeter_common::aggregate::Group;
use submeter_common::limits::FRAME_BYTES_MAX;
use submeter_common::protocol::encode_frame;

use crate::running::{Agent, Reply, Running, counted};

const AT: &str = "2026-03-10T11:00:00Z";

async fn quantity(running: &Running, meter: &str) -> Value {
    let path = format!(
        "/v1/usage?customer_id=ada&meter_id={meter}&start=2026-03-10T00:00:00Z&end=2026-03-11T00:00:00Z"
    );
    running.api.fetch(&path).await["quantity"].clone()
}

fn told(reply: &Reply) -> (u16, &str, Option<&str>) {
    (
        reply.status.as_u16(),
        reply.code(),
        reply.body["result"].as_str(),
    )
}

#[tokio::test]
async fn a_frame_counts_once_however_often_it_is_sent() {
    let running = Running::start().await;
    let meter = running.api.counter("calls").await;
    let mut agent = Agent::new(1);
    let registered = agent.register(&running.api).await;
    assert_eq!(
        (registered["status"].as_str(), registered["epoch"].as_u64()),
        (Some("new"), Some(1))
    );
    assert_eq!(registered["catalog"]["meters"][0]["id"], json!(meter));

    let frame = agent.seal(vec![counted("ada", &meter, AT, Group::none(), 7)], AT);
    let first = agent.send(&running.api, frame.clone()).await;
    assert_eq!(told(&first), (200, "-", Some("applied")));
    assert_eq!(first.body["applied"]["seq"], 1);
    let again = agent.send(&running.api, frame.clone()).await;
    assert_eq!(told(&again), (200, "-", Some("duplicate")));
    assert_eq!(again.body["applied"], first.body["applied"]);
    // A new session sends the very same bytes.
    let resumed = agent.register(&running.api).await;
    assert_eq!(
        (resumed["status"].as_str(), agent.epoch),
        (Some("resumed"), 2)
    );
    assert_eq!(
        told(&agent.send(&running.api, frame).await),
        (200, "-", Some("duplicate"))
    );
    assert_eq!(quantity(&running, &meter).await, "7");
}

#[tokio::test]
async fn frames_out_of_their_chain_are_refused_and_count_nothing() {
    let running = Running::start().await;
    let meter = running.api.counter("calls").await;
    let mut agent = Agent::new(1);
    agent.register(&running.api).await;
    let seven = || vec![counted("ada", &meter, AT, Group::none(), 7)];
    let one = agent.seal(seven(), AT);
    let rival = encode_frame(&Agent::in_session(1, agent.epoch).frame(vec![], AT))
        .unwrap()
        .0;
    let two = agent.seal(seven(), AT);

    let gap = agent.send(&running.api, two.clone()).await;
    assert_eq!(told(&gap), (409, "GAP", Some("gap")));
    assert_eq!(gap.should_retry.as_deref(), Some("false"));
    assert_eq!(gap.body["applied"]["seq"], 0);

    agent.send(&running.api, one).await.expect_success();
    assert_eq!(
        told(&agent.send(&running.api, rival).await),
        (409, "FORK", Some("fork"))
    );

    let stale = Agent::in_session(1, agent.epoch);
    agent.register(&running.api).await;
    assert_eq!(
        told(&stale.send(&running.api, two.clone()).await),
        (409, "FENCED", Some("fenced"))
    );
    agent.send(&running.api, two).await.expect_success();
    assert_eq!(quantity(&running, &meter).await, "14");
    let agents = running.api.fetch("/v1/agents").await;
    assert_eq!(
        (
            agents["items"][0]["seq"].as_u64(),
            agents["items"][0]["alarms"].clone()
        ),
        // It says that the second frame was acknowledged before it was sent.
        (Some(2), json!(["forked", "collector_behind"]))
    );
}

#[tokio::test]
async fn receipts_that_do_not_add_up_are_counted() {
    let running = Running::start().await;
    let meter = running.api.counter("calls").await;
    let mut agent = Agent::new(1);
    agent.register(&running.api).await;
    let mut frame = agent.frame(vec![counted("ada", &meter, AT, Group::none(), 7)], AT);
    frame.header.receipts.received += 1;
    let bytes = encode_frame(&frame).unwrap().0;
    agent.send(&running.api, bytes).await.expect_success();
    assert_eq!(quantity(&running, &meter).await, "7", "the usage counts");
    let metrics = running.api.fetch("/metrics").await;
    let counted = metrics
        .as_str()
        .unwrap()
        .lines()
        .any(|line| line.starts_with("submeter_collector_frames_unconserved_total "));
    assert!(counted, "{metrics}");
}

#[tokio::test]
async fn bytes_that_are_no_frame_of_this_agent_are_refused() {
    let running = Running::start().await;
    let mut agent = Agent::new(1);
    agent.register(&running.api).await;
    let good = agent.seal(vec![], AT);
    let mut corrupt = good.clone();
    corrupt[20] ^= 1;
    let mut newer = good.clone();
    newer[4] = 99;
    let cut = good[..good.len() - 1].to_vec();
    let foreign = Agent::new(2).seal(vec![], AT);
    for (bytes, status, code) in [
        (corrupt, 422, "INVALID_FRAME"),
        (cut, 422, "INVALID_FRAME"),
        (b"{\"events\":[]}".to_vec(), 422, "INVALID_FRAME"),
        (vec![], 422, "INVALID_FRAME"),
        (foreign, 422, "INVALID_FRAME"),
        (newer, 422, "UNSUPPORTED_FRAME_VERSION"),
        (vec![0; FRAME_BYTES_MAX + 1], 413, "BODY_TOO_LARGE"),
    ] {
        let size = bytes.len();
        let reply = agent.send(&running.api, bytes).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code()),
            (status, code),
            "{size} bytes: {}",
            reply.body
        );
    }
    let path = |query: &str| format!("/v1/agents/{}/frames{query}", agent.id);
    let bytes = Some("application/octet-stream");
    for (path, content_type, status, code) in [
        (path(""), bytes, 422, "MISSING_FIELD"),
        (path("?epoch=x"), bytes, 422, "INVALID_FIELD"),
        (path("?epoch=1&seq=1"), bytes, 422, "UNKNOWN_FIELD"),
        (
            path("?epoch=1"),
            Some("application/json"),
            415,
            "UNSUPPORTED_CONTENT_TYPE",
        ),
        (
            "/v1/agents/me/frames?epoch=1".to_owned(),
            bytes,
            404,
            "AGENT_NOT_FOUND",
        ),
    ] {
        let reply = running
            .api
            .send(Method::POST, &path, content_type, good.clone())
            .await;
        assert_eq!(
            (reply.status.as_u16(), reply.code()),
            (status, code),
            "{path}"
        );
    }
    agent.send(&running.api, good).await.expect_success();
}

#[tokio::test]
async fn an_agent_has_to_register_before_it_sends_and_again_after_it_was_retired() {
    let running = Running::start().await;
    let mut agent = Agent::new(1);
    let frame = agent.seal(vec![], AT);
    let unknown = agent.send(&running.api, frame.clone()).await;
    assert_eq!(
        (unknown.status, unknown.code()),
        (StatusCode::NOT_FOUND, "AGENT_NOT_FOUND")
    );
    let mut agent = Agent::new(1);
    agent.register(&running.api).await;
    let path = format!("/v1/agents/{}/retire", agent.id);
    let retired = running
        .api
        .call(Method::POST, &path, &json!({}))
        .await
        .expect_success();
    assert_eq!(retired["live"], false);
    assert_eq!(
        running
            .api
            .call(Method::POST, &path, &json!({}))
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        told(&agent.send(&running.api, frame).await),
        (409, "FENCED", Some("fenced"))
    );
    let nobody = running
        .api
        .call(Method::POST, "/v1/agents/nobody/retire", &json!({}))
        .await;
    assert_eq!(nobody.code(), "AGENT_NOT_FOUND");
}

#[tokio::test]
async fn the_catalog_carries_every_meter_and_a_version_that_grows() {
    let running = Running::start().await;
    let before = running.api.fetch("/v1/catalog").await;
    let meter = running.api.counter("calls").await;
    let after = running.api.fetch("/v1/catalog").await;
    assert!(after["version"].as_u64() > before["version"].as_u64());
    assert_eq!(after["meters"][0]["id"], json!(meter));
    running
        .api
        .call(Method::DELETE, &format!("/meters/{meter}"), &json!({}))
        .await;
    let archived = running.api.fetch("/v1/catalog").await;
    assert!(archived["version"].as_u64() > after["version"].as_u64());
    assert_eq!(archived["meters"][0]["archived"], true);
}
