//! Hand-written cases. Differences have the marks of the contract: D for an accident of the real
//! server, N for something newer than 1.5.1, and "stricter" where ours refuses what could not be shown.

use crate::harness::{Coding, Message, encoded, message, value};

pub(super) struct Case {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
    /// Why the two differ, if they do.
    pub(super) differs: Option<&'static str>,
}

pub(super) struct Step {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

pub(super) const PROTOBUF: &str = "application/vnd.google.protobuf; \
                                   proto=io.prometheus.client.MetricFamily; encoding=delimited";

pub(super) fn step(method: &'static str, path: &str, body: impl AsRef<[u8]>) -> Step {
    Step { method, path: path.to_owned(), headers: Vec::new(), body: body.as_ref().to_vec() }
}

pub(super) fn put(path: &str, body: impl AsRef<[u8]>) -> Step {
    step("PUT", path, body)
}

pub(super) fn post(path: &str, body: impl AsRef<[u8]>) -> Step {
    step("POST", path, body)
}

pub(super) fn delete(path: &str) -> Step {
    step("DELETE", path, "")
}

impl Step {
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Step {
        self.headers.push((name, value.to_owned()));
        self
    }
}

const A: &str = "/metrics/job/a";
const B: &str = "/metrics/job/b";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, differs: Option<&'static str>, steps: Vec<Step>| {
        cases.push(Case { name: name.to_owned(), steps, differs });
    };
    for (path, differs) in PATHS {
        // There is a group with the same job, which the path must either name or leave alone.
        let steps = vec![put(A, "x 1\n"), post(path, "y 1\n"), put(path, "z 1\n"), delete(path)];
        add(&format!("path {path}"), *differs, steps);
    }
    for (body, differs) in BODIES {
        let steps = vec![put(A, "before 1\n"), post(A, body), put(B, body)];
        add(&format!("body {body:?}"), *differs, steps);
    }
    for (first, second) in CLASHES {
        let steps =
            |path| vec![put(A, first), post(path, second), put(path, second), put(B, "z 1\n")];
        add(&format!("{first:?} and {second:?} of another group"), None, steps(B));
        add(&format!("{first:?} and {second:?} of the same group"), None, steps(A));
    }
    for (method, path, differs) in REQUESTS {
        add(&format!("{method} {path}"), *differs, vec![step(method, path, "")]);
    }
    for (content_type, differs) in CONTENT_TYPES {
        let step = post(A, "x 1\n").header("Content-Type", content_type);
        add(&format!("content type {content_type}"), *differs, vec![step]);
        let step = post(A, gauge("x").delimited()).header("Content-Type", content_type);
        add(&format!("protobuf as {content_type}"), *differs, vec![step]);
    }
    for (name, body, differs) in protobuf_bodies() {
        let first = put(A, "before 1\n");
        let steps =
            ["POST", "PUT"].map(|method| step(method, A, &body).header("Content-Type", PROTOBUF));
        let [post, put] = steps;
        add(&format!("protobuf: {name}"), differs, vec![first, post, put]);
    }
    for (name, encoding, body, differs) in encoded_bodies() {
        let step = post(A, body).header("Content-Encoding", encoding);
        add(&format!("encoding: {name}"), differs, vec![step]);
    }
    sequences(&mut add);
    cases
}

const REDIRECTED: Option<&str> = Some("D: the real one redirects, and the push is lost");
const OBVIOUS: Option<&str> = Some("D: HEAD does the obvious thing");
const STRICTER: Option<&str> = Some("stricter: it could not be shown, or is ambiguous");
const NEWER: Option<&str> = Some("N: as in later versions");

