//! Pushes to series that an earlier push of the same form has found: they are not looked up again.

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

/// The stored series of a push, in its order. They are as good as a look-up while all of them are
/// [there](Known::is_alive).
#[derive(Clone, Debug)]
pub struct Known {
    series: Box<[SeriesRef]>,
    /// Those of the push, by [`FamilyId`](crate::model::FamilyId), if they have series: the same for
    /// many grouping keys, and so near to the processor.
    families: Arc<[Option<Arc<Family>>]>,
    /// What [`Store::removals`] was when all of them were there.
    removals: u64,
}

impl Known {
    /// Whether all are still there, and will be as long as the gate is not held alone. `removals` is
    /// [`Store::removals`] inside the gate: while it stays the same nobody has to look.
    pub fn is_alive(&mut self, removals: u64) -> bool {
        if self.removals != removals {
            if self.has_dead() {
                return false;
            }
            self.removals = removals;
        }
        true
    }

    /// Some of them were removed; outside the gate, others may be any time.
    pub fn has_dead(&self) -> bool {
        self.series.iter().any(|series| series.is_dead())
    }
}

impl Plan {
    /// What the push was merged into. `None` if that is not one series for each that it names, or not
    /// of the same type: what is untyped may join counters. `like` was known from another push of the
    /// same form. `removals` is what [`Store::removals`] was when the push was merged.
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
    /// How often series have been removed; does not change inside the gate.
    pub fn removals(&self) -> u64 {
        self.removals.load(Relaxed)
    }

    /// Merges a push into series that are known. `None`, and nothing has changed, if it is not as
    /// simple as that: something is refused or has to be created, so that it must be looked at as
    /// any other push.
    ///
    /// Of the exposition, the labels do not matter. `known` must come from this store, from a push
    /// of the same form that was merged under the same grouping key, and be alive. So help and unit
    /// need not be looked at: the family has what the form says, or something better, and goes on
    /// having it.
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
        // From here on nothing fails. A lock is waited for, and with it the series; so the memory is
        // asked for all of them first, to be written to.
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
