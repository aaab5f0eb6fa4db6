//! Test clocks: a few documents.

use async_trait::async_trait;

use super::RocksStore;
use super::database::Database;
use super::key::Kind;
use super::transaction::Transaction;
use crate::id::TestClockId;
use crate::storage::{PutOutcome, StorageError, TestClockStore};
use crate::test_clock::{ClockScope, TestClock};

#[async_trait]
impl TestClockStore for RocksStore {
    async fn test_clocks(&self) -> Result<Vec<TestClock>, StorageError> {
        self.blocking(|database| database.documents(Kind::TestClock))
            .await
    }

    async fn test_clock(&self, id: &TestClockId) -> Result<Option<TestClock>, StorageError> {
        let id = id.clone();
        self.blocking(move |database| database.document(Kind::TestClock, id.as_str()))
            .await
    }

    async fn put_test_clock(
        &self,
        previous: Option<&TestClock>,
        clock: &TestClock,
    ) -> Result<PutOutcome, StorageError> {
        let (previous, clock) = (previous.cloned(), clock.clone());
        self.blocking(move |database| put(database, previous.as_ref(), &clock))
            .await
    }
}

fn put(
    database: &Database,
    previous: Option<&TestClock>,
    clock: &TestClock,
) -> Result<PutOutcome, StorageError> {
    let mut write = Transaction::begin(database)?;
    let id = clock.test_clock_id.as_str();
    let is_as_read = match previous {
        Some(previous) => write.is_stored(Kind::TestClock, id, previous)?,
        None => {
            let all: Vec<TestClock> = database.documents(Kind::TestClock)?;
            let of_collector = |clock: &TestClock| clock.scope == ClockScope::Collector;
            let is_second = of_collector(clock) && all.iter().any(of_collector);
            !is_second
                && all
                    .iter()
                    .all(|known| known.test_clock_id != clock.test_clock_id)
        }
    };
    if !is_as_read {
        return Ok(PutOutcome::Conflict);
    }
    write.put_document(Kind::TestClock, id, clock)?;
    write.commit()?;
    Ok(PutOutcome::Written)
}
