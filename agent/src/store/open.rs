//! The open set on disk: partials that are checkpointed but not sealed yet.

use rocksdb::{Direction, IteratorMode};
use submeter_common::aggregate::Partial;

use super::key::OpenKey;
use super::{Batch, Family, Store, StoreError, meta};

impl Batch<'_> {
    pub(crate) fn put_open(
        &mut self,
        set: u64,
        key: &OpenKey,
        partial: &Partial,
    ) -> Result<(), StoreError> {
        self.put(Family::Open, &key.encode(set)?, &meta::encode(partial));
        Ok(())
    }

    /// Empties the open set `set`.
    pub(crate) fn delete_open_set(&mut self, set: u64) {
        self.delete_range(
            Family::Open,
            &set.to_be_bytes(),
            &set.saturating_add(1).to_be_bytes(),
        );
    }

    /// Removes one partial from the open set.
    pub(crate) fn delete_open(&mut self, set: u64, key: &OpenKey) -> Result<(), StoreError> {
        self.delete(Family::Open, &key.encode(set)?);
        Ok(())
    }
}

impl Store {
    /// One stored partial of the open set.
    pub(crate) fn open_partial(
        &self,
        set: u64,
        key: &OpenKey,
    ) -> Result<Option<Partial>, StoreError> {
        let value = self.get(Family::Open, &key.encode(set)?)?;
        value
            .map(|bytes| meta::decode("an open partial", &bytes))
            .transpose()
    }

    /// The greatest number of an open set of which anything is stored; 0 when nothing is.
    pub(crate) fn greatest_open_set(&self) -> Result<u64, StoreError> {
        let mut walk = self.db.raw_iterator_cf(self.family(Family::Open));
        walk.seek_to_last();
        walk.status()?;
        let set = walk.key().and_then(<[u8]>::first_chunk);
        Ok(set.map_or(0, |set| u64::from_be_bytes(*set)))
    }

    /// Walks the open set in key order: part, customer, meter, window, group.
    pub(crate) fn open_partials(
        &self,
        set: u64,
    ) -> impl Iterator<Item = Result<(OpenKey, Partial), StoreError>> + '_ {
        let prefix = set.to_be_bytes();
        self.db
            .iterator_cf(
                self.family(Family::Open),
                IteratorMode::From(&prefix, Direction::Forward),
            )
            .take_while(move |entry| {
                entry
                    .as_ref()
                    .map_or(true, |(key, _)| key.starts_with(&prefix))
            })
            .map(|entry| {
                let (key, value) = entry?;
                Ok((
                    OpenKey::decode(&key)?,
                    meta::decode("an open partial", &value)?,
                ))
            })
    }
}
