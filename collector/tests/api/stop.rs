//! Stopping and starting again.

use reqwest::StatusCode;
use serde_json::json;
use submeter_collector::collector::ADDRESS_FILE;

use crate::running::Running;

#[tokio::test]
async fn the_address_file_tells_the_port_for_as_long_as_the_door_is_open() {
    let running = Running::start().await;
    let file = running.path(ADDRESS_FILE);
    let told = std::fs::read_to_string(&file).unwrap();
    assert_eq!(format!("http://{}", told.trim_end()), running.api.base);
    assert!(told.ends_with('\n'));
    let (_directory, _) = running.stop().await;
    assert!(!file.exists());
}

#[tokio::test]
async fn what_was_created_is_there_after_a_restart() {
    let running = Running::start().await;
    let meter = running.api.counter("api.call").await;
    let (directory, clock) = running.stop().await;
    let again = Running::start_over(directory, clock).await;
    assert_eq!(again.api.fetch(&format!("/meters/{meter}")).await["name"], "api.call");
}

#[tokio::test]
async fn requests_that_were_begun_are_answered_at_a_stop() {
    let running = Running::start().await;
    let api = running.api.clone();
    let begun: Vec<_> = (0..20)
        .map(|number| {
            let api = api.clone();
            tokio::spawn(async move {
                let customer = json!({"customer_id": format!("c{number}"), "name": "n", "email": "n@example.com"});
                api.call(reqwest::Method::POST, "/customers", &customer).await
            })
        })
        .collect();
    for request in begun {
        assert_eq!(request.await.unwrap().status, StatusCode::OK);
    }
    let (_directory, _) = running.stop().await;
}
