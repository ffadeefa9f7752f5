//! A store that is written only to be obviously right: one thread, every push is remembered as it was,
//! and sums are computed from big integers when they are read.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use num_bigint::BigInt;
use tallygate::model::reading::BucketReading;
use tallygate::model::{Exemplar, GaugeRule, HistogramReading, Kind, Reading, UntypedRule};
use tallygate::store::ChosenBy;

use super::exactly::{nearest, nearest_mean, number, units, units_of};
use super::histogram::HistogramModel;
use super::{NATIVE_LIMIT, Push, PushSeries, PushValue, Shown, ShownFamily, bits};

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    families: BTreeMap<String, Family>,
}

#[derive(Clone, Debug)]
struct Family {
    kind: Kind,
    help: String,
    unit: String,
    /// By label text.
    series: BTreeMap<String, Series>,
}

#[derive(Clone, Debug)]
struct Series {
    group: String,
    created_ms: i64,
    touched_s: u32,
    ttl_s: u32,
    /// For kinds that have one.
    rule: Option<GaugeRule>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Pushes(Vec<Pushed>),
    Histogram(HistogramModel),
}

#[derive(Clone, Debug)]
struct Pushed {
    stamp: i64,
    value: PushValue,
    exemplars: Vec<Exemplar>,
}

/// A bucket bound: not NaN, and never -0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bound(pub(crate) f64);

impl Eq for Bound {}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Bound) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Bound) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Group, birth in milliseconds, last push and expiry in seconds.
pub(crate) type Life = (String, i64, u32, Option<u32>);

/// The push is refused, for whatever reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

fn accept_if(fine: bool) -> Result<(), Refused> {
    if fine { Ok(()) } else { Err(Refused) }
}

impl Model {
    /// Returns the number of series that were created.
    pub(crate) fn push(&mut self, push: &Push) -> Result<usize, Refused> {
        // Only the pushed families can change, so a copy of these is enough to undo the push.
        let names = || push.families.iter().map(|family| &family.name);
        let before: BTreeMap<String, Family> = names()
            .filter_map(|name| Some((name.clone(), self.families.get(name)?.clone())))
            .collect();
        let series_before = self.series_count();
        let pushed =
            self.push_all(push).and_then(|()| self.within_limits(push, series_before, &before));
        if pushed.is_err() {
            for name in names() {
                self.families.remove(name);
            }
            self.families.extend(before);
        }
        pushed.map(|()| self.series_count() - series_before)
    }

    fn push_all(&mut self, push: &Push) -> Result<(), Refused> {
        for pushed in push.families.iter().filter(|family| !family.series.is_empty()) {
            let family = self.families.entry(pushed.name.clone()).or_insert_with(|| Family {
                kind: pushed.kind,
                help: String::new(),
                unit: String::new(),
                series: BTreeMap::new(),
            });
            let mixed = [family.kind, pushed.kind];
            if family.kind != pushed.kind {
                accept_if(
                    mixed.contains(&Kind::Untyped)
                        && mixed.contains(&Kind::Counter)
                        && push.untyped == UntypedRule::Sum,
                )?;
                family.kind = Kind::Counter;
            }
            if !pushed.unit.is_empty() {
                accept_if(family.unit.is_empty() || family.unit == pushed.unit)?;
                family.unit = pushed.unit.clone();
            }
            let by_length = pushed.help.len().cmp(&family.help.len());
            if by_length.then_with(|| family.help.cmp(&pushed.help)).is_gt() {
                family.help = pushed.help.clone();
            }
            for series in &pushed.series {
                family.push(push, &pushed.name, series)?;
            }
        }
        Ok(())
    }

