//! Metadata, suffixes, histograms and summaries (the other tables of formats 3).

use super::*;

#[test]
fn accepted_metadata() {
    accepted(&[
        ("HELP and TYPE", "# HELP a x y\n# TYPE a gauge\na 1\n", "a gauge help=\"x y\" {} 1"),
        ("TYPE before HELP", "# TYPE a gauge\n# HELP a x\na 1\n", "a gauge help=\"x\" {} 1"),
        ("no HELP", "# TYPE a gauge\na 1\n", "a gauge {} 1"),
        ("no TYPE", "# HELP a x\na 1\n", "a untyped? help=\"x\" {} 1"),
        ("no blank after #", "#HELP a x\n#TYPE a gauge\na 1\n", "a gauge help=\"x\" {} 1"),
        ("blanks before #", " \t# TYPE a gauge\na 1\n", "a gauge {} 1"),
        ("HELP without text", "# HELP a\n# HELP a \t\n# HELP\n# HELP \n# HELP a x\na 1\n", {
            "a untyped? help=\"x\" {} 1"
        }),
        ("TYPE without type (G5)", "# TYPE a\n# TYPE\n# TYPE a  \n# TYPE a gauge\na 1\n", {
            "a gauge {} 1"
        }),
        ("TYPE without type after samples", "a 1\n# TYPE a\n", "a untyped? {} 1"),
        ("type word in any letter case (G5)", "# TYPE a Counter\na 1\n# TYPE b GAUGE\nb 1\n", {
            "a counter {} 1\nb gauge {} 1"
        }),
        ("several blanks", "#\t HELP \t a\t  x  y \n#  TYPE\ta \t gauge\na 1\n", {
            "a gauge help=\"x  y \" {} 1"
        }),
        ("untyped", "# TYPE a untyped\na 1\n", "a untyped {} 1"),
        (
            "gauge histogram, both words",
            {
                "# TYPE a gaugehistogram\na_bucket{le=\"+Inf\"} 1\n\
             # TYPE b GAUGE_HISTOGRAM\nb_bucket{le=\"+Inf\"} 1\nb_sum -1\nb_count 1\n"
            },
            { "a gaugehistogram {} inf:1\nb gaugehistogram {} inf:1 count=1 sum=-1" },
        ),
        ("keywords are case sensitive", "# help a x\n# Type a bogus\na 1\n", "a untyped? {} 1"),
        ("other keywords are comments", "# UNIT a s\n# HELPa x\n# TYPES\na 1\n", {
            "a untyped? {} 1"
        }),
        ("HELP after samples", "a 1\n# HELP a x\n", "a untyped? help=\"x\" {} 1"),
        (
            "HELP escapes",
            "# HELP a \\\\ \\n \\\" \"\na 1\n",
            "a untyped? help=\"\\\\ \\n \\\" \\\"\" {} 1",
        ),
        ("HELP keeps what follows", "# HELP a x # TYPE {}\n# HELP b b\na 1\n", {
            "a untyped? help=\"x # TYPE {}\" {} 1"
        }),
        ("TYPE without samples vanishes", "# HELP a x\n# TYPE b counter\nc 1\n", {
            "c untyped? {} 1"
        }),
    ]);
}

