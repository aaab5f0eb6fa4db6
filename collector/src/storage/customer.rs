//! Customers. Usage needs none: it is kept under the id that events name, known or not.

use async_trait::async_trait;
use submeter_common::id::CustomerId;

use super::{Page, PutOutcome, StorageError};
use crate::customer::Customer;

/// Whether a new document found its id free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum InsertOutcome {
    /// Written.
    Inserted,
    /// The id is taken; nothing was written.
    Exists,
}

/// Which customers to list.
#[derive(Debug, Clone, Default)]
pub struct CustomerFilter {
    /// Only those with exactly this e-mail address.
    pub email: Option<String>,
}

/// Keeps customers.
#[async_trait]
pub trait CustomerStore: Send + Sync + 'static {
    /// Writes a new customer.
    async fn insert_customer(&self, customer: &Customer) -> Result<InsertOutcome, StorageError>;

    /// Writes a customer over the one that was read before.
    async fn put_customer(
        &self,
        previous: &Customer,
        customer: &Customer,
    ) -> Result<PutOutcome, StorageError>;

    /// Returns a customer.
    async fn customer(&self, id: &CustomerId) -> Result<Option<Customer>, StorageError>;

    /// Lists customers, newest first.
    async fn customers(
        &self,
        filter: &CustomerFilter,
        page: Page,
    ) -> Result<Vec<Customer>, StorageError>;
}