const PATHS: &[(&str, Option<&str>)] = &[
    ("/metrics/job/a", None),
    ("/metrics/job/a/", None),
    ("/metrics/job/a/l/1", None),
    ("/metrics/job/a/l/1/m/2", None),
    ("/metrics/job/a/m/2/l/1", None),
    ("/metrics/job/a/l/", None),
    ("/metrics/job/a/l/1/", None),
    ("/metrics/job/a/l", None),
    ("/metrics/job/a/l/1/m", None),
    ("/metrics/job/a/l/1/l/2", None),
    ("/metrics/job/a/job/b", None),
    ("/metrics/job/a/instance/i", None),
    ("/metrics/job/a/instance/", Some("D: the same group as without")),
    ("/metrics/job/a/le/1", None),
    ("/metrics/job/a/quantile/1", None),
    ("/metrics/job/a/l-m/1", None),
    ("/metrics/job/a/1l/1", None),
    ("/metrics/job/a/__l/1", None),
    ("/metrics/job/a/_l/1", None),
    ("/metrics/job/a/U__a_2e_b/1", None),
    ("/metrics/job/a/%CE%A0/1", None),
    ("/metrics/job/a/l/%CE%A0", None),
    ("/metrics/job/a%2Fb", None),
    ("/metrics/job/a%2Fl/1", None),
    ("/metrics/job/a/l/1%2F2", None),
    ("/metrics/job/a/l/a+b;,=@:!~*'()$", None),
    ("/metrics/job/a%20b", None),
    ("/metrics/job/a%22b%5C", None),
    ("/metrics/job/a/l/%0A%09", None),
    ("/metrics/job/a/l/%00", None),
    ("/metrics/job/a/l/%3Cb%3E&amp", None),
    ("/metrics/job/a/l/%zz", Some("without nosniff: not even its own code")),
    ("/metrics/job/a/l/%2", Some("likewise")),
    ("/metrics/job/a/l/100%25", None),
    ("/metrics/job@base64/YQ", None),
    ("/metrics/job@base64/YQ==", None),
    ("/metrics/job@base64/YQ=====", None),
    ("/metrics/job%40base64/YQ", None),
    ("/metrics/job@base64/L2E=/l/1", None),
    ("/metrics/job/a/l@base64/", None),
    ("/metrics/job/a/l@base64/=", None),
    ("/metrics/job/a/l@base64/==", None),
    ("/metrics/job/a/l@base64/MQ", None),
    ("/metrics/job/a/l@base64/Zm9v", None),
    ("/metrics/job/a/l@base64/YR", None),
    ("/metrics/job/a/l@base64/YQ%0D%0A", None),
    ("/metrics/job/a/l@base64/fn4_", None),
    ("/metrics/job/a/l@base64/fn4%2F", None),
    ("/metrics/job/a/l@base64/fn4-", None),
    ("/metrics/job/a/l@base64/fn4+", None),
    ("/metrics/job/a/l@base64/Y", None),
    ("/metrics/job/a/l@base64/Y=Q", None),
    ("/metrics/job/a/l@base64/%20YQ", None),
    ("/metrics/job/a/l@base64@base64/YQ", None),
    ("/metrics/job/a/l@BASE64/YQ", None),
    ("/metrics/job/a/l/YQ@base64", None),
    ("/metrics/job/a/@base64/YQ", None),
    ("/metrics/job/a/l/%FF", Some("D: the real one breaks every scrape")),
    ("/metrics/job/a/l@base64/_w", Some("D: the real one breaks every scrape")),
    ("//metrics/job/a/l/1", REDIRECTED),
    ("/metrics//job/a/l/1", REDIRECTED),
    ("/metrics/job/a//l/1", REDIRECTED),
    ("/metrics/job/a/l//m/2", REDIRECTED),
    ("/metrics/job/a/l/../m/2", REDIRECTED),
    ("/metrics/job/a/l/%2e%2e", NEWER),
    ("/metrics/job//", REDIRECTED),
    ("/metrics/job/", Some("D: 404 instead of a redirect")),
    ("/metrics/job", None),
    ("/metrics/jobs/a", None),
    ("/metrics/instance/i/job/a", None),
    ("/metrics/JOB/a", Some("D: the real one redirects to the right case")),
    ("/metrics/job/a?l=1&mode=delta", None),
    ("/favicon.ico", None),
];

