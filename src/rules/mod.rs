//! Rules: an operator's settings for some of the series.
//!
//! A rule is a [`Selector`] and some settings. All rules look at the series as it was pushed, including
//! path labels, before any rule has changed it. If several match, the first one wins, *separately for
//! each setting*. So a rule for few series goes before one for many.
//!
//! A push calls [`Rules::for_family`] once per family. The result is empty for a family that no rule is
//! about, and has already decided everything that depends only on the name. It owns what it needs, so
//! it can be kept with the family until the rules change. [`FamilyRules::decide`] then decides for one
//! series.

mod parse;
mod relabel;
mod rule;
mod selector;

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::model::{GaugeRule, Ttl, UntypedRule};

pub use relabel::Relabel;
pub use rule::{RawRule, Rule, RuleProblem, Setting};
pub use selector::{NameMatch, SELECTOR_BYTES_MAX, Selector, SelectorError, SelectorProblem};

/// All rules, in order. Equal if they were written the same. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Rules(Arc<[Rule]>);

/// Which rule cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {number} (match: {selector}): {problem}")]
pub struct RuleError {
    /// Counted from 1.
    pub number: usize,
    pub selector: String,
    pub problem: RuleProblem,
}

/// What the rules decide for one series. `None` leaves it to the hint of the push and the default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Decision<'r> {
    pub gauge: Option<GaugeRule>,
    pub untyped: Option<UntypedRule>,
    pub ttl: Option<Ttl>,
    /// About the series as it is stored; all other settings are about the series as it is pushed.
    pub native_buckets: Option<NonZeroUsize>,
    /// Whether a push of the series needs an idempotency key.
    pub require_key: Option<bool>,
    /// The series is left out of the push.
    pub drop: bool,
    /// The new name of its family.
    pub family: Option<&'r str>,
    pub relabel: Relabel<'r>,
}

/// The rules that can match series of one family.
#[derive(Clone, Debug, Default)]
pub struct FamilyRules {
    rules: Rules,
    /// In order; empty if everything depends only on the name.
    candidates: Box<[Candidate]>,
    /// What was decided by the name alone; not used if there are candidates.
    settled: Picks,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    rule: u32,
    by_labels: bool,
}

/// Which rule decides each setting; indexed by [`Setting`].
#[derive(Clone, Copy, Debug, Default)]
struct Picks([Option<u32>; Setting::ALL.len()]);

// === impl Rules ===

impl Rules {
    /// # Errors
    /// For the first rule that cannot be used. To find all of them, call [`Rule::compile`] for each and
    /// collect the rules.
    pub fn compile(rules: &[RawRule]) -> Result<Rules, RuleError> {
        let compile = |(index, raw): (usize, &RawRule)| {
            Rule::compile(raw).map_err(|problem| RuleError {
                number: index + 1,
                selector: raw.selector.clone(),
                problem,
            })
        };
        rules.iter().enumerate().map(compile).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    pub fn for_family(&self, name: &str) -> FamilyRules {
        let mut candidates = Vec::new();
        let mut settled = Picks::default();
        for (index, rule) in (0..).zip(self.iter()) {
            let by_labels = match rule.selector.matches_name(name) {
                NameMatch::None => continue,
                NameMatch::Every => false,
                NameMatch::ByLabels => true,
            };
            if !by_labels {
                settled.add(index, rule);
            }
            candidates.push(Candidate { rule: index, by_labels });
        }
        if candidates.is_empty() {
            return FamilyRules::default();
        }
        if !candidates.iter().any(|candidate| candidate.by_labels) {
            candidates.clear();
        }
        FamilyRules { rules: self.clone(), candidates: candidates.into(), settled }
    }

    /// Decides for a single series. If there are several of one family, use [`Rules::for_family`].
    pub fn decide(&self, name: &str, labels: &str) -> Decision<'_> {
        let mut picks = Picks::default();
        for (index, rule) in (0..).zip(self.iter()) {
            if rule.selector.matches(name, labels) {
                picks.add(index, rule);
            }
        }
        self.decision(&picks)
    }

    fn decision(&self, picks: &Picks) -> Decision<'_> {
        let raw = |setting: Setting| self.picked(picks, setting).map(|rule| &rule.raw);
        Decision {
            gauge: raw(Setting::Gauge).and_then(|raw| raw.gauge),
            untyped: raw(Setting::Untyped).and_then(|raw| raw.untyped),
            ttl: raw(Setting::Ttl).and_then(|raw| raw.ttl),
            native_buckets: raw(Setting::NativeBuckets).and_then(|raw| raw.native_buckets),
            require_key: raw(Setting::RequireKey).and_then(|raw| raw.require_key),
            drop: raw(Setting::Drop).and_then(|raw| raw.drop).unwrap_or(false),
            family: raw(Setting::Rename).and_then(|raw| raw.rename.as_deref()),
            relabel: Relabel {
                keep: self.picked(picks, Setting::KeepLabels).map(|rule| &rule.keep_labels),
                drop: self.picked(picks, Setting::DropLabels).map(|rule| &rule.drop_labels),
                rename: raw(Setting::RenameLabels).and_then(|raw| raw.rename_labels.as_ref()),
            },
        }
    }

    fn picked(&self, picks: &Picks, setting: Setting) -> Option<&Rule> {
        self.0.get(picks.0[setting as usize]? as usize)
    }
}

impl FromIterator<Rule> for Rules {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Rules {
        Rules(rules.into_iter().collect())
    }
}

impl PartialEq for Rules {
    fn eq(&self, other: &Rules) -> bool {
        self.iter().map(Rule::raw).eq(other.iter().map(Rule::raw))
    }
}

// === impl FamilyRules ===

impl FamilyRules {
    /// Whether no rule is about this family.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The decision for every series of the family, if it does not depend on labels.
    pub fn for_every_series(&self) -> Option<Decision<'_>> {
        self.candidates.is_empty().then(|| self.rules.decision(&self.settled))
    }

    /// `labels` is the canonical text of the series as it was pushed, including path labels.
    pub fn decide(&self, labels: &str) -> Decision<'_> {
        self.rules.decision(&self.picks(labels))
    }

    /// The number (from 1) of the rule that decides `setting` for a series, to explain the decision.
    pub fn deciding_rule(&self, setting: Setting, labels: &str) -> Option<usize> {
        self.picks(labels).0[setting as usize].map(|index| index as usize + 1)
    }

    fn picks(&self, labels: &str) -> Picks {
        if self.candidates.is_empty() {
            return self.settled;
        }
        let mut picks = Picks::default();
        for candidate in &self.candidates {
            let rule = &self.rules.0[candidate.rule as usize];
            if !candidate.by_labels || rule.selector.matches_labels(labels) {
                picks.add(candidate.rule, rule);
            }
        }
        picks
    }
}

impl Picks {
    /// Lets a matching rule decide what no earlier one has decided.
    fn add(&mut self, index: u32, rule: &Rule) {
        for setting in Setting::ALL {
            let pick = &mut self.0[setting as usize];
            if pick.is_none() && rule.sets(setting) {
                *pick = Some(index);
            }
        }
    }
}

#[cfg(test)]
mod tests;
