//! Bodies in every format and coding, with right and wrong headers.

use crate::harness::{Coding, Gateway, Message, encoded, message, start, value};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROTOBUF: &str = "application/vnd.google.protobuf; \
    proto=io.prometheus.client.MetricFamily; encoding=delimited";

#[track_caller]
fn accept_as(gateway: &Gateway, content_type: &str, body: impl AsRef<[u8]>) {
    let request = gateway.request("POST", "/metrics/job/j").header("Content-Type", content_type);
    gateway.accept_request(request.body(body));
}

// === the same push in each format ===

#[test]
fn every_format_adds_to_the_same_series() {
    let gateway = start();
    accept_as(
        &gateway,
        TEXT,
        "# HELP c_total Count.\n# TYPE c_total counter\nc_total{k=\"v\"} 1\n# TYPE g gauge\ng 1.5\n\
         # TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n\
         # TYPE s summary\ns{quantile=\"0.5\"} 9\ns_sum 4\ns_count 3\nu 5\n",
    );
    accept_as(
        &gateway,
        OPENMETRICS,
        "# TYPE c counter\n# HELP c Count.\nc_total{k=\"v\"} 1.0\nc_created{k=\"v\"} 1.7e9\n\
         # TYPE g gauge\ng 2.5\n# TYPE h histogram\nh_bucket{le=\"0.5\"} 1\n\
         h_bucket{le=\"+Inf\"} 2\nh_sum 3.0\nh_count 2\nh_created 1.7e9\n# TYPE s summary\n\
         s{quantile=\"0.5\"} 9.0\ns_sum 4.0\ns_count 3\n# TYPE u unknown\nu 5.0\n# EOF\n",
    );
    let summary =
        message().int(1, 3).double(2, 4.0).message(3, message().double(1, 0.5).double(2, 9.0));
    let families = [
        Message::family("c_total", 0).text(2, "Count.").metric(&[("k", "v")], value::counter(1.0)),
        Message::family("g", 1).metric(&[], value::gauge(3.5)),
        Message::family("h", 4).metric(&[], value::histogram(2, 3.0, &[(0.5, 1)])),
        Message::family("s", 2).metric(&[], (4, summary)),
        Message::family("u", 3).metric(&[], value::untyped(5.0)),
    ];
    accept_as(&gateway, PROTOBUF, families.map(Message::delimited).concat());
    assert_eq!(
        gateway.pushed(),
        "# HELP c_total Count.\n# TYPE c_total counter\nc_total{job=\"j\",k=\"v\"} 3\n\
         # TYPE g gauge\ng{job=\"j\"} 3.5\n\
         # TYPE h histogram\nh_bucket{job=\"j\",le=\"0.5\"} 3\nh_bucket{job=\"j\",le=\"+Inf\"} 6\n\
         h_sum{job=\"j\"} 9\nh_count{job=\"j\"} 6\n\
         # TYPE s summary\ns_sum{job=\"j\"} 12\ns_count{job=\"j\"} 9\n\
         # TYPE u untyped\nu{job=\"j\"} 15\n"
    );
}

// === text (clients R9) ===

#[test]
fn lenient_text() {
    for body in [
        // TYPE and HELP in any order or missing, blank lines, comments.
        "# TYPE a_total counter\n# HELP a_total Text.\na_total 3\n",
        "# HELP a_total Text.\n# TYPE a_total counter\na_total 3\n",
        "a_total 3\n",
        "\n\n# just a comment\na_total 3\n\n\n",
        "#TYPE a_total counter\na_total 3\n",
        "a_total 3\n# EOF\n",
        // Line ends.
        "# TYPE a_total counter\r\na_total 3\r\n",
        "a_total 3",
        "a_total 3 ",
        // Blanks and commas.
        "  a_total \t { } \t 3  \n",
        "a_total{} 3\n",
        "a_total 3.0000\n",
        "a_total +3e0\n",
    ] {
        let gateway = start();
        gateway.accept("/metrics/job/j", body);
        assert_eq!(gateway.sample("a_total{job=\"j\"}"), 3.0, "{body:?}");
    }
    let gateway = start();
    gateway.accept("/metrics", "a_total{kind=\"a\",} 1\na_total{ kind = \"b\" , } 2\n");
    assert_eq!(gateway.sample("a_total{kind=\"b\"}"), 2.0);
}

