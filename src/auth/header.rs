//! The `Authorization` header of a request.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Hidden;

/// The credentials in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// RFC 7617
    Basic { user: String, password: Hidden },
    /// RFC 6750
    Bearer(Hidden),
}

/// Why a header contains no credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("Authorization must be Basic or Bearer")]
    Scheme,
    #[error("there is more than one Authorization header")]
    Several,
    #[error("the credentials are not base64")]
    Base64,
    #[error("the user name is not UTF-8")]
    Utf8,
    #[error("the credentials have no colon between user name and password")]
    NoColon,
    #[error("the token is empty or has characters that no token has")]
    Token,
}

/// Accepts missing padding, since some clients leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads the value of the header.
///
/// # Errors
/// If it contains no credentials. The error never shows the content of the header.
pub fn parse(header: &[u8]) -> Result<Credentials, HeaderError> {
    let end = header.iter().position(|&byte| byte == b' ').unwrap_or(header.len());
    let (scheme, rest) = header.split_at(end);
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"basic") {
        let decoded = BASE64.decode(rest).map_err(|_| HeaderError::Base64)?;
        let colon = decoded.iter().position(|&byte| byte == b':').ok_or(HeaderError::NoColon)?;
        let user = std::str::from_utf8(&decoded[..colon]).map_err(|_| HeaderError::Utf8)?;
        let (user, password) = (user.to_owned(), Hidden(decoded[colon + 1..].to_vec()));
        Ok(Credentials::Basic { user, password })
    } else if scheme.eq_ignore_ascii_case(b"bearer") {
        let sound = !rest.is_empty() && rest.iter().all(u8::is_ascii_graphic);
        if sound { Ok(Credentials::Bearer(Hidden(rest.to_vec()))) } else { Err(HeaderError::Token) }
    } else {
        Err(HeaderError::Scheme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &[u8]) -> Credentials {
        Credentials::Basic { user: user.to_owned(), password: Hidden(password.to_vec()) }
    }

    #[test]
    fn accepted() {
        for (header, expected) in [
            ("Basic YWxpY2U6c2VjcmV0", basic("alice", b"secret")),
            ("basic YWxpY2U6c2VjcmV0", basic("alice", b"secret")),
            ("BASIC   YWxpY2U6c2VjcmV0 ", basic("alice", b"secret")),
            // Only the first colon is a separator.
            ("Basic YTpiOmM=", basic("a", b"b:c")),
            ("Basic YTpiOmM", basic("a", b"b:c")),
            ("Basic Og==", basic("", b"")),
            ("Basic YTo=", basic("a", b"")),
            // A password need not be UTF-8.
            ("Basic YTr/", basic("a", b"\xff")),
            ("Bearer abc.DEF-_~+/=", Credentials::Bearer(Hidden(b"abc.DEF-_~+/=".to_vec()))),
            ("bearer  x", Credentials::Bearer(Hidden(b"x".to_vec()))),
        ] {
            assert_eq!(parse(header.as_bytes()), Ok(expected), "{header}");
        }
    }

    #[test]
    fn rejected() {
        for (header, expected) in [
            (&b""[..], HeaderError::Scheme),
            (b"Digest x", HeaderError::Scheme),
            (b"BasicYTpi", HeaderError::Scheme),
            (b"Basic\tYTpi", HeaderError::Scheme),
            (b"Basic", HeaderError::NoColon),
            (b"Basic ", HeaderError::NoColon),
            (b"Basic YWxpY2U=", HeaderError::NoColon),
            (b"Basic a-_b", HeaderError::Base64),
            (b"Basic YTpi YTpi", HeaderError::Base64),
            (b"Basic YTp", HeaderError::Base64),
            (b"Basic \xff", HeaderError::Base64),
            (b"Basic /zph", HeaderError::Utf8),
            (b"Bearer", HeaderError::Token),
            (b"Bearer ", HeaderError::Token),
            (b"Bearer a b", HeaderError::Token),
            (b"Bearer \xc3\xa4", HeaderError::Token),
        ] {
            assert_eq!(parse(header), Err(expected), "{}", String::from_utf8_lossy(header));
        }
    }

    #[test]
    fn nothing_shows_what_it_hides() {
        let shown = format!("{:?}", parse(b"Basic YWxpY2U6c2VjcmV0"));
        assert!(shown.contains("alice") && !shown.contains("secret"), "{shown}");
        assert!(!format!("{:?}", parse(b"Bearer topsecret")).contains("topsecret"));
    }
}
