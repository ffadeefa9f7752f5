//! Removes and renames labels in canonical label text.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::model::Grouping;
use crate::model::labels::{self, Label, RawPair};

/// What to do with the labels of a series: first all except the kept ones are removed, then the dropped
/// ones; then those left are renamed, all at once (`a` to `b` and `b` to `a` swaps them). A label that
/// is renamed to the name of another replaces it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Relabel<'r> {
    pub(super) keep: Option<&'r NameSet>,
    pub(super) drop: Option<&'r NameSet>,
    pub(super) rename: Option<&'r BTreeMap<String, String>>,
}

impl Relabel<'_> {
    /// Whether it changes no series at all.
    pub fn is_identity(&self) -> bool {
        self.keep.is_none()
            && self.drop.is_none_or(NameSet::is_empty)
            && self.rename.is_none_or(BTreeMap::is_empty)
    }

    /// If any of `labels` (canonical text) changes, appends the new canonical text to `out` and returns
    /// true.
    pub fn apply(&self, labels: &str, out: &mut String) -> bool {
        let stays = |pair: &RawPair<'_>| {
            self.keep.is_none_or(|keep| keep.contains(&pair.name))
                && !self.drop.is_some_and(|drop| drop.contains(&pair.name))
        };
        let renamed = |name: &str| self.rename.and_then(|rename| rename.get(name));
        let pairs = labels::raw_pairs(labels);
        if pairs.clone().all(|pair| stays(&pair) && renamed(&pair.name).is_none()) {
            return false;
        }
        let kept = pairs.filter(stays);
        if kept.clone().all(|pair| renamed(&pair.name).is_none()) {
            // Removing labels keeps the order.
            let start = out.len();
            for pair in kept {
                if out.len() > start {
                    out.push(',');
                }
                out.push_str(pair.text);
            }
            return true;
        }
        let mut moved: BTreeMap<Cow<'_, str>, &str> = BTreeMap::new();
        let mut unmoved = Vec::new();
        for pair in kept {
            match renamed(&pair.name) {
                Some(new) => _ = moved.insert(Cow::Borrowed(new.as_str()), pair.value),
                None => unmoved.push((pair.name, pair.value)),
            }
        }
        for (name, value) in unmoved {
            moved.entry(name).or_insert(value);
        }
        let mut written: Vec<Label<'_>> =
            moved.into_iter().map(|(name, value)| Label::escaped(name, value)).collect();
        let result = labels::write_canonical(out, &mut written, &Grouping::default());
        debug_assert!(result.is_ok(), "names are unique, and were checked with the rule");
        true
    }
}

/// A few label names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NameSet(Box<[Box<str>]>);

impl NameSet {
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|own| **own == *name)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<&'a String> for NameSet {
    fn from_iter<I: IntoIterator<Item = &'a String>>(names: I) -> NameSet {
        NameSet(names.into_iter().map(|name| name.as_str().into()).collect())
    }
}