/// As sent by promjs and C++: count and sum first, bounds in any order and spelling.
#[test]
fn histogram_lines_in_any_order() {
    let gateway = start();
    gateway.accept(
        "/metrics",
        "# TYPE h histogram\nh_count 4\nh_sum 3.05\nh_bucket{le=\"1\"} 3\nh_bucket{le=\"5\"} 4\n\
         h_bucket{le=\"+Inf\"} 4\nh_bucket{le=\"0.1\"} 1\n",
    );
    gateway.accept(
        "/metrics",
        "# TYPE h histogram\nh_bucket{le=\"1.00000000000000005551e-01\"} 1\n\
         h_bucket{le=\"1.0\"} 3\nh_bucket{le=\"5e0\"} 4\nh_bucket{le=\"+inf\"} 4\nh_sum 3.05\n",
    );
    assert_eq!(
        gateway.pushed(),
        "# TYPE h histogram\nh_bucket{le=\"0.1\"} 2\nh_bucket{le=\"1\"} 6\nh_bucket{le=\"5\"} 8\n\
         h_bucket{le=\"+Inf\"} 8\nh_sum 6.1\nh_count 8\n"
    );
}

#[test]
fn interleaved_families_come_together() {
    let gateway = start();
    gateway.accept("/metrics", "a{x=\"2\"} 1\nb 1\na{x=\"1\"} 1\nb{x=\"1\"} 1\n");
    let expected =
        "# TYPE a untyped\na{x=\"1\"} 1\na{x=\"2\"} 1\n# TYPE b untyped\nb 1\nb{x=\"1\"} 1\n";
    assert_eq!(gateway.pushed(), expected);
}

#[test]
fn label_values_survive_byte_by_byte() {
    let gateway = start();
    let value = "quote \\\" backslash \\\\ newline \\n tab \t cr \r nel \u{85} ls \u{2028} ☃ \0";
    gateway.accept("/metrics", format!("a{{x=\"{value}\"}} 1\n"));
    assert!(gateway.pushed().contains(&format!("a{{x=\"{value}\"}} 1\n")));
    let json = gateway.get("/api/v1/metrics").json();
    let shown = &json["data"]["families"][0]["metrics"][0]["labels"]["x"];
    assert_eq!(
        shown.as_str().unwrap(),
        "quote \" backslash \\ newline \n tab \t cr \r nel \u{85} ls \u{2028} ☃ \0"
    );
}

#[test]
fn names_in_quotes() {
    let gateway = start();
    gateway.accept(
        "/metrics",
        "{\"my.total\",\"a.b\"=\"x\"} 1\n# TYPE \"my.gauge\" gauge\n{\"my.gauge\"} 2\n",
    );
    // Scrapers that cannot read them get underscores.
    assert_eq!(gateway.sample("my_total{a_b=\"x\"}"), 1.0);
    assert_eq!(gateway.sample("my_gauge"), 2.0);
}

// === OpenMetrics ===

#[test]
fn openmetrics_kinds() {
    let gateway = start();
    accept_as(
        &gateway,
        OPENMETRICS,
        "# TYPE b_seconds gauge\n# UNIT b_seconds seconds\n# HELP b_seconds Text \\\"x\\\".\n\
         b_seconds 1\n\
         # TYPE c counter\nc_total 1 # {trace_id=\"t\"} 0.5 1700000000\n\
         # TYPE gh gaugehistogram\ngh_bucket{le=\"1.0\"} 1\ngh_bucket{le=\"+Inf\"} 2\n\
         gh_gcount 2\ngh_gsum 3\n\
         # TYPE i info\ni_info{version=\"1\"} 1\n\
         # TYPE st stateset\nst{st=\"off\"} 0\nst{st=\"on\"} 1\n\
         # TYPE un unknown\nun 7\n# EOF\n",
    );
    assert_eq!(
        gateway.pushed(),
        "# HELP b_seconds Text \"x\".\n# TYPE b_seconds gauge\nb_seconds{job=\"j\"} 1\n\
         # TYPE c_total counter\nc_total{job=\"j\"} 1\n\
         # TYPE gh histogram\ngh_bucket{job=\"j\",le=\"1\"} 1\ngh_bucket{job=\"j\",le=\"+Inf\"} 2\n\
         gh_sum{job=\"j\"} 3\ngh_count{job=\"j\"} 2\n\
         # TYPE i_info gauge\ni_info{job=\"j\",version=\"1\"} 1\n\
         # TYPE st gauge\nst{job=\"j\",st=\"off\"} 0\nst{job=\"j\",st=\"on\"} 1\n\
         # TYPE un untyped\nun{job=\"j\"} 7\n"
    );
}