const BODIES: &[(&str, Option<&str>)] = &[
    // === accepted
    ("", None),
    ("\n", None),
    ("\n\n  \n\t\n", None),
    ("x 1\n", None),
    ("  x\t1\n", None),
    ("x{} 1\n", None),
    ("x{a=\"1\"}1\n", None),
    ("x { a = \"1\" , b=\"2\" , } 1\n", None),
    ("x{a=\"\"} 1\n", None),
    ("x{a=\"\\\\\\\"\\n\"} 1\n", None),
    ("x{a=\"\r\t\0\"} 1\n", None),
    ("x{a=\"ü☃\"} 1\n", None),
    ("a:b 1\n:c 2\n_d 3\n", None),
    ("x .5\ny 5.\nz +5\n", None),
    ("x 1e5\ny 1E-5\nz 123456789012345678901234567890\n", None),
    ("x NaN\ny nan\nz nAn\n", None),
    ("x Inf\ny +Inf\nz -inf\nw Infinity\n", None),
    ("x -0\n", None),
    ("x 1e-400\n", None),
    ("x 999999\ny 1e6\nz 1234567\nw 0.0001\nv 0.00001\nu 0.1\n", None),
    ("x 1\ny 1\nx{a=\"1\"} 2\n", None),
    ("x{a=\"1\"} 1\nx{b=\"2\"} 1\nx{b=\"2\",a=\"1\"} 1\n", None),
    ("# comment\n#comment\n  # EOF\n# UNIT x s\nx 1\n", None),
    ("#TYPE x gauge\nx 1\n", None),
    ("# TYPE x GAUGE\nx 1\n", None),
    ("# TYPE x cOuNtEr\nx 1\n", None),
    ("# TYPE x untyped\nx 1\n", None),
    ("# TYPE x\nx 1\n", None),
    ("# TYPE x \nx 1\n", None),
    ("# TYPE x gauge\n", None),
    ("# HELP x only\n", None),
    ("# HELP x h\n# TYPE x gauge\nx 1\n", None),
    ("# TYPE x gauge\nx 1\n# HELP x after\n", None),
    ("# HELP x a\\\\b\\nc\nx 1\n", None),
    ("# HELP x blanks  \nx 1\n", None),
    ("# HELP   x   text\nx 1\n", None),
    ("# HELP x\nx 1\n", None),
    ("# HELP x ü \"quoted\"\nx 1\n", None),
    ("x{job=\"b\",instance=\"i\"} 1\n", None),
    ("x{instance=\"\"} 1\n", None),
    ("push_time_seconds 5\n", None),
    ("# TYPE push_time_seconds counter\npush_time_seconds 5\nx 1\n", None),
    ("# TYPE s summary\ns{quantile=\"0.50\"} 1\ns{quantile=\"1.0\"} 2\ns_sum 3\ns_count 4\n", None),
    (
        "# TYPE s summary\ns_count 4\ns{quantile=\"0.9\",a=\"b\"} 1\ns{a=\"b\",quantile=\"0.5\"} 2\n",
        None,
    ),
    ("# TYPE s summary\ns{quantile=\"0.5\"} NaN\ns_sum NaN\ns_count 0\n", None),
    ("# TYPE s summary\ns_sum 1\n", None),
    ("# TYPE s summary\ns_bucket 1\ns_sum 1\n", None),
    (
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n",
        None,
    ),
    (
        "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"1000000\"} 2\nh_sum 3\nh_count 2\n",
        None,
    ),
    (
        "# TYPE h histogram\nh_count 3\nh_sum 1.5\nh_bucket{le=\"5\"} 2\nh_bucket{le=\"1\"} 4\n",
        None,
    ),
    ("# TYPE h histogram\nh_bucket{le=\"1\"} 1\n", None),
    ("# TYPE h histogram\nh_bucket{le=\"+Inf\"} 7\nh_count 3\n", None),
    (
        "# TYPE h histogram\nh_bucket{a=\"1\",le=\"1\"} 1\nh_bucket{a=\"2\",le=\"2\"} 1\nh_count{a=\"1\"} 1\n",
        None,
    ),
    ("# TYPE h histogram\nh_sum -5\nh_count 1\n", None),
    // In the JSON, counts are digits and sums are written as floats.
    ("# TYPE h histogram\nh_bucket{le=\"1\"} 12345678\nh_sum 1e6\nh_count 1e19\n", None),
    ("# TYPE s summary\ns_sum 1000000\ns_count 1000000\n", None),
    ("h_sum 1\nh_count 1\nh_bucket{le=\"1\"} 1\n", None),
    ("x_created 1\n# TYPE x counter\nx 1\n", None),
    // === refused
    ("x", None),
    ("x 1", None),
    ("# TYPE x gauge", None),
    ("# comment", None),
    ("x 1\r\n", None),
    ("x 1\rx 2\r", None),
    ("\r\n", None),
    ("# TYPE x gauge\r\nx 1\n", None),
    ("x 1 \n", None),
    ("x 1\t\n", None),
    ("# TYPE x gauge \nx 1\n", None),
    ("x 0x1\n", None),
    ("x 1_000\n", None),
    ("x 1e400\n", None),
    ("x one\n", None),
    ("x 1s\n", None),
    ("x \"1\"\n", None),
    ("x\n", None),
    ("x{a=\"1\"}\n", None),
    ("x 1 # {a=\"b\"} 1\n", None),
    ("x 1 1.5\n", None),
    ("x 1 1 1\n", None),
    ("# TYPE x unknown\nx 1\n", None),
    ("# TYPE x info\nx 1\n", None),
    ("# TYPE x gauge or so\nx 1\n", None),
    ("# TYPE x gauge\n# TYPE x gauge\nx 1\n", None),
    ("x 1\n# TYPE x gauge\n", None),
    ("# HELP x a\n# HELP x b\nx 1\n", None),
    ("# HELP x a\\x\nx 1\n", None),
    ("# TYPE 1x gauge\n", None),
    ("# HELP x-y text\n", None),
    ("x{a=1} 1\n", None),
    ("x{a='1'} 1\n", None),
    ("x{a=\"\\t\"} 1\n", None),
    ("x{a=\"1\nb=\"2\"} 1\n", None),
    ("x{a=\"1\" b=\"2\"} 1\n", None),
    ("x{a=\"1\",,b=\"2\"} 1\n", None),
    ("x{,a=\"1\"} 1\n", None),
    ("x{=\"1\"} 1\n", None),
    ("x{1a=\"1\"} 1\n", None),
    ("x{a:b=\"1\"} 1\n", None),
    ("x{a=\"1\",a=\"2\"} 1\n", None),
    ("x{__name__=\"y\"} 1\n", None),
    ("x{a=\"1\" 1\n", None),
    ("1x 1\n", None),
    ("x-y 1\n", None),
    ("x.y 1\n", None),
    ("ü 1\n", None),
    ("\u{feff}x 1\n", None),
    ("{a=\"1\"} 1\n", None),
    ("x 1\ny\nz 1\n", None),
    ("# TYPE s summary\ns{quantile=\"a\"} 1\n", None),
    ("# TYPE h histogram\nh_bucket{le=\"a\"} 1\n", None),
    // === read, but inconsistent
    ("x 1 1600000000000\n", None),
    ("x 1\ny 2 0\n", None),
    ("x 1 5\nz\n", None),
    ("x 1\nx 1\n", None),
    ("x{job=\"1\"} 1\nx{job=\"2\"} 1\n", None),
    ("x{__a=\"1\"} 1\n", None),
    ("# TYPE h histogram\nh_sum 1\nh_count 1\n# TYPE h_sum gauge\n", None),
    ("# TYPE x_sum gauge\nx_sum 1\n# TYPE x summary\nx_count 1\n", None),
    ("# TYPE x_bucket gauge\nx_bucket 1\n# TYPE x histogram\nx_count 1\n", None),
    ("# TYPE x_count gauge\nx_count 1\n# TYPE x gauge\nx 1\n", None),
    ("# TYPE process_open_fds counter\nprocess_open_fds 1\n", None),
    ("# TYPE pushgateway_build_info counter\npushgateway_build_info 1\n", None),
    // === different
    ("x{\"a\"=\"1\"} 1\n", NEWER),
    ("{\"x\"} 1\n", NEWER),
    ("# HELP x a\\\"b\nx 1\n", NEWER),
    ("# TYPE x gaugehistogram\nx_count 1\n", NEWER),
    ("# TYPE h histogram\nh_bucket{le=\"1\"} 1.5\nh_sum 1\nh_count 2.5\n", NEWER),
    ("# TYPE h histogram\nh_count -1\n", NEWER),
    ("# TYPE h histogram\nh 1\n", STRICTER),
    ("# TYPE s summary\ns_count 1.5\n", STRICTER),
    ("# TYPE s summary\ns_count 1\ns_count 2\n", STRICTER),
    ("# TYPE s summary\ns 1\n", STRICTER),
    ("# TYPE h histogram\nh_bucket 1\n", STRICTER),
    ("# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1.0\"} 1\nh_count 1\n", STRICTER),
    ("# TYPE h histogram\nh_bucket{le=\"NaN\"} 1\nh_count 1\n", STRICTER),
    ("# TYPE h histogram\nh_sum{le=\"1\"} 1\n", STRICTER),
    ("# TYPE s summary\ns_sum{quantile=\"1\"} 1\n", STRICTER),
    ("push_failure_time_seconds 5\n", Some("D: never overridden later on")),
    ("tallygate_x 1\n# TYPE tallygate_series counter\ntallygate_series 1\n", Some("our own name")),
];

