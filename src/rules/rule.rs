//! One rule, as it is written and as it is applied.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use super::relabel::NameSet;
use super::selector::{Selector, SelectorError};
use crate::model::labels::{self, LabelError};
use crate::model::{GaugeRule, Ttl, UntypedRule};

/// The prefix of our own metrics, which no other may have (DESIGN 5).
const RESERVED_PREFIX: &str = "tallygate_";
/// Histograms and summaries write these in addition to the labels of a series.
const RESERVED_LABELS: [&str; 2] = ["le", "quantile"];

/// A rule as it was written. A setting that is `None` is left to later rules; one that is given but
/// empty (`drop_labels: []`) is decided by this rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawRule {
    /// `match` in the configuration: which series the rule is about.
    pub selector: String,
    pub gauge: Option<GaugeRule>,
    pub untyped: Option<UntypedRule>,
    pub ttl: Option<Ttl>,
    /// How many native histogram buckets to show at most.
    pub native_buckets: Option<NonZeroUsize>,
    /// A push of the series needs an idempotency key.
    pub require_key: Option<bool>,
    /// Leave the series out of the push.
    pub drop: Option<bool>,
    /// The new name of the family.
    pub rename: Option<String>,
    pub drop_labels: Option<Vec<String>>,
    /// All other labels are removed.
    pub keep_labels: Option<Vec<String>>,
    /// Old name to new name.
    pub rename_labels: Option<BTreeMap<String, String>>,
}

/// What a rule can set; also the keys in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setting {
    Gauge,
    Untyped,
    Ttl,
    NativeBuckets,
    RequireKey,
    Drop,
    Rename,
    DropLabels,
    KeepLabels,
    RenameLabels,
}

impl Setting {
    pub const ALL: [Setting; 10] = [
        Setting::Gauge,
        Setting::Untyped,
        Setting::Ttl,
        Setting::NativeBuckets,
        Setting::RequireKey,
        Setting::Drop,
        Setting::Rename,
        Setting::DropLabels,
        Setting::KeepLabels,
        Setting::RenameLabels,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Setting::Gauge => "gauge",
            Setting::Untyped => "untyped",
            Setting::Ttl => "ttl",
            Setting::NativeBuckets => "native_buckets",
            Setting::RequireKey => "require_key",
            Setting::Drop => "drop",
            Setting::Rename => "rename",
            Setting::DropLabels => "drop_labels",
            Setting::KeepLabels => "keep_labels",
            Setting::RenameLabels => "rename_labels",
        }
    }
}

/// Why a rule cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleProblem {
    #[error("match: {0}")]
    Selector(#[from] SelectorError),
    #[error("it sets nothing; give it at least one of {}", words())]
    SetsNothing,
    #[error("rename: the new name is empty")]
    EmptyFamily,
    #[error("rename: {0:?} holds a NUL, which Prometheus cannot read in names")]
    NulInFamily(String),
    #[error("rename: {0:?} is reserved: names starting with \"{RESERVED_PREFIX}\" are our own")]
    ReservedFamily(String),
    #[error("{}: {problem}", setting.word())]
    Label { setting: Setting, problem: LabelError },
    #[error("rename_labels: a label cannot become {0:?}, which histograms and summaries write")]
    ReservedLabel(String),
    #[error("keep_labels and drop_labels exclude each other in one rule; use one of them")]
    KeepAndDrop,
    #[error("rename_labels: {0:?} would be renamed to itself")]
    SameName(String),
    #[error("rename_labels: both {0:?} and {1:?} would become {2:?}")]
    SameTarget(String, String, String),
    #[error("rename_labels: {0:?} is dropped by the same rule, so it cannot be renamed")]
    RenamedButDropped(String),
    #[error("rename_labels: {0:?} would overwrite {1:?}, which keep_labels of the same rule keeps")]
    OverwritesKept(String, String),
}

