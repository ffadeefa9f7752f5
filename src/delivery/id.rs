//! What identifies a push, so that its attempts can be told from other pushes: an idempotency key, or a
//! number in the sequence of its source (merge-semantics 3, rules 1, 6 and 7).

use std::fmt;

/// Longer keys, sources and epochs are refused.
pub const TEXT_BYTES_MAX: usize = 255;

/// Which push this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushId {
    Key(Key),
    Sequence(Sequence),
}

/// `Idempotency-Key`: chosen by the client, new for each push and the same for all its attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    text: Box<str>,
    made_ms: Option<i64>,
}

/// `Push-Source`, `Push-Epoch`, `Push-Seq`: the client numbers its pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    pub source: Box<str>,
    /// A run of the source. Each run may start counting again.
    pub epoch: Box<str>,
    pub number: u64,
}

/// Why a key, source or epoch cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("it is empty")]
    Empty,
    #[error("it has more than {TEXT_BYTES_MAX} bytes")]
    TooLong,
    #[error("byte {0} is not printable ASCII")]
    NotAscii(usize),
    #[error("the quote at its beginning is not closed")]
    Open,
    #[error("after the closing quote there is more")]
    Trailing,
    #[error("only a quote or a backslash may follow a backslash")]
    Escape,
    #[error("spaces, commas and quotes have to stand in quotes")]
    Unquoted,
}

impl Key {
    /// Reads a structured-field string (RFC 9651), with or without its quotes.
    ///
    /// # Errors
    /// If it is no such string, empty or too long.
    pub fn parse(field: &[u8]) -> Result<Key, TextError> {
        let text = text(field)?;
        Ok(Key { made_ms: uuid_ms(&text).or_else(|| ulid_ms(&text)), text })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// When a `UUIDv7` or ULID was made, by the client's clock, in milliseconds since the Unix epoch.
    pub fn made_ms(&self) -> Option<i64> {
        self.made_ms
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text of a header field or query parameter.
///
/// # Errors
/// As [`Key::parse`].
pub fn text(field: &[u8]) -> Result<Box<str>, TextError> {
    if let Some(at) = field.iter().position(|byte| !matches!(byte, b' '..=b'~' | b'\t')) {
        return Err(TextError::NotAscii(at + 1));
    }
    let field = field.trim_ascii();
    let text = match field.strip_prefix(b"\"") {
        Some(rest) => unquoted(rest)?,
        None if field.iter().any(|byte| b" \t,\"".contains(byte)) => {
            return Err(TextError::Unquoted);
        }
        None => field.iter().copied().map(char::from).collect(),
    };
    match text.len() {
        0 => Err(TextError::Empty),
        1..=TEXT_BYTES_MAX => Ok(text.into()),
        _ => Err(TextError::TooLong),
    }
}

/// The text between the quotes. `field` begins after the opening one.
fn unquoted(field: &[u8]) -> Result<String, TextError> {
    let mut text = String::new();
    let mut bytes = field.iter();
    loop {
        match bytes.next().ok_or(TextError::Open)? {
            b'"' => break,
            b'\\' => match bytes.next() {
                Some(escaped @ (b'"' | b'\\')) => text.push(char::from(*escaped)),
                _ => return Err(TextError::Escape),
            },
            b'\t' => return Err(TextError::Unquoted),
            byte => text.push(char::from(*byte)),
        }
    }
    // Parameters that mean nothing to us are to be ignored.
    let rest = bytes.as_slice().trim_ascii_start();
    if rest.is_empty() || rest.starts_with(b";") { Ok(text) } else { Err(TextError::Trailing) }
}

/// The time in a `UUIDv7`, which must have its hyphens: without them, any 32 digits could be one.
fn uuid_ms(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            14 => *byte == b'7',
            19 => b"89abAB".contains(byte),
            _ => byte.is_ascii_hexdigit(),
        });
    if !shaped {
        return None;
    }
    let digits = bytes[..8].iter().chain(&bytes[9..13]);
    digits.map(|&digit| char::from(digit).to_digit(16)).try_fold(0, |time, digit| {
        Some(time << 4 | i64::from(digit?)) //
    })
}

/// The time in a ULID. Other things in base 32 can have the same form, so the time must be a plausible
/// one.
fn ulid_ms(text: &str) -> Option<i64> {
    const YEARS_2015_TO_2100: std::ops::Range<i64> = 1_420_070_400_000..4_102_444_800_000;
    let bytes = text.as_bytes();
    if bytes.len() != 26 || !matches!(bytes[0], b'0'..=b'7') {
        return None;
    }
    let mut time = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let digit = crockford(*byte)?;
        if at < 10 {
            time = time << 5 | digit;
        }
    }
    YEARS_2015_TO_2100.contains(&time).then_some(time)
}

