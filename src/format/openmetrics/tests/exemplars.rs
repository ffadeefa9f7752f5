//! Exemplars.

use super::*;

#[test]
fn accepted_exemplars() {
    accepted(&[
        ("on _total", "# TYPE a counter\na_total 1 # {id=\"x\"} 0.5 1520430000.123\n", {
            "a_total counter {} 1 #{id=\"x\"} 0.5@1520430000123"
        }),
        ("without labels and time", "# TYPE a counter\na_total 1 # {} 2e0\n", {
            "a_total counter {} 1 #{} 2"
        }),
        (
            "on buckets, some lines without",
            {
                "# TYPE a histogram\na_bucket{le=\"1\"} 1 # {b=\"c\",a=\"\\\"\"} 0.5\na_bucket{le=\"2\"} 1\n\
             a_bucket{le=\"+Inf\"} 2 # {} 9 -1\n"
            },
            r#"a histogram {} 1:1#{a="\"",b="c"} 0.5 2:1 inf:2#{} 9@-1000"#,
        ),
        (
            "on buckets of a gauge histogram",
            { "# TYPE a gaugehistogram\na_bucket{le=\"+Inf\"} 1 # {} NaN\n" },
            "a gaugehistogram {} inf:1#{} NaN",
        ),
        ("quoted label names", "# TYPE a counter\na_total 1 # {\"a.b\"=\"c\"} 1\n", {
            "a_total counter {} 1 #{\"a.b\"=\"c\"} 1"
        }),
    ]);
    // 128 code points: an escape counts as the character that it stands for.
    let long = "ü".repeat(125);
    let body = format!("# TYPE a counter\na_total 1 # {{ab=\"{long}\\\"\"}} 1\n");
    let expected = format!("a_total counter {{}} 1 #{{ab=\"{long}\\\"\"}} 1");
    accepted(&[("128 code points", &body, &expected)]);
}

#[test]
fn refused_exemplars() {
    let forbidden = "only \"_total\" and \"_bucket\" samples may have an exemplar";
    for (kind, sample) in [
        ("counter", "a_total 1\na_created 1"),
        ("gauge", "a 1"),
        ("unknown", "a 1"),
        ("info", "a_info 1"),
        ("stateset", "a{a=\"x\"} 1"),
        ("summary", "a{quantile=\"1\"} 1"),
        ("summary", "a_count 1"),
        ("histogram", "a_sum 1"),
        ("histogram", "a_count 1"),
        ("gaugehistogram", "a_gcount 1"),
    ] {
        let body = format!("# TYPE a {kind}\n{sample} # {{}} 1\n");
        let error = lenient(body.as_bytes()).unwrap_err().to_string();
        assert!(error.ends_with(forbidden), "{body}{error}");
    }
    let e = |exemplar: &str| format!("# TYPE a counter\na_total 1{exemplar}\n");
    let long = "ü".repeat(127);
    refused(&[
        ("129 code points", &e(&format!(" # {{ab=\"{long}\"}} 1")), {
            "line 2, column 11: the labels of an exemplar have 129 characters, at most 128 may"
        }),
        (
            "label names twice",
            &e(" # {a=\"1\",a=\"2\"} 1"),
            "line 2, column 11: label \"a\" is given",
        ),
        (
            "two exemplars",
            &e(" # {} 1 # {} 2"),
            "line 2, column 18: found \"#\", expected a timestamp",
        ),
        (
            "two exemplars, times",
            &e(" # {} 1 1 # {} 2"),
            "line 2, column 19: found a blank, expected",
        ),
        ("no blank before #", &e("# {} 1"), "line 2, column 9: found \"1#\", expected a number"),
        (
            "no blank after #",
            &e(" #{} 1"),
            "line 2, column 11: found \"#{}\", expected an exemplar",
        ),
        ("no labels", &e(" # 1"), "line 2, column 11: found \"#\", expected an exemplar"),
        (
            "no value",
            &e(" # {}"),
            "line 2, column 15: found the end of the line, expected one blank",
        ),
        ("value is no number", &e(" # {} x"), "line 2, column 16: found \"x\", expected a number"),
        (
            "time is no number",
            &e(" # {} 1 x"),
            "line 2, column 18: found \"x\", expected a timestamp",
        ),
        (
            "time is NaN",
            &e(" # {} 1 NaN"),
            "line 2, column 18: found \"NaN\", expected a timestamp",
        ),
        ("trailing blank", &e(" # {} 1 "), "line 2, column 18: found \"\", expected a timestamp"),
        (
            "trailing comma",
            &e(" # {a=\"b\",} 1"),
            "line 2, column 20: found \"}\", expected a label",
        ),
        (
            "a name in the braces",
            &e(" # {\"a\"} 1"),
            "line 2, column 11: an exemplar has labels but",
        ),
        ("nothing behind #", &e(" #"), "line 2, column 11: found \"#\", expected an exemplar"),
    ]);
}
