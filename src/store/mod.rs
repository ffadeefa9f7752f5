//! All series in memory: which there are, what may come in, what goes.
//!
//! # Locks, in the order they are taken
//!
//! 1. The *gate*, which belongs to [`Commits`]. A push holds it shared from its first look-up to its last
//!    merge. A removal holds it exclusively, for at most [`SLICE`] series at a time. So nothing that a
//!    push has found can vanish before the push is done, and "has it expired?" and "remove it" are one
//!    step.
//! 2. The *structure*. A push that creates anything (series, family, bucket) holds it from its first
//!    check to its last creation. So whatever was checked is still true when it is created, and a
//!    refused push has nothing to undo. A push to known series never takes this lock.
//! 3. One lock per series, for one merge or one reading. Only the lock of the layouts of its family may
//!    be taken under it.
//!
//! Tables, lists and metadata have locks of their own, under which no other is taken. No lock is held
//! while bytes are parsed, encoded or sent.

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
    /// How often series were removed. Only changes while the gate is held exclusively.
    removals: AtomicU64,
    /// Some series has had a time to live. Before that, there is no need to look for expired ones.
    mortal: AtomicBool,
}

/// What only the creation and removal of series touch.
#[derive(Debug, Default)]
struct Structure {
    groups: Groups,
    /// The number of series for each value of the label `job`.
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

/// What there is to know about a push besides its body.
#[derive(Clone, Copy, Debug)]
pub struct PushContext<'a> {
    /// Grouping key, canonical label text.
    pub group: &'a str,
    /// Decides which gauge value is the latest, see [`Stamp`].
    pub stamp: Stamp,
    /// Milliseconds since the Unix epoch, which never fall, not even from one start to the next. New series
    /// count from just before this moment.
    pub now_ms: i64,
    pub limits: StoreLimits,
}

/// How one series of a push is merged, and how long it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub rules: MergeRules,
    pub chosen_by: ChosenBy,
    /// Seconds without a push after which the series may be forgotten; 0 is never.
    pub ttl_s: u32,
}

/// Who has chosen the gauge rule of a push (merge-semantics 1.4). For untyped samples, it is always the
/// operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChosenBy {
    /// Nobody: a known series keeps the rule it was born with.
    #[default]
    Default,
    /// The sender: it must be the rule that the series has.
    Push,
    /// The configuration, which changes the rule of known series, too.
    Operator,
}

impl Default for Store {
    fn default() -> Store {
        Store::new(Arc::default())
    }
}

impl Drop for Store {
    /// Breaks the cycle: a family lists its series, and each of them refers to its family.
    fn drop(&mut self) {
        for family in self.families().iter() {
            family.index.clear();
        }
    }
}

impl Store {
    /// `commits` are shared with all other state that survives restarts, above all the gate.
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

    /// The hasher that the [`Exposition`](crate::model::Exposition) of every push must be made with.
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

    /// Puts a series where everybody finds it, and with a first series its family. `labels` and `hash` are
    /// those of the series.
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

    /// Has the family written again.
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
