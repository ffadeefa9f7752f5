//! Numbers as big integers in units of 2^-1074, of which every finite `f64` is a multiple. This shares
//! no code with the sums under test.

use num_bigint::{BigInt, Sign};
use tallygate::model::Number;

const UNITS_PER_ONE: usize = 1074;

pub(crate) fn units(value: f64) -> BigInt {
    assert!(value.is_finite());
    let (bits, field) = (value.to_bits(), (value.to_bits() >> 52 & 0x7ff) as usize);
    let fraction = bits & ((1 << 52) - 1);
    let magnitude = match field {
        0 => BigInt::from(fraction),
        _ => BigInt::from(fraction | 1 << 52) << (field - 1),
    };
    if value.is_sign_negative() { -magnitude } else { magnitude }
}

/// `None` unless the number is finite.
pub(crate) fn units_of(number: Number) -> Option<BigInt> {
    match number {
        Number::Int(count) => Some(BigInt::from(count) << UNITS_PER_ONE),
        Number::Float(count) => count.is_finite().then(|| units(count)),
    }
}

/// Rounds to nearest, ties to even, through decimal digits: the standard library reads any number of
/// them correctly.
pub(crate) fn nearest(units: &BigInt) -> f64 {
    // units / 2^1074 = units * 5^1074 / 10^1074
    let digits = units * BigInt::from(5).pow(UNITS_PER_ONE as u32);
    let nearest: f64 = format!("{digits}e-{UNITS_PER_ONE}").parse().unwrap();
    nearest + 0.0
}

/// Rounds `units / count` once.
pub(crate) fn nearest_mean(units: &BigInt, count: usize) -> f64 {
    let count = BigInt::from(count);
    let near = nearest(&(units / &count));
    if near.is_infinite() {
        return near;
    }
    let around = [near, near.next_up(), near.next_down()].into_iter().filter(|x| x.is_finite());
    let distance = |x: &f64| (self::units(*x) * &count - units).magnitude().clone();
    around.min_by_key(|x| (distance(x), x.to_bits() & 1)).unwrap() + 0.0
}

/// A count as it is shown: an integer if it is one and fits, or if it is above 2^53, where its fraction
/// is cut off because f64 has none.
pub(crate) fn number(units: &BigInt) -> Number {
    let one = BigInt::from(1) << UNITS_PER_ONE;
    let fraction = units % &one;
    match u64::try_from(units / one) {
        Ok(whole) if fraction.sign() == Sign::NoSign || whole >= 1 << 53 => Number::Int(whole),
        _ => Number::from_f64(nearest(units)),
    }
}