/// Go leaves out the last line, and prom-client sends the format without its content type.
#[test]
fn openmetrics_without_its_last_line_or_its_type() {
    let gateway = start();
    accept_as(&gateway, OPENMETRICS, "# TYPE c counter\nc_total 1\n");
    gateway.accept("/metrics/job/j", "# TYPE c counter\nc_total 1\n# EOF\n");
    accept_as(&gateway, TEXT, "# TYPE c counter\nc_total 1\n# EOF\n");
    assert_eq!(gateway.pushed(), "# TYPE c_total counter\nc_total{job=\"j\"} 3\n");
}

#[test]
fn openmetrics_is_held_to_its_rules() {
    let mut gateway = start();
    for (body, line) in [
        ("# TYPE c counter\nc_total -1\n# EOF\n", 2),
        ("# TYPE c counter\nc 1\n# EOF\n", 2),
        ("a 1\n# EOF\nb 1\n", 3),
        ("a 1\n\nb 1\n# EOF\n", 2),
        ("# TYPE a gauge\n# UNIT a seconds\na 1\n# EOF\n", 2),
        ("# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\n# EOF\n", 0),
        ("a 1\nb 1\na{x=\"1\"} 1\n# EOF\n", 3),
        ("# TYPE i info\ni_info 2\n# EOF\n", 2),
    ] {
        let request = gateway.request("POST", "/metrics").header("Content-Type", OPENMETRICS);
        let problem = gateway.refuse_request(request.body(body), 400);
        if line > 0 {
            assert_eq!(problem["line"], line, "{body:?}: {problem}");
        }
    }
}

// === protobuf (clients R10) ===

#[test]
fn protobuf_without_an_infinite_bucket() {
    let gateway = start();
    let histogram = value::histogram(5, 2.5, &[(0.1, 1), (1.0, 3)]);
    let family = Message::family("h", 4).metric(&[("x", "1")], histogram);
    accept_as(&gateway, PROTOBUF, family.delimited());
    assert_eq!(gateway.sample("h_bucket{job=\"j\",x=\"1\",le=\"+Inf\"}"), 5.0);
    assert_eq!(gateway.sample("h_bucket{job=\"j\",x=\"1\",le=\"1\"}"), 3.0);
}

#[test]
fn protobuf_families_in_several_messages() {
    let gateway = start();
    let family = |label, by| {
        Message::family("a_total", 0).metric(&[("x", label)], value::counter(by)).delimited()
    };
    accept_as(&gateway, PROTOBUF, [family("1", 1.0), family("2", 2.0)].concat());
    assert_eq!(gateway.sample("a_total{job=\"j\",x=\"1\"}"), 1.0);
    assert_eq!(gateway.sample("a_total{job=\"j\",x=\"2\"}"), 2.0);
}

/// Start times and exemplars do not affect the sum, and unknown fields have no meaning.
#[test]
fn protobuf_fields_that_do_not_matter() {
    let gateway = start();
    let exemplar = message().message(1, message().text(1, "t").text(2, "x")).double(2, 0.5);
    let created = message().int(1, 1_700_000_000);
    let counter = message().double(1, 2.0).message(2, exemplar).message(3, created).int(99, 7);
    let family = Message::family("a_total", 0).metric(&[], (3, counter)).text(77, "unknown");
    for _ in 0..2 {
        accept_as(&gateway, PROTOBUF, family.clone().delimited());
    }
    assert_eq!(gateway.pushed(), "# TYPE a_total counter\na_total{job=\"j\"} 4\n");
}

/// Three observations in buckets 1 and 2 of schema 0, besides classic buckets.
#[test]
fn protobuf_histograms_with_native_and_classic_buckets() {
    let gateway = start();
    let (field, histogram) = value::histogram(3, 6.0, &[(1.0, 0), (10.0, 3)]);
    let histogram = histogram
        .sint(5, 0)
        .double(6, 0.001)
        .message(12, message().sint(1, 1).int(2, 2))
        .sint(13, 1)
        .sint(13, 1);
    let family = Message::family("h", 4).metric(&[], (field, histogram));
    for _ in 0..2 {
        accept_as(&gateway, PROTOBUF, family.clone().delimited());
    }
    assert_eq!(gateway.sample("h_bucket{job=\"j\",le=\"10\"}"), 6.0);
    let json = gateway.get("/api/v1/metrics").json();
    let native = &json["data"]["families"][0]["metrics"][0]["native"];
    assert_eq!(native["positive"], serde_json::json!([[1, "2"], [2, "4"]]), "{native}");
}

