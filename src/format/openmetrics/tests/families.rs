//! Metadata, the order of lines, and clashes of names.

use super::*;

#[test]
fn accepted_metadata() {
    accepted(&[
        (
            "TYPE, HELP, UNIT in any order",
            {
                "# UNIT a_seconds seconds\n# HELP a_seconds x y\n# TYPE a_seconds gauge\na_seconds 1\n"
            },
            "a_seconds gauge help=\"x y\" unit=\"seconds\" {} 1",
        ),
        (
            "UNIT is a suffix of the name without _total",
            { "# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1\n" },
            "a_seconds_total counter unit=\"seconds\" {} 1",
        ),
        ("empty HELP and UNIT are none", "# HELP a \n# UNIT a \n# TYPE a info\na_info 1\n", {
            "a_info info {} 1"
        }),
        ("HELP escapes", "# HELP a \\\\ \\n \\\" \" \\z\r\na 1\n", {
            "a untyped? help=\"\\\\ \\n \\\" \\\" \\\\z\\r\" {} 1"
        }),
        ("metadata without samples", "# TYPE a counter\n# HELP b x\n", ""),
        (
            "family names that only look alike",
            {
                "# TYPE a gauge\na 1\n# TYPE a_count gauge\na_count 1\n# TYPE ab counter\nab_total 1\n"
            },
            "a gauge {} 1\na_count gauge {} 1\nab_total counter {} 1",
        ),
        ("a name the family cannot write begins another", "# TYPE a gauge\na 1\na_total 2\n", {
            "a gauge {} 1\na_total untyped? {} 2"
        }),
    ]);
}

#[test]
fn refused_metadata() {
    refused(&[
        (
            "HELP without a blank",
            "# HELP a\n",
            "line 1, column 9: found the end of the line, expect",
        ),
        (
            "UNIT without a blank",
            "# UNIT a\n",
            "line 1, column 9: found the end of the line, expect",
        ),
        (
            "TYPE without a type",
            "# TYPE a\n",
            "line 1, column 9: found the end of the line, expecte",
        ),
        ("no name", "# TYPE  gauge\n", "line 1, column 8: found a blank, expected a metric name"),
        ("bad name", "# TYPE a-b gauge\n", "line 1, column 9: found \"-b\", expected one blank"),
        ("two blanks before the type", "# TYPE a  gauge\n", "line 1, column 10: found \" gauge\""),
        (
            "type word",
            "# TYPE a foo\n",
            "line 1, column 10: found \"foo\", expected counter, gauge",
        ),
        (
            "type word in capitals",
            "# TYPE a Gauge\n",
            "line 1, column 10: found \"Gauge\", expected",
        ),
        ("untyped", "# TYPE a untyped\n", "line 1, column 10: found \"untyped\", expected counter"),
        ("trailing blank", "# TYPE a gauge \n", "line 1, column 10: found \"gauge \", expected"),
        ("second TYPE", "# TYPE a gauge\n# TYPE a gauge\n", "line 2, column 8: second TYPE of met"),
        ("second HELP", "# HELP a \n# HELP a x\n", "line 2, column 8: second HELP of metric \"a\""),
        ("second UNIT", "# UNIT a \n# UNIT a \n", "line 2, column 8: second UNIT of metric \"a\""),
        (
            "TYPE after samples",
            "a 1\n# TYPE a gauge\n",
            "line 2, column 8: TYPE of metric \"a\" com",
        ),
        (
            "HELP after samples",
            "a 1\n# HELP a x\n",
            "line 2, column 8: HELP of metric \"a\" comes a",
        ),
        (
            "UNIT after samples",
            "a_s 1\n# UNIT a_s s\n",
            "line 2, column 8: UNIT of metric \"a_s\" co",
        ),
        ("UNIT is no suffix", "# UNIT a_seconds second\na_seconds 1\n", {
            "line 1, column 18: metric \"a_seconds\" must end in an underscore and its unit \"second\""
        }),
        (
            "UNIT without an underscore",
            "# UNIT aseconds seconds\naseconds 1\n",
            "line 1, column 17",
        ),
        ("UNIT is the whole name", "# UNIT seconds seconds\n", "line 1, column 16: metric"),
        (
            "UNIT of a counter named with _total",
            { "# TYPE a_seconds counter\n# UNIT a_seconds seconds_total\na_seconds_total 1\n" },
            "line 2, column 18: metric \"a_seconds\" must end",
        ),
        ("UNIT on info", "# TYPE a_s info\n# UNIT a_s s\na_s_info 1\n", {
            "line 2, column 12: info metrics have no unit"
        }),
        ("UNIT on stateset", "# UNIT a_s s\n# TYPE a_s stateset\n", {
            "line 1, column 12: stateset metrics have no unit"
        }),
    ]);
}

