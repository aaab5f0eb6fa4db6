//! What is due, batch by batch, the longest overdue first.

use crate::{
    storage::{DueCursor, Storage, StorageError},
    subscription::{Subscription, SubscriptionStatus},
    test_clock::Present,
};
use std::collections::VecDeque;
use submeter_common::Timestamp;

/// Due subscriptions read at once.
const DUE_PAGE: usize = 256;

/// A walk over the subscriptions whose open period is over, in the order of its end.
pub(super) struct Due<'a> {
    present: &'a Present,
    /// The last one the walk has handed out.
    cursor: Option<DueCursor>,
    /// Handed out before the cursor, and due (again): their earlier period was closed, or they had to stand back.
    again: VecDeque<Subscription>,
    /// Whether everything behind the cursor is known to wait.
    is_over: bool,
}

impl<'a> Due<'a> {
    pub(super) const fn new(present: &'a Present) -> Self {
        Self {
            present,
            cursor: None,
            again: VecDeque::new(),
            is_over: false,
        }
    }

    /// Returns the next ones, none when no more are due now. Asked again after settlements, there may be more.
    pub(super) async fn next<S: Storage + ?Sized>(
        &mut self,
        storage: &S,
    ) -> Result<Vec<Subscription>, StorageError> {
        if !self.again.is_empty() {
            let page = self.again.len().min(DUE_PAGE);
            return Ok(self.again.drain(..page).collect());
        }
        if self.is_over {
            return Ok(Vec::new());
        }
        let (timeline, now) = (self.present.timeline.as_ref(), self.present.now);
        let due = storage
            .due(timeline, now, self.cursor.as_ref(), DUE_PAGE)
            .await?;
        if let Some(last) = due.last() {
            self.cursor = Some(place(last));
        }
        Ok(due)
    }

    /// Takes back one that was handed out and could not be looked at yet.
    pub(super) fn stand_back(&mut self, subscription: Subscription) {
        self.again.push_back(subscription);
    }

    /// Takes back one whose period was closed, if its next one is over, too, and the walk will not come to it.
    pub(super) fn closed(&mut self, subscription: Subscription) {
        let place = place(&subscription);
        let is_behind = self
            .cursor
            .as_ref()
            .is_none_or(|cursor| order(&place) > order(cursor));
        if !is_behind && is_due(&subscription, self.present.now) {
            self.again.push_back(subscription);
        }
    }

    /// Ends the walk: whatever ends later than what was handed out waits.
    pub(super) const fn rest_waits(&mut self) {
        self.is_over = true;
    }
}

fn is_due(subscription: &Subscription, now: Timestamp) -> bool {
    subscription.status == SubscriptionStatus::Active && subscription.current_period.end <= now
}

fn place(subscription: &Subscription) -> DueCursor {
    DueCursor {
        period_end: subscription.current_period.end,
        subscription_id: subscription.subscription_id.clone(),
    }
}

/// As the storage orders what is due.
fn order(place: &DueCursor) -> (Timestamp, &str) {
    (place.period_end, place.subscription_id.as_str())
}
