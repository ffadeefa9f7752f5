//! Taking apart canonical label text, as it is stored, and rewriting the names in it.
//!
//! The text comes from [`crate::model::labels`] and is copied verbatim wherever its names can stay as
//! they are. Taking it apart unescapes only what has to be.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use memchr::memmem::Finder;

use super::lines::{Escapes, escape};
use crate::format::escaping::Escaping;
use crate::model::name::is_legacy_label_name;

/// A label, still escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawLabel<'a> {
    /// Without its quotes.
    pub(super) name: &'a [u8],
    /// The name is in quotes, so it may contain escapes.
    pub(super) quoted: bool,
    pub(super) value: &'a [u8],
}

impl<'a> RawLabel<'a> {
    pub(super) fn name(&self) -> Cow<'a, [u8]> {
        if self.quoted { unescaped(self.name) } else { Cow::Borrowed(self.name) }
    }

    pub(super) fn value(&self) -> Cow<'a, [u8]> {
        unescaped(self.value)
    }
}

/// Iterates over the labels of a canonical text.
#[derive(Clone, Debug)]
pub(super) struct RawLabels<'a> {
    rest: &'a [u8],
}

pub(super) fn raw_labels(text: &[u8]) -> RawLabels<'_> {
    RawLabels { rest: text }
}

impl<'a> Iterator for RawLabels<'a> {
    type Item = RawLabel<'a>;

    fn next(&mut self) -> Option<RawLabel<'a>> {
        let (name, quoted, rest) = match self.rest.split_first()? {
            (b'"', rest) => {
                let (name, rest) = until_quote(rest)?;
                (name, true, rest.strip_prefix(b"=\"")?)
            }
            _ => {
                let at = memchr::memchr(b'=', self.rest)?;
                (&self.rest[..at], false, self.rest[at..].strip_prefix(b"=\"")?)
            }
        };
        let (value, rest) = until_quote(rest)?;
        self.rest = rest.strip_prefix(b",").unwrap_or(rest);
        Some(RawLabel { name, quoted, value })
    }
}

/// Splits at the first `"` that is not escaped.
fn until_quote(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some((&text[..at], &text[at + 1..]));
        }
        at += 2;
    }
}

/// Undoes the three escapes (formats 7).
pub(super) fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', text) else {
        return Cow::Borrowed(text);
    };
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(&text[..first]);
    let mut rest = text[first..].iter();
    while let Some(&byte) = rest.next() {
        out.push(match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(&byte) => byte,
                None => b'\\',
            },
            byte => byte,
        });
    }
    Cow::Owned(out)
}

/// Finds a label by a name that needs no quotes.
#[derive(Debug)]
pub(super) struct LabelFinder {
    name: &'static [u8],
    /// A prepared search for `name="`.
    pattern: Finder<'static>,
}

impl LabelFinder {
    /// `pattern` is the name and `="`.
    pub(super) fn new(pattern: &'static str) -> LabelFinder {
        let name = pattern.trim_end_matches("=\"").as_bytes();
        LabelFinder { name, pattern: Finder::new(pattern) }
    }

    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        self.pattern.find(text).is_some() && has_label(text, self.name)
    }
}

/// Whether there is such a label, by a walk over all of them. A value can look like a label
/// (`a="b,le="`), so a hit of the quick search has to be confirmed by this.
pub(super) fn has_label(text: &[u8], name: &[u8]) -> bool {
    raw_labels(text).any(|label| !label.quoted && label.name == name)
}

/// As [`has_label`], for a name that may need quotes.
pub(super) fn has_label_named(labels: &[u8], name: &str) -> bool {
    if is_legacy_label_name(name) {
        return has_label(labels, name.as_bytes());
    }
    let mut quoted = Vec::new();
    escape(&mut quoted, name, Escapes::Quoted);
    raw_labels(labels).any(|label| label.quoted && label.name == quoted)
}

/// Escapes label names by the scheme of a scraper.
#[derive(Debug)]
pub(super) struct Rewriter {
    escaping: Escaping,
    /// `,"` begins a name that needs quotes, or ends a value that ends in a comma.
    quoted: Finder<'static>,
    /// A buffer for the rewritten text.
    text: Vec<u8>,
}

