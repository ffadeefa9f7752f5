//! Pushes to series that an earlier push of the same form has found: they are not looked up again.

use std::sync::atomic::Ordering::Relaxed;

use super::admit::{holds, joins};
use super::apply::{Admitted, Applied, Plan, adopt_metadata};
use super::{PushContext, SeriesRef, Store, Terms};
use crate::model::Exposition;
use crate::model::exposition::PushedSeries;
use crate::persistence::Pass;

/// The stored series of a push, in its order. They are as good as a look-up until a series is
/// removed, wherever: [`Store::removals`].
#[derive(Clone, Debug)]
pub struct Known(Box<[SeriesRef]>);

impl Plan {
    /// The series that the push was merged into.
    pub fn known(&self) -> Option<Known> {
        self.0.iter().cloned().collect::<Option<_>>().map(Known)
    }
}

impl Known {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Store {
    /// How often series have been removed; does not change inside the gate.
    pub fn removals(&self) -> u64 {
        self.removals.load(Relaxed)
    }

    /// Merges a push into series that are known. `None`, and nothing has changed, if it is not as
    /// simple as that: something is refused or has to be created, so that it must be looked at as
    /// any other push.
    ///
    /// Of the exposition, the labels do not matter. `known` must come from this store, from a push
    /// of the same form under the same grouping key, and [`Store::removals`] must be what it was.
    pub fn merge_known<T>(
        &self,
        pass: &Pass<'_>,
        exposition: &Exposition,
        context: PushContext<'_>,
        terms: T,
        known: &Known,
    ) -> Option<Applied>
    where
        T: Fn(&PushedSeries<'_>) -> Terms,
    {
        let mut last = None;
        for (pushed, series) in exposition.series().zip(&known.0) {
            let family = exposition.family(pushed.family);
            if last != Some(pushed.family) {
                last = Some(pushed.family);
                if !joins(&series.family, &family).ok()? || series.family.kind() != family.kind {
                    return None;
                }
            }
            if !holds(series, family.kind, &pushed, terms(&pushed)).ok()? {
                return None;
            }
        }
        let mut plan = Plan::default();
        let plan = &mut plan;
        let admitted = Admitted {
            store: self,
            exposition,
            context,
            terms,
            plan,
            structure: None,
            _pass: pass,
        };
        let mut last = None;
        for (pushed, series) in exposition.series().zip(&known.0) {
            if last != Some(pushed.family) {
                last = Some(pushed.family);
                if adopt_metadata(&series.family, &exposition.family(pushed.family)) {
                    self.note_changed(&series.family);
                }
            }
            let terms = (admitted.terms)(&pushed);
            admitted.merge(series, &series.family, &pushed, terms);
        }
        Some(Applied { series_merged: known.len(), series_born: 0 })
    }
}
