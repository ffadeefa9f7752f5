//! All series in memory: who is there, what may come in, what goes.
//!
//! # Locks, in the order they are taken
//!
//! 1. The *gate*. A push holds it shared from its first look-up to its last merge, whoever removes
//!    series takes it exclusively for at most [`SLICE`] of them. So nothing a push has found can
//!    vanish before the push is done, and "is it expired?" and "remove it" are one step.
//! 2. The *structure*. A push that creates anything (series, family, bucket) holds it from its first
//!    check to its last creation. So what was checked is still true when it is done, and a refused
//!    push has nothing to take back. A push to known series never takes it.
//! 3. One lock per series, for one merge or one reading.
//!
//! No lock is held while bytes are parsed, encoded or moved.

mod index;
mod remove;
mod series;
mod table;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hashbrown::HashTable;
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};

use crate::merge::{self, MergeRules, Refusal, Stamp, State};
use crate::model::exposition::{PushedFamily, PushedSeries, SeriesHasher};
use crate::model::{Exposition, GaugeRule, Kind, SeriesId, UntypedRule, labels};
use index::Index;
pub use remove::{Removed, SLICE};
use series::Birth;
pub use series::{Family, Metadata, SeriesRef};
use table::Table;

#[derive(Debug)]
pub struct Store {
    hasher: SeriesHasher,
    gate: RwLock<()>,
    structure: Mutex<Structure>,
    families: Table<Arc<Family>>,
    family_index: Index<Arc<Family>>,
    series: Table<SeriesRef>,
    series_count: AtomicUsize,
    family_count: AtomicUsize,
}

/// What only births and removals touch.
#[derive(Debug, Default)]
struct Structure {
    /// By grouping key: the series born under it.
    groups: HashMap<Arc<str>, Vec<SeriesRef>>,
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
    pub limits: StoreLimits,
}

/// How one series of a push is to be merged and kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub rules: MergeRules,
    /// The gauge rule comes from the operator (those for untyped samples always do), so it
    /// overrides what the series had.
    pub by_operator: bool,
    /// Seconds without a push after which the series may be forgotten; 0 is never.
    pub ttl_s: u32,
}

/// Why a push is not let in. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AdmitError {
    #[error("family {family} is {stored} here, but the push says {pushed}")]
    Kind { family: String, stored: Kind, pushed: Kind },
    #[error("family {family} has the unit {stored:?} here, but the push says {pushed:?}")]
    Unit { family: String, stored: String, pushed: String },
    #[error("family {family} would bear the name of a sample of the {kind} {owner}")]
    NameTaken { family: String, owner: String, kind: Kind },
    #[error("series {series}: {refusal}")]
    Refused { family: String, series: String, refusal: Refusal },
    #[error("{}", .0.sentence())]
    Limit(LimitError),
}

/// A limit of the store that a push would pass (429).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitError {
    pub limit: StoreLimit,
    pub max: usize,
    /// The job or family concerned, where it is one.
    pub of: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreLimit {
    Series,
    SeriesPerJob,
    Families,
    BucketBounds,
}

impl LimitError {
    fn sentence(&self) -> String {
        let LimitError { limit, max, of } = self;
        match limit {
            StoreLimit::Series => format!("the push would pass the limit of {max} series"),
            StoreLimit::SeriesPerJob => {
                format!("the push would pass the limit of {max} series for job {of:?}")
            }
            StoreLimit::Families => format!("the push would pass the limit of {max} families"),
            StoreLimit::BucketBounds => {
                format!("the push would pass the limit of {max} bucket bounds in family {of}")
            }
        }
    }
}

impl Default for Store {
    fn default() -> Store {
        Store {
            hasher: SeriesHasher::default(),
            gate: RwLock::default(),
            structure: Mutex::default(),
            families: Table::new(),
            family_index: Index::new(),
            series: Table::new(),
            series_count: AtomicUsize::new(0),
            family_count: AtomicUsize::new(0),
        }
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

/// The proof that a push may be applied. It holds the locks that keep it true.
#[derive(Debug)]
pub struct Admitted<'s, 'e, T> {
    store: &'s Store,
    exposition: &'e Exposition,
    context: PushContext<'e>,
    terms: T,
    /// The series of the exposition in order; `None` is to be born.
    plan: Vec<Option<SeriesRef>>,
    structure: Option<MutexGuard<'s, Structure>>,
    _gate: RwLockReadGuard<'s, ()>,
}

/// What applying a push has created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub series_merged: usize,
    pub series_born: usize,
}

impl Store {
    /// Pushes must be parsed into an [`Exposition`] with this hasher.
    pub fn hasher(&self) -> &SeriesHasher {
        &self.hasher
    }