/// The value of a digit in base 32, without I, L, O and U.
fn crockford(byte: u8) -> Option<i64> {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let at = DIGITS.iter().position(|digit| *digit == byte.to_ascii_uppercase())?;
    i64::try_from(at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_read() {
        let longest = "k".repeat(TEXT_BYTES_MAX);
        for (field, key) in [
            ("a", "a"),
            ("\"a\"", "a"),
            ("  a\t", "a"),
            ("\"a b, c\"", "a b, c"),
            (r#""say \"hi\" \\""#, r#"say "hi" \"#),
            ("\"a\"; x=1", "a"),
            ("\"a\" ;x", "a"),
            (r"a\b;c=d'e", r"a\b;c=d'e"),
            (&longest, &longest),
        ] {
            let read = Key::parse(field.as_bytes());
            assert_eq!(read.as_ref().map(Key::as_str), Ok(key), "{field}");
        }
    }

    #[test]
    fn keys_that_are_refused() {
        let too_long = "k".repeat(TEXT_BYTES_MAX + 1);
        let quoted_too_long = format!("\"{too_long}\"");
        for (field, error) in [
            ("", TextError::Empty),
            (" ", TextError::Empty),
            ("\"\"", TextError::Empty),
            (&*too_long, TextError::TooLong),
            (&*quoted_too_long, TextError::TooLong),
            ("ä", TextError::NotAscii(1)),
            ("a\u{7f}", TextError::NotAscii(2)),
            ("\"a\0\"", TextError::NotAscii(3)),
            ("\"a", TextError::Open),
            ("\"", TextError::Open),
            ("\"a\\\"", TextError::Open),
            ("\"a\" b", TextError::Trailing),
            ("\"a\", \"b\"", TextError::Trailing),
            ("\"a\\n\"", TextError::Escape),
            ("\"a\\", TextError::Escape),
            ("\"a\tb\"", TextError::Unquoted),
            ("a b", TextError::Unquoted),
            ("a,b", TextError::Unquoted),
            ("a\"b", TextError::Unquoted),
        ] {
            assert_eq!(Key::parse(field.as_bytes()), Err(error), "{field}");
        }
    }

    #[test]
    fn times_that_keys_carry() {
        for (key, made_ms) in [
            // The examples of RFC 9562 and of the ULID specification.
            ("017F22E2-79B0-7CC3-98C4-DC0C0C07398F", Some(0x017F_22E2_79B0)),
            ("017f22e2-79b0-7cc3-98c4-dc0c0c07398f", Some(0x017F_22E2_79B0)),
            ("00000000-0000-7000-8000-000000000000", Some(0)),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", Some(1_469_922_850_259)),
            ("01arz3ndektsv4rrffq69g5fav", Some(1_469_922_850_259)),
            // Version 4, another variant, no hyphens, too long.
            ("017f22e2-79b0-4cc3-98c4-dc0c0c07398f", None),
            ("017f22e2-79b0-7cc3-c8c4-dc0c0c07398f", None),
            ("017f22e279b07cc398c4dc0c0c07398f", None),
            ("017f22e2-79b0-7cc3-98c4-dc0c0c07398f0", None),
            ("017f22e2-79b0-7cc3-98c4-dc0c0c07398g", None),
            // Not of our time, no digit of that base, too short.
            ("7ZZZZZZZZZZZZZZZZZZZZZZZZZ", None),
            ("00000000000000000000000000", None),
            ("8ZZZZZZZZZZZZZZZZZZZZZZZZZ", None),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAU", None),
            ("01ARZ3NDEKTSV4RRFFQ69G5FA", None),
            ("backup-2026-11-25", None),
        ] {
            let key = Key::parse(key.as_bytes()).unwrap();
            assert_eq!(key.made_ms(), made_ms, "{key}");
        }
    }
}
