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
    /// (state, whether it is on), sorted by state.
    StateSet(&'a [(Box<str>, bool)]),
}

/// Classic buckets, native buckets, or both. Vectors, because it is reused for the next series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramReading {
    pub count: Number,
    pub sum: Option<f64>,
    /// Cumulative, ascending by bound, ending in `+Inf` with `count`. Empty only if the histogram has
    /// nothing but native buckets. If a series is kept as it was pushed, they are in the order of the
    /// push, and may lack `+Inf`.
    pub buckets: Vec<BucketReading>,
    pub native: Option<NativeBuckets>,
    /// Of the native buckets, oldest first.
    pub exemplars: Vec<Exemplar>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BucketReading {
    pub upper_bound: f64,
    pub cumulative_count: Number,
    pub exemplar: Option<Box<Exemplar>>,
}

impl Default for Number {
    fn default() -> Number {
        Number::ZERO
    }
}

/// A [`Reading`] that owns its parts: filled while a series is locked, and encoded after that. Reused
/// for the next series.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    form: Form,
    value: f64,
    count: Number,
    sum: Option<f64>,
    exemplar: Option<Exemplar>,
    quantiles: Vec<(f64, f64)>,
    states: Vec<(Box<str>, bool)>,
    histogram: HistogramReading,
}

#[derive(Clone, Copy, Debug, Default)]
enum Form {
    Counter,
    #[default]
    Gauge,
    Untyped,
    Summary,
    Histogram,
    StateSet,
}

impl ReadBuffer {
    pub fn set_scalar(&mut self, kind: Kind, value: f64, exemplar: Option<&Exemplar>) {
        self.form = match kind {
            Kind::Counter => Form::Counter,
            Kind::Untyped => Form::Untyped,
            _ => Form::Gauge,
        };
        self.value = value;
        self.exemplar = exemplar.cloned();
    }

    pub fn set_summary(&mut self, count: Number, sum: Option<f64>) {
        self.form = Form::Summary;
        (self.count, self.sum) = (count, sum);
        self.quantiles.clear();
    }

    /// (quantile, value) of the summary that was set before.
    pub fn set_quantiles(&mut self, quantiles: &[(f64, f64)]) {
        self.quantiles.extend_from_slice(quantiles);
    }

    pub fn set_states(&mut self, states: &[(Box<str>, bool)]) {
        self.form = Form::StateSet;
        self.states.clear();
        self.states.extend_from_slice(states);
    }

    /// The state before the first push: nothing was counted, in the same buckets.
    pub fn set_to_zero(&mut self) {
        self.value = 0.0;
        self.exemplar = None;
        self.count = Number::ZERO;
        self.sum = self.sum.map(|_| 0.0);
        self.quantiles.clear();
        self.histogram.set_to_zero();
    }

    /// Returns an empty histogram, to be filled.
    pub fn set_histogram(&mut self) -> &mut HistogramReading {
        self.form = Form::Histogram;
        self.histogram.clear();
        &mut self.histogram
    }

    pub fn reading(&self) -> Reading<'_> {
        match self.form {
            Form::Counter => {
                Reading::Counter { value: self.value, exemplar: self.exemplar.as_ref() }
            }
            Form::Gauge => Reading::Gauge(self.value),
            Form::Untyped => Reading::Untyped(self.value),
            Form::Summary => {
                Reading::Summary { count: self.count, sum: self.sum, quantiles: &self.quantiles }
            }
            Form::Histogram => Reading::Histogram(&self.histogram),
            Form::StateSet => Reading::StateSet(&self.states),
        }
    }
}

impl HistogramReading {
    fn set_to_zero(&mut self) {
        self.count = Number::ZERO;
        self.sum = self.sum.map(|_| 0.0);
        for bucket in &mut self.buckets {
            bucket.cumulative_count = Number::ZERO;
            bucket.exemplar = None;
        }
        if let Some(native) = &mut self.native {
            native.zero_count = Number::ZERO;
            native.positive.clear();
            native.negative.clear();
        }
        self.exemplars.clear();
    }

    pub fn clear(&mut self) {
        self.count = Number::ZERO;
        self.sum = None;
        self.buckets.clear();
        self.native = None;
        self.exemplars.clear();
    }
}
