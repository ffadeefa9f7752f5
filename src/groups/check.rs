//! Checks whether a push is consistent with itself, with the other groups, and with our own metrics
//! (pushgateway-contract 9). Reports all clashes at once.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::family::Family;
use super::table::{Names, Owners};
use super::{Group, PUSH_FAILURE_TIME, PUSH_TIME, Replace, State};
use crate::model::Kind;
use crate::model::labels::value_of;

/// How many clashes are reported one by one.
const CLASHES_MAX: usize = 50;

/// Everything that is wrong with a push, or as much as is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub clashes: Vec<Clash>,
    pub left_out: usize,
}

/// One contradiction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Clash {
    /// Found while reading.
    #[error("{0}")]
    Body(String),
    #[error("metric {name:?} is a {pushed}, but {whose} of this name is a {stored}")]
    Kind { name: String, pushed: Kind, stored: Kind, whose: &'static str },
    #[error("metric {name:?} has the name of the samples of the {kind} {owner:?}")]
    SampleName { name: String, owner: String, kind: Kind },
    #[error("metric {name:?} is {there}, and one name cannot be both added up and replaced")]
    AddedUp { name: String, there: &'static str },
    #[error("series {series} is pushed twice, with the labels of the group added")]
    Twice { series: String },
    #[error("series {series} is in the group {{{group}}} already")]
    Taken { series: String, group: String },
    #[error("series {series} of a {kind} has a label {label:?}, which its samples have themselves")]
    SampleLabel { series: String, kind: Kind, label: &'static str },
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pushed metrics are invalid or inconsistent with existing metrics: ")?;
        for (at, clash) in self.clashes.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            clash.fmt(f)?;
        }
        match self.left_out {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// A push, and what it is checked against.
pub(super) struct Check<'a> {
    pub(super) own: &'a BTreeMap<&'static str, Kind>,
    pub(super) names: &'a Names,
    pub(super) owners: &'a Owners,
    pub(super) group: Option<&'a Group>,
    pub(super) key: &'a str,
    pub(super) replace: Replace,
    /// Sorted by name.
    pub(super) families: &'a [Arc<Family>],
    pub(super) added_up: &'a dyn Fn(&str) -> Option<Kind>,
}

impl Check<'_> {
    pub(super) fn run(&self, complaints: &[String], left_out: usize) -> Result<(), Refused> {
        let mut found = Refused { clashes: Vec::new(), left_out };
        for complaint in complaints {
            found.note(Clash::Body(complaint.clone()));
        }
        for family in self.families.iter().filter(|family| !family.series.is_empty()) {
            self.kind(family, &mut found);
            self.sample_names(family, &mut found);
            self.series(family, &mut found);
        }
        if found.clashes.is_empty() { Ok(()) } else { Err(found) }
    }

    fn kind(&self, family: &Family, found: &mut Refused) {
        if (self.added_up)(&family.name).is_some() {
            let name = family.name.to_string();
            found.note(Clash::AddedUp { name, there: "added up already" });
            return;
        }
        let (stored, whose) = match (self.own.get(&*family.name), self.stored(&family.name)) {
            (Some(&own), _) => (own, "that of the gateway itself"),
            (None, Some(stored)) => (stored, "that of another group"),
            (None, None) => return,
        };
        if stored != family.kind {
            let (name, pushed) = (family.name.to_string(), family.kind);
            found.note(Clash::Kind { name, pushed, stored, whose });
        }
    }

    /// The type of a name that is taken once this push is stored, apart from its own families.
    fn stored(&self, name: &str) -> Option<Kind> {
        let there = self.names.get(name)?;
        let ours = self.goes(name);
        (there.groups > usize::from(ours)).then_some(there.kind)
    }

    /// Whether this push removes a family of this name from the group.
    fn goes(&self, name: &str) -> bool {
        let replaced = self.replace == Replace::Group || self.pushed(name).is_some();
        let there = self.group.and_then(|group| group.family(name));
        replaced && there.is_some_and(|family| !family.series.is_empty())
    }

    fn pushed(&self, name: &str) -> Option<&Family> {
        let at = self.families.binary_search_by(|family| (*family.name).cmp(name)).ok()?;
        Some(&self.families[at])
    }

    /// The type of a name once this push is stored.
    fn after(&self, name: &str) -> Option<Kind> {
        let pushed = self.pushed(name).filter(|family| !family.series.is_empty());
        let bookkeeping = matches!(name, PUSH_TIME | PUSH_FAILURE_TIME).then_some(Kind::Gauge);
        let own = self.own.get(name).copied().or(bookkeeping);
        own.or(pushed.map(|family| family.kind))
            .or_else(|| self.stored(name))
            .or_else(|| (self.added_up)(name))
    }

    fn sample_names(&self, family: &Family, found: &mut Refused) {
        // If the owner of the name was pushed as well, the clash is reported there.
        let pushed = |name: &str| self.pushed(name).is_some_and(|owner| !owner.series.is_empty());
        let owner = |name: &str| self.after(name).filter(|_| !pushed(name));
        sample_names(&family.name, family.kind, |name| self.after(name), owner, found);
    }

    fn series(&self, family: &Family, found: &mut Refused) {
        let mut seen = HashSet::new();
        for series in &family.series {
            let text = || format!("{}{{{}}}", family.name, series.labels);
            if let Some(label) = family.kind.sample_label()
                && series.labels.contains(label)
                && value_of(&series.labels, label).is_some()
            {
                let kind = family.kind;
                found.note(Clash::SampleLabel { series: text(), kind, label });
            }
            if !seen.insert(&*series.labels) {
                found.note(Clash::Twice { series: text() });
            }
            if let Some(owner) = self.owners.owner(family, series)
                && **owner != *self.key
            {
                found.note(Clash::Taken { series: text(), group: owner.to_string() });
            }
        }
    }
}

/// Finds `x_count` next to a histogram `x`, whichever was pushed: `part` returns the type of the family
/// with the name of a sample, `owner` that of a family that might have samples with this name.
fn sample_names(
    name: &str,
    kind: Kind,
    part: impl Fn(&str) -> Option<Kind>,
    owner: impl Fn(&str) -> Option<Kind>,
    found: &mut Refused,
) {
    for suffix in kind.sample_suffixes() {
        let part_name = format!("{name}{suffix}");
        if part(&part_name).is_some() {
            found.note(Clash::SampleName { name: part_name, owner: name.to_owned(), kind });
        }
    }
    for suffix in Kind::Histogram.sample_suffixes() {
        let Some(base) = name.strip_suffix(suffix) else { continue };
        let Some(kind) = owner(base) else { continue };
        if kind.sample_suffixes().contains(suffix) {
            let (name, owner) = (name.to_owned(), base.to_owned());
            found.note(Clash::SampleName { name, owner, kind });
        }
    }
}

/// All groups, while none of them changes.
#[derive(Debug)]
pub struct Held<'g> {
    own: &'g BTreeMap<&'static str, Kind>,
    state: MutexGuard<'g, State>,
}

