//! Redis with an append-only file that is fsynced before each reply.
//!
//! A request is one call of a script: for each event `SET NX` of its id, then the aggregates of its customer and minute.
//! A pipeline of plain commands could not make the second depend on the first without another round trip, nor keep both
//! together through a crash; and the script is faster.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::stream::{Stream, Totals, minute};
use super::{Client, Counted, Peer};
use crate::system::{PATIENCE, Process, eventually, free_address};

/// `ARGV`: the minute, then id, customer and tokens of each event.
const COUNT: &str = "
local minute, new = ARGV[1], 0
for i = 2, #ARGV, 3 do
  if redis.call('SET', 'id:' .. ARGV[i], '', 'NX', 'EX', 86400) then
    local key, tokens = 'usage:' .. ARGV[i + 1] .. ':' .. minute, tonumber(ARGV[i + 2])
    new = new + 1
    redis.call('HINCRBYFLOAT', key, 'count', 1)
    if tokens > 0 then redis.call('HINCRBYFLOAT', key, 'sum', tokens) end
    local max = redis.call('HGET', key, 'max')
    if not max or tokens > tonumber(max) then redis.call('HSET', key, 'max', tokens) end
  end
end
return new";

/// Ids, count, sum and maximum of all customers and minutes.
const TOTALS: &str = "
local keys, count, sum, max = redis.call('KEYS', 'usage:*'), 0, 0, 0
for _, key in ipairs(keys) do
  local usage = redis.call('HMGET', key, 'count', 'sum', 'max')
  count, sum = count + tonumber(usage[1]), sum + tonumber(usage[2])
  max = math.max(max, tonumber(usage[3]))
end
return string.format('%d %d %.0f %d', redis.call('DBSIZE') - #keys, count, sum, max)";

/// A running server.
#[derive(Debug)]
pub(super) struct Redis {
    process: Process,
    address: String,
    script: String,
}

impl Peer for Redis {
    const NAME: &'static str = "Redis";
    type Client = RedisClient;

    async fn start(directory: &Path) -> Result<Self> {
        let address = free_address()?;
        let (host, port) = address.split_once(':').context("host and port")?;
        let dir = directory.to_str().context("a path in UTF-8")?;
        let arguments = [
            ["--bind", host],
            ["--port", port],
            ["--dir", dir],
            ["--appendonly", "yes"],
            ["--appendfsync", "always"],
            ["--save", ""],
        ];
        let program = Path::new("/usr/bin/redis-server");
        let log = directory.join("redis.log");
        let process = Process::spawn(program, arguments.as_flattened(), &log)?;
        let script = eventually("Redis to answer", PATIENCE, || async {
            Connection::open(&address)?.call(&["SCRIPT", "LOAD", COUNT])
        })
        .await
        .with_context(|| process.log_tail())?;
        Ok(Self {
            process,
            address,
            script,
        })
    }

    fn client(&self, stream: Stream) -> Result<RedisClient> {
        Ok(RedisClient {
            connection: Connection::open(&self.address)?,
            script: self.script.clone(),
            stream,
        })
    }

    fn totals(&self) -> Result<Totals> {
        let reply = Connection::open(&self.address)?.call(&["EVAL", TOTALS, "0"])?;
        let numbers = reply
            .split(' ')
            .map(str::parse)
            .collect::<Result<Vec<u64>, _>>()?;
        let [ids, count, sum, max] = numbers[..] else {
            bail!("{reply}");
        };
        Ok(Totals {
            ids,
            count,
            sum,
            max,
        })
    }

    async fn stop(mut self) -> Result<()> {
        self.process.terminate(PATIENCE).await?;
        Ok(())
    }
}

/// A connection and the events it sends.
#[derive(Debug)]
pub(super) struct RedisClient {
    connection: Connection,
    script: String,
    stream: Stream,
}

impl Client for RedisClient {
    fn send(&mut self) -> Result<u64> {
        let events = self.stream.next();
        let mut arguments = vec!["EVALSHA".to_owned(), self.script.clone(), "0".to_owned()];
        arguments.push(minute().to_string());
        let sent = u64::try_from(events.len())?;
        for event in events {
            arguments.extend([event.event_id, event.customer_id, event.tokens.to_string()]);
        }
        self.connection.call(&arguments)?;
        Ok(sent)
    }
}

impl Counted for RedisClient {
    fn acknowledged(&self) -> Totals {
        self.stream.totals
    }
}

/// The part of Redis's protocol that is needed here.
#[derive(Debug)]
struct Connection {
    stream: BufReader<TcpStream>,
    request: Vec<u8>,
}

impl Connection {
    fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            request: Vec::new(),
        })
    }

    /// Sends a command; its reply as text.
    fn call<A: AsRef<str>>(&mut self, arguments: &[A]) -> Result<String> {
        self.request.clear();
        write!(self.request, "*{}\r\n", arguments.len())?;
        for argument in arguments {
            let argument = argument.as_ref();
            write!(self.request, "${}\r\n{argument}\r\n", argument.len())?;
        }
        self.stream.get_mut().write_all(&self.request)?;
        let mut line = String::new();
        ensure!(
            self.stream.read_line(&mut line)? > 0,
            "the connection was closed"
        );
        let line = line.trim_end();
        match line.split_at_checked(1) {
            Some(("+" | ":", rest)) => Ok(rest.to_owned()),
            Some(("$", length)) => {
                let mut text = vec![0; length.parse::<usize>()? + 2];
                self.stream.read_exact(&mut text)?;
                text.truncate(text.len() - 2);
                Ok(String::from_utf8(text)?)
            }
            _ => bail!("Redis answers {line}"),
        }
    }
}
