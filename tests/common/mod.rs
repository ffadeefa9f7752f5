//! What the tests of the store share: pushes as plain data, and everything that is visible of a store.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod exactly;
pub(crate) mod histogram;
pub(crate) mod model;
pub(crate) mod strategies;

use std::collections::BTreeMap;

use tallygate::merge::MergeRules;
use tallygate::model::exposition::Bucket;
use tallygate::model::{
    Exemplar, Exposition, GaugeRule, Grouping, Kind, Label, NativeBuckets, Number, ReadBuffer,
    Reading, UntypedRule, labels,
};
use tallygate::store::{
    AdmitError, Applied, ChosenBy, Plan, PushContext, Store, StoreLimits, Terms,
};

/// How many native buckets are shown, in tests that are not about this limit.
pub(crate) const NATIVE_LIMIT: usize = 160;

/// One push, and how to merge it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Push {
    pub(crate) grouping: Vec<(String, String)>,
    pub(crate) families: Vec<PushFamily>,
    pub(crate) stamp: i64,
    pub(crate) now_ms: i64,
    pub(crate) ttl_s: u32,
    pub(crate) limits: StoreLimits,
    /// The rule of gauges; if `None`, it depends on the name of the family, see [`rule_by_name`].
    pub(crate) gauge: Option<GaugeRule>,
    pub(crate) chosen_by: ChosenBy,
    pub(crate) untyped: UntypedRule,
    /// Drop this label of the body, as a rule of the operator would, which may make series equal.
    pub(crate) drop_label: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct PushFamily {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) help: String,
    pub(crate) unit: String,
    pub(crate) series: Vec<PushSeries>,
}

#[derive(Clone, Debug)]
pub(crate) struct PushSeries {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: PushValue,
    pub(crate) exemplars: Vec<Exemplar>,
}

#[derive(Clone, Debug)]
pub(crate) enum PushValue {
    Scalar(f64),
    Histogram(PushHistogram),
    Summary { count: Option<Number>, sum: Option<f64> },
    States(Vec<(String, bool)>),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct PushHistogram {
    pub(crate) count: Option<Number>,
    pub(crate) sum: Option<f64>,
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) native: Option<NativeBuckets>,
}

impl Push {
    pub(crate) fn of(families: Vec<PushFamily>) -> Push {
        let chosen_by = ChosenBy::Push;
        Push { families, chosen_by, now_ms: 1_700_000_000_000, ..Push::default() }
    }

    pub(crate) fn grouping(&self) -> Grouping {
        Grouping::new(self.grouping.iter().map(|(n, v)| (n.as_str(), v.as_str()))).unwrap()
    }

    pub(crate) fn now_s(&self) -> u32 {
        tallygate::store::seconds(self.now_ms)
    }

    pub(crate) fn terms(&self, family: &str) -> Terms {
        let gauge = self.gauge.unwrap_or_else(|| rule_by_name(family));
        let rules = MergeRules { gauge, untyped: self.untyped };
        Terms { rules, chosen_by: self.chosen_by, ttl_s: self.ttl_s }
    }

    /// The exposition that a parser would return.
    pub(crate) fn exposition(&self, store: &Store) -> Exposition {
        let mut exposition = Exposition::new(store.hasher().clone());
        let grouping = self.grouping();
        let mut builder = exposition.build(&grouping);
        for family in &self.families {
            let id = builder.family(&family.name);
            builder.set_kind(id, family.kind);
            builder.set_help(id, &family.help);
            builder.set_unit(id, &family.unit);
            for series in &family.series {
                let mut labels: Vec<Label<'_>> =
                    series.labels.iter().map(|(n, v)| Label::raw(n, v)).collect();
                let id = builder.series(id, &mut labels).unwrap();
                match &series.value {
                    PushValue::Scalar(value) => builder.set_scalar(id, *value).unwrap(),
                    PushValue::Histogram(histogram) => {
                        if let Some(count) = histogram.count {
                            builder.set_count(id, count).unwrap();
                        }
                        if let Some(sum) = histogram.sum {
                            builder.set_sum(id, sum).unwrap();
                        }
                        for bucket in &histogram.buckets {
                            builder.add_bucket(id, bucket.clone());
                        }
                        if let Some(native) = &histogram.native {
                            builder.set_native(id, native.clone()).unwrap();
                        }
                    }
                    PushValue::Summary { count, sum } => {
                        if let Some(count) = count {
                            builder.set_count(id, *count).unwrap();
                        }
                        if let Some(sum) = sum {
                            builder.set_sum(id, *sum).unwrap();
                        }
                    }
                    PushValue::States(states) => {
                        for (name, on) in states {
                            builder.add_state(id, name, *on);
                        }
                    }
                }
                for exemplar in &series.exemplars {
                    builder.add_exemplar(id, exemplar.clone());
                }
            }
        }
        builder.finish().unwrap();
        if let Some(dropped) = &self.drop_label {
            drop_label(&mut exposition, dropped);
        }
        exposition
    }

