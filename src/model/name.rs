//! Which names need no quotes (formats 3 and 7, "name quoting").

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
pub fn is_legacy_metric_name(name: &str) -> bool {
    is_legacy(name, true)
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
pub fn is_legacy_label_name(name: &str) -> bool {
    is_legacy(name, false)
}

fn is_legacy(name: &str, colon: bool) -> bool {
    let mut bytes = name.bytes();
    let first =
        bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || (colon && b == b':'));
    first && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || (colon && b == b':'))
}

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
