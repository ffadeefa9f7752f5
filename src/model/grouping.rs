//! The grouping key: the labels in the URL of a push.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::labels::{self, Extent, LabelError};

/// Prometheus adds this label to series that lack it, unless they have an empty one.
pub(super) const INSTANCE: &str = "instance";

/// A sorted set of grouping labels. Their order in the URL does not matter. If pushes add up, an empty
/// value means that the label is absent (merge-semantics 0): it is part of [`Grouping::labels`], to
/// remove a label of the body, but not of the key. If pushes replace, it is a value like any other
/// ([`Grouping::of_group`]).
#[derive(Clone, Default)]
pub struct Grouping {
    labels: Vec<GroupingLabel>,
    key: String,
    keeps_empty: bool,
    number: Option<NonZeroU64>,
}

/// Leaves out the number, which does not describe the key.
impl fmt::Debug for Grouping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Grouping { labels, keeps_empty, .. } = self;
        let mut shown = f.debug_struct("Grouping");
        shown.field("labels", labels).field("keeps_empty", keeps_empty).finish_non_exhaustive()
    }
}

impl PartialEq for Grouping {
    fn eq(&self, other: &Grouping) -> bool {
        self.labels == other.labels && self.keeps_empty == other.keeps_empty
    }
}

impl Eq for Grouping {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupingLabel {
    pub name: Box<str>,
    pub value: Box<str>,
    /// `name="value"` in canonical form; empty if the label counts as absent.
    text: Box<str>,
}

impl Grouping {
    /// If a name is given twice, the last one counts (pushgateway-contract 2).
    ///
    /// # Errors
    /// For empty names and names that start with `__`.
    pub fn new<'a, N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Grouping, LabelError>
    where
        N: Into<Cow<'a, str>>,
        V: Into<Cow<'a, str>>,
    {
        Grouping::with(pairs, false)
    }

    /// By the rules of the Pushgateway (pushgateway-contract 2 and 7): an empty value is part of the
    /// key and of every series, and a series without a label `instance` gets an empty one. So a key
    /// with an empty `instance` is the same as one without: both would have the same series.
    ///
    /// # Errors
    /// As [`Grouping::new`].
    pub fn of_group<'a, N, V>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Grouping, LabelError>
    where
        N: Into<Cow<'a, str>>,
        V: Into<Cow<'a, str>>,
    {
        Grouping::with(pairs, true)
    }

    fn with<'a, N, V>(
        pairs: impl IntoIterator<Item = (N, V)>,
        keeps_empty: bool,
    ) -> Result<Grouping, LabelError>
    where
        N: Into<Cow<'a, str>>,
        V: Into<Cow<'a, str>>,
    {
        let mut labels: Vec<GroupingLabel> = Vec::new();
        for (name, value) in pairs {
            let (name, value) = (name.into(), value.into());
            labels::check_name(&name)?;
            let label = GroupingLabel::new(&name, &value, keeps_empty);
            match labels.binary_search_by(|other| (*other.name).cmp(&name)) {
                Ok(at) => labels[at] = label,
                Err(at) => labels.insert(at, label),
            }
        }
        if keeps_empty {
            labels.retain(|label| !(&*label.name == INSTANCE && label.value.is_empty()));
        }
        let mut key = String::new();
        for label in &labels {
            label.append(&mut key, 0, &mut Extent::default());
        }
        Ok(Grouping { labels, key, keeps_empty, number: None })
    }

    /// The same key with a new [number](Grouping::number). Only for a key that is kept and used again:
    /// otherwise, whatever is remembered by this number would never be used.
    #[must_use]
    pub fn numbered(self) -> Grouping {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Grouping { number: NonZeroU64::new(NEXT.fetch_add(1, Relaxed)), ..self }
    }

    /// Keys with the same number are equal, which saves comparing them. The converse does not hold:
    /// only a key and its clones share a number.
    pub fn number(&self) -> Option<NonZeroU64> {
        self.number
    }

    /// Whether this comes from [`Grouping::of_group`].
    pub fn keeps_empty(&self) -> bool {
        self.keeps_empty
    }

    /// What to check against the limits on labels.
    pub fn extent(&self) -> Extent {
        let mut extent = Extent::default();
        self.labels.iter().for_each(|label| extent.note(&label.name, label.value.len()));
        extent
    }

    /// The labels of a series in this group without labels of its own, as canonical text.
    pub fn series_labels(&self) -> String {
        let mut text = String::new();
        // There is nothing to refuse without labels of its own.
        let _extent = labels::write_canonical(&mut text, &mut [], self);
        text
    }

    pub fn labels(&self) -> &[GroupingLabel] {
        &self.labels
    }

    /// Canonical label text of the key; empty for pushes to plain `/metrics`.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.labels.binary_search_by(|label| (*label.name).cmp(name)).ok()?;
        Some(&self.labels[found].value)
    }
}

impl GroupingLabel {
    fn new(name: &str, value: &str, keeps_empty: bool) -> GroupingLabel {
        let mut text = String::new();
        if keeps_empty || !value.is_empty() {
            labels::open_label(&mut text, 0, name);
            labels::escape_into(&mut text, value);
            text.push('"');
        }
        GroupingLabel { name: name.into(), value: value.into(), text: text.into() }
    }

    pub(super) fn append(&self, out: &mut String, start: usize, extent: &mut Extent) {
        if self.text.is_empty() {
            return;
        }
        extent.note(&self.name, self.value.len());
        if out.len() > start {
            out.push(',');
        }
        out.push_str(&self.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_the_last_of_two_wins() {
        let a = Grouping::new([("job", "j"), ("b", "2"), ("a", "1")]).unwrap();
        let b = Grouping::new([("a", "0"), ("a", "1"), ("b", "2"), ("job", "j")]).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.key(), r#"a="1",b="2",job="j""#);
        assert_eq!(a.get("b"), Some("2"));
        assert_eq!(a.get("c"), None);
    }

    #[test]
    fn an_empty_value_is_no_part_of_the_key() {
        let with = Grouping::new([("job", "j"), ("a", "")]).unwrap();
        assert_eq!(with.key(), r#"job="j""#);
        assert_eq!(with.labels().len(), 2);
    }

    #[test]
    fn a_group_keeps_empty_values_and_says_instance() {
        let group = |pairs: &[(&'static str, &'static str)]| {
            Grouping::of_group(pairs.iter().copied()).unwrap()
        };
        let plain = group(&[("job", "j")]);
        assert_eq!(plain.series_labels(), r#"instance="",job="j""#);
        assert_eq!(plain, group(&[("job", "j"), ("instance", "")]));
        let with = group(&[("job", "j"), ("a", ""), ("instance", "i")]);
        assert_eq!(with.key(), r#"a="",instance="i",job="j""#);
        assert_eq!(with.series_labels(), with.key());
    }

    #[test]
    fn refused_names() {
        assert!(Grouping::new([("", "x")]).is_err());
        assert!(Grouping::new([("__name__", "x")]).is_err());
    }
}