#[test]
fn refused_metadata() {
    refused(&[
        ("#TYPE is read", "#TYPE a bogus\n", {
            "line 1, column 9: found \"bogus\", expected counter, gauge"
        }),
        ("blank behind the type", "# TYPE a counter \n", {
            "line 1, column 10: found \"counter \", expected counter"
        }),
        ("info", "# TYPE a info\n", "line 1, column 10: found \"info\""),
        ("stateset", "# TYPE a stateset\n", "line 1, column 10: found \"stateset\""),
        ("unknown", "# TYPE a unknown\n", "line 1, column 10: found \"unknown\""),
        ("second TYPE", "# TYPE a counter\n# TYPE a gauge\n", {
            "line 2, column 8: second TYPE of metric \"a\""
        }),
        ("second TYPE, equal", "# TYPE a counter\n# TYPE a counter\n", "line 2, column 8: second"),
        ("second TYPE, untyped", "# TYPE a untyped\n# TYPE a counter\n", "line 2, column 8: seco"),
        ("TYPE after the first sample", "a 1\n# TYPE a counter\n", {
            "line 2, column 8: TYPE of metric \"a\" comes after its samples"
        }),
        (
            "second HELP",
            "# HELP a x\n# HELP a y\n",
            "line 2, column 8: second HELP of metric \"a\"",
        ),
        ("second HELP, equal", "# HELP a x\na 1\n# HELP a x\n", "line 3, column 8: second HELP"),
        ("HELP: other escape", "# HELP a x\\t\n", "line 1, column 11: unknown escape"),
        ("HELP: lone backslash", "# HELP a x\\\\\\\n", "line 1, column 13: unknown escape"),
        ("bad name in HELP", "# HELP 1a x\n", "line 1, column 8: the metric name after HELP"),
        ("bad name in TYPE", "# TYPE a-b counter\n", "line 1, column 8: the metric name after T"),
        ("bad name in TYPE, then nothing", "# TYPE 1\n", "line 1, column 8: the metric name after"),
        ("labels in TYPE", "# TYPE a{} counter\n", "line 1, column 8: the metric name after TYPE"),
    ]);
}

#[test]
fn suffixes_belong_to_summaries_and_histograms_known_so_far() {
    accepted(&[
        ("_sum and _count of a summary", "# TYPE x summary\nx_sum 1\nx_count 2\n", {
            "x summary {} count=2 sum=1"
        }),
        ("_bucket under a summary", "# TYPE x summary\nx_bucket{le=\"1.0\"} 1\nx_count 2\n", {
            "x summary {} count=2\nx_bucket untyped? {le=\"1.0\"} 1"
        }),
        ("sample before TYPE", "x_count 1\n# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\n", {
            "x_count untyped? {} 1\nx histogram {} inf:1"
        }),
        (
            "the exact name goes first",
            { "# HELP x_sum h\n# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 5\nx_count 1\n" },
            { "x_sum untyped? help=\"h\" {} 5\nx histogram {} inf:1 count=1" },
        ),
        ("HELP of a suffixed name", "# TYPE x histogram\n# HELP x_bucket h\nx_sum 1\n", {
            "x histogram help=\"h\" {} sum=1"
        }),
        ("no TYPE, so le is a label", "x_bucket{le=\"1.0\"} 1\nx_bucket{le=\"01\"} 1\n", {
            "x_bucket untyped? {le=\"1.0\"} 1 {le=\"01\"} 1"
        }),
        ("one suffix only", "# TYPE x histogram\nx_sum_count 1\n", "x_sum_count untyped? {} 1"),
        ("_sum of a counter", "# TYPE x counter\nx_sum 1\nx 2\n", {
            "x counter {} 2\nx_sum untyped? {} 1"
        }),
        ("_gcount in text", "# TYPE x gaugehistogram\nx_gcount 1\nx_sum 1\n", {
            "x gaugehistogram {} sum=1\nx_gcount untyped? {} 1"
        }),
        (
            "back to an earlier family",
            {
                "# TYPE x histogram\n# TYPE y summary\nx_sum 1\ny_sum 2\nx_count 1\ny{quantile=\"0\"} 1\n"
            },
            { "x histogram {} count=1 sum=1\ny summary {} q0:1 sum=2" },
        ),
    ]);
    refused(&[("TYPE of a suffixed name", "# TYPE x histogram\n# TYPE x_sum gauge\n", {
        "line 2, column 8: \"x_sum\" belongs to the histogram \"x\""
    })]);
}

const H: &str = "# TYPE h histogram\n";
const S: &str = "# TYPE s summary\n";

#[track_caller]
fn members_accepted(rows: &[(&str, &str, &str)]) {
    for (rule, body, expected) in rows {
        let head = if body.starts_with('h') { H } else { S };
        accepted(&[(rule, &format!("{head}{body}"), expected)]);
    }
}

#[track_caller]
fn members_refused(rows: &[(&str, &str, &str)]) {
    for (rule, body, expected) in rows {
        let head = if body.starts_with('h') { H } else { S };
        refused(&[(rule, &format!("{head}{body}"), expected)]);
    }
}

