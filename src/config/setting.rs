//! The types of configuration values: how each is read from text, written back, and described.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::config::{Value, ValueKind};

use super::address::{Address, Addresses, ExternalUrl, Origins, RoutePrefix, TelemetryPath};
use crate::model::{GaugeRule, Ttl, UntypedRule};
use crate::units::{ByteSize, Secret, format_duration, parse_duration};

/// The value of one key. Files, variables and flags all boil down to text.
pub(super) trait Setting: Sized {
    /// Stands for the value in help: `--ttl.default=DURATION`.
    const PLACEHOLDER: &'static str;
    /// Shown neither in errors nor by `print-config`.
    const SECRET: bool = false;

    /// # Errors
    /// Says what is wrong and what would be accepted.
    fn parse(text: &str) -> Result<Self, String>;

    /// So that [`Setting::parse`] reads it back.
    fn text(&self) -> String;

    /// As a YAML value.
    fn yaml(&self) -> String {
        self.text()
    }

    /// # Errors
    /// As [`Setting::parse`].
    fn read(value: &Value) -> Result<Self, String> {
        Self::parse(&scalar(value)?)
    }
}

/// # Errors
/// If it is a list or table.
pub(super) fn scalar(value: &Value) -> Result<String, String> {
    match &value.kind {
        ValueKind::Table(_) => Err("one value is expected here, not a table".to_owned()),
        ValueKind::Array(_) => Err("one value is expected here, not a list".to_owned()),
        ValueKind::Nil => Err("it has no value; write one, or remove the line".to_owned()),
        kind => Ok(kind.to_string()),
    }
}

/// The value for a message. Long texts are cut.
pub(super) fn shown(value: &Value) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    let text = match &value.kind {
        ValueKind::Table(_) => return "a table".to_owned(),
        ValueKind::Nil => return "empty".to_owned(),
        ValueKind::Array(values) => {
            return format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(", "));
        }
        kind => kind.to_string(),
    };
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// In double quotes; JSON's escapes are YAML's.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Setting for bool {
    const PLACEHOLDER: &'static str = "true|false";

    fn parse(text: &str) -> Result<bool, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("accepted are true and false".to_owned()),
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Setting for usize {
    const PLACEHOLDER: &'static str = "NUMBER";

    fn parse(text: &str) -> Result<usize, String> {
        let digits = text.replace('_', "");
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err("a whole number is expected, such as 1000 or 1_000_000".to_owned());
        }
        digits.parse().map_err(|_| "it is too large".to_owned())
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Setting for ByteSize {
    const PLACEHOLDER: &'static str = "SIZE";

    fn parse(text: &str) -> Result<ByteSize, String> {
        text.parse()
            .map_err(|error| format!("{error}; a size is written like 4096, 512KiB, 32MiB or 1GB"))
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Setting for Duration {
    const PLACEHOLDER: &'static str = "DURATION";

    fn parse(text: &str) -> Result<Duration, String> {
        parse_duration(text).map_err(|error| {
            format!("{error}; a duration is written like 500ms, 90s, 5m, 1h30m or 7d")
        })
    }

    fn text(&self) -> String {
        format_duration(*self)
    }
}

impl Setting for Ttl {
    const PLACEHOLDER: &'static str = "DURATION";

    fn parse(text: &str) -> Result<Ttl, String> {
        let ttl = Duration::parse(text)?;
        if !ttl.is_zero() && ttl < Duration::from_secs(1) {
            return Err("accepted are 0 (never) and durations of at least 1s".to_owned());
        }
        Ok(Ttl::from_duration(ttl))
    }

    fn text(&self) -> String {
        format_duration(self.duration())
    }
}

impl Setting for Secret {
    const PLACEHOLDER: &'static str = "SECRET";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Secret, String> {
        Ok(Secret::new(text))
    }

    fn text(&self) -> String {
        Secret::HIDDEN.to_owned()
    }

    fn yaml(&self) -> String {
        quoted(&self.text())
    }
}

impl Setting for Addresses {
    const PLACEHOLDER: &'static str = "ADDRESS";

    fn parse(text: &str) -> Result<Addresses, String> {
        Addresses::new(text.split(',').map(str::trim))
    }

    fn text(&self) -> String {
        self.iter().map(Address::as_str).collect::<Vec<_>>().join(",")
    }

    fn yaml(&self) -> String {
        let quoted: Vec<String> = self.iter().map(|address| quoted(address.as_str())).collect();
        format!("[{}]", quoted.join(", "))
    }

    fn read(value: &Value) -> Result<Addresses, String> {
        let ValueKind::Array(values) = &value.kind else {
            return Addresses::parse(&scalar(value)?);
        };
        let texts = values.iter().map(scalar).collect::<Result<Vec<_>, _>>()?;
        Addresses::new(texts.iter().map(String::as_str))
    }
}

impl Setting for Option<Address> {
    const PLACEHOLDER: &'static str = "ADDRESS";

    fn parse(text: &str) -> Result<Option<Address>, String> {
        if text.is_empty() { Ok(None) } else { Address::parse(text).map(Some) }
    }

    fn text(&self) -> String {
        self.as_ref().map_or(String::new(), |address| address.as_str().to_owned())
    }

    fn yaml(&self) -> String {
        quoted(&self.text())
    }
}

impl Setting for Option<ExternalUrl> {
    const PLACEHOLDER: &'static str = "URL";

    fn parse(text: &str) -> Result<Option<ExternalUrl>, String> {
        if text.is_empty() { Ok(None) } else { ExternalUrl::parse(text).map(Some) }
    }

    fn text(&self) -> String {
        self.as_ref().map_or(String::new(), |url| url.as_str().to_owned())
    }

    fn yaml(&self) -> String {
        quoted(&self.text())
    }
}

impl Setting for Option<PathBuf> {
    const PLACEHOLDER: &'static str = "PATH";

    fn parse(text: &str) -> Result<Option<PathBuf>, String> {
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    }

    fn text(&self) -> String {
        // It was made from text.
        self.as_deref().and_then(Path::to_str).unwrap_or_default().to_owned()
    }

    fn yaml(&self) -> String {
        quoted(&self.text())
    }
}

impl Setting for Origins {
    const PLACEHOLDER: &'static str = "ORIGIN";

    fn parse(text: &str) -> Result<Origins, String> {
        Origins::new(text.split(',').map(str::trim).filter(|origin| !origin.is_empty()))
    }

    fn text(&self) -> String {
        self.as_slice().join(",")
    }

    fn yaml(&self) -> String {
        let quoted: Vec<String> = self.as_slice().iter().map(|origin| quoted(origin)).collect();
        format!("[{}]", quoted.join(", "))
    }

    fn read(value: &Value) -> Result<Origins, String> {
        let ValueKind::Array(values) = &value.kind else {
            return Origins::parse(&scalar(value)?);
        };
        let texts = values.iter().map(scalar).collect::<Result<Vec<_>, _>>()?;
        Origins::new(texts.iter().map(String::as_str))
    }
}

impl Setting for RoutePrefix {
    const PLACEHOLDER: &'static str = "PATH";

    fn parse(text: &str) -> Result<RoutePrefix, String> {
        RoutePrefix::parse(text)
    }

    fn text(&self) -> String {
        self.written().to_owned()
    }

    fn yaml(&self) -> String {
        quoted(&self.text())
    }
}

impl Setting for TelemetryPath {
    const PLACEHOLDER: &'static str = "PATH";

    fn parse(text: &str) -> Result<TelemetryPath, String> {
        TelemetryPath::parse(text)
    }

    fn text(&self) -> String {
        self.as_str().to_owned()
    }

    fn yaml(&self) -> String {
        quoted(&self.text())
    }
}

impl Setting for GaugeRule {
    const PLACEHOLDER: &'static str = "last|sum|min|max|mean";

    fn parse(text: &str) -> Result<GaugeRule, String> {
        one_of(GaugeRule::ALL, GaugeRule::word, text)
    }

    fn text(&self) -> String {
        self.word().to_owned()
    }
}

impl Setting for UntypedRule {
    const PLACEHOLDER: &'static str = "sum|last|reject";

    fn parse(text: &str) -> Result<UntypedRule, String> {
        one_of(UntypedRule::ALL, UntypedRule::word, text)
    }

    fn text(&self) -> String {
        self.word().to_owned()
    }
}

pub(super) fn one_of<T: Copy>(
    all: &[T],
    word: fn(T) -> &'static str,
    text: &str,
) -> Result<T, String> {
    all.iter().copied().find(|choice| word(*choice) == text).ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|choice| word(*choice)).collect();
        format!("accepted are {}", and(&words))
    })
}

