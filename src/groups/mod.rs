//! Groups that replace: the state of `--mode=pushgateway` (pushgateway-contract 6 to 9).
//!
//! ```text
//! Groups ── key ─▶ Group ── name ─▶ Family ─▶ Series            what was pushed, immutable
//!        ── name ─▶ Name {kind, groups}                          one type per name over all groups
//!        ── labels ─▶ Owner                                      one group per series
//! ```
//!
//! A push is checked against the last two tables, so its cost depends on its size and not on how much
//! is stored. Groups and families are never changed, only replaced. So a reader takes a list of
//! pointers under the lock and follows them after releasing it, and sees all of a push or nothing.
//!
//! What is stored is always consistent: whatever is pushed, scrapers can read the exposition of all
//! groups. There is a single lock, because a push has to be checked against everything.

mod check;
mod family;
mod record;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::exposition::SeriesHasher;
use crate::model::{Grouping, Kind};
pub use check::{Clash, Held, Refused};
pub use family::{Family, Series, Summary, Value, families};
use table::{Names, Owners};

/// A gauge in every group: when it was last pushed to.
pub const PUSH_TIME: &str = "push_time_seconds";
/// A gauge in every group: when a push to it was last refused.
pub const PUSH_FAILURE_TIME: &str = "push_failure_time_seconds";

/// Everything that was pushed under one grouping key.
#[derive(Clone, Debug)]
pub struct Group {
    pub grouping: Arc<Grouping>,
    /// The labels of its bookkeeping series, as canonical text.
    pub labels: Arc<str>,
    /// Sorted by name.
    pub families: Vec<Arc<Family>>,
    pub pushed: Stamp,
    pub failed: Stamp,
}

/// When something last happened to a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds since the Unix epoch; 0 if it never happened.
    pub at_ns: i64,
    /// When this was recorded; for something that never happened, the time of the first push.
    pub noted_ns: i64,
}

impl Stamp {
    /// Seconds since the Unix epoch, as the gauge shows them.
    pub fn seconds(self) -> f64 {
        self.at_ns as f64 / 1e9
    }

    fn now(now_ns: i64) -> Stamp {
        Stamp { at_ns: now_ns, noted_ns: now_ns }
    }
}

impl Group {
    fn new(grouping: Grouping, now_ns: i64) -> Group {
        let never = Stamp { at_ns: 0, noted_ns: now_ns };
        Group {
            labels: grouping.series_labels().into(),
            grouping: Arc::new(grouping),
            families: Vec::new(),
            pushed: never,
            failed: never,
        }
    }

    pub fn family(&self, name: &str) -> Option<&Arc<Family>> {
        let found = self.families.binary_search_by(|family| (*family.name).cmp(name)).ok()?;
        Some(&self.families[found])
    }

    /// False only if a push was refused since the last one that was accepted.
    pub fn last_push_successful(&self) -> bool {
        self.failed.at_ns <= self.pushed.at_ns
    }
}

/// What a push replaces when it is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// PUT: the whole group.
    Group,
    /// POST: the families with the same names.
    Families,
}

impl std::fmt::Debug for GroupPush<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupPush").field("group", &self.grouping.key()).finish_non_exhaustive()
    }
}

/// A push whose body could be read.
pub struct GroupPush<'a> {
    pub grouping: &'a Grouping,
    pub replace: Replace,
    /// From [`families`].
    pub families: Vec<Arc<Family>>,
    /// Why it cannot be stored, as far as can be seen from the body alone.
    pub complaints: &'a [String],
    pub complaints_left_out: usize,
    pub now_ns: i64,
    pub room: Room,
    /// The type of a family that is added up besides the groups: its name is taken.
    pub added_up: &'a dyn Fn(&str) -> Option<Kind>,
}

/// How much may be stored. 0 means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Each group adds [`SERIES_PER_GROUP`] to the pushed series: it exists even if it is empty, or if
    /// all pushes to it failed.
    pub series: usize,
    /// How many names have series.
    pub families: usize,
}

/// The gauges for the times of pushes.
const SERIES_PER_GROUP: usize = 2;

/// A group from another server.
#[derive(Debug)]
pub struct ImportedGroup {
    pub grouping: Grouping,
    /// No two with the same name.
    pub families: Vec<Arc<Family>>,
    pub pushed: Stamp,
    pub failed: Stamp,
}

/// Why a push was not stored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushRefused {
    /// It contradicts itself or what is stored. The group records the failure.
    #[error(transparent)]
    Clash(#[from] Refused),
    /// There are too many series. Nothing has changed.
    #[error("{max} series may be stored (limits.series), and with this push it would be {found}")]
    TooManySeries { max: usize, found: usize },
    /// There are too many families. Nothing has changed.
    #[error(
        "{max} families may be stored (limits.families), and with this push it would be {found}"
    )]
    TooManyFamilies { max: usize, found: usize },
}