#[test]
fn accepted_histograms() {
    members_accepted(&[
        (
            "whole",
            {
                "h_bucket{a=\"b\",le=\"0.5\"} 1\nh_bucket{a=\"b\",le=\"+Inf\"} 3\n\
             h_sum{a=\"b\"} 2.5\nh_count{a=\"b\"} 3\n"
            },
            "h histogram {a=\"b\"} 0.5:1 inf:3 count=3 sum=2.5",
        ),
        (
            "le in any place",
            {
                "h_bucket{le=\"1\",a=\"b\",c=\"d\"} 1\nh_bucket{a=\"b\",le=\"2\",c=\"d\"} 2\n\
             h_bucket{a=\"b\",c=\"d\",le=\"3\"} 3\nh_bucket{c=\"d\",a=\"b\",le=\"4\"} 4\n\
             h_sum{c=\"d\",a=\"b\"} 5\nh_count{ a=\"b\" , c=\"d\" , } 4\n"
            },
            "h histogram {a=\"b\",c=\"d\"} 1:1 2:2 3:3 4:4 count=4 sum=5",
        ),
        (
            "le first, line after line",
            {
                "h_bucket{le=\"1\",a=\"b\"} 1\nh_bucket{le=\"2\",a=\"b\"} 2\nh_bucket{le=\"+Inf\",a=\"b\"} 3\n\
             h_sum{a=\"b\"} 5\n"
            },
            "h histogram {a=\"b\"} 1:1 2:2 inf:3 sum=5",
        ),
        (
            "le is a number, however spelled",
            {
                "h_bucket{le=\"01\"} 1\nh_bucket{le=\"2e0\"} 2\nh_bucket{le=\"3.00\"} 3\n\
             h_bucket{le=\"1.00000000000000004e1\"} 4\nh_bucket{le=\"inf\"} 5\n"
            },
            "h histogram {} 1:1 2:2 3:3 10:4 inf:5",
        ),
        ("minus zero is zero", "h_bucket{le=\"-0\"} 1\n", "h histogram {} 0:1"),
        ("no +Inf bucket", "h_bucket{le=\"1\"} 1\nh_count 2\n", "h histogram {} 1:1 count=2"),
        ("no buckets at all", "h_sum 1\nh_count 2\n", "h histogram {} count=2 sum=1"),
        ("no count (G7)", "h_bucket{le=\"+Inf\"} 1\n", "h histogram {} inf:1"),
        ("unsorted buckets", "h_bucket{le=\"+Inf\"} 2\nh_count 2\nh_bucket{le=\"1\"} 1\n", {
            "h histogram {} 1:1 inf:2 count=2"
        }),
        ("counts beyond 2^64", "h_bucket{le=\"+Inf\"} 1e30\nh_count 18446744073709551616\n", {
            "h histogram {} inf:1000000000000000000000000000000 count=18446744073709552000"
        }),
        (
            "non-cumulative buckets, count beside +Inf (G8)",
            { "h_bucket{le=\"1\"} 5\nh_bucket{le=\"2\"} 3\nh_bucket{le=\"+Inf\"} 4\nh_count 9\n" },
            "h histogram {} 1:5 2:3 inf:4 count=9",
        ),
        ("float buckets and count", "h_bucket{le=\"+Inf\"} 0.5\nh_count 0.5\n", {
            "h histogram {} inf:0.5 count=0.5"
        }),
        ("negative bounds", "h_bucket{le=\"-1.5\"} 1\nh_bucket{le=\"-Inf\"} 0\n", {
            "h histogram {} -inf:0 -1.5:1"
        }),
        ("any sum (G8)", "h_sum NaN\nh_sum{a=\"b\"} -Inf\n", {
            "h histogram {} sum=NaN {a=\"b\"} sum=-inf"
        }),
        (
            "interleaved series",
            {
                "h_bucket{a=\"1\",le=\"1\"} 1\nh_bucket{a=\"2\",le=\"1\"} 2\nh_bucket{a=\"1\",le=\"2\"} 3\n\
             h_bucket{a=\"2\",le=\"2\"} 4\nh_count{a=\"1\"} 3\nh_count{a=\"2\"} 4\n"
            },
            "h histogram {a=\"1\"} 1:1 2:3 count=3 {a=\"2\"} 1:2 2:4 count=4",
        ),
        (
            "a longer prefix of the same labels",
            {
                "h_bucket{a=\"1\",le=\"1\"} 1\nh_bucket{a=\"1\",le=\"2\",b=\"2\"} 2\nh_bucket{a=\"1\",le=\"3\"} 3\n"
            },
            "h histogram {a=\"1\"} 1:1 3:3 {a=\"1\",b=\"2\"} 2:2",
        ),
        (
            "blanks differ from line to line",
            {
                "h_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"}2\nh_bucket{le=\"3\"}\t 3 \nh_bucket{ le=\"4\"} 4\n\
             h_bucket {le=\"5\" } 5\n h_bucket{le=\"6\",} 6\n"
            },
            "h histogram {} 1:1 2:2 3:3 4:4 5:5 6:6",
        ),
        ("quantile is a label here", "h_bucket{quantile=\"x\",le=\"1\"} 1\n", {
            "h histogram {quantile=\"x\"} 1:1"
        }),
    ]);
}

