//! Every key of the engine, in one place.
//!
//! Numbers are big-endian, signed ones with the sign bit turned, so that bytes sort as values do. A text
//! that something follows is preceded by its length; the last part of a key is bare.
//!
//! ```text
//! documents  kind id                                           → document
//! indexes    index part… order                                 → id of the document
//! usage      shard customer meter level minute group           → cell
//! frames     agent seq                                         → digest
//! meta       "format" | "counters"                             → document
//! ```

use submeter_common::id::{AgentId, CustomerId, MeterId};
use submeter_common::time::Timestamp;

use crate::id::{InvoiceId, ProductId, SubscriptionId, TestClockId};
use crate::storage::shard::shard_of;
use crate::usage::Level;

/// Kinds of documents. The numbers are stored: they are never given to another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Meter = 1,
    Product = 2,
    Entitlement = 3,
    Customer = 4,
    Subscription = 5,
    Invoice = 6,
    Grant = 7,
    Entry = 8,
    Agent = 9,
    ApiKey = 10,
    Audit = 11,
    Quarantine = 12,
    TrustedKey = 13,
    SigningSeed = 14,
    Message = 15,
    CreditNote = 16,
    Payment = 17,
    Draft = 18,
    /// A customer's balances.
    Books = 19,
    Reservation = 20,
    TestClock = 21,
    Threshold = 30,
    /// What has been told of a customer's open periods.
    Told = 31,
}

/// Orders and look-ups over documents. The numbers are stored, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Index {
    /// order
    Customers = 1,
    /// e-mail, created_at, customer
    CustomersOfEmail = 2,
    /// order
    Subscriptions = 3,
    /// customer, order
    SubscriptionsOfCustomer = 4,
    /// customer, meter, subscription: that bills it, or did, or will
    MeterInUse = 5,
    /// test clock or nothing, end of the open period, subscription
    Due = 6,
    /// order
    Invoices = 7,
    /// customer, order
    InvoicesOfCustomer = 8,
    /// subscription, order
    InvoicesOfSubscription = 9,
    /// customer, order
    GrantsOfCustomer = 10,
    /// customer, idempotency key: the number of the entry
    EntryByKey = 12,
    /// number: the agent's id
    AgentNumbers = 13,
    /// name: the agent that registered last under it
    AgentByName = 14,
    /// invoice, order
    CreditNotesOfInvoice = 15,
    /// order
    CreditNotes = 16,
    /// invoice, order
    PaymentsOfInvoice = 17,
    /// test clock or nothing, when it is to be collected, invoice
    Collection = 18,
    /// subscription, invoice: an invoice that should have been paid
    PastDue = 19,
    /// customer, order
    CreditNotesOfCustomer = 20,
    /// customer, order
    ReservationsOfCustomer = 21,
    /// time-out, reservation: what is still held
    ReservationsDue = 22,
    /// credit entitlement, customer: who was ever given such credits
    HoldersOfEntitlement = 23,
    /// test clock or nothing, expiry, grant: what time alone ends
    GrantsDue = 33,
    /// customer: whose usage or credits changed since somebody looked; the number of the last touch
    Touched = 30,
    /// product, meter: which some plan of the product prices; both ids
    ProductMeters = 31,
    /// meter: which some plan pays with credits whose low balance is told; its id
    LowBalanceMeters = 32,
}

/// Where the store's format version is kept.
pub(super) const FORMAT: &[u8] = b"format";

/// Where the counters are kept.
pub(super) const COUNTERS: &[u8] = b"counters";

/// Where it is kept when the collector served.
pub(super) const SERVICE: &[u8] = b"service";

/// Where it is kept how old the outbox's messages are.
pub(super) const OUTBOX_AGES: &[u8] = b"outbox_ages";