/// The result of rewriting label text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rewritten<'a> {
    Unchanged(&'a [u8]),
    Changed(&'a [u8]),
    /// Two labels would have the same name.
    Impossible,
}

impl Rewriter {
    pub(super) fn new(escaping: Escaping) -> Rewriter {
        Rewriter { escaping, quoted: Finder::new(",\""), text: Vec::new() }
    }

    pub(super) fn rewrite<'a>(&'a mut self, text: &'a [u8]) -> Rewritten<'a> {
        if self.escaping == Escaping::AllowUtf8 || !self.has_quoted_name(text) {
            return Rewritten::Unchanged(text);
        }
        let mut labels: Vec<_> =
            raw_labels(text).map(|label| (self.escaped_name(&label), label.value)).collect();
        labels.sort();
        if labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Rewritten::Impossible;
        }
        self.text.clear();
        for (name, value) in labels {
            if !self.text.is_empty() {
                self.text.push(b',');
            }
            self.text.extend_from_slice(&name);
            self.text.extend_from_slice(b"=\"");
            self.text.extend_from_slice(value);
            self.text.push(b'"');
        }
        Rewritten::Changed(&self.text)
    }

    fn has_quoted_name(&self, text: &[u8]) -> bool {
        text.first() == Some(&b'"')
            || self.quoted.find(text).is_some() && raw_labels(text).any(|label| label.quoted)
    }

    fn escaped_name<'a>(&self, label: &RawLabel<'a>) -> Cow<'a, [u8]> {
        if !label.quoted {
            return Cow::Borrowed(label.name);
        }
        let name = label.name();
        let name = String::from_utf8_lossy(&name);
        Cow::Owned(self.escaping.label_name(&name).into_owned().into_bytes())
    }
}

/// The label sets of one family as a scraper sees them, each once.
///
/// Two texts can only become equal if one is rewritten. So until that happens, hashes are merely
/// collected; from then on, a series whose hash has been seen is left out, and the first one stays. A
/// collision of two different texts in a seeded 64-bit hash is unlikely, cannot be provoked, and would
/// hide one series from one scrape.
#[derive(Debug)]
pub(super) struct SeriesNames {
    rewriter: Rewriter,
    hasher: RandomState,
    noted: Vec<u64>,
    met: Option<HashSet<u64, RandomState>>,
    skipped: bool,
}

impl SeriesNames {
    pub(super) fn new(escaping: Escaping) -> SeriesNames {
        SeriesNames {
            rewriter: Rewriter::new(escaping),
            hasher: RandomState::default(),
            noted: Vec::new(),
            met: None,
            skipped: false,
        }
    }

    pub(super) fn begin_family(&mut self) {
        self.noted.clear();
        self.met = None;
        self.skipped = false;
    }

    /// Takes the label texts of the open family as they are, if no name in them needs quotes and the
    /// escaping is the default one.
    pub(super) fn skip(&mut self, plain: bool) {
        self.skipped = plain && self.rewriter.escaping == Escaping::Underscores;
    }

    /// All label texts of the open family are written as they are.
    #[inline]
    pub(super) fn stay(&self) -> bool {
        self.skipped || self.rewriter.escaping == Escaping::AllowUtf8
    }

