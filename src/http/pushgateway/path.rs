//! Paths of the Pushgateway (pushgateway-contract 1 and 2). They are percent-decoded before they are
//! split, so an escaped slash splits like any other.
//!
//! Where the Pushgateway redirects (`//`, a slash at the end of `/metrics/`), this does the obvious:
//! slashes in front count as one, and an empty part is an empty value. Nothing is ever redirected,
//! because many clients then lose the push and report success (clients R2).

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::super::grouping::{hex_byte, unescape_name};
use crate::model::exposition::Names;
use crate::model::name::is_legacy_label_name;
use crate::model::{Grouping, LabelError};

/// Why a path does not name a group (400).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupPathError {
    #[error("the path has a percent sign that begins no escape")]
    Escape,
    #[error("the path is not UTF-8")]
    Utf8,
    #[error("odd number of components in label string {0:?}")]
    Odd(String),
    #[error("a job name is required")]
    NoJob,
    #[error("improper label name {0:?}")]
    LabelName(String),
    #[error("invalid base64 encoding of the value of label {0:?}")]
    Base64(String),
    #[error("the value of label {0:?} is not UTF-8")]
    ValueUtf8(String),
    #[error("path: {0}")]
    Label(#[from] LabelError),
}

/// The URL-safe alphabet, without padding, which is removed first.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// The suffix of names whose value is base64.
const SUFFIX: &str = "@base64";

/// Decodes a path.
///
/// # Errors
/// For a percent sign that does not begin an escape, and if the result is not UTF-8.
pub fn decode(path: &str) -> Result<Cow<'_, str>, GroupPathError> {
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            out.push(byte);
            rest = tail;
            continue;
        }
        out.push(tail.get(..2).and_then(hex_byte).ok_or(GroupPathError::Escape)?);
        rest = &tail[2..];
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| GroupPathError::Utf8)
}

/// Parses a decoded path if it is that of a push: `metrics`, `job`, a job and labels.
pub fn group(path: &str) -> Option<Group<'_>> {
    let path = path.strip_prefix("metrics")?.strip_prefix('/')?.trim_start_matches('/');
    let (base64, path) = match path.strip_prefix("job")? {
        path if path.starts_with('/') => (false, &path[1..]),
        path => (true, path.strip_prefix(SUFFIX)?.strip_prefix('/')?),
    };
    let (job, labels) = path.split_once('/').map_or((path, None), |(job, rest)| (job, Some(rest)));
    (!job.is_empty()).then_some(Group { base64, job, labels })
}

/// The parts of a push path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'p> {
    base64: bool,
    job: &'p str,
    /// What follows the slash after the job.
    labels: Option<&'p str>,
}

impl Group<'_> {
    /// The labels of the key, including those with empty values.
    ///
    /// # Errors
    /// If a name or value is invalid.
    pub fn pairs(&self, names: Names) -> Result<Vec<(String, String)>, GroupPathError> {
        let mut parts: Vec<&str> = self.labels.map_or(Vec::new(), |rest| rest.split('/').collect());
        if parts == [""] {
            parts.clear();
        }
        if parts.len() % 2 == 1 {
            return Err(GroupPathError::Odd(self.labels.unwrap_or_default().to_owned()));
        }
        let mut pairs = Vec::with_capacity(parts.len() / 2 + 1);
        for pair in parts.chunks_exact(2) {
            let (name, base64) = match pair[0].strip_suffix(SUFFIX) {
                Some(name) => (name, true),
                None => (pair[0], false),
            };
            pairs.push((label_name(name, names)?, value(name, pair[1], base64)?));
        }
        let job = value("job", self.job, self.base64)?;
        if job.is_empty() {
            return Err(GroupPathError::NoJob);
        }
        // At the end: if two labels have the same name, the last one counts.
        pairs.push(("job".to_owned(), job));
        Ok(pairs)
    }

    /// The grouping key for pushes that replace.
    ///
    /// # Errors
    /// As [`Group::pairs`].
    pub fn grouping(&self, names: Names) -> Result<Grouping, GroupPathError> {
        Ok(Grouping::of_group(self.pairs(names)?)?)
    }
}

fn label_name(name: &str, names: Names) -> Result<String, GroupPathError> {
    let improper = || GroupPathError::LabelName(name.to_owned());
    if name.is_empty() || name.starts_with("__") {
        return Err(improper());
    }
    match names {
        Names::Legacy if is_legacy_label_name(name) => Ok(name.to_owned()),
        Names::Legacy => Err(improper()),
        Names::Utf8 if name == "U__" => Err(improper()),
        Names::Utf8 => Ok(unescape_name(name).unwrap_or_else(|| name.to_owned())),
    }
}

