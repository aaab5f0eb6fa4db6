//! What callers ask for about credits and money, decided on what is held and written over it, as the API does.

use super::world::{World, customer};
use crate::{
    billing::holdings,
    bookkeeping::{
        Holdings, Posting,
        teller::{self, NewGrant, Order, Refusal},
        wallet::{self, Adjustment},
    },
    credits::{Grant, GrantSource, Reservation},
    id::{EntitlementId, GrantId, ReservationId},
    ledger::Note,
    metadata::Metadata,
    money::{Currency, Decimal},
    storage::{LedgerStore, PostOutcome},
};
use submeter_common::{Clock, Timestamp};

/// The kind of credits that a world has.
pub(super) fn kind() -> EntitlementId {
    EntitlementId::from_text("cde_tokens")
}

/// Credits that a caller gives.
#[derive(Clone, Debug)]
pub(super) struct Gift {
    pub source: GrantSource,
    pub amount: i64,
    pub priority: u32,
    pub effective_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub repays_overage: bool,
}

impl World {
    /// What the customer holds now.
    pub(super) async fn held(&self) -> Holdings {
        holdings(self.store(), &customer(), &kind(), self.clock.now())
            .await
            .unwrap()
    }

    pub(super) async fn give(&self, key: &str, gift: Gift) -> Grant {
        let new = NewGrant {
            source: gift.source,
            amount: Decimal::from(gift.amount),
            priority: gift.priority,
            effective_at: gift.effective_at,
            expires_at: gift.expires_at,
            metadata: Metadata::new(),
            repays_overage: gift.repays_overage,
        };
        let given = self.decide(key, |held, order| {
            Ok(teller::grant(held, new.clone(), order))
        });
        given.await.unwrap()
    }

    pub(super) async fn debit(&self, key: &str, amount: i64) -> Result<(), Refusal> {
        let amount = Decimal::from(amount);
        self.decide(key, |held, order| {
            Ok((teller::debit(held, &amount, order)?, ()))
        })
        .await
    }

    pub(super) async fn void(
        &self,
        key: &str,
        grant: Option<&GrantId>,
        amount: i64,
    ) -> Result<(), Refusal> {
        let amount = Decimal::from(amount);
        self.decide(key, |held, order| {
            Ok((teller::void(held, grant, Some(&amount), order)?, ()))
        })
        .await
    }

    pub(super) async fn hold(
        &self,
        key: &str,
        amount: i64,
        until: Timestamp,
    ) -> Result<Reservation, Refusal> {
        let amount = Decimal::from(amount);
        self.decide(key, |held, order| teller::hold(held, &amount, until, order))
            .await
    }

    pub(super) async fn commit(
        &self,
        key: &str,
        id: &ReservationId,
        amount: i64,
    ) -> Result<Reservation, Refusal> {
        let (amount, reservation) = (Decimal::from(amount), self.reservation(id).await);
        self.decide(key, |held, order| {
            teller::commit(held, &reservation, &amount, order)
        })
        .await
    }

    pub(super) async fn release(
        &self,
        key: &str,
        id: &ReservationId,
    ) -> Result<Reservation, Refusal> {
        let reservation = self.reservation(id).await;
        self.decide(key, |held, order| {
            teller::release(held, &reservation, order)
        })
        .await
    }

    /// Forfeits what is over.
    pub(super) async fn expire(&self, key: &str) {
        let done = self.decide(key, |held, order| Ok((teller::expire(held, order), ())));
        done.await.unwrap();
    }

    /// Puts money into the wallet, or takes it out; false when there is not as much.
    pub(super) async fn fund(&self, key: &str, amount: i64) -> bool {
        let books = self.store().books(&customer()).await.unwrap();
        let adjustment = Adjustment {
            customer_id: customer(),
            currency: Currency::USD,
            amount,
            key,
            note: Note::default(),
            at: self.clock.now(),
        };
        let Ok(posting) = wallet::adjust(&books, adjustment) else {
            return false;
        };
        self.post(posting).await;
        true
    }

    async fn reservation(&self, id: &ReservationId) -> Reservation {
        self.store().reservation(id).await.unwrap().unwrap()
    }

    async fn decide<T>(
        &self,
        key: &str,
        decision: impl Fn(&Holdings, &Order<'_>) -> Result<(Posting, T), Refusal>,
    ) -> Result<T, Refusal> {
        let order = Order {
            key,
            note: Note::default(),
            at: self.clock.now(),
        };
        let mut held = self.held().await;
        if !held.due.is_empty() {
            self.post(teller::begin(&held, order.at)).await;
            held = self.held().await;
        }
        let (posting, answer) = decision(&held, &order)?;
        if !posting.is_empty() {
            self.post(posting).await;
        }
        Ok(answer)
    }

    async fn post(&self, posting: Posting) {
        let outcome = self.store().post(posting).await.unwrap();
        assert_eq!(outcome, PostOutcome::Posted);
    }
}