/// Two bodies that may contradict each other.
const CLASHES: &[(&str, &str)] = &[
    ("x 1\n", "x 2\n"),
    ("x 1\n", "# TYPE x gauge\nx 2\n"),
    ("# TYPE x gauge\nx 1\n", "# TYPE x counter\nx 2\n"),
    ("# TYPE x gauge\nx 1\n", "# TYPE x counter\n"),
    ("x 1\n", "x{instance=\"i\"} 2\n"),
    ("# TYPE x summary\nx_sum 1\n", "# TYPE x_sum gauge\nx_sum 1\n"),
    ("# TYPE x summary\nx_sum 1\n", "x_bucket 1\n"),
    ("# TYPE x histogram\nx_sum 1\n", "x_bucket 1\n"),
    ("# TYPE x histogram\nx_sum 1\n", "x_count{a=\"1\"} 1\n"),
    ("x_count 1\n", "# TYPE x histogram\nx_sum 1\n"),
    ("x_bucket 1\n", "# TYPE x histogram\nx_sum 1\n"),
    ("x_bucket 1\n", "# TYPE x summary\nx_sum 1\n"),
    ("x_sum 1\n", "# TYPE x gauge\nx 1\n"),
    ("x 1\ny 1\n", "y 2\nz 3\n"),
    ("# HELP x one\nx 1\n", "# HELP x one\nx 2\n"),
    ("x 1\n", ""),
    ("x{a=\"1\"} 1\nx{a=\"2\"} 1\n", "x{a=\"3\"} 1\n"),
];

