//! Label sets as canonical text: `a="x",b="y"`, sorted by name, escaped, no braces.
//!
//! The text *is* the identity of a series within its family (DESIGN 3): it is compared as a whole,
//! stored, and copied into text scrapes. Its rules:
//!
//! - sorted by the bytes of the (unescaped) name, names unique, empty values left out;
//! - `\\`, `\"` and LF (`\n`) are the only escapes in values and quoted names (formats 7);
//! - a name outside `[a-zA-Z_][a-zA-Z0-9_]*` is quoted: `"label.name"="y"`.

use std::borrow::Cow;

use super::grouping::{Grouping, INSTANCE};
use super::name::is_legacy_label_name;

/// One label of a pushed sample, as a parser found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label<'a> {
    /// Unescaped.
    pub name: Cow<'a, str>,
    pub value: Cow<'a, str>,
    /// `value` still has the three escapes above, and no others, so it can be copied as it is.
    pub escaped: bool,
    /// The whole label, if the body has it in canonical form: `name="value"`.
    pub text: Option<&'a str>,
}

impl<'a> Label<'a> {
    pub fn escaped(name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) -> Label<'a> {
        Label { name: name.into(), value: value.into(), escaped: true, text: None }
    }

    /// `text` is the canonical form of `name` and `value`.
    #[inline]
    pub fn canonical(name: &'a str, value: &'a str, text: &'a str) -> Label<'a> {
        let (name, value) = (Cow::Borrowed(name), Cow::Borrowed(value));
        Label { name, value, escaped: true, text: Some(text) }
    }

    pub fn raw(name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) -> Label<'a> {
        Label { name: name.into(), value: value.into(), escaped: false, text: None }
    }
}

/// Why labels are not a valid label set (formats G3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    #[error("label {0:?} is given twice")]
    Duplicate(String),
    #[error("a label name is empty")]
    EmptyName,
    #[error("label name {0:?} is reserved: names must not start with \"__\"")]
    Reserved(String),
    #[error("label name {0:?} is not of the form [a-zA-Z_][a-zA-Z0-9_]*")]
    NotLegacy(String),
    #[error("label name {0:?} holds a NUL, which Prometheus cannot read in names")]
    Nul(String),
}

/// The largest figures seen while writing label sets, to check against the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    pub labels: usize,
    pub name_bytes: usize,
    pub value_bytes: usize,
}

/// Appends the canonical text of `labels` to `out`. Labels of `grouping` replace those with the same
/// name (formats G20), or just remove them if they have an empty value. Sorts `labels`.
pub fn write_canonical(
    out: &mut String,
    labels: &mut [Label<'_>],
    grouping: &Grouping,
) -> Result<Extent, LabelError> {
    if !labels.is_sorted_by(|a, b| a.name < b.name) {
        labels.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = labels.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(LabelError::Duplicate(pair[0].name.to_string()));
        }
    }
    if grouping.keeps_empty() {
        return write_of_group(out, labels, grouping);
    }
    let start = out.len();
    let mut extent = Extent::default();
    let mut fixed = grouping.labels().iter().peekable();
    for label in labels.iter() {
        check_name(&label.name)?;
        while let Some(group) = fixed.next_if(|group| *group.name < *label.name) {
            group.append(out, start, &mut extent);
        }
        if fixed.peek().is_some_and(|group| *group.name == *label.name) || label.value.is_empty() {
            continue;
        }
        extent.note(&label.name, label.value.len());
        if let Some(text) = label.text {
            if out.len() > start {
                out.push(',');
            }
            out.push_str(text);
            continue;
        }
        open_label(out, start, &label.name);
        if label.escaped {
            out.push_str(&label.value);
        } else {
            escape_into(out, &label.value);
        }
        out.push('"');
    }
    for group in fixed {
        group.append(out, start, &mut extent);
    }
    Ok(extent)
}

