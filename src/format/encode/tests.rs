//! Snapshots of every kind in every format, and what escaping and clashes make of names.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::format::Timestamps;
use crate::format::protobuf::tests::dump;
use crate::format::protobuf::{parse, wire};
use crate::model::reading::BucketReading;
use crate::model::{
    Exemplar, Exposition, FamilyHead, Grouping, HistogramReading, Kind, NativeBuckets, Number,
};

// === Expositions ===

struct TestFamily {
    head: FamilyHead<'static>,
    regular: bool,
    series: Vec<TestSeries>,
}

struct TestSeries {
    labels: String,
    value: Value,
    created_ms: Option<i64>,
}

/// A reading that owns what it shows.
enum Value {
    Counter(f64, Option<Exemplar>),
    Gauge(f64),
    Untyped(f64),
    Summary(Number, Option<f64>, Vec<(f64, f64)>),
    Histogram(HistogramReading),
    StateSet(Vec<(Box<str>, bool)>),
}

impl Value {
    fn reading(&self) -> Reading<'_> {
        match self {
            Value::Counter(value, exemplar) => {
                Reading::Counter { value: *value, exemplar: exemplar.as_ref() }
            }
            Value::Gauge(value) => Reading::Gauge(*value),
            Value::Untyped(value) => Reading::Untyped(*value),
            Value::Summary(count, sum, quantiles) => {
                Reading::Summary { count: *count, sum: *sum, quantiles }
            }
            Value::Histogram(histogram) => Reading::Histogram(histogram),
            Value::StateSet(states) => Reading::StateSet(states),
        }
    }
}

fn family<'a>(
    kind: Kind,
    name: &'static str,
    series: impl IntoIterator<Item = (&'a str, Value)>,
) -> TestFamily {
    let series = series
        .into_iter()
        .map(|(labels, value)| TestSeries { labels: labels.to_owned(), value, created_ms: None })
        .collect();
    let head = FamilyHead { name, kind, help: "", unit: "" };
    TestFamily { head, regular: true, series }
}

impl TestFamily {
    fn help(mut self, help: &'static str) -> TestFamily {
        self.head.help = help;
        self
    }

    fn unit(mut self, unit: &'static str) -> TestFamily {
        self.head.unit = unit;
        self
    }

    fn created(mut self, created_ms: i64) -> TestFamily {
        self.series.iter_mut().for_each(|series| series.created_ms = Some(created_ms));
        self
    }

    fn irregular(mut self) -> TestFamily {
        self.regular = false;
        self
    }
}

fn exemplar(labels: &str, value: f64, timestamp_ms: Option<i64>) -> Exemplar {
    Exemplar { labels: labels.into(), value, timestamp_ms }
}

fn buckets(buckets: &[(f64, u64)]) -> Vec<BucketReading> {
    buckets
        .iter()
        .map(|&(upper_bound, count)| BucketReading {
            upper_bound,
            cumulative_count: Number::Int(count),
            exemplar: None,
        })
        .collect()
}

fn classic(sum: f64, bounds: &[(f64, u64)]) -> HistogramReading {
    HistogramReading {
        count: Number::Int(bounds.last().map_or(0, |&(_, count)| count)),
        sum: Some(sum),
        buckets: buckets(bounds),
        ..HistogramReading::default()
    }
}

fn native() -> NativeBuckets {
    NativeBuckets {
        schema: 3,
        zero_threshold: 1e-128,
        zero_count: Number::Int(2),
        positive: vec![
            (-2, Number::Int(3)),
            (-1, Number::Int(5)),
            (0, Number::ZERO),
            (2, Number::Int(1)),
            (4, Number::Int(3)),
            (5, Number::Int(2)),
        ],
        negative: vec![(7, Number::Int(1))],
    }
}

