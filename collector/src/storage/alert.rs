//! Thresholds, whose usage or credits changed since somebody looked, and what has been told of it.

use async_trait::async_trait;
use submeter_common::id::CustomerId;

use super::{Page, PutOutcome, StorageError};
use crate::alerts::{Threshold, Told};
use crate::id::ThresholdId;
use crate::outbox::NewMessage;

/// Most thresholds: they are all in memory, because every frame asks for them.
pub(super) const THRESHOLDS_MAX: usize = 100_000;
/// Most thresholds that are not of one customer: each look at any customer asks for all of them.
pub(super) const GENERAL_THRESHOLDS_MAX: usize = 1_000;
/// Most thresholds of one customer.
pub(super) const CUSTOMER_THRESHOLDS_MAX: usize = 100;

/// What became of a new threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum AddOutcome {
    /// Written.
    Added,
    /// There are as many as there may be: this many. Nothing was written.
    TooMany(usize),
}

/// That something of a customer changed that somebody watches, and nobody has looked at it since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// Whose.
    pub customer_id: CustomerId,
    /// Tells one change from a later one.
    pub number: u64,
}

/// What a look at a customer came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Telling {
    /// What was to be looked at; noted as done, unless something changed since.
    pub touch: Touch,
    /// What had been told.
    pub before: Told,
    /// What has been told now.
    pub after: Told,
    /// What the world is told.
    pub messages: Vec<NewMessage>,
}

/// What became of a telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum TellOutcome {
    /// Written.
    Told,
    /// Somebody else told something meanwhile: nothing was written. Look again.
    Stale,
}

/// Which thresholds to list; all conditions hold together.
#[derive(Debug, Clone, Default)]
pub struct ThresholdFilter {
    /// Only those of this very customer.
    pub customer_id: Option<CustomerId>,
}

/// Keeps thresholds, and notes who is to be looked at.
///
/// A customer is *touched* in the same write as whatever changes its usage, its credits or its subscriptions, if a threshold or
/// terms of credits watch that. So a crash forgets no look, and who is not watched costs nothing.
#[async_trait]
pub trait AlertStore: Send + Sync + 'static {
    /// Writes a new threshold, and touches its customer.
    async fn add_threshold(&self, threshold: &Threshold) -> Result<AddOutcome, StorageError>;

    /// Writes a threshold over the one that was read, and touches its customer.
    async fn put_threshold(
        &self,
        previous: &Threshold,
        threshold: &Threshold,
    ) -> Result<PutOutcome, StorageError>;

    /// Takes away a threshold as it was read.
    async fn remove_threshold(&self, threshold: &Threshold) -> Result<PutOutcome, StorageError>;

    /// Returns a threshold.
    async fn threshold(&self, id: &ThresholdId) -> Result<Option<Threshold>, StorageError>;

    /// Lists thresholds, newest first.
    async fn thresholds(
        &self,
        filter: &ThresholdFilter,
        page: Page,
    ) -> Result<Vec<Threshold>, StorageError>;

    /// Returns every threshold that may concern a customer: its own, and those of everybody.
    async fn thresholds_for(&self, customer: &CustomerId) -> Result<Vec<Threshold>, StorageError>;

    /// Returns up to `limit` touches, in order of customers, behind `after`.
    async fn touched(
        &self,
        after: Option<&CustomerId>,
        limit: usize,
    ) -> Result<Vec<Touch>, StorageError>;

    /// Returns a customer's touch, if it is to be looked at.
    async fn touch_of(&self, customer: &CustomerId) -> Result<Option<Touch>, StorageError>;

    /// Returns what has been told of a customer.
    async fn told(&self, customer: &CustomerId) -> Result<Told, StorageError>;

    /// Writes what has been told over what had been, with the messages, and takes the touch away unless the customer was
    /// touched again: all of it or nothing.
    async fn tell(&self, telling: Telling) -> Result<TellOutcome, StorageError>;
}
