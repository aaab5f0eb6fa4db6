//! Test clocks, and what falls due under them.

use async_trait::async_trait;

use super::{PutOutcome, StorageError};
use crate::id::TestClockId;
use crate::test_clock::TestClock;

/// Keeps test clocks.
#[async_trait]
pub trait TestClockStore: Send + Sync + 'static {
    /// Returns all test clocks, of which there are few, by their ids and so by age.
    async fn test_clocks(&self) -> Result<Vec<TestClock>, StorageError>;

    /// Returns a test clock.
    async fn test_clock(&self, id: &TestClockId) -> Result<Option<TestClock>, StorageError>;

    /// Writes a test clock over the one that was read before, or a new one. A second one for the whole collector is a
    /// conflict.
    async fn put_test_clock(
        &self,
        previous: Option<&TestClock>,
        clock: &TestClock,
    ) -> Result<PutOutcome, StorageError>;
}