    /// The label text to write; `None` if the series has to be left out.
    pub(super) fn series<'a>(&'a mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        if self.stay() {
            return Some(text);
        }
        let (text, changed) = match self.rewriter.rewrite(text) {
            Rewritten::Unchanged(text) => (text, false),
            Rewritten::Changed(text) => (text, true),
            Rewritten::Impossible => return None,
        };
        let hash = self.hasher.hash_one(text);
        if changed || self.met.is_some() {
            let met = self.met.get_or_insert_with(|| self.noted.drain(..).collect());
            met.insert(hash).then_some(text)
        } else {
            self.noted.push(hash);
            Some(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Grouping;
    use crate::model::labels::{Label, pairs, write_canonical};

    fn canonical(labels: &[(&str, &str)]) -> String {
        let mut labels: Vec<_> = labels.iter().map(|(n, v)| Label::raw(*n, *v)).collect();
        let mut out = String::new();
        write_canonical(&mut out, &mut labels, &Grouping::default()).unwrap();
        out
    }

    const ODD: &[(&str, &str)] =
        &[("a", ",\"b=\\\n"), ("b", "x,"), ("c.d", ","), ("e\"\\\n", ",le="), ("z", "")];

    #[test]
    fn labels_are_taken_apart_as_the_model_does() {
        for labels in [ODD, &[], &[("a", "1")], &[("é", "ü")]] {
            let text = canonical(labels);
            let raw: Vec<_> = raw_labels(text.as_bytes())
                .map(|label| (label.name().into_owned(), label.value().into_owned()))
                .collect();
            let model: Vec<_> = pairs(&text)
                .map(|(name, value)| {
                    (name.into_owned().into_bytes(), value.into_owned().into_bytes())
                })
                .collect();
            assert_eq!(raw, model);
        }
        // Iteration ends on malformed text, too.
        for text in
            [&b"a"[..], b"a=", b"a=\"", b"\"a", b"\"a\"", b"a=\"\\", b"=", b",", b"a=\"1\"b"]
        {
            assert!(raw_labels(text).count() <= 1, "{text:?}");
        }
    }

    #[test]
    fn reserved_labels_are_found_and_their_likes_are_not() {
        for (labels, expected) in [
            (&[("le", "1")][..], true),
            (&[("a", "1"), ("le", "1"), ("z", "1")], true),
            (&[("file", "1")], false),
            (&[("le.e", "1")], false),
            (&[("a", "x,le=")], false),
            (&[("a", "le=\"1\"")], false),
            (&[("a.,le=\"", "1")], false),
        ] {
            let text = canonical(labels);
            assert_eq!(LabelFinder::new("le=\"").is_in(text.as_bytes()), expected, "{text}");
            assert_eq!(has_label(text.as_bytes(), b"le"), expected, "{text}");
        }
    }

    #[test]
    fn names_are_escaped_and_sorted_anew() {
        let text =
            canonical(&[("a", "x\"y"), ("b.c", ",\""), ("b_b", "2"), ("zz", "3"), ("é", "4")]);
        for (escaping, expected) in [
            (Escaping::AllowUtf8, &*text),
            (Escaping::Underscores, r#"_="4",a="x\"y",b_b="2",b_c=",\"",zz="3""#),
            (Escaping::Dots, r#"_="4",a="x\"y",b_b="2",b_dot_c=",\"",zz="3""#),
            (Escaping::Values, r#"U___e9_="4",U__b_2e_c=",\"",a="x\"y",b_b="2",zz="3""#),
        ] {
            let mut rewriter = Rewriter::new(escaping);
            let (Rewritten::Unchanged(written) | Rewritten::Changed(written)) =
                rewriter.rewrite(text.as_bytes())
            else {
                panic!("{escaping:?}");
            };
            assert_eq!(std::str::from_utf8(written), Ok(expected));
        }
    }

    #[test]
    fn impossible_labels() {
        let mut rewriter = Rewriter::new(Escaping::Underscores);
        for labels in [[("a.b", "1"), ("a_b", "2")], [("a.b", "1"), ("a/b", "2")]] {
            let text = canonical(&labels);
            assert_eq!(rewriter.rewrite(text.as_bytes()), Rewritten::Impossible);
        }
    }

    #[test]
    fn of_series_that_become_equal_the_first_stays() {
        let written = |texts: &[&str]| {
            let mut names = SeriesNames::new(Escaping::Underscores);
            let mut written = Vec::new();
            for text in texts {
                let text = names.series(text.as_bytes());
                written.push(text.map(|text| String::from_utf8(text.to_vec()).unwrap()));
            }
            written
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            written(&["a_b=\"1\"", "\"a.b\"=\"1\"", "\"a/b\"=\"2\"", "a_b=\"2\"", "a_b=\"3\""]),
            [some("a_b=\"1\""), None, some("a_b=\"2\""), None, some("a_b=\"3\"")]
        );
        // Every family starts afresh.
        let mut names = SeriesNames::new(Escaping::Dots);
        assert!(names.series(b"\"a.b\"=\"1\"").is_some());
        assert!(names.series(b"\"a.b\"=\"1\"").is_none());
        names.begin_family();
        assert!(names.series(b"\"a.b\"=\"1\"").is_some());
    }
}
