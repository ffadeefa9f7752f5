//! Read-only views of the stored series, for the JSON API.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Gateway, NativeLimit};
use crate::model::{Kind, ReadBuffer, labels};
use crate::rules::Selector;
use crate::store::{Family, SeriesRef};

/// A family, and those of its series that were selected.
#[derive(Debug)]
pub struct FamilyView {
    family: Arc<Family>,
    series: Vec<SeriesRef>,
    native_limit: NativeLimit,
}

/// One series, explained.
#[derive(Debug)]
pub struct SeriesView<'a> {
    kind: Kind,
    native_limit: &'a NativeLimit,
    series: &'a SeriesRef,
    labels: Cow<'a, str>,
}

impl Gateway {
    /// Families with the series that match any of the selectors, or with all series if there is no
    /// selector. At most `max` series in all; the flag says whether there are more.
    pub fn query(&self, selectors: &[Selector], max: usize) -> (Vec<FamilyView>, bool) {
        let settings = self.settings();
        let mut views = Vec::new();
        let mut left = max;
        for family in self.store.families().iter() {
            let all = family.series();
            let mut wanted = all.iter().filter(|series| {
                selectors.is_empty()
                    || selectors
                        .iter()
                        .any(|selector| selector.matches(family.name(), &series.labels()))
            });
            let series: Vec<SeriesRef> = wanted.by_ref().take(left).cloned().collect();
            let more = wanted.next().is_some();
            left -= series.len();
            if !series.is_empty() {
                let native_limit = settings.native_limit(family.name(), family.kind());
                views.push(FamilyView { family: family.clone(), series, native_limit });
            }
            if more {
                return (views, true);
            }
        }
        (views, false)
    }
}

impl FamilyView {
    pub fn name(&self) -> &str {
        self.family.name()
    }

    pub fn kind(&self) -> Kind {
        self.family.kind()
    }

    pub fn help(&self) -> Arc<str> {
        self.family.metadata().help
    }

    pub fn unit(&self) -> Arc<str> {
        self.family.metadata().unit
    }

    pub fn series(&self) -> impl Iterator<Item = SeriesView<'_>> {
        let (kind, native_limit) = (self.kind(), &self.native_limit);
        self.series.iter().map(move |series| {
            let labels = series.labels();
            SeriesView { kind, native_limit, series, labels }
        })
    }
}

impl SeriesView<'_> {
    /// The labels, as canonical text.
    pub fn labels(&self) -> &str {
        &self.labels
    }

    pub fn pairs(&self) -> labels::Pairs<'_> {
        labels::pairs(&self.labels)
    }

    /// The grouping key it was first pushed under, in canonical text.
    pub fn group(&self) -> &str {
        self.series.group()
    }

    /// The rule by which it merges.
    pub fn merge(&self) -> &'static str {
        match self.kind {
            Kind::Gauge | Kind::GaugeHistogram | Kind::Untyped => {
                self.series.with_state(|state| state.gauge_rule().word())
            }
            Kind::Info => "union",
            Kind::StateSet => "last",
            _ => "sum",
        }
    }

    pub fn created_ms(&self) -> i64 {
        self.series.created_ms()
    }

    /// In seconds since the Unix epoch.
    pub fn last_push_s(&self) -> u32 {
        self.series.touched_s()
    }

    /// In seconds since the Unix epoch.
    pub fn expires_s(&self) -> Option<u32> {
        self.series.expires_s()
    }

    pub fn read(&self, into: &mut ReadBuffer) {
        let limit = self.native_limit.of(self.series);
        self.series.with_state(|state| state.read(self.kind, limit, into));
    }

    /// The memory that the series takes, estimated.
    pub fn bytes(&self) -> usize {
        self.series.memory_bytes()
    }
}