    /// Has the store check and merge the push, or refuse it.
    pub(crate) fn apply(&self, store: &Store) -> Result<Applied, AdmitError> {
        let exposition = self.exposition(store);
        self.apply_parsed(store, &exposition)
    }

    pub(crate) fn apply_parsed(
        &self,
        store: &Store,
        exposition: &Exposition,
    ) -> Result<Applied, AdmitError> {
        let grouping = self.grouping();
        let context = PushContext {
            group: grouping.key(),
            stamp: self.stamp,
            now_ms: self.now_ms,
            limits: self.limits,
        };
        let terms = |series: &tallygate::model::exposition::PushedSeries<'_>| {
            self.terms(exposition.family(series.family).name)
        };
        store
            .admit(&store.commits().enter(), exposition, context, terms, &mut Plan::default())
            .map(|admitted| admitted.apply())
    }
}

fn drop_label(exposition: &mut Exposition, dropped: &str) {
    let renamed: Vec<_> = exposition
        .series()
        .map(|series| {
            let mut text = String::new();
            for (name, value) in labels::pairs(series.labels).filter(|(name, _)| name != dropped) {
                labels::write_label(&mut text, &name, &value);
            }
            (series.id, exposition.family(series.family).name.to_owned(), text)
        })
        .collect();
    for (id, family, labels) in renamed {
        exposition.rename_series(id, Some(&family), Some(&labels));
    }
}

/// In these tests, the name of a gauge ends in its merge rule.
pub(crate) fn rule_by_name(family: &str) -> GaugeRule {
    let (_, rule) = family.rsplit_once('_').unwrap_or_default();
    rule.parse().unwrap_or_default()
}

/// A family with one series.
pub(crate) fn family(
    name: &str,
    kind: Kind,
    labels: &[(&str, &str)],
    value: PushValue,
) -> PushFamily {
    let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    PushFamily {
        name: name.to_owned(),
        kind,
        help: String::new(),
        unit: String::new(),
        series: vec![PushSeries { labels, value, exemplars: Vec::new() }],
    }
}

pub(crate) fn counter(name: &str, labels: &[(&str, &str)], value: f64) -> PushFamily {
    family(name, Kind::Counter, labels, PushValue::Scalar(value))
}

/// What a scrape shows: families by name.
pub(crate) type Shown = BTreeMap<String, ShownFamily>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShownFamily {
    pub(crate) kind: Kind,
    pub(crate) help: String,
    pub(crate) unit: String,
    /// By label text; values are written out to the last bit.
    pub(crate) series: BTreeMap<String, String>,
}

pub(crate) fn shown(store: &Store) -> Shown {
    shown_within(store, NATIVE_LIMIT)
}

pub(crate) fn shown_within(store: &Store, native_limit: usize) -> Shown {
    let mut shown = Shown::new();
    let mut buffer = ReadBuffer::default();
    for family in store.families().iter() {
        let kind = family.kind();
        let metadata = family.metadata();
        let mut series_shown = BTreeMap::new();
        for series in family.series().iter() {
            series.with_state(|state| state.read(kind, native_limit, &mut buffer));
            let twin = series_shown.insert(series.labels().into_owned(), bits(buffer.reading()));
            assert_eq!(twin, None, "{} {} is there twice", family.name(), series.labels());
        }
        let shown_family = ShownFamily {
            kind,
            help: metadata.help.to_string(),
            unit: metadata.unit.to_string(),
            series: series_shown,
        };
        let twin = shown.insert(family.name().to_owned(), shown_family);
        assert_eq!(twin, None, "{} is there twice", family.name());
    }
    shown
}

/// A reading as text that shows every bit.
pub(crate) fn bits(reading: Reading<'_>) -> String {
    match reading {
        Reading::Gauge(value) | Reading::Untyped(value) if value.is_nan() => {
            format!("{reading:?} {:#x}", value.to_bits())
        }
        _ => format!("{reading:?}"),
    }
}

/// The whole store, including exact state and bookkeeping.
pub(crate) fn dump(store: &Store) -> String {
    let mut dump = String::new();
    for family in store.families().iter() {
        dump += &format!("{} {} {:?}\n", family.name(), family.kind(), family.metadata());
        for series in family.series().iter() {
            let (labels, group) = (series.labels(), series.group());
            let times = (series.created_ms(), series.touched_s(), series.expires_s());
            let state = series.with_state(|state| format!("{state:?}"));
            dump += &format!("  {{{labels}}} of {{{group}}} {times:?} {state}\n");
        }
    }
    dump += &format!("{} series, {} families", store.series_count(), store.family_count());
    dump
}

/// How many cases a property runs: PROPTEST_CASES, or else `default`.
pub(crate) fn cases(default: u32) -> proptest::test_runner::Config {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    proptest::test_runner::Config {
        cases: asked.unwrap_or(default),
        failure_persistence: None,
        ..Default::default()
    }
}