#[test]
fn refused_families() {
    let again = "all its lines must stand together";
    refused(&[
        (
            "interleaved families",
            "a 1\nb 1\na{x=\"y\"} 1\n",
            &format!("line 3, column 1: metric \"a\" was here before: {again}"),
        ),
        (
            "a family reopened by metadata",
            "# TYPE a gauge\nb 1\n# HELP a x\n",
            &format!("line 3, column 8: metric \"a\" was here before: {again}"),
        ),
        (
            "interleaved metrics of a histogram",
            {
                "# TYPE a histogram\na_bucket{x=\"1\",le=\"+Inf\"} 1\na_bucket{x=\"2\",le=\"+Inf\"} 1\n\
             a_count{x=\"1\"} 1\n"
            },
            "line 4, column 1: other metrics stand between the lines of this one",
        ),
        (
            "interleaved metrics of a counter",
            { "# TYPE a counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 1\na_created{x=\"1\"} 1\n" },
            "line 4, column 1: other metrics stand between",
        ),
        (
            "interleaved metrics, buckets",
            {
                "# TYPE a histogram\na_bucket{x=\"1\",le=\"+Inf\"} 1\na_bucket{x=\"2\",le=\"+Inf\"} 1\n\
             a_bucket{x=\"1\",le=\"+Inf\"} 1\n"
            },
            "line 4, column 1: other metrics stand between",
        ),
        (
            "interleaved metrics of a stateset",
            {
                "# TYPE a stateset\na{x=\"1\",a=\"s\"} 1\na{x=\"2\",a=\"s\"} 1\na{x=\"1\",a=\"t\"} 0\n"
            },
            "line 4, column 1: other metrics stand between",
        ),
    ]);
}

#[test]
fn no_two_families_claim_one_name() {
    let both = |one: &str, two: &str, name: &str| {
        format!("metrics {one:?} and {two:?} both lay claim to the name {name:?}")
    };
    for (kind, suffixes) in [
        ("counter", &["_total", "_created"][..]),
        ("histogram", &["_bucket", "_count", "_sum", "_created"]),
        ("gaugehistogram", &["_bucket", "_gcount", "_gsum"]),
        ("summary", &["_count", "_sum", "_created"]),
        ("info", &["_info"]),
    ] {
        for suffix in suffixes {
            let name = format!("a{suffix}");
            let body = format!("# TYPE a {kind}\n# TYPE {name} gauge\n{name} 1\n");
            let expected = format!("line 2, column 8: {}", both(&name, "a", &name));
            refused(&[("suffixed name second", &body, &expected)]);
            let body = format!("# TYPE {name} gauge\n{name} 1\n# TYPE a {kind}\n");
            let expected = format!("line 3, column 8: {}", both("a", &name, &name));
            refused(&[("suffixed name first", &body, &expected)]);
        }
        let body = format!("# TYPE a_other gauge\na_other 1\n# TYPE a {kind}\n");
        accepted(&[("other suffixes are free", &body, "a_other gauge {} 1")]);
    }
    refused(&[
        (
            "bare name",
            "# TYPE a counter\n# TYPE b gauge\nb 1\na 1\n",
            "line 4, column 1: metric \"a\"",
        ),
        ("counter named with _total", "# TYPE a_total counter\na_total 1\n", {
            "line 2, column 1: the samples of counter \"a_total\" end"
        }),
        (
            "_created beside a counter",
            "# TYPE a counter\na_total 1\nb 1\na_created 1\n",
            &format!("line 4, column 1: {}", both("a_created", "a", "a_created")),
        ),
    ]);
}
