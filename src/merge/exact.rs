//! Sums without rounding (merge-semantics 1.1).
//!
//! A sum keeps every bit of every finite `f64` ever added, so it does not depend on the order of
//! the additions, and it is rounded once, when it is read. Three representations, each promoted to
//! the next when an input or the sum does not fit; promotion keeps the value:
//!
//! - `Int`: an `i64`, while all inputs are whole numbers;
//! - `Fixed`: Q64.64, for inputs without a bit below 2^-64 and below 2^62 in magnitude;
//! - `Wide`: two's complement limbs on a fixed grid that spans all of `f64`, of which only the
//!   window in use is kept.

mod record;

use std::borrow::Cow;

/// See the module documentation. 24 bytes; a sum of latencies typically owns 24 to 40 more.
#[derive(Clone, Debug)]
pub struct Exact(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Int(i64),
    /// `(high << 64 | low) * 2^-64`
    Fixed {
        high: i64,
        low: u64,
    },
    /// The fields of a [`Wide`], inlined so that `low` fits next to the tag of the enum.
    Wide {
        low: u8,
        limbs: Box<[u64]>,
    },
}

const _: () = assert!(size_of::<Exact>() == 24);

/// Bit 0 of limb `i` of the grid weighs `2^(64 * (i - ZERO_LIMB))`; 2^-1074, the smallest `f64`,
/// falls into limb 0.
const ZERO_LIMB: usize = 17;
const GRID_EXPONENT: i32 = -(ZERO_LIMB as i32) * 64;

/// Limbs `low..` of the grid in two's complement: the limbs below are zero, those above repeat the sign
/// of the last one.
#[derive(Clone, Debug)]
struct Wide<L = Box<[u64]>> {
    low: u8,
    limbs: L,
}

impl Default for Exact {
    fn default() -> Exact {
        Exact::ZERO
    }
}

impl Exact {
    pub const ZERO: Exact = Exact(Repr::Int(0));

    /// `value` must be finite: NaN and infinities are dealt with before any state is changed.
    pub fn add_f64(&mut self, value: f64) {
        debug_assert!(value.is_finite());
        if let Repr::Int(sum) = &mut self.0
            && let Some(whole) = as_i64(value)
            && let Some(next) = sum.checked_add(whole)
        {
            *sum = next;
            return;
        }
        self.add_parts(Parts::of(value));
    }

    pub fn add_u64(&mut self, value: u64) {
        if let Repr::Int(sum) = &mut self.0
            && let Some(next) = sum.checked_add_unsigned(value)
        {
            *sum = next;
            return;
        }
        self.add_parts(Parts { mantissa: value.into(), exponent: 0 });
    }

    pub fn add(&mut self, other: &Exact) {
        match &other.0 {
            Repr::Int(n) => self.add_parts(Parts { mantissa: (*n).into(), exponent: 0 }),
            Repr::Fixed { high, low } => {
                self.add_parts(Parts { mantissa: join(*high, *low), exponent: -64 });
            }
            Repr::Wide { low, limbs } => self.change_wide(|wide| {
                for (at, &limb) in limbs.iter().enumerate() {
                    // Only the last limb is signed.
                    let last = at + 1 == limbs.len();
                    let value = if last { i128::from(limb as i64) } else { i128::from(limb) };
                    wide.add_at(*low as usize + at, value);
                }
            }),
        }
    }

    pub fn negated(&self) -> Exact {
        match &self.0 {
            Repr::Int(n) if *n != i64::MIN => Exact(Repr::Int(-n)),
            Repr::Fixed { high, low } if *high != i64::MIN => {
                let (high, low) = split(-join(*high, *low));
                Exact(Repr::Fixed { high, low })
            }
            _ => {
                let mut wide = self.clone().into_wide();
                wide.reserve(wide.low as usize, wide.end() + 1);
                negate(&mut wide.limbs);
                Exact::from_wide(wide)
            }
        }
    }

    /// The nearest `f64`, ties to even; infinite where the sum has outgrown `f64`.
    pub fn to_f64(&self) -> f64 {
        match &self.0 {
            Repr::Int(n) => *n as f64,
            // Scaling by a power of two is exact: the least magnitude here is 2^-64.
            Repr::Fixed { high, low } => join(*high, *low) as f64 * 2f64.powi(-64),
            Repr::Wide { low, limbs } => Wide { low: *low, limbs: &**limbs }.to_f64(),
        }
    }