    fn within_limits(
        &self,
        push: &Push,
        series_before: usize,
        before: &BTreeMap<String, Family>,
    ) -> Result<(), Refused> {
        let limits = push.limits;
        let born = self.series_count() > series_before;
        accept_if(limits.series == 0 || !born || self.series_count() <= limits.series)?;
        let new =
            push.families.iter().any(|f| !f.series.is_empty() && !before.contains_key(&f.name));
        accept_if(limits.families == 0 || !new || self.families.len() <= limits.families)?;
        for family in push.families.iter().filter(|_| limits.bucket_bounds > 0) {
            let bounds = |families: &BTreeMap<String, Family>| {
                families.get(&family.name).map_or(0, |family| family.bounds().len())
            };
            let (held, now) = (bounds(before), bounds(&self.families));
            accept_if(now == held || now <= limits.bucket_bounds)?;
        }
        for name in self.families.keys() {
            for (owner, family) in &self.families {
                let suffix = name.strip_prefix(owner.as_str()).unwrap_or_default();
                accept_if(suffix.is_empty() || !family.kind.sample_suffixes().contains(&suffix))?;
            }
        }
        Ok(())
    }

    pub(crate) fn series_count(&self) -> usize {
        self.families.values().map(|family| family.series.len()).sum()
    }

    pub(crate) fn family_count(&self) -> usize {
        self.families.len()
    }

    /// Returns the number of series that were or would be removed.
    pub(crate) fn remove_group(&mut self, group: &str, dry_run: bool) -> usize {
        self.remove(dry_run, |_, _, series| series.group == group)
    }

    pub(crate) fn remove_matching(
        &mut self,
        dry_run: bool,
        matches: impl Fn(&str, &str) -> bool,
    ) -> usize {
        self.remove(dry_run, |name, labels, _| matches(name, labels))
    }

    pub(crate) fn expire(&mut self, now_s: u32) -> usize {
        self.remove(false, |_, _, series| {
            series.ttl_s > 0 && series.touched_s.saturating_add(series.ttl_s) < now_s
        })
    }

    fn remove(&mut self, dry_run: bool, gone: impl Fn(&str, &str, &Series) -> bool) -> usize {
        let mut removed = 0;
        for (name, family) in &mut self.families {
            family.series.retain(|labels, series| {
                let gone = gone(name, labels, series);
                removed += usize::from(gone);
                !gone || dry_run
            });
        }
        self.families.retain(|_, family| !family.series.is_empty());
        removed
    }

    pub(crate) fn shown(&self) -> Shown {
        let shown = self.families.iter().map(|(name, family)| {
            let series = family.series.iter();
            let shown = ShownFamily {
                kind: family.kind,
                help: family.help.clone(),
                unit: family.unit.clone(),
                series: series.map(|(labels, s)| (labels.clone(), s.shown(family.kind))).collect(),
            };
            (name.clone(), shown)
        });
        shown.collect()
    }

    /// Group, birth, last push and expiry of every series, by family and labels.
    pub(crate) fn lives(&self) -> BTreeMap<(String, String), Life> {
        let mut lives = BTreeMap::new();
        for (name, family) in &self.families {
            for (labels, series) in &family.series {
                let expires = series.touched_s.saturating_add(series.ttl_s);
                let expires = (series.ttl_s > 0).then_some(expires);
                let life = (series.group.clone(), series.created_ms, series.touched_s, expires);
                lives.insert((name.clone(), labels.clone()), life);
            }
        }
        lives
    }
}

impl Family {
    /// Finite bucket bounds of all series.
    fn bounds(&self) -> BTreeSet<Bound> {
        let bounds = self.series.values().filter_map(|series| match &series.content {
            Content::Histogram(histogram) => Some(histogram.bounds()),
            Content::Pushes(_) => None,
        });
        bounds.flatten().copied().collect()
    }

