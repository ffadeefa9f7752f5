//! A count, which is exact as long as it is an integer.

use std::cmp::Ordering;
use std::fmt;

/// A non-negative count. Protobuf carries `u64`, the text formats carry floats; a float that is a
/// whole number below 2^64 becomes [`Number::Int`], so that equal counts compare equal.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    Int(u64),
    Float(f64),
}

/// 2^64, which is exact as f64; every whole f64 from 0 to below it converts to u64 exactly.
const LIMIT: f64 = 18_446_744_073_709_551_616.0;

impl Number {
    pub const ZERO: Number = Number::Int(0);

    pub fn from_f64(value: f64) -> Number {
        if (0.0..LIMIT).contains(&value) && value.fract() == 0.0 {
            Number::Int(value as u64)
        } else {
            Number::Float(value)
        }
    }

    /// Rounds to nearest even above 2^53.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(n) => n as f64,
            Number::Float(x) => x,
        }
    }

    pub fn is_zero(self) -> bool {
        match self {
            Number::Int(n) => n == 0,
            Number::Float(x) => x == 0.0,
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        match (*self, *other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b),
            (Number::Int(a), Number::Float(b)) => compare(a, b),
            (Number::Float(a), Number::Int(b)) => compare(b, a).map(Ordering::reverse),
        }
    }
}

/// Compares exactly: converted to f64, `int` could be rounded to `float` or past it.
fn compare(int: u64, float: f64) -> Option<Ordering> {
    match float {
        _ if float.is_nan() => None,
        _ if float < 0.0 => Some(Ordering::Greater),
        _ if float >= LIMIT => Some(Ordering::Less),
        _ => {
            let fraction = if float.fract() > 0.0 { Ordering::Less } else { Ordering::Equal };
            Some(int.cmp(&(float as u64)).then(fraction))
        }
    }
}

/// Shows a value in a message, spelled as in the text format.
#[derive(Clone, Copy, Debug)]
pub struct Shown(pub f64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            // Without an exponent, it could have 300 digits.
            value if value != 0.0 && !(1e-6..1e21).contains(&value.abs()) => write!(f, "{value:e}"),
            value => value.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_messages() {
        let shown = |value| Shown(value).to_string();
        assert_eq!([1.0, 0.5, -0.0].map(shown), ["1", "0.5", "-0"]);
        assert_eq!([1e300, -1e-9].map(shown), ["1e300", "-1e-9"]);
        let odd = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        assert_eq!(odd.map(shown), ["+Inf", "-Inf", "NaN"]);
    }

    #[test]
    fn whole_floats_become_integers() {
        assert!(matches!(Number::from_f64(17.0), Number::Int(17)));
        assert!(matches!(Number::from_f64(-0.0), Number::Int(0)));
        assert!(matches!(Number::from_f64(2f64.powi(63)), Number::Int(n) if n == 1 << 63));
        for x in [0.5, -1.0, 2f64.powi(64), f64::NAN, f64::INFINITY] {
            assert!(matches!(Number::from_f64(x), Number::Float(_)), "{x}");
        }
    }

    #[test]
    fn order() {
        assert!(Number::Int(u64::MAX) > Number::Int(u64::MAX - 1));
        assert!(Number::Float(0.5) < Number::Int(1));
        assert!(Number::Int(1 << 53) < Number::Float(1e300));
        assert_ne!(Number::Float(f64::NAN), Number::Float(f64::NAN));
        assert_eq!(Number::Int(1).partial_cmp(&Number::Float(f64::NAN)), None);
        // Converted to f64, both would be 2^64, or 2^53.
        assert!(Number::Int(u64::MAX) < Number::Float(18_446_744_073_709_551_616.0));
        assert!(Number::Float(9_007_199_254_740_992.0) < Number::Int((1 << 53) + 1));
        assert!(Number::Float(4_503_599_627_370_495.5) > Number::Int((1 << 52) - 1));
        assert!(Number::Float(-0.5) < Number::ZERO);
        assert_eq!(Number::Float(-0.0), Number::ZERO);
    }
}
