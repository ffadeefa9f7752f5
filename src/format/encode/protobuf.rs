//! The delimited protobuf format (formats 9), written field by field. Labels come as canonical text,
//! and copying them into generated messages first would cost more than the writing.
//!
//! A message begins with its length, so a family is collected before it is written. One that is larger
//! than [`MESSAGE_BYTES_MAX`] is split into several messages with the same name, which Prometheus reads
//! as one family. This bounds the memory for a scrape of a million series.

use prost::encoding::{WireType, encoded_len_varint};

use super::labels::{Rewriter, Rewritten, raw_labels};
use super::plan::Planned;
use crate::format::escaping::Escaping;
use crate::format::protobuf::type_of;
use crate::model::{Exemplar, HistogramReading, NativeBuckets, Number, Reading};

/// How many bytes of metrics are collected before a message is written.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// No delta from zero can reach this population.
const DELTA_END: u64 = 1 << 63;

/// The usual NaN of Prometheus. Another NaN marks a series as stale, and its protobuf reader passes on
/// any NaN.
const NAN: u64 = 0x7ff8_0000_0000_0001;

#[derive(Debug)]
pub(super) struct Encoder {
    /// All fields of the family except its metrics.
    head: Vec<u8>,
    /// The label that holds the states of a stateset.
    pub(super) state_label: String,
    /// Collected metrics with their keys and lengths.
    metrics: Vec<u8>,
    /// The metric being written.
    metric: Vec<u8>,
    /// The value within it, and a part of that.
    value: Vec<u8>,
    part: Vec<u8>,
    exemplar_names: Rewriter,
    buckets: NativeLists,
}

/// One side of native buckets in the form of the wire, reused.
#[derive(Debug, Default)]
struct NativeLists {
    /// (offset, length)
    spans: Vec<(i32, u32)>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Encoder {
    pub(super) fn new(escaping: Escaping) -> Encoder {
        Encoder {
            head: Vec::new(),
            state_label: String::new(),
            metrics: Vec::new(),
            metric: Vec::new(),
            value: Vec::new(),
            part: Vec::new(),
            exemplar_names: Rewriter::new(escaping),
            buckets: NativeLists::default(),
        }
    }

    pub(super) fn open(&mut self, family: &Planned<'_>) {
        let kind = type_of(family.head.kind);
        self.metrics.clear();
        self.head.clear();
        bytes(&mut self.head, 1, family.name.as_bytes());
        if !family.head.help.is_empty() {
            bytes(&mut self.head, 2, family.head.help.as_bytes());
        }
        varint(&mut self.head, 3, kind as u64);
        if !family.head.unit.is_empty() {
            bytes(&mut self.head, 5, family.head.unit.as_bytes());
        }
        self.state_label.clear();
        self.state_label.push_str(&family.state_label);
    }

    pub(super) fn series(
        &mut self,
        out: &mut Vec<u8>,
        labels: &[u8],
        reading: &Reading<'_>,
        created_ms: Option<i64>,
    ) {
        self.metric.clear();
        self.value.clear();
        write_labels(&mut self.metric, labels);
        match *reading {
            Reading::Counter { value, exemplar } => {
                double(&mut self.value, 1, value);
                if let Some(exemplar) = exemplar {
                    write_exemplar(&mut self.value, 2, exemplar, &mut self.exemplar_names);
                }
                timestamp(&mut self.value, 3, created_ms);
                bytes(&mut self.metric, 3, &self.value);
            }
            Reading::Gauge(value) => {
                double(&mut self.value, 1, value);
                bytes(&mut self.metric, 2, &self.value);
            }
            Reading::Untyped(value) => {
                double(&mut self.value, 1, value);
                bytes(&mut self.metric, 5, &self.value);
            }
            Reading::Summary { count, sum, quantiles } => {
                self.summary(count, sum, quantiles, created_ms);
                bytes(&mut self.metric, 4, &self.value);
            }
            Reading::Histogram(histogram) => {
                self.histogram(histogram, created_ms);
                bytes(&mut self.metric, 7, &self.value);
            }
            Reading::StateSet(states) => {
                let series = self.metric.len();
                for (state, on) in states {
                    self.metric.truncate(series);
                    label(&mut self.metric, self.state_label.as_bytes(), state.as_bytes());
                    self.value.clear();
                    double(&mut self.value, 1, f64::from(u8::from(*on)));
                    bytes(&mut self.metric, 2, &self.value);
                    self.metric(out);
                }
                return;
            }
        }
        self.metric(out);
    }

    /// Adds the finished metric to the message.
    fn metric(&mut self, out: &mut Vec<u8>) {
        bytes(&mut self.metrics, 4, &self.metric);
        if self.metrics.len() >= MESSAGE_BYTES_MAX {
            self.end(out);
        }
    }

    /// Writes the collected metrics as a message.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        if self.metrics.is_empty() {
            return;
        }
        push_varint(out, (self.head.len() + self.metrics.len()) as u64);
        out.extend_from_slice(&self.head);
        out.append(&mut self.metrics);
    }

    fn summary(
        &mut self,
        count: Number,
        sum: Option<f64>,
        quantiles: &[(f64, f64)],
        created_ms: Option<i64>,
    ) {
        let count = match count {
            Number::Int(count) => count,
            Number::Float(count) => count as u64,
        };
        varint(&mut self.value, 1, count);
        if let Some(sum) = sum {
            double(&mut self.value, 2, sum);
        }
        for &(quantile, value) in quantiles {
            self.part.clear();
            double(&mut self.part, 1, quantile);
            double(&mut self.part, 2, value);
            bytes(&mut self.value, 3, &self.part);
        }
        timestamp(&mut self.value, 4, created_ms);
    }

    fn histogram(&mut self, histogram: &HistogramReading, created_ms: Option<i64>) {
        let float = is_float(histogram);
        let out = &mut self.value;
        count(out, 1, 4, histogram.count, float);
        if let Some(sum) = histogram.sum {
            double(out, 2, sum);
        }
        for bucket in &histogram.buckets {
            self.part.clear();
            count(&mut self.part, 1, 4, bucket.cumulative_count, float);
            double(&mut self.part, 2, bucket.upper_bound);
            if let Some(exemplar) = &bucket.exemplar {
                write_exemplar(&mut self.part, 3, exemplar, &mut self.exemplar_names);
            }
            bytes(out, 3, &self.part);
        }
        if let Some(native) = &histogram.native {
            sint(out, 5, i64::from(native.schema));
            double(out, 6, native.zero_threshold);
            count(out, 7, 8, native.zero_count, float);
            self.buckets.fill(&native.negative, float);
            self.buckets.write(out, &mut self.part, 9);
            self.buckets.fill(&native.positive, float);
            // Without a span or a zero bucket, Prometheus would take it for a classic one.
            if is_unmarked(native) {
                self.buckets.spans.push((0, 0));
            }
            self.buckets.write(out, &mut self.part, 12);
        }
        timestamp(out, 15, created_ms);
        if histogram.native.is_some() {
            for exemplar in &histogram.exemplars {
                write_exemplar(out, 16, exemplar, &mut self.exemplar_names);
            }
        }
    }
}