    pub fn series_count(&self) -> usize {
        self.series_count.load(Relaxed)
    }

    pub fn family_count(&self) -> usize {
        self.family_count.load(Relaxed)
    }

    /// Live families, in the order of their names.
    pub fn families(&self) -> Arc<Vec<Arc<Family>>> {
        self.family_index.snapshot()
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

    /// Checks a whole push against what is stored and reserves what it needs; changes nothing.
    /// `terms` tells how each series merges.
    ///
    /// # Errors
    /// If any part of it cannot be merged or would pass a limit.
    pub fn admit<'s, 'e, T>(
        &'s self,
        exposition: &'e Exposition,
        context: PushContext<'e>,
        terms: T,
    ) -> Result<Admitted<'s, 'e, T>, AdmitError>
    where
        T: Fn(&PushedSeries<'_>) -> Terms,
    {
        let gate = self.gate.read();
        let mut plan = Vec::with_capacity(exposition.series_len());
        let mut structure = None;
        if !self.survey(exposition, &terms, &mut plan)? {
            // Something is new. Look again where nobody else can create anything.
            let guard = self.structure.lock();
            plan.clear();
            if !self.survey(exposition, &terms, &mut plan)? {
                self.check_births(exposition, &terms, &context.limits, &plan, &guard)?;
            }
            structure = Some(guard);
        }
        Ok(Admitted { store: self, exposition, context, terms, plan, structure, _gate: gate })
    }

    /// Looks everything up and checks each value. True if nothing has to be created.
    fn survey<T>(
        &self,
        exposition: &Exposition,
        terms: &T,
        plan: &mut Vec<Option<SeriesRef>>,
    ) -> Result<bool, AdmitError>
    where
        T: Fn(&PushedSeries<'_>) -> Terms,
    {
        let mut complete = true;
        let mut current = None;
        for pushed in exposition.series() {
            let (_, family, stored) = match &current {
                Some(known @ (id, _, _)) if *id == pushed.family => known,
                _ => {
                    let family = exposition.family(pushed.family);
                    let stored = self.find_family(family.name, family.hash);
                    if let Some(stored) = &stored {
                        complete &= joins(stored, &family)?;
                    }
                    current.insert((pushed.family, family, stored))
                }
            };
            let refuse = |refusal| refused(family, &pushed, refusal);
            let Terms { rules, by_operator, .. } = terms(&pushed);
            let kind = match stored {
                Some(stored) => joined(stored, family, rules.untyped)?,
                None => family.kind,
            };
            merge::check(kind, &pushed, rules).map_err(refuse)?;
            let series = stored.as_ref().and_then(|stored| self.find_series(stored, &pushed));
            match &series {
                None => complete = false,
                Some(series) => {
                    let state = series.state.lock();
                    complete &= state.knows(&pushed).map_err(refuse)?;
                    let held = state.gauge_rule();
                    if let Some(asked) = rule_of(kind, rules).filter(|asked| *asked != held)
                        && !by_operator
                        && matches!(kind, Kind::Gauge | Kind::GaugeHistogram)
                    {
                        return Err(refuse(Refusal::OtherRule { stored: held, asked }));
                    }
                }
            }
            plan.push(series);
        }
        Ok(complete)
    }

    /// Checks what only matters for new families, series and buckets.
    fn check_births<T>(
        &self,
        exposition: &Exposition,
        terms: &T,
        limits: &StoreLimits,
        plan: &[Option<SeriesRef>],
        structure: &Structure,
    ) -> Result<(), AdmitError>
    where
        T: Fn(&PushedSeries<'_>) -> Terms,
    {
        let families = self.check_names(exposition)?;
        let over =
            |max: usize, held: usize, births: usize| max > 0 && births > 0 && held + births > max;
        if over(limits.families, self.family_count(), families) {
            return Err(limit(StoreLimit::Families, limits.families, String::new()));
        }
        let newborn = newborn(exposition, plan, terms)?;
        if over(limits.series, self.series_count(), newborn.len()) {
            return Err(limit(StoreLimit::Series, limits.series, String::new()));
        }
        if limits.series_per_job > 0 {
            let mut jobs: HashMap<Box<str>, usize> = HashMap::new();
            for pushed in newborn.iter().filter_map(|&id| exposition.get(id)) {
                *jobs.entry(job_of(pushed.labels)).or_default() += 1;
            }
            for (job, births) in jobs {
                let held = structure.jobs.get(&job).copied().unwrap_or(0);
                if over(limits.series_per_job, held, births) {
                    return Err(limit(StoreLimit::SeriesPerJob, limits.series_per_job, job.into()));
                }
            }
        }
        if limits.bucket_bounds > 0 {
            self.check_bounds(exposition, limits.bucket_bounds)?;
        }
        Ok(())
    }

    /// How many families are new. None of them may meet another of its name in the same push.
    fn check_names(&self, exposition: &Exposition) -> Result<usize, AdmitError> {
        let mut pushed: HashMap<&str, Kind> = HashMap::new();
        let mut new = Vec::new();
        for family in exposition.families().filter(|family| family.series > 0) {
            let twin = pushed.insert(family.name, family.kind);
            if self.find_family(family.name, family.hash).is_none() {
                if let Some(stored) = twin {
                    let (family, pushed) = (family.name.to_owned(), family.kind);
                    return Err(AdmitError::Kind { family, stored, pushed });
                }
                new.push(family);
            }
        }
        for family in &new {
            self.check_name(&pushed, family)?;
        }
        Ok(new.len())
    }

    /// A new family must not bear the name of another family's sample lines, nor the reverse
    /// (formats 3, "suffix logic").
    fn check_name(
        &self,
        pushed: &HashMap<&str, Kind>,
        family: &PushedFamily<'_>,
    ) -> Result<(), AdmitError> {
        let taken = |family: &str, owner: &str, kind| AdmitError::NameTaken {
            family: family.to_owned(),
            owner: owner.to_owned(),
            kind,
        };
        for suffix in family.kind.sample_suffixes() {
            let sample = format!("{}{suffix}", family.name);
            if self.family_named(&sample).is_some() || pushed.contains_key(&*sample) {
                return Err(taken(&sample, family.name, family.kind));
            }
        }
        for suffix in Kind::Histogram.sample_suffixes() {
            let Some(base) = family.name.strip_suffix(suffix) else { continue };
            let stored = self.family_named(base).map(|owner| owner.kind());
            for kind in stored.into_iter().chain(pushed.get(base).copied()) {
                if kind.sample_suffixes().contains(suffix) {
                    return Err(taken(family.name, base, kind));
                }
            }
        }
        Ok(())
    }

    fn check_bounds(&self, exposition: &Exposition, max: usize) -> Result<(), AdmitError> {
        let mut unions: HashMap<&str, Vec<f64>> = HashMap::new();
        for pushed in exposition.series() {
            let Some(histogram) =
                merge::histogram::PushedHistogram::of(pushed.value, pushed.exemplars)
            else {
                continue;
            };
            let family = exposition.family(pushed.family);
            let union = unions.entry(family.name).or_insert_with(|| {
                let stored = self.find_family(family.name, family.hash);
                stored.map_or_else(Vec::new, |stored| stored.bounds_with(&[]))
            });
            let known =
                |bound: f64| union.binary_search_by(|other| other.total_cmp(&bound)).is_ok();
            if histogram.bounds().all(known) {
                continue;
            }
            *union = merge::histogram::union(union, histogram.bounds());
            if union.len() > max {
                return Err(limit(StoreLimit::BucketBounds, max, family.name.to_owned()));
            }
        }
        Ok(())
    }
}

impl<T> Admitted<'_, '_, T>
where
    T: Fn(&PushedSeries<'_>) -> Terms,
{
    /// Merges the push. Cannot fail: everything that could was checked, and the locks still hold.
    pub fn apply(mut self) -> Applied {
        let mut applied = Applied::default();
        let plan = std::mem::take(&mut self.plan);
        let mut families = Families { last: None };
        for (pushed, known) in self.exposition.series().zip(plan) {
            let terms = (self.terms)(&pushed);
            let family = families.of(&pushed, &self);
            // Two series of one push may have become one by relabelling.
            match known.or_else(|| self.store.find_series(&family, &pushed)) {
                Some(series) => self.merge(&series, &family, &pushed, terms),
                None => {
                    self.bear(&family, &pushed, terms);
                    applied.series_born += 1;
                }
            }
            applied.series_merged += 1;
        }
        applied
    }

    fn merge(&self, series: &SeriesRef, family: &Family, pushed: &PushedSeries<'_>, terms: Terms) {
        let mut state = series.state.lock();
        if self.structure.is_some()
            && let Some(bounds) = state.grown(pushed)
        {
            state.grow(family.layout(&bounds));
        }
        if let Some(rule) = rule_of(family.kind(), terms.rules)
            && state.gauge_rule() != rule
        {
            state.change_rule(rule);
        }
        state.merge(pushed, self.context.stamp);
        series.touch(seconds(self.context.now_ms), terms.ttl_s);
    }

    /// Creates a series with its first value, and its family with its first series: before they are
    /// whole, no scrape may meet them.
    fn bear(&mut self, family: &Arc<Family>, pushed: &PushedSeries<'_>, terms: Terms) {
        let series = SeriesRef::new(Birth {
            family: family.clone(),
            group: self.group(),
            labels: pushed.labels,
            hash: pushed.hash,
            // The series counts from just before its first push.
            created_ms: self.context.now_ms - 1,
            state: State::new(family.kind(), terms.rules, &pushed.value),
        });
        self.merge(&series, family, pushed, terms);

        let structure = self.structure();
        let members = structure.groups.entry(series.group.clone()).or_default();
        series.set_group_slot(members.len());
        members.push(series.clone());
        *structure.jobs.entry(job_of(pushed.labels)).or_default() += 1;
        let store = self.store;
        store.series.insert(series.clone());
        store.series_count.fetch_add(1, Relaxed);
        family.index.add(series);
        if family.live.fetch_add(1, Relaxed) == 0 {
            store.families.insert(family.clone());
            store.family_index.add(family.clone());
            store.family_count.fetch_add(1, Relaxed);
        }
    }

    /// The grouping key, as other series of the group have it.
    fn group(&mut self) -> Arc<str> {
        let group = self.context.group;
        let known = self.structure().groups.get_key_value(group).map(|(key, _)| key.clone());
        known.unwrap_or_else(|| group.into())
    }

    fn structure(&mut self) -> &mut Structure {
        self.structure.as_mut().expect("births are admitted under this lock only")
    }
}

/// The family of the series at hand, new if it has no series yet. One look-up for each run of series
/// of one family.
struct Families {
    last: Option<(crate::model::FamilyId, Arc<Family>)>,
}

impl Families {
    fn of<T>(&mut self, series: &PushedSeries<'_>, admitted: &Admitted<'_, '_, T>) -> Arc<Family>
    where
        T: Fn(&PushedSeries<'_>) -> Terms,
    {
        if let Some((id, family)) = &self.last
            && *id == series.family
        {
            return family.clone();
        }
        let pushed = admitted.exposition.family(series.family);
        let family = admitted
            .store
            .find_family(pushed.name, pushed.hash)
            .unwrap_or_else(|| Arc::new(Family::new(pushed.name, pushed.hash, pushed.kind)));
        adopt_metadata(&family, &pushed);
        self.last = Some((series.family, family.clone()));
        family
    }
}

/// The series to be born, once each: two of one push may have become one by relabelling, and must be
/// able to.
fn newborn<T>(
    exposition: &Exposition,
    plan: &[Option<SeriesRef>],
    terms: &T,
) -> Result<HashTable<SeriesId>, AdmitError>
where
    T: Fn(&PushedSeries<'_>) -> Terms,
{
    let mut newborn: HashTable<SeriesId> = HashTable::new();
    for (pushed, _) in exposition.series().zip(plan).filter(|(_, known)| known.is_none()) {
        let family = exposition.family(pushed.family);
        let twin = |id: &SeriesId| {
            exposition.get(*id).filter(|other| {
                other.labels == pushed.labels && exposition.family(other.family).name == family.name
            })
        };
        if let Some(first) = newborn.find(pushed.hash, |id| twin(id).is_some()).and_then(twin) {
            let state = State::new(family.kind, terms(&first).rules, &first.value);
            state.knows(&pushed).map_err(|refusal| refused(&family, &pushed, refusal))?;
            continue;
        }
        newborn.insert_unique(pushed.hash, pushed.id, |id| {
            exposition.get(*id).map_or(0, |series| series.hash)
        });
    }
    Ok(newborn)
}

fn refused(family: &PushedFamily<'_>, series: &PushedSeries<'_>, refusal: Refusal) -> AdmitError {
    AdmitError::Refused {
        family: family.name.to_owned(),
        series: format!("{}{{{}}}", family.name, series.labels),
        refusal,
    }
}

/// Whether a pushed family may join a stored one as it is. False if the stored one has to become
/// more precise for it. The rules of its series may have more to say, see [`joined`].
fn joins(stored: &Family, pushed: &PushedFamily<'_>) -> Result<bool, AdmitError> {
    let kind = joined(stored, pushed, UntypedRule::Sum)?;
    let unit = stored.with_metadata(|stored| match pushed.unit {
        Some(unit) if stored.unit.is_empty() => Ok(unit.is_empty()),
        Some(unit) if *unit != *stored.unit => Err(AdmitError::Unit {
            family: pushed.name.to_owned(),
            stored: stored.unit.to_string(),
            pushed: unit.to_owned(),
        }),
        _ => Ok(true),
    })?;
    Ok(unit && kind == stored.kind())
}

/// The kind of both together. Untyped sums and counters are the same algebra; the more precise word
/// wins, in any order.
fn joined(
    stored: &Family,
    pushed: &PushedFamily<'_>,
    untyped: UntypedRule,
) -> Result<Kind, AdmitError> {
    match (stored.kind(), pushed.kind) {
        (stored, pushed) if stored == pushed => Ok(stored),
        (Kind::Untyped, Kind::Counter) | (Kind::Counter, Kind::Untyped)
            if untyped == UntypedRule::Sum =>
        {
            Ok(Kind::Counter)
        }
        (stored, kind) => {
            Err(AdmitError::Kind { family: pushed.name.to_owned(), stored, pushed: kind })
        }
    }
}

/// The rule that is part of the state of a series; that of other kinds follows from the kind.
fn rule_of(kind: Kind, rules: MergeRules) -> Option<GaugeRule> {
    match kind {
        Kind::Gauge | Kind::GaugeHistogram => Some(rules.gauge),
        Kind::Untyped if rules.untyped == UntypedRule::Last => Some(GaugeRule::Last),
        // A counter may come upon a series from before its type was known.
        Kind::Untyped | Kind::Counter => Some(GaugeRule::Sum),
        _ => None,
    }
}

fn adopt_metadata(family: &Family, pushed: &PushedFamily<'_>) {
    if family.kind() == Kind::Untyped && pushed.kind == Kind::Counter {
        family.refine(pushed.kind);
    }
    let (help, unit) = (pushed.help.unwrap_or(""), pushed.unit.unwrap_or(""));
    let news = family.with_metadata(|held| {
        (held.unit.is_empty() && !unit.is_empty()) || merge::better_help(help, &held.help)
    });
    if news {
        family.change_metadata(|held| {
            if merge::better_help(help, &held.help) {
                held.help = help.into();
            }
            if held.unit.is_empty() {
                held.unit = unit.into();
            }
        });
    }
}

fn limit(limit: StoreLimit, max: usize, of: String) -> AdmitError {
    AdmitError::Limit(LimitError { limit, max, of })
}

fn job_of(labels: &str) -> Box<str> {
    labels::value_of(labels, "job").unwrap_or_default().into()
}

/// Whole seconds since the Unix epoch; good until 2106.
pub fn seconds(now_ms: i64) -> u32 {
    u32::try_from(now_ms / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests;
