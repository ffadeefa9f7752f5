//! Tables of accepted and refused bodies, named after the rules of formats 9 (those of section 10 are
//! in `native`), and helpers to write them.

mod content;
mod stream;

use std::fmt::Write;

use expect_test::{Expect, expect};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

use super::*;
use crate::model::Exposition;
use crate::model::exposition::PushedValue;
use wire::MetricType;

// === Bodies ===

/// A message after its length.
fn delimited(message: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    encode_varint(message.len() as u64, &mut body);
    body.extend_from_slice(message);
    body
}

fn varint(number: u32, value: u64) -> Vec<u8> {
    let mut field = Vec::new();
    encode_varint(u64::from(number << 3), &mut field);
    encode_varint(value, &mut field);
    field
}

fn fixed64(number: u32, value: f64) -> Vec<u8> {
    let mut field = Vec::new();
    encode_varint(u64::from(number << 3 | 1), &mut field);
    field.extend_from_slice(&value.to_le_bytes());
    field
}

fn fixed32(number: u32, value: u32) -> Vec<u8> {
    let mut field = Vec::new();
    encode_varint(u64::from(number << 3 | 5), &mut field);
    field.extend_from_slice(&value.to_le_bytes());
    field
}

fn bytes(number: u32, value: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    encode_varint(u64::from(number << 3 | 2), &mut field);
    field.extend_from_slice(&delimited(value));
    field
}

fn group(number: u32, inside: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    encode_varint(u64::from(number << 3 | 3), &mut field);
    field.extend_from_slice(inside);
    encode_varint(u64::from(number << 3 | 4), &mut field);
    field
}

/// A family `x` with these fields besides its name.
fn x(fields: &[Vec<u8>]) -> Vec<u8> {
    delimited(&[bytes(1, b"x"), fields.concat()].concat())
}

/// A metric of family `x`.
fn x_metric(kind: MetricType, metric: &[Vec<u8>]) -> Vec<u8> {
    x(&[varint(3, kind as u64), bytes(4, &metric.concat())])
}

fn counter_of(value: f64) -> Vec<u8> {
    bytes(3, &fixed64(1, value))
}

fn body(families: &[wire::MetricFamily]) -> Vec<u8> {
    families.iter().flat_map(|family| family.encode_length_delimited_to_vec()).collect()
}

fn family(name: &str, kind: MetricType, metrics: Vec<wire::Metric>) -> wire::MetricFamily {
    wire::MetricFamily {
        name: Some(name.to_owned()),
        r#type: Some(kind.into()),
        metric: metrics,
        ..wire::MetricFamily::default()
    }
}

fn label(name: &str, value: &str) -> wire::LabelPair {
    wire::LabelPair { name: Some(name.to_owned()), value: Some(value.to_owned()) }
}

fn counter(labels: &[(&str, &str)], value: f64) -> wire::Metric {
    wire::Metric {
        label: labels.iter().map(|(name, value)| label(name, value)).collect(),
        counter: Some(wire::Counter { value: Some(value), ..wire::Counter::default() }),
        ..wire::Metric::default()
    }
}

fn histogram(histogram: wire::Histogram) -> Vec<u8> {
    let metric = wire::Metric { histogram: Some(histogram), ..wire::Metric::default() };
    body(&[family("h", MetricType::Histogram, vec![metric])])
}

fn bucket(upper_bound: f64, count: u64) -> wire::Bucket {
    wire::Bucket {
        upper_bound: Some(upper_bound),
        cumulative_count: Some(count),
        ..wire::Bucket::default()
    }
}

fn summary(summary: wire::Summary) -> Vec<u8> {
    let metric = wire::Metric { summary: Some(summary), ..wire::Metric::default() };
    body(&[family("s", MetricType::Summary, vec![metric])])
}

// === What was read, as text ===

fn read(body: &[u8], timestamps: Timestamps) -> Result<String, ParseError> {
    let grouping = Grouping::new([("job", "j")]).unwrap();
    let mut exposition = Exposition::default();
    parse(body, exposition.build(&grouping), timestamps)?;
    Ok(dump(&exposition))
}

pub(in crate::format) fn dump(exposition: &Exposition) -> String {
    let mut out = String::new();
    for family in exposition.families() {
        let (help, unit) = (family.help.unwrap_or("-"), family.unit.unwrap_or("-"));
        writeln!(out, "{} {} help={help} unit={unit}", family.kind, family.name).unwrap();
        for series in exposition.series().filter(|series| series.family == family.id) {
            write!(out, "  {{{}}}", series.labels).unwrap();
            match series.value {
                PushedValue::Scalar(value) => write!(out, " {value}").unwrap(),
                PushedValue::Histogram { count, sum, buckets, native } => {
                    write!(out, " count={} sum={}", number(count), sum.unwrap()).unwrap();
                    for bucket in buckets.iter() {
                        let count = number(Some(bucket.cumulative_count));
                        write!(out, " le{}={count}", bucket.upper_bound).unwrap();
                        bucket.exemplar.iter().for_each(|exemplar| show(&mut out, exemplar));
                    }
                    if let Some(native) = native {
                        let zero = number(Some(native.zero_count));
                        let (schema, threshold) = (native.schema, native.zero_threshold);
                        write!(out, " schema={schema} zero[{threshold}]={zero}").unwrap();
                        for (sign, side) in [("+", &native.positive), ("-", &native.negative)] {
                            for (index, count) in side {
                                write!(out, " {sign}[{index}]={}", number(Some(*count))).unwrap();
                            }
                        }
                    }
                }
                PushedValue::Summary { count, sum, quantiles } => {
                    write!(out, " count={} sum={}", number(count), sum.unwrap()).unwrap();
                    for quantile in quantiles.iter() {
                        write!(out, " q{}={}", quantile.quantile, quantile.value).unwrap();
                    }
                }
                PushedValue::StateSet(_) => unreachable!("protobuf has no statesets"),
            }
            series.exemplars.iter().for_each(|exemplar| show(&mut out, exemplar));
            if let Some(created_ms) = series.created_ms {
                write!(out, " created={created_ms}").unwrap();
            }
            out.push('\n');
        }
    }
    out
}

fn number(number: Option<Number>) -> String {
    match number {
        Some(Number::Int(integer)) => integer.to_string(),
        Some(Number::Float(float)) => format!("{float:?}f"),
        None => "-".to_owned(),
    }
}

fn show(out: &mut String, exemplar: &Exemplar) {
    write!(out, " #{{{}}}{}", exemplar.labels, exemplar.value).unwrap();
    if let Some(timestamp_ms) = exemplar.timestamp_ms {
        write!(out, "@{timestamp_ms}").unwrap();
    }
}

#[track_caller]
fn accept(body: &[u8], expected: Expect) {
    let shown = match read(body, Timestamps::Reject) {
        Ok(shown) => shown,
        Err(error) => panic!("refused: {error}"),
    };
    expected.assert_eq(&shown);
}

/// Asserts that all bodies are read as `expected`.
#[track_caller]
fn accept_same(bodies: &[Vec<u8>], expected: Expect) {
    let shown: Vec<_> = bodies
        .iter()
        .map(|body| read(body, Timestamps::Reject).unwrap_or_else(|error| error.to_string()))
        .collect();
    assert!(shown.windows(2).all(|pair| pair[0] == pair[1]), "{shown:#?}");
    expected.assert_eq(&shown[0]);
}

#[track_caller]
fn refuse(body: &[u8], expected: &str) {
    match read(body, Timestamps::Reject) {
        Ok(shown) => panic!("accepted: {shown}"),
        Err(error) => assert_eq!(error.to_string(), expected),
    }
}