    /// The `f64` nearest to the sum divided by `count`, ties to even; 0 for a count of 0.
    pub fn mean(&self, count: u64) -> f64 {
        const EXACT: u64 = 1 << 53;
        match &self.0 {
            _ if count == 0 => 0.0,
            // Both convert exactly, and the division rounds once.
            Repr::Int(n) if n.unsigned_abs() <= EXACT && count <= EXACT => *n as f64 / count as f64,
            _ => self.clone().into_wide().borrowed().mean(count),
        }
    }

    /// The whole part, and whether the sum is whole. `None` if it is negative or does not fit.
    pub fn whole_part(&self) -> Option<(u64, bool)> {
        match &self.0 {
            Repr::Int(n) => Some((u64::try_from(*n).ok()?, true)),
            Repr::Fixed { high, low } => Some((u64::try_from(*high).ok()?, *low == 0)),
            Repr::Wide { limbs, .. } if negative(top(limbs)) => None,
            Repr::Wide { low, limbs } => {
                let limb = |at: usize| limbs.get(at.wrapping_sub(*low as usize));
                let populated = (*low as usize..).zip(limbs).filter(|(_, l)| **l != 0);
                if populated.clone().any(|(at, _)| at > ZERO_LIMB) {
                    return None;
                }
                let all = !populated.into_iter().any(|(at, _)| at < ZERO_LIMB);
                Some((limb(ZERO_LIMB).copied().unwrap_or(0), all))
            }
        }
    }

    /// Bytes owned beyond the value itself.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Wide { limbs, .. } => size_of_val(&**limbs),
            _ => 0,
        }
    }

    fn add_parts(&mut self, parts: Parts) {
        if let Repr::Int(sum) = self.0 {
            if parts.exponent == 0
                && let Some(next) = i128::from(sum).checked_add(parts.mantissa)
                && let Ok(next) = i64::try_from(next)
            {
                self.0 = Repr::Int(next);
                return;
            }
            self.0 = Repr::Fixed { high: sum, low: 0 };
        }
        if let Repr::Fixed { high, low } = self.0
            && let Some(addend) = parts.as_fixed()
            && let Some(next) = join(high, low).checked_add(addend)
        {
            let (high, low) = split(next);
            self.0 = Repr::Fixed { high, low };
            return;
        }
        let position = (parts.exponent - GRID_EXPONENT) as usize;
        let (limb, shift) = (position / 64, position % 64);
        self.change_wide(|wide| {
            if parts.mantissa.unsigned_abs().leading_zeros() as usize > shift + 1 {
                wide.add_at(limb, parts.mantissa << shift);
            } else {
                // Too long to shift inside 128 bits: add the halves one limb apart.
                let (high, low) = split(parts.mantissa);
                wide.add_at(limb, i128::from(low) << shift);
                wide.add_at(limb + 1, i128::from(high) << shift);
            }
        });
    }

    /// Converts the sum to `Wide`, for good, and changes it.
    fn change_wide(&mut self, change: impl FnOnce(&mut Wide)) {
        let mut wide = std::mem::take(self).into_wide();
        change(&mut wide);
        *self = Exact::from_wide(wide);
    }

    fn from_wide(wide: Wide) -> Exact {
        Exact(Repr::Wide { low: wide.low, limbs: wide.limbs })
    }

    fn into_wide(self) -> Wide {
        let (high, low) = match self.0 {
            Repr::Int(n) => (n, 0),
            Repr::Fixed { high, low } => (high, low),
            Repr::Wide { low, limbs } => return Wide { low, limbs },
        };
        Wide { low: ZERO_LIMB as u8 - 1, limbs: Box::new([low, high as u64]) }
    }
}

/// `mantissa * 2^exponent`
#[derive(Clone, Copy)]
struct Parts {
    mantissa: i128,
    exponent: i32,
}

impl Parts {
    fn of(value: f64) -> Parts {
        const FRACTION: u64 = (1 << 52) - 1;
        let bits = value.to_bits();
        let field = (bits >> 52 & 0x7ff) as i32;
        // Subnormals have no implied leading one, and share the exponent of the smallest normal.
        let (mantissa, exponent) = match field {
            0 => (bits & FRACTION, -1074),
            _ => (bits & FRACTION | 1 << 52, field - 1075),
        };
        let mantissa =
            if value.is_sign_negative() { -i128::from(mantissa) } else { mantissa.into() };
        Parts { mantissa, exponent }
    }