#[test]
fn counts_of_histograms_are_read_exactly() {
    use crate::model::exposition::PushedValue;
    use crate::model::{Exposition, Grouping, Number};

    let (mut exposition, grouping) = (Exposition::default(), Grouping::default());
    let body = format!("{H}h_bucket{{le=\"+Inf\"}} 9007199254740993\nh_count 9007199254740993\n");
    parse(body.as_bytes(), exposition.build(&grouping), STRICT).unwrap();
    let series = exposition.series().next().unwrap();
    let PushedValue::Histogram { count, buckets, .. } = series.value else { panic!() };
    let exact = Number::Int(9007199254740993);
    assert_eq!(count, Some(exact));
    assert_eq!(buckets.iter().next().unwrap().cumulative_count, exact);
}

#[test]
fn refused_histograms() {
    members_refused(&[
        (
            "negative bucket",
            "h_bucket{le=\"1\"} -1\n",
            "line 2, column 18: found \"-1\", expected a c",
        ),
        (
            "NaN bucket",
            "h_bucket{le=\"1\"} NaN\n",
            "line 2, column 18: found \"NaN\", expected a cou",
        ),
        ("negative count", "h_count -1\n", "line 2, column 9: found \"-1\", expected a count that"),
        ("NaN count", "h_count NaN\n", "line 2, column 9: found \"NaN\", expected a count that is"),
        (
            "bucket without le (G9)",
            "h_bucket 1\n",
            "line 2, column 1: the sample needs a label \"le\"",
        ),
        (
            "le=NaN (G9)",
            "h_bucket{le=\"NaN\"} 1\n",
            "line 2, column 14: found \"NaN\", expected a num",
        ),
        (
            "hexadecimal le",
            "h_bucket{le=\"0x1\"} 1\n",
            "line 2, column 14: found \"0x1\", expected a",
        ),
        (
            "blank in le",
            "h_bucket{le=\" 1\"} 1\n",
            "line 2, column 14: found \" 1\", expected a numb",
        ),
        (
            "empty le",
            "h_bucket{le=\"\"} 1\n",
            "line 2, column 14: found \"\", expected a number as",
        ),
        (
            "le with an escape",
            "h_bucket{le=\"1\\n\"} 1\n",
            "line 2, column 14: found \"1\\\\n\", expec",
        ),
        ("second line with a bad le", "h_bucket{le=\"1\"} 1\nh_bucket{le=\"x\"} 2\n", {
            "line 3, column 14: found \"x\", expected a number as bucket bound"
        }),
        ("second line with an escape", "h_bucket{le=\"1\"} 1\nh_bucket{le=\"\\\"2\"} 2\n", {
            "line 3, column 14: found \"\\\\\\\"2\", expected a number as bucket bound"
        }),
        ("bare name (G9)", "h 1\n", "line 2, column 1: \"h\" is a histogram: its samples end in"),
        ("le twice in one line (G9)", "h_bucket{le=\"1\",le=\"2\"} 1\n", {
            "line 2, column 1: label \"le\" is given twice"
        }),
        (
            "le on a sum",
            "h_sum{le=\"1\"} 1\n",
            "line 2, column 1: label \"le\" has no place on a sum",
        ),
        (
            "le on a count",
            "h_count{le=\"1\"} 1\n",
            "line 2, column 1: label \"le\" has no place on",
        ),
        ("same bucket twice (G4)", "h_bucket{le=\"1\"} 1\nh_bucket{le=\"1\"} 1\n", {
            "body: the bucket le=\"1\" of series h{} is given twice"
        }),
        (
            "same bucket twice, as numbers (G4)",
            {
                "h_bucket{a=\"b\",le=\"1\"} 1\nh_bucket{a=\"b\",le=\"2\"} 1\nh_bucket{a=\"b\",le=\"1.0\"} 1\n"
            },
            "body: the bucket le=\"1\" of series h{a=\"b\"} is given twice",
        ),
        (
            "same bucket twice, signs of zero",
            "h_bucket{le=\"0\"} 1\nh_bucket{le=\"-0\"} 1\n",
            "body: t",
        ),
        ("count twice (G4)", "h_count 1\nh_count 1\n", {
            "line 3, column 1: the count of series h{} is given twice"
        }),
        (
            "sum twice (G4)",
            "h_sum 1\nh_sum 1\n",
            "line 3, column 1: the sum of series h{} is given",
        ),
        (
            "duplicate label",
            "h_bucket{a=\"1\",a=\"2\",le=\"1\"} 1\n",
            "line 2, column 1: label \"a\" is",
        ),
        ("no value on a repeated line", "h_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"}\n", {
            "line 3, column 17: found the end of the line, expected the value"
        }),
    ]);
}