#[test]
fn damaged_protobuf() {
    let mut gateway = start();
    let good = Message::family("a_total", 0).metric(&[], value::counter(1.0)).delimited();
    let no_name = message().int(3, 0).metric(&[], value::counter(1.0)).delimited();
    let strange_type = Message::family("a", 9).metric(&[], value::counter(1.0)).delimited();
    let no_value = Message::family("a", 0).metric(&[], value::gauge(1.0)).delimited();
    let labels = [("x", "1"), ("x", "2")];
    let label_twice = Message::family("a", 0).metric(&labels, value::counter(1.0)).delimited();
    let twice = Message::family("a", 0)
        .metric(&[], value::counter(1.0))
        .metric(&[], value::counter(2.0))
        .delimited();
    let le = Message::family("h", 4).metric(&[("le", "1")], value::histogram(1, 1.0, &[]));
    for body in [
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
        b"\x80\x80\x80\x80\x08".to_vec(),
        b"a_total 1\n".to_vec(),
        good[..good.len() - 1].to_vec(),
        [&good[..], b"\x05\x0a"].concat(),
        no_name,
        strange_type,
        no_value,
        label_twice,
        twice,
        le.delimited(),
    ] {
        let request = gateway.request("POST", "/metrics").header("Content-Type", PROTOBUF);
        gateway.refuse_request(request.body(body), 400);
    }
}

// === the content type is a hint (clients R6) ===

#[test]
fn content_types_that_are_text() {
    let gateway = start();
    for content_type in [
        "text/plain",
        "text/plain; version=0.0.4",
        "text/plain;version=1.0.0;charset=utf-8",
        "TEXT/PLAIN",
        "application/x-www-form-urlencoded",
        "application/json",
        "application/octet-stream",
        "image/png; what=ever",
        "nonsense",
        ";;;",
        "",
    ] {
        accept_as(&gateway, content_type, "a_total 1\n");
    }
    assert_eq!(gateway.sample("a_total{job=\"j\"}"), 11.0);
}

#[test]
fn content_types_that_are_protobuf() {
    let gateway = start();
    let body = Message::family("a_total", 0).metric(&[], value::counter(1.0)).delimited();
    for content_type in [
        PROTOBUF,
        "application/vnd.google.protobuf",
        "Application/Vnd.Google.Protobuf;encoding=delimited",
        "application/vnd.google.protobuf; encoding=\"delimited\"; \
         proto=\"io.prometheus.client.MetricFamily\"; q=1",
    ] {
        accept_as(&gateway, content_type, &body);
    }
    assert_eq!(gateway.sample("a_total{job=\"j\"}"), 4.0);
}

/// A body in a format that is not supported is not read as something else.
#[test]
fn content_types_that_are_refused() {
    let mut gateway = start();
    for content_type in [
        "application/vnd.google.protobuf; encoding=text",
        "application/vnd.google.protobuf; proto=io.prometheus.client.Other; encoding=delimited",
        "application/openmetrics-protobuf; version=1.0.0",
        "application/openmetrics-text; version=2.0.0",
    ] {
        let request = gateway.request("POST", "/metrics").header("Content-Type", content_type);
        let problem = gateway.refuse_request(request.body("a 1\n"), 415);
        assert!(problem["detail"].as_str().unwrap().contains("content type"), "{problem}");
    }
}

// === content codings (clients R8) ===

const LINES: &str = "# TYPE a_total counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 2\n";

#[track_caller]
fn accept_coded(gateway: &Gateway, header: &str, body: &[u8]) {
    let request = gateway.request("POST", "/metrics/job/j").header("Content-Encoding", header);
    gateway.accept_request(request.clone().body(body));
    gateway.accept_request(request.body(body).chunked());
}

#[test]
fn every_coding_of_every_format() {
    let gateway = start();
    let protobuf = Message::family("a_total", 0).metric(&[("x", "1")], value::counter(1.0));
    let openmetrics = "# TYPE a counter\na_total{x=\"1\"} 1\n# EOF\n";
    for coding in Coding::ALL {
        accept_coded(&gateway, coding.word(), &encoded(coding, LINES));
        for (content_type, body) in [
            (OPENMETRICS, openmetrics.as_bytes().to_vec()),
            (PROTOBUF, protobuf.clone().delimited()),
        ] {
            let request = gateway.request("PUT", "/metrics/job/j");
            let request = request.header("Content-Type", content_type);
            let request = request.header("Content-Encoding", coding.word());
            gateway.accept_request(request.body(encoded(coding, body)));
        }
    }
    assert_eq!(gateway.sample("a_total{job=\"j\",x=\"1\"}"), 5.0 * 4.0);
    assert_eq!(gateway.sample("a_total{job=\"j\",x=\"2\"}"), 5.0 * 2.0 * 2.0);
}

