//! The ways in which a quotient can be made to end.

use bigdecimal::num_bigint::{BigInt, Sign};
use serde::{Deserialize, Serialize};

/// A way of rounding. Money is always rounded half away from zero; quantities are rounded as their price says.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// To the nearest, half away from zero: 0.5 → 1, −0.5 → −1.
    HalfAway,
    /// Towards positive infinity: 0.1 → 1, −0.9 → 0.
    Up,
    /// Towards negative infinity: 0.9 → 0, −0.1 → −1.
    Down,
}

impl Rounding {
    /// Returns the name that requests and replies carry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HalfAway => "half_away",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// Returns the whole number that `above ÷ below` rounds to; `below` is not zero.
pub(super) fn quotient(above: &BigInt, below: &BigInt, rounding: Rounding) -> BigInt {
    let negative = (above.sign() == Sign::Minus) != (below.sign() == Sign::Minus);
    let (above, below) = (above.magnitude(), below.magnitude());
    let is_away = match rounding {
        Rounding::HalfAway => (above % below) * 2_u32 >= *below,
        Rounding::Up => !negative && (above % below).bits() > 0,
        Rounding::Down => negative && (above % below).bits() > 0,
    };
    let magnitude = BigInt::from(above / below + u32::from(is_away));
    if negative { -magnitude } else { magnitude }
}