/// All groups.
#[derive(Debug)]
pub struct Groups {
    hasher: SeriesHasher,
    /// Our own families, which are shown with the pushed ones.
    own: BTreeMap<&'static str, Kind>,
    /// Whether changes will be collected.
    kept: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<Arc<str>, Arc<Group>>,
    names: Names,
    owners: Owners,
    /// Only used if changes are collected.
    changed: record::Changed,
}

/// How much is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub groups: usize,
    pub families: usize,
    pub series: usize,
}

impl Groups {
    /// `own` are the families that an exposition has besides the pushed ones. `kept` says whether
    /// changes will be [collected](Groups::collect).
    pub fn new(
        hasher: SeriesHasher,
        own: impl IntoIterator<Item = (&'static str, Kind)>,
        kept: bool,
    ) -> Groups {
        Groups { hasher, own: own.into_iter().collect(), kept, state: Mutex::default() }
    }

    /// Pushes must be parsed into an [`Exposition`](crate::model::Exposition) with this hasher.
    pub fn hasher(&self) -> &SeriesHasher {
        &self.hasher
    }

    /// Stores a push, or refuses all of it; then only the failure time of its group changes.
    ///
    /// # Errors
    /// If the push contradicts itself or what is stored, or there is no room.
    pub fn push(&self, push: GroupPush<'_>) -> Result<(), PushRefused> {
        let GroupPush { grouping, replace, now_ns, .. } = push;
        let mut families = push.families;
        // We keep these ourselves, whatever a body says (contract 8).
        families.retain(|family| !matches!(&*family.name, PUSH_TIME | PUSH_FAILURE_TIME));

        let mut state = self.state.lock();
        let before = state.groups.get(grouping.key()).cloned();
        let check = check::Check {
            own: &self.own,
            names: &state.names,
            owners: &state.owners,
            group: before.as_deref(),
            key: grouping.key(),
            replace,
            families: &families,
            added_up: push.added_up,
        };
        let clashes = check.run(push.complaints, push.complaints_left_out);
        let mut group = match &before {
            Some(group) => Group::clone(group),
            None => Group::new(grouping.clone(), now_ns),
        };
        if let Err(refused) = clashes {
            if before.is_none() && state.check_series(push.room, &[], &[], true).is_err() {
                return Err(refused.into());
            }
            group.failed = Stamp::now(now_ns);
            if self.kept {
                state.changed.note(grouping.key(), []);
            }
            state.put(group);
            return Err(refused.into());
        }
        let replaced = replaced(&group, replace, &families);
        state.check_series(push.room, &replaced, &families, before.is_none())?;
        state.check_families(push.room, &replaced, &families)?;
        if self.kept {
            state.changed.note(grouping.key(), replaced.iter().chain(&families));
        }
        state.exchange(grouping.key(), &replaced, &families);
        match replace {
            Replace::Group => group.families = families,
            Replace::Families => merge(&mut group.families, families),
        }
        group.pushed = Stamp::now(now_ns);
        state.put(group);
        Ok(())
    }

    /// Adds a group from another server. Families that contradict what is stored are left out: returns
    /// their names, each with the reason.
    pub fn import(&self, imported: ImportedGroup) -> Vec<(String, String)> {
        let ImportedGroup { grouping, families, pushed, failed } = imported;
        let mut state = self.state.lock();
        let mut group = match state.groups.get(grouping.key()) {
            // With the Pushgateway, a key with an empty `instance` and one without are two groups. Here
            // they are one.
            Some(there) => Group::clone(there),
            None => Group { pushed, failed, ..Group::new(grouping, pushed.noted_ns) },
        };
        let key = group.grouping.clone();
        let mut left_out = Vec::new();
        for family in families {
            if group.family(&family.name).is_some() {
                let reason = format!("the group {{{}}} has it already", key.key());
                left_out.push((family.name.to_string(), reason));
                continue;
            }
            let one = std::slice::from_ref(&family);
            let check = check::Check {
                own: &self.own,
                names: &state.names,
                owners: &state.owners,
                group: Some(&group),
                key: key.key(),
                replace: Replace::Families,
                families: one,
                added_up: &|_| None,
            };
            if let Err(refused) = check.run(&[], 0) {
                left_out.push((family.name.to_string(), refused.to_string()));
                continue;
            }
            state.exchange(key.key(), &[], one);
            merge(&mut group.families, vec![family]);
        }
        if self.kept {
            state.changed.note(key.key(), &group.families);
        }
        state.put(group);
        left_out
    }

    /// While it lives, no push to a group can begin or end, so that names can be compared with others.
    pub fn hold(&self) -> Held<'_> {
        Held::new(&self.own, self.state.lock())
    }