/// A histogram is written as floats if any number is a fraction or out of reach of a delta, or if its
/// buckets do not add up to the count, which readers demand only of integers.
fn is_float(histogram: &HistogramReading) -> bool {
    let float = |count: Number| matches!(count, Number::Float(_));
    let Number::Int(count) = histogram.count else { return true };
    histogram.buckets.iter().any(|bucket| float(bucket.cumulative_count))
        || histogram.native.as_ref().is_some_and(|native| match whole_observations(native) {
            Some(observations) if observations == count.into() => false,
            // Observations of NaN are not in any bucket.
            Some(observations) => {
                observations > count.into() || !histogram.sum.is_some_and(f64::is_nan)
            }
            None => true,
        })
}

/// The observations in all buckets; `None` if there is a fraction or a population that no delta
/// reaches.
fn whole_observations(native: &NativeBuckets) -> Option<u128> {
    let Number::Int(zero_count) = native.zero_count else { return None };
    let mut populations = native.positive.iter().chain(&native.negative);
    populations.try_fold(zero_count.into(), |sum, (_, population)| match population {
        Number::Int(count @ 0..DELTA_END) => Some(sum + u128::from(*count)),
        _ => None,
    })
}

/// Prometheus recognises native histograms by spans, a threshold or an integer zero count.
fn is_unmarked(native: &NativeBuckets) -> bool {
    let populated = |side: &[(i32, Number)]| side.iter().any(|(_, count)| !count.is_zero());
    native.zero_threshold == 0.0 && !populated(&native.positive) && !populated(&native.negative)
}

impl NativeLists {
    /// Empty buckets are left out, and every gap begins a new span: Prometheus' bucket limit counts
    /// the elements of the lists.
    fn fill(&mut self, side: &[(i32, Number)], float: bool) {
        self.spans.clear();
        self.deltas.clear();
        self.counts.clear();
        let mut next = 0;
        let mut before = 0;
        for &(index, population) in side.iter().filter(|(_, population)| !population.is_zero()) {
            match self.spans.last_mut() {
                Some((_, length)) if index == next => *length += 1,
                _ => self.spans.push((index.wrapping_sub(next), 1)),
            }
            next = index.wrapping_add(1);
            match population {
                _ if float => self.counts.push(population.as_f64()),
                Number::Int(population) => {
                    let population = population as i64;
                    self.deltas.push(population - before);
                    before = population;
                }
                Number::Float(_) => {}
            }
        }
    }

