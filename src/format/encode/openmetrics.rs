//! OpenMetrics 1.0 text (formats 5 and 7).
//!
//! The plan decides on the name and type of a family. Families that lost their type because strict
//! readers would refuse them with it (see [`fits`]) become one `unknown` family per sample name. Those
//! of counts and sums are held back to the end of the family, because families must not interleave in
//! OpenMetrics.

use super::Options;
use super::Pieces;
use super::labels::{Rewriter, Rewritten, raw_labels};
use super::lines::{Bounds, Escapes, SampleName, bound_label, metadata, state_label};
use super::plan::{OpenMetricsType, Planned};
use crate::format::write_number::{openmetrics_count, openmetrics_float, openmetrics_seconds};
use crate::model::{Exemplar, HistogramReading, Kind, Number, Reading};

#[derive(Debug)]
pub(super) struct Encoder {
    created_lines: bool,
    kind: OpenMetricsType,
    /// Still to be written, before the next series.
    head: Vec<u8>,
    /// The label for the states of a stateset.
    pub(super) state_label: String,
    name: SampleName,
    bucket: SampleName,
    sum: SampleName,
    count: SampleName,
    created: SampleName,
    bounds: Bounds,
    exemplar_names: Rewriter,
    /// The families of the other sample names, for a family without its type.
    held_back: [HeldBack; 2],
}

/// An unknown family to be written after another.
#[derive(Debug, Default)]
struct HeldBack {
    head: Vec<u8>,
    lines: Vec<u8>,
}

const SUMS: usize = 0;
const COUNTS: usize = 1;

/// Whether a reading obeys the rules of OpenMetrics for its type. Prometheus reads it in any case, but
/// strict readers would refuse the whole exposition (formats 5 and 7).
pub fn fits(kind: Kind, reading: &Reading<'_>) -> bool {
    let is_integer = |count: Number| matches!(count, Number::Int(_));
    match *reading {
        Reading::Counter { value, .. } => value >= 0.0,
        Reading::Gauge(value) => kind != Kind::Info || value == 1.0,
        Reading::Untyped(_) | Reading::StateSet(_) => true,
        Reading::Summary { count, sum, quantiles } => {
            is_integer(count)
                && sum.is_none_or(|sum| sum >= 0.0)
                && quantiles.iter().all(|&(quantile, value)| {
                    (0.0..=1.0).contains(&quantile) && (value >= 0.0 || value.is_nan())
                })
        }
        Reading::Histogram(histogram) => {
            let buckets = &histogram.buckets;
            let negative = buckets.first().is_some_and(|bucket| bucket.upper_bound < 0.0);
            let sum = match (kind, histogram.sum) {
                // Without a sum, the count would have to be left out, too.
                (_, None) => false,
                (Kind::GaugeHistogram, Some(sum)) => sum >= 0.0 || (negative && sum < 0.0),
                (_, Some(sum)) => sum >= 0.0 && !negative,
            };
            let last = buckets.last().filter(|last| last.upper_bound == f64::INFINITY);
            sum && is_integer(histogram.count)
                && last.is_none_or(|last| last.cumulative_count == histogram.count)
                && buckets.iter().all(|bucket| is_integer(bucket.cumulative_count))
                && buckets.is_sorted_by(|a, b| {
                    a.upper_bound < b.upper_bound && a.cumulative_count <= b.cumulative_count
                })
                && buckets.last().is_none_or(|b| b.cumulative_count <= histogram.count)
        }
    }
}

impl Encoder {
    pub(super) fn new(options: Options) -> Encoder {
        Encoder {
            created_lines: options.created_lines,
            kind: OpenMetricsType::Unknown,
            head: Vec::new(),
            state_label: String::new(),
            name: SampleName::default(),
            bucket: SampleName::default(),
            sum: SampleName::default(),
            count: SampleName::default(),
            created: SampleName::default(),
            bounds: Bounds::new(openmetrics_float),
            exemplar_names: Rewriter::new(options.escaping),
            held_back: Default::default(),
        }
    }