    /// Forgets a group and its bookkeeping; false if there is no such group.
    pub fn delete(&self, key: &str) -> bool {
        let mut state = self.state.lock();
        let Some(group) = state.groups.remove(key) else { return false };
        if self.kept {
            state.changed.note(key, &group.families);
        }
        state.exchange(key, &group.families, &[]);
        true
    }

    /// Forgets all groups; returns how many there were.
    pub fn wipe(&self) -> usize {
        let mut state = self.state.lock();
        let State { groups, mut changed, .. } = std::mem::take(&mut *state);
        if self.kept {
            groups.values().for_each(|group| changed.note(group.grouping.key(), &group.families));
            state.changed = changed;
        }
        groups.len()
    }

    /// All groups as they are now, sorted by key.
    pub fn snapshot(&self) -> Vec<Arc<Group>> {
        self.state.lock().groups.values().cloned().collect()
    }

    pub fn size(&self) -> Size {
        let state = self.state.lock();
        Size { groups: state.groups.len(), families: state.names.len(), series: state.owners.len() }
    }
}

impl State {
    fn put(&mut self, group: Group) {
        match self.groups.get_mut(group.grouping.key()) {
            Some(there) => *there = Arc::new(group),
            None => _ = self.groups.insert(group.grouping.key().into(), Arc::new(group)),
        }
    }

    /// # Errors
    /// If there would be more series than allowed, and more than now.
    fn check_series(
        &self,
        Room { series: max, .. }: Room,
        gone: &[Arc<Family>],
        come: &[Arc<Family>],
        new_group: bool,
    ) -> Result<(), PushRefused> {
        let there = self.owners.len() + self.groups.len() * SERIES_PER_GROUP;
        let new = count(come) + if new_group { SERIES_PER_GROUP } else { 0 };
        let found = (there + new).saturating_sub(count(gone));
        let enough = max > 0 && found > max && found > there;
        if enough { Err(PushRefused::TooManySeries { max, found }) } else { Ok(()) }
    }

    /// # Errors
    /// If there would be more families than allowed, and more than now.
    fn check_families(
        &self,
        Room { families: max, .. }: Room,
        gone: &[Arc<Family>],
        come: &[Arc<Family>],
    ) -> Result<(), PushRefused> {
        let there = self.names.len();
        // All names except those that are removed and in no other group.
        if max == 0 || there + come.len() <= max {
            return Ok(());
        }
        let alone =
            |family: &&Arc<Family>| self.names.get(&family.name).is_some_and(|n| n.groups == 1);
        let has_series = |family: &&Arc<Family>| !family.series.is_empty();
        let leave = gone.iter().filter(has_series).filter(alone);
        let leaving: BTreeSet<&str> = leave.map(|family| &*family.name).collect();
        let is_new = |family: &&Arc<Family>| {
            self.names.get(&family.name).is_none() || leaving.contains(&*family.name)
        };
        let new = come.iter().filter(has_series).filter(is_new).count();
        let found = (there + new).saturating_sub(leaving.len());
        let enough = found > max && found > there;
        if enough { Err(PushRefused::TooManyFamilies { max, found }) } else { Ok(()) }
    }

    /// Removes `gone` from the tables and adds `come`.
    fn exchange(&mut self, key: &str, gone: &[Arc<Family>], come: &[Arc<Family>]) {
        self.owners.claim(key, come);
        self.owners.release(key, gone);
        gone.iter().for_each(|family| self.names.leave(family));
        come.iter().for_each(|family| self.names.enter(family));
    }
}

/// The families of a group that a push replaces.
fn replaced(group: &Group, replace: Replace, families: &[Arc<Family>]) -> Vec<Arc<Family>> {
    match replace {
        Replace::Group => group.families.clone(),
        Replace::Families => {
            families.iter().filter_map(|family| group.family(&family.name)).cloned().collect()
        }
    }
}

/// Both are sorted by name; of two with the same name, the new one stays.
fn merge(families: &mut Vec<Arc<Family>>, new: Vec<Arc<Family>>) {
    for family in new {
        match families.binary_search_by(|there| there.name.cmp(&family.name)) {
            Ok(at) => families[at] = family,
            Err(at) => families.insert(at, family),
        }
    }
}

fn count(families: &[Arc<Family>]) -> usize {
    families.iter().map(|family| family.series.len()).sum()
}

#[cfg(test)]
mod tests;
