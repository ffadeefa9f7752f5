//! Reads the delimited protobuf format (formats 9): a stream of `varint length, MetricFamily`.
//!
//! ```text
//! body ──walk──▶ MetricFamily ──walk──▶ Metric ──walk──▶ LabelPair        slices of the body
//!                                         └──prost──▶ Counter … Histogram  one at a time, reused
//! ```
//!
//! Metrics are read one by one into the [`Builder`], so memory depends on what is kept of a push, not
//! on what a few bytes can claim. Lengths are only compared, never used for an allocation. The messages
//! are in `proto/metrics.proto`, and `wire` is generated from it.

mod again;
mod fields;
mod native;
mod split;
#[rustfmt::skip]
#[allow(clippy::all, unreachable_pub, unused_qualifications)]
pub mod wire;

use prost::Message;

pub use self::again::Form;
use self::fields::{Fields, WireError};
pub use self::split::{RawMetric, join, split};
use super::{ParseError, Place, Timestamps};
use crate::model::exposition::{Bucket, BuildError};
use crate::model::labels::{self, Label};
use crate::model::{Builder, Exemplar, FamilyId, Grouping, Kind, Number, SeriesId};

/// The largest metric: room for ten thousand buckets with exemplars, while a metric of only empty
/// buckets takes no more than some 100 MiB when decoded.
const METRIC_BYTES_MAX: usize = 4 << 20;

/// Reads a whole body.
///
/// # Errors
/// If anything in it is malformed or cannot be part of an exposition. The exposition must then not be
/// used.
pub fn parse(body: &[u8], builder: Builder<'_>, timestamps: Timestamps) -> Result<(), ParseError> {
    parse_up_to(METRIC_BYTES_MAX, body, builder, timestamps)
}

/// Reads what was accepted once, and then written by us or by a server that we trust. It may have
/// become longer than it was when pushed, through another format or other labels, and must not be
/// refused now.
///
/// # Errors
/// As [`parse`], but a metric may have any size.
pub fn parse_trusted(
    body: &[u8],
    builder: Builder<'_>,
    timestamps: Timestamps,
) -> Result<(), ParseError> {
    parse_up_to(usize::MAX, body, builder, timestamps)
}

fn parse_up_to(
    metric_bytes_max: usize,
    body: &[u8],
    builder: Builder<'_>,
    timestamps: Timestamps,
) -> Result<(), ParseError> {
    let (scratch, kept) = (Scratch::default(), Vec::new());
    let mut parser = Parser { metric_bytes_max, builder, timestamps, scratch, kept };
    let mut stream = Fields::new(body);
    let mut at = 0;
    while !stream.is_empty() {
        let message = stream.delimited("family").map_err(|error| ParseError {
            place: Place::Message(format!("family {at}")),
            message: error.to_string(),
        })?;
        match parser.family(message) {
            Err(fault)
                if parser.builder.replaces() && !matches!(fault.problem, Problem::Wire(_)) =>
            {
                parser.builder.complain(fault.of_family(at).to_string());
            }
            read => read.map_err(|fault| fault.of_family(at))?,
        }
        at += 1;
    }
    // Pushes that replace are checked against everything stored, which then includes the push itself.
    if !parser.builder.replaces() {
        parser.check_suffixes()?;
    }
    Ok(parser.builder.finish()?)
}

/// A stream of one message: its length and the message.
pub fn delimited(message: &[u8]) -> Vec<u8> {
    let mut stream = Vec::with_capacity(message.len() + 10);
    prost::encoding::encode_varint(message.len() as u64, &mut stream);
    stream.extend_from_slice(message);
    stream
}

/// How many bytes the first message of a stream takes, including its length; `None` if it is
/// incomplete.
pub fn delimited_len(stream: &[u8]) -> Option<usize> {
    let mut fields = Fields::new(stream);
    fields.delimited("message").ok()?;
    Some(stream.len() - fields.len())
}

struct Parser<'b, 'e> {
    metric_bytes_max: usize,
    builder: Builder<'e>,
    timestamps: Timestamps,
    scratch: Scratch<'b>,
    /// Families with metrics, each once.
    kept: Vec<FamilyId>,
}

