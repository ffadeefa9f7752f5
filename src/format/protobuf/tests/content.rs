//! The content of well-formed messages.

use super::*;

#[test]
fn every_field_of_every_message_is_read() {
    let timestamp = |seconds, nanos| wire::Timestamp { seconds: Some(seconds), nanos: Some(nanos) };
    let exemplar = |value, at: Option<wire::Timestamp>| wire::Exemplar {
        label: vec![label("trace_id", "a\"b"), label("b", "")],
        value: Some(value),
        timestamp: at,
    };
    let families = [
        wire::MetricFamily {
            help: Some("Things.".to_owned()),
            unit: Some("seconds".to_owned()),
            ..family(
                "a.seconds_total",
                MetricType::Counter,
                vec![wire::Metric {
                    label: vec![label("l.n", "ü\n"), label("a", "\\"), label("e", "")],
                    counter: Some(wire::Counter {
                        value: Some(f64::INFINITY),
                        exemplar: Some(exemplar(0.5, None)),
                        created_timestamp: Some(timestamp(1_700_000_000, 123_999_999)),
                    }),
                    ..wire::Metric::default()
                }],
            )
        },
        family(
            "h",
            MetricType::GaugeHistogram,
            vec![wire::Metric {
                histogram: Some(wire::Histogram {
                    sample_count: Some(7),
                    sample_sum: Some(-2.5),
                    bucket: vec![
                        wire::Bucket {
                            exemplar: Some(Box::new(exemplar(0.1, Some(timestamp(1, 0))))),
                            ..bucket(2.0, 5)
                        },
                        bucket(-0.0, 3),
                    ],
                    created_timestamp: Some(timestamp(3, 0)),
                    schema: Some(0),
                    zero_threshold: Some(0.001),
                    zero_count: Some(3),
                    positive_span: vec![wire::BucketSpan { offset: Some(1), length: Some(1) }],
                    positive_delta: vec![4],
                    exemplars: vec![exemplar(1.0, None), exemplar(2.0, Some(timestamp(2, 0)))],
                    ..wire::Histogram::default()
                }),
                ..wire::Metric::default()
            }],
        ),
        family(
            "s",
            MetricType::Summary,
            vec![wire::Metric {
                summary: Some(wire::Summary {
                    sample_count: Some(u64::MAX),
                    sample_sum: Some(1.5),
                    quantile: vec![
                        wire::Quantile { quantile: Some(0.9), value: Some(f64::NAN) },
                        wire::Quantile { quantile: Some(0.5), value: Some(-1.0) },
                        wire::Quantile { quantile: Some(2.0), value: None },
                    ],
                    created_timestamp: Some(timestamp(4, 0)),
                }),
                ..wire::Metric::default()
            }],
        ),
    ];
    accept(
        &body(&families),
        expect![[r#"
            counter a.seconds_total help=Things. unit=seconds
              {a="\\",job="j","l.n"="ü\n"} inf #{trace_id="a\"b"}0.5 created=1700000000123
            gaugehistogram h help=- unit=-
              {job="j"} count=7 sum=-2.5 le0=3 le2=5 #{trace_id="a\"b"}0.1@1000 schema=0 zero[0.001]=3 +[1]=4 #{trace_id="a\"b"}2@2000 created=3000
            summary s help=- unit=-
              {job="j"} count=18446744073709551615 sum=1.5 q0.5=-1 q0.9=NaN q2=0 created=4000
        "#]],
    );
}

#[test]
fn a_float_overrides_an_integer_if_it_is_greater_than_zero() {
    let float_bucket = |integer, float| wire::Bucket {
        cumulative_count: Some(integer),
        cumulative_count_float: Some(float),
        ..wire::Bucket::default()
    };
    accept(
        &histogram(wire::Histogram {
            sample_count: Some(1),
            sample_count_float: Some(2.5),
            bucket: vec![
                wire::Bucket { upper_bound: Some(1.0), ..float_bucket(1, 0.0) },
                wire::Bucket { upper_bound: Some(2.0), ..float_bucket(1, 1.5) },
                wire::Bucket { upper_bound: Some(3.0), ..float_bucket(1, 2e20) },
            ],
            ..wire::Histogram::default()
        }),
        expect![[r#"
            histogram h help=- unit=-
              {job="j"} count=2.5f sum=0 le1=1 le2=1.5f le3=2e20f
        "#]],
    );
}

#[test]
fn g7_the_infinite_bucket_stands_in_for_an_absent_count() {
    let buckets = |last| vec![bucket(1.0, 2), bucket(last, 3)];
    let absent = |last| histogram(wire::Histogram { bucket: buckets(last), ..Default::default() });
    accept(
        &absent(f64::INFINITY),
        expect![[r#"
            histogram h help=- unit=-
              {job="j"} count=- sum=0 le1=2 leinf=3
        "#]],
    );
    // R10: the +Inf bucket may be missing; the merge derives it.
    accept(
        &absent(2.0),
        expect![[r#"
            histogram h help=- unit=-
              {job="j"} count=0 sum=0 le1=2 le2=3
        "#]],
    );
}

#[test]
fn g8_values_beyond_the_format_pass() {
    let odd = histogram(wire::Histogram {
        sample_count: Some(2),
        sample_sum: Some(f64::NAN),
        bucket: vec![bucket(1.0, 5), bucket(2.0, 3), bucket(f64::INFINITY, 1)],
        ..wire::Histogram::default()
    });
    accept(
        &odd,
        expect![[r#"
            histogram h help=- unit=-
              {job="j"} count=2 sum=NaN le1=5 le2=3 leinf=1
        "#]],
    );
    for value in [-1.0, f64::NAN, f64::INFINITY] {
        let counters = body(&[family("x", MetricType::Counter, vec![counter(&[], value)])]);
        assert!(read(&counters, Timestamps::Reject).is_ok());
    }
}

#[test]
fn g16_a_family_in_two_messages_is_one_family() {
    let part = |labels: &[(&str, &str)], kind, help: &str, unit: &str| wire::MetricFamily {
        help: Some(help.to_owned()),
        unit: Some(unit.to_owned()),
        ..family("x", kind, vec![counter(labels, 1.0)])
    };
    let first = part(&[("a", "1")], MetricType::Counter, "", "");
    accept(
        &body(&[
            first.clone(),
            family("y", MetricType::Counter, vec![counter(&[], 1.0)]),
            part(&[("a", "2")], MetricType::Counter, "help", "s"),
            part(&[("a", "3")], MetricType::Counter, "another", ""),
        ]),
        expect![[r#"
            counter x help=help unit=s
              {a="1",job="j"} 1
              {a="2",job="j"} 1
              {a="3",job="j"} 1
            counter y help=- unit=-
              {job="j"} 1
        "#]],
    );
    refuse(
        &body(&[first.clone(), part(&[("a", "2")], MetricType::Gauge, "", "")]),
        "family 1 (\"x\"): the family is a counter in one message and a gauge in another",
    );
    refuse(
        &body(&[
            part(&[("a", "1")], MetricType::Counter, "", "s"),
            part(&[("a", "2")], MetricType::Counter, "", "ms"),
        ]),
        "family 1 (\"x\"): the family has different units in two messages",
    );
    refuse(
        &body(&[first.clone(), first]),
        "family 1 (\"x\"), metric 0, counter: the value of series x{a=\"1\",job=\"j\"} is given twice",
    );
}

#[test]
fn g0_timestamps() {
    for value in [0, 1_700_000_000_000, -1_i64 as u64] {
        let stamped = x_metric(MetricType::Counter, &[counter_of(1.0), varint(6, value)]);
        refuse(
            &stamped,
            "family 0 (\"x\"), metric 0: timestamps are refused: a sum has no sample time",
        );
        expect![[r#"
            counter x help=- unit=-
              {job="j"} 1
        "#]]
        .assert_eq(&read(&stamped, Timestamps::Ignore).unwrap());
    }
}

#[test]
fn names_and_labels() {
    let named = |name: &[u8]| delimited(&[bytes(1, name), bytes(4, &counter_of(1.0))].concat());
    accept(
        &[named("ü \"\n".as_bytes()), named(b"0")].concat(),
        expect![[r#"
            counter ü "
             help=- unit=-
              {job="j"} 1
            counter 0 help=- unit=-
              {job="j"} 1
        "#]],
    );
    refuse(&named(b""), "family 0: a family with metrics needs a name");
    refuse(&delimited(&bytes(4, b"")), "family 0: a family with metrics needs a name");
    refuse(&named(b"\xff"), "family 0: name is not valid UTF-8");
    refuse(
        &named(b"a\0"),
        "body: metric name \"a\\0\" holds a NUL, which Prometheus cannot read in names",
    );
    refuse(&x(&[bytes(2, b"\xff")]), "family 0: help is not valid UTF-8");
    refuse(&x(&[bytes(5, b"\xff")]), "family 0: unit is not valid UTF-8");

    let labelled = |pairs: &[(&[u8], &[u8])]| {
        let pairs =
            pairs.iter().map(|(name, value)| bytes(1, &[bytes(1, name), bytes(2, value)].concat()));
        x_metric(MetricType::Counter, &pairs.chain([counter_of(1.0)]).collect::<Vec<_>>())
    };
    let kept = labelled(&[(b"job", b"body"), (b"b", b"\r\t\0"), (b"a", b"")]);
    assert_eq!(
        read(&kept, Timestamps::Reject).unwrap(),
        "counter x help=- unit=-\n  {b=\"\r\t\0\",job=\"j\"} 1\n"
    );
    refuse(
        &labelled(&[(b"a\0", b"")]),
        "family 0 (\"x\"), metric 0: label name \"a\\0\" holds a NUL, which Prometheus cannot read \
         in names",
    );
    refuse(
        &labelled(&[(b"\xff", b"")]),
        "family 0 (\"x\"), metric 0: label name is not valid UTF-8",
    );
    refuse(
        &labelled(&[(b"a", b"\xff")]),
        "family 0 (\"x\"), metric 0: label value is not valid UTF-8",
    );
    refuse(&labelled(&[(b"", b"1")]), "family 0 (\"x\"), metric 0: a label name is empty");
    refuse(
        &labelled(&[(b"a", b"1"), (b"a", b"1")]),
        "family 0 (\"x\"), metric 0: label \"a\" is given twice",
    );
    refuse(
        &labelled(&[(b"__name__", b"1")]),
        "family 0 (\"x\"), metric 0: label name \"__name__\" is reserved: names must not start with \"__\"",
    );
}

#[test]
fn labels_reserved_by_the_type() {
    let with =
        |name: &str, metric: wire::Metric| wire::Metric { label: vec![label(name, "1")], ..metric };
    let histogram =
        wire::Metric { histogram: Some(wire::Histogram::default()), ..wire::Metric::default() };
    let summary =
        wire::Metric { summary: Some(wire::Summary::default()), ..wire::Metric::default() };
    for (kind, metric, name, kind_word) in [
        (MetricType::Histogram, &histogram, "le", "histogram"),
        (MetricType::GaugeHistogram, &histogram, "le", "gaugehistogram"),
        (MetricType::Summary, &summary, "quantile", "summary"),
    ] {
        refuse(
            &body(&[family("x", kind, vec![with(name, metric.clone())])]),
            &format!("family 0 (\"x\"), metric 0: label {name:?} is reserved on a {kind_word}"),
        );
    }
    let other = [
        family("x", MetricType::Histogram, vec![with("quantile", histogram)]),
        family("y", MetricType::Summary, vec![with("le", summary)]),
        family("z", MetricType::Counter, vec![counter(&[("le", "1"), ("quantile", "1")], 1.0)]),
    ];
    assert!(read(&body(&other), Timestamps::Reject).is_ok());
}

#[test]
fn every_metric_needs_the_message_of_its_type() {
    let all = [(0, "counter"), (1, "gauge"), (2, "summary"), (3, "untyped"), (4, "histogram")];
    for (kind, name) in all.into_iter().chain([(5, "histogram")]) {
        // An unknown field 100, and for each type the field of another one.
        let other = if kind == 0 { bytes(2, b"") } else { counter_of(1.0) };
        let message = format!(
            "family 0 (\"x\"), metric 0, {name}: the metric does not have it, \
             but the type of its family needs it"
        );
        refuse(&x(&[varint(3, kind), bytes(4, b"")]), &message);
        refuse(&x(&[varint(3, kind), bytes(4, &other)]), &message);
    }
}

#[test]
fn g4_nothing_is_said_twice() {
    let twice =
        vec![counter(&[("a", "1"), ("b", "2")], 1.0), counter(&[("b", "2"), ("a", "1")], 1.0)];
    refuse(
        &body(&[family("x", MetricType::Counter, twice)]),
        "family 0 (\"x\"), metric 1, counter: the value of series x{a=\"1\",b=\"2\",job=\"j\"} is given twice",
    );
    let empty =
        wire::Metric { histogram: Some(wire::Histogram::default()), ..wire::Metric::default() };
    refuse(
        &body(&[family("x", MetricType::Histogram, vec![empty.clone(), empty])]),
        "family 0 (\"x\"), metric 1, histogram: the count of series x{job=\"j\"} is given twice",
    );
    let buckets = vec![bucket(0.0, 1), bucket(1.0, 1), bucket(-0.0, 1)];
    refuse(
        &histogram(wire::Histogram { bucket: buckets, ..wire::Histogram::default() }),
        "body: the bucket le=\"0\" of series h{job=\"j\"} is given twice",
    );
    let quantile = vec![wire::Quantile { quantile: Some(0.5), value: Some(1.0) }; 2];
    refuse(
        &summary(wire::Summary { quantile, ..wire::Summary::default() }),
        "body: the quantile \"0.5\" of series s{job=\"j\"} is given twice",
    );
}

#[test]
fn bounds_and_populations() {
    let refuse_histogram = |with: wire::Histogram, message: &str| {
        let message = format!("family 0 (\"h\"), metric 0, histogram: {message}");
        refuse(&histogram(with), &message);
    };
    refuse_histogram(
        wire::Histogram { bucket: vec![bucket(f64::NAN, 1)], ..wire::Histogram::default() },
        "the bound of a bucket is NaN",
    );
    for (float, shown) in [(-0.5, "-0.5"), (f64::NAN, "NaN"), (f64::NEG_INFINITY, "-inf")] {
        let negative = wire::Bucket { cumulative_count_float: Some(float), ..bucket(1.0, 1) };
        refuse_histogram(
            wire::Histogram { bucket: vec![negative], ..wire::Histogram::default() },
            &format!("a count is {shown}"),
        );
        refuse_histogram(
            wire::Histogram { sample_count_float: Some(float), ..wire::Histogram::default() },
            &format!("a count is {shown}"),
        );
    }
    // The rules of native buckets are tested elsewhere; this is about the path.
    refuse_histogram(
        wire::Histogram { zero_count: Some(1), ..wire::Histogram::default() },
        "the buckets hold 1 observations, the histogram 0",
    );
    let quantile = vec![wire::Quantile { quantile: Some(f64::NAN), value: None }];
    refuse(
        &summary(wire::Summary { quantile, ..wire::Summary::default() }),
        "family 0 (\"s\"), metric 0, summary: the bound of a quantile is NaN",
    );
}

#[test]
fn names_of_samples_are_no_names_of_families() {
    for (kind, field, suffixes) in [
        (MetricType::Histogram, 7, &["_count", "_sum", "_bucket"][..]),
        (MetricType::GaugeHistogram, 7, &["_count", "_sum", "_bucket"]),
        (MetricType::Summary, 4, &["_count", "_sum"]),
    ] {
        let owner = x_metric(kind, &[bytes(field, b"")]);
        for suffix in suffixes {
            let other = body(&[family(
                &format!("x{suffix}"),
                MetricType::Gauge,
                vec![wire::Metric { gauge: Some(wire::Gauge::default()), ..Default::default() }],
            )]);
            for both in [[&*owner, &*other].concat(), [&*other, &*owner].concat()] {
                let error = read(&both, Timestamps::Reject).expect_err("accepted");
                assert_eq!(error.place, Place::Body);
                assert!(error.message.contains(&format!("\"x{suffix}\"")), "{error}");
            }
        }
    }
    let summary = x_metric(MetricType::Summary, &[bytes(4, b"")]);
    let bucket = body(&[family("x_bucket", MetricType::Counter, vec![counter(&[], 1.0)])]);
    let without = body(&[family("x_count", MetricType::Counter, vec![])]);
    assert!(read(&[&*summary, &*bucket, &*without].concat(), Timestamps::Reject).is_ok());
}

#[test]
fn an_exemplar_that_is_none_is_left_out() {
    let exemplars = [
        wire::Exemplar { label: vec![label("a", "1"), label("a", "2")], ..Default::default() },
        wire::Exemplar { label: vec![label("__x", "1")], ..Default::default() },
        wire::Exemplar { label: vec![label("x", &"v".repeat(128))], ..Default::default() },
        wire::Exemplar {
            timestamp: Some(wire::Timestamp { seconds: Some(0), nanos: Some(-1) }),
            ..Default::default()
        },
        wire::Exemplar {
            timestamp: Some(wire::Timestamp { seconds: Some(i64::MAX), nanos: None }),
            ..Default::default()
        },
        wire::Exemplar {
            timestamp: Some(wire::Timestamp { seconds: Some(253_402_300_800), nanos: None }),
            ..Default::default()
        },
        wire::Exemplar {
            timestamp: Some(wire::Timestamp { seconds: Some(-62_135_596_801), nanos: None }),
            ..Default::default()
        },
    ];
    for exemplar in exemplars {
        let metric = wire::Metric {
            counter: Some(wire::Counter { exemplar: Some(exemplar), ..Default::default() }),
            ..wire::Metric::default()
        };
        accept(
            &body(&[family("x", MetricType::Counter, vec![metric])]),
            expect![[r#"
                counter x help=- unit=-
                  {job="j"} 0
            "#]],
        );
    }
    // But all text in a body must be UTF-8 (G6).
    let invalid = bytes(2, &bytes(1, &bytes(1, b"\xff")));
    refuse(
        &x_metric(MetricType::Counter, &[bytes(3, &invalid)]),
        "family 0 (\"x\"), metric 0: LabelPair.name: Exemplar.label: Counter.exemplar: \
         invalid string value: data is not UTF-8 encoded",
    );
}

#[test]
fn a_metric_has_a_largest_size() {
    let long = "v".repeat(METRIC_BYTES_MAX);
    refuse(
        &body(&[family("x", MetricType::Counter, vec![counter(&[("a", &long)], 1.0)])]),
        "family 0 (\"x\"), metric 0: it has 4194328 bytes, more than 4194304",
    );
}

#[test]
fn a_parser_is_used_again_and_again() {
    // The next metric is read into the same objects; nothing may be left of the one before.
    let full = wire::Histogram {
        sample_count: Some(3),
        sample_sum: Some(2.0),
        bucket: vec![bucket(1.0, 3)],
        created_timestamp: Some(wire::Timestamp { seconds: Some(1), nanos: None }),
        ..wire::Histogram::default()
    };
    let metrics = [full, wire::Histogram::default()]
        .into_iter()
        .enumerate()
        .map(|(at, histogram)| wire::Metric {
            label: vec![label("at", &at.to_string())],
            histogram: Some(histogram),
            ..wire::Metric::default()
        })
        .collect();
    accept(
        &body(&[family("h", MetricType::Histogram, metrics)]),
        expect![[r#"
            histogram h help=- unit=-
              {at="0",job="j"} count=3 sum=2 le1=3 created=1000
              {at="1",job="j"} count=0 sum=0
        "#]],
    );
}
