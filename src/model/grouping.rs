//! The grouping key: the labels that stand in the URL of a push.

use std::borrow::Cow;

use super::labels::{self, Extent, LabelError};

/// A sorted set of grouping labels. Order in the URL does not matter, and an empty value means
/// the label is absent (merge-semantics 0), so it is part of [`Grouping::labels`], where it
/// removes a body label of the same name, but not of the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    labels: Vec<GroupingLabel>,
    key: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupingLabel {
    pub name: Box<str>,
    pub value: Box<str>,
    /// `name="value"` in canonical form; empty where the value is.
    text: Box<str>,
}

impl Grouping {
    /// Of a name given twice, the last one counts (pushgateway-contract 2).
    ///
    /// # Errors
    /// For empty names and names that start with `__`.
    pub fn new<'a, N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Grouping, LabelError>
    where
        N: Into<Cow<'a, str>>,
        V: Into<Cow<'a, str>>,
    {
        let mut labels: Vec<GroupingLabel> = Vec::new();
        for (name, value) in pairs {
            let (name, value) = (name.into(), value.into());
            labels::check_name(&name)?;
            let label = GroupingLabel::new(&name, &value);
            match labels.binary_search_by(|other| (*other.name).cmp(&name)) {
                Ok(at) => labels[at] = label,
                Err(at) => labels.insert(at, label),
            }
        }
        let mut key = String::new();
        for label in &labels {
            label.append(&mut key, 0, &mut Extent::default());
        }
        Ok(Grouping { labels, key })
    }

    pub fn labels(&self) -> &[GroupingLabel] {
        &self.labels
    }

    /// Canonical label text of the key, empty for pushes to plain `/metrics`.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.labels.binary_search_by(|label| (*label.name).cmp(name)).ok()?;
        Some(&self.labels[found].value)
    }
}

impl GroupingLabel {
    fn new(name: &str, value: &str) -> GroupingLabel {
        let mut text = String::new();
        if !value.is_empty() {
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
    fn refused_names() {
        assert!(Grouping::new([("", "x")]).is_err());
        assert!(Grouping::new([("__name__", "x")]).is_err());
    }
}