/// Buffers for reading one metric, reused for the next.
#[derive(Default)]
struct Scratch<'b> {
    labels: Vec<Label<'b>>,
    gauge: Seen<wire::Gauge>,
    counter: Seen<wire::Counter>,
    summary: Seen<wire::Summary>,
    untyped: Seen<wire::Untyped>,
    histogram: Seen<wire::Histogram>,
}

/// A message, and whether the metric had it. If it occurs twice, the second is merged into the first.
#[derive(Default)]
struct Seen<M> {
    seen: bool,
    message: M,
}

impl<M: Message + Default> Seen<M> {
    fn clear(&mut self) {
        if self.seen {
            self.message.clear();
            self.seen = false;
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.seen = true;
        Ok(self.message.merge(bytes)?)
    }

    fn get(&self) -> Result<&M, Fault> {
        if self.seen { Ok(&self.message) } else { Err(Fault::new(Problem::NoValue)) }
    }
}

/// All fields of a family except its metrics.
struct Head<'b> {
    name: &'b str,
    help: &'b str,
    kind: Kind,
    unit: &'b str,
    metrics: usize,
}

impl<'b> Parser<'b, '_> {
    fn family(&mut self, message: &'b [u8]) -> Result<(), Fault> {
        let head = read_head(message)?;
        // If pushes replace, a family without metrics empties the stored one.
        if head.metrics == 0 && !self.builder.replaces() {
            return Ok(());
        }
        if head.name.is_empty() {
            return Err(Fault::new(Problem::NoName));
        }
        let family = self.open_family(&head).map_err(|fault| fault.named(head.name))?;

        let mut fields = Fields::new(message);
        let mut at = 0;
        while let Some(key) = fields.next()? {
            if key.number != 4 {
                fields.skip(key)?;
                continue;
            }
            fields
                .bytes(key, "metric")
                .map_err(Fault::from)
                .and_then(|metric| self.metric(family, head.kind, metric))
                .map_err(|fault| Fault { metric: Some(at), ..fault }.named(head.name))?;
            at += 1;
        }
        Ok(())
    }

    /// A family may be split over several messages, which must agree on its metadata (G16).
    fn open_family(&mut self, head: &Head<'_>) -> Result<FamilyId, Fault> {
        if let Some(found) = self.builder.find_family(head.name) {
            if self.builder.replaces() {
                return Err(Fault::new(Problem::TwoMessages));
            }
            let before = self.builder.get(found);
            if before.kind != head.kind {
                let (first, second) = (before.kind, head.kind);
                return Err(Fault::new(Problem::TwoKinds { first, second }));
            }
            let (no_help, no_unit) = (before.help.is_none(), before.unit.is_none());
            if before.unit.is_some_and(|unit| !head.unit.is_empty() && unit != head.unit) {
                return Err(Fault::new(Problem::TwoUnits));
            }
            if no_help {
                self.builder.set_help(found, head.help);
            }
            if no_unit {
                self.builder.set_unit(found, head.unit);
            }
            return Ok(found);
        }
        let family = self.builder.family(head.name);
        self.builder.set_kind(family, head.kind);
        self.builder.set_help(family, head.help);
        self.builder.set_unit(family, head.unit);
        self.kept.push(family);
        Ok(family)
    }

    fn metric(&mut self, family: FamilyId, kind: Kind, message: &'b [u8]) -> Result<(), Fault> {
        if message.len() > self.metric_bytes_max {
            return Err(Fault::new(Problem::MetricTooLarge { bytes: message.len() }));
        }
        self.scratch.read(message, self.timestamps)?;
        if let Some(name) = kind.sample_label()
            && self.scratch.labels.iter().any(|label| label.name == name)
        {
            return Err(Fault::new(Problem::ReservedLabel { name, kind }));
        }
        let series = self.builder.series(family, &mut self.scratch.labels)?;
        let fault = |error: Fault| error.inside(field_of(kind));
        match kind {
            Kind::Gauge => {
                let value = self.scratch.gauge.get().map_err(fault)?.value();
                self.builder.set_scalar(series, value)?;
            }
            Kind::Untyped => {
                let value = self.scratch.untyped.get().map_err(fault)?.value();
                self.builder.set_scalar(series, value)?;
            }
            Kind::Counter => self.counter(series).map_err(fault)?,
            Kind::Summary => self.summary(series).map_err(fault)?,
            _ => self.histogram(series).map_err(fault)?,
        }
        Ok(())
    }

    fn counter(&mut self, series: SeriesId) -> Result<(), Fault> {
        let counter = self.scratch.counter.get()?;
        self.builder.set_scalar(series, counter.value())?;
        if let Some(exemplar) = counter.exemplar.as_ref().and_then(exemplar) {
            self.builder.add_exemplar(series, exemplar);
        }
        if let Some(created_ms) = counter.created_timestamp.and_then(milliseconds) {
            self.builder.set_created(series, created_ms);
        }
        Ok(())
    }

    fn summary(&mut self, series: SeriesId) -> Result<(), Fault> {
        let summary = self.scratch.summary.get()?;
        self.builder.set_count(series, Number::Int(summary.sample_count()))?;
        self.builder.set_sum(series, summary.sample_sum())?;
        for quantile in &summary.quantile {
            if quantile.quantile().is_nan() {
                return Err(Fault::new(Problem::NanBound("quantile")));
            }
            self.builder.add_quantile(series, quantile.quantile() + 0.0, quantile.value());
        }
        if let Some(created_ms) = summary.created_timestamp.and_then(milliseconds) {
            self.builder.set_created(series, created_ms);
        }
        Ok(())
    }

    fn histogram(&mut self, series: SeriesId) -> Result<(), Fault> {
        let histogram = self.scratch.histogram.get()?;
        let counted = count(histogram.sample_count, histogram.sample_count_float)?;
        let native = native::read(histogram)
            .map_err(|error| Fault::new(Problem::Native(error.to_string())))?;

        let mut infinite = false;
        for bucket in &histogram.bucket {
            let upper_bound = bucket.upper_bound();
            if upper_bound.is_nan() {
                return Err(Fault::new(Problem::NanBound("bucket")));
            }
            infinite |= upper_bound == f64::INFINITY;
            let population = count(bucket.cumulative_count, bucket.cumulative_count_float)?;
            self.builder.add_bucket(
                series,
                Bucket {
                    // -0 and 0 are the same bound.
                    upper_bound: upper_bound + 0.0,
                    cumulative_count: population.unwrap_or_default(),
                    exemplar: bucket.exemplar.as_deref().and_then(exemplar).map(Box::new),
                },
            );
        }
        // An absent number is 0, except that a missing count is taken from an infinite bucket (G7).
        match counted {
            None if infinite && native.is_none() => {}
            _ => self.builder.set_count(series, counted.unwrap_or_default())?,
        }
        self.builder.set_sum(series, histogram.sample_sum())?;
        if let Some(native) = native {
            self.builder.set_native(series, native)?;
        }
        for exemplar in histogram.exemplars.iter().filter_map(exemplar) {
            // Without a time it is unknown which one is newer (formats 10).
            if exemplar.timestamp_ms.is_some() {
                self.builder.add_exemplar(series, exemplar);
            }
        }
        if let Some(created_ms) = histogram.created_timestamp.and_then(milliseconds) {
            self.builder.set_created(series, created_ms);
        }
        Ok(())
    }

    /// In every text format, `x_count` next to a histogram `x` would be one name for two things.
    fn check_suffixes(&self) -> Result<(), ParseError> {
        for &family in &self.kept {
            let family = self.builder.get(family);
            for suffix in family.kind.sample_suffixes() {
                let name = format!("{}{suffix}", family.name);
                if self.builder.find_family(&name).is_some() {
                    let (kind, base) = (family.kind, family.name);
                    return Err(ParseError {
                        place: Place::Body,
                        message: format!(
                            "family {name:?} has the name of a sample of the {kind} {base:?}"
                        ),
                    });
                }
            }
        }
        Ok(())
    }
}