    fn push(&mut self, push: &Push, name: &str, pushed: &PushSeries) -> Result<(), Refused> {
        let rules = push.terms(name).rules;
        let labels = canonical(push, pushed);
        let is_gauge = matches!(self.kind, Kind::Gauge | Kind::GaugeHistogram);
        let asked = match self.kind {
            // Unless somebody chose a rule, the series keeps its own.
            _ if is_gauge && push.chosen_by == ChosenBy::Default => {
                self.series.get(&labels).map_or(Some(rules.gauge), |series| series.rule)
            }
            Kind::Gauge | Kind::GaugeHistogram => Some(rules.gauge),
            Kind::Untyped if rules.untyped == UntypedRule::Last => Some(GaugeRule::Last),
            Kind::Untyped | Kind::Counter => Some(GaugeRule::Sum),
            _ => None,
        };
        accept_if(self.kind != Kind::Untyped || rules.untyped != UntypedRule::Reject)?;
        accept_if(fits(self.kind, asked, &pushed.value))?;
        let series = self.series.entry(labels).or_insert_with(|| Series {
            group: push.grouping().key().to_owned(),
            created_ms: push.now_ms - 1,
            touched_s: 0,
            ttl_s: 0,
            rule: asked,
            content: match &pushed.value {
                PushValue::Histogram(first) => Content::Histogram(HistogramModel::new(first)),
                _ => Content::Pushes(Vec::new()),
            },
        });
        if series.rule != asked {
            accept_if(!is_gauge || push.chosen_by == ChosenBy::Operator)?;
            series.change_rule(asked);
        }
        match (&mut series.content, &pushed.value) {
            (Content::Histogram(histogram), PushValue::Histogram(value)) => {
                let last = series.rule == Some(GaugeRule::Last);
                accept_if(histogram.push(value, &pushed.exemplars, last.then_some(push.stamp)))?;
            }
            (Content::Pushes(pushes), value) => {
                if let (Some(first), PushValue::Summary { sum: None, .. }) = (pushes.first(), value)
                {
                    accept_if(!matches!(first.value, PushValue::Summary { sum: Some(_), .. }))?;
                }
                let exemplars = pushed.exemplars.clone();
                pushes.push(Pushed { stamp: push.stamp, value: value.clone(), exemplars });
            }
            (content, value) => panic!("{content:?} met {value:?}"),
        }
        (series.touched_s, series.ttl_s) = (push.now_s(), push.ttl_s);
        Ok(())
    }
}

impl Series {
    fn change_rule(&mut self, rule: Option<GaugeRule>) {
        let shown = self.scalar();
        match &mut self.content {
            Content::Histogram(histogram) => histogram.change_rule(),
            Content::Pushes(pushes) => {
                pushes.clear();
                let value = PushValue::Scalar(shown);
                if fits(Kind::Gauge, rule, &value) {
                    pushes.push(Pushed { stamp: i64::MIN, value, exemplars: Vec::new() });
                }
            }
        }
        self.rule = rule;
    }

    fn pushes(&self) -> &[Pushed] {
        match &self.content {
            Content::Pushes(pushes) => pushes,
            Content::Histogram(_) => &[],
        }
    }

    /// The value shown, of kinds that have one.
    fn scalar(&self) -> f64 {
        let value = |pushed: &Pushed| match pushed.value {
            PushValue::Scalar(value) => value,
            _ => f64::NAN,
        };
        let values = || self.pushes().iter().map(value);
        let total = || values().map(units).sum::<BigInt>();
        match self.rule {
            Some(GaugeRule::Sum) => nearest(&total()),
            Some(GaugeRule::Min) => values().min_by(f64::total_cmp).unwrap_or(f64::INFINITY),
            Some(GaugeRule::Max) => values().max_by(f64::total_cmp).unwrap_or(f64::NEG_INFINITY),
            Some(GaugeRule::Mean) => nearest_mean(&total(), self.pushes().len().max(1)),
            Some(GaugeRule::Last) => self
                .pushes()
                .iter()
                .max_by(|a, b| a.stamp.cmp(&b.stamp).then(value(a).total_cmp(&value(b))))
                .map_or(f64::NAN, value),
            None => 1.0,
        }
    }

