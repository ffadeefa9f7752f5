//! Which names need no quotes (formats 3 and 7, "name quoting").

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
pub fn is_legacy_metric_name(name: &str) -> bool {
    is_legacy(name, METRIC_NAME)
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
pub fn is_legacy_label_name(name: &str) -> bool {
    is_legacy(name, LABEL_NAME)
}

fn is_legacy(name: &str, class: u8) -> bool {
    let digit_first = name.as_bytes().first().is_none_or(u8::is_ascii_digit);
    !digit_first && name.bytes().all(|byte| is_name_byte(byte, class))
}

/// Classes of bytes for [`is_name_byte`].
pub const LABEL_NAME: u8 = 1;
pub const METRIC_NAME: u8 = 2;

/// Whether a byte may occur in an unquoted name of the class, after its first character.
#[inline]
pub fn is_name_byte(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'_' {
            classes[byte] = LABEL_NAME | METRIC_NAME;
        }
        byte += 1;
    }
    classes[b':' as usize] = METRIC_NAME;
    classes
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_names() {
        for name in ["a", "_", "A9", "a_b"] {
            assert!(is_legacy_metric_name(name) && is_legacy_label_name(name), "{name}");
        }
        for name in ["", "9a", "a.b", "a-b", "ü", "a b"] {
            assert!(!is_legacy_metric_name(name) && !is_legacy_label_name(name), "{name}");
        }
        assert!(is_legacy_metric_name(":a:b") && !is_legacy_label_name("a:b"));
    }
}
