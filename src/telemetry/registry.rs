//! The recorder behind the `metrics` facade. It turns our own metrics into the same families and readings
//! as pushed ones, so that one set of encoders writes both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;

use crate::model::reading::BucketReading;
use crate::model::{Kind, Number, ReadBuffer, labels};
use crate::striped::Striped;

/// Upper bounds of every histogram of ours, in seconds: from a push of a few samples to a scrape
/// of millions.
const BOUNDS_S: [f64; 14] =
    [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 0.5, 1.0, 5.0, 30.0];

#[derive(Debug, Default)]
pub(super) struct Registry {
    families: Mutex<BTreeMap<String, OwnFamily>>,
}

#[derive(Debug)]
struct OwnFamily {
    kind: Kind,
    help: String,
    series: BTreeMap<String, Cell>,
}

#[derive(Clone, Debug)]
enum Cell {
    Counter(Arc<Count>),
    /// Bits of an `f64`.
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Striped<Durations>>),
}

/// A counter that many threads increment at the same time.
#[derive(Debug, Default)]
struct Count(Striped<AtomicU64>);

/// A histogram of seconds that is recorded without a lock.
#[derive(Debug, Default)]
struct Durations {
    own: [AtomicU64; BOUNDS_S.len() + 1],
    sum_ns: AtomicU64,
}

/// One of our families at one moment.
#[derive(Debug)]
pub struct OwnSnapshot {
    pub name: String,
    pub kind: Kind,
    pub help: String,
    /// Canonical label text and value, in the order of the label text.
    pub series: Vec<(String, ReadBuffer)>,
}

impl Registry {
    /// All families that have a series, in the order of their names.
    pub(super) fn snapshot(&self) -> Vec<OwnSnapshot> {
        let families = self.families.lock();
        let with_series = families.iter().filter(|(_, family)| !family.series.is_empty());
        with_series
            .map(|(name, family)| OwnSnapshot {
                name: name.clone(),
                kind: family.kind,
                help: family.help.clone(),
                series: family
                    .series
                    .iter()
                    .map(|(labels, cell)| (labels.clone(), cell.read(family.kind)))
                    .collect(),
            })
            .collect()
    }

    fn describe(&self, name: KeyName, kind: Kind, help: &str) {
        let mut families = self.families.lock();
        let family =
            families.entry(name.as_str().to_owned()).or_insert_with(|| OwnFamily::new(kind));
        family.help = help.to_owned();
    }

    fn cell(&self, key: &Key, kind: Kind, new: fn() -> Cell) -> Cell {
        let mut labels: Vec<_> = key.labels().map(|l| (l.key(), l.value())).collect();
        labels.sort_unstable();
        let mut text = String::new();
        for (name, value) in labels {
            labels::write_label(&mut text, name, value);
        }
        let mut families = self.families.lock();
        let family = families.entry(key.name().to_owned()).or_insert_with(|| OwnFamily::new(kind));
        family.series.entry(text).or_insert_with(new).clone()
    }
}

impl OwnFamily {
    fn new(kind: Kind) -> OwnFamily {
        OwnFamily { kind, help: String::new(), series: BTreeMap::new() }
    }
}

impl Cell {
    fn read(&self, kind: Kind) -> ReadBuffer {
        let mut buffer = ReadBuffer::default();
        match self {
            Cell::Counter(count) => buffer.set_scalar(kind, count.get() as f64, None),
            Cell::Gauge(bits) => buffer.set_scalar(kind, f64::from_bits(bits.load(Relaxed)), None),
            Cell::Histogram(durations) => {
                let into = buffer.set_histogram();
                let mut total = 0;
                let bounds = BOUNDS_S.iter().copied().chain([f64::INFINITY]);
                // The count is that of the buckets read, so the histogram is valid at any moment.
                for (at, upper_bound) in bounds.enumerate() {
                    total += durations.all().map(|d| d.own[at].load(Relaxed)).sum::<u64>();
                    let cumulative_count = Number::Int(total);
                    into.buckets.push(BucketReading {
                        upper_bound,
                        cumulative_count,
                        exemplar: None,
                    });
                }
                into.count = Number::Int(total);
                let sum_ns = durations.all().map(|d| d.sum_ns.load(Relaxed)).sum::<u64>();
                into.sum = Some(sum_ns as f64 / 1e9);
            }
        }
        buffer
    }
}

impl Count {
    fn get(&self) -> u64 {
        self.0.all().map(|count| count.load(Relaxed)).sum()
    }
}

impl metrics::CounterFn for Count {
    fn increment(&self, by: u64) {
        self.0.own().fetch_add(by, Relaxed);
    }

    /// For what is counted elsewhere. Nobody may increment the same counter.
    fn absolute(&self, value: u64) {
        self.0.all().take(1).for_each(|count| _ = count.fetch_max(value, Relaxed));
    }
}

impl metrics::HistogramFn for Striped<Durations> {
    fn record(&self, seconds: f64) {
        let at = BOUNDS_S.partition_point(|&bound| bound < seconds);
        let durations = self.own();
        durations.own[at].fetch_add(1, Relaxed);
        durations.sum_ns.fetch_add((seconds * 1e9) as u64, Relaxed);
    }
}

impl Recorder for Registry {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(key, Kind::Counter, &help);
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(key, Kind::Gauge, &help);
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(key, Kind::Histogram, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.cell(key, Kind::Counter, || Cell::Counter(Arc::default())) {
            Cell::Counter(count) => Counter::from_arc(count),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.cell(key, Kind::Gauge, || Cell::Gauge(Arc::default())) {
            Cell::Gauge(bits) => Gauge::from_arc(bits),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.cell(key, Kind::Histogram, || Cell::Histogram(Arc::default())) {
            Cell::Histogram(durations) => Histogram::from_arc(durations),
            _ => Histogram::noop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_read() {
        let registry = Registry::default();
        metrics::with_local_recorder(&registry, || {
            metrics::describe_counter!("a_total", "Things.");
            let counter = metrics::counter!("a_total", "z" => "1", "b" => "\"");
            counter.increment(2);
            metrics::gauge!("g").set(-1.5);
            metrics::histogram!("d_seconds").record(0.2);
            metrics::histogram!("d_seconds").record(100.0);
        });
        let snapshot = registry.snapshot();
        let names: Vec<_> = snapshot.iter().map(|family| (&*family.name, family.kind)).collect();
        assert_eq!(
            names,
            [("a_total", Kind::Counter), ("d_seconds", Kind::Histogram), ("g", Kind::Gauge)]
        );
        assert_eq!(snapshot[0].help, "Things.");
        assert_eq!(snapshot[0].series[0].0, r#"b="\"",z="1""#);
        let crate::model::Reading::Histogram(durations) = snapshot[1].series[0].1.reading() else {
            panic!("no histogram")
        };
        assert_eq!(durations.count, Number::Int(2));
        assert_eq!(durations.sum, Some(100.2));
        assert_eq!(durations.buckets[10].cumulative_count, Number::Int(1));
    }
}
