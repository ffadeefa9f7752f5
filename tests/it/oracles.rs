//! Other readers read everything we write, and find what was pushed in it: the reference reader of
//! OpenMetrics, Google's protobuf runtime, and promtool. Expected values are written by hand, from
//! merge-semantics.

mod differential;
mod names;
pub(crate) mod reader;

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use expect_test::expect;

use crate::harness::{Gateway, Message, flag, message, promtool_accepts, value};
use reader::{Oracle, dump};

pub(crate) const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";
pub(crate) const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
pub(crate) const TEXT: &str = "text/plain;version=0.0.4";

/// One reader for each format.
struct Readers {
    openmetrics: Oracle,
    text: Oracle,
    protobuf: Oracle,
}

/// Shared by all tests, which use them one at a time. They end when their input does.
fn readers() -> MutexGuard<'static, Readers> {
    static READERS: LazyLock<Mutex<Readers>> = LazyLock::new(|| {
        let (openmetrics, text) = (Oracle::openmetrics(), Oracle::text());
        Mutex::new(Readers { openmetrics, text, protobuf: Oracle::protobuf() })
    });
    // A test that failed has read its answer, so the next one can use them.
    READERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Readers {
    /// What all readers find in the exposition of one state.
    #[track_caller]
    fn read(&mut self, gateway: &Gateway, escaping: &str) -> String {
        let openmetrics = scrape(gateway, &format!("{OPENMETRICS};escaping={escaping}"));
        let text = scrape(gateway, &format!("{TEXT};escaping={escaping}"));
        let protobuf = scrape(gateway, &format!("{PROTOBUF};escaping={escaping}"));
        // This promtool does not know names in quotes yet.
        if escaping != "allow-utf-8" {
            promtool_accepts(std::str::from_utf8(&text).expect("UTF-8"));
        }
        format!(
            "=== OpenMetrics\n{}=== text\n{}=== protobuf\n{}",
            dump(&self.openmetrics.read(&openmetrics)),
            dump(&self.text.read(&text)),
            dump(&self.protobuf.read(&protobuf)),
        )
    }
}

#[track_caller]
pub(crate) fn scrape(gateway: &Gateway, accept: &str) -> Vec<u8> {
    let response = gateway.request("GET", "/metrics").header("Accept", accept).send();
    let content_type = response.header("content-type").expect("a content type");
    let (wanted, got) = (accept.split(';').next(), content_type.split(';').next());
    assert_eq!(wanted, got, "{content_type}");
    response.body
}

#[track_caller]
pub(crate) fn push_as(gateway: &Gateway, content_type: &str, body: impl AsRef<[u8]>) {
    let request = gateway.request("POST", "/metrics").header("Content-Type", content_type);
    gateway.accept_request(request.body(body));
}

/// A gateway with start times, which OpenMetrics does not show by default.
fn gateway() -> Gateway {
    flag("--scrape.created-samples=true").run()
}

// === kinds ===

