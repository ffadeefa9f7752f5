//! Lines, tokens, where numbers may occur, timestamps.

use super::*;

#[test]
fn eof() {
    for body in ["# EOF\n", "# EOF", "a 1\n# EOF\n", "a 1\n# EOF"] {
        assert!(strict(body.as_bytes()).is_ok(), "{body:?}");
        assert!(lenient(body.as_bytes()).is_ok(), "{body:?}");
        assert!(has_eof(body.as_bytes()), "{body:?}");
    }
    for body in ["", "a 1\n"] {
        let error = strict(body.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("\"# EOF\" is missing"), "{body:?}: {error}");
        assert!(lenient(body.as_bytes()).is_ok(), "{body:?}");
        assert!(!has_eof(body.as_bytes()), "{body:?}");
    }
    for read in [strict, lenient] {
        testing::refused(
            &[
                (
                    "text after EOF",
                    "# EOF\na 1\n",
                    "line 2, column 1: nothing may follow \"# EOF\"",
                ),
                ("empty line after EOF", "# EOF\n\n", "line 2, column 1: nothing may follow"),
                ("blank after EOF", "# EOF\n ", "line 2, column 1: nothing may follow"),
                ("EOF twice", "# EOF\n# EOF\n", "line 2, column 1: nothing may follow"),
                ("blank behind EOF", "# EOF \n", "line 1, column 1: found \"# EOF \", expected"),
                ("no LF at the end", "a 1", "line 1, column 4: the last line has no line feed"),
                ("cut off in EOF", "a 1\n# EO", "line 2, column 5: the last line has no line fee"),
                ("CR behind EOF", "# EOF\r\n", "line 1, column 1: found \"# EOF\\r\", expected"),
            ],
            read,
        );
    }
    assert!(!has_eof(b"# x # EOF\n") && !has_eof(b"# EOF\n\n"));
}

