//! All series in memory: who is there, what may come in, what goes.
//!
//! # Locks, in the order they are taken
//!
//! 1. The *gate*, which belongs to [`Commits`]. A push holds it shared from its first look-up to its last merge, whoever removes
//!    series takes it exclusively for at most [`SLICE`] of them. So nothing a push has found can
//!    vanish before the push is done, and "is it expired?" and "remove it" are one step.
//! 2. The *structure*. A push that creates anything (series, family, bucket) holds it from its first
//!    check to its last creation. So what was checked is still true when it is done, and a refused
//!    push has nothing to take back. A push to known series never takes it.
//! 3. One lock per series, for one merge or one reading; under it only that of the layouts of its
//!    family.
//!
//! Tables, lists and metadata have locks inside, under which no other is taken. No lock is held while
//! bytes are parsed, encoded or moved.

mod admit;
mod apply;
mod changed;
mod family;
mod group;
mod index;
mod known;
mod remove;
mod restore;
mod series;
mod table;
mod texts;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::merge::{MergeRules, Stamp};
use crate::model::exposition::{PushedSeries, SeriesHasher};
use crate::model::{Kind, labels};
use crate::persistence::Commits;
pub use admit::{AdmitError, LimitError, StoreLimit};
pub use apply::{Admitted, Applied, Plan};
use changed::Changed;
pub use family::{Family, Metadata};
use group::Groups;
use index::Index;
pub use known::Known;
pub use remove::{Removed, SLICE};
pub use restore::Restore;
pub use series::SeriesRef;
use table::Table;

#[derive(Debug)]
pub struct Store {
    hasher: SeriesHasher,
    commits: Arc<Commits>,
    structure: Mutex<Structure>,
    families: Table<Arc<Family>>,
    family_index: Index<Arc<Family>>,
    series: Table<SeriesRef>,
    series_count: AtomicUsize,
    family_count: AtomicUsize,
    changed: Changed,
    /// How often series were removed; changes while the gate is held alone.
    removals: AtomicU64,
    /// Some series have had a time to live; until then nobody need look for expired ones.
    mortal: AtomicBool,
}

/// What only births and removals touch.
#[derive(Debug, Default)]
struct Structure {
    groups: Groups,
    /// By the label `job`: how many series.
    jobs: HashMap<Box<str>, usize>,
}

/// How much the store may hold; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreLimits {
    pub series: usize,
    pub series_per_job: usize,
    pub families: usize,
    /// Different upper bounds in one family, `+Inf` not counted.
    pub bucket_bounds: usize,
}

/// What a push says besides its body.
#[derive(Clone, Copy, Debug)]
pub struct PushContext<'a> {
    /// Grouping key, canonical label text.
    pub group: &'a str,
    /// Decides between gauge values, see [`Stamp`].
    pub stamp: Stamp,
    pub now_ms: i64,
    /// Series that are born count from just before this moment, milliseconds since the Unix epoch;
    /// unlike `now_ms` it never falls, not even from one start to the next.
    pub born_ms: i64,
    pub limits: StoreLimits,
}

/// How one series of a push is to be merged and kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub rules: MergeRules,
    pub chosen_by: ChosenBy,
    /// Seconds without a push after which the series may be forgotten; 0 is never.
    pub ttl_s: u32,
}

/// Who has chosen the gauge rule of a push (merge-semantics 1.4). For untyped samples it is always
/// the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChosenBy {
    /// Nobody: a series that is there goes on by the rule it was born with.
    #[default]
    Default,
    /// Who pushes: it must be the rule of the series.
    Push,
    /// A configured rule, which also changes series that are there.
    Operator,
}

impl Default for Store {
    fn default() -> Store {
        Store::new(Arc::default())
    }
}

impl Drop for Store {
    /// A family lists its series, and each of them holds its family.
    fn drop(&mut self) {
        for family in self.families().iter() {
            family.index.clear();
        }
    }
}

impl Store {
    /// `commits`: what it shares with other lasting state, above all the gate.
    pub fn new(commits: Arc<Commits>) -> Store {
        let hasher = SeriesHasher::default();
        Store {
            commits,
            structure: Mutex::default(),
            families: Table::new(hasher.clone()),
            family_index: Index::new(),
            series: Table::new(hasher.clone()),
            hasher,
            series_count: AtomicUsize::new(0),
            family_count: AtomicUsize::new(0),
            changed: Changed::default(),
            removals: AtomicU64::new(0),
            mortal: AtomicBool::new(false),
        }
    }

    pub fn commits(&self) -> &Arc<Commits> {
        &self.commits
    }

    /// Pushes must be parsed into an [`Exposition`](crate::model::Exposition) with this hasher.
    pub fn hasher(&self) -> &SeriesHasher {
        &self.hasher
    }

    pub fn series_count(&self) -> usize {
        self.series_count.load(Relaxed)
    }

    pub fn family_count(&self) -> usize {
        self.family_count.load(Relaxed)
    }

    /// Series that have changed since the last commit.
    pub fn pending_series(&self) -> usize {
        self.changed.series()
    }

    /// Live families, in the order of their names.
    pub fn families(&self) -> Arc<Vec<Arc<Family>>> {
        self.family_index.snapshot()
    }

    /// The type of a live family.
    pub fn kind_of(&self, name: &str) -> Option<Kind> {
        self.family_named(name).map(|family| family.kind())
    }

    /// Puts a series where everybody finds it, and its family with its first series.
    /// `labels` and `hash` are its own.
    fn link(&self, labels: &str, hash: u64, series: SeriesRef, structure: &mut Structure) {
        structure.groups.add(series.clone());
        let job = job_of(labels);
        match structure.jobs.get_mut(&*job) {
            Some(members) => *members += 1,
            None => _ = structure.jobs.insert(job.into(), 1),
        }
        self.series.insert(hash, series.clone());
        self.series_count.fetch_add(1, Relaxed);
        let family = series.family.clone();
        family.note_birth(labels, series.created_ms());
        family.index.add(series);
        family.note_change();
        if family.live.fetch_add(1, Relaxed) == 0 {
            self.families.insert(family.name_hash(), family.clone());
            self.family_index.add(family);
            self.family_count.fetch_add(1, Relaxed);
        }
    }

    /// The family has to be written anew.
    fn note_changed(&self, family: &Arc<Family>) {
        if self.commits.are_kept() {
            self.changed.note_family(family);
        }
    }

    fn find_family(&self, name: &str, hash: u64) -> Option<Arc<Family>> {
        self.families.find(hash, |family| family.name() == name)
    }

    fn family_named(&self, name: &str) -> Option<Arc<Family>> {
        self.find_family(name, self.hasher.family(name))
    }

    fn find_series(&self, family: &Arc<Family>, pushed: &PushedSeries<'_>) -> Option<SeriesRef> {
        self.series.find(pushed.hash, |series| series.is(family, pushed.labels))
    }
}

fn job_of(labels: &str) -> Cow<'_, str> {
    labels::value_of(labels, "job").unwrap_or_default()
}

/// Whole seconds since the Unix epoch; good until 2106.
pub fn seconds(now_ms: i64) -> u32 {
    u32::try_from(now_ms / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests;