    fn shown(&self, kind: Kind) -> String {
        let pushes = self.pushes();
        match kind {
            Kind::Counter => {
                let exemplars = pushes.iter().flat_map(|pushed| &pushed.exemplars);
                let exemplar = exemplars.max_by(|a, b| by_merit(a, b));
                bits(Reading::Counter { value: self.scalar(), exemplar })
            }
            Kind::Gauge | Kind::Info => bits(Reading::Gauge(self.scalar())),
            Kind::Untyped => bits(Reading::Untyped(self.scalar())),
            Kind::Summary => {
                let (mut total, mut total_sum) = (BigInt::ZERO, Some(BigInt::ZERO));
                for pushed in pushes {
                    let PushValue::Summary { count, sum } = pushed.value else { continue };
                    total += count.and_then(units_of).unwrap_or_default();
                    // Once a sum is missing, it stays missing.
                    total_sum = total_sum.zip(sum).map(|(total, sum)| total + units(sum));
                }
                let sum = total_sum.as_ref().map(nearest);
                bits(Reading::Summary { count: number(&total), sum, quantiles: &[] })
            }
            Kind::StateSet => {
                let states = |pushed: &Pushed| {
                    let PushValue::States(states) = &pushed.value else { return Vec::new() };
                    let mut states: Vec<(Box<str>, bool)> =
                        states.iter().map(|(name, on)| (name.as_str().into(), *on)).collect();
                    states.sort();
                    states
                };
                let best = pushes.iter().max_by_key(|pushed| (pushed.stamp, states(pushed)));
                bits(Reading::StateSet(&best.map(states).unwrap_or_default()))
            }
            Kind::Histogram | Kind::GaugeHistogram => {
                let Content::Histogram(histogram) = &self.content else { return String::new() };
                bits(Reading::Histogram(&histogram.read(NATIVE_LIMIT)))
            }
        }
    }
}

/// Later, then greater labels, then greater value.
pub(crate) fn by_merit(a: &Exemplar, b: &Exemplar) -> Ordering {
    let by_time = a.timestamp_ms.cmp(&b.timestamp_ms);
    by_time.then_with(|| a.labels.cmp(&b.labels)).then_with(|| a.value.total_cmp(&b.value))
}

/// The column "refuse" of the table in merge-semantics 1.
fn fits(kind: Kind, rule: Option<GaugeRule>, value: &PushValue) -> bool {
    let count = |number| units_of(number).is_some_and(|units| units >= BigInt::ZERO);
    match (kind, value) {
        (Kind::Counter, PushValue::Scalar(value)) => value.is_finite() && *value >= 0.0,
        (Kind::Gauge | Kind::Untyped, PushValue::Scalar(value)) => match rule {
            Some(GaugeRule::Sum | GaugeRule::Mean) => value.is_finite(),
            Some(GaugeRule::Min | GaugeRule::Max) => !value.is_nan(),
            _ => true,
        },
        (Kind::Info, PushValue::Scalar(value)) => *value == 1.0,
        (Kind::Summary, PushValue::Summary { count: given, sum }) => {
            given.is_some_and(count) && sum.is_none_or(|sum| sum.is_finite() && sum >= 0.0)
        }
        (Kind::StateSet, PushValue::States(_)) => true,
        (Kind::Histogram, PushValue::Histogram(histogram)) => super::histogram::fits(histogram),
        (Kind::GaugeHistogram, PushValue::Histogram(histogram)) => {
            matches!(rule, Some(GaugeRule::Last | GaugeRule::Sum))
                && super::histogram::fits(histogram)
        }
        _ => panic!("{kind} {value:?}"),
    }
}

/// Canonical label text (DESIGN 3), for values without anything to escape.
fn canonical(push: &Push, series: &PushSeries) -> String {
    let mut labels: BTreeMap<&str, &str> =
        series.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    labels.extend(push.grouping.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    if let Some(dropped) = &push.drop_label {
        labels.remove(dropped.as_str());
    }
    let pairs = labels.iter().filter(|(_, value)| !value.is_empty());
    pairs.map(|(name, value)| format!("{name}=\"{value}\"")).collect::<Vec<_>>().join(",")
}

/// The only bucket of a histogram without any other.
pub(crate) fn only_infinite(reading: &HistogramReading) -> BucketReading {
    BucketReading { upper_bound: f64::INFINITY, cumulative_count: reading.count, exemplar: None }
}
