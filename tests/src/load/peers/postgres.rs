//! PostgreSQL with durable commits: one statement, and so one transaction, a request.

mod connection;

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Signal, geteuid};

use self::connection::Connection;
use super::stream::{Stream, Totals, minute};
use super::{Client, Counted, Peer};
use crate::system::{PATIENCE, Process, eventually, free_address};

const SCHEMA: &str = "
CREATE TABLE event (
  event_id text PRIMARY KEY, customer_id text NOT NULL, minute bigint NOT NULL, tokens bigint NOT NULL);
CREATE TABLE usage (
  customer_id text, minute bigint, count bigint NOT NULL, sum numeric NOT NULL, max bigint NOT NULL,
  PRIMARY KEY (customer_id, minute));";

/// Inserts what is new and counts that. The order keeps transactions from waiting for each other in a circle.
const COUNT: &str = "
WITH new AS (
  INSERT INTO event SELECT event_id, customer_id, $1::bigint, tokens
  FROM unnest($2::text[], $3::text[], $4::bigint[]) AS sent (event_id, customer_id, tokens)
  ON CONFLICT DO NOTHING RETURNING *)
INSERT INTO usage
SELECT customer_id, minute, count(*), coalesce(sum(tokens) FILTER (WHERE tokens > 0), 0), max(tokens)
FROM new GROUP BY customer_id, minute ORDER BY customer_id, minute
ON CONFLICT (customer_id, minute) DO UPDATE SET
  count = usage.count + excluded.count, sum = usage.sum + excluded.sum, max = greatest(usage.max, excluded.max)";

const TOTALS: &str = "
SELECT concat_ws(' ', (SELECT count(*) FROM event), sum(count), sum(sum), max(max)) FROM usage";

/// What one would set on a machine of its own; `fsync` and `synchronous_commit` are on unless told otherwise.
const SETTINGS: [&str; 5] = [
    "fsync=on",
    "synchronous_commit=on",
    "shared_buffers=512MB",
    "max_wal_size=4GB",
    "listen_addresses=127.0.0.1",
];

/// A running server.
#[derive(Debug)]
pub(super) struct Postgres {
    process: Process,
    address: String,
}

impl Peer for Postgres {
    const NAME: &'static str = "PostgreSQL";
    type Client = PostgresClient;

    async fn start(directory: &Path) -> Result<Self> {
        let programs = programs()?;
        let data = directory.join("data");
        std::fs::create_dir(&data)?;
        hand_over(directory, &data)?;
        initialize(&programs.join("initdb"), &data)?;

        let address = free_address()?;
        let (_, port) = address.split_once(':').context("host and port")?;
        let data = data.to_str().context("a path in UTF-8")?;
        let mut arguments = vec!["-D", data, "-k", data, "-p", port];
        arguments.extend(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        let line = as_postgres(&programs.join("postgres"), &arguments)?;
        let log = directory.join("postgres.log");
        let process = Process::spawn(Path::new(&line[0]), &line[1..], &log)?;
        eventually("PostgreSQL to answer", PATIENCE, || async {
            Connection::open(&address)
        })
        .await
        .with_context(|| process.log_tail())?
        .query(SCHEMA)?;
        Ok(Self { process, address })
    }

    fn client(&self, stream: Stream) -> Result<PostgresClient> {
        let mut connection = Connection::open(&self.address)?;
        connection.prepare(COUNT)?;
        Ok(PostgresClient { connection, stream })
    }

    fn totals(&self) -> Result<Totals> {
        let reply = Connection::open(&self.address)?.query(TOTALS)?;
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
        // SIGTERM would wait for clients to leave.
        self.process.signal(Signal::INT)?;
        self.process.ended(PATIENCE).await?;
        Ok(())
    }
}

/// A connection and the events it sends.
#[derive(Debug)]
pub(super) struct PostgresClient {
    connection: Connection,
    stream: Stream,
}

impl Client for PostgresClient {
    fn send(&mut self) -> Result<u64> {
        let events = self.stream.next();
        let mut columns = [const { String::new() }; 3];
        for event in &events {
            let values = [
                &event.event_id,
                &event.customer_id,
                &event.tokens.to_string(),
            ];
            for (column, value) in columns.iter_mut().zip(values) {
                column.push(if column.is_empty() { '{' } else { ',' });
                column.push_str(value);
            }
        }
        columns.iter_mut().for_each(|column| column.push('}'));
        let [ids, customers, tokens] = &columns;
        self.connection
            .execute(&[&minute().to_string(), ids, customers, tokens])?;
        Ok(u64::try_from(events.len())?)
    }
}

impl Counted for PostgresClient {
    fn acknowledged(&self) -> Totals {
        self.stream.totals
    }
}

/// Where Debian put the newest server's programs.
fn programs() -> Result<PathBuf> {
    let mut versions = Vec::new();
    for entry in std::fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed")? {
        let path = entry?.path().join("bin");
        if path.join("postgres").exists() {
            versions.push(path);
        }
    }
    versions.sort();
    versions.pop().context("PostgreSQL is not installed")
}

/// The server refuses to run as root: then it runs as Debian's user for it, who must own its directory.
fn hand_over(directory: &Path, data: &Path) -> Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let home = std::fs::metadata("/var/lib/postgresql").context("PostgreSQL's home")?;
    for path in [directory, data] {
        chown(path, Some(home.uid()), Some(home.gid()))?;
    }
    Ok(())
}

fn initialize(initdb: &Path, data: &Path) -> Result<()> {
    let data = data.to_str().context("a path in UTF-8")?;
    let arguments = [
        "-D",
        data,
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-locale",
    ];
    let line = as_postgres(initdb, &arguments)?;
    let output = Command::new(&line[0])
        .args(&line[1..])
        .current_dir("/")
        .output()?;
    ensure!(
        output.status.success(),
        "initdb: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// A command line that does not run as root.
fn as_postgres(program: &Path, arguments: &[&str]) -> Result<Vec<String>> {
    let mut line: Vec<String> = Vec::new();
    if geteuid().is_root() {
        // With another user the kernel would forget who its parent is to be killed with.
        let other =
            "/usr/bin/setpriv --pdeathsig KILL --reuid postgres --regid postgres --init-groups";
        line.extend(other.split(' ').map(str::to_owned));
    }
    line.push(program.to_str().context("a path in UTF-8")?.to_owned());
    line.extend(arguments.iter().map(|&argument| argument.to_owned()));
    Ok(line)
}