    /// The value times 2^64, if that is a whole number and in range for `Fixed`.
    fn as_fixed(self) -> Option<i128> {
        let shift = self.exponent + 64;
        let magnitude = self.mantissa.unsigned_abs();
        if magnitude == 0 {
            return Some(0);
        }
        if shift < 0 {
            let exact = magnitude.trailing_zeros() >= shift.unsigned_abs();
            return exact.then(|| self.mantissa >> shift.unsigned_abs());
        }
        let length = (128 - magnitude.leading_zeros()) as i32;
        (length + shift <= 126).then(|| self.mantissa << shift)
    }
}

impl Wide {
    fn end(&self) -> usize {
        self.low as usize + self.limbs.len()
    }

    /// Makes the window cover the grid limbs `from..to`.
    fn reserve(&mut self, from: usize, to: usize) {
        let low = self.low as usize;
        if from >= low && to <= self.end() {
            return;
        }
        let fill = sign_fill(top(&self.limbs));
        let (before, after) = (low.saturating_sub(from), to.saturating_sub(self.end()));
        let mut limbs = Vec::with_capacity(before + self.limbs.len() + after);
        limbs.resize(before, 0);
        limbs.extend_from_slice(&self.limbs);
        limbs.resize(limbs.len() + after, fill);
        *self = Wide { low: (low - before) as u8, limbs: limbs.into_boxed_slice() };
    }

    /// Adds `value * 2^(64 * (limb - ZERO_LIMB))`.
    fn add_at(&mut self, limb: usize, value: i128) {
        self.reserve(limb, limb + 2);
        let at = limb - self.low as usize;
        let was_negative = negative(top(&self.limbs));
        let (high, low) = split(value);
        let fill = sign_fill(high as u64);
        let mut carry = false;
        for (i, limb) in self.limbs[at..].iter_mut().enumerate() {
            let addend = match i {
                0 => low,
                1 => high as u64,
                _ => fill,
            };
            let (sum, over) = limb.overflowing_add(addend);
            let (sum, carried) = sum.overflowing_add(carry.into());
            *limb = sum;
            carry = over | carried;
            if i > 1 && !carry && fill == 0 {
                break; // Nothing left to add.
            }
        }
        let is_negative = negative(top(&self.limbs));
        if was_negative == (value < 0) && is_negative != was_negative {
            // The sum overflowed into the sign, which both operands shared: it needs one more limb.
            let mut limbs = Vec::with_capacity(self.limbs.len() + 1);
            limbs.extend_from_slice(&self.limbs);
            limbs.push(if was_negative { u64::MAX } else { 0 });
            self.limbs = limbs.into_boxed_slice();
        }
    }

    fn borrowed(&self) -> Wide<&[u64]> {
        Wide { low: self.low, limbs: &self.limbs }
    }
}

impl<'l> Wide<&'l [u64]> {
    fn to_f64(&self) -> f64 {
        let (magnitude, is_negative) = self.magnitude();
        let nearest = round(self.low.into(), &magnitude, false);
        if is_negative { -nearest } else { nearest }
    }

    fn mean(&self, count: u64) -> f64 {
        let (magnitude, is_negative) = self.magnitude();
        // Two more limbs below: the quotient then has at least 64 bits, however large the count.
        let mut quotient = vec![0; 2];
        quotient.extend_from_slice(&magnitude);
        let mut rest = 0u64;
        for limb in quotient.iter_mut().rev() {
            let dividend = u128::from(rest) << 64 | u128::from(*limb);
            let count = u128::from(count);
            (*limb, rest) = ((dividend / count) as u64, (dividend % count) as u64);
        }
        let nearest = round(i32::from(self.low) - 2, &quotient, rest != 0);
        // Subtracting turns a result that was rounded to zero into 0, not -0.
        if is_negative { 0.0 - nearest } else { nearest }
    }

    fn magnitude(&self) -> (Cow<'l, [u64]>, bool) {
        let mut limbs = Cow::Borrowed(self.limbs);
        let is_negative = negative(top(self.limbs));
        if is_negative {
            negate(limbs.to_mut());
        }
        (limbs, is_negative)
    }
}