    pub(super) fn open(&mut self, family: &Planned<'_>, head: bool) {
        let (kind, name) = (family.openmetrics, family.openmetrics_name());
        let help = family.head.help;
        let write_head = |out: &mut Vec<u8>, suffix: &str| {
            out.clear();
            if head {
                if !help.is_empty() {
                    metadata(out, "HELP", name, suffix, help, Escapes::Quoted);
                }
                metadata(out, "TYPE", name, suffix, kind.word(), Escapes::Quoted);
            }
        };
        self.kind = kind;
        self.name.set(name, kind.own_suffix());
        match kind {
            OpenMetricsType::Split => {
                let histogram = family.head.kind != Kind::Summary;
                write_head(&mut self.head, if histogram { "_bucket" } else { "" });
                write_head(&mut self.held_back[SUMS].head, "_sum");
                write_head(&mut self.held_back[COUNTS].head, "_count");
            }
            _ => write_head(&mut self.head, ""),
        }
        if head && unit_may_stand(family) {
            metadata(&mut self.head, "UNIT", name, "", family.head.unit, Escapes::Quoted);
        }
        match kind {
            OpenMetricsType::Counter => self.created.set(name, "_created"),
            OpenMetricsType::Histogram | OpenMetricsType::Summary | OpenMetricsType::Split => {
                self.bucket.set(name, "_bucket");
                self.sum.set(name, "_sum");
                self.count.set(name, "_count");
                self.created.set(name, "_created");
            }
            OpenMetricsType::GaugeHistogram => {
                self.bucket.set(name, "_bucket");
                self.sum.set(name, "_gsum");
                self.count.set(name, "_gcount");
            }
            _ => {}
        }
        self.state_label.clear();
        self.state_label.push_str(&family.state_label);
    }

    pub(super) fn series(
        &mut self,
        out: &mut Vec<u8>,
        labels: Pieces<'_>,
        reading: &Reading<'_>,
        created_ms: Option<i64>,
    ) {
        if self.kind != OpenMetricsType::Split
            || !matches!(reading, Reading::Summary { quantiles: [], .. })
        {
            out.append(&mut self.head);
        }
        match *reading {
            Reading::Counter { value, exemplar } => {
                self.name.write(out, labels);
                openmetrics_float(out, value);
                if self.kind == OpenMetricsType::Counter {
                    self.exemplar(out, exemplar);
                }
                out.push(b'\n');
            }
            Reading::Gauge(value) | Reading::Untyped(value) => {
                self.name.write(out, labels);
                value_line(out, value);
            }
            Reading::Summary { count, sum, quantiles } => {
                for &(quantile, value) in quantiles {
                    self.name.write_open(out, labels);
                    bound_label(out, b"quantile", quantile, openmetrics_float);
                    value_line(out, value);
                }
                self.sum_and_count(out, labels, sum, count);
            }
            Reading::Histogram(histogram) => {
                self.buckets(out, labels, histogram);
                self.sum_and_count(out, labels, histogram.sum, histogram.count);
            }
            Reading::StateSet(states) => {
                for (state, on) in states {
                    self.name.write_open(out, labels);
                    state_label(out, &self.state_label, state);
                    out.extend_from_slice(if *on { b"1.0\n" } else { b"0.0\n" });
                }
            }
        }
        if let Some(created_ms) = created_ms.filter(|_| self.created_lines)
            && matches!(
                self.kind,
                OpenMetricsType::Counter | OpenMetricsType::Histogram | OpenMetricsType::Summary
            )
        {
            self.created.write(out, labels);
            openmetrics_seconds(out, created_ms);
            out.push(b'\n');
        }
    }