/// A key in the making.
#[derive(Debug, Clone)]
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn of_document(kind: Kind, id: &str) -> Vec<u8> {
        Self::with_capacity(1 + id.len())
            .byte(kind as u8)
            .last(id.as_bytes())
    }

    pub(super) fn of_kind(kind: Kind) -> Vec<u8> {
        vec![kind as u8]
    }

    /// The key of a document that is known by its number, not by an id.
    pub(super) fn of_numbered(kind: Kind, number: u64) -> Vec<u8> {
        Self::with_capacity(9)
            .byte(kind as u8)
            .last(&number.to_be_bytes())
    }

    /// What all entries of a customer's ledger begin with; their numbers follow.
    pub(super) fn of_ledger(customer: &CustomerId) -> Self {
        Self::with_capacity(16 + customer.as_str().len())
            .byte(Kind::Entry as u8)
            .text(customer.as_str())
    }

    pub(super) fn entry_by_key(customer: &CustomerId, idempotency_key: &str) -> Vec<u8> {
        Self::of_index(Index::EntryByKey)
            .text(customer.as_str())
            .last(idempotency_key.as_bytes())
    }

    pub(super) fn of_agent(id: AgentId) -> Vec<u8> {
        Self::with_capacity(17)
            .byte(Kind::Agent as u8)
            .last(id.as_bytes())
    }

    pub(super) fn of_frame(agent: AgentId, seq: u64) -> Vec<u8> {
        Self::with_capacity(24)
            .raw(agent.as_bytes())
            .last(&seq.to_be_bytes())
    }

    pub(super) fn of_index(index: Index) -> Self {
        Self::with_capacity(64).byte(index as u8)
    }

    /// What is due under a test clock, or under none, begins with this.
    pub(super) fn timeline(test_clock: Option<&TestClockId>) -> Self {
        Self::of_index(Index::Due).text(test_clock.map_or("", TestClockId::as_str))
    }

    pub(super) fn due(
        test_clock: Option<&TestClockId>,
        period_end: Timestamp,
        subscription: &SubscriptionId,
    ) -> Vec<u8> {
        Self::timeline(test_clock)
            .time(period_end)
            .last(subscription.as_str().as_bytes())
    }

    /// Reservations that are held under a test clock, or under none, by the end of their time.
    pub(super) fn reservations_due(test_clock: Option<&TestClockId>) -> Self {
        Self::of_index(Index::ReservationsDue).text(test_clock.map_or("", TestClockId::as_str))
    }

    /// Grants that expire by themselves under a test clock, or under none, by their expiry.
    pub(super) fn grants_due(test_clock: Option<&TestClockId>) -> Self {
        Self::of_index(Index::GrantsDue).text(test_clock.map_or("", TestClockId::as_str))
    }

    /// What is to be collected under a test clock, or under none, begins with this.
    pub(super) fn collections(test_clock: Option<&TestClockId>) -> Self {
        Self::of_index(Index::Collection).text(test_clock.map_or("", TestClockId::as_str))
    }

    pub(super) fn collection(
        test_clock: Option<&TestClockId>,
        at: Timestamp,
        invoice: &InvoiceId,
    ) -> Vec<u8> {
        Self::collections(test_clock)
            .time(at)
            .last(invoice.as_str().as_bytes())
    }

    pub(super) fn past_due(subscription: &SubscriptionId, invoice: &InvoiceId) -> Vec<u8> {
        Self::of_index(Index::PastDue)
            .text(subscription.as_str())
            .last(invoice.as_str().as_bytes())
    }

    pub(super) fn touched(customer: &CustomerId) -> Vec<u8> {
        Self::of_index(Index::Touched).last(customer.as_str().as_bytes())
    }

    pub(super) fn product_meter(product: &ProductId, meter: &MeterId) -> Vec<u8> {
        Self::of_index(Index::ProductMeters)
            .text(product.as_str())
            .last(meter.as_str().as_bytes())
    }

    pub(super) fn low_balance_meter(meter: &MeterId) -> Vec<u8> {
        Self::of_index(Index::LowBalanceMeters).last(meter.as_str().as_bytes())
    }

    pub(super) fn meter_in_use(customer: &CustomerId, meter: &MeterId) -> Self {
        Self::of_index(Index::MeterInUse)
            .text(customer.as_str())
            .text(meter.as_str())
    }

    /// What all cells of a meter of a customer begin with.
    pub(super) fn of_meter(customer: &CustomerId, meter: &MeterId) -> Self {
        Self::with_capacity(16 + customer.as_str().len() + meter.as_str().len())
            .byte(shard_of(customer))
            .text(customer.as_str())
            .text(meter.as_str())
    }

    /// What all cells of one window begin with; also a bound of a range of windows.
    pub(super) fn window(self, level: Level, minute: i32) -> Self {
        self.byte(level as u8).raw(&turn(minute).to_be_bytes())
    }

    fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    fn byte(self, byte: u8) -> Self {
        self.raw(&[byte])
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds a text that something follows. Texts longer than the length can say are cut: ids are far
    /// shorter, and what is only looked up by (an e-mail address) is compared again in the document.
    pub(super) fn text(self, text: &str) -> Self {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        let bytes = text
            .as_bytes()
            .get(..usize::from(length))
            .unwrap_or_default();
        self.raw(&length.to_be_bytes()).raw(bytes)
    }

    pub(super) fn time(self, at: Timestamp) -> Self {
        let turned = at.as_micros().cast_unsigned() ^ (1 << 63);
        self.raw(&turned.to_be_bytes())
    }

    pub(super) fn order(self, order: u64) -> Vec<u8> {
        self.last(&order.to_be_bytes())
    }

    pub(super) fn last(self, bytes: &[u8]) -> Vec<u8> {
        self.raw(bytes).0
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What follows [`Key::of_meter`] in the key of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CellSuffix<'a> {
    pub(super) level: Level,
    pub(super) minute: i32,
    pub(super) group: &'a [u8],
}

impl<'a> CellSuffix<'a> {
    /// Reads the end of a cell's key, behind the customer and the meter.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (level, rest) = bytes.split_first()?;
        let level = Level::ALL
            .into_iter()
            .find(|known| *known as u8 == *level)?;
        let (minute, group) = rest.split_first_chunk::<4>()?;
        Some(Self {
            level,
            minute: unturn(u32::from_be_bytes(*minute)),
            group,
        })
    }
}

/// The first key behind all that begin with `prefix`; `None` when there is no end.
pub(super) fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut bound = prefix.to_vec();
    while let Some(last) = bound.pop() {
        if let Some(next) = last.checked_add(1) {
            bound.push(next);
            return Some(bound);
        }
    }
    None
}

fn turn(minute: i32) -> u32 {
    minute.cast_unsigned() ^ (1 << 31)
}

fn unturn(turned: u32) -> i32 {
    (turned ^ (1 << 31)).cast_signed()
}

#[cfg(test)]
mod tests;