/// Rounds the unsigned number in `limbs`, the first of which is limb `low` of the grid. `more`: the
/// number is larger than that, by less than its last bit.
fn round(low: i32, limbs: &[u64], more: bool) -> f64 {
    let Some(top) = limbs.iter().rposition(|&limb| limb != 0) else {
        return 0.0;
    };
    // The leading 64 bits, the first of which is set, and whether any bit below them is.
    let zeros = limbs[top].leading_zeros();
    let next = if top > 0 { limbs[top - 1] } else { 0 };
    let lead = if zeros == 0 { limbs[top] } else { limbs[top] << zeros | next >> (64 - zeros) };
    let below = if zeros == 0 { next } else { next << zeros };
    let sticky = more || below != 0 || limbs[..top.saturating_sub(1)].iter().any(|&l| l != 0);
    let exponent = (low + top as i32) * 64 + 63 - zeros as i32 + GRID_EXPONENT;

    // A normal f64 keeps 53 bits, a subnormal one the bits down to 2^-1074.
    let cut = 11 + (-1022 - exponent).max(0);
    if cut > 64 {
        return 0.0; // Less than half of the smallest f64.
    }
    let kept = lead.checked_shr(cut as u32).unwrap_or(0);
    let (rest, half) = (lead ^ kept.checked_shl(cut as u32).unwrap_or(0), 1u64 << (cut - 1));
    // Rounding up may carry into the exponent field, which is right.
    let up = rest > half || rest == half && (sticky || kept & 1 == 1);
    let mantissa = kept + u64::from(up);
    // The leading bit of a normal mantissa adds one to the exponent field.
    let bits = (((exponent.max(-1022) + 1022) as u64) << 52) + mantissa;
    if bits >= f64::INFINITY.to_bits() { f64::INFINITY } else { f64::from_bits(bits) }
}

fn as_i64(value: f64) -> Option<i64> {
    // Every whole f64 in [-2^63, 2^63) converts exactly; the round trip catches all others.
    let whole = value as i64;
    (whole as f64 == value && whole != i64::MAX).then_some(whole)
}

fn join(high: i64, low: u64) -> i128 {
    i128::from(high) << 64 | i128::from(low)
}

fn split(value: i128) -> (i64, u64) {
    ((value >> 64) as i64, value as u64)
}

fn top(limbs: &[u64]) -> u64 {
    limbs.last().copied().unwrap_or(0)
}

fn negative(top: u64) -> bool {
    top >> 63 == 1
}

fn sign_fill(top: u64) -> u64 {
    if negative(top) { u64::MAX } else { 0 }
}

