//! What a collector does with frames, in the simplest way: check the chain, add up.

use std::collections::BTreeMap;

use submeter_common::aggregate::{Group, Partial};
use submeter_common::id::Digest;
use submeter_common::protocol::{FrameHeader, Position, decode_frame};
use submeter_common::quantity::Quantity;

use crate::pipeline::{Outbox, Pipeline, PipelineError};

/// Customer, meter and group of a total.
pub(super) type Key = (String, String, Group);

#[derive(Clone, Default)]
pub(super) struct Collector {
    pub(super) applied: Position,
    pub(super) headers: Vec<FrameHeader>,
    totals: BTreeMap<Key, Partial>,
}

impl Collector {
    /// Applies all frames that wait, acknowledging each, as a flusher would. Answers how many were new.
    pub(super) fn drain(&mut self, outbox: &Outbox) -> usize {
        self.try_drain(outbox).unwrap()
    }

    /// The same against a store that may die. A frame may then be applied without being acknowledged.
    pub(super) fn try_drain(&mut self, outbox: &Outbox) -> Result<usize, PipelineError> {
        let mut new = 0;
        while let Some(frame) = outbox.next()? {
            new += usize::from(self.apply(frame.seq, &frame.bytes));
            outbox.acknowledge(Position {
                seq: frame.seq,
                digest: frame.digest,
            })?;
        }
        Ok(new)
    }

    /// Applies one frame exactly once; false for one it has.
    pub(super) fn apply(&mut self, seq: u64, bytes: &[u8]) -> bool {
        let (frame, digest) = decode_frame(bytes).unwrap();
        let header = frame.header;
        assert_eq!(header.seq, seq);
        if seq <= self.applied.seq {
            return false;
        }
        assert_eq!(seq, self.applied.seq + 1, "frames come without holes");
        assert_eq!(
            header.previous, self.applied.digest,
            "each frame names the one before"
        );
        assert!(header.receipts.is_conserved(), "{:?}", header.receipts);
        for row in frame.rows {
            let key = (
                row.customer_id.to_string(),
                row.meter_id.to_string(),
                row.group,
            );
            let kind = row.partial.kind();
            let total = self
                .totals
                .entry(key)
                .or_insert_with(|| Partial::identity(kind));
            total.merge(&row.partial).unwrap();
        }
        self.applied = Position { seq, digest };
        self.headers.push(header);
        true
    }

    /// Forgets its position, as a collector that meets a new identity.
    pub(super) fn meet_new_agent(&mut self) {
        self.applied = Position {
            seq: 0,
            digest: Digest::ZERO,
        };
    }

    pub(super) fn newest(&self) -> &FrameHeader {
        self.headers.last().expect("a frame has arrived")
    }

    /// Quantities and event counts by key.
    pub(super) fn totals(&self) -> BTreeMap<Key, (Quantity, u64)> {
        let totals = self.totals.iter();
        totals
            .map(|(key, partial)| (key.clone(), (partial.value(), partial.events)))
            .collect()
    }

    /// The quantity of one customer and ungrouped meter.
    pub(super) fn quantity(&self, customer: &str, meter: &str) -> Quantity {
        let key = (customer.to_owned(), meter.to_owned(), Group::none());
        self.totals
            .get(&key)
            .map(Partial::value)
            .unwrap_or_default()
    }
}

/// Seals everything for good and applies it.
pub(super) async fn collect(pipeline: &Pipeline, collector: &mut Collector) {
    pipeline
        .seal(crate::pipeline::SealReason::Farewell)
        .await
        .unwrap();
    collector.drain(&pipeline.outbox());
}