/// The first pass over a family: fields come in any order, so its metrics have to wait.
fn read_head(message: &[u8]) -> Result<Head<'_>, Fault> {
    let (mut name, mut help, mut unit) = ("", "", "");
    let mut kind = wire::MetricType::Counter;
    let mut metrics = 0;
    let mut fields = Fields::new(message);
    while let Some(key) = fields.next()? {
        match key.number {
            1 => name = utf8(fields.bytes(key, "name")?, "name")?,
            2 => help = utf8(fields.bytes(key, "help")?, "help")?,
            3 => {
                let number = fields.varint(key, "type")?;
                // Enums are int32 on the wire: only the low bits of a longer varint count.
                kind = wire::MetricType::try_from(number as i32)
                    .map_err(|_| Fault::new(Problem::UnknownType(number as i32)))?;
            }
            4 => {
                fields.bytes(key, "metric")?;
                metrics += 1;
            }
            5 => unit = utf8(fields.bytes(key, "unit")?, "unit")?,
            _ => fields.skip(key)?,
        }
    }
    let kind = match kind {
        wire::MetricType::Counter => Kind::Counter,
        wire::MetricType::Gauge => Kind::Gauge,
        wire::MetricType::Summary => Kind::Summary,
        wire::MetricType::Untyped => Kind::Untyped,
        wire::MetricType::Histogram => Kind::Histogram,
        wire::MetricType::GaugeHistogram => Kind::GaugeHistogram,
    };
    Ok(Head { name, help, kind, unit, metrics })
}