fn words() -> String {
    Setting::ALL.map(Setting::word).join(", ")
}

/// A rule that is ready to be applied.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) raw: RawRule,
    pub(super) selector: Selector,
    pub(super) drop_labels: NameSet,
    pub(super) keep_labels: NameSet,
}

impl Rule {
    /// # Errors
    /// If the selector is invalid, or the settings contradict each other.
    pub fn compile(raw: &RawRule) -> Result<Rule, RuleProblem> {
        let selector = Selector::parse(&raw.selector)?;
        let rule = Rule {
            selector,
            drop_labels: raw.drop_labels.iter().flatten().collect(),
            keep_labels: raw.keep_labels.iter().flatten().collect(),
            raw: raw.clone(),
        };
        if !Setting::ALL.into_iter().any(|setting| rule.sets(setting)) {
            return Err(RuleProblem::SetsNothing);
        }
        rule.check_family()?;
        rule.check_labels()?;
        Ok(rule)
    }

    /// As it was written.
    pub fn raw(&self) -> &RawRule {
        &self.raw
    }

    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    pub(super) fn sets(&self, setting: Setting) -> bool {
        let raw = &self.raw;
        match setting {
            Setting::Gauge => raw.gauge.is_some(),
            Setting::Untyped => raw.untyped.is_some(),
            Setting::Ttl => raw.ttl.is_some(),
            Setting::NativeBuckets => raw.native_buckets.is_some(),
            Setting::RequireKey => raw.require_key.is_some(),
            Setting::Drop => raw.drop.is_some(),
            Setting::Rename => raw.rename.is_some(),
            Setting::DropLabels => raw.drop_labels.is_some(),
            Setting::KeepLabels => raw.keep_labels.is_some(),
            Setting::RenameLabels => raw.rename_labels.is_some(),
        }
    }

