//! A family of one group, as it was pushed: nothing is rounded, sorted or added up.

use std::sync::Arc;

use crate::model::exposition::{Bucket, PushedFamily, PushedSeries, PushedValue};
use crate::model::reading::BucketReading;
use crate::model::{Exemplar, Exposition, HistogramReading, Kind, Number, Reading};

/// Never changes once it is stored: a push puts another one in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    pub name: Arc<str>,
    pub kind: Kind,
    /// Empty if none was pushed.
    pub help: Box<str>,
    pub unit: Box<str>,
    /// When it was pushed, nanoseconds since the Unix epoch.
    pub pushed_ns: i64,
    /// In the order of the push.
    pub series: Box<[Series]>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Canonical text, with the labels of the group.
    pub labels: Arc<str>,
    /// [`SeriesHasher::series`](crate::model::exposition::SeriesHasher::series) of family and labels.
    pub(super) hash: u64,
    pub created_ms: Option<i64>,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Gauge, untyped, and counters without an exemplar.
    Scalar(f64),
    Counter(Box<(f64, Exemplar)>),
    Summary(Box<Summary>),
    Histogram(Box<HistogramReading>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    pub count: Number,
    pub sum: f64,
    /// (quantile, value)
    pub quantiles: Vec<(f64, f64)>,
}

impl Series {
    /// `kind` is the kind of the family.
    pub fn reading(&self, kind: Kind) -> Reading<'_> {
        match &self.value {
            Value::Scalar(value) => match kind {
                Kind::Counter => Reading::Counter { value: *value, exemplar: None },
                Kind::Untyped => Reading::Untyped(*value),
                _ => Reading::Gauge(*value),
            },
            Value::Counter(counter) => {
                Reading::Counter { value: counter.0, exemplar: Some(&counter.1) }
            }
            Value::Summary(summary) => Reading::Summary {
                count: summary.count,
                sum: Some(summary.sum),
                quantiles: &summary.quantiles,
            },
            Value::Histogram(histogram) => Reading::Histogram(histogram),
        }
    }
}

/// The families of a push, sorted by name. `with_empty` says whether families without series count: in
/// protobuf they do, in text they are just comments.
pub fn families(pushed: &Exposition, with_empty: bool, pushed_ns: i64) -> Vec<Arc<Family>> {
    let mut series: Vec<Vec<Series>> = Vec::new();
    series.resize_with(pushed.families().count(), Vec::new);
    for one in pushed.series() {
        series[one.family.index()].push(owned(&one));
    }
    let mut families: Vec<Arc<Family>> = pushed
        .families()
        .zip(series)
        .filter(|(_, series)| with_empty || !series.is_empty())
        .map(|(head, series)| Arc::new(family(&head, series, pushed_ns)))
        .collect();
    families.sort_by(|a, b| a.name.cmp(&b.name));
    families
}

fn family(head: &PushedFamily<'_>, series: Vec<Series>, pushed_ns: i64) -> Family {
    Family {
        name: head.name.into(),
        kind: head.kind,
        help: head.help.unwrap_or_default().into(),
        unit: head.unit.unwrap_or_default().into(),
        pushed_ns,
        series: series.into(),
    }
}

fn owned(pushed: &PushedSeries<'_>) -> Series {
    let value = match pushed.value {
        PushedValue::Scalar(value) => match pushed.exemplars.iter().next() {
            Some(exemplar) => Value::Counter(Box::new((value, exemplar.clone()))),
            None => Value::Scalar(value),
        },
        PushedValue::Summary { count, sum, quantiles } => Value::Summary(Box::new(Summary {
            count: count.unwrap_or_default(),
            sum: sum.unwrap_or_default(),
            quantiles: quantiles.iter().map(|q| (q.quantile, q.value)).collect(),
        })),
        PushedValue::Histogram { count, sum, buckets, native } => {
            let bucket = |bucket: &Bucket| BucketReading {
                upper_bound: bucket.upper_bound,
                cumulative_count: bucket.cumulative_count,
                exemplar: bucket.exemplar.clone(),
            };
            Value::Histogram(Box::new(HistogramReading {
                count: count.unwrap_or_default(),
                sum: Some(sum.unwrap_or_default()),
                buckets: buckets.iter().map(bucket).collect(),
                native: native.cloned(),
                exemplars: pushed.exemplars.iter().cloned().collect(),
            }))
        }
        // Neither format of the Pushgateway has state sets.
        PushedValue::StateSet(_) => Value::Scalar(0.0),
    };
    Series { labels: pushed.labels.into(), hash: pushed.hash, created_ms: pushed.created_ms, value }
}