#[test]
fn accepted_samples() {
    accepted(&[
        ("no TYPE means unknown", "a 1\nb{c=\"d\",e=\"f\"} 2\n", {
            "a untyped? {} 1\nb untyped? {c=\"d\",e=\"f\"} 2"
        }),
        ("empty braces", "a{} 1\n", "a untyped? {} 1"),
        ("numbers", "a +1.5\nb .5\nc 5.\nd 007\ne 1e3\nf -1E-2\n", {
            "a untyped? {} 1.5\nb untyped? {} 0.5\nc untyped? {} 5\nd untyped? {} 7\n\
             e untyped? {} 1000\nf untyped? {} -0.01"
        }),
        ("words for numbers", "a inf\nb +Infinity\nc -INF\nd NaN\ne nan\n", {
            "a untyped? {} inf\nb untyped? {} inf\nc untyped? {} -inf\nd untyped? {} NaN\n\
             e untyped? {} NaN"
        }),
        ("escapes in label values", "a{b=\"\\\\ \\\" \\n\"} 1\n", r#"a untyped? {b="\\ \" \n"} 1"#),
        ("an undefined escape stays two characters", "a{b=\"\\z\\\\\"} 1\n", {
            r#"a untyped? {b="\\z\\"} 1"#
        }),
        ("NUL and CR in label values", "a{b=\"x\0y\rz\"} 1\n", "a untyped? {b=\"x\0y\rz\"} 1"),
        ("empty label value", "a{b=\"\"} 1\n", "a untyped? {} 1"),
        ("blanks and commas in label values", "a{b=\" ,}\"} 1\n", "a untyped? {b=\" ,}\"} 1"),
        (
            "quoted names (G11)",
            {
                "# TYPE \"a.b\" counter\n# HELP \"a.b\" x\n{\"a.b_total\",c=\"d\"} 1\n\
             {\"e.f\",\"g.h\"=\"i\"} 2\n{j=\"k\",\"l\"} 3\n"
            },
            {
                "a.b_total counter help=\"x\" {c=\"d\"} 1\ne.f untyped? {\"g.h\"=\"i\"} 2\n\
             l untyped? {j=\"k\"} 3"
            },
        ),
        ("colons in metric names", "a:b 1\n", "a:b untyped? {} 1"),
    ]);
}

#[test]
fn refused_lines() {
    refused(&[
        ("empty line", "a 1\n\nb 1\n", "line 2, column 1: empty lines are not allowed"),
        ("comment", "# x\n", "line 1, column 1: found \"# x\", expected \"# TYPE\", \"# HELP\""),
        ("lone #", "#\n", "line 1, column 1: found \"#\", expected"),
        ("no blank after #", "#TYPE a gauge\n", "line 1, column 1: found \"#TYPE a gauge\", expec"),
        ("two blanks after #", "#  TYPE a gauge\n", "line 1, column 1: found"),
        ("tab after #", "#\tTYPE a gauge\n", "line 1, column 1: found"),
        ("keyword in lower case", "# type a gauge\n", "line 1, column 1: found"),
        ("leading blank", " a 1\n", "line 1, column 1: found a blank, expected a metric name"),
        ("leading blank in metadata", " # TYPE a gauge\n", "line 1, column 1: found a blank"),
        ("trailing blank", "a 1 \n", "line 1, column 5: found \"\", expected the end of the line"),
        ("trailing tab", "a 1\t\n", "line 1, column 4: found a blank, expected the end"),
        ("two blanks", "a  1\n", "line 1, column 3: found a blank, expected the value, after one"),
        ("tab for a blank", "a\t1\n", "line 1, column 2: found a blank, expected one blank before"),
        (
            "no blank before the value",
            "a{b=\"c\"}1\n",
            "line 1, column 9: found \"1\", expected one",
        ),
        ("value glued to the name", "a-1\n", "line 1, column 2: found \"-1\", expected one blank"),
        ("no value", "a\n", "line 1, column 2: found the end of the line, expected one blank"),
        ("blank, no value", "a \n", "line 1, column 3: found the end of the line, expected the va"),
        (
            "blank before the brace",
            "a {b=\"c\"} 1\n",
            "line 1, column 3: found \"{b=\\\"c\\\"}\", exp",
        ),
        ("blank in braces", "a{ b=\"c\"} 1\n", "line 1, column 3: found a blank, expected a label"),
        (
            "blank after a comma",
            "a{b=\"c\", d=\"e\"} 1\n",
            "line 1, column 9: found a blank, expect",
        ),
        ("blank before =", "a{b =\"c\"} 1\n", "line 1, column 4: found a blank, expected \"=\""),
        (
            "blank after =",
            "a{b= \"c\"} 1\n",
            "line 1, column 5: found a blank, expected a label val",
        ),
        ("blank before the closing brace", "a{b=\"c\" } 1\n", "line 1, column 8: found a blank"),
        ("blank in empty braces", "a{ } 1\n", "line 1, column 3: found a blank"),
        (
            "trailing comma",
            "a{b=\"c\",} 1\n",
            "line 1, column 9: found \"}\", expected a label nam",
        ),
        ("comma alone", "a{,} 1\n", "line 1, column 3: found"),
        ("CR at the line's end", "a 1\r\n", "line 1, column 3: found \"1\\r\", expected a number"),
        ("BOM", "\u{feff}a 1\n", "line 1, column 1: the body starts with a byte order mark"),
        (
            "NUL at line start",
            "\0a 1\n",
            "line 1, column 1: found \"\\0a\", expected a metric name",
        ),
        ("raw LF in a label value", "a{b=\"c\nd\"} 1\n", "line 1, column 6: the closing quote"),
        (
            "duplicate label names",
            "a{b=\"1\",b=\"2\"} 1\n",
            "line 1, column 1: label \"b\" is given",
        ),
        (
            "reserved label name",
            "a{__b=\"1\"} 1\n",
            "line 1, column 1: label name \"__b\" is reser",
        ),
        ("no name", "{a=\"b\"} 1\n", "line 1, column 1: the metric name is missing"),
        ("two names", "a{\"b\"} 1\n", "line 1, column 1: two metric names"),
        ("hexadecimal number", "a 0x1p3\n", "line 1, column 3: found \"0x1p3\", expected a number"),
        ("underscore in a number", "a 1_000\n", "line 1, column 3: found"),
        ("signed NaN", "a +NaN\n", "line 1, column 3: found \"+NaN\", expected a number"),
        (
            "out of range",
            "a 1e400\n",
            "line 1, column 3: found \"1e400\", expected a number within",
        ),
        ("same label set twice", "a{b=\"c\"} 1\na{b=\"c\"} 2\n", {
            "line 2, column 1: the value of series a{b=\"c\"} is given twice"
        }),
        ("same label set twice, not in a row", "a{b=\"c\"} 1\na 1\na{b=\"c\"} 2\n", {
            "line 3, column 1: the value of series"
        }),
    ]);
    let error = lenient(b"a 1\nb{c=\"\xff\"} 1\n").unwrap_err().to_string();
    assert_eq!(error, "line 2, column 6: byte 0xff is not valid UTF-8: send the body in UTF-8");
}

#[test]
fn timestamps() {
    refused(&[
        ("seconds (G0)", "a 1 1520430000.123\n", {
            "line 1, column 5: samples with a timestamp are refused"
        }),
        ("exponent form", "a 1 1e3\n", "line 1, column 5: samples with a timestamp"),
        ("before an exemplar", "# TYPE a counter\na_total 1 5 # {} 1\n", {
            "line 2, column 11: samples with a timestamp"
        }),
    ]);
    let ignoring = |body: &[u8]| {
        let options =
            OpenMetricsOptions { timestamps: Timestamps::Ignore, ..OpenMetricsOptions::default() };
        read_with(body, options)
    };
    testing::accepted(
        &[
            (
                "ignored",
                "a 1 1520430000.123\nb 1 -1e3\n# EOF\n",
                "a untyped? {} 1\nb untyped? {} 1",
            ),
            ("before an exemplar", "# TYPE a counter\na_total 1 5 # {} 1\n", {
                "a_total counter {} 1 #{} 1"
            }),
        ],
        ignoring,
    );
    let malformed = [
        ("NaN", "a 1 NaN\n", "line 1, column 5: found \"NaN\", expected the end of the line (or a"),
        ("Inf", "a 1 +Inf\n", "line 1, column 5: found \"+Inf\", expected the end"),
        ("no number", "a 1 x\n", "line 1, column 5: found \"x\", expected the end"),
        ("text behind", "a 1 2 3\n", "line 1, column "),
        ("blank behind", "a 1 2 \n", "line 1, column "),
    ];
    testing::refused(&malformed, ignoring);
    refused(&malformed);
}
