//! The families of all groups in one exposition, together with our own: sorted by name, and within each
//! the series in the order of the Pushgateway (pushgateway-contract 10).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::groups::{Family, Group, PUSH_FAILURE_TIME, PUSH_TIME};
use crate::model::labels::{has_quoted_name, pairs};
use crate::model::{FamilyHead, Kind, Reading};
use crate::telemetry::OwnSnapshot;

pub const PUSH_TIME_HELP: &str =
    "Last Unix time when changing this group in the Pushgateway succeeded.";
pub const PUSH_FAILURE_TIME_HELP: &str =
    "Last Unix time when changing this group in the Pushgateway failed.";

/// One family across all groups.
#[derive(Debug)]
pub(super) struct Shown {
    name: Arc<str>,
    kind: Kind,
    help: Arc<str>,
    unit: Arc<str>,
    own: Option<OwnSnapshot>,
    series: Vec<ShownSeries>,
}

/// A pushed series, or one of the two bookkeeping series of a group.
#[derive(Debug)]
pub(super) enum ShownSeries {
    Pushed(Arc<Family>, u32),
    Time(Arc<Group>),
    FailureTime(Arc<Group>),
}

impl ShownSeries {
    pub(super) fn labels(&self) -> &str {
        match self {
            ShownSeries::Pushed(family, at) => &family.series[*at as usize].labels,
            ShownSeries::Time(group) | ShownSeries::FailureTime(group) => &group.labels,
        }
    }

    pub(super) fn created_ms(&self) -> Option<i64> {
        match self {
            ShownSeries::Pushed(family, at) => family.series[*at as usize].created_ms,
            _ => None,
        }
    }

    pub(super) fn reading(&self) -> Reading<'_> {
        match self {
            ShownSeries::Pushed(family, at) => family.series[*at as usize].reading(family.kind),
            ShownSeries::Time(group) => Reading::Gauge(group.pushed.seconds()),
            ShownSeries::FailureTime(group) => Reading::Gauge(group.failed.seconds()),
        }
    }

    /// A sort key: by the number of labels, then by their values, one after the other.
    fn order(&self) -> Vec<u8> {
        let labels = self.labels();
        let mut order = vec![0; 2];
        let mut count = 0_u16;
        for (_, value) in pairs(labels) {
            order.extend_from_slice(value.as_bytes());
            order.push(0);
            count = count.saturating_add(1);
        }
        order[..2].copy_from_slice(&count.to_be_bytes());
        order
    }
}

impl Shown {
    pub(super) fn head(&self) -> FamilyHead<'_> {
        FamilyHead { name: &self.name, kind: self.kind, help: &self.help, unit: &self.unit }
    }

    pub(super) fn own(&self) -> Option<&OwnSnapshot> {
        self.own.as_ref()
    }

    pub(super) fn series(&self) -> &[ShownSeries] {
        &self.series
    }

    /// An estimate of its length in the text format.
    pub(super) fn bytes(&self) -> usize {
        const LINE: usize = 24;
        let lines = match self.kind {
            Kind::Histogram | Kind::GaugeHistogram => 12,
            Kind::Summary => 6,
            _ => 1,
        };
        let line = |series: &ShownSeries| series.labels().len() + self.name.len() + LINE;
        self.series.iter().map(line).sum::<usize>() * lines
    }

    pub(super) fn has_quoted_names(&self) -> bool {
        self.series.iter().any(|series| has_quoted_name(series.labels()))
    }

    fn bookkeeping(name: &str, help: &str) -> Shown {
        Shown {
            name: name.into(),
            kind: Kind::Gauge,
            help: help.into(),
            unit: "".into(),
            own: None,
            series: Vec::new(),
        }
    }

    fn sort(&mut self) {
        if self.series.len() > 1 {
            self.series.sort_by_cached_key(ShownSeries::order);
        }
    }
}

/// If groups have different help for one name, the text that sorts first is shown: this depends neither
/// on what was pushed last nor on restarts.
pub(super) fn shown(groups: &[Arc<Group>], own: Vec<OwnSnapshot>) -> Vec<Shown> {
    let mut shown: BTreeMap<Arc<str>, Shown> = BTreeMap::new();
    if !groups.is_empty() {
        let mut time = Shown::bookkeeping(PUSH_TIME, PUSH_TIME_HELP);
        let mut failure = Shown::bookkeeping(PUSH_FAILURE_TIME, PUSH_FAILURE_TIME_HELP);
        for group in groups {
            time.series.push(ShownSeries::Time(group.clone()));
            failure.series.push(ShownSeries::FailureTime(group.clone()));
        }
        shown.extend([(time.name.clone(), time), (failure.name.clone(), failure)]);
    }
    for family in groups.iter().flat_map(|group| &group.families) {
        if family.series.is_empty() {
            continue;
        }
        let of = shown.entry(family.name.clone()).or_insert_with(|| Shown {
            name: family.name.clone(),
            kind: family.kind,
            help: (&*family.help).into(),
            unit: (&*family.unit).into(),
            own: None,
            series: Vec::new(),
        });
        if !family.help.is_empty() && (of.help.is_empty() || *family.help < *of.help) {
            of.help = (&*family.help).into();
        }
        if of.unit.is_empty() && !family.unit.is_empty() {
            of.unit = (&*family.unit).into();
        }
        let series = 0..family.series.len() as u32;
        of.series.extend(series.map(|at| ShownSeries::Pushed(family.clone(), at)));
    }
    for own in own {
        let of = shown
            .entry(own.name.as_str().into())
            .or_insert_with(|| Shown { kind: own.kind, ..Shown::bookkeeping(&own.name, "") });
        of.help = own.help.as_str().into();
        of.own = Some(own);
    }
    let mut shown: Vec<Shown> = shown.into_values().collect();
    shown.iter_mut().for_each(Shown::sort);
    shown
}
