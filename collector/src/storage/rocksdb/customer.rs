//! Customers, by id, by age and by e-mail address.

use ::rocksdb::Direction;
use async_trait::async_trait;
use submeter_common::id::CustomerId;

use super::RocksStore;
use super::database::Database;
use super::key::{Index, Key, Kind};
use super::transaction::Transaction;
use crate::customer::Customer;
use crate::storage::{
    CustomerFilter, CustomerStore, InsertOutcome, Page, PutOutcome, StorageError,
};

#[async_trait]
impl CustomerStore for RocksStore {
    async fn insert_customer(&self, customer: &Customer) -> Result<InsertOutcome, StorageError> {
        let customer = customer.clone();
        self.blocking(move |database| insert(database, &customer))
            .await
    }

    async fn put_customer(
        &self,
        previous: &Customer,
        customer: &Customer,
    ) -> Result<PutOutcome, StorageError> {
        let (previous, customer) = (previous.clone(), customer.clone());
        self.blocking(move |database| put(database, &previous, &customer))
            .await
    }

    async fn customer(&self, id: &CustomerId) -> Result<Option<Customer>, StorageError> {
        let id = id.clone();
        self.blocking(move |database| database.document(Kind::Customer, id.as_str()))
            .await
    }

    async fn customers(
        &self,
        filter: &CustomerFilter,
        page: Page,
    ) -> Result<Vec<Customer>, StorageError> {
        let filter = filter.clone();
        self.blocking(move |database| match filter.email {
            Some(email) => of_email(database, &email, page),
            None => database.indexed_page(
                Kind::Customer,
                &Key::of_index(Index::Customers).into_bytes(),
                page,
            ),
        })
        .await
    }
}

fn insert(database: &Database, customer: &Customer) -> Result<InsertOutcome, StorageError> {
    let mut write = Transaction::begin(database)?;
    let id = customer.customer_id.as_str();
    if database.has_document(Kind::Customer, id)? {
        return Ok(InsertOutcome::Exists);
    }
    write.put_document(Kind::Customer, id, customer)?;
    let order = write.next_order()?;
    write.put_index(&Key::of_index(Index::Customers).order(order), id);
    write.put_index(&email_key(customer), id);
    write.commit()?;
    Ok(InsertOutcome::Inserted)
}

fn put(
    database: &Database,
    previous: &Customer,
    customer: &Customer,
) -> Result<PutOutcome, StorageError> {
    let mut write = Transaction::begin(database)?;
    let id = customer.customer_id.as_str();
    if !write.is_stored(Kind::Customer, id, previous)? {
        return Ok(PutOutcome::Conflict);
    }
    write.delete_index(&email_key(previous));
    write.put_index(&email_key(customer), id);
    write.put_document(Kind::Customer, id, customer)?;
    write.commit()?;
    Ok(PutOutcome::Written)
}

fn of_email(database: &Database, email: &str, page: Page) -> Result<Vec<Customer>, StorageError> {
    let prefix = Key::of_index(Index::CustomersOfEmail)
        .text(email)
        .into_bytes();
    let all = database.indexed(Kind::Customer, &prefix, Direction::Reverse);
    let has_it = |customer: &Result<Customer, _>| {
        customer
            .as_ref()
            .map_or(true, |customer| customer.email == email)
    };
    page.of(all.filter(has_it)).into_iter().collect()
}

fn email_key(customer: &Customer) -> Vec<u8> {
    Key::of_index(Index::CustomersOfEmail)
        .text(&customer.email)
        .time(customer.created_at)
        .last(customer.customer_id.as_str().as_bytes())
}