const REQUESTS: &[(&str, &str, Option<&str>)] = &[
    ("GET", "/-/healthy", None),
    ("GET", "/-/ready", None),
    ("POST", "/-/ready", None),
    ("GET", "/-/quit", None),
    ("DELETE", "/-/quit", None),
    ("OPTIONS", "/-/quit", None),
    ("GET", "/", None),
    ("GET", "/status", None),
    ("POST", "/", None),
    ("OPTIONS", "/", None),
    ("PUT", "/metrics", None),
    ("DELETE", "/metrics", None),
    ("OPTIONS", "/metrics", None),
    ("POST", "/metrics/", Some("D: 405 instead of a redirect")),
    ("GET", "/metrics/job/a", None),
    ("PATCH", "/metrics/job/a", None),
    ("OPTIONS", "/metrics/job/a", None),
    ("HEAD", "/metrics", OBVIOUS),
    ("HEAD", "/-/ready", OBVIOUS),
    ("GET", "/api/v1/status", None),
    ("PUT", "/api/v1/status", None),
    ("OPTIONS", "/api/v1/status", None),
    ("OPTIONS", "/api/v1/nothing", None),
    ("GET", "/api/v1/nothing", None),
    ("GET", "/api/v1/admin/wipe", None),
    ("POST", "/api/v1/admin/wipe", None),
    ("GET", "/static/nothing", None),
    ("GET", "/nothing", None),
    ("GET", "/favicon.ico", None),
];

