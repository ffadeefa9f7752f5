//! Decides whether a push may come in. Everything that can refuse it is here, and changes nothing.

use std::collections::HashMap;

use hashbrown::HashTable;

use super::apply::{Admitted, Plan};
use super::family::Family;
use super::series::SeriesRef;
use super::{ChosenBy, PushContext, Store, StoreLimits, Structure, Terms, job_of};
use crate::merge::histogram::{PushedHistogram, union};
use crate::merge::{self, Refusal, State};
use crate::model::exposition::{PushedFamily, PushedSeries};
use crate::model::{Exposition, Kind, SeriesId, UntypedRule};
use crate::persistence::Pass;

/// Why a push is refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AdmitError {
    #[error("family {family} has the type {stored} here, but {pushed} in the push")]
    Kind { family: String, stored: Kind, pushed: Kind },
    #[error("family {family} has the unit {stored:?} here, but {pushed:?} in the push")]
    Unit { family: String, stored: String, pushed: String },
    #[error("family {family} would bear the name of a sample of the {kind} {owner}")]
    NameTaken { family: String, owner: String, kind: Kind },
    #[error("series {series}: {refusal}")]
    Refused { family: String, series: String, refusal: Refusal },
    #[error("{}", .0.sentence())]
    Limit(LimitError),
}

/// A limit of the store that a push would exceed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitError {
    pub limit: StoreLimit,
    pub max: usize,
    /// The job or family, if the limit is one for each.
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

impl Store {
    /// Checks a whole push against what is stored, and takes the locks it needs. Changes nothing. `pass`
    /// must be one through the gate of this store; `terms` says how each series merges.
    ///
    /// # Errors
    /// If any part of it cannot be merged or would exceed a limit.
    pub fn admit<'s, 'e, T>(
        &'s self,
        pass: &'e Pass<'s>,
        exposition: &'e Exposition,
        context: PushContext<'e>,
        terms: T,
        plan: &'e mut Plan,
    ) -> Result<Admitted<'s, 'e, T>, AdmitError>
    where
        T: Fn(&PushedSeries<'_>) -> Terms,
    {
        let mut structure = None;
        if !self.survey(exposition, &terms, plan)? {
            // Something is new. Look again where nobody else can create anything.
            let guard = self.structure.lock();
            if !self.survey(exposition, &terms, plan)? {
                self.check_births(exposition, &terms, &context.limits, &plan.0, &guard)?;
            }
            structure = Some(guard);
        }
        Ok(Admitted { store: self, exposition, context, terms, plan, structure, _pass: pass })
    }

    /// Looks up every series and checks its value. True if nothing has to be created.
    fn survey<T>(
        &self,
        exposition: &Exposition,
        terms: &T,
        plan: &mut Plan,
    ) -> Result<bool, AdmitError>
    where
        T: Fn(&PushedSeries<'_>) -> Terms,
    {
        plan.0.clear();
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
            let terms = terms(&pushed);
            let kind = match stored {
                Some(stored) => joined(stored, family, terms.rules.untyped)?,
                None => family.kind,
            };
            let series = stored.as_ref().and_then(|stored| self.find_series(stored, &pushed));
            match &series {
                None => {
                    complete = false;
                    merge::check(kind, &pushed, terms.rules).map_err(refuse)?;
                }
                Some(series) => complete &= holds(series, kind, &pushed, terms).map_err(refuse)?,
            }
            plan.0.push(series);
        }
        Ok(complete)
    }

    /// Checks what only concerns new families, series and buckets.
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
                *jobs.entry(job_of(pushed.labels).into()).or_default() += 1;
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

    /// How many families are new. None of them may stand twice in the push.
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

    /// The name of a new family must not be that of another family's sample lines, nor the other way round
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
        let mut pushed: HashMap<&str, Vec<f64>> = HashMap::new();
        for series in exposition.series() {
            let Some(histogram) = PushedHistogram::of(series.value, series.exemplars) else {
                continue;
            };
            let bounds = pushed.entry(exposition.family(series.family).name).or_default();
            let known =
                |bound: f64| bounds.binary_search_by(|other| other.total_cmp(&bound)).is_ok();
            if !histogram.bounds().all(known) {
                *bounds = union(bounds, histogram.bounds());
            }
        }
        for family in exposition.families() {
            let Some(pushed) = pushed.get(family.name) else { continue };
            let grown = |held: &[f64]| union(held, pushed.iter().copied()).len();
            let stored = self.find_family(family.name, family.hash);
            let mut held = stored.as_ref().map_or_else(Vec::new, |stored| stored.bounds());
            if grown(&held) <= max {
                continue;
            }
            if let Some(in_use) = stored.and_then(|stored| stored.bounds_in_use()) {
                held = in_use;
            }
            if grown(&held) > max.max(held.len()) {
                return Err(limit(StoreLimit::BucketBounds, max, family.name.to_owned()));
            }
        }
        Ok(())
    }
}

/// Whether a series can take a value as it is. False if it needs new buckets first.
///
/// # Errors
/// If it cannot take the value at all.
pub(super) fn holds(
    series: &SeriesRef,
    kind: Kind,
    pushed: &PushedSeries<'_>,
    terms: Terms,
) -> Result<bool, Refusal> {
    let Terms { mut rules, chosen_by, .. } = terms;
    let state = series.state.lock();
    let (held, asked) = (state.gauge_rule(), rules.gauge);
    let gauge = matches!(kind, Kind::Gauge | Kind::GaugeHistogram);
    match chosen_by {
        ChosenBy::Push if gauge && asked != held => {
            return Err(Refusal::OtherRule { stored: held, asked });
        }
        ChosenBy::Default => rules.gauge = held,
        _ => {}
    }
    let knows = state.knows(pushed)?;
    drop(state);
    merge::check(kind, pushed, rules)?;
    Ok(knows)
}

/// The new series, once each: relabelling may have made one of two, whose values must then go together.
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

/// Whether a pushed family fits a stored one as it is. False if the stored one has to become more precise
/// first. The rules of its series can still object, see [`joined`].
pub(super) fn joins(stored: &Family, pushed: &PushedFamily<'_>) -> Result<bool, AdmitError> {
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

/// The kind of both together. Counters and untyped sums add up in the same way; whichever comes first, the
/// more precise kind wins.
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

fn limit(limit: StoreLimit, max: usize, of: String) -> AdmitError {
    AdmitError::Limit(LimitError { limit, max, of })
}
