//! Escapes names for readers that know only the legacy characters (formats 7, "escaping schemes").

use std::borrow::Cow;
use std::fmt::Write;

use crate::model::name::{is_legacy_label_name, is_legacy_metric_name};

/// What to do with a name that has other than legacy characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Escaping {
    /// Write it as it is, in quotes.
    AllowUtf8,
    /// Each other character becomes `_`.
    #[default]
    Underscores,
    /// `.` becomes `_dot_`; `_` and each other character become `__`.
    Dots,
    /// A prefix `U__`, and the code point in place of each other character.
    Values,
}

impl Escaping {
    /// The value of the `escaping` parameter.
    pub fn word(self) -> &'static str {
        match self {
            Escaping::AllowUtf8 => "allow-utf-8",
            Escaping::Underscores => "underscores",
            Escaping::Dots => "dots",
            Escaping::Values => "values",
        }
    }

    pub fn from_word(word: &str) -> Option<Escaping> {
        [Escaping::AllowUtf8, Escaping::Underscores, Escaping::Dots, Escaping::Values]
            .into_iter()
            .find(|escaping| escaping.word() == word)
    }

    /// The name of a family. Suffixes are appended to the result.
    pub fn metric_name(self, name: &str) -> Cow<'_, str> {
        if self == Escaping::AllowUtf8 || is_legacy_metric_name(name) {
            Cow::Borrowed(name)
        } else {
            Cow::Owned(self.escape(name, true))
        }
    }

    /// The name of a label. Unlike the Go library, this escapes colons: they are legal in metric names
    /// only, and a label name that is neither legal nor quoted fails the whole scrape. So does one that
    /// begins with `__` in strict readers, and `__name__` in all of them; such a beginning is reduced
    /// to one `_`.
    pub fn label_name(self, name: &str) -> Cow<'_, str> {
        if self == Escaping::AllowUtf8 || is_legacy_label_name(name) {
            return Cow::Borrowed(name);
        }
        let mut escaped = self.escape(name, false);
        if escaped.starts_with("__") {
            let beginning = escaped.len() - escaped.trim_start_matches('_').len();
            escaped.drain(..beginning - 1);
        }
        Cow::Owned(escaped)
    }

    fn escape(self, name: &str, colon: bool) -> String {
        let mut out = String::with_capacity(name.len() + 8);
        if self == Escaping::Values {
            out.push_str("U__");
        }
        for (at, c) in name.char_indices() {
            let legal = c.is_ascii_alphabetic()
                || c == '_'
                || (colon && c == ':')
                || (c.is_ascii_digit() && at > 0);
            match self {
                Escaping::Dots | Escaping::Values if c == '_' => out.push_str("__"),
                Escaping::Dots if c == '.' => out.push_str("_dot_"),
                _ if legal => out.push(c),
                Escaping::Dots => out.push_str("__"),
                // Writing to a string cannot fail.
                Escaping::Values => _ = write!(out, "_{:x}_", u32::from(c)),
                Escaping::Underscores | Escaping::AllowUtf8 => out.push('_'),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, underscores, dots, values) in [
            ("a.b_c/d", "a_b_c_d", "a_dot_b__c__d", "U__a_2e_b__c_2f_d"),
            ("0abc", "_abc", "__abc", "U___30_abc"),
            ("ü.x", "__x", "___dot_x", "U___fc__2e_x"),
            ("a.b:c", "a_b:c", "a_dot_b:c", "U__a_2e_b:c"),
            ("😀", "_", "__", "U___1f600_"),
            ("a b\n", "a_b_", "a__b__", "U__a_20_b_a_"),
            // Legacy names are left alone, even by `dots`.
            ("a_b:c9", "a_b:c9", "a_b:c9", "a_b:c9"),
        ] {
            assert_eq!(Escaping::Underscores.metric_name(name), underscores);
            assert_eq!(Escaping::Dots.metric_name(name), dots);
            assert_eq!(Escaping::Values.metric_name(name), values);
            assert_eq!(Escaping::AllowUtf8.metric_name(name), name);
        }
    }

    #[test]
    fn labels_have_no_colons() {
        assert_eq!(Escaping::Underscores.label_name("b:c"), "b_c");
        assert_eq!(Escaping::Dots.label_name("b:c"), "b__c");
        assert_eq!(Escaping::Values.label_name("b:c"), "U__b_3a_c");
        assert_eq!(Escaping::AllowUtf8.label_name("b:c"), "b:c");
        assert_eq!(Escaping::Underscores.label_name("b_c"), "b_c");
    }

    /// `__` at the beginning is reserved, and no label may become `__name__`.
    #[test]
    fn labels_do_not_become_reserved() {
        assert_eq!(Escaping::Underscores.label_name("ü.x"), "_x");
        assert_eq!(Escaping::Dots.label_name("0abc"), "_abc");
        assert_eq!(Escaping::Dots.label_name(".x"), "_dot_x");
        assert_eq!(Escaping::Underscores.label_name("üünameüü"), "_name__");
        assert_eq!(Escaping::Underscores.label_name("üü"), "_");
        assert_eq!(Escaping::Values.label_name("ü.x"), "U___fc__2e_x");
    }

    #[test]
    fn words() {
        for word in ["allow-utf-8", "underscores", "dots", "values"] {
            assert_eq!(Escaping::from_word(word).map(Escaping::word), Some(word));
        }
        assert_eq!(Escaping::from_word("Dots"), None);
    }
}