const CONTENT_TYPES: &[(&str, Option<&str>)] = &[
    ("text/plain; version=0.0.4; charset=utf-8", None),
    ("application/x-www-form-urlencoded", None),
    ("application/json", None),
    ("nonsense;;;=", None),
    ("application/openmetrics-text; version=1.0.0", None),
    ("application/vnd.google.protobuf", None),
    (PROTOBUF, None),
    (
        "Application/Vnd.Google.Protobuf; more=1; ENCODING=delimited; \
         Proto=\"io.prometheus.client.MetricFamily\"",
        None,
    ),
    (
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=text",
        None,
    ),
    (
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
         encoding=DELIMITED",
        None,
    ),
];

fn gauge(name: &str) -> Message {
    Message::family(name, 1).metric(&[], value::gauge(1.0))
}

type Body = (&'static str, Vec<u8>, Option<&'static str>);

fn protobuf_bodies() -> Vec<Body> {
    let one = |family: Message| family.delimited();
    let both = |a: Message, b: Message| [a.delimited(), b.delimited()].concat();
    let cut = |by: usize| {
        let mut body = gauge("x").delimited();
        body.truncate(body.len() - by);
        body
    };
    let histogram = |inner: Message| one(Message::family("h", 4).metric(&[], (7, inner)));
    let native = message().int(1, 5).double(2, 2.5).sint(5, 0).double(6, 0.5).int(7, 1);
    let spans = message().sint(1, 1).int(2, 2);
    vec![
        ("nothing", Vec::new(), None),
        ("an empty message", vec![0], Some("D: a family without a name")),
        ("gauge", one(gauge("x")), None),
        ("counter", one(Message::family("x", 0).metric(&[("a", "1")], value::counter(2.0))), None),
        ("no type", one(message().text(1, "x").metric(&[], value::counter(2.0))), None),
        ("untyped", one(Message::family("x", 3).metric(&[], value::untyped(2.0))), None),
        ("no value", one(Message::family("x", 1).metric(&[], (2, message()))), None),
        ("help and unit", one(gauge("x").text(2, "h\\\"\n").text(5, "s")), None),
        ("unknown fields", one(gauge("x").int(99, 1).text(98, "x")), None),
        ("two families", both(gauge("x"), gauge("y")), None),
        ("no metrics", one(Message::family("before", 1)), None),
        ("no metrics of a new family", one(Message::family("x", 1)), None),
        (
            "histogram",
            histogram(
                message().int(1, 3).double(2, 1.5).message(3, message().int(1, 2).double(2, 1.0)),
            ),
            None,
        ),
        ("histogram without anything", histogram(message()), None),
        (
            "summary",
            one(Message::family("s", 2).metric(
                &[("a", "1")],
                (
                    4,
                    message()
                        .int(1, 3)
                        .double(2, 1.5)
                        .message(3, message().double(1, 0.5).double(2, 1.0)),
                ),
            )),
            None,
        ),
        (
            "created timestamp",
            one(Message::family("x", 0)
                .metric(&[], (3, message().double(1, 1.0).message(3, message().int(1, 1))))),
            None,
        ),
        (
            "value with blanks and quotes",
            one(Message::family("x", 1).metric(&[("a", "\"\\\n\r")], value::gauge(f64::NAN))),
            None,
        ),
        ("cut off", cut(1), None),
        ("cut off in the middle", cut(5), None),
        ("rubbish", b"x 1\n".to_vec(), None),
        (
            "another value than the type says",
            one(Message::family("x", 1).metric(&[], value::counter(1.0))),
            None,
        ),
        (
            "timestamp",
            one(Message::family("x", 1)
                .message(4, message().message(2, message().double(1, 1.0)).int(6, 5))),
            None,
        ),
        (
            "timestamp 0",
            one(Message::family("x", 1)
                .message(4, message().message(2, message().double(1, 1.0)).int(6, 0))),
            None,
        ),
        (
            "label without a name",
            one(Message::family("x", 1).metric(&[("", "1")], value::gauge(1.0))),
            None,
        ),
        (
            "reserved label",
            one(Message::family("x", 1).metric(&[("__a", "1")], value::gauge(1.0))),
            None,
        ),
        (
            "label twice",
            one(Message::family("x", 1).metric(&[("a", "1"), ("a", "2")], value::gauge(1.0))),
            None,
        ),
        (
            "label with a dash",
            one(Message::family("x", 1).metric(&[("a-b", "1")], value::gauge(1.0))),
            None,
        ),
        (
            "quantile on a summary",
            one(Message::family("x", 2).metric(&[("quantile", "1")], (4, message().int(1, 1)))),
            None,
        ),
        ("series twice", one(gauge("x").metric(&[], value::gauge(2.0))), None),
        (
            "type clash with our own",
            one(Message::family("process_open_fds", 0).metric(&[], value::counter(1.0))),
            None,
        ),
        // === different
        (
            "two messages of one family",
            both(gauge("x"), Message::family("x", 1).metric(&[], value::gauge(2.0))),
            Some("D: refused, instead of losing the first"),
        ),
        (
            "no name",
            one(message().int(3, 1).metric(&[], value::gauge(1.0))),
            Some("D: scrapes are cut off"),
        ),
        (
            "unknown type",
            one(Message::family("x", 9).metric(&[], value::gauge(1.0))),
            Some("D: scrapes are cut off"),
        ),
        ("odd metric name", one(gauge("x y")), Some("D: names are not checked")),
        (
            "le on a histogram",
            one(Message::family("h", 4).metric(&[("le", "1")], (7, message().int(1, 1)))),
            Some("D: two le on a line"),
        ),
        (
            "a length of 2 GB",
            vec![0xff, 0xff, 0xff, 0xff, 0x07],
            Some("D: the connection is dropped, or so"),
        ),
        ("native histogram", histogram(native.message(12, spans).sint(13, 1).sint(13, 2)), NEWER),
    ]
}

