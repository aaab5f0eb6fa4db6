//! Bytes on a socket, for requests that no HTTP client would send.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// A bare connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    host: String,
}

impl Wire {
    /// Connects to a base URL such as `http://127.0.0.1:7600`.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect(base: &str) -> Result<Self> {
        let host = base.trim_start_matches("http://").to_owned();
        let stream = TcpStream::connect(&host).await?;
        Ok(Self { stream, host })
    }

    /// Sends a POST's head, with `more` header lines (each ending in a line break).
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn head(&mut self, path: &str, more: &str) -> Result<()> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n{more}\r\n",
            self.host
        );
        self.bytes(head.as_bytes()).await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(())
    }

    /// Says that nothing more will be sent; replies can still be read.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn end(&mut self) -> Result<()> {
        self.stream.shutdown().await?;
        Ok(())
    }

    /// Whatever comes back until the other side closes.
    ///
    /// # Errors
    /// When it does not close in time.
    pub async fn rest(mut self) -> Result<String> {
        let mut bytes = Vec::new();
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut bytes)).await;
        // A reset is an end too: the other side did not want to read what was sent.
        let _ = read.context("the connection stayed open")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What comes back within `limit`; the connection stays open.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn within(&mut self, limit: Duration) -> Result<String> {
        let mut bytes = vec![0; 64 * 1024];
        match timeout(limit, self.stream.read(&mut bytes)).await {
            Ok(length) => Ok(String::from_utf8_lossy(&bytes[..length?]).into_owned()),
            Err(_) => Ok(String::new()),
        }
    }
}
