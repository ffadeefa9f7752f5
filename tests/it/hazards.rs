//! Inputs that have broken other programs: the hazards of merge-semantics 7 that take one push or a
//! few.

use crate::harness::{Gateway, start};

/// The outcome of pushing the bodies to `/metrics`, one after the other.
enum Outcome {
    /// All are accepted, and the exposition is this.
    Shows(&'static str),
    /// The last one is refused with this status, and changes nothing.
    Refused(u16),
}
use Outcome::{Refused, Shows};

#[test]
fn hazards() {
    for (name, bodies, outcome) in TABLE {
        let mut gateway = start();
        let (last, before) = bodies.split_last().unwrap();
        before.iter().for_each(|body| gateway.accept("/metrics", body));
        match outcome {
            Shows(text) => {
                gateway.accept("/metrics", last);
                assert_eq!(gateway.pushed(), *text, "{name}");
            }
            Refused(status) => refused(&mut gateway, last, *status, name),
        }
    }
}

fn refused(gateway: &mut Gateway, body: &str, status: u16, name: &str) {
    gateway.expect_log("push refused");
    let before = gateway.pushed();
    assert_eq!(gateway.push("/metrics", body).status, status, "{name}");
    assert_eq!(gateway.pushed(), before, "{name}");
}

const TABLE: &[(&str, &[&str], Outcome)] = &[
    // === values ===
    (
        "one NaN in a counter",
        &["# TYPE a counter\na 1\n", "# TYPE a counter\na NaN\n"],
        Refused(422),
    ),
    ("an infinite counter", &["# TYPE a counter\na +Inf\n"], Refused(422)),
    (
        "minus zero",
        &["# TYPE a counter\na -0\n", "# TYPE a counter\na -0.0\n"],
        Shows("# TYPE a counter\na 0\n"),
    ),
    (
        "2^53 - 1, 2^53, 2^53 + 1",
        &["a 9007199254740991\n", "a 1\n", "a 1\n", "a 1\n"],
        Shows("# TYPE a untyped\na 9.007199254740994e+15\n"),
    ),
    (
        "2^53 + 1 is no double",
        &["a 9007199254740993\n"],
        Shows("# TYPE a untyped\na 9.007199254740992e+15\n"),
    ),
    (
        "1e308 + 1e308",
        &["# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1e308\n"; 2],
        Shows("# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum +Inf\nh_count 2\n"),
    ),
    (
        "a sum beyond all doubles comes back",
        &[
            "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1e308\n",
            "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1e308\n",
            "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum -1e308\n",
        ],
        Shows("# TYPE h histogram\nh_bucket{le=\"+Inf\"} 3\nh_sum 1e+308\nh_count 3\n"),
    ),
    (
        "the smallest double",
        &["# TYPE s summary\ns_sum 5e-324\ns_count 1\n"; 2],
        Shows("# TYPE s summary\ns_sum 1e-323\ns_count 2\n"),
    ),
    ("a sum of +Inf", &["# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum +Inf\n"], Refused(422)),
    ("a sum of -Inf", &["# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum -Inf\n"], Refused(422)),
    ("a negative summary", &["# TYPE s summary\ns_sum -1\ns_count 1\n"], Refused(422)),
    (
        "negative observations",
        &["# TYPE h histogram\nh_bucket{le=\"-1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum -5\n"; 2],
        Shows(
            "# TYPE h histogram\nh_bucket{le=\"-1\"} 2\nh_bucket{le=\"+Inf\"} 2\nh_sum -10\n\
             h_count 2\n",
        ),
    ),
    (
        "a negative bucket",
        &["# TYPE h histogram\nh_bucket{le=\"1\"} -1\nh_bucket{le=\"+Inf\"} 1\n"],
        Refused(400),
    ),
    (
        "counts beyond 2^64",
        &["# TYPE h histogram\nh_bucket{le=\"+Inf\"} 18446744073709551615\nh_sum 0\n"; 2],
        Shows(
            "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 3.6893488147419103e+19\n\
             h_sum 0\nh_count 3.6893488147419103e+19\n",
        ),
    ),
    // === families that look like others ===
    ("TYPE without samples", &["# TYPE a counter\n# HELP a Text.\n"], Shows("")),
    (
        "TYPE without samples pins nothing",
        &["# TYPE a counter\n", "# TYPE a gauge\na 1\n"],
        Shows("# TYPE a gauge\na 1\n"),
    ),
    ("TYPE after samples", &["a 1\n# TYPE a counter\n"], Refused(400)),
    (
        "an info as a gauge",
        &["# TYPE x_info gauge\nx_info{v=\"1\"} 1\n"; 3],
        Shows("# TYPE x_info gauge\nx_info{v=\"1\"} 1\n"),
    ),
    (
        "a stateset as gauges",
        &[
            "# TYPE s gauge\ns{s=\"a\"} 1\ns{s=\"b\"} 0\n",
            "# TYPE s gauge\ns{s=\"a\"} 0\ns{s=\"b\"} 1\n",
        ],
        Shows("# TYPE s gauge\ns{s=\"a\"} 0\ns{s=\"b\"} 1\n"),
    ),
    (
        "_created without its sibling",
        &["# TYPE a_created gauge\na_created 1.7e9\n"; 2],
        Shows("# TYPE a_created gauge\na_created 1.7e+09\n"),
    ),
    (
        "_created before its sibling",
        &["# TYPE a_created gauge\na_created 1.7e9\n# TYPE a_total counter\na_total 1\n"; 2],
        Shows("# TYPE a_total counter\na_total 2\n"),
    ),
    (
        "_count collides with a counter",
        &[
            "# TYPE a_count counter\na_count 1\n",
            "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\n",
        ],
        Refused(422),
    ),
    // === buckets ===
    (
        "one bound in two spellings",
        &["# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1.0\"} 1\n\
             h_bucket{le=\"+Inf\"} 1\nh_sum 1\n"],
        Refused(400),
    ),
    (
        "one bound in two spellings in two pushes",
        &[
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\n",
            "# TYPE h histogram\nh_bucket{le=\"1e0\"} 1\nh_bucket{le=\"inf\"} 1\nh_sum 1\n",
        ],
        Shows(
            "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 2\n\
             h_sum 2\nh_count 2\n",
        ),
    ),
    (
        "bounds 0 and -0",
        &["# TYPE h histogram\nh_bucket{le=\"-0\"} 1\nh_bucket{le=\"0\"} 1\n\
             h_bucket{le=\"+Inf\"} 1\nh_sum 1\n"],
        Refused(400),
    ),
    (
        "bounds 0 and -0 in two pushes",
        &[
            "# TYPE h histogram\nh_bucket{le=\"0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\n",
            "# TYPE h histogram\nh_bucket{le=\"-0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\n",
        ],
        Shows(
            "# TYPE h histogram\nh_bucket{le=\"0\"} 2\nh_bucket{le=\"+Inf\"} 4\n\
             h_sum 2\nh_count 4\n",
        ),
    ),
    (
        "a bound that is no number",
        &["# TYPE h histogram\nh_bucket{le=\"x\"} 1\nh_count 1\nh_sum 1\n"],
        Refused(400),
    ),
    (
        "a bound of NaN",
        &["# TYPE h histogram\nh_bucket{le=\"NaN\"} 1\nh_count 1\nh_sum 1\n"],
        Refused(400),
    ),
    (
        "a layout of +Inf only, then bounds",
        &[
            "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\n",
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\n",
        ],
        Shows(
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 4\n\
             h_sum 2\nh_count 4\n",
        ),
    ),
    // === labels ===
    (
        "an empty label is no label",
        &["a{x=\"\"} 1\n", "a 1\n", "a{x=\"\",y=\"\"} 1\n"],
        Shows("# TYPE a untyped\na 3\n"),
    ),
    ("an empty label makes a series twice", &["a{x=\"\"} 1\na 1\n"], Refused(400)),
    (
        "labels in another order",
        &["a{x=\"1\",y=\"2\"} 1\n", "a{y=\"2\",x=\"1\"} 1\n"],
        Shows("# TYPE a untyped\na{x=\"1\",y=\"2\"} 2\n"),
    ),
    ("a label given twice", &["a{x=\"1\",x=\"1\"} 1\n"], Refused(400)),
    ("a name as a label", &["a{__name__=\"b\"} 1\n"], Refused(400)),
    (
        "values that look alike",
        &["a{x=\"a\\\\n\"} 1\na{x=\"a\\n\"} 2\n"],
        Shows("# TYPE a untyped\na{x=\"a\\\\n\"} 1\na{x=\"a\\n\"} 2\n"),
    ),
    (
        "bytes that are no text",
        &["a 1\n# HELP a \u{fffd}\n"],
        Shows("# HELP a \u{fffd}\n# TYPE a untyped\na 1\n"),
    ),
    // === text ===
    ("a sample cut in its middle", &["a 1\nb{x=\"1"], Refused(400)),
    ("lines without line breaks", &["a 1b 2c 3"], Refused(400)),
    ("lines without line breaks behind HELP", &["# HELP a A.# TYPE a countera 1"], Refused(400)),
    ("two values", &["a 1 2 3\n"], Refused(400)),
    ("a number in hexadecimal", &["a 0x10\n"], Refused(400)),
    ("HTML", &["<!doctype html><title>404</title>\n"], Refused(400)),
    ("JSON", &["{\"a\": 1}\n"], Refused(400)),
];

/// `from_utf8_lossy` would let these through.
#[test]
fn bytes_that_are_no_utf8() {
    let mut gateway = start();
    for body in [&b"a{x=\"\xff\"} 1\n"[..], b"# HELP a \xff\na 1\n", b"\xff 1\n", b"a 1\n\xff\n"] {
        gateway.refuse("/metrics", body, 400);
    }
}

/// One push with ten thousand bounds, and then one by one.
#[test]
fn ten_thousand_bounds() {
    let mut gateway = start();
    let bounds = |count: u64| {
        let lines = (1..=count).map(|le| format!("h_bucket{{le=\"{le}\"}} {le}\n"));
        let lines: String = lines.collect();
        format!("# TYPE h histogram\n{lines}h_bucket{{le=\"+Inf\"}} {count}\nh_sum 1\n")
    };
    let problem = gateway.refuse("/metrics", bounds(10_000), 422);
    assert_eq!(problem["limit"], "bucket_bounds");
    gateway.accept("/metrics", bounds(256));
    let one_more = "# TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\n";
    gateway.refuse("/metrics", one_more, 422);
    gateway.accept("/metrics", bounds(100));
}