    /// Spans, deltas and counts have consecutive numbers.
    fn write(&self, out: &mut Vec<u8>, part: &mut Vec<u8>, number: u32) {
        for &(offset, length) in &self.spans {
            part.clear();
            sint(part, 1, i64::from(offset));
            varint(part, 2, u64::from(length));
            bytes(out, number, part);
        }
        if !self.deltas.is_empty() {
            part.clear();
            self.deltas.iter().for_each(|&delta| push_varint(part, zigzag(delta)));
            bytes(out, number + 1, part);
        }
        if !self.counts.is_empty() {
            part.clear();
            self.counts.iter().for_each(|&count| part.extend_from_slice(&bits(count)));
            bytes(out, number + 2, part);
        }
    }
}

fn write_labels(out: &mut Vec<u8>, labels: &[u8]) {
    if memchr::memchr(b'\\', labels).is_some() {
        for raw in raw_labels(labels) {
            label(out, &raw.name(), &raw.value());
        }
        return;
    }
    // Without escapes, every quote opens or closes something. Names and values are so short that
    // looking at each byte is faster than starting a search for each of them.
    let mut quotes = labels.iter().enumerate().filter(|(_, byte)| **byte == b'"').map(|(at, _)| at);
    let mut start = 0;
    while let (Some(open), Some(close)) = (quotes.next(), quotes.next()) {
        let (name, open, close) = if open > start {
            (&labels[start..open - 1], open, close)
        } else {
            let name = &labels[open + 1..close];
            let (Some(open), Some(close)) = (quotes.next(), quotes.next()) else { return };
            (name, open, close)
        };
        label(out, name, &labels[open + 1..close]);
        start = close + 2;
    }
}

fn label(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let text = name.len() + value.len();
    out.reserve(text + 16);
    if text + 4 < 0x80 {
        // The usual case: all keys and lengths take one byte.
        out.extend_from_slice(&[0x0a, text as u8 + 4, 0x0a, name.len() as u8]);
        out.extend_from_slice(name);
        out.extend_from_slice(&[0x12, value.len() as u8]);
        out.extend_from_slice(value);
    } else {
        let length = 2 + length_len(name.len()) + length_len(value.len()) + text;
        key(out, 1, WireType::LengthDelimited);
        push_varint(out, length as u64);
        bytes(out, 1, name);
        bytes(out, 2, value);
    }
}

/// Writes nothing if escaping gives two labels the same name.
fn write_exemplar(out: &mut Vec<u8>, number: u32, exemplar: &Exemplar, names: &mut Rewriter) {
    let (Rewritten::Unchanged(labels) | Rewritten::Changed(labels)) =
        names.rewrite(exemplar.labels.as_bytes())
    else {
        return;
    };
    // Exemplars are rare, so they may allocate.
    let mut message = Vec::with_capacity(labels.len() + 40);
    write_labels(&mut message, labels);
    double(&mut message, 2, exemplar.value);
    timestamp(&mut message, 3, exemplar.timestamp_ms);
    bytes(out, number, &message);
}

fn timestamp(out: &mut Vec<u8>, number: u32, milliseconds: Option<i64>) {
    let Some(milliseconds) = milliseconds else { return };
    let (seconds, nanos) =
        (milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000) * 1_000_000);
    let length = 2 + encoded_len_varint(seconds as u64) + encoded_len_varint(nanos as u64);
    key(out, number, WireType::LengthDelimited);
    push_varint(out, length as u64);
    varint(out, 1, seconds as u64);
    varint(out, 2, nanos as u64);
}

/// A count, in the field for integers or that for floats.
fn count(out: &mut Vec<u8>, integer: u32, float: u32, count: Number, is_float: bool) {
    match count {
        Number::Int(count) if !is_float => varint(out, integer, count),
        _ => double(out, float, count.as_f64()),
    }
}

#[inline]
fn bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    key(out, number, WireType::LengthDelimited);
    push_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

#[inline]
fn varint(out: &mut Vec<u8>, number: u32, value: u64) {
    key(out, number, WireType::Varint);
    push_varint(out, value);
}

fn sint(out: &mut Vec<u8>, number: u32, value: i64) {
    varint(out, number, zigzag(value));
}

#[inline]
fn double(out: &mut Vec<u8>, number: u32, value: f64) {
    key(out, number, WireType::SixtyFourBit);
    out.extend_from_slice(&bits(value));
}

fn bits(value: f64) -> [u8; 8] {
    if value.is_nan() { NAN.to_le_bytes() } else { value.to_le_bytes() }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Inlined, because `number` is always a constant: what is left is one or two bytes.
#[inline(always)]
fn key(out: &mut Vec<u8>, number: u32, wire_type: WireType) {
    push_varint(out, u64::from(number << 3 | wire_type as u32));
}

#[inline]
fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    if value < 0x80 {
        out.push(value as u8);
        return;
    }
    let mut buffer = [0; 10];
    let mut length = 0;
    while value >= 0x80 {
        buffer[length] = value as u8 | 0x80;
        value >>= 7;
        length += 1;
    }
    buffer[length] = value as u8;
    out.extend_from_slice(&buffer[..=length]);
}

fn length_len(length: usize) -> usize {
    encoded_len_varint(length as u64)
}