#[test]
fn accepted_summaries() {
    members_accepted(&[
        (
            "whole",
            {
                "s{a=\"b\",quantile=\"0.5\"} 1\ns{a=\"b\",quantile=\"0.99\"} 2.5\ns_sum{a=\"b\"} 9\ns_count{a=\"b\"} 4\n"
            },
            "s summary {a=\"b\"} q0.5:1 q0.99:2.5 count=4 sum=9",
        ),
        ("quantile outside 0..1, any value", "s{quantile=\"7\"} -1\ns{quantile=\"-1\"} NaN\n", {
            "s summary {} q-1:NaN q7:-1"
        }),
        ("integral count", "s_count 17.0\n", "s summary {} count=17"),
        ("le is a label here", "s{le=\"x\",quantile=\"1\"} 1\n", "s summary {le=\"x\"} q1:1"),
        ("any sum (G8)", "s_sum -5\n", "s summary {} sum=-5"),
    ]);
}

#[test]
fn refused_summaries() {
    members_refused(&[
        ("no quantile (G9)", "s 1\n", "line 2, column 1: the sample needs a label \"quantile\""),
        (
            "quantile=NaN (G9)",
            "s{quantile=\"NaN\"} 1\n",
            "line 2, column 13: found \"NaN\", expected a",
        ),
        (
            "quantile is no number",
            "s{quantile=\"x\"} 1\n",
            "line 2, column 13: found \"x\", expected",
        ),
        ("quantile twice in one line", "s{quantile=\"0\",quantile=\"1\"} 1\n", {
            "line 2, column 1: label \"quantile\" is given twice"
        }),
        (
            "quantile on a count",
            "s_count{quantile=\"1\"} 1\n",
            "line 2, column 1: label \"quantile\"",
        ),
        ("same quantile twice (G4)", "s{quantile=\"0.5\"} 1\ns{quantile=\".50\"} 1\n", {
            "body: the quantile \"0.5\" of series s{} is given twice"
        }),
        (
            "negative count (G10)",
            "s_count -1\n",
            "line 2, column 9: found \"-1\", expected a whole",
        ),
        (
            "fractional count (G10)",
            "s_count 0.5\n",
            "line 2, column 9: found \"0.5\", expected a who",
        ),
        (
            "NaN count (G10)",
            "s_count NaN\n",
            "line 2, column 9: found \"NaN\", expected a whole numb",
        ),
        (
            "count beyond 2^64 (G10)",
            "s_count 1e30\n",
            "line 2, column 9: found \"1e30\", expected a",
        ),
    ]);
}
