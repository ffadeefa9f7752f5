//! Pushes to series that an earlier push of the same form has found: they are not looked up again.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::admit::holds;
use super::apply::{Admitted, Applied, Plan};
use super::{ChosenBy, Family, PushContext, SeriesRef, Store, Terms};
use crate::merge::{self, Refusal};
use crate::model::exposition::{PushedSeries, PushedValue};
use crate::model::{Exposition, Kind};
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
    /// of the same form that was merged under the same grouping key, and [`Store::removals`] must be
    /// what it was. So help and unit need not be looked at: the family has what the form says, or
    /// something better, and goes on having it.
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
        // This walk hardly ever takes a lock, for which the processor would have to wait until all
        // before it is done. So it asks the memory for many series at once, and the second walk
        // finds them near.
        let mut current: Option<(&Arc<Family>, Kind)> = None;
        let mut busy = 0;
        for (pushed, series) in exposition.series().zip(&known.0) {
            let kind = match current {
                Some((family, kind)) if Arc::ptr_eq(family, &series.family) => kind,
                _ => {
                    let kind = exposition.kind(pushed.family);
                    if series.family.kind() != kind {
                        return None;
                    }
                    current = Some((&series.family, kind));
                    kind
                }
            };
            busy += usize::from(series.state.is_locked());
            if !still_holds(series, kind, &pushed, terms(&pushed)).ok()? {
                return None;
            }
        }
        black_box(busy);

        let admitted = Admitted {
            store: self,
            exposition,
            context,
            terms,
            plan: &mut Plan::default(),
            structure: None,
            _pass: pass,
        };
        for (pushed, series) in exposition.series().zip(&known.0) {
            let terms = (admitted.terms)(&pushed);
            admitted.merge(series, &series.family, &pushed, terms);
        }
        Some(Applied { series_merged: known.len(), series_born: 0 })
    }
}

/// As [`holds`], for a series that has held a value of the same form. Mostly the value alone
/// decides: a series never forgets a bucket ([`merge::State::knows`]), and a finite number is good
/// for a gauge of any rule.
fn still_holds(
    series: &SeriesRef,
    kind: Kind,
    pushed: &PushedSeries<'_>,
    terms: Terms,
) -> Result<bool, Refusal> {
    let certain = match (kind, pushed.value) {
        (Kind::Counter | Kind::Untyped | Kind::Info | Kind::Histogram, _) => true,
        (Kind::Gauge, PushedValue::Scalar(value)) => {
            value.is_finite() && terms.chosen_by != ChosenBy::Push
        }
        _ => false,
    };
    if certain {
        return merge::check(kind, pushed, terms.rules).map(|()| true);
    }
    holds(series, kind, pushed, terms)
}