#[test]
fn names_of_codings() {
    let gateway = start();
    let gzip = encoded(Coding::Gzip, LINES);
    for header in ["gzip", "GZIP", "x-gzip", "identity, gzip", " gzip ", "gzip, identity"] {
        accept_coded(&gateway, header, &gzip);
    }
    for header in ["identity", "", "IDENTITY", ","] {
        accept_coded(&gateway, header, LINES.as_bytes());
    }
    assert_eq!(gateway.sample("a_total{job=\"j\",x=\"1\"}"), 20.0);
}

#[test]
fn stacked_codings() {
    let gateway = start();
    let stacked = |first, second| encoded(second, encoded(first, LINES));
    for (header, body) in [
        ("gzip, zstd", stacked(Coding::Gzip, Coding::Zstd)),
        ("zstd, snappy", stacked(Coding::Zstd, Coding::SnappyFramed)),
        ("deflate,gzip", stacked(Coding::Deflate, Coding::Gzip)),
        ("gzip, gzip", stacked(Coding::Gzip, Coding::Gzip)),
    ] {
        accept_coded(&gateway, header, &body);
    }
    assert_eq!(gateway.sample("a_total{job=\"j\",x=\"2\"}"), 16.0);
}

/// A header may be split over several lines, which form one list.
#[test]
fn codings_in_several_lines() {
    let mut gateway = start();
    let twice = encoded(Coding::Zstd, encoded(Coding::Gzip, LINES));
    let request = gateway.request("POST", "/metrics/job/j").header("Content-Encoding", "gzip");
    gateway.accept_request(request.header("Content-Encoding", "zstd").body(twice));
    let request = gateway.request("POST", "/metrics/job/j").header("Content-Encoding", "identity");
    gateway.refuse_request(request.header("Content-Encoding", "br").body(LINES), 415);
}

/// Two gzip members or two zstd frames form one stream.
#[test]
fn streams_of_several_members() {
    let gateway = start();
    for coding in [Coding::Gzip, Coding::Zstd] {
        let body =
            [encoded(coding, "a_total{x=\"1\"} 1\n"), encoded(coding, "b_total 2\n")].concat();
        accept_coded(&gateway, coding.word(), &body);
    }
    assert_eq!(gateway.sample("b_total{job=\"j\"}"), 8.0);
}

#[test]
fn unknown_codings() {
    let mut gateway = start();
    for header in ["br", "compress", "gzip, br", "aes128gcm", "gzip;q=1", "gzíp"] {
        let request = gateway.request("POST", "/metrics").header("Content-Encoding", header);
        let problem = gateway.refuse_request(request.body("a 1\n"), 415);
        assert_eq!(problem["title"], "unsupported body");
        assert!(problem["detail"].as_str().unwrap().contains("content coding"), "{problem}");
    }
    let request = gateway.request("POST", "/metrics");
    let many = request.header("Content-Encoding", "gzip,gzip,gzip,gzip,gzip");
    gateway.refuse_request(many.body("a 1\n"), 415);
}

/// A body that was cut off may still decode to whole lines.
#[test]
fn damaged_codings() {
    let mut gateway = start();
    gateway.accept("/metrics", "b 1\n");
    for coding in Coding::ALL {
        let body = encoded(coding, LINES);
        let mut flipped = body.clone();
        let middle = body.len() / 2;
        flipped[middle] ^= 0x55;
        let mut trailing = body.clone();
        trailing.extend(b"\nb 1\n");
        let mut damaged =
            vec![body[..body.len() - 1].to_vec(), LINES.as_bytes().to_vec(), trailing];
        if !matches!(coding, Coding::SnappyBlock | Coding::Zstd) {
            // The others have a checksum.
            damaged.push(flipped);
        }
        for body in damaged {
            let request = gateway.request("POST", "/metrics");
            let request = request.header("Content-Encoding", coding.word());
            let problem = gateway.refuse_request(request.body(body), 400);
            assert_eq!(problem["hint"], "the body does not fit its Content-Encoding");
        }
    }
}
