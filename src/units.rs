//! Sizes, durations and secrets as people write them.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

// === ByteSize ===

/// A number of bytes, written `32MiB`, `1GB`, `64Ki` (as Kubernetes does) or plainly `4096`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error("it is not a size")]
    NoNumber,
    #[error("{0:?} is not a unit of size; use B, kB, MB, GB, TB, KiB, MiB, GiB or TiB")]
    Unit(String),
    #[error("it is not a whole number of bytes")]
    Fraction,
    #[error("it is too large")]
    TooLarge,
}

const SIZE_UNITS: [(&str, u64); 16] = [
    ("B", 1),
    ("k", 1000),
    ("kB", 1000),
    ("KB", 1000),
    ("M", 1000_u64.pow(2)),
    ("MB", 1000_u64.pow(2)),
    ("G", 1000_u64.pow(3)),
    ("GB", 1000_u64.pow(3)),
    ("TB", 1000_u64.pow(4)),
    ("Ki", 1 << 10),
    ("KiB", 1 << 10),
    ("Mi", 1 << 20),
    ("MiB", 1 << 20),
    ("Gi", 1 << 30),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl ByteSize {
    pub const KIB: ByteSize = ByteSize(1 << 10);
    pub const MIB: ByteSize = ByteSize(1 << 20);

    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<ByteSize, SizeError> {
        let (number, unit) = split_number(text).ok_or(SizeError::NoNumber)?;
        let unit = unit.trim_start();
        let factor = match SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None if unit.is_empty() => 1,
            None => return Err(SizeError::Unit(unit.to_owned())),
        };
        match number.times(factor) {
            Ok(bytes) => Ok(ByteSize(bytes)),
            Err(Inexact::Fraction) => Err(SizeError::Fraction),
            Err(Inexact::TooLarge) => Err(SizeError::TooLarge),
        }
    }
}

impl fmt::Display for ByteSize {
    /// In the largest unit of which it is a multiple.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            ("TiB", 1 << 40),
            ("GiB", 1 << 30),
            ("MiB", 1 << 20),
            ("KiB", 1 << 10),
            ("TB", 1000_u64.pow(4)),
            ("GB", 1000_u64.pow(3)),
            ("MB", 1000_u64.pow(2)),
            ("kB", 1000),
        ];
        match units.into_iter().find(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size)) {
            Some((name, size)) => write!(f, "{}{name}", self.0 / size),
            None => write!(f, "{}", self.0),
        }
    }
}

// === durations ===

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("it is not a duration")]
    NoNumber,
    #[error("it has no unit, as in {0}s")]
    NoUnit(String),
    #[error("{0:?} is not a unit of time; use ns, us, ms, s, m, h, d or w")]
    Unit(String),
    #[error("it is finer than a nanosecond")]
    Fraction,
    #[error("it is too long")]
    TooLarge,
}

const DURATION_UNITS: [(&str, u64); 9] = [
    ("ns", 1),
    ("us", 1000),
    ("µs", 1000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

/// Reads a duration as Go and Prometheus write them: `1h30m`, `90s`, `1.5h`, `7d`, `0`.
///
/// # Errors
/// If it is not a duration. Negative durations are not accepted.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut nanos: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() || text.is_empty() {
        let (number, after) = split_number(rest).ok_or(DurationError::NoNumber)?;
        let length = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let unit = &after[..length];
        let factor = match DURATION_UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None if unit.is_empty() => return Err(DurationError::NoUnit(rest.to_owned())),
            None => return Err(DurationError::Unit(unit.to_owned())),
        };
        let part = number.times(factor).map_err(|inexact| match inexact {
            Inexact::Fraction => DurationError::Fraction,
            Inexact::TooLarge => DurationError::TooLarge,
        })?;
        nanos = nanos.checked_add(part).ok_or(DurationError::TooLarge)?;
        rest = &after[length..];
    }
    Ok(Duration::from_nanos(nanos))
}

/// Writes it so that [`parse_duration`] reads it back: `1h30m`, `2m`, `500ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for unit in ["d", "h", "m", "s", "ms", "us", "ns"] {
        let size =
            DURATION_UNITS.iter().find(|(name, _)| *name == unit).map_or(1, |(_, size)| *size);
        if rest >= size {
            let _infallible = write!(out, "{}{unit}", rest / size);
            rest %= size;
        }
    }
    out
}

// === decimal numbers ===

/// A decimal number, kept exactly: `digits / 10^places`.
struct Decimal {
    digits: u64,
    places: u32,
}

enum Inexact {
    Fraction,
    TooLarge,
}