/// Two's complement; the caller has left room for the sign.
fn negate(limbs: &mut [u64]) {
    let mut carry = true;
    for limb in limbs {
        let (sum, over) = (!*limb).overflowing_add(carry.into());
        *limb = sum;
        carry = over;
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::BigInt;
    use proptest::prelude::*;

    use super::*;

    fn sum(values: &[f64]) -> Exact {
        let mut sum = Exact::ZERO;
        for &value in values {
            sum.add_f64(value);
        }
        sum
    }

    /// The sum in units of 2^-1074, computed with big integers.
    fn reference(values: &[f64]) -> BigInt {
        let scaled = values.iter().map(|&value| {
            let parts = Parts::of(value);
            BigInt::from(parts.mantissa) << (parts.exponent + 1074) as usize
        });
        scaled.sum()
    }

    /// Rounds units of 2^-1074 to f64 through decimal digits, which std rounds correctly.
    fn nearest(units: &BigInt) -> f64 {
        // units / 2^1074 = units * 5^1074 / 10^1074
        let digits = units * BigInt::from(5).pow(1074);
        format!("{digits}e-1074").parse().unwrap()
    }

    #[test]
    fn hazards() {
        for (values, expected) in [
            (&[][..], 0.0),
            (&[-0.0], 0.0),
            (&[0.1; 10], 1.0),
            (&[1e308, 1e308], f64::INFINITY),
            (&[1e308, 1e308, -1e308], 1e308),
            (&[5e-324, 5e-324], 1e-323),
            (&[1e308, 5e-324, -1e308], 5e-324),
            (&[9007199254740992.0, 1.0, 1.0], 9007199254740994.0),
            (&[9007199254740992.0, 1.0], 9007199254740992.0),
            (&[9007199254740992.0, 1.0, 0.25], 9007199254740994.0),
            (&[9223372036854775807.0, 9223372036854775807.0], 1.8446744073709552e19),
            (&[-9223372036854775808.0, -1.0], -9223372036854775808.0),
            (&[1e16, 1.0, 1e-20, -1e16], 1.0),
            (&[f64::MAX, f64::MIN_POSITIVE], f64::MAX),
        ] {
            let got = sum(values).to_f64();
            assert!(
                got == expected && got.is_sign_positive() == expected.is_sign_positive(),
                "{values:?}: {got}"
            );
        }
    }

    #[test]
    fn a_million_increments_on_top_of_2_pow_53() {
        let mut total = sum(&[9007199254740992.0]);
        for _ in 0..1_000_000 {
            total.add_u64(1);
        }
        assert_eq!(total.to_f64(), 9007199255740992.0);
    }

    #[test]
    fn ten_million_tenths() {
        let mut total = Exact::ZERO;
        for _ in 0..10_000_000 {
            total.add_f64(0.1);
        }
        assert_eq!(total.to_f64(), 1_000_000.0);
        assert_eq!(total.heap_bytes(), 0, "0.1 needs no superaccumulator");
    }

    #[test]
    fn counts_beyond_u64_do_not_wrap() {
        let mut total = Exact::ZERO;
        for _ in 0..4 {
            total.add_u64(u64::MAX);
        }
        assert_eq!(total.to_f64(), 2f64.powi(66));
        assert_eq!(total.whole_part(), None);
        for _ in 0..3 {
            total.add(&sum(&[18446744073709551616.0]).negated());
        }
        assert_eq!(total.whole_part(), Some((u64::MAX - 3, true)));
        total.add_f64(0.5);
        assert_eq!(total.whole_part(), Some((u64::MAX - 3, false)));
        total.add(&sum(&[18446744073709551616.0]).negated());
        assert_eq!(total.whole_part(), None);
    }

    fn any_finite() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>().prop_filter("finite", |x| x.is_finite()),
            (-1e3..1e3),
            any::<i64>().prop_map(|n| n as f64),
            (0..100i32, -30..30i32).prop_map(|(m, e)| f64::from(m) * 2f64.powi(e * 8)),
            Just(f64::MAX),
            Just(-f64::MAX),
            Just(5e-324),
        ]
    }

    proptest! {
        #[test]
        fn equals_big_integers_in_any_order(
            values in prop::collection::vec(any_finite(), 0..40),
            seed in any::<u64>(),
        ) {
            let expected = nearest(&reference(&values)) + 0.0;
            prop_assert_eq!(sum(&values).to_f64().to_bits(), expected.to_bits());

            let mut shuffled = values;
            let mut state = seed | 1;
            for i in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                shuffled.swap(i, (state >> 33) as usize % (i + 1));
            }
            prop_assert_eq!(sum(&shuffled).to_f64().to_bits(), expected.to_bits());
        }

        #[test]
        fn adding_sums_equals_adding_their_parts(
            a in prop::collection::vec(any_finite(), 0..20),
            b in prop::collection::vec(any_finite(), 0..20),
        ) {
            let mut joined = sum(&a);
            joined.add(&sum(&b));
            let all: Vec<f64> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(joined.to_f64().to_bits(), sum(&all).to_f64().to_bits());
            joined.add(&sum(&b).negated());
            prop_assert_eq!(joined.to_f64().to_bits(), sum(&a).to_f64().to_bits());
        }

        #[test]
        fn a_mean_is_the_nearest_of_all_f64(
            values in prop::collection::vec(any_finite(), 0..20),
            count in prop_oneof![1..100u64, Just(u64::MAX), any::<u64>().prop_map(|n| n | 1)],
        ) {
            let mean = sum(&values).mean(count);
            let (units, count) = (reference(&values), BigInt::from(count));
            let distance = |x: f64| (reference(&[x]) * &count - &units).magnitude().clone();
            if mean.is_infinite() {
                // Half a unit above the largest f64: from here on, rounding gives infinity.
                let edge = reference(&[f64::MAX]) + reference(&[2f64.powi(970)]);
                prop_assert!(*units.magnitude() >= (edge * &count).magnitude().clone());
                return Ok(());
            }
            let held = distance(mean);
            for other in [mean.next_up(), mean.next_down()].into_iter().filter(|x| x.is_finite()) {
                let even = mean.to_bits() & 1 == 0;
                prop_assert!(held < distance(other) || held == distance(other) && even, "{mean}");
            }
        }

        #[test]
        fn one_value_comes_back(value in any_finite()) {
            prop_assert_eq!(sum(&[value]).to_f64(), value);
        }
    }
}
