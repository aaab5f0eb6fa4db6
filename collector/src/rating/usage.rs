//! What is rated: a period's usage, apart by the rows of a tariff's matrix.

use super::{Share, Tariff};
use crate::money::Decimal;

/// What a meter came to over a period.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Usage {
    rows: Vec<Decimal>,
    events: u64,
    served: Share,
}

impl Usage {
    /// Usage of a tariff without a matrix.
    #[must_use]
    pub fn of(quantity: Decimal) -> Self {
        Self::by_row(vec![quantity])
    }

    /// Usage of each row of a matrix, and last of all groups that have no row.
    #[must_use]
    pub fn by_row(rows: Vec<Decimal>) -> Self {
        Self {
            rows,
            events: 0,
            served: Share::WHOLE,
        }
    }

    /// The same usage, made of this many events.
    #[must_use]
    pub fn with_events(self, events: u64) -> Self {
        Self { events, ..self }
    }

    /// The same usage, in a period of which only a share is served: so much of the minimum is asked for.
    #[must_use]
    pub fn served_for(self, served: Share) -> Self {
        Self { served, ..self }
    }

    /// Returns each row's place in the tariff's matrix, none for the default, with its quantity.
    ///
    /// # Panics
    /// When the usage was grouped for another tariff: it would be priced by the wrong rows.
    pub(super) fn rows(&self, tariff: &Tariff) -> impl Iterator<Item = (Option<usize>, &Decimal)> {
        let priced = tariff.matrix.as_ref().map_or(0, |matrix| matrix.rows.len());
        assert_eq!(
            self.rows.len(),
            priced + 1,
            "usage comes with one quantity per row of its tariff and one for the rest"
        );
        self.rows
            .iter()
            .enumerate()
            .map(move |(row, quantity)| (Some(row).filter(|row| *row < priced), quantity))
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn served(&self) -> Share {
        self.served
    }
}
