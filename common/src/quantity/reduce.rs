//! Which power of ten a magnitude is a multiple of, without dividing.
//!
//! Dividing 256-bit integers is slow, and every stored quantity needs it. A number is a multiple of
//! 5^k exactly if its product with the inverse of 5^k modulo 2^256 is at most (2^256 - 1) / 5^k, and
//! that product then is the quotient: one multiplication instead of a division.

use std::sync::LazyLock;

use ethnum::U256;

use super::SCALE;

/// Divides by 10^`zeros` where that leaves no rest.
struct Divisor {
    zeros: u32,
    inverse: U256,
    quotient_max: U256,
}

impl Divisor {
    fn of(zeros: u32) -> Self {
        let fives = U256::from(5u8).pow(zeros);
        // Newton's method doubles the right bits from 3 to beyond 256.
        let refine = |inverse: U256, _| {
            inverse.wrapping_mul(U256::from(2u8).wrapping_sub(fives.wrapping_mul(inverse)))
        };
        let inverse = (0..7).fold(fives, refine);
        Divisor {
            zeros,
            inverse,
            quotient_max: U256::MAX / fives,
        }
    }

    fn divide(&self, magnitude: U256) -> Option<U256> {
        if magnitude.trailing_zeros() < self.zeros {
            return None;
        }
        let quotient = (magnitude >> self.zeros).wrapping_mul(self.inverse);
        (quotient <= self.quotient_max).then_some(quotient)
    }
}

/// The whole scale first, because most quantities are whole; then steps that add up to any rest.
static DIVISORS: LazyLock<[Divisor; 7]> =
    LazyLock::new(|| [36, 32, 16, 8, 4, 2, 1].map(Divisor::of));
const _: () = assert!(SCALE == 36);

/// The fewest digits after the point that hold a magnitude of the fixed scale, and the magnitude at
/// that scale.
pub(super) fn reduce(magnitude: U256) -> (usize, U256) {
    let [whole, steps @ ..] = &*DIVISORS;
    if let Some(quotient) = whole.divide(magnitude) {
        return (0, quotient);
    }
    let mut scale = SCALE;
    let mut reduced = magnitude;
    for step in steps {
        if let Some(quotient) = step.divide(reduced) {
            reduced = quotient;
            scale -= step.zeros as usize;
        }
    }
    (scale, reduced)
}
