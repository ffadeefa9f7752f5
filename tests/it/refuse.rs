//! Refusals: nothing of the push is applied, and the answer says what is wrong and where.

use expect_test::{Expect, expect};

use crate::harness::{config, flag, message, start};

// === the answer ===

#[track_caller]
fn check(body: &str, status: u16, answer: Expect) {
    let mut gateway = start();
    gateway.accept(
        "/metrics/job/j",
        "# TYPE held counter\nheld{x=\"1\"} 1\n\
         # TYPE hist histogram\nhist_bucket{le=\"+Inf\"} 1\nhist_sum 1\n",
    );
    let problem = gateway.refuse("/metrics/job/j", body, status);
    answer.assert_eq(&format!("{}\n", serde_json::to_string_pretty(&problem).unwrap()));
}

#[test]
fn malformed_text() {
    check(
        "ok_total 1\nbroken{x=\"1} 1\n",
        400,
        expect![[r#"
        {
          "column": 11,
          "detail": "line 2, column 11: the closing quote is missing on this line (a line feed in a string is written \\n)",
          "line": 2,
          "status": 400,
          "title": "malformed body"
        }
    "#]],
    );
}

#[test]
fn a_timestamp() {
    check(
        "# TYPE a_total counter\na_total 1 1700000000000\n",
        400,
        expect![[r#"
        {
          "column": 11,
          "detail": "line 2, column 11: samples with a timestamp are refused, since a sum has none: push without timestamps",
          "line": 2,
          "status": 400,
          "title": "malformed body"
        }
    "#]],
    );
}

#[test]
fn a_series_given_twice() {
    check(
        "a_total{x=\"1\",y=\"2\"} 1\na_total{y=\"2\",x=\"1\"} 1\n",
        400,
        expect![[r#"
        {
          "column": 1,
          "detail": "line 2, column 1: the value of series a_total{job=\"j\",x=\"1\",y=\"2\"} is given twice",
          "line": 2,
          "status": 400,
          "title": "malformed body"
        }
    "#]],
    );
}

#[test]
fn a_negative_counter() {
    check(
        "# TYPE a_total counter\na_total{x=\"1\"} -1\n",
        422,
        expect![[r#"
        {
          "detail": "series a_total{job=\"j\",x=\"1\"}: counter -1 is negative",
          "family": "a_total",
          "hint": "only gauges may fall: push what was counted since the last push",
          "series": "a_total{job=\"j\",x=\"1\"}",
          "status": 422,
          "title": "unacceptable push"
        }
    "#]],
    );
}

#[test]
fn another_type() {
    check(
        "# TYPE held gauge\nheld 1\n",
        422,
        expect![[r#"
        {
          "detail": "family held has the type counter here, but gauge in the push",
          "family": "held",
          "hint": "one name has one type: rename the metric, or delete the stored series first",
          "status": 422,
          "title": "unacceptable push"
        }
    "#]],
    );
}

#[test]
fn a_contradiction_in_a_histogram() {
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\n";
    check(
        body,
        422,
        expect![[r#"
            {
              "detail": "series h{job=\"j\"}: the bucket le=\"+Inf\" is lower than the one before; buckets must be cumulative",
              "family": "h",
              "hint": "each bucket counts all observations up to its bound",
              "series": "h{job=\"j\"}",
              "status": 422,
              "title": "unacceptable push"
            }
        "#]],
    );
}

#[test]
fn a_name_taken() {
    check(
        "# TYPE hist_count counter\nhist_count 1\n",
        422,
        expect![[r#"
        {
          "detail": "family hist_count would bear the name of a sample of the histogram hist",
          "family": "hist_count",
          "hint": "their sample lines would be told apart by nobody: rename one of them",
          "status": 422,
          "title": "unacceptable push"
        }
    "#]],
    );
}

#[test]
fn over_a_limit() {
    let mut gateway = flag("--limits.labels-per-series=2").run();
    let problem = gateway.refuse("/metrics/job/j", "a_total{x=\"1\",y=\"2\"} 1\n", 422);
    expect![[r#"
        {
          "detail": "limits.labels_per_series is 2, but there are 3",
          "hint": "send less at once, or raise the limit",
          "limit": "labels_per_series",
          "status": 422,
          "title": "over a limit"
        }
    "#]]
    .assert_eq(&format!("{}\n", serde_json::to_string_pretty(&problem).unwrap()));
}

/// One line that ends in a line feed, so that it looks right in clients and shells.
#[test]
fn the_answer_is_one_line() {
    let mut gateway = start();
    gateway.expect_log("push refused");
    let answer = gateway.push("/metrics/job/j", "a{b=\"c\nd\"} 1\n");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.text().ends_with("}\n"));
    assert_eq!(answer.text().lines().count(), 1);
}

#[test]
fn lines_and_columns() {
    let mut gateway = start();
    for (body, line, column) in [
        ("a 1\nb nonsense\n", 2, 3),
        ("a 1\n\n\n  9b 1\n", 4, 3),
        ("a{x=\"1\"} 1 2 3\n", 1, 12),
        ("# TYPE a counter\n# TYPE a counter\na 1\n", 2, 8),
        ("a 1\n# TYPE a counter\n", 2, 8),
        ("a{x=\"1\",x=\"2\"} 1\n", 1, 1),
        ("ä 1\n", 1, 1),
    ] {
        let problem = gateway.refuse("/metrics", body, 400);
        assert_eq!(
            (&problem["line"], &problem["column"]),
            (&line.into(), &column.into()),
            "{body:?}: {problem}"
        );
    }
}

// === nothing is applied ===

/// Lines that make a push unacceptable, one for each way.
const BAD: [(&str, u16); 13] = [
    ("bad{ 1\n", 400),
    ("bad 1 1700000000000\n", 400),
    ("bad{x=\"1\"} 1\nbad{x=\"1\"} 1\n", 400),
    ("bad\u{0} 1\n", 400),
    ("# TYPE bad counter\nbad NaN\n", 422),
    ("# TYPE bad counter\nbad +Inf\n", 422),
    ("# TYPE bad counter\nbad -1\n", 422),
    ("bad NaN\n", 422),
    ("# TYPE held gauge\nheld 1\n", 422),
    ("# TYPE held_hist_count counter\nheld_hist_count 1\n", 422),
    ("# TYPE held_hist histogram\nheld_hist_bucket{le=\"+Inf\"} 1\n", 422),
    ("# TYPE bad summary\nbad_sum 1\n", 422),
    ("tallygate_bad 1\n", 422),
];

#[test]
fn a_bad_family_first_in_the_middle_or_last_refuses_all() {
    let mut gateway = start();
    gateway.accept(
        "/metrics/job/j",
        "# HELP held Held.\n# TYPE held counter\nheld 1\n# TYPE held_gauge gauge\nheld_gauge 1\n\
         # TYPE held_hist histogram\nheld_hist_bucket{le=\"1\"} 1\n\
         held_hist_bucket{le=\"+Inf\"} 2\n\
         held_hist_sum 1\nheld_hist_count 2\n",
    );
    let good = [
        "# HELP held_other Help that is longer.\n# TYPE held_other counter\nheld_other 1\n",
        "# TYPE held_gauge gauge\nheld_gauge 5\n",
        "# TYPE new_hist histogram\nnew_hist_bucket{le=\"1\"} 1\nnew_hist_bucket{le=\"+Inf\"} 1\n\
         new_hist_sum 1\n",
    ];
    for (bad, status) in BAD {
        for at in 0..=good.len() {
            let mut body = good.to_vec();
            body.insert(at, bad);
            gateway.refuse("/metrics/job/j", body.concat(), status);
        }
    }
    assert_eq!(gateway.sample("tallygate_series"), 3.0);
    gateway.accept("/metrics/job/j", good.concat());
}

/// New series of a refused push must not count against the limits.
#[test]
fn a_refused_push_uses_up_no_limit() {
    let mut gateway = flag("--limits.series=3").flag("--limits.families=2").run();
    for _ in 0..5 {
        gateway.refuse("/metrics", "a{x=\"1\"} 1\na{x=\"2\"} 1\nb NaN\n", 422);
        gateway.refuse("/metrics", "a{x=\"1\"} 1\nb 1\nc 1\n", 429);
        gateway.refuse("/metrics", "a 1\na{x=\"1\"} 1\na{x=\"2\"} 1\na{x=\"3\"} 1\n", 429);
    }
    gateway.accept("/metrics", "a{x=\"1\"} 1\na{x=\"2\"} 1\nb 1\n");
}

/// A sum has no time, in any format. In protobuf, even a zero is a time.
#[test]
fn timestamps_in_every_format() {
    let metric = |time| message().message(3, message().double(1, 1.0)).int(6, time);
    let protobuf = |time| message().text(1, "a").message(4, metric(time)).delimited();
    let bodies = [
        ("text/plain", b"# TYPE a counter\na 1 1700000000000\n".to_vec()),
        ("application/openmetrics-text", b"# TYPE a unknown\na 1 1700000000.5\n# EOF\n".to_vec()),
        ("application/vnd.google.protobuf", protobuf(1_700_000_000_000)),
        ("application/vnd.google.protobuf", protobuf(0)),
    ];
    let mut gateway = start();
    for (content_type, body) in &bodies {
        let request = gateway.request("POST", "/metrics").header("Content-Type", content_type);
        let problem = gateway.refuse_request(request.body(body), 400);
        assert!(problem["detail"].as_str().unwrap().contains("timestamp"), "{problem}");
    }
    let gateway = flag("--push.timestamps=ignore").run();
    for (content_type, body) in &bodies {
        let request = gateway.request("POST", "/metrics").header("Content-Type", content_type);
        gateway.accept_request(request.body(body));
    }
    assert_eq!(gateway.pushed(), "# TYPE a counter\na 4\n");
}

// === types ===

#[test]
fn one_name_has_one_type_in_all_groups() {
    let mut gateway = start();
    let bodies = [
        "# TYPE a counter\na 1\n",
        "# TYPE a gauge\na 1\n",
        "# TYPE a summary\na_sum 1\na_count 1\n",
        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\n",
    ];
    for first in bodies {
        gateway.accept("/metrics/job/one", first);
        for other in bodies.into_iter().filter(|other| *other != first) {
            let problem = gateway.refuse("/metrics/job/two", other, 422);
            assert_eq!(problem["family"], "a");
        }
        assert_eq!(gateway.request("DELETE", "/metrics/job/one").send().status, 202);
    }
}

#[test]
fn sample_lines_of_two_families_are_never_alike() {
    let mut gateway = start();
    let histogram = "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\n";
    let summary = "# TYPE a summary\na_sum 1\na_count 1\n";
    for (first, second) in [
        (histogram, "# TYPE a_count counter\na_count 1\n"),
        (histogram, "# TYPE a_bucket gauge\na_bucket{le=\"1\"} 1\n"),
        (summary, "# TYPE a_sum gauge\na_sum 1\n"),
        ("# TYPE a_count counter\na_count 1\n", histogram),
        ("a_bucket 1\n", histogram),
    ] {
        gateway.accept("/metrics/job/one", first);
        gateway.refuse("/metrics/job/two", second, 422);
        assert_eq!(gateway.request("DELETE", "/metrics/job/one").send().status, 202);
    }
    gateway.accept("/metrics", summary);
    gateway.accept("/metrics", "# TYPE a_bucket gauge\na_bucket 1\n");
}

#[test]
fn rules_do_not_make_a_refused_push_half_applied() {
    let mut gateway = config("rules: [{match: a, rename: b}, {match: c, drop: true}]").run();
    gateway.accept("/metrics", "# TYPE b counter\nb 1\n");
    gateway.refuse("/metrics", "c 1\n# TYPE d counter\nd 1\n# TYPE a gauge\na 1\n", 422);
}