fn value(name: &str, value: &str, base64: bool) -> Result<String, GroupPathError> {
    if !base64 {
        return Ok(value.to_owned());
    }
    let value = value.trim_end_matches('=');
    let digits: Vec<u8> = value.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let bytes = BASE64.decode(digits).map_err(|_| GroupPathError::Base64(name.to_owned()))?;
    String::from_utf8(bytes).map_err(|_| GroupPathError::ValueUtf8(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str, names: Names) -> Result<String, GroupPathError> {
        let decoded = decode(path)?;
        let group = group(&decoded).expect("a push path");
        Ok(group.grouping(names)?.key().to_owned())
    }

    #[track_caller]
    fn accept(path: &str, expected: &str) {
        assert_eq!(key(path, Names::Legacy).as_deref(), Ok(expected), "{path}");
    }

    #[test]
    fn accepted() {
        for path in ["metrics/job/j", "metrics/job/j/", "metrics//job/j", "metrics/job@base64/ag"] {
            accept(path, r#"job="j""#);
        }
        for path in [
            "metrics/job/j/b/2/a/1",
            "metrics/job/j/a/1/b/2",
            "metrics/job/j/a@base64/MQ==/b%40base64/Mg",
            "metrics/job/j/a/0/b/2/a/1",
            "metrics/job/j/job/k/a/1/b/2",
            "metrics/job/j%2Fa/1/b/2",
        ] {
            accept(path, r#"a="1",b="2",job="j""#);
        }
        for path in ["metrics/job/j/a/", "metrics/job/j/a@base64/", "metrics/job/j/a@base64/=="] {
            accept(path, r#"a="",job="j""#);
        }
        accept("metrics/job/j/instance/", r#"job="j""#);
        accept("metrics/job/j/le/%2e%2e", r#"job="j",le="..""#);
        accept("metrics/job/a+b/c/%22%0A%5C%00", "c=\"\\\"\\n\\\\\0\",job=\"a+b\"");
        accept("metrics/job/j/a@base64/YR", r#"a="a",job="j""#);
        accept("metrics/job/j/a@base64/Y%0D%0AQ===", r#"a="a",job="j""#);
        accept("metrics/job/j/a/x@base64", r#"a="x@base64",job="j""#);
        accept("metrics/job/j/a//b/2", r#"a="",b="2",job="j""#);
        accept("metrics/job/j/U__a_2e_b/1", r#"U__a_2e_b="1",job="j""#);
    }

    #[test]
    fn rejected() {
        use GroupPathError::*;
        for (path, error) in [
            ("metrics/job/j/a", Odd("a".into())),
            ("metrics/job/j/a/b/", Odd("a/b/".into())),
            ("metrics/job/a%2Fb", Odd("b".into())),
            ("metrics/job/j/a-b/1", LabelName("a-b".into())),
            ("metrics/job/j/__x/1", LabelName("__x".into())),
            ("metrics/job/j/@base64/x", LabelName(String::new())),
            ("metrics/job/j/a@base64@base64/x", LabelName("a@base64".into())),
            ("metrics/job/j/a@BASE64/x", LabelName("a@BASE64".into())),
            ("metrics/job/j/a@base64/+", Base64("a".into())),
            ("metrics/job/j/a@base64/YWJjZ", Base64("a".into())),
            ("metrics/job/j/a@base64/Y=Q", Base64("a".into())),
            ("metrics/job/j/a@base64/_w", ValueUtf8("a".into())),
            ("metrics/job/j/a/%FF", Utf8),
            ("metrics/job/j/a/%zz", Escape),
            ("metrics/job/j/a/%2", Escape),
            ("metrics/job@base64/=", NoJob),
        ] {
            assert_eq!(key(path, Names::Legacy), Err(error), "{path}");
        }
        for path in ["metrics/job", "metrics/job/", "metrics/jobs/j", "metrics/a/b/job/j", "x"] {
            assert_eq!(group(path), None, "{path}");
        }
    }

    #[test]
    fn escaped_names() {
        for (path, expected) in [
            ("metrics/job/j/U__a_2e_b/1", r#""a.b"="1",job="j""#),
            ("metrics/job/j/U__a_2e_b@base64/MQ", r#""a.b"="1",job="j""#),
            ("metrics/job/j/U___55_____foo__2e__bar/1", r#"U__foo_2e_bar="1",job="j""#),
            ("metrics/job/j/U__a_zz_b/1", r#"U__a_zz_b="1",job="j""#),
            ("metrics/job/j/U__job/1", r#"job="j""#),
            ("metrics/job/j/a.b/1", r#""a.b"="1",job="j""#),
            ("metrics/job/j/%CE%A0/1", "job=\"j\",\"Π\"=\"1\""),
        ] {
            assert_eq!(key(path, Names::Utf8).as_deref(), Ok(expected), "{path}");
        }
        for path in ["metrics/job/j/U__/1", "metrics/job/j/__a/1", "metrics/job/j/U__a_5f__5f_/%FF"]
        {
            assert!(key(path, Names::Utf8).is_err(), "{path}");
        }
    }
}
