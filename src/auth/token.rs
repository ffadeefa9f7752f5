//! Tokens are kept as their SHA-256. They are long and random, so no slow hash is needed.

use std::fmt;

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

/// The hash of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

/// Why a text is not a token hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 in 64 hexadecimal digits is expected")]
pub struct TokenHashError;

impl TokenHash {
    pub fn of(token: &[u8]) -> TokenHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token).as_ref());
        TokenHash(hash)
    }

    /// # Errors
    /// Unless it is 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<TokenHash, TokenHashError> {
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        if text.len() != 64 || digits.len() != 64 {
            return Err(TokenHashError);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (pair[0] << 4 | pair[1]) as u8;
        }
        Ok(TokenHash(hash))
    }

    /// In constant time.
    pub(super) fn is_same(&self, other: &TokenHash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_in_either_case() {
        let hex = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let hash = TokenHash::of(b"secret");
        assert_eq!(TokenHash::from_hex(hex), Ok(hash));
        assert_eq!(TokenHash::from_hex(&hex.to_uppercase()), Ok(hash));
        assert!(hash.is_same(&TokenHash::of(b"secret")));
        assert!(!hash.is_same(&TokenHash::of(b"secret ")));
    }

    #[test]
    fn other_texts_are_no_hash() {
        let digits = "0".repeat(64);
        for text in ["", "0", &digits[1..], &format!("{digits}0"), &"x".repeat(64), &"ä".repeat(32)]
        {
            assert_eq!(TokenHash::from_hex(text), Err(TokenHashError), "{text}");
        }
    }
}
