//! Stopping and starting again.

use std::time::Duration;

use reqwest::StatusCode;
use submeter_collector::collector::ADDRESS_FILE;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

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
    assert_eq!(
        again.api.fetch(&format!("/meters/{meter}")).await["name"],
        "api.call"
    );
}

#[tokio::test]
async fn a_request_that_was_begun_is_answered_at_a_stop_and_no_other_is_taken() {
    let running = Running::start().await;
    let address = running.api.base.trim_start_matches("http://").to_owned();
    let body = r#"{"customer_id":"late","name":"n","email":"n@example.com"}"#;
    let key = std::fs::read_to_string(running.path("bootstrap.key")).unwrap();
    let head = format!(
        "POST /customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        key.trim(),
        body.len()
    );
    let mut begun = TcpStream::connect(&address).await.unwrap();
    begun.write_all(head.as_bytes()).await.unwrap();
    begun.write_all(&body.as_bytes()[..10]).await.unwrap();
    // The head has to be read before the stop, or there is no request yet.
    tokio::time::sleep(Duration::from_millis(200)).await;

    let stopping = tokio::spawn(running.stop());
    let closed = async {
        while TcpStream::connect(&address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let closed = tokio::time::timeout(Duration::from_secs(60), closed).await;
    closed.expect("the door closes");
    begun.write_all(&body.as_bytes()[10..]).await.unwrap();
    let mut answer = String::new();
    begun.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let (directory, clock) = stopping.await.unwrap();
    let again = Running::start_over(directory, clock).await;
    assert_eq!(
        again.api.get("/customers/late").await.status,
        StatusCode::OK
    );
}
