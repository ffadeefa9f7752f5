//! Names that are escaped or that clash.

use proptest::prelude::*;

use super::*;

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
        // The name of one family is that of another's sample.
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
    /// No series and no metadata is written twice, whatever happens to the names.
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
