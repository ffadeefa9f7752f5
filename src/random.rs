//! Randomness from the operating system, for secrets and unique names.

/// # Panics
/// If the system has no randomness, like the hash tables of the standard library.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    bytes
}

/// A `UUIDv7` (RFC 9562) for this time, in milliseconds since the Unix epoch.
pub fn uuid7(now_ms: i64) -> String {
    let random = bytes::<10>();
    let time = now_ms.clamp(0, (1 << 48) - 1);
    let digits: String = random[2..].iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{:08x}-{:04x}-7{:03x}-{:x}{}-{}",
        time >> 16,
        time & 0xffff,
        u16::from_le_bytes([random[0], random[1]]) & 0xfff,
        0x8 | random[1] >> 6,
        &digits[..3],
        &digits[3..15],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_the_form_and_the_time() {
        for now_ms in [0, 0x017F_22E2_79B0, (1 << 48) - 1] {
            let text = uuid7(now_ms);
            let parts: Vec<&str> = text.split('-').collect();
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
            assert!(parts[2].starts_with('7') && parts[3].starts_with(['8', '9', 'a', 'b']));
            let time = i64::from_str_radix(&format!("{}{}", parts[0], parts[1]), 16);
            assert_eq!(time, Ok(now_ms));
            assert_ne!(uuid7(now_ms), text);
        }
        assert!(uuid7(-1).starts_with("00000000-0000-7"));
    }
}