impl<'b> Scratch<'b> {
    fn read(&mut self, message: &'b [u8], timestamps: Timestamps) -> Result<(), Fault> {
        self.labels.clear();
        self.gauge.clear();
        self.counter.clear();
        self.summary.clear();
        self.untyped.clear();
        self.histogram.clear();
        let mut fields = Fields::new(message);
        while let Some(key) = fields.next()? {
            match key.number {
                1 => self.labels.push(read_label(fields.bytes(key, "label")?)?),
                2 => self.gauge.merge(fields.bytes(key, "gauge")?)?,
                3 => self.counter.merge(fields.bytes(key, "counter")?)?,
                4 => self.summary.merge(fields.bytes(key, "summary")?)?,
                5 => self.untyped.merge(fields.bytes(key, "untyped")?)?,
                6 => {
                    fields.varint(key, "timestamp_ms")?;
                    if timestamps == Timestamps::Reject {
                        return Err(Fault::new(Problem::Timestamp));
                    }
                }
                7 => self.histogram.merge(fields.bytes(key, "histogram")?)?,
                _ => fields.skip(key)?,
            }
        }
        Ok(())
    }
}

fn read_label(message: &[u8]) -> Result<Label<'_>, Fault> {
    let (mut name, mut value) = ("", "");
    let mut fields = Fields::new(message);
    while let Some(key) = fields.next()? {
        match key.number {
            1 => name = utf8(fields.bytes(key, "label name")?, "label name")?,
            2 => value = utf8(fields.bytes(key, "label value")?, "label value")?,
            _ => fields.skip(key)?,
        }
    }
    Ok(Label::raw(name, value))
}

fn utf8<'b>(bytes: &'b [u8], field: &'static str) -> Result<&'b str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::new(Problem::NotUtf8(field)))
}

/// A count from its two fields: the float takes precedence if it is greater than 0.
fn count(integer: Option<u64>, float: Option<f64>) -> Result<Option<Number>, Fault> {
    match float {
        Some(float) if float > 0.0 => Ok(Some(Number::from_f64(float))),
        Some(float) if float < 0.0 || float.is_nan() => Err(Fault::new(Problem::Count(float))),
        _ => Ok(integer.map(Number::Int)),
    }
}

