//! Merges a push that was admitted. Nothing here can fail.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::MutexGuard;

use super::family::Family;
use super::series::{Birth, SeriesRef};
use super::{ChosenBy, PushContext, Store, Structure, Terms, seconds};
use crate::merge::{self, MergeRules, State};
use crate::model::exposition::{PushedFamily, PushedSeries};
use crate::model::{Exposition, FamilyId, GaugeRule, Kind, UntypedRule};
use crate::persistence::Pass;

/// The stored series that a push names, in its order; `None` for a new one. A buffer for
/// [`Store::admit`], to be reused.
#[derive(Debug, Default)]
pub struct Plan(pub(super) Vec<Option<SeriesRef>>);

impl Plan {
    /// Lets go of the series.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// The proof that a push may be applied. It holds the locks that keep it true.
#[derive(Debug)]
pub struct Admitted<'s, 'e, T> {
    pub(super) store: &'s Store,
    pub(super) exposition: &'e Exposition,
    pub(super) context: PushContext<'e>,
    pub(super) terms: T,
    pub(super) plan: &'e mut Plan,
    pub(super) structure: Option<MutexGuard<'s, Structure>>,
    pub(super) _pass: &'e Pass<'s>,
}

/// What applying a push has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub series_merged: usize,
    pub series_born: usize,
}

impl<T> Admitted<'_, '_, T>
where
    T: Fn(&PushedSeries<'_>) -> Terms,
{
    /// Merges the push. This cannot fail, because everything was checked and the locks are still held.
    /// Afterwards the plan contains all series of the push.
    pub fn apply(mut self) -> Applied {
        let mut applied = Applied::default();
        let mut plan = std::mem::take(&mut self.plan.0);
        let mut families = Families { last: None };
        for (pushed, known) in self.exposition.series().zip(&mut plan) {
            let terms = (self.terms)(&pushed);
            let family = families.of(&pushed, &self);
            // Relabelling may have made one of two series, and then the first one has created it.
            if known.is_none() {
                *known = self.store.find_series(&family, &pushed);
            }
            match known {
                Some(series) => self.merge(series, &family, &pushed, terms),
                None => {
                    *known = Some(self.bear(&family, &pushed, terms));
                    applied.series_born += 1;
                }
            }
            applied.series_merged += 1;
        }
        self.plan.0 = plan;
        applied
    }

    pub(super) fn merge(
        &self,
        series: &SeriesRef,
        family: &Arc<Family>,
        pushed: &PushedSeries<'_>,
        terms: Terms,
    ) {
        let mut state = series.state.lock();
        if self.structure.is_some()
            && let Some(bounds) = state.grown(pushed)
        {
            state.grow(family.layout(&bounds));
        }
        if let Some(rule) = rule_of(family.kind(), terms)
            && state.gauge_rule() != rule
        {
            state.change_rule(rule);
        }
        state.merge(pushed, self.context.stamp);
        family.note_change();
        if family.is_regular() && !merge::is_regular(family.kind(), pushed) {
            self.note_irregular(family);
        }
        series.touch(seconds(self.context.now_ms), terms.ttl_s);
        if terms.ttl_s > 0 && !self.store.mortal.load(Relaxed) {
            self.store.mortal.store(true, Relaxed);
        }
        if self.store.commits.are_kept() {
            self.store.changed.note_series(series);
        }
    }

    fn note_irregular(&self, family: &Arc<Family>) {
        if family.note_irregular() {
            self.store.note_changed(family);
        }
    }

    /// Creates a series, and with a first series its family. No scrape can see them before they are
    /// complete.
    fn bear(&mut self, family: &Arc<Family>, pushed: &PushedSeries<'_>, terms: Terms) -> SeriesRef {
        let group = self.context.group;
        let group = self.structure().groups.key(group);
        let series = SeriesRef::new(Birth {
            family: family.clone(),
            group,
            labels: pushed.labels,
            // A series counts from just before its first push.
            created_ms: self.context.now_ms - 1,
            state: State::new(family.kind(), terms.rules, &pushed.value),
        });
        self.merge(&series, family, pushed, terms);

        let store = self.store;
        store.link(pushed.labels, pushed.hash, series.clone(), self.structure());
        series
    }

    fn structure(&mut self) -> &mut Structure {
        self.structure.as_mut().expect("births are admitted under this lock only")
    }
}

/// Finds the family of each series, or creates it. One look-up for each run of series of one family.
struct Families {
    last: Option<(FamilyId, Arc<Family>)>,
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
        if adopt_metadata(&family, &pushed) {
            admitted.store.note_changed(&family);
        }
        self.last = Some((series.family, family.clone()));
        family
    }
}

/// The rule that a series must have from now on, if the operator decides it and it is part of the state.
fn rule_of(kind: Kind, terms: Terms) -> Option<GaugeRule> {
    let MergeRules { gauge, untyped } = terms.rules;
    match kind {
        Kind::Gauge | Kind::GaugeHistogram if terms.chosen_by == ChosenBy::Operator => Some(gauge),
        Kind::Untyped if untyped == UntypedRule::Last => Some(GaugeRule::Last),
        // A series may be older than the knowledge that it is a counter.
        Kind::Untyped | Kind::Counter => Some(GaugeRule::Sum),
        _ => None,
    }
}

/// True if this has changed the family.
pub(super) fn adopt_metadata(family: &Family, pushed: &PushedFamily<'_>) -> bool {
    let refined = family.kind() == Kind::Untyped && pushed.kind == Kind::Counter;
    if refined {
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
    // A family without series is new.
    refined || news || family.is_empty()
}