type EncodedBody = (&'static str, &'static str, Vec<u8>, Option<&'static str>);

fn encoded_bodies() -> Vec<EncodedBody> {
    let gzip = || encoded(Coding::Gzip, "x 1\ny 2\n");
    let cut = |by: usize| {
        let mut body = gzip();
        body.truncate(body.len() - by);
        body
    };
    let twice = [gzip(), encoded(Coding::Gzip, "z 3\n")].concat();
    let mut damaged = gzip();
    let at = damaged.len() - 6;
    damaged[at] ^= 1;
    vec![
        ("gzip", "gzip", gzip(), None),
        ("gzip in capitals", "GZIP", gzip(), NEWER),
        ("several members", "gzip", twice, None),
        ("nothing as gzip", "gzip", Vec::new(), None),
        ("plain as gzip", "gzip", b"x 1\n".to_vec(), None),
        ("gzip cut early", "gzip", cut(14), None),
        ("gzip without its trailer", "gzip", cut(8), NEWER),
        ("gzip with a wrong checksum", "gzip", damaged, NEWER),
        ("gzip without saying so", "identity", gzip(), None),
        ("identity", "identity", b"x 1\n".to_vec(), None),
        ("a name that is none", "utf-8", b"x 1\n".to_vec(), None),
        ("brotli, they say", "br", b"x 1\n".to_vec(), None),
        ("a list", "gzip, gzip", gzip(), None),
        ("x-gzip", "x-gzip", gzip(), None),
        ("deflate", "deflate", encoded(Coding::Deflate, "x 1\n"), None),
        ("snappy", "snappy", encoded(Coding::SnappyFramed, "x 1\n"), NEWER),
    ]
}

/// Cases that take several requests.
fn sequences(add: &mut impl FnMut(&str, Option<&'static str>, Vec<Step>)) {
    add(
        "put replaces the group, post the families",
        None,
        vec![put(A, "x 1\ny 1\n"), post(A, "y 2\nz 2\n"), put(A, "w 3\n"), post(A, "v 4\n")],
    );
    add(
        "empty bodies",
        None,
        vec![put(A, "x 1\n"), post(A, ""), put(B, ""), post("/metrics/job/c", ""), put(A, "")],
    );
    add(
        "a deleted group can come back with another type",
        None,
        vec![put(A, "x 1\n"), delete(A), put(B, "# TYPE x gauge\nx 1\n"), put(A, "x 1\n")],
    );
    add(
        "deleting is exact",
        None,
        vec![
            put("/metrics/job/a/l/1", "x 1\n"),
            put(A, "x 2\n"),
            delete(A),
            delete("/metrics/job/a/m/1"),
            delete("/metrics/job/unknown"),
            step("DELETE", "/metrics/job/a/l/1", "a body\nthat is ignored"),
        ],
    );
    add(
        "a failure is remembered until the next good push",
        None,
        vec![put(A, "x 1\n"), put(B, "# TYPE x gauge\nx 1\n"), put(B, "y 1\n")],
    );
    add(
        "failures of a group that is there",
        None,
        vec![put(A, "x 1\n"), put(B, "y 1\n"), post(B, "# TYPE x gauge\nx 1\n"), put(B, "x 1 1\n")],
    );
    add(
        "a malformed push leaves no trace",
        None,
        vec![put(A, "x\n"), put(B, "y 1\n"), put(B, "y\n")],
    );
    add(
        "equal series of two groups",
        None,
        vec![
            put("/metrics/job/a/l/1", "x 1\n"),
            put(A, "x{l=\"1\"} 2\n"),
            put(A, "x{l=\"2\"} 2\n"),
            delete("/metrics/job/a/l/1"),
            put(A, "x{l=\"1\"} 2\n"),
        ],
    );
    add(
        "labels of the path win",
        None,
        vec![put(
            "/metrics/job/a/l/1/instance/i",
            "x{l=\"2\",job=\"b\",instance=\"k\",m=\"3\"} 1\n",
        )],
    );
    add(
        "empty label of the path wins too",
        None,
        vec![put("/metrics/job/a/l/", "x{l=\"2\"} 1\n"), put(A, "x 1\n"), put(A, "x{l=\"\"} 1\n")],
    );
    add(
        "post of a histogram over its own parts",
        None,
        vec![
            put(A, "x_count 1\n"),
            post(A, "# TYPE x histogram\nx_count 1\n"),
            put(A, "# TYPE x histogram\nx_count 1\n"),
            post(A, "x_count 1\n"),
            put(A, "x_count 1\n"),
        ],
    );
    add(
        "own names with their own type",
        None,
        vec![put(A, "# TYPE process_open_fds gauge\nprocess_open_fds 5\n")],
    );
    add(
        "an empty family of protobuf",
        Some("D: what is not there clashes by its type"),
        vec![
            put(A, "# TYPE x gauge\nx 1\ny 1\n"),
            post(A, Message::family("x", 1).delimited()).header("Content-Type", PROTOBUF),
            put(B, "# TYPE x counter\nx 1\n"),
        ],
    );
    add(
        "many labels in order",
        None,
        vec![
            put(A, "x{b=\"2\",a=\"9\"} 1\nx{c=\"1\"} 1\nx 1\nx{a=\"1\"} 1\n"),
            put(B, "x{a=\"1\"} 1\nx{z=\"\"} 1\n"),
        ],
    );
    let long = "v".repeat(4000);
    add("a long value", None, vec![put(&format!("/metrics/job/a/l/{long}"), "x 1\n")]);
    let labels: String = (0..30).map(|at| format!("/l{at}/{at}")).collect();
    add("many labels", None, vec![put(&format!("/metrics/job/a{labels}"), "x 1\n")]);
    let many: String = (0..3000).map(|at| format!("x{{a=\"{at}\"}} {at}\n")).collect();
    add("many series", None, vec![put(A, &many), post(A, "y 1\n")]);
}