/// As [`write_canonical`], by the rules of [`Grouping::of_group`]; `labels` are sorted and unique.
fn write_of_group(
    out: &mut String,
    labels: &[Label<'_>],
    grouping: &Grouping,
) -> Result<Extent, LabelError> {
    let start = out.len();
    let mut extent = Extent::default();
    let mut own = labels.iter().peekable();
    let mut fixed = grouping.labels().iter().peekable();
    let mut instance = Some(INSTANCE);
    loop {
        let next_own = own.peek().map(|label| &*label.name);
        let next_fixed = fixed.peek().map(|label| &*label.name);
        let Some(next) = [next_own, next_fixed, instance].into_iter().flatten().min() else {
            return Ok(extent);
        };
        instance = instance.filter(|instance| *instance != next);
        let label = if next_own == Some(next) { own.next() } else { None };
        if let Some(label) = label {
            check_name(&label.name)?;
        }
        if let Some(fixed) = if next_fixed == Some(next) { fixed.next() } else { None } {
            fixed.append(out, start, &mut extent);
        } else if let Some(label) = label {
            extent.note(&label.name, label.value.len());
            open_label(out, start, &label.name);
            match label.escaped {
                true => out.push_str(&label.value),
                false => escape_into(out, &label.value),
            }
            out.push('"');
        } else {
            open_label(out, start, INSTANCE);
            out.push('"');
        }
    }
}

/// Appends one label in canonical form, after a comma if `out` is not empty.
pub fn write_label(out: &mut String, name: &str, value: &str) {
    open_label(out, 0, name);
    escape_into(out, value);
    out.push('"');
}

/// A label name may be any non-empty text that does not start with `__` (formats G3). One with a NUL
/// would fail the whole scrape: Prometheus reads NULs in values and help texts only.
pub fn check_name(name: &str) -> Result<(), LabelError> {
    if name.is_empty() {
        Err(LabelError::EmptyName)
    } else if name.starts_with("__") {
        Err(LabelError::Reserved(name.to_owned()))
    } else if name.as_bytes().contains(&0) {
        Err(LabelError::Nul(name.to_owned()))
    } else {
        Ok(())
    }
}

impl Extent {
    pub(super) fn note(&mut self, name: &str, value_bytes: usize) {
        self.labels += 1;
        self.name_bytes = self.name_bytes.max(name.len());
        self.value_bytes = self.value_bytes.max(value_bytes);
    }
}

/// Writes `,name="`, without the comma if the text begins here, at `start`.
pub(super) fn open_label(out: &mut String, start: usize, name: &str) {
    if out.len() > start {
        out.push(',');
    }
    if is_legacy_label_name(name) {
        out.push_str(name);
    } else {
        out.push('"');
        escape_into(out, name);
        out.push('"');
    }
    out.push_str("=\"");
}

/// Escapes `\`, `"` and LF (formats 7).
pub fn escape_into(out: &mut String, raw: &str) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr3(b'\\', b'"', b'\n', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'"' => "\\\"",
            _ => "\\n",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// Undoes the three escapes; other backslashes stay as they are.
pub fn unescape(text: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'\\', text.as_bytes()) else {
        return Cow::Borrowed(text);
    };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    let mut chars = text[first..].chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some(c @ ('\\' | '"')) => out.push(c),
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}

/// Whether some label name in a canonical text is quoted.
pub fn has_quoted_name(text: &str) -> bool {
    // Within a value, the quote would be escaped.
    text.starts_with('"') || memchr::memmem::find(text.as_bytes(), b",\"").is_some()
}

/// Iterates over the (name, value) pairs of a canonical text, unescaped.
pub fn pairs(text: &str) -> Pairs<'_> {
    Pairs(raw_pairs(text))
}

/// See [`pairs`].
#[derive(Clone, Debug)]
pub struct Pairs<'a>(RawPairs<'a>);

impl<'a> Iterator for Pairs<'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|pair| (pair.name, unescape(pair.value)))
    }
}

/// Iterates over the pairs of a canonical text as they are written, for copying.
pub fn raw_pairs(text: &str) -> RawPairs<'_> {
    RawPairs { rest: text }
}

/// See [`raw_pairs`].
#[derive(Clone, Debug)]
pub struct RawPairs<'a> {
    rest: &'a str,
}

/// One label of a canonical text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPair<'a> {
    /// Unescaped.
    pub name: Cow<'a, str>,
    /// Escaped, without the quotes.
    pub value: &'a str,
    /// Both as written: `name="value"`.
    pub text: &'a str,
}

impl<'a> Iterator for RawPairs<'a> {
    type Item = RawPair<'a>;

    fn next(&mut self) -> Option<RawPair<'a>> {
        let start = self.rest;
        let (name, rest) = match start.strip_prefix('"') {
            Some(quoted) => {
                let end = closing_quote(quoted)?;
                (unescape(&quoted[..end]), quoted[end + 1..].strip_prefix("=\"")?)
            }
            None => {
                let (name, rest) = start.split_once("=\"")?;
                (Cow::Borrowed(name), rest)
            }
        };
        let end = closing_quote(rest)?;
        let (value, rest) = (&rest[..end], &rest[end + 1..]);
        self.rest = rest.strip_prefix(',').unwrap_or(rest);
        Some(RawPair { name, value, text: &start[..start.len() - rest.len()] })
    }
}

