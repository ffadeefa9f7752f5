//! What a sender is bound to: labels that each of its pushes must have, with the values it may use.

use super::Grouping;
use super::labels;

/// Label names, each with the values that are allowed for it. There is at least one, and no value is
/// empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelScope(Vec<(String, Vec<String>)>);

/// Why a push is out of scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfScope {
    #[error("the path must have the label {label} with the value {}", .allowed.join(" or "))]
    Missing { label: String, allowed: Vec<String> },
    #[error("label {label} is {value:?}, but may only be {}", .allowed.join(" or "))]
    Value { label: String, value: String, allowed: Vec<String> },
}

impl LabelScope {
    /// `None` if there are no labels, or one without any value that it could have. An empty value does
    /// not count, since it means that a label is absent.
    pub fn new(labels: impl IntoIterator<Item = (String, Vec<String>)>) -> Option<LabelScope> {
        let labels: Vec<_> = labels.into_iter().collect();
        let possible =
            |values: &[String]| !values.is_empty() && !values.iter().any(String::is_empty);
        let sound = !labels.is_empty() && labels.iter().all(|(_, values)| possible(values));
        sound.then_some(LabelScope(labels))
    }

    /// Every bound label must be in the grouping key. Labels of the path override those of the body, so
    /// a body cannot change it. If it were not in the path, it could come from the body.
    ///
    /// # Errors
    /// With the first label that is missing or has another value.
    pub fn check_key(&self, grouping: &Grouping) -> Result<(), OutOfScope> {
        for (label, allowed) in &self.0 {
            match grouping.get(label).filter(|value| !value.is_empty()) {
                None => {
                    let (label, allowed) = (label.clone(), allowed.clone());
                    return Err(OutOfScope::Missing { label, allowed });
                }
                Some(value) => check(label, value, allowed)?,
            }
        }
        Ok(())
    }

    /// For series whose labels were changed after that; `series` is canonical text. A rule of the
    /// operator may remove a bound label, but must not let a sender choose another value.
    ///
    /// # Errors
    /// With the first label that has another value.
    pub fn check_series(&self, series: &str) -> Result<(), OutOfScope> {
        for (name, value) in labels::pairs(series) {
            if let Some((label, allowed)) = self.0.iter().find(|(label, _)| *label == name) {
                check(label, &value, allowed)?;
            }
        }
        Ok(())
    }
}

fn check(label: &str, value: &str, allowed: &[String]) -> Result<(), OutOfScope> {
    if allowed.iter().any(|other| other == value) {
        return Ok(());
    }
    let (label, value) = (label.to_owned(), value.to_owned());
    Err(OutOfScope::Value { label, value, allowed: allowed.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(labels: &[(&str, &[&str])]) -> Option<LabelScope> {
        LabelScope::new(labels.iter().map(|(name, values)| {
            ((*name).to_owned(), values.iter().map(|value| (*value).to_owned()).collect())
        }))
    }

    #[test]
    fn the_path_must_name_what_is_bound() {
        let scope = scope(&[("job", &["checkout"]), ("team", &["a", "b"])]).unwrap();
        for (pairs, error) in [
            (&[("job", "checkout"), ("team", "b")][..], None),
            (&[("team", "a"), ("job", "checkout"), ("instance", "x")], None),
            (
                &[("job", "other"), ("team", "a")],
                Some(r#"label job is "other", but may only be checkout"#),
            ),
            (
                &[("job", "checkout")],
                Some("the path must have the label team with the value a or b"),
            ),
            (
                &[("job", ""), ("team", "a")],
                Some("the path must have the label job with the value checkout"),
            ),
            (&[], Some("the path must have the label job with the value checkout")),
            (
                &[("job", "checkout"), ("team", "A")],
                Some(r#"label team is "A", but may only be a or b"#),
            ),
        ] {
            let grouping = Grouping::new(pairs.iter().copied()).unwrap();
            let found = scope.check_key(&grouping).map_err(|error| error.to_string());
            assert_eq!(found.err().as_deref(), error, "{pairs:?}");
        }
    }

    #[test]
    fn relabelled_series_may_lose_a_label_but_not_change_it() {
        let scope = scope(&[("job", &["a\"b"])]).unwrap();
        for (series, fine) in [
            ("", true),
            (r#"instance="x""#, true),
            (r#"job="a\"b",z="1""#, true),
            (r#"job="a""#, false),
            (r#"a="1",job="""#, false),
        ] {
            assert_eq!(scope.check_series(series).is_ok(), fine, "{series}");
        }
    }

    #[test]
    fn a_scope_binds_something() {
        assert_eq!(scope(&[]), None);
        assert_eq!(scope(&[("job", &[])]), None);
        assert_eq!(scope(&[("job", &["a", ""])]), None);
    }
}