    fn buckets(&mut self, out: &mut Vec<u8>, labels: Pieces<'_>, histogram: &HistogramReading) {
        let start = out.len();
        self.bucket.write_open(out, labels);
        let opened = start..out.len();
        let with_exemplars = self.kind != OpenMetricsType::Split;
        let names = &mut self.exemplar_names;
        // The first line has been begun; the others copy its beginning.
        let mut first = true;
        let mut line = |out: &mut Vec<u8>, label: &[u8], count, exemplar: Option<&Exemplar>| {
            if !std::mem::take(&mut first) {
                out.extend_from_within(opened.clone());
            }
            out.extend_from_slice(label);
            openmetrics_count(out, count);
            if let Some(exemplar) = exemplar.filter(|_| with_exemplars) {
                write_exemplar(out, exemplar, names);
            }
            out.push(b'\n');
        };
        let buckets = &histogram.buckets;
        for (label, bucket) in self.bounds.of(buckets).zip(buckets) {
            line(out, label, bucket.cumulative_count, bucket.exemplar.as_deref());
        }
        if buckets.last().is_none_or(|last| last.upper_bound != f64::INFINITY) {
            line(out, b"le=\"+Inf\"} ", histogram.count, None);
        }
    }

    fn sum_and_count(
        &mut self,
        out: &mut Vec<u8>,
        labels: Pieces<'_>,
        sum: Option<f64>,
        count: Number,
    ) {
        let split = self.kind == OpenMetricsType::Split;
        if let Some(sum) = sum {
            let to = if split { self.held_back[SUMS].open() } else { &mut *out };
            self.sum.write(to, labels);
            value_line(to, sum);
        }
        let to = if split { self.held_back[COUNTS].open() } else { out };
        self.count.write(to, labels);
        openmetrics_count(to, count);
        to.push(b'\n');
    }

    fn exemplar(&mut self, out: &mut Vec<u8>, exemplar: Option<&Exemplar>) {
        if let Some(exemplar) = exemplar {
            write_exemplar(out, exemplar, &mut self.exemplar_names);
        }
    }

    /// Appends the families that were held back.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        for family in &mut self.held_back {
            out.append(&mut family.lines);
            family.head.clear();
        }
    }
}

impl HeldBack {
    /// Where the next line goes.
    fn open(&mut self) -> &mut Vec<u8> {
        self.lines.append(&mut self.head);
        &mut self.lines
    }
}

fn value_line(out: &mut Vec<u8>, value: f64) {
    openmetrics_float(out, value);
    out.push(b'\n');
}

/// ` # {labels} value [seconds]`; nothing if the format does not allow it.
fn write_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar, names: &mut Rewriter) {
    let (Rewritten::Unchanged(labels) | Rewritten::Changed(labels)) =
        names.rewrite(exemplar.labels.as_bytes())
    else {
        return;
    };
    if labels.len() > Exemplar::CHARACTERS_MAX && characters(labels) > Exemplar::CHARACTERS_MAX {
        return;
    }
    // A NUL would fail the whole scrape: Prometheus accepts it in the labels of series, but not here.
    if labels.contains(&0) {
        return;
    }
    out.extend_from_slice(b" # {");
    out.extend_from_slice(labels);
    out.extend_from_slice(b"} ");
    openmetrics_float(out, exemplar.value);
    if let Some(timestamp_ms) = exemplar.timestamp_ms {
        out.push(b' ');
        openmetrics_seconds(out, timestamp_ms);
    }
}

/// Code points in all names and values.
fn characters(labels: &[u8]) -> usize {
    // Every byte except those that continue a code point.
    let count = |text: &[u8]| text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
    raw_labels(labels).map(|label| count(&label.name()) + count(&label.value())).sum()
}

/// The name of the family has to end in its unit, and some types have no unit.
fn unit_may_stand(family: &Planned<'_>) -> bool {
    let unit = family.head.unit;
    let typed = !matches!(
        family.openmetrics,
        OpenMetricsType::Info | OpenMetricsType::StateSet | OpenMetricsType::Split
    );
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b':';
    typed
        && !unit.is_empty()
        && unit.bytes().all(plain)
        && family.openmetrics_name().strip_suffix(unit).is_some_and(|base| base.ends_with('_'))
}