/// The value of one label of a canonical text.
pub fn value_of<'a>(text: &'a str, name: &str) -> Option<Cow<'a, str>> {
    pairs(text).find(|(n, _)| n == name).map(|(_, value)| value)
}

/// Offset of the first `"` that is not escaped.
fn closing_quote(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(labels: &[(&str, &str)], grouping: &[(&str, &str)]) -> Result<String, LabelError> {
        let mut labels: Vec<_> = labels.iter().map(|(n, v)| Label::raw(*n, *v)).collect();
        let grouping = Grouping::new(grouping.iter().copied()).unwrap();
        let mut out = String::from("before");
        write_canonical(&mut out, &mut labels, &grouping)?;
        Ok(out["before".len()..].to_owned())
    }

    #[test]
    fn sorted_escaped_quoted_and_without_empty_values() {
        let text = canonical(&[("b", "x\"\\\n"), ("a", "1"), ("e", ""), ("l.n", "ü")], &[]);
        assert_eq!(text.as_deref(), Ok(r#"a="1",b="x\"\\\n","l.n"="ü""#));
        assert_eq!(canonical(&[], &[]).as_deref(), Ok(""));
    }

    #[test]
    fn grouping_labels_win_and_an_empty_one_removes() {
        let body = [("job", "body"), ("z", "1"), ("gone", "x")];
        let text = canonical(&body, &[("job", "path"), ("gone", ""), ("zz", "2"), ("a", "0")]);
        assert_eq!(text.as_deref(), Ok(r#"a="0",job="path",z="1",zz="2""#));
    }

    #[test]
    fn labels_of_a_group_stay_though_empty_and_instance_is_said() {
        let text = |labels: &[(&'static str, &'static str)],
                    group: &[(&'static str, &'static str)]| {
            let mut labels: Vec<_> = labels.iter().map(|(n, v)| Label::raw(*n, *v)).collect();
            let grouping = Grouping::of_group(group.iter().copied()).unwrap();
            let mut out = String::from("before");
            write_canonical(&mut out, &mut labels, &grouping)
                .map(|_| out["before".len()..].to_owned())
        };
        let plain = text(&[("z", ""), ("a", "\"")], &[("job", "j")]);
        assert_eq!(plain.as_deref(), Ok(r#"a="\"",instance="",job="j",z="""#));
        let own = text(&[("instance", "i"), ("job", "body")], &[("job", "j"), ("k", "")]);
        assert_eq!(own.as_deref(), Ok(r#"instance="i",job="j",k="""#));
        let both = text(&[("instance", "body")], &[("instance", "i"), ("job", "j")]);
        assert_eq!(both.as_deref(), Ok(r#"instance="i",job="j""#));
        let refused = text(&[("__x", "1")], &[("job", "j")]);
        assert_eq!(refused, Err(LabelError::Reserved("__x".into())));
    }

    #[test]
    fn refused_labels() {
        let duplicate = canonical(&[("a", "1"), ("b", "2"), ("a", "1")], &[]);
        assert_eq!(duplicate, Err(LabelError::Duplicate("a".into())));
        assert_eq!(canonical(&[("", "1")], &[]), Err(LabelError::EmptyName));
        assert_eq!(canonical(&[("__x", "1")], &[]), Err(LabelError::Reserved("__x".into())));
        assert_eq!(canonical(&[("x\0", "1")], &[]), Err(LabelError::Nul("x\0".into())));
    }

    #[test]
    fn pairs_read_back_what_was_written() {
        let labels = [("a", "1"), ("b", "x\"\\\n,=}"), ("l\".n", "ü")];
        let text = canonical(&labels, &[]).unwrap();
        let read: Vec<_> = pairs(&text).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
        let expected: Vec<_> =
            labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(read, expected);
        assert_eq!(value_of(&text, "b").as_deref(), Some("x\"\\\n,=}"));
        assert_eq!(value_of(&text, "nope"), None);
        assert!(has_quoted_name(&text));
        assert!(has_quoted_name(r#""a.b"="1""#) && !has_quoted_name(r#"a=",\"b",c="""#));
        let copied: Vec<_> = raw_pairs(&text).map(|pair| pair.text).collect();
        assert_eq!(copied.join(","), text);
    }
}
