//! `sum`: exact addition, or an error.

use super::AggregateError;
use crate::quantity::Quantity;

pub(super) fn add(total: &mut Quantity, number: Quantity) -> Result<(), AggregateError> {
    *total = total.checked_add(number).ok_or(AggregateError::Overflow)?;
    Ok(())
}
