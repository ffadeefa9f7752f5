//! Text 0.0.4 and 1.0.0 (formats 3, 4 and 7): one syntax. Names with other than the legacy characters
//! are quoted if the scraper can read that, and have been escaped otherwise.
//!
//! Types that the format does not have are written as the nearest one: gauge histograms as `histogram`,
//! info and statesets as `gauge`, native histograms with only their `+Inf` bucket.

use super::Pieces;
use super::lines::{Bounds, Escapes, SampleName, bound_label, metadata, state_label, text_value};
use super::plan::Planned;
use crate::format::write_number::{text_count_line, text_float};
use crate::model::{HistogramReading, Kind, Number, Reading};

#[derive(Debug)]
pub(super) struct Encoder {
    /// Still to be written, before the next series.
    head: Vec<u8>,
    /// The label for the states of a stateset.
    pub(super) state_label: String,
    name: SampleName,
    bucket: SampleName,
    sum: SampleName,
    count: SampleName,
    bounds: Bounds,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        Encoder {
            head: Vec::new(),
            state_label: String::new(),
            name: SampleName::default(),
            bucket: SampleName::default(),
            sum: SampleName::default(),
            count: SampleName::default(),
            bounds: Bounds::new(text_float),
        }
    }

    pub(super) fn open(&mut self, family: &Planned<'_>, head: bool) {
        let name = &family.name;
        self.head.clear();
        if head {
            if !family.head.help.is_empty() {
                metadata(&mut self.head, "HELP", name, "", family.head.help, Escapes::Plain);
            }
            metadata(&mut self.head, "TYPE", name, "", word(family.head.kind), Escapes::Plain);
        }
        self.name.set(name, "");
        match family.head.kind {
            Kind::Histogram | Kind::GaugeHistogram | Kind::Summary => {
                self.bucket.set(name, "_bucket");
                self.sum.set(name, "_sum");
                self.count.set(name, "_count");
            }
            Kind::StateSet => {
                self.state_label.clear();
                self.state_label.push_str(&family.state_label);
            }
            _ => {}
        }
    }

    #[inline]
    pub(super) fn series(&mut self, out: &mut Vec<u8>, labels: Pieces<'_>, reading: &Reading<'_>) {
        if !self.head.is_empty() {
            out.append(&mut self.head);
        }
        match *reading {
            Reading::Counter { value, .. } | Reading::Gauge(value) | Reading::Untyped(value) => {
                self.name.write(out, labels);
                text_value(out, value);
            }
            Reading::Summary { count, sum, quantiles } => {
                for &(quantile, value) in quantiles {
                    self.name.write_open(out, labels);
                    bound_label(out, b"quantile", quantile, text_float);
                    text_value(out, value);
                }
                self.sum_and_count(out, labels, sum, count);
            }
            Reading::Histogram(histogram) => self.histogram(out, labels, histogram),
            Reading::StateSet(states) => {
                for (state, on) in states {
                    self.name.write_open(out, labels);
                    state_label(out, &self.state_label, state);
                    out.extend_from_slice(if *on { b"1\n" } else { b"0\n" });
                }
            }
        }
    }

    fn histogram(&mut self, out: &mut Vec<u8>, labels: Pieces<'_>, histogram: &HistogramReading) {
        let start = out.len();
        self.bucket.write_open(out, labels);
        let opened = start..out.len();
        // The first line has been begun; the others copy its beginning.
        let mut first = true;
        let mut line = |out: &mut Vec<u8>, label: &[u8], count| {
            if !std::mem::take(&mut first) {
                out.extend_from_within(opened.clone());
            }
            out.extend_from_slice(label);
            text_count_line(out, count);
        };
        let buckets = &histogram.buckets;
        for (label, bucket) in self.bounds.of(buckets).zip(buckets) {
            line(out, label, bucket.cumulative_count);
        }
        if !buckets.iter().rev().any(|bucket| bucket.upper_bound == f64::INFINITY) {
            line(out, b"le=\"+Inf\"} ", histogram.count);
        }
        self.sum_and_count(out, labels, histogram.sum, histogram.count);
    }

    fn sum_and_count(
        &self,
        out: &mut Vec<u8>,
        labels: Pieces<'_>,
        sum: Option<f64>,
        count: Number,
    ) {
        if let Some(sum) = sum {
            self.sum.write(out, labels);
            text_value(out, sum);
        }
        self.count.write(out, labels);
        text_count_line(out, count);
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::Info | Kind::StateSet => "gauge",
        Kind::Untyped => "untyped",
        Kind::Summary => "summary",
        Kind::Histogram | Kind::GaugeHistogram => "histogram",
    }
}
