//! Pushes to series that an earlier push of the same form has found, so that they need not be looked up.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::admit::holds;
use super::apply::{Admitted, Applied, Plan};
use super::{ChosenBy, Family, PushContext, SeriesRef, Store, Terms, seconds};
use crate::merge::{self, Refusal};
use crate::model::exposition::{PushedSeries, PushedValue};
use crate::model::{Exposition, Kind};
use crate::persistence::Pass;

/// The stored series of a push, in its order. As long as all of them are [alive](Known::is_alive), they are
/// as good as a look-up.
#[derive(Clone, Debug)]
pub struct Known {
    series: Box<[SeriesRef]>,
    /// The families of the push by [`FamilyId`](crate::model::FamilyId), if they have series. Many grouping
    /// keys share them, so they are in the cache.
    families: Arc<[Option<Arc<Family>>]>,
    /// The value of [`Store::removals`] when all of them were alive.
    removals: u64,
}

impl Known {
    /// Whether all are still alive. They stay so until the caller leaves the gate. `removals` is
    /// [`Store::removals`] inside the gate; as long as it has not changed, there is nothing to check.
    pub fn is_alive(&mut self, removals: u64) -> bool {
        if self.removals != removals {
            if self.has_dead() {
                return false;
            }
            self.removals = removals;
        }
        true
    }

    /// Some of them were removed. Outside the gate, others may be at any time.
    pub fn has_dead(&self) -> bool {
        self.series.iter().any(|series| series.is_dead())
    }
}

impl Plan {
    /// The series that the push was merged into. `None` if that is not one for each series of the push, or
    /// if a kind differs, as when untyped samples join counters. `like` comes from another push of the
    /// same form. `removals` is the value of [`Store::removals`] when the push was merged.
    pub fn known(
        &self,
        exposition: &Exposition,
        removals: u64,
        like: Option<&Known>,
    ) -> Option<Known> {
        let series: Box<[SeriesRef]> = self.0.iter().cloned().collect::<Option<_>>()?;
        if exposition.series().count() != series.len() {
            return None;
        }
        let mut families = Vec::new();
        for (pushed, series) in exposition.series().zip(&series) {
            if series.family.kind() != exposition.kind(pushed.family) {
                return None;
            }
            let at = pushed.family.index();
            families.resize(families.len().max(at + 1), None);
            families[at] = Some(series.family.clone());
        }
        let address = |family: &Option<Arc<Family>>| family.as_ref().map(Arc::as_ptr);
        let families = like
            .filter(|like| like.families.iter().map(address).eq(families.iter().map(address)))
            .map_or_else(|| families.into(), |like| like.families.clone());
        Some(Known { series, families, removals })
    }
}

impl Store {
    /// How often series were removed. Does not change inside the gate.
    pub fn removals(&self) -> u64 {
        self.removals.load(Relaxed)
    }

    /// Merges a push into known series. `None` if it is not that simple, because something is refused or
    /// has to be created; then nothing has changed, and the push must be treated like any other.
    ///
    /// The labels in the exposition do not matter. `known` must come from this store, from a push of the
    /// same form under the same grouping key, and be alive. So help and unit need no look: the family
    /// already has those of this form, or better ones, and keeps them.
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
        let family_of =
            |pushed: &PushedSeries<'_>| known.families.get(pushed.family.index())?.as_ref();
        // Internal iteration, here and below: values are long, and would be moved a lot.
        let mut each = known.series.iter();
        exposition.values().try_for_each(|pushed| {
            let series = each.next()?;
            let kind = exposition.kind(pushed.family);
            let good = family_of(&pushed)?.kind() == kind
                && still_holds(series, kind, &pushed, terms(&pushed)).ok()?;
            good.then_some(())
        })?;
        // From here on nothing fails. Merging takes a lock in each series and would wait for each to come
        // from memory. So all of them are touched first, by writing, and come together.
        let mut busy = 0;
        let now_s = seconds(context.now_ms);
        for series in &known.series {
            series.touch_again(now_s);
            busy += usize::from(series.state.is_locked());
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
        let mut each = known.series.iter();
        exposition.values().for_each(|pushed| {
            if let (Some(series), Some(family)) = (each.next(), family_of(&pushed)) {
                admitted.merge(series, family, &pushed, (admitted.terms)(&pushed));
            }
        });
        Some(Applied { series_merged: known.series.len(), series_born: 0 })
    }
}

/// As [`holds`], for a series that has taken a value of the same form before. Usually the value alone
/// decides: a series never forgets a bucket ([`merge::State::knows`]), and a gauge of any rule takes a
/// finite number.
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
