//! An HTTP/1.1 connection that costs next to nothing, so that the machine's time goes to the agent.
//!
//! One request in flight, replies with `Content-Length` only. It is a measuring tool, not a client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};

/// A kept connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
    request: Vec<u8>,
    line: String,
    body: Vec<u8>,
}

impl Connection {
    /// Connects to `address`.
    pub(super) fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            host: address.to_owned(),
            request: Vec::new(),
            line: String::new(),
            body: Vec::new(),
        })
    }

    /// Posts a JSON body and reads the whole reply; its status.
    pub(super) fn post(&mut self, path: &str, body: &[u8]) -> Result<u16> {
        self.request.clear();
        write!(
            self.request,
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.host,
            body.len()
        )?;
        self.request.extend_from_slice(body);
        self.stream.get_mut().write_all(&self.request)?;
        self.reply()
    }

    fn reply(&mut self) -> Result<u16> {
        self.next_line()?;
        let status = self.line.split(' ').nth(1).context("a status")?.parse()?;
        let mut length = None;
        loop {
            self.next_line()?;
            let Some((name, value)) = self.line.split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse()?);
            }
        }
        self.body.resize(length.context("content-length")?, 0);
        self.stream.read_exact(&mut self.body)?;
        Ok(status)
    }

    fn next_line(&mut self) -> Result<()> {
        self.line.clear();
        ensure!(
            self.stream.read_line(&mut self.line)? > 0,
            "the connection was closed"
        );
        Ok(())
    }
}