/// An exemplar is no reason to refuse a push (merge-semantics 1): invalid ones are left out.
fn exemplar(exemplar: &wire::Exemplar) -> Option<Exemplar> {
    let mut pairs: Vec<_> =
        exemplar.label.iter().map(|pair| Label::raw(pair.name(), pair.value())).collect();
    let characters = |pair: &Label<'_>| pair.name.chars().count() + pair.value.chars().count();
    if pairs.iter().map(characters).sum::<usize>() > Exemplar::CHARACTERS_MAX {
        return None;
    }
    let mut text = String::new();
    labels::write_canonical(&mut text, &mut pairs, &Grouping::default()).ok()?;
    let timestamp_ms = match exemplar.timestamp {
        Some(timestamp) => Some(milliseconds(timestamp)?),
        None => None,
    };
    Some(Exemplar { labels: text.into(), value: exemplar.value(), timestamp_ms })
}

/// `None` for invalid times: nanoseconds that exceed a second, or seconds outside the years 1 to 9999,
/// for which alone the message is defined. Other formats could not express times far outside these to
/// the millisecond.
fn milliseconds(timestamp: wire::Timestamp) -> Option<i64> {
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    let (seconds, nanos) = (timestamp.seconds(), timestamp.nanos());
    let is_time = SECONDS.contains(&seconds) && (0..1_000_000_000).contains(&nanos);
    is_time.then(|| seconds * 1000 + i64::from(nanos) / 1_000_000)
}

/// The type on the wire for a kind.
pub(in crate::format) fn type_of(kind: Kind) -> wire::MetricType {
    match kind {
        Kind::Counter => wire::MetricType::Counter,
        Kind::Gauge | Kind::Info | Kind::StateSet => wire::MetricType::Gauge,
        Kind::Untyped => wire::MetricType::Untyped,
        Kind::Summary => wire::MetricType::Summary,
        Kind::Histogram => wire::MetricType::Histogram,
        Kind::GaugeHistogram => wire::MetricType::GaugeHistogram,
    }
}

fn field_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::Info | Kind::StateSet => "gauge",
        Kind::Untyped => "untyped",
        Kind::Summary => "summary",
        Kind::Histogram | Kind::GaugeHistogram => "histogram",
    }
}

/// A problem in a family, and its path as far as it is known.
#[derive(Debug)]
struct Fault {
    name: Option<String>,
    metric: Option<usize>,
    field: Option<&'static str>,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("{0}")]
    Native(String),
    #[error("a family with metrics needs a name")]
    NoName,
    #[error("{0} is not valid UTF-8")]
    NotUtf8(&'static str),
    #[error("type {0} is not known")]
    UnknownType(i32),
    #[error("the family is a {first} in one message and a {second} in another")]
    TwoKinds { first: Kind, second: Kind },
    #[error("the family comes in two messages, of which one would replace the other")]
    TwoMessages,
    #[error("the family has different units in two messages")]
    TwoUnits,
    #[error("it has {bytes} bytes, more than {METRIC_BYTES_MAX}")]
    MetricTooLarge { bytes: usize },
    #[error("the metric does not have it, but the type of its family needs it")]
    NoValue,
    #[error("label {name:?} is reserved on a {kind}")]
    ReservedLabel { name: &'static str, kind: Kind },
    #[error("timestamps are refused: a sum has no sample time")]
    Timestamp,
    #[error("the bound of a {0} is NaN")]
    NanBound(&'static str),
    #[error("a count is {0}")]
    Count(f64),
}

impl Fault {
    fn new(problem: Problem) -> Fault {
        Fault { name: None, metric: None, field: None, problem }
    }

    fn named(self, family: &str) -> Fault {
        Fault { name: Some(family.to_owned()), ..self }
    }

    fn inside(self, field: &'static str) -> Fault {
        Fault { field: Some(field), ..self }
    }

    fn of_family(self, at: usize) -> ParseError {
        let mut path = format!("family {at}");
        if let Some(name) = self.name {
            path.push_str(&format!(" ({name:?})"));
        }
        if let Some(metric) = self.metric {
            path.push_str(&format!(", metric {metric}"));
        }
        if let Some(field) = self.field {
            path.push_str(&format!(", {field}"));
        }
        ParseError { place: Place::Message(path), message: self.problem.to_string() }
    }
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Fault {
        Fault::new(error.into())
    }
}

impl From<BuildError> for Fault {
    fn from(error: BuildError) -> Fault {
        Fault::new(error.into())
    }
}

#[cfg(test)]
pub(super) mod tests;
