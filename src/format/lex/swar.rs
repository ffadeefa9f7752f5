//! Searches that look at eight bytes at a time, in one register.
//!
//! Names and label values are short: calling a vectorised search takes longer than most of these
//! searches, and a loop over bytes takes several times as long.

use crate::model::name::{METRIC_NAME, is_name_byte};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The eight bytes from `at` on, the first one lowest.
#[inline(always)]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

/// The first `"` or `\` from `at` on, and its offset.
#[inline(always)]
pub(super) fn quote_or_backslash(bytes: &[u8], mut at: usize) -> Option<(usize, u8)> {
    const QUOTES: u64 = ONES * b'"' as u64;
    const BACKSLASHES: u64 = ONES * b'\\' as u64;
    // The lowest bit that is set belongs to the first zero byte; bits above it may be wrong.
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    while let Some(word) = word(bytes, at) {
        let found = zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES);
        if found != 0 {
            at += found.trailing_zeros() as usize / 8;
            break;
        }
        at += 8;
    }
    while let Some(&byte) = bytes.get(at) {
        if matches!(byte, b'"' | b'\\') {
            return Some((at, byte));
        }
        at += 1;
    }
    None
}

/// Offset of the first byte from `at` on that cannot be part of a name of the class.
#[inline(always)]
pub(super) fn name_end(bytes: &[u8], mut at: usize, class: u8) -> usize {
    // In ASCII, the colon follows the 9.
    let last_digit = if class == METRIC_NAME { b':' } else { b'9' };
    while let Some(word) = word(bytes, at) {
        let low = word & !HIGHS;
        // Sums of seven-bit values do not carry into the next byte: the high bit of a byte shows the
        // order.
        let from = |first: u8, bytes: u64| bytes + ONES * u64::from(0x80 - first);
        let within = |first: u8, last: u8, bytes: u64| from(first, bytes) & !from(last + 1, bytes);
        let letters = within(b'a', b'z', low | (ONES * 0x20));
        let digits = within(b'0', last_digit, low);
        let underscores = within(b'_', b'_', low);
        let other = (!(letters | digits | underscores) | word) & HIGHS;
        if other != 0 {
            return at + other.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|&byte| is_name_byte(byte, class)) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::name::LABEL_NAME;

    fn naive_name_end(bytes: &[u8], at: usize, class: u8) -> usize {
        let end = bytes[at..].iter().position(|&byte| !is_name_byte(byte, class));
        end.map_or(bytes.len(), |end| at + end)
    }

    fn naive_quote_or_backslash(bytes: &[u8], at: usize) -> Option<(usize, u8)> {
        let found = (at..bytes.len()).find(|&at| matches!(bytes[at], b'"' | b'\\'))?;
        Some((found, bytes[found]))
    }

    #[test]
    fn every_byte_in_every_place_of_a_word() {
        for byte in 0..=255 {
            for place in 0..8 {
                let mut bytes = *b"aZ_09zA9a";
                bytes[place] = byte;
                for class in [LABEL_NAME, METRIC_NAME] {
                    let expected = naive_name_end(&bytes, 0, class);
                    assert_eq!(name_end(&bytes, 0, class), expected, "{bytes:?}");
                }
                let expected = naive_quote_or_backslash(&bytes, 0);
                assert_eq!(quote_or_backslash(&bytes, 0), expected, "{bytes:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn as_one_byte_at_a_time(
            bytes in proptest::collection::vec(prop_oneof![
                Just(b'a'), Just(b'"'), Just(b'\\'), Just(b'#'), Just(b'!'), Just(b':'), any::<u8>()
            ], 0..40),
            at in 0..40_usize,
        ) {
            let at = at.min(bytes.len());
            for class in [LABEL_NAME, METRIC_NAME] {
                prop_assert_eq!(name_end(&bytes, at, class), naive_name_end(&bytes, at, class));
            }
            prop_assert_eq!(quote_or_backslash(&bytes, at), naive_quote_or_backslash(&bytes, at));
        }
    }
}