/// Every kind, with all that it may have.
fn everything() -> Vec<TestFamily> {
    let mut with_exemplar =
        classic(5.25, &[(0.005, 1), (1.0, 1_000_000), (f64::INFINITY, 1_000_001)]);
    with_exemplar.buckets[1].exemplar =
        Some(exemplar(r#"trace_id="a\"b""#, 0.67, Some(1_700_000_000_123)));
    let both = HistogramReading {
        count: Number::Int(17),
        native: Some(native()),
        exemplars: vec![exemplar(r#"t="1""#, 1.5, Some(1_000))],
        ..classic(-1.5, &[(1.0, 4), (f64::INFINITY, 17)])
    };
    let native_only = HistogramReading {
        count: Number::Int(17),
        sum: Some(f64::NAN),
        native: Some(native()),
        ..HistogramReading::default()
    };
    vec![
        family(
            Kind::Counter,
            "a_seconds_total",
            [
                ("", Value::Counter(1.0, None)),
                (
                    r#"job="j",path="/\"\\\n""#,
                    Value::Counter(2.5e6, Some(exemplar("t=\"1\"", 0.5, None))),
                ),
            ],
        )
        .help("Time, \"quoted\"\\ and\nbroken.")
        .unit("seconds")
        .created(1_520_872_607_123),
        family(Kind::Counter, "b", [("", Value::Counter(7.0, Some(exemplar("", 1.0, None))))])
            .created(1),
        family(
            Kind::Gauge,
            "c_bytes",
            [(r#"job="a""#, Value::Gauge(-0.0)), (r#"job="b""#, Value::Gauge(f64::NAN))],
        )
        .unit("bytes"),
        family(Kind::Untyped, "d", [("", Value::Untyped(f64::NEG_INFINITY))]).help("Who knows."),
        family(
            Kind::Summary,
            "e",
            [
                (
                    r#"job="a""#,
                    Value::Summary(
                        Number::Int(1_000_000),
                        Some(1.5),
                        vec![(0.5, 1.0), (1.0, f64::NAN)],
                    ),
                ),
                (r#"job="b""#, Value::Summary(Number::Int(0), None, vec![])),
            ],
        )
        .created(1_000),
        family(
            Kind::Histogram,
            "f_seconds",
            [
                ("", Value::Histogram(with_exemplar)),
                (r#"job="b""#, Value::Histogram(classic(0.0, &[]))),
            ],
        )
        .unit("seconds")
        .created(-1_500),
        family(
            Kind::GaugeHistogram,
            "g",
            [("", Value::Histogram(classic(-3.0, &[(-1.0, 1), (f64::INFINITY, 2)])))],
        ),
        family(
            Kind::Histogram,
            "h",
            [(r#"job="a""#, Value::Histogram(both)), (r#"job="b""#, Value::Histogram(native_only))],
        ),
        family(Kind::Info, "i_info", [(r#"version="1""#, Value::Gauge(1.0))]),
        family(
            Kind::StateSet,
            "j",
            [(r#"job="a""#, Value::StateSet(vec![("off".into(), false), ("o\"n".into(), true)]))],
        ),
        // Never written.
        family(Kind::Gauge, "k", []).help("No series."),
    ]
}

// === Driving the encoder ===

struct Scrape {
    body: Vec<u8>,
    families_left_out: Vec<String>,
    series_left_out: usize,
}

fn encode(options: Options, families: &[TestFamily]) -> Scrape {
    let heads = families.iter().map(|family| Family { head: family.head, regular: family.regular });
    let plan = Plan::new(options, heads);
    let mut encoder = Encoder::new(options);
    let mut body = Vec::new();
    for (at, family) in families.iter().enumerate() {
        let Some(planned) = plan.get(at) else { continue };
        encoder.begin_family(planned);
        for series in &family.series {
            let labels = series.labels.as_bytes();
            encoder.series(&mut body, labels, &series.value.reading(), series.created_ms);
        }
        encoder.end_family(&mut body);
    }
    let series_left_out = encoder.series_left_out();
    encoder.finish(&mut body);
    let families_left_out = plan.left_out().iter().map(|name| (*name).to_owned()).collect();
    Scrape { body, families_left_out, series_left_out }
}

fn options(format: Format, escaping: Escaping) -> Options {
    Options { format, escaping, created_lines: false }
}

const TEXT: Options =
    Options { format: Format::Text004, escaping: Escaping::Underscores, created_lines: false };
const OPENMETRICS: Options = Options { format: Format::OpenMetrics100, ..TEXT };
const PROTOBUF: Options = Options { format: Format::ProtobufDelimited, ..TEXT };
const UTF8: Options = Options { escaping: Escaping::AllowUtf8, ..TEXT };

#[track_caller]
fn check(options: Options, families: &[TestFamily], expected: Expect) {
    let scrape = encode(options, families);
    assert_eq!((scrape.series_left_out, &*scrape.families_left_out), (0, &[][..]));
    let text = match options.format {
        Format::ProtobufDelimited => parsed(&scrape.body),
        _ => String::from_utf8(scrape.body).unwrap(),
    };
    expected.assert_eq(&text);
}

/// Like [`check`], where something does not get through.
#[track_caller]
fn check_lossy(
    options: Options,
    families: &[TestFamily],
    families_left_out: &[&str],
    series_left_out: usize,
    expected: Expect,
) {
    let scrape = encode(options, families);
    assert_eq!(scrape.families_left_out, families_left_out);
    assert_eq!(scrape.series_left_out, series_left_out);
    let text = match options.format {
        Format::ProtobufDelimited => parsed(&scrape.body),
        _ => String::from_utf8(scrape.body).unwrap(),
    };
    expected.assert_eq(&text);
}

fn parsed(body: &[u8]) -> String {
    let grouping = Grouping::default();
    let mut exposition = Exposition::default();
    parse(body, exposition.build(&grouping), Timestamps::Reject).unwrap();
    dump(&exposition)
}

// === Every kind in every format ===

#[test]
fn text() {
    check(
        TEXT,
        &everything(),
        expect![[r##"
        # HELP a_seconds_total Time, "quoted"\\ and\nbroken.
        # TYPE a_seconds_total counter
        a_seconds_total 1
        a_seconds_total{job="j",path="/\"\\\n"} 2.5e+06
        # TYPE b counter
        b 7
        # TYPE c_bytes gauge
        c_bytes{job="a"} 0
        c_bytes{job="b"} NaN
        # HELP d Who knows.
        # TYPE d untyped
        d -Inf
        # TYPE e summary
        e{job="a",quantile="0.5"} 1
        e{job="a",quantile="1"} NaN
        e_sum{job="a"} 1.5
        e_count{job="a"} 1e+06
        e_count{job="b"} 0
        # TYPE f_seconds histogram
        f_seconds_bucket{le="0.005"} 1
        f_seconds_bucket{le="1"} 1e+06
        f_seconds_bucket{le="+Inf"} 1.000001e+06
        f_seconds_sum 5.25
        f_seconds_count 1.000001e+06
        f_seconds_bucket{job="b",le="+Inf"} 0
        f_seconds_sum{job="b"} 0
        f_seconds_count{job="b"} 0
        # TYPE g histogram
        g_bucket{le="-1"} 1
        g_bucket{le="+Inf"} 2
        g_sum -3
        g_count 2
        # TYPE h histogram
        h_bucket{job="a",le="1"} 4
        h_bucket{job="a",le="+Inf"} 17
        h_sum{job="a"} -1.5
        h_count{job="a"} 17
        h_bucket{job="b",le="+Inf"} 17
        h_sum{job="b"} NaN
        h_count{job="b"} 17
        # TYPE i_info gauge
        i_info{version="1"} 1
        # TYPE j gauge
        j{job="a",j="off"} 0
        j{job="a",j="o\"n"} 1
    "##]],
    );
}

#[test]
fn openmetrics() {
    check(
        OPENMETRICS,
        &everything(),
        expect![[r##"
        # HELP a_seconds Time, \"quoted\"\\ and\nbroken.
        # TYPE a_seconds counter
        # UNIT a_seconds seconds
        a_seconds_total 1.0
        a_seconds_total{job="j",path="/\"\\\n"} 2.5e+06 # {t="1"} 0.5
        # TYPE b unknown
        b 7.0
        # TYPE c_bytes gauge
        # UNIT c_bytes bytes
        c_bytes{job="a"} 0.0
        c_bytes{job="b"} NaN
        # HELP d Who knows.
        # TYPE d unknown
        d -Inf
        # TYPE e summary
        e{job="a",quantile="0.5"} 1.0
        e{job="a",quantile="1.0"} NaN
        e_sum{job="a"} 1.5
        e_count{job="a"} 1000000
        e_count{job="b"} 0
        # TYPE f_seconds histogram
        # UNIT f_seconds seconds
        f_seconds_bucket{le="0.005"} 1
        f_seconds_bucket{le="1.0"} 1000000 # {trace_id="a\"b"} 0.67 1.700000000123e+09
        f_seconds_bucket{le="+Inf"} 1000001
        f_seconds_sum 5.25
        f_seconds_count 1000001
        f_seconds_bucket{job="b",le="+Inf"} 0
        f_seconds_sum{job="b"} 0.0
        f_seconds_count{job="b"} 0
        # TYPE g gaugehistogram
        g_bucket{le="-1.0"} 1
        g_bucket{le="+Inf"} 2
        g_gsum -3.0
        g_gcount 2
        # TYPE h histogram
        h_bucket{job="a",le="1.0"} 4
        h_bucket{job="a",le="+Inf"} 17
        h_sum{job="a"} -1.5
        h_count{job="a"} 17
        h_bucket{job="b",le="+Inf"} 17
        h_sum{job="b"} NaN
        h_count{job="b"} 17
        # TYPE i info
        i_info{version="1"} 1.0
        # TYPE j stateset
        j{job="a",j="off"} 0.0
        j{job="a",j="o\"n"} 1.0
        # EOF
    "##]],
    );
}

#[test]
fn openmetrics_with_created_lines() {
    let families: Vec<_> = everything()
        .into_iter()
        .filter(|family| family.series.iter().any(|series| series.created_ms.is_some()))
        .collect();
    check(
        Options { created_lines: true, ..OPENMETRICS },
        &families,
        expect![[r##"
        # HELP a_seconds Time, \"quoted\"\\ and\nbroken.
        # TYPE a_seconds counter
        # UNIT a_seconds seconds
        a_seconds_total 1.0
        a_seconds_created 1.520872607123e+09
        a_seconds_total{job="j",path="/\"\\\n"} 2.5e+06 # {t="1"} 0.5
        a_seconds_created{job="j",path="/\"\\\n"} 1.520872607123e+09
        # TYPE b unknown
        b 7.0
        # TYPE e summary
        e{job="a",quantile="0.5"} 1.0
        e{job="a",quantile="1.0"} NaN
        e_sum{job="a"} 1.5
        e_count{job="a"} 1000000
        e_created{job="a"} 1.0
        e_count{job="b"} 0
        e_created{job="b"} 1.0
        # TYPE f_seconds histogram
        # UNIT f_seconds seconds
        f_seconds_bucket{le="0.005"} 1
        f_seconds_bucket{le="1.0"} 1000000 # {trace_id="a\"b"} 0.67 1.700000000123e+09
        f_seconds_bucket{le="+Inf"} 1000001
        f_seconds_sum 5.25
        f_seconds_count 1000001
        f_seconds_created -1.5
        f_seconds_bucket{job="b",le="+Inf"} 0
        f_seconds_sum{job="b"} 0.0
        f_seconds_count{job="b"} 0
        f_seconds_created{job="b"} -1.5
        # EOF
    "##]],
    );
}

#[test]
fn protobuf() {
    check(
        PROTOBUF,
        &everything(),
        expect![[r#"
        counter a_seconds_total help=Time, "quoted"\ and
        broken. unit=seconds
          {} 1 created=1520872607123
          {job="j",path="/\"\\\n"} 2500000 #{t="1"}0.5 created=1520872607123
        counter b help=- unit=-
          {} 7 #{}1 created=1
        gauge c_bytes help=- unit=bytes
          {job="a"} -0
          {job="b"} NaN
        untyped d help=Who knows. unit=-
          {} -inf
        summary e help=- unit=-
          {job="a"} count=1000000 sum=1.5 q0.5=1 q1=NaN created=1000
          {job="b"} count=0 sum=0 created=1000
        histogram f_seconds help=- unit=seconds
          {} count=1000001 sum=5.25 le0.005=1 le1=1000000 #{trace_id="a\"b"}0.67@1700000000123 leinf=1000001 created=-1500
          {job="b"} count=0 sum=0 created=-1500
        gaugehistogram g help=- unit=-
          {} count=2 sum=-3 le-1=1 leinf=2
        histogram h help=- unit=-
          {job="a"} count=17 sum=-1.5 le1=4 leinf=17 schema=3 zero[0.00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001]=2 +[-2]=3 +[-1]=5 +[2]=1 +[4]=3 +[5]=2 -[7]=1 #{t="1"}1.5@1000
          {job="b"} count=17 sum=NaN schema=3 zero[0.00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001]=2 +[-2]=3 +[-1]=5 +[2]=1 +[4]=3 +[5]=2 -[7]=1
        gauge i_info help=- unit=-
          {version="1"} 1
        gauge j help=- unit=-
          {j="off",job="a"} 0
          {j="o\"n",job="a"} 1
    "#]],
    );
}

#[test]
fn nothing_at_all() {
    check(TEXT, &[], expect![[""]]);
    check(PROTOBUF, &[], expect![[""]]);
    check(
        OPENMETRICS,
        &[],
        expect![[r#"
        # EOF
    "#]],
    );
}

// === Protobuf ===

fn messages(mut body: &[u8]) -> Vec<wire::MetricFamily> {
    let mut families = Vec::new();
    while !body.is_empty() {
        families.push(prost::Message::decode_length_delimited(&mut body).unwrap());
    }
    families
}

fn one_histogram(reading: HistogramReading) -> wire::Histogram {
    let families = [family(Kind::Histogram, "h", [("", Value::Histogram(reading))])];
    let mut families = messages(&encode(PROTOBUF, &families).body);
    families.remove(0).metric.remove(0).histogram.unwrap()
}

#[test]
fn native_histograms_have_spans_and_deltas() {
    let written = one_histogram(HistogramReading {
        count: Number::Int(17),
        sum: Some(1.0),
        native: Some(native()),
        ..HistogramReading::default()
    });
    let span = |offset, length| wire::BucketSpan { offset: Some(offset), length: Some(length) };
    let expected = wire::Histogram {
        sample_count: Some(17),
        sample_sum: Some(1.0),
        schema: Some(3),
        zero_threshold: Some(1e-128),
        zero_count: Some(2),
        positive_span: vec![span(-2, 2), span(2, 1), span(1, 2)],
        positive_delta: vec![3, 2, -4, 2, -1],
        negative_span: vec![span(7, 1)],
        negative_delta: vec![1],
        ..wire::Histogram::default()
    };
    assert_eq!(written, expected);
}

#[test]
fn one_fraction_makes_a_histogram_float() {
    let mut native = native();
    native.positive.truncate(1);
    native.negative.clear();
    let reading = HistogramReading {
        count: Number::Float(5.5),
        native: Some(native.clone()),
        ..classic(1.0, &[(1.0, 3), (f64::INFINITY, 5)])
    };
    let written = one_histogram(reading.clone());
    let expected = wire::Histogram {
        sample_count_float: Some(5.5),
        sample_sum: Some(1.0),
        bucket: [(1.0, 3.0), (f64::INFINITY, 5.0)]
            .map(|(upper_bound, count)| wire::Bucket {
                upper_bound: Some(upper_bound),
                cumulative_count_float: Some(count),
                ..wire::Bucket::default()
            })
            .into(),
        schema: Some(3),
        zero_threshold: Some(1e-128),
        zero_count_float: Some(2.0),
        positive_span: vec![wire::BucketSpan { offset: Some(-2), length: Some(1) }],
        positive_count: vec![3.0],
        ..wire::Histogram::default()
    };
    assert_eq!(written, expected);

    // Deltas are signed, so a population beyond 2^63 cannot be one.
    native.positive[0].1 = Number::Int(1 << 63);
    let count = Number::Int((1 << 63) + 2);
    let large = one_histogram(HistogramReading { count, native: Some(native), ..reading });
    assert_eq!(large.positive_count, [2f64.powi(63)]);
}

#[test]
fn an_empty_native_histogram_can_be_told_from_a_classic_one() {
    let empty = |zero_threshold, zero_count| HistogramReading {
        count: zero_count,
        sum: Some(0.0),
        native: Some(NativeBuckets {
            schema: 0,
            zero_threshold,
            zero_count,
            positive: vec![],
            negative: vec![(1, Number::ZERO)],
        }),
        ..HistogramReading::default()
    };
    for (threshold, zero_count, spans) in [
        (0.0, Number::Int(0), 1),
        (0.0, Number::Int(1), 1),
        // Prometheus does not tell them by a float zero count.
        (0.0, Number::Float(0.5), 1),
        (0.1, Number::Int(0), 0),
    ] {
        let written = one_histogram(empty(threshold, zero_count));
        assert_eq!(written.positive_span.len(), spans);
        assert!(written.positive_span.iter().all(|span| (span.offset(), span.length()) == (0, 0)));
        assert_eq!(written.negative_span, []);
    }
}

#[test]
fn no_nan_is_a_staleness_marker() {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let families = [
        family(Kind::Gauge, "a", [("", Value::Gauge(stale))]),
        family(Kind::Counter, "b", [("", Value::Counter(-f64::NAN, None))]),
        family(
            Kind::Summary,
            "c",
            [("", Value::Summary(Number::ZERO, Some(stale), vec![(0.5, stale)]))],
        ),
    ];
    let families = messages(&encode(PROTOBUF, &families).body);
    let summary = families[2].metric[0].summary.as_ref().unwrap();
    for written in [
        families[0].metric[0].gauge.as_ref().unwrap().value,
        families[1].metric[0].counter.as_ref().unwrap().value,
        summary.sample_sum,
        summary.quantile[0].value,
    ] {
        assert_eq!(written.unwrap().to_bits(), 0x7ff8_0000_0000_0001);
    }
}

#[test]
fn a_large_family_comes_in_several_messages() {
    let value = "v".repeat(1 << 20);
    let labels: Vec<_> = (0..9).map(|at| format!("a=\"{at}{value}\"")).collect();
    let series = labels.iter().map(|labels| (&**labels, Value::Gauge(1.0)));
    let families = [family(Kind::Gauge, "x", series).help("Help.").unit("s")];
    let families = messages(&encode(PROTOBUF, &families).body);
    assert_eq!(families.iter().map(|family| family.metric.len()).collect::<Vec<_>>(), [4, 4, 1]);
    assert!(families.iter().all(|f| f.name() == "x" && f.help() == "Help." && f.unit() == "s"));
}

// === Names ===

fn named(kind: Kind, name: &'static str) -> TestFamily {
    let value = match kind {
        Kind::Counter => Value::Counter(1.0, None),
        Kind::Gauge | Kind::Info => Value::Gauge(1.0),
        Kind::Untyped => Value::Untyped(1.0),
        Kind::Summary => Value::Summary(Number::Int(1), Some(1.0), vec![]),
        Kind::Histogram | Kind::GaugeHistogram => {
            Value::Histogram(classic(1.0, &[(f64::INFINITY, 1)]))
        }
        Kind::StateSet => Value::StateSet(vec![("on".into(), true)]),
    };
    family(kind, name, [("", value)])
}

fn odd_names() -> Vec<TestFamily> {
    let labels = r#"a="1","l.n"="2","x:y"="3""#;
    vec![
        family(
            Kind::Counter,
            "a.b_total",
            [
                ("", Value::Counter(1.0, None)),
                (labels, Value::Counter(2.0, Some(exemplar(r#""t.id"="1""#, 1.0, None)))),
            ],
        )
        .help("Dots."),
        family(
            Kind::Histogram,
            "ü \"\\\n",
            [(labels, Value::Histogram(classic(1.0, &[(f64::INFINITY, 1)])))],
        )
        .unit("s"),
        family(Kind::StateSet, "s.t", [("", Value::StateSet(vec![("on".into(), true)]))]),
        family(Kind::StateSet, "s:t", [("", Value::StateSet(vec![("on".into(), true)]))]),
    ]
}

#[test]
fn names_in_quotes() {
    check(
        UTF8,
        &odd_names(),
        expect![[r##"
        # HELP "a.b_total" Dots.
        # TYPE "a.b_total" counter
        {"a.b_total"} 1
        {"a.b_total",a="1","l.n"="2","x:y"="3"} 2
        # TYPE "ü \"\\\n" histogram
        {"ü \"\\\n_bucket",a="1","l.n"="2","x:y"="3",le="+Inf"} 1
        {"ü \"\\\n_sum",a="1","l.n"="2","x:y"="3"} 1
        {"ü \"\\\n_count",a="1","l.n"="2","x:y"="3"} 1
        # TYPE "s.t" gauge
        {"s.t","s.t"="on"} 1
        # TYPE s:t gauge
        s:t{"s:t"="on"} 1
    "##]],
    );
    check(
        Options { format: Format::OpenMetrics100, ..UTF8 },
        &odd_names(),
        expect![[r##"
        # HELP "a.b" Dots.
        # TYPE "a.b" counter
        {"a.b_total"} 1.0
        {"a.b_total",a="1","l.n"="2","x:y"="3"} 2.0 # {"t.id"="1"} 1.0
        # TYPE "ü \"\\\n" histogram
        {"ü \"\\\n_bucket",a="1","l.n"="2","x:y"="3",le="+Inf"} 1
        {"ü \"\\\n_sum",a="1","l.n"="2","x:y"="3"} 1.0
        {"ü \"\\\n_count",a="1","l.n"="2","x:y"="3"} 1
        # TYPE "s.t" stateset
        {"s.t","s.t"="on"} 1.0
        # TYPE s:t stateset
        s:t{"s:t"="on"} 1.0
        # EOF
    "##]],
    );
    check(
        Options { format: Format::ProtobufDelimited, ..UTF8 },
        &odd_names(),
        expect![[r#"
        counter a.b_total help=Dots. unit=-
          {} 1
          {a="1","l.n"="2","x:y"="3"} 2 #{"t.id"="1"}1
        histogram ü "\
         help=- unit=s
          {a="1","l.n"="2","x:y"="3"} count=1 sum=1 leinf=1
        gauge s.t help=- unit=-
          {"s.t"="on"} 1
        gauge s:t help=- unit=-
          {"s:t"="on"} 1
    "#]],
    );
}

#[test]
fn names_escaped() {
    check(
        TEXT,
        &odd_names(),
        expect![[r##"
        # HELP a_b_total Dots.
        # TYPE a_b_total counter
        a_b_total 1
        a_b_total{a="1",l_n="2",x_y="3"} 2
        # TYPE _____ histogram
        ______bucket{a="1",l_n="2",x_y="3",le="+Inf"} 1
        ______sum{a="1",l_n="2",x_y="3"} 1
        ______count{a="1",l_n="2",x_y="3"} 1
        # TYPE s_t gauge
        s_t{s_t="on"} 1
        # TYPE s:t gauge
        s:t{s_t="on"} 1
    "##]],
    );
    check(
        options(Format::Text004, Escaping::Dots),
        &odd_names(),
        expect![[r##"
        # HELP a_dot_b__total Dots.
        # TYPE a_dot_b__total counter
        a_dot_b__total 1
        a_dot_b__total{a="1",l_dot_n="2",x__y="3"} 2
        # TYPE __________ histogram
        ___________bucket{a="1",l_dot_n="2",x__y="3",le="+Inf"} 1
        ___________sum{a="1",l_dot_n="2",x__y="3"} 1
        ___________count{a="1",l_dot_n="2",x__y="3"} 1
        # TYPE s_dot_t gauge
        s_dot_t{s_dot_t="on"} 1
        # TYPE s:t gauge
        s:t{s__t="on"} 1
    "##]],
    );
    check(
        options(Format::OpenMetrics100, Escaping::Values),
        &odd_names(),
        expect![[r##"
        # HELP U__a_2e_b_ Dots.
        # TYPE U__a_2e_b_ counter
        U__a_2e_b__total 1.0
        U__a_2e_b__total{U__l_2e_n="2",U__x_3a_y="3",a="1"} 2.0 # {U__t_2e_id="1"} 1.0
        # TYPE U___fc__20__22__5c__a_ histogram
        U___fc__20__22__5c__a__bucket{U__l_2e_n="2",U__x_3a_y="3",a="1",le="+Inf"} 1
        U___fc__20__22__5c__a__sum{U__l_2e_n="2",U__x_3a_y="3",a="1"} 1.0
        U___fc__20__22__5c__a__count{U__l_2e_n="2",U__x_3a_y="3",a="1"} 1
        # TYPE U__s_2e_t stateset
        U__s_2e_t{U__s_2e_t="on"} 1.0
        # TYPE s:t gauge
        s:t{U__s_3a_t="on"} 1.0
        # EOF
    "##]],
    );
    check(
        options(Format::ProtobufDelimited, Escaping::Underscores),
        &odd_names(),
        expect![[r#"
        counter a_b_total help=Dots. unit=-
          {} 1
          {a="1",l_n="2",x_y="3"} 2 #{t_id="1"}1
        histogram _____ help=- unit=s
          {a="1",l_n="2",x_y="3"} count=1 sum=1 leinf=1
        gauge s_t help=- unit=-
          {s_t="on"} 1
        gauge s:t help=- unit=-
          {s_t="on"} 1
    "#]],
    );
}

#[test]
fn families_that_become_one_name() {
    let families = [
        named(Kind::Gauge, "a.b"),
        named(Kind::Gauge, "a/b"),
        named(Kind::Counter, "a_b"),
        named(Kind::Gauge, "c.d"),
        named(Kind::Gauge, "c/d"),
        // One family's name, another's sample.
        named(Kind::Histogram, "h.x"),
        named(Kind::Gauge, "h_x_count"),
        named(Kind::Summary, "s_x"),
        named(Kind::Gauge, "s.x_sum"),
    ];
    let left_out = ["a.b", "a/b", "c/d", "h.x", "s.x_sum"];
    for format in [Format::Text004, Format::OpenMetrics100, Format::ProtobufDelimited] {
        let scrape = encode(options(format, Escaping::Underscores), &families);
        assert_eq!(scrape.families_left_out, left_out, "{format:?}");
        let scrape = encode(options(format, Escaping::AllowUtf8), &families);
        assert!(scrape.families_left_out.is_empty());
    }
    check_lossy(
        TEXT,
        &families,
        &left_out,
        0,
        expect![[r#"
        # TYPE a_b counter
        a_b 1
        # TYPE c_d gauge
        c_d 1
        # TYPE h_x_count gauge
        h_x_count 1
        # TYPE s_x summary
        s_x_sum 1
        s_x_count 1
    "#]],
    );
}

#[test]
fn series_that_become_one() {
    let families = [family(
        Kind::Gauge,
        "x",
        [
            (r#""a.b"="1""#, Value::Gauge(1.0)),
            (r#""a/b"="1""#, Value::Gauge(2.0)),
            (r#"a_b="1""#, Value::Gauge(3.0)),
            (r#"a_b="2""#, Value::Gauge(4.0)),
            (r#""a.b"="1",a_b="2""#, Value::Gauge(5.0)),
        ],
    )];
    check_lossy(
        TEXT,
        &families,
        &[],
        3,
        expect![[r##"
        # TYPE x gauge
        x{a_b="1"} 1
        x{a_b="2"} 4
    "##]],
    );
    check(
        UTF8,
        &families,
        expect![[r##"
        # TYPE x gauge
        x{"a.b"="1"} 1
        x{"a/b"="1"} 2
        x{a_b="1"} 3
        x{a_b="2"} 4
        x{"a.b"="1",a_b="2"} 5
    "##]],
    );
}

#[test]
fn labels_of_samples_that_the_series_has() {
    let families = [
        family(
            Kind::Histogram,
            "h",
            [
                (r#"le="1""#, Value::Histogram(classic(1.0, &[(f64::INFINITY, 1)]))),
                (r#"a="x,le=",file="1""#, Value::Histogram(classic(1.0, &[(f64::INFINITY, 1)]))),
            ],
        ),
        family(
            Kind::Summary,
            "s",
            [(r#"quantile="1""#, Value::Summary(Number::ZERO, None, vec![]))],
        ),
        family(
            Kind::StateSet,
            "t",
            [(r#"a="1",t="1""#, Value::StateSet(vec![("on".into(), true)]))],
        ),
    ];
    check_lossy(
        TEXT,
        &families,
        &[],
        3,
        expect![[r##"
        # TYPE h histogram
        h_bucket{a="x,le=",file="1",le="+Inf"} 1
        h_sum{a="x,le=",file="1"} 1
        h_count{a="x,le=",file="1"} 1
    "##]],
    );
    check_lossy(
        OPENMETRICS,
        &families,
        &[],
        3,
        expect![[r##"
        # TYPE h histogram
        h_bucket{a="x,le=",file="1",le="+Inf"} 1
        h_sum{a="x,le=",file="1"} 1.0
        h_count{a="x,le=",file="1"} 1
        # EOF
    "##]],
    );
    check_lossy(
        PROTOBUF,
        &families,
        &[],
        3,
        expect![[r#"
        histogram h help=- unit=-
          {a="x,le=",file="1"} count=1 sum=1 leinf=1
    "#]],
    );
}

// === What OpenMetrics cannot hold ===

#[test]
fn clashes_cost_a_family_its_type() {
    // (c) and (d) of formats 7, and everything else that can meet.
    let families = [
        named(Kind::Gauge, "a"),
        named(Kind::Counter, "a_total"),
        named(Kind::Gauge, "b_created"),
        named(Kind::Counter, "b_total"),
        named(Kind::Counter, "c_total"),
        named(Kind::Info, "c_info"),
        named(Kind::Counter, "d_total"),
        named(Kind::Counter, "d_total_total"),
        named(Kind::Gauge, "e_created"),
        named(Kind::Histogram, "e"),
        named(Kind::GaugeHistogram, "f"),
        named(Kind::Gauge, "f_gsum"),
        named(Kind::Histogram, "g"),
        named(Kind::Counter, "g_created_total"),
        named(Kind::Counter, "_total"),
        named(Kind::Info, "h"),
        named(Kind::Info, "i_info"),
        named(Kind::Counter, "i_info_total"),
    ];
    check(
        OPENMETRICS,
        &families,
        expect![[r##"
        # TYPE a gauge
        a 1.0
        # TYPE a_total unknown
        a_total 1.0
        # TYPE b_created gauge
        b_created 1.0
        # TYPE b_total unknown
        b_total 1.0
        # TYPE c counter
        c_total 1.0
        # TYPE c_info gauge
        c_info 1.0
        # TYPE d counter
        d_total 1.0
        # TYPE d_total_total unknown
        d_total_total 1.0
        # TYPE e_created gauge
        e_created 1.0
        # TYPE e_bucket unknown
        e_bucket{le="+Inf"} 1
        # TYPE e_sum unknown
        e_sum 1.0
        # TYPE e_count unknown
        e_count 1
        # TYPE f_bucket unknown
        f_bucket{le="+Inf"} 1
        # TYPE f_sum unknown
        f_sum 1.0
        # TYPE f_count unknown
        f_count 1
        # TYPE f_gsum gauge
        f_gsum 1.0
        # TYPE g histogram
        g_bucket{le="+Inf"} 1
        g_sum 1.0
        g_count 1
        # TYPE g_created_total unknown
        g_created_total 1.0
        # TYPE _total unknown
        _total 1.0
        # TYPE h gauge
        h 1.0
        # TYPE i info
        i_info 1.0
        # TYPE i_info_total unknown
        i_info_total 1.0
        # EOF
    "##]],
    );
}

#[test]
fn irregular_families_are_written_without_their_type() {
    let odd = classic(-1.0, &[(-1.0, 3), (1.0, 2), (f64::INFINITY, 2)]);
    let families = [
        family(
            Kind::Counter,
            "a_total",
            [("", Value::Counter(f64::NAN, Some(exemplar("", 1.0, None))))],
        )
        .irregular(),
        family(
            Kind::Histogram,
            "h",
            [("", Value::Histogram(odd.clone())), (r#"job="b""#, Value::Histogram(odd))],
        )
        .help("Help.")
        .irregular(),
        family(
            Kind::Summary,
            "s",
            [
                ("", Value::Summary(Number::Int(1), None, vec![(1.5, -1.0)])),
                (r#"job="b""#, Value::Summary(Number::Int(1), Some(-1.0), vec![])),
            ],
        )
        .irregular(),
        family(Kind::Summary, "t", [("", Value::Summary(Number::Int(1), Some(-1.0), vec![]))])
            .irregular(),
        named(Kind::Gauge, "z"),
    ];
    check(
        OPENMETRICS,
        &families,
        expect![[r##"
        # TYPE a_total unknown
        a_total NaN
        # HELP h_bucket Help.
        # TYPE h_bucket unknown
        h_bucket{le="-1.0"} 3
        h_bucket{le="1.0"} 2
        h_bucket{le="+Inf"} 2
        h_bucket{job="b",le="-1.0"} 3
        h_bucket{job="b",le="1.0"} 2
        h_bucket{job="b",le="+Inf"} 2
        # HELP h_sum Help.
        # TYPE h_sum unknown
        h_sum -1.0
        h_sum{job="b"} -1.0
        # HELP h_count Help.
        # TYPE h_count unknown
        h_count 2
        h_count{job="b"} 2
        # TYPE s unknown
        s{quantile="1.5"} -1.0
        # TYPE s_sum unknown
        s_sum{job="b"} -1.0
        # TYPE s_count unknown
        s_count 1
        s_count{job="b"} 1
        # TYPE t_sum unknown
        t_sum -1.0
        # TYPE t_count unknown
        t_count 1
        # TYPE z gauge
        z 1.0
        # EOF
    "##]],
    );
}

#[test]
fn what_fits_openmetrics() {
    let fits = |kind, value: Value| openmetrics::fits(kind, &value.reading());
    for (value, expected) in [(0.0, true), (f64::INFINITY, true), (-1.0, false), (f64::NAN, false)]
    {
        assert_eq!(fits(Kind::Counter, Value::Counter(value, None)), expected);
    }
    assert!(fits(Kind::Gauge, Value::Gauge(f64::NAN)) && fits(Kind::Info, Value::Gauge(1.0)));
    assert!(!fits(Kind::Info, Value::Gauge(2.0)));
    assert!(fits(Kind::StateSet, Value::StateSet(vec![])));

    let summary = |sum, quantile, value| {
        fits(Kind::Summary, Value::Summary(Number::Int(1), sum, vec![(quantile, value)]))
    };
    assert!(summary(None, 0.0, f64::NAN) && summary(Some(0.0), 1.0, 0.0));
    assert!(!summary(Some(-1.0), 0.5, 1.0) && !summary(Some(f64::NAN), 0.5, 1.0));
    assert!(!summary(None, 1.5, 1.0) && !summary(None, 0.5, -1.0));
    assert!(!fits(Kind::Summary, Value::Summary(Number::Float(0.5), None, vec![])));

    let histogram =
        |kind, reading: &HistogramReading| fits(kind, Value::Histogram(reading.clone()));
    let good = classic(1.0, &[(0.0, 1), (1.0, 1), (f64::INFINITY, 2)]);
    let negative = classic(-1.0, &[(-1.0, 1), (f64::INFINITY, 1)]);
    assert!(histogram(Kind::Histogram, &good) && histogram(Kind::GaugeHistogram, &good));
    assert!(!histogram(Kind::Histogram, &negative) && histogram(Kind::GaugeHistogram, &negative));
    assert!(histogram(Kind::Histogram, &classic(0.0, &[])));
    for change in [
        |h: &mut HistogramReading| h.sum = None,
        |h: &mut HistogramReading| h.sum = Some(-1.0),
        |h: &mut HistogramReading| h.sum = Some(f64::NAN),
        |h: &mut HistogramReading| h.count = Number::Int(3),
        |h: &mut HistogramReading| h.count = Number::Float(2.5),
        |h: &mut HistogramReading| h.buckets[0].cumulative_count = Number::Int(2),
        |h: &mut HistogramReading| h.buckets[0].cumulative_count = Number::Float(0.5),
        |h: &mut HistogramReading| h.buckets.truncate(2),
    ] {
        let mut changed = good.clone();
        change(&mut changed);
        let short = changed.buckets.len() == 2;
        // A bucket may be missing if the one that is added for it fits.
        assert_eq!(histogram(Kind::Histogram, &changed), short);
        assert_eq!(histogram(Kind::GaugeHistogram, &changed), short);
    }
}

#[test]
fn exemplars_have_at_most_128_code_points() {
    let with = |value: String| {
        let labels = format!("name=\"{value}\"");
        let families = [family(
            Kind::Counter,
            "x_total",
            [("", Value::Counter(1.0, Some(exemplar(&labels, 1.0, None))))],
        )];
        String::from_utf8(encode(OPENMETRICS, &families).body).unwrap().contains(" # {")
    };
    assert!(with("v".repeat(124)) && with("ü".repeat(124)) && with("\\n".repeat(124)));
    assert!(!with("v".repeat(125)) && !with("ü".repeat(125)) && !with("\\n".repeat(125)));
    // Under a scheme that cannot tell its labels apart an exemplar goes, the series stays.
    let families = [family(
        Kind::Counter,
        "x_total",
        [("", Value::Counter(1.0, Some(exemplar(r#""a.b"="1",a_b="2""#, 1.0, None))))],
    )];
    check(
        OPENMETRICS,
        &families,
        expect![[r#"
        # TYPE x counter
        x_total 1.0
        # EOF
    "#]],
    );
    check(
        PROTOBUF,
        &families,
        expect![[r#"
        counter x_total help=- unit=-
          {} 1
    "#]],
    );
}

#[test]
fn units_that_are_no_suffix_are_not_written() {
    let families = [
        named(Kind::Gauge, "a_seconds").unit("seconds"),
        named(Kind::Gauge, "aseconds").unit("seconds"),
        named(Kind::Gauge, "seconds").unit("seconds"),
        named(Kind::Counter, "b_seconds_total").unit("seconds"),
        named(Kind::Counter, "b_total").unit("total"),
        named(Kind::Counter, "c_seconds").unit("seconds"),
        named(Kind::Info, "d_seconds_info").unit("seconds"),
        named(Kind::StateSet, "e_seconds").unit("seconds"),
        named(Kind::Gauge, "f_a.b").unit("a.b"),
        named(Kind::Gauge, "f_a\nb").unit("a\nb"),
    ];
    let scrape = encode(OPENMETRICS, &families);
    let text = String::from_utf8(scrape.body).unwrap();
    let units: Vec<_> = text.lines().filter(|line| line.starts_with("# UNIT")).collect();
    assert_eq!(
        units,
        ["# UNIT a_seconds seconds", "# UNIT b_seconds seconds", "# UNIT c_seconds seconds",]
    );
}

// === Parts ===

#[test]
fn parts_of_a_scrape_make_the_whole() {
    let families = everything();
    for format in [Format::Text004, Format::OpenMetrics100, Format::ProtobufDelimited] {
        let options = options(format, Escaping::AllowUtf8);
        let whole = encode(options, &families).body;
        let plan = Plan::new(options, families.iter().map(|family| family.head));
        let mut parts = Vec::new();
        for (at, family) in families.iter().enumerate() {
            for (nth, series) in family.series.iter().enumerate() {
                let mut encoder = Encoder::new(options);
                let planned = plan.get(at).unwrap();
                if nth == 0 {
                    encoder.begin_family(planned);
                } else {
                    encoder.continue_family(planned);
                }
                let labels = series.labels.as_bytes();
                encoder.series(&mut parts, labels, &series.value.reading(), series.created_ms);
                encoder.end_family(&mut parts);
            }
        }
        Encoder::new(options).finish(&mut parts);
        if format == Format::ProtobufDelimited {
            assert_eq!(parsed(&parts), parsed(&whole));
        } else {
            assert_eq!(String::from_utf8(parts), String::from_utf8(whole));
        }
    }
}

// === Any series at all ===

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_:][a-z0-9_:]{0,6}",
        "[a-c][._/][a-c]",
        "(le|quantile|a_total|a_created|a_info|a_bucket|a_count|a)",
        "\\PC{1,6}",
        "[\"\\\\\n,={} #]{1,6}",
    ]
}

fn any_labels() -> impl Strategy<Value = String> {
    prop::collection::btree_map(any_text(), any_text(), 0..4).prop_map(|labels| {
        let mut labels: Vec<_> = labels
            .into_iter()
            .filter(|(name, _)| !name.starts_with("__"))
            .map(|(name, value)| crate::model::Label::raw(name, value))
            .collect();
        let mut out = String::new();
        crate::model::labels::write_canonical(&mut out, &mut labels, &Grouping::default()).unwrap();
        out
    })
}

proptest! {
    /// Whatever becomes of the names, no series and no metadata is written twice.
    #[test]
    fn nothing_is_said_twice(
        names in prop::collection::btree_set(any_text(), 1..6),
        labels in prop::collection::btree_set(any_labels(), 1..6),
        kinds in prop::collection::vec(0_usize..8, 6),
    ) {
        const KINDS: [Kind; 8] = [
            Kind::Counter, Kind::Gauge, Kind::Untyped, Kind::Summary, Kind::Histogram,
            Kind::GaugeHistogram, Kind::Info, Kind::StateSet,
        ];
        let mut families: Vec<TestFamily> = Vec::new();
        for (name, kind) in names.into_iter().zip(kinds) {
            let name: &'static str = name.leak();
            let kind = KINDS[kind];
            // What the store refuses.
            let taken = families.iter().any(|family| {
                let sample = |owner: &FamilyHead<'_>, name: &str| {
                    owner.kind.sample_suffixes().iter().any(|s| format!("{}{s}", owner.name) == name)
                };
                let head = FamilyHead { name, kind, help: "", unit: "" };
                sample(&family.head, name) || sample(&head, family.head.name)
            });
            if !taken {
                let series = labels.iter().map(|labels| {
                    let value = named(kind, name).series.remove(0).value;
                    TestSeries { labels: labels.clone(), value, created_ms: Some(1) }
                });
                families.push(TestFamily { series: series.collect(), ..named(kind, name) });
            }
        }
        for escaping in [Escaping::AllowUtf8, Escaping::Underscores, Escaping::Dots, Escaping::Values] {
            let scrape = encode(options(Format::ProtobufDelimited, escaping), &families);
            let mut series: Vec<_> = messages(&scrape.body)
                .iter()
                .flat_map(|family| family.metric.iter().map(|metric| {
                    let mut labels: Vec<_> = metric.label.iter().map(|label| format!("{label:?}")).collect();
                    labels.sort();
                    (family.name().to_owned(), labels)
                }))
                .collect();
            series.sort_unstable();
            prop_assert!(series.windows(2).all(|pair| pair[0] != pair[1]), "{:?}", series);
            for format in [Format::Text004, Format::OpenMetrics100] {
                let options = Options { format, escaping, created_lines: true };
                let text = String::from_utf8(encode(options, &families).body).unwrap();
                let mut series: Vec<_> = text
                    .lines()
                    .filter(|line| !line.starts_with("# HELP"))
                    .map(|line| if line.starts_with('#') { line } else { line.rsplit_once(' ').unwrap().0 })
                    .collect();
                series.sort_unstable();
                let twice = series.windows(2).find(|pair| pair[0] == pair[1]);
                prop_assert_eq!(twice, None, "{}", text);
            }
        }
    }
}