#[test]
fn scalars() {
    let gateway = gateway();
    for (by, time) in [("1", 1_700_000_001.5), ("2", 1_700_000_000.0)] {
        let body = format!(
            "# TYPE c_bytes counter\n# HELP c_bytes A \\\"b\\\" \\\\ c\\nd.\n# UNIT c_bytes bytes\n\
             c_bytes_total{{k=\"\\\\ \\\" \\n ü\"}} {by} # {{trace_id=\"t{by}\"}} 0.5 {time}\n\
             # TYPE g_seconds gauge\n# UNIT g_seconds seconds\ng_seconds -{by}.5\n\
             # TYPE i info\ni_info{{version=\"1\"}} 1\n\
             # TYPE st stateset\nst{{st=\"off\"}} 0\nst{{st=\"on\"}} 1\n\
             # TYPE un unknown\nun {by}e20\n# EOF\n"
        );
        push_as(&gateway, OPENMETRICS, body);
    }
    for special in ["NaN", "+Inf", "-Inf", "-0", "5e-324", "1.7976931348623157e+308"] {
        gateway.accept("/metrics", format!("# TYPE g gauge\ng{{v=\"{special}\"}} {special}\n"));
    }
    let seen = readers().read(&gateway, "underscores");
    expect![[r#"
            === OpenMetrics
            counter c_bytes help="A \"b\" \\ c\nd." unit="bytes"
              c_bytes_total{k="\\ \" \n ü"} 3 #{trace_id="t1"} 0.5 @1700000001.5
              c_bytes_created{k="\\ \" \n ü"} now
            gauge g
              g{v="+Inf"} inf
              g{v="-0"} 0
              g{v="-Inf"} -inf
              g{v="1.7976931348623157e+308"} 179769313486231570000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
              g{v="5e-324"} 0.000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000005
              g{v="NaN"} NaN
            gauge g_seconds unit="seconds"
              g_seconds -2.5
            info i
              i_info{version="1"} 1
            stateset st
              st{st="off"} 0
              st{st="on"} 1
            unknown un
              un 300000000000000000000
            === text
            counter c_bytes help="A \"b\" \\ c\nd."
              c_bytes_total{k="\\ \" \n ü"} 3
            gauge g
              g{v="+Inf"} inf
              g{v="-0"} 0
              g{v="-Inf"} -inf
              g{v="1.7976931348623157e+308"} 179769313486231570000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
              g{v="5e-324"} 0.000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000005
              g{v="NaN"} NaN
            gauge g_seconds
              g_seconds -2.5
            gauge i_info
              i_info{version="1"} 1
            gauge st
              st{st="off"} 0
              st{st="on"} 1
            unknown un
              un 300000000000000000000
            === protobuf
            counter c_bytes_total help="A \"b\" \\ c\nd." unit="bytes"
              c_bytes_total{k="\\ \" \n ü"} 3 #{trace_id="t1"} 0.5 @1700000001.5
              c_bytes_total_created{k="\\ \" \n ü"} now
            gauge g
              g{v="+Inf"} inf
              g{v="-0"} -0
              g{v="-Inf"} -inf
              g{v="1.7976931348623157e+308"} 179769313486231570000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
              g{v="5e-324"} 0.000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000005
              g{v="NaN"} NaN
            gauge g_seconds unit="seconds"
              g_seconds -2.5
            gauge i_info
              i_info{version="1"} 1
            gauge st
              st{st="off"} 0
              st{st="on"} 1
            untyped un
              un 300000000000000000000
        "#]].assert_eq(&seen);
}

#[test]
fn summaries_and_classic_histograms() {
    let gateway = gateway();
    for (id, time) in [("a", 1_700_000_000), ("b", 1_600_000_000)] {
        let body = format!(
            "# TYPE h_seconds histogram\n# UNIT h_seconds seconds\n\
             h_seconds_bucket{{x=\"1\",le=\"0.1\"}} 9007199254740993 # {{id=\"{id}\"}} 0.05 {time}\n\
             h_seconds_bucket{{x=\"1\",le=\"1.0\"}} 9007199254740994\n\
             h_seconds_bucket{{x=\"1\",le=\"+Inf\"}} 9007199254740994 # {{id=\"{id}\"}} 7\n\
             h_seconds_sum{{x=\"1\"}} 0.1\nh_seconds_count{{x=\"1\"}} 9007199254740994\n\
             # TYPE gh gaugehistogram\ngh_bucket{{le=\"-1.0\"}} 1\ngh_bucket{{le=\"+Inf\"}} 2\n\
             gh_gcount 2\ngh_gsum -3\n\
             # TYPE s summary\ns{{quantile=\"0.5\"}} 9\ns_sum 0.1\ns_count 3\n# EOF\n"
        );
        push_as(&gateway, OPENMETRICS, body);
    }
    // Another layout: its observations between bounds are counted only where they are certain to be.
    push_as(
        &gateway,
        OPENMETRICS,
        "# TYPE h_seconds histogram\nh_seconds_bucket{x=\"1\",le=\"0.5\"} 3\n\
         h_seconds_bucket{x=\"1\",le=\"+Inf\"} 4\nh_seconds_sum{x=\"1\"} 0.1\n\
         h_seconds_count{x=\"1\"} 4\n# EOF\n",
    );
    let seen = readers().read(&gateway, "underscores");
    expect![[r#"
            === OpenMetrics
            gaugehistogram gh
              gh_bucket{le=-1} 1
              gh_bucket{le=inf} 2
              gh_gsum -3
              gh_gcount 2
            histogram h_seconds unit="seconds"
              h_seconds_bucket{le=0.1,x="1"} 18014398509481986 #{id="a"} 0.05 @1700000000
              h_seconds_bucket{le=0.5,x="1"} 18014398509481989
              h_seconds_bucket{le=1,x="1"} 18014398509481991
              h_seconds_bucket{le=inf,x="1"} 18014398509481992 #{id="b"} 7
              h_seconds_sum{x="1"} 0.30000000000000004
              h_seconds_count{x="1"} 18014398509481992
              h_seconds_created{x="1"} now
            summary s
              s_sum 0.2
              s_count 6
              s_created now
            === text
            histogram gh
              gh_bucket{le=-1} 1
              gh_bucket{le=inf} 2
              gh_sum -3
              gh_count 2
            histogram h_seconds
              h_seconds_bucket{le=0.1,x="1"} 18014398509481984
              h_seconds_bucket{le=0.5,x="1"} 18014398509481988
              h_seconds_bucket{le=1,x="1"} 18014398509481990
              h_seconds_bucket{le=inf,x="1"} 18014398509481990
              h_seconds_sum{x="1"} 0.30000000000000004
              h_seconds_count{x="1"} 18014398509481990
            summary s
              s_sum 0.2
              s_count 6
            === protobuf
            gauge_histogram gh
              gh_bucket{le=-1} 1
              gh_bucket{le=inf} 2
              gh_sum -3
              gh_count 2
              gh_created now
            histogram h_seconds unit="seconds"
              h_seconds_bucket{le=0.1,x="1"} 18014398509481986 #{id="a"} 0.05 @1700000000
              h_seconds_bucket{le=0.5,x="1"} 18014398509481989
              h_seconds_bucket{le=1,x="1"} 18014398509481991
              h_seconds_bucket{le=inf,x="1"} 18014398509481992 #{id="b"} 7
              h_seconds_sum{x="1"} 0.30000000000000004
              h_seconds_count{x="1"} 18014398509481992
              h_seconds_created{x="1"} now
            summary s
              s_sum 0.2
              s_count 6
              s_created now
        "#]]
    .assert_eq(&seen);
}

/// Histograms that strict readers would refuse are shown without their type in OpenMetrics.
#[test]
fn histograms_that_openmetrics_cannot_hold() {
    let gateway = gateway();
    for _ in 0..2 {
        gateway.accept(
            "/metrics",
            "# TYPE float histogram\nfloat_bucket{le=\"1\"} 0.5\nfloat_bucket{le=\"+Inf\"} 1.5\n\
             float_sum 2\nfloat_count 1.5\n\
             # TYPE below histogram\nbelow_bucket{le=\"-1\"} 1\nbelow_bucket{le=\"+Inf\"} 2\n\
             below_sum -3\nbelow_count 2\n\
             # TYPE bare histogram\nbare_bucket{le=\"+Inf\"} 2\nbare_count 2\n",
        );
    }
    let seen = readers().read(&gateway, "underscores");
    expect![[r#"
        === OpenMetrics
        unknown bare_bucket
          bare_bucket{le=inf} 4
        unknown bare_count
          bare_count 4
        unknown below_bucket
          below_bucket{le=-1} 2
          below_bucket{le=inf} 4
        unknown below_sum
          below_sum -6
        unknown below_count
          below_count 4
        unknown float_bucket
          float_bucket{le=1} 1
          float_bucket{le=inf} 3
        unknown float_sum
          float_sum 4
        unknown float_count
          float_count 3
        === text
        histogram bare
          bare_bucket{le=inf} 4
          bare_count 4
        histogram below
          below_bucket{le=-1} 2
          below_bucket{le=inf} 4
          below_sum -6
          below_count 4
        histogram float
          float_bucket{le=1} 1
          float_bucket{le=inf} 3
          float_sum 4
          float_count 3
        === protobuf
        histogram bare
          bare_bucket{le=inf} 4
          bare_count 4
          bare_created now
        histogram below
          below_bucket{le=-1} 2
          below_bucket{le=inf} 4
          below_sum -6
          below_count 4
          below_created now
        histogram float
          float_bucket{le=1} 1
          float_bucket{le=inf} 3
          float_sum 4
          float_count 3
          float_created now
    "#]]
    .assert_eq(&seen);
}

// === native histograms ===

/// A native histogram with one side: consecutive `buckets` from index `from` on.
pub(crate) fn native(schema: i64, zero: (f64, u64), from: i64, buckets: &[i64]) -> Message {
    let count = zero.1 + buckets.iter().sum::<i64>() as u64;
    let mut histogram = message()
        .int(1, count)
        .double(2, 10.0)
        .sint(5, schema)
        .double(6, zero.0)
        .int(7, zero.1)
        .message(12, message().sint(1, from).int(2, buckets.len() as u64));
    let mut before = 0;
    for bucket in buckets {
        histogram = histogram.sint(13, bucket - before);
        before = *bucket;
    }
    histogram
}

fn exemplar(label: &str, value: f64, seconds: u64) -> Message {
    message()
        .message(1, message().text(1, "id").text(2, label))
        .double(2, value)
        .message(3, message().int(1, seconds))
}

#[test]
fn native_histograms() {
    let gateway = gateway();
    let push = |name: &str, kind, histogram: Message| {
        push_as(
            &gateway,
            PROTOBUF,
            Message::family(name, kind).metric(&[], (7, histogram)).delimited(),
        );
    };
    // The worked examples of formats 10. Addition at schemas 1 and 0:
    push("added", 4, native(1, (0.001, 1), 0, &[2, 3, 0, 4]));
    push("added", 4, native(0, (0.001, 2), 1, &[5, 0, 2]));
    // Widening the zero bucket up to the edge of a populated bucket, and only that far:
    push("widened", 4, native(0, (0.001, 2), -1, &[4, 3, 5]));
    push("widened", 4, native(0, (0.75, 7), 1, &[2, 1]));
    push("not_widened", 4, native(0, (0.001, 2), -1, &[4, 0, 5]));
    push("not_widened", 4, native(0, (0.75, 7), 1, &[2, 1]));
    // A zero bucket that ends inside a coarse bucket, which is populated once all have its schema
    // (merge-semantics 1.3; formats 10 widens each histogram at its own schema first):
    push("overlapping", 4, native(0, (0.5f64.sqrt(), 2), 1, &[5]));
    push("overlapping", 4, native(1, (0.001, 1), -1, &[3, 4]));
    // Floats, and a gauge histogram of both signs.
    let float = message()
        .double(4, 4.5)
        .double(2, 10.0)
        .sint(5, 0)
        .double(6, 0.001)
        .double(8, 0.25)
        .message(12, message().sint(1, 3).int(2, 2))
        .double(14, 1.25)
        .double(14, 3.0);
    push("float", 4, float);
    push("float", 4, native(0, (0.001, 1), 3, &[1]));
    let negative = native(0, (0.001, 1), 3, &[1]).int(1, 6).double(2, -2.0);
    let negative = negative.message(9, message().sint(1, -1).int(2, 1)).sint(10, 4);
    push("gauge", 5, negative.clone());
    push("gauge", 5, negative);
    // An empty one, which is only marked as native.
    let empty = message().int(1, 0).double(2, 0.0).sint(5, 3).double(6, 0.0);
    push("nothing", 4, empty.message(12, message().sint(1, 0).int(2, 0)));
    let seen = readers().read(&gateway, "underscores");
    expect![[r#"
        === OpenMetrics
        histogram added
          added_bucket{le=inf} 19
          added_sum 20
          added_count 19
          added_created now
        unknown float_bucket
          float_bucket{le=inf} 6.5
        unknown float_sum
          float_sum 20
        unknown float_count
          float_count 6.5
        unknown gauge_bucket
          gauge_bucket{le=inf} 6
        unknown gauge_sum
          gauge_sum -2
        unknown gauge_count
          gauge_count 6
        histogram not_widened
          not_widened_bucket{le=inf} 21
          not_widened_sum 20
          not_widened_count 21
          not_widened_created now
        histogram nothing
          nothing_bucket{le=inf} 0
          nothing_sum 0
          nothing_count 0
          nothing_created now
        histogram overlapping
          overlapping_bucket{le=inf} 15
          overlapping_sum 20
          overlapping_count 15
          overlapping_created now
        histogram widened
          widened_bucket{le=inf} 24
          widened_sum 20
          widened_count 24
          widened_created now
        === text
        histogram added
          added_bucket{le=inf} 19
          added_sum 20
          added_count 19
        histogram float
          float_bucket{le=inf} 6.5
          float_sum 20
          float_count 6.5
        histogram gauge
          gauge_bucket{le=inf} 6
          gauge_sum -2
          gauge_count 6
        histogram not_widened
          not_widened_bucket{le=inf} 21
          not_widened_sum 20
          not_widened_count 21
        histogram nothing
          nothing_bucket{le=inf} 0
          nothing_sum 0
          nothing_count 0
        histogram overlapping
          overlapping_bucket{le=inf} 15
          overlapping_sum 20
          overlapping_count 15
        histogram widened
          widened_bucket{le=inf} 24
          widened_sum 20
          widened_count 24
        === protobuf
        histogram added
          added_sum 20
          added_count 19
          added schema 0 zero 0.001:3 positive 0:2 1:8 2:4 3:2
          added_created now
        histogram float
          float_sum 20
          float_count 6.5
          float schema 0 zero 0.001:1.25 positive 3:2.25 4:3
          float_created now
        gauge_histogram gauge
          gauge_sum -2
          gauge_count 6
          gauge schema 0 zero 0.001:1 negative -1:4 positive 3:1
          gauge_created now
        histogram not_widened
          not_widened_sum 20
          not_widened_count 21
          not_widened schema 0 zero 0.75:13 positive 1:7 2:1
          not_widened_created now
        histogram nothing
          nothing_sum 0
          nothing_count 0
          nothing schema 3 zero 0:0
          nothing_created now
        histogram overlapping
          overlapping_sum 20
          overlapping_count 15
          overlapping schema 0 zero 1:10 positive 1:5
          overlapping_created now
        histogram widened
          widened_sum 20
          widened_count 24
          widened schema 0 zero 1:16 positive 1:7 2:1
          widened_created now
    "#]]
    .assert_eq(&seen);
}

#[test]
fn classic_and_native_together() {
    let gateway = gateway();
    for (at, time) in [("a", 1_700_000_000), ("b", 1_600_000_000)] {
        let bucket = |bound, count| message().int(1, count).double(2, bound);
        let histogram = native(0, (0.001, 1), 1, &[2, 3])
            .message(3, bucket(1.0, 1).message(3, exemplar(at, 0.5, time)))
            .message(3, bucket(2.0, 3))
            .message(16, exemplar(at, 1.5, time));
        let family = Message::family("h", 4).metric(&[("x", "1")], (7, histogram));
        push_as(&gateway, PROTOBUF, family.delimited());
    }
    let seen = readers().read(&gateway, "underscores");
    expect![[r#"
        === OpenMetrics
        histogram h
          h_bucket{le=1,x="1"} 2 #{id="a"} 0.5 @1700000000
          h_bucket{le=2,x="1"} 6
          h_bucket{le=inf,x="1"} 12
          h_sum{x="1"} 20
          h_count{x="1"} 12
          h_created{x="1"} now
        === text
        histogram h
          h_bucket{le=1,x="1"} 2
          h_bucket{le=2,x="1"} 6
          h_bucket{le=inf,x="1"} 12
          h_sum{x="1"} 20
          h_count{x="1"} 12
        === protobuf
        histogram h
          h_bucket{le=1,x="1"} 2 #{id="a"} 0.5 @1700000000
          h_bucket{le=2,x="1"} 6
          h_bucket{le=inf,x="1"} 12
          h_sum{x="1"} 20
          h_count{x="1"} 12
          h{x="1"} schema 0 zero 0.001:2 positive 1:4 2:6 #{id="b"} 1.5 @1600000000 #{id="a"} 1.5 @1700000000
          h_created{x="1"} now
    "#]].assert_eq(&seen);
}

// === the readers themselves ===

/// The readers notice mistakes: expositions that are broken on purpose are refused.
#[test]
fn readers_refuse_what_is_broken() {
    let mut readers = readers();
    let refused = |oracle: &mut Oracle, body: &[u8]| {
        assert!(oracle.try_read(body).is_err(), "{:?}", String::from_utf8_lossy(body));
    };
    for body in [
        "a 1\n",
        "# TYPE a counter\na 1\na_total 1\n# TYPE a_total gauge\n# EOF\n",
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n# EOF\n",
        "# TYPE a counter\na_total -1\n# EOF\n",
    ] {
        refused(&mut readers.openmetrics, body.as_bytes());
    }
    refused(&mut readers.text, b"a{x=\"1} 1\n");
    let good = Message::family("a", 1).metric(&[], value::gauge(1.0)).delimited();
    readers.protobuf.read(&good);
    refused(&mut readers.protobuf, &good[..good.len() - 1]);
    let not_utf8: Vec<u8> =
        good.iter().map(|&byte| if byte == b'a' { 0xff } else { byte }).collect();
    refused(&mut readers.protobuf, &not_utf8);
    let unknown = Message::family("a", 1).int(77, 1).delimited();
    refused(&mut readers.protobuf, &unknown);
}
