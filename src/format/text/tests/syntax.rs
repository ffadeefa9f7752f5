//! Lines, tokens and labels (the first table of formats 3), and where numbers may occur (formats 6).

use super::*;

#[test]
fn accepted_lines() {
    accepted(&[
        ("empty body", "", ""),
        ("only empty lines", "\n\n", ""),
        ("only blanks", " \t ", ""),
        ("only lines of blanks", " \n\t\n", ""),
        ("blank lines between", "\na 1\n\n \t\nb 2\n\n", "a untyped? {} 1\nb untyped? {} 2"),
        ("blanks after the last LF", "a 1\n \t", "a untyped? {} 1"),
        ("comment", "# anything: {\"}\na 1\n#\n# \n#x\n", "a untyped? {} 1"),
        ("# EOF is a comment", "# EOF\na 1\n# EOF\n", "a untyped? {} 1"),
        ("CR in a comment", "# a\rb\na 1\n", "a untyped? {} 1"),
        ("CR in HELP", "# HELP a x\ry\na 1\n", "a untyped? help=\"x\\ry\" {} 1"),
    ]);
}

#[test]
fn accepted_samples() {
    let one = "a untyped? {b=\"c\"} 1";
    accepted(&[
        ("plain", "a{b=\"c\"} 1\n", one),
        ("blanks before a line", " \ta{b=\"c\"} 1\n", one),
        ("blanks around label tokens", "a{ b\t= \"c\" , d =\t\"e\" } 1\n", {
            "a untyped? {b=\"c\",d=\"e\"} 1"
        }),
        ("blanks between name and brace", "a \t{b=\"c\"} 1\n", one),
        ("blanks before the value", "a{b=\"c\"}\t  1\n", one),
        ("blank after the value (G1)", "a{b=\"c\"} 1 \nb 2\t \n", {
            "a untyped? {b=\"c\"} 1\nb untyped? {} 2"
        }),
        ("value glued to the brace", "a{b=\"c\"}1\n", one),
        ("value glued to the name (G2)", "a-1\nb.5\nc+2\n", {
            "a untyped? {} -1\nb untyped? {} 0.5\nc untyped? {} 2"
        }),
        ("empty braces", "a{} 1\nb{ } 2\n", "a untyped? {} 1\nb untyped? {} 2"),
        ("one trailing comma", "a{b=\"c\",} 1\n", one),
        ("one trailing comma and blanks", "a{b=\"c\" , } 1\n", one),
        ("empty label value", "a{b=\"c\",d=\"\"} 1\n", one),
        ("labels are sorted", "a{z=\"1\",b=\"c\"} 1\n", "a untyped? {b=\"c\",z=\"1\"} 1"),
        ("escapes", "a{b=\"\\\\ \\\" \\n\"} 1\n", r#"a untyped? {b="\\ \" \n"} 1"#),
        ("interleaved families", "a{x=\"1\"} 1\nb 2\na{x=\"2\"} 3\n", {
            "a untyped? {x=\"1\"} 1 {x=\"2\"} 3\nb untyped? {} 2"
        }),
        ("every name character", "_:aZ9{_aZ9=\"\"} 1\n", "_:aZ9 untyped? {} 1"),
    ]);
}

#[test]
fn data_that_is_no_line_end_survives() {
    for raw in
        ["\r", "\t", "\0", "\u{2028}", "\u{85}", "\u{feff}", "ü", "\u{10ffff}", "}", ",", "#"]
    {
        let body = format!("a{{b=\"x{raw}\"}} 1\n");
        let expected = format!("a untyped? {{b=\"x{raw}\"}} 1");
        accepted(&[("raw in a label value", &body, &expected)]);
    }
}

#[test]
fn accepted_values() {
    accepted(&[
        ("special values", "a NaN\nb +Inf\nc -inf\n", {
            "a untyped? {} NaN\nb untyped? {} inf\nc untyped? {} -inf"
        }),
        ("forms of floats", "a 007\nb .5\nc 5.\nd 1e3\ne 1E+06\n", {
            "a untyped? {} 7\nb untyped? {} 0.5\nc untyped? {} 5\nd untyped? {} 1000\n\
             e untyped? {} 1000000"
        }),
        ("negative and NaN counters (G8)", "# TYPE a counter\na{b=\"c\"} -1\na NaN\n", {
            "a counter {b=\"c\"} -1 {} NaN"
        }),
    ]);
}

#[test]
fn refused_lines() {
    refused(&[
        ("BOM", "\u{feff}a 1\n", "line 1, column 1: the body starts with a byte order mark"),
        ("BOM later", "a 1\n\u{feff}b 1\n", "line 2, column 1: found \"\\u{feff}b\", expected a"),
        ("NBSP as blank", "a\u{a0}1\n", "line 1, column 2: found \"\\u{a0}1\", expected a number"),
        ("form feed as blank", "a\u{c}1\n", "line 1, column 2: found \"\\u{c}1\", expected a n"),
        ("NUL at line start", "a 1\n\0b 2\n", "line 2, column 1: found \"\\0b\", expected a metr"),
        ("CR alone ends no line", "a 1\rb 2\n", "line 1, column 3: found \"1\\rb\", expected a n"),
        ("two CR", "a 1\r\r\n", "line 1, column 3: found \"1\\r"),
        ("no value", "a\n", "line 1, column 2: found the end of the line, expected the value"),
        ("no value behind labels", "a{} \n", "line 1, column 5: found the end of the line, expec"),
        ("name as value", "a.b 1\n", "line 1, column 2: found \".b\", expected a number within th"),
        ("text after the value", "a 1 b\n", "line 1, column 5: found \"b\", expected the end of"),
        ("exemplar", "a 1 # {x=\"y\"} 1\n", "line 1, column 5: found \"#\", expected the end of"),
        ("comment after the value", "a 1 # x\n", "line 1, column 5: found \"#\", expected the en"),
    ]);
}

#[test]
fn refused_labels() {
    refused(&[
        ("comma alone", "a{,} 1\n", "line 1, column 3: found \",}\", expected a label name"),
        ("two commas", "a{b=\"c\",,} 1\n", "line 1, column 9: found \",}\", expected a label nam"),
        ("leading comma", "a{,b=\"c\"} 1\n", "line 1, column 3: found"),
        ("missing comma", "a{b=\"c\" d=\"e\"} 1\n", {
            "line 1, column 9: found \"d=\\\"e\\\"}\", expected \",\" or \"}\" after a label"
        }),
        ("missing comma, no blank", "a{b=\"c\"d=\"e\"} 1\n", "line 1, column 8: found"),
        ("duplicate label names", "a{b=\"c\",b=\"d\"} 1\n", {
            "line 1, column 1: label \"b\" is given twice"
        }),
        ("duplicate label names, equal values", "a{b=\"c\",d=\"\",b=\"c\"} 1\n", {
            "line 1, column 1: label \"b\" is given twice"
        }),
        ("__name__ as label", "a{__name__=\"b\"} 1\n", {
            "line 1, column 1: label name \"__name__\" is reserved"
        }),
        ("__ prefix (G3)", "a{__x=\"\"} 1\n", "line 1, column 1: label name \"__x\" is reserved"),
        ("unknown escape", "a{b=\"x\\t\"} 1\n", "line 1, column 7: unknown escape: only"),
        ("raw LF", "a{b=\"x\ny\"} 1\n", "line 1, column 6: the closing quote is missing"),
        ("backslash at the line's end", "a{b=\"x\\\n\"} 1\n", "line 1, column 7: the closing qu"),
        ("escaped closing quote", "a{b=\"x\\\"} 1\n", "line 1, column 6: the closing quote is"),
        ("colon in a label name", "a{b:c=\"d\"} 1\n", {
            "line 1, column 4: found \":c=\\\"d\\\"}\", expected \"=\" (a label name with other"
        }),
        ("dash in a label name", "a{b-c=\"d\"} 1\n", "line 1, column 4: found"),
        ("dot in a label name", "a{b.c=\"d\"} 1\n", "line 1, column 4: found"),
        ("digit first in a label name", "a{1b=\"d\"} 1\n", "line 1, column 3: found \"1b="),
        ("label without a value", "a{b} 1\n", "line 1, column 4: found \"}\", expected \"=\""),
        ("value without quotes", "a{b=c} 1\n", "line 1, column 5: found \"c}\", expected a label"),
        ("value in single quotes", "a{b='c'} 1\n", "line 1, column 5: found"),
        ("unclosed braces", "a{b=\"c\" 1\n", "line 1, column 9: found \"1\", expected \",\""),
        ("unclosed braces at the end", "a{b=\"c\"\n", "line 1, column 8: found the end of the li"),
        ("open brace alone", "a{\n", "line 1, column 3: found the end of the line, expected a la"),
        ("no name, value", "1\n", "line 1, column 1: found \"1\", expected a metric name"),
        ("no name, empty braces", "{} 1\n", "line 1, column 1: the metric name is missing"),
        ("no name, labels", "{a=\"b\"} 1\n", "line 1, column 1: the metric name is missing"),
        ("name with a digit first", "1a 1\n", "line 1, column 1: found \"1a\", expected a metric"),
        ("name outside ASCII", "ü 1\n", "line 1, column 1: found \"ü\", expected a metric name (o"),
    ]);
}

#[test]
fn refused_values() {
    for value in [
        "+NaN", "-NaN", "1e400", "-1e400", "0x1p3", "0x1F", "0b1", "1_000", "1,5", "1f", ".", "+",
        "e5", "1e", "1e+", "--1", "infi", "\"1\"", "1\0", "١",
    ] {
        let body = format!("a {value}\n");
        let error = strict(body.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("line 1, column 3: found"), "{body:?}: {error}");
        assert!(error.contains("expected a number within the range of a double"), "{error}");
    }
}

#[test]
fn a_series_twice_is_refused() {
    refused(&[
        ("same series twice (G4)", "a{b=\"c\"} 1\nx 1\na{b=\"c\"} 2\n", {
            "line 3, column 1: the value of series a{b=\"c\"} is given twice"
        }),
        (
            "in another order",
            "a{b=\"c\",d=\"e\"} 1\na{d=\"e\",b=\"c\"} 1\n",
            "line 2, column 1: the",
        ),
        ("empty label values are none", "a{b=\"\"} 1\na 1\n", "line 2, column 1: the value of"),
    ]);
}

#[test]
fn invalid_utf8_is_refused_wherever_it_stands() {
    for (body, place) in [
        (&b"a{b=\"\xff\"} 1\n"[..], "line 1, column 6: byte 0xff is not valid UTF-8"),
        (b"x 1\na\xc3 1\n", "line 2, column 2: byte 0xc3 is not valid UTF-8"),
        (b"# HELP a \xed\xa0\x80\na 1\n", "line 1, column 10: byte 0xed is not valid UTF-8"),
        (b"# x\n# \xfe\n", "line 2, column 3: byte 0xfe is not valid UTF-8"),
        (b"{\"a\xff\"} 1\n", "line 1, column 4: byte 0xff is not valid UTF-8"),
        (b"a 1\n\xe2\x80", "line 2, column 1: byte 0xe2 is not valid UTF-8"),
    ] {
        for result in [strict(body), lenient(body)] {
            let error = result.unwrap_err().to_string();
            assert!(error.starts_with(place), "{error}");
        }
    }
}

#[test]
fn strict_line_ends() {
    let no_lf = "the last line does not end with a line feed";
    testing::refused(
        &[
            ("no final LF: sample", "a 1", &format!("line 1, column 4: {no_lf}")),
            ("no final LF: comment", "a 1\n# x", &format!("line 2, column 4: {no_lf}")),
            ("no final LF: HELP", "# HELP a x", &format!("line 1, column 11: {no_lf}")),
            ("no final LF: TYPE", "# TYPE a counter", &format!("line 1, column 17: {no_lf}")),
            ("no final LF: lone #", "#", &format!("line 1, column 2: {no_lf}")),
            ("CRLF: sample", "a 1\r\n", "line 1, column 3: found \"1\\r\", expected a number"),
            ("CRLF: timestamp", "a 1 \r\n", "line 1, column 5: found \"\\r\", expected the end"),
            ("CRLF: TYPE", "# TYPE a counter\r\n", "line 1, column 10: found \"counter\\r\", exp"),
            ("CRLF: blank line", "a 1\n\r\n", "line 2, column 1: found \"\\r\", expected a metric"),
        ],
        strict,
    );
    testing::accepted(
        &[
            ("CRLF: comment", "# x\r\na 1\n", "a untyped? {} 1"),
            ("CRLF: HELP", "# HELP a x\r\na 1\n", "a untyped? help=\"x\\r\" {} 1"),
        ],
        strict,
    );
}

#[test]
fn lenient_line_ends() {
    testing::accepted(
        &[
            ("no final LF: sample", "a 1", "a untyped? {} 1"),
            ("no final LF: comment", "a 1\n# x", "a untyped? {} 1"),
            ("no final LF: HELP", "a 1\n# HELP a x", "a untyped? help=\"x\" {} 1"),
            ("no final LF: lone #", "a 1\n#", "a untyped? {} 1"),
            ("no final LF but CR", "a 1\r", "a untyped? {} 1"),
            ("CRLF: sample", "a 1\r\nb 2 \r\n", "a untyped? {} 1\nb untyped? {} 2"),
            ("CRLF: TYPE", "# TYPE a counter\r\na 1\r\n", "a counter {} 1"),
            ("CRLF: HELP", "# HELP a x\r\na 1\r\n", "a untyped? help=\"x\" {} 1"),
            ("CRLF: blank line", "\r\na 1\r\n\r\n", "a untyped? {} 1"),
            (
                "CRLF: bucket lines",
                "# TYPE h histogram\r\nh_bucket{le=\"1\"} 1\r\nh_bucket{le=\"+Inf\"} 2\r\n",
                { "h histogram {} 1:1 inf:2" },
            ),
        ],
        lenient,
    );
    testing::refused(
        &[
            ("HELP may not end in a backslash", "# HELP a x\\\r\na 1\n", "line 1, column 11: unkn"),
            ("trailing blank behind a type", "# TYPE a counter \r\n", "line 1, column 10: found"),
        ],
        lenient,
    );
}

/// Names from other systems, as newcomers write them.
#[test]
fn names_that_need_quotes() {
    for (body, hint) in [
        ("jobs.done 1\n", true),
        ("jobs-done 1\n", true),
        ("jobs/done{a=\"b\"} 1\n", true),
        ("jobs x\n", false),
        ("jobs{a=\"b\"}x\n", false),
    ] {
        let error = strict(body.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("expected a number"), "{error}");
        assert_eq!(error.contains("{\"name\"}"), hint, "{error}");
    }
}

/// `curl -d @file` removes all line feeds, so that the body may become one long comment.
#[test]
fn lost_line_feeds() {
    for (body, place) in [
        ("# HELP a Text.# TYPE a countera 1", "line 1, column 1: the whole body is one comment"),
        ("#", "line 1, column 1: the whole body is one comment"),
        ("# TYPE a countera 1", "line 1, column 1: the whole body is one comment"),
        ("a 1b 2", "line 1, column 3: found \"1b\""),
    ] {
        let error = lenient(body.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(place) && error.contains("--data-binary"), "{error}");
        assert!(strict(body.as_bytes()).unwrap_err().to_string().contains("--data-binary"));
    }
    assert_eq!(lenient(b"# x\n"), Ok(String::new()));
    assert!(!lenient(b"a b\n").unwrap_err().to_string().contains("--data-binary"));
}

#[test]
fn timestamps() {
    refused(&[
        ("timestamp (G0)", "a 1 1395066363000\n", {
            "line 1, column 5: samples with a timestamp are refused"
        }),
        ("negative timestamp", "a 1 -1\n", "line 1, column 5: samples with a timestamp"),
        ("zero is a timestamp", "a{b=\"c\"}1\t0 \n", "line 1, column 11: samples with a timestamp"),
        ("on a bucket", "# TYPE h histogram\nh_bucket{le=\"1\"} 1 2\n", "line 2, column 20: sampl"),
        ("value glued to the name", "a.5 7\n", "line 1, column 5: samples with a timestamp"),
    ]);
    let ignore = TextOptions { timestamps: Timestamps::Ignore, ..STRICT };
    let ignoring = |body: &[u8]| testing::read(body, |body, builder| parse(body, builder, ignore));
    testing::accepted(
        &[
            ("ignored", "a 1 1395066363000\nb 2 -5 \n", "a untyped? {} 1\nb untyped? {} 2"),
            ("value glued to the name", "a.5 7\n", "a untyped? {} 0.5"),
            ("int64 range", "a 1 9223372036854775807\n", "a untyped? {} 1"),
            ("on a bucket", "# TYPE h histogram\nh_bucket{le=\"1\"} 1 2\n", "h histogram {} 1:1"),
        ],
        ignoring,
    );
    let malformed = "expected the end of the line (or a timestamp in milliseconds)";
    for timestamp in ["1.5", "1e3", "9223372036854775808", "x", "1_0", "0x1", "NaN"] {
        let body = format!("a 1 {timestamp}\n");
        for error in [strict(body.as_bytes()), ignoring(body.as_bytes())].map(Result::unwrap_err) {
            let expected = format!("line 1, column 5: found {timestamp:?}, {malformed}");
            assert_eq!(error.to_string(), expected);
        }
    }
    testing::refused(
        &[("text behind the timestamp", "a 1 2 3\n", "line 1, column 7: found \"3\", expected t")],
        ignoring,
    );
}
