//! Snapshots of every kind in every format, and what the other tests need to drive the encoder.

mod names;
mod openmetrics;
mod protobuf;

use expect_test::{Expect, expect};

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

/// Every kind, with everything that it can have.
fn everything() -> Vec<TestFamily> {
    let mut with_exemplar =
        classic(5.25, &[(0.005, 1), (1.0, 1_000_000), (f64::INFINITY, 1_000_001)]);
    with_exemplar.buckets[1].exemplar =
        Some(Box::new(exemplar(r#"trace_id="a\"b""#, 0.67, Some(1_700_000_000_123))));
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

/// Like [`check`], but something is lost.
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

fn messages(mut body: &[u8]) -> Vec<wire::MetricFamily> {
    let mut families = Vec::new();
    while !body.is_empty() {
        families.push(prost::Message::decode_length_delimited(&mut body).unwrap());
    }
    families
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
        f_seconds_bucket{le="1.0"} 1000000 # {trace_id="a\"b"} 0.67 1700000000.123
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
        a_seconds_created 1520872607.123
        a_seconds_total{job="j",path="/\"\\\n"} 2.5e+06 # {t="1"} 0.5
        a_seconds_created{job="j",path="/\"\\\n"} 1520872607.123
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
        f_seconds_bucket{le="1.0"} 1000000 # {trace_id="a\"b"} 0.67 1700000000.123
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