impl<'g> Held<'g> {
    pub(super) fn new(
        own: &'g BTreeMap<&'static str, Kind>,
        state: MutexGuard<'g, State>,
    ) -> Held<'g> {
        Held { own, state }
    }

    /// Checks that families which are added up may have these names besides the groups.
    ///
    /// # Errors
    /// With all clashes.
    pub fn check<'n>(
        &self,
        families: impl IntoIterator<Item = (&'n str, Kind)>,
    ) -> Result<(), Refused> {
        let mut found = Refused { clashes: Vec::new(), left_out: 0 };
        let kind = |name: &str| {
            let bookkeeping = matches!(name, PUSH_TIME | PUSH_FAILURE_TIME).then_some(Kind::Gauge);
            let own = self.own.get(name).copied().or(bookkeeping);
            own.or_else(|| self.state.names.get(name).map(|name| name.kind))
        };
        for (name, pushed) in families {
            if kind(name).is_some() {
                let name = name.to_owned();
                found.note(Clash::AddedUp { name, there: "in a group, or of the gateway itself" });
            }
            sample_names(name, pushed, kind, kind, &mut found);
        }
        if found.clashes.is_empty() { Ok(()) } else { Err(found) }
    }
}

impl Refused {
    fn note(&mut self, clash: Clash) {
        match self.clashes.len() < CLASHES_MAX {
            true => self.clashes.push(clash),
            false => self.left_out += 1,
        }
    }
}
