//! What a scrape shows of one series: the input of every encoder.

use super::{Exemplar, Kind, NativeBuckets, Number};

/// Name and metadata of one family. `name` is the sample name in the text format, so for counters
/// it includes `_total`, and for info families `_info` (formats 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyHead<'a> {
    pub name: &'a str,
    pub kind: Kind,
    /// Empty if none was pushed.
    pub help: &'a str,
    pub unit: &'a str,
}

/// The value of one series, rounded once for reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading<'a> {
    Counter {
        value: f64,
        exemplar: Option<&'a Exemplar>,
    },
    /// Gauges and info series (whose value is 1).
    Gauge(f64),
    Untyped(f64),
    Summary {
        count: Number,
        sum: Option<f64>,
        quantiles: &'a [(f64, f64)],
    },
    /// Histograms and gauge histograms.
    Histogram(&'a HistogramReading),
    /// (state, is it on), sorted by state.
    StateSet(&'a [(Box<str>, bool)]),
}

/// Classic buckets, native buckets, or both. Reused from series to series, hence the vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramReading {
    pub count: Number,
    pub sum: Option<f64>,
    /// Cumulative, ascending by bound, ending in `+Inf` with `count`. Empty only if the histogram
    /// has native buckets alone.
    pub buckets: Vec<BucketReading>,
    pub native: Option<NativeBuckets>,
    /// Of the native buckets, oldest first.
    pub exemplars: Vec<Exemplar>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BucketReading {
    pub upper_bound: f64,
    pub cumulative_count: Number,
    pub exemplar: Option<Exemplar>,
}

impl Default for Number {
    fn default() -> Number {
        Number::ZERO
    }
}

impl HistogramReading {
    pub fn clear(&mut self) {
        self.count = Number::ZERO;
        self.sum = None;
        self.buckets.clear();
        self.native = None;
        self.exemplars.clear();
    }
}
