//! The part of PostgreSQL's protocol that is needed here: no password, one prepared statement, everything as text.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Result, bail};

/// Version 3.0 of the protocol.
const VERSION: u32 = 3 << 16;

/// A connection that is ready for queries.
#[derive(Debug)]
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    request: Vec<u8>,
}

impl Connection {
    /// Connects as the superuser.
    pub(super) fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            stream: BufReader::new(stream),
            request: Vec::new(),
        };
        let mut start = VERSION.to_be_bytes().to_vec();
        start.extend(b"user\0postgres\0database\0postgres\0\0");
        connection.body(&start)?;
        connection.send()?;
        Ok(connection)
    }

    /// Runs a query as it is; the first column of its rows, together.
    pub(super) fn query(&mut self, sql: &str) -> Result<String> {
        self.message(b'Q', &[sql.as_bytes(), b"\0"].concat())?;
        self.send()
    }

    /// Prepares the statement that [`Self::execute`] runs.
    pub(super) fn prepare(&mut self, sql: &str) -> Result<()> {
        let unnamed = b"\0";
        let no_types = [0; 2];
        self.message(b'P', &[unnamed, sql.as_bytes(), b"\0", &no_types].concat())?;
        self.message(b'S', &[])?;
        self.send()?;
        Ok(())
    }

    /// Runs the prepared statement in a transaction of its own.
    pub(super) fn execute(&mut self, parameters: &[&str]) -> Result<()> {
        let unnamed_twice_in_text = [0; 4];
        let mut bind = unnamed_twice_in_text.to_vec();
        bind.extend(u16::try_from(parameters.len())?.to_be_bytes());
        for parameter in parameters {
            bind.extend(u32::try_from(parameter.len())?.to_be_bytes());
            bind.extend(parameter.as_bytes());
        }
        let results_in_text = [0; 2];
        bind.extend(results_in_text);
        self.message(b'B', &bind)?;
        let unnamed_and_all_rows = [0; 5];
        self.message(b'E', &unnamed_and_all_rows)?;
        self.message(b'S', &[])?;
        self.send()?;
        Ok(())
    }

    fn message(&mut self, kind: u8, body: &[u8]) -> Result<()> {
        self.request.push(kind);
        self.body(body)
    }

    fn body(&mut self, body: &[u8]) -> Result<()> {
        // The length counts itself.
        self.request
            .extend(u32::try_from(body.len() + 4)?.to_be_bytes());
        self.request.extend(body);
        Ok(())
    }

    /// Sends the messages and reads until the server is ready for the next; the first column of rows.
    fn send(&mut self) -> Result<String> {
        self.stream.get_mut().write_all(&self.request)?;
        self.request.clear();
        let (mut rows, mut refusal) = (String::new(), None);
        loop {
            let (mut kind, mut length) = ([0; 1], [0; 4]);
            self.stream.read_exact(&mut kind)?;
            self.stream.read_exact(&mut length)?;
            let length = usize::try_from(u32::from_be_bytes(length))?;
            let mut body = vec![0; length.saturating_sub(4)];
            self.stream.read_exact(&mut body)?;
            match kind[0] {
                // Number of columns, length of the first, its text.
                b'D' => rows.push_str(&String::from_utf8_lossy(body.get(6..).unwrap_or_default())),
                b'E' => {
                    let text = String::from_utf8_lossy(&body).replace('\0', " ");
                    // Nothing follows a fatal one: the server closes the connection.
                    if text.contains("FATAL") {
                        bail!("PostgreSQL: {text}");
                    }
                    refusal = Some(text);
                }
                b'Z' => break,
                _ => {}
            }
        }
        match refusal {
            Some(refusal) => bail!("PostgreSQL: {refusal}"),
            None => Ok(rows),
        }
    }
}
