//! Groups that replace: the state of `--mode=pushgateway` (pushgateway-contract 6 to 9).
//!
//! ```text
//! Groups ── key ─▶ Group ── name ─▶ Family ─▶ Series            what was pushed, immutable
//!        ── name ─▶ Name {kind, groups}                          one type per name over all groups
//!        ── labels ─▶ Owner                                      one group per series
//! ```
//!
//! A push is checked against the two tables at the bottom, so it costs what it holds and not what is
//! stored. Groups and families are never changed but exchanged, so that a reader takes a list of
//! pointers under the lock and looks at them when it has let go of it: it sees all of a push or
//! nothing.
//!
//! What is stored is consistent at any time: whatever is pushed, an exposition of all groups can be
//! read. There is one lock, because a push has to be checked against everything.

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

/// The gauge that tells when a group was last pushed to, in every group.
pub const PUSH_TIME: &str = "push_time_seconds";
/// The gauge that tells when a push to a group was last refused.
pub const PUSH_FAILURE_TIME: &str = "push_failure_time_seconds";

/// Everything that was pushed under one grouping key.
#[derive(Clone, Debug)]
pub struct Group {
    pub grouping: Arc<Grouping>,
    /// Those of its bookkeeping series: canonical text.
    pub labels: Arc<str>,
    /// In the order of their names.
    pub families: Vec<Arc<Family>>,
    pub pushed: Stamp,
    pub failed: Stamp,
}

/// When something last happened to a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds since the Unix epoch; 0 if it never happened.
    pub at_ns: i64,
    /// When this was noted: for what never happened, the first push.
    pub noted_ns: i64,
}

impl Stamp {
    /// Seconds since the Unix epoch, as its gauge shows them.
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

    /// False only if a push was refused since the last good one.
    pub fn last_push_successful(&self) -> bool {
        self.failed.at_ns <= self.pushed.at_ns
    }
}

/// What a good push replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// PUT: the whole group.
    Group,
    /// POST: the families of the same names.
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
    /// Of [`families`].
    pub families: Vec<Arc<Family>>,
    /// Why it cannot be stored, as far as the body alone tells.
    pub complaints: &'a [String],
    pub complaints_left_out: usize,
    pub now_ns: i64,
    pub room: Room,
    /// The type of a family that is added up beside the groups: its name is taken.
    pub added_up: &'a dyn Fn(&str) -> Option<Kind>,
}

/// How much may be stored. 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Each group counts as [`SERIES_PER_GROUP`] besides those that were pushed: it is there also when
    /// it is empty, or when nothing but failures is known of it.
    pub series: usize,
    /// Names that have series.
    pub families: usize,
}

/// The gauges that tell when it was pushed to.
const SERIES_PER_GROUP: usize = 2;

/// A group that was kept elsewhere.
#[derive(Debug)]
pub struct ImportedGroup {
    pub grouping: Grouping,
    /// One of each name.
    pub families: Vec<Arc<Family>>,
    pub pushed: Stamp,
    pub failed: Stamp,
}

/// Why a push was not stored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushRefused {
    /// It does not go together with itself or with what is stored. The group knows of it.
    #[error(transparent)]
    Clash(#[from] Refused),
    /// There are enough series; nothing has changed.
    #[error("{max} series may be stored (limits.series), and with this push it would be {found}")]
    TooManySeries { max: usize, found: usize },
    /// There are enough families; nothing has changed.
    #[error(
        "{max} families may be stored (limits.families), and with this push it would be {found}"
    )]
    TooManyFamilies { max: usize, found: usize },
}

/// All groups.
#[derive(Debug)]
pub struct Groups {
    hasher: SeriesHasher,
    /// Families that are not pushed but shown with them: ours.
    own: BTreeMap<&'static str, Kind>,
    /// What changes is collected by somebody.
    kept: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<Arc<str>, Arc<Group>>,
    names: Names,
    owners: Owners,
    /// For those that keep records.
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
    /// `own` are the families that an exposition has besides the pushed ones. `kept` tells that
    /// somebody will [`collect`](Groups::collect) what changes.
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

    /// Stores a push, or refuses it whole; then only the failure time of its group changes.
    ///
    /// # Errors
    /// If the push does not fit to what is stored, or there is no room.
    pub fn push(&self, push: GroupPush<'_>) -> Result<(), PushRefused> {
        let GroupPush { grouping, replace, now_ns, .. } = push;
        let mut families = push.families;
        // The bookkeeping is ours, whatever a body says (contract 8).
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

    /// Puts a group of elsewhere in place. What does not go together with what is there is left out:
    /// the names of these families, and why.
    pub fn import(&self, imported: ImportedGroup) -> Vec<(String, String)> {
        let ImportedGroup { grouping, families, pushed, failed } = imported;
        let mut state = self.state.lock();
        let mut group = match state.groups.get(grouping.key()) {
            // The Pushgateway has two groups where only one has an empty `instance` in its key.
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

    /// Lets no push to a group begin or end while it lives, so that names can be compared with others.
    pub fn hold(&self) -> Held<'_> {
        Held::new(&self.own, self.state.lock())
    }

    /// Forgets a group with its bookkeeping; false if there is none.
    pub fn delete(&self, key: &str) -> bool {
        let mut state = self.state.lock();
        let Some(group) = state.groups.remove(key) else { return false };
        if self.kept {
            state.changed.note(key, &group.families);
        }
        state.exchange(key, &group.families, &[]);
        true
    }

    /// Forgets all; how many groups there were.
    pub fn wipe(&self) -> usize {
        let mut state = self.state.lock();
        let State { groups, mut changed, .. } = std::mem::take(&mut *state);
        if self.kept {
            groups.values().for_each(|group| changed.note(group.grouping.key(), &group.families));
            state.changed = changed;
        }
        groups.len()
    }

    /// All groups as they are now, in the order of their keys.
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
    /// If there would be more series than there may be, and than there are.
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
    /// If there would be more families than there may be, and than there are.
    fn check_families(
        &self,
        Room { families: max, .. }: Room,
        gone: &[Arc<Family>],
        come: &[Arc<Family>],
    ) -> Result<(), PushRefused> {
        let there = self.names.len();
        // Each name but those that are in no other group and go.
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

    /// Takes `gone` out of the tables and puts `come` in.
    fn exchange(&mut self, key: &str, gone: &[Arc<Family>], come: &[Arc<Family>]) {
        self.owners.claim(key, come);
        self.owners.release(key, gone);
        gone.iter().for_each(|family| self.names.leave(family));
        come.iter().for_each(|family| self.names.enter(family));
    }
}

/// The families of a group that a push takes the place of.
fn replaced(group: &Group, replace: Replace, families: &[Arc<Family>]) -> Vec<Arc<Family>> {
    match replace {
        Replace::Group => group.families.clone(),
        Replace::Families => {
            families.iter().filter_map(|family| group.family(&family.name)).cloned().collect()
        }
    }
}

/// Both sorted by name; of two with one name, the new one stays.
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
