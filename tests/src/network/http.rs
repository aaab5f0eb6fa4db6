//! As much HTTP/1.1 as it takes to see where a message ends: a head, and a body of an announced length.

use anyhow::{Context, Result, bail};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Longest head that any process of the system sends.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A whole request or reply.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Head and body.
    pub(super) bytes: Vec<u8>,
    /// Length of the head, its blank line included.
    pub(super) head: usize,
}

/// A connection that is read message by message.
pub(super) struct Inbound {
    stream: TcpStream,
    /// What was read beyond the last message.
    ahead: Vec<u8>,
}

impl Inbound {
    pub(super) fn new(stream: TcpStream) -> Self {
        // A proxy that collects small packets would be a fault of its own.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The next request; none when the client is done.
    pub(super) async fn request(&mut self) -> Result<Option<Message>> {
        if self.ahead.is_empty() && self.fill().await? == 0 {
            return Ok(None);
        }
        self.message().await.map(Some)
    }

    /// The next reply.
    pub(super) async fn reply(&mut self) -> Result<Message> {
        self.message().await
    }

    async fn message(&mut self) -> Result<Message> {
        let head = loop {
            if let Some(end) = find(&self.ahead, b"\r\n\r\n") {
                break end + 4;
            }
            if self.ahead.len() > HEAD_BYTES_MAX || self.fill().await? == 0 {
                bail!("a message without the end of its head");
            }
        };
        let length = head + body_length(&self.ahead[..head])?;
        while self.ahead.len() < length {
            if self.fill().await? == 0 {
                bail!("a message without its end");
            }
        }
        let rest = self.ahead.split_off(length);
        let bytes = std::mem::replace(&mut self.ahead, rest);
        Ok(Message { bytes, head })
    }

    async fn fill(&mut self) -> Result<usize> {
        Ok(self.stream.read_buf(&mut self.ahead).await?)
    }
}

/// The value of a header.
pub(super) fn header<'h>(head: &'h [u8], name: &str) -> Option<&'h str> {
    let head = std::str::from_utf8(head).ok()?;
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The announced length of a body; none announced is an empty one.
fn body_length(head: &[u8]) -> Result<usize> {
    if header(head, "transfer-encoding").is_some() {
        bail!("a body in chunks: no process of the system sends one");
    }
    header(head, "content-length").map_or(Ok(0), |length| {
        length
            .parse()
            .with_context(|| format!("content-length {length}"))
    })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