/// `a, b and c`
pub(super) fn and(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Declares an enum whose values are words of the configuration.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $placeholder:literal {
        $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant),+
        }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant),+];

            pub fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word),+
                }
            }
        }

        impl $crate::config::setting::Setting for $name {
            const PLACEHOLDER: &'static str = $placeholder;

            fn parse(text: &str) -> Result<$name, String> {
                $crate::config::setting::one_of($name::ALL, $name::word, text)
            }

            fn text(&self) -> String {
                self.word().to_owned()
            }
        }
    };
}
pub(super) use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused<T: Setting>(text: &str) -> String {
        match T::parse(text) {
            Ok(_) => panic!("accepted: {text}"),
            Err(reason) => reason,
        }
    }

    #[test]
    fn reasons_say_what_would_do() {
        assert_eq!(refused::<bool>("yes"), "accepted are true and false");
        assert!(refused::<usize>("-1").contains("a whole number is expected"));
        assert!(refused::<usize>("1.5").contains("a whole number is expected"));
        assert_eq!(refused::<usize>("99999999999999999999"), "it is too large");
        assert!(refused::<Duration>("90").starts_with("it has no unit, as in 90s;"));
        assert!(refused::<ByteSize>("1mb").contains("like 4096, 512KiB, 32MiB or 1GB"));
        assert!(refused::<Ttl>("500ms").contains("at least 1s"));
        assert_eq!(refused::<GaugeRule>("avg"), "accepted are last, sum, min, max and mean");
        assert_eq!(refused::<UntypedRule>("avg"), "accepted are sum, last and reject");
    }

    #[test]
    fn numbers_may_be_grouped_and_booleans_capitalised() {
        assert_eq!(usize::parse("1_000_000"), Ok(1_000_000));
        assert_eq!(bool::parse("True"), Ok(true));
    }

    #[test]
    fn strings_are_quoted_for_yaml() {
        assert_eq!(quoted("a\"b\\\n"), r#""a\"b\\\n""#);
        let addresses = Addresses::parse(":1, [::1]:2").unwrap();
        assert_eq!(addresses.yaml(), r#"[":1", "[::1]:2"]"#);
        assert_eq!(Secret::new("x").yaml(), r#""<hidden>""#);
    }
}