    fn check_family(&self) -> Result<(), RuleProblem> {
        match self.raw.rename.as_deref() {
            Some("") => Err(RuleProblem::EmptyFamily),
            Some(name) if name.contains('\0') => Err(RuleProblem::NulInFamily(name.to_owned())),
            Some(name) if name.starts_with(RESERVED_PREFIX) => {
                Err(RuleProblem::ReservedFamily(name.to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn check_labels(&self) -> Result<(), RuleProblem> {
        let raw = &self.raw;
        for (setting, names) in
            [(Setting::DropLabels, &raw.drop_labels), (Setting::KeepLabels, &raw.keep_labels)]
        {
            for name in names.iter().flatten() {
                check_name(setting, name)?;
            }
        }
        if raw.keep_labels.is_some() && raw.drop_labels.is_some() {
            return Err(RuleProblem::KeepAndDrop);
        }
        let mut sources: BTreeMap<&str, &str> = BTreeMap::new();
        for (old, new) in raw.rename_labels.iter().flatten() {
            self.check_rename(old, new)?;
            if let Some(other) = sources.insert(new, old) {
                let (other, old) = (other.to_owned(), old.clone());
                return Err(RuleProblem::SameTarget(other, old, new.clone()));
            }
        }
        Ok(())
    }

    fn check_rename(&self, old: &str, new: &str) -> Result<(), RuleProblem> {
        let raw = &self.raw;
        check_name(Setting::RenameLabels, old)?;
        check_name(Setting::RenameLabels, new)?;
        if RESERVED_LABELS.contains(&new) {
            return Err(RuleProblem::ReservedLabel(new.to_owned()));
        }
        if old == new {
            return Err(RuleProblem::SameName(old.to_owned()));
        }
        let kept = raw.keep_labels.is_some();
        if self.drop_labels.contains(old) || (kept && !self.keep_labels.contains(old)) {
            return Err(RuleProblem::RenamedButDropped(old.to_owned()));
        }
        // A target that is itself renamed is out of the way.
        let moves = raw.rename_labels.as_ref().is_some_and(|names| names.contains_key(new));
        if self.keep_labels.contains(new) && !moves {
            return Err(RuleProblem::OverwritesKept(old.to_owned(), new.to_owned()));
        }
        Ok(())
    }
}

fn check_name(setting: Setting, name: &str) -> Result<(), RuleProblem> {
    labels::check_name(name).map_err(|problem| RuleProblem::Label { setting, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(change: impl FnOnce(&mut RawRule)) -> RawRule {
        let mut raw = RawRule { selector: "a".into(), ..RawRule::default() };
        change(&mut raw);
        raw
    }

    fn names(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn renames(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
        Some(pairs.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect())
    }

    #[test]
    fn accepted() {
        for raw in [
            rule(|r| r.gauge = Some(GaugeRule::Max)),
            rule(|r| r.drop = Some(false)),
            rule(|r| r.rename = Some("my.name".into())),
            rule(|r| r.drop_labels = names(&[])),
            rule(|r| r.rename_labels = renames(&[("a", "b"), ("b", "a")])),
            rule(|r| {
                r.drop_labels = names(&["instance"]);
                r.rename_labels = renames(&[("pod", "instance")]);
            }),
            rule(|r| {
                r.keep_labels = names(&["a", "b"]);
                r.rename_labels = renames(&[("a", "b"), ("b", "c")]);
            }),
        ] {
            if let Err(problem) = Rule::compile(&raw) {
                panic!("{raw:?}: {problem}");
            }
        }
    }

    #[test]
    fn refused() {
        for (raw, message) in [
            (rule(|r| r.selector = "a{".into()), "match: column 3: expected a label name"),
            (rule(|_| ()), "it sets nothing; give it at least one of gauge, untyped, ttl"),
            (rule(|r| r.rename = Some(String::new())), "rename: the new name is empty"),
            (
                rule(|r| r.rename = Some("a\0".into())),
                "rename: \"a\\0\" holds a NUL, which Prometheus cannot read in names",
            ),
            (rule(|r| r.rename = Some("tallygate_x".into())), "rename: \"tallygate_x\" is res"),
            (rule(|r| r.drop_labels = names(&[""])), "drop_labels: a label name is empty"),
            (rule(|r| r.keep_labels = names(&["__a"])), "keep_labels: label name \"__a\" is res"),
            (
                rule(|r| {
                    r.keep_labels = names(&["a"]);
                    r.drop_labels = names(&["b"]);
                }),
                "keep_labels and drop_labels exclude each other",
            ),
            (
                rule(|r| r.rename_labels = renames(&[("a", "__b")])),
                "rename_labels: label name \"__b\" is reserved",
            ),
            (
                rule(|r| r.rename_labels = renames(&[("a", "le")])),
                "rename_labels: a label cannot become \"le\"",
            ),
            (
                rule(|r| r.rename_labels = renames(&[("a", "a")])),
                "rename_labels: \"a\" would be renamed to itself",
            ),
            (
                rule(|r| r.rename_labels = renames(&[("a", "c"), ("b", "c")])),
                "rename_labels: both \"a\" and \"b\" would become \"c\"",
            ),
            (
                rule(|r| {
                    r.drop_labels = names(&["a"]);
                    r.rename_labels = renames(&[("a", "b")]);
                }),
                "rename_labels: \"a\" is dropped by the same rule",
            ),
            (
                rule(|r| {
                    r.keep_labels = names(&["b"]);
                    r.rename_labels = renames(&[("a", "c")]);
                }),
                "rename_labels: \"a\" is dropped by the same rule",
            ),
            (
                rule(|r| {
                    r.keep_labels = names(&["a", "b"]);
                    r.rename_labels = renames(&[("a", "b")]);
                }),
                "rename_labels: \"a\" would overwrite \"b\"",
            ),
        ] {
            let problem = Rule::compile(&raw).unwrap_err().to_string();
            assert!(problem.starts_with(message), "{problem}\n{message}");
        }
    }
}
