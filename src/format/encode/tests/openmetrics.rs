//! What OpenMetrics 1.0 cannot express, and what it demands besides.

use super::*;

#[test]
fn clashes_cost_a_family_its_type() {
    // (c) and (d) of formats 7, and all other names that can clash.
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
    let fits = |kind, value: Value| fits_openmetrics(kind, &value.reading());
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
        // The +Inf bucket may be missing, as long as the one that is added instead fits.
        assert_eq!(histogram(Kind::Histogram, &changed), short);
        assert_eq!(histogram(Kind::GaugeHistogram, &changed), short);
    }
}

#[test]
fn exemplars_that_others_cannot_read_are_left_out() {
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
    // Prometheus refuses a NUL there.
    assert!(!with("\0".to_owned()));
    // If escaping gives two of its labels the same name, the exemplar is dropped and the series stays.
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
