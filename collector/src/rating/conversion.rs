//! Unit conversion: what is metered in bytes is priced in GB.

use crate::money::{Decimal, Rounding};
use serde::{Deserialize, Serialize};

/// Digits after the point of one divided by any divisor that a price may name, where it has an end: 18 digits before and 12
/// after the point make at most 100 factors of two.
const RECIPROCAL_DIGITS: u8 = 130;

/// From metered units to priced ones.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Conversion {
    /// By what.
    pub factor: Factor,
    /// How the priced quantity is rounded, and to how many digits after the point; exact without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounding: Option<(Rounding, u8)>,
}

/// What a quantity is multiplied or divided by; above zero.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// Priced units of one metered unit.
    MultiplyBy(Decimal),
    /// Metered units of one priced unit.
    DivideBy(Decimal),
}

impl Conversion {
    /// Returns what `quantity` metered units are in priced ones.
    #[must_use]
    pub fn apply(&self, quantity: &Decimal) -> Decimal {
        let (above, below) = match &self.factor {
            Factor::MultiplyBy(factor) => (quantity * factor, Decimal::one()),
            Factor::DivideBy(divisor) => (quantity.clone(), divisor.clone()),
        };
        let converted = match self.rounding {
            Some((rounding, digits)) => above.divided(&below, digits, rounding),
            None => reciprocal(&below).map(|reciprocal| &above * &reciprocal),
        };
        converted
            .expect("a divisor has exact quotients or a rounding; checked when the price was made")
    }

    /// Whether every quantity has a priced quantity: its decimals end, or they are rounded.
    #[must_use]
    pub fn ends(&self) -> bool {
        match &self.factor {
            Factor::MultiplyBy(_) => true,
            Factor::DivideBy(divisor) => self.rounding.is_some() || reciprocal(divisor).is_some(),
        }
    }
}

/// Returns one divided by `divisor`, where its decimals end.
fn reciprocal(divisor: &Decimal) -> Option<Decimal> {
    let reciprocal = Decimal::one().divided_rounded(divisor, RECIPROCAL_DIGITS)?;
    (&reciprocal * divisor == Decimal::one()).then_some(reciprocal)
}