impl Decimal {
    fn times(&self, factor: u64) -> Result<u64, Inexact> {
        let scale = 10_u128.checked_pow(self.places).ok_or(Inexact::Fraction)?;
        let product = u128::from(self.digits) * u128::from(factor);
        if product % scale != 0 {
            return Err(Inexact::Fraction);
        }
        u64::try_from(product / scale).map_err(|_| Inexact::TooLarge)
    }
}

/// The number that `text` begins with, and what follows. Underscores may group digits.
fn split_number(text: &str) -> Option<(Decimal, &str)> {
    let inside = |c: char| c.is_ascii_digit() || c == '.' || c == '_';
    let (number, rest) = text.split_at(text.find(|c| !inside(c)).unwrap_or(text.len()));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: String = whole.chars().chain(fraction.chars()).filter(|c| *c != '_').collect();
    let places = fraction.chars().filter(char::is_ascii_digit).count();
    let decimal = Decimal { digits: digits.parse().ok()?, places: u32::try_from(places).ok()? };
    let starts_well = whole.starts_with(|c: char| c.is_ascii_digit());
    starts_well.then_some((decimal, rest))
}

// === Secret ===

/// A text that must not be shown: not in logs, not by `print-config`, not in errors.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub const HIDDEN: &'static str = "<hidden>";

    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(secret.into())
    }

    /// Only for the place that needs to know it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Secret::HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Secret::HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1_000_000", 1_000_000),
            ("512B", 512),
            ("1kB", 1000),
            ("1KB", 1000),
            ("1KiB", 1024),
            ("32MiB", 32 << 20),
            ("32 MiB", 32 << 20),
            ("64Mi", 64 << 20),
            ("1GB", 1_000_000_000),
            ("1.5GiB", 3 << 29),
            ("0.5KiB", 512),
            ("16777215TiB", 16_777_215 << 40),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn refused_sizes() {
        for (text, error) in [
            ("", SizeError::NoNumber),
            ("MiB", SizeError::NoNumber),
            ("-1", SizeError::NoNumber),
            ("+1", SizeError::NoNumber),
            (".5KiB", SizeError::NoNumber),
            ("1.2.3", SizeError::NoNumber),
            ("_", SizeError::NoNumber),
            ("1mb", SizeError::Unit("mb".into())),
            ("1m", SizeError::Unit("m".into())),
            ("1MiB MiB", SizeError::Unit("MiB MiB".into())),
            ("1e9", SizeError::Unit("e9".into())),
            ("0.5", SizeError::Fraction),
            ("1.0001KiB", SizeError::Fraction),
            ("16777216TiB", SizeError::TooLarge),
            ("99999999999999999999", SizeError::NoNumber),
        ] {
            assert_eq!(text.parse::<ByteSize>(), Err(error), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("1m0.5s", 60_500),
            ("5m0s", 300_000),
            ("1d", 86_400_000),
            ("2w", 14 * 86_400_000),
            ("1000us", 1),
            ("1000µs", 1),
            ("1000000ns", 1),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refused_durations() {
        for (text, error) in [
            ("", DurationError::NoNumber),
            ("s", DurationError::NoNumber),
            ("-5s", DurationError::NoNumber),
            (" 5s", DurationError::NoNumber),
            ("never", DurationError::NoNumber),
            ("90", DurationError::NoUnit("90".into())),
            ("1h30", DurationError::NoUnit("30".into())),
            ("5M", DurationError::Unit("M".into())),
            ("5 minutes", DurationError::Unit(" minutes".into())),
            ("5s ", DurationError::Unit("s ".into())),
            ("0.1ns", DurationError::Fraction),
            ("99999999w", DurationError::TooLarge),
            ("30000w30000w", DurationError::TooLarge),
        ] {
            assert_eq!(parse_duration(text), Err(error), "{text}");
        }
    }

    #[test]
    fn written_short() {
        for (text, written) in
            [("120s", "2m"), ("90m", "1h30m"), ("24h", "1d"), ("1500ms", "1s500ms"), ("0", "0s")]
        {
            assert_eq!(format_duration(parse_duration(text).unwrap()), written, "{text}");
        }
        for (bytes, written) in
            [(0, "0"), (1000, "1kB"), (1024, "1KiB"), (1025, "1025"), (96 << 20, "96MiB")]
        {
            assert_eq!(ByteSize(bytes).to_string(), written);
        }
    }

    #[test]
    fn secrets_stay_hidden() {
        let secret = Secret::new("hunter2");
        assert!(!format!("{secret} {secret:?} {:?}", Some(&secret)).contains("hunter2"));
        assert_eq!(secret.reveal(), "hunter2");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(number: u64) {
            let duration = Duration::from_nanos(number);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            prop_assert_eq!(ByteSize(number).to_string().parse(), Ok(ByteSize(number)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9._a-zµ -]{0,12}") {
            let _ = parse_duration(&text);
            let _ = text.parse::<ByteSize>();
        }
    }
}
