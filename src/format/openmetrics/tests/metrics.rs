//! Which lines a metric of each kind may have.

use super::*;

#[test]
fn accepted_kinds() {
    accepted(&[
        (
            "counter",
            {
                "# TYPE a counter\na_total{b=\"c\"} 1.5\na_created{b=\"c\"} 1520430000.123\na_total 0\n"
            },
            "a_total counter {b=\"c\"} 1.5 created=1520430000123 {} 0",
        ),
        ("_created first", "# TYPE a counter\na_created 1\na_total 0\n", {
            "a_total counter {} 0 created=1000"
        }),
        ("gauge", "# TYPE a gauge\na -1\na{b=\"c\"} NaN\n", "a gauge {} -1 {b=\"c\"} NaN"),
        ("unknown", "# TYPE a unknown\na 1\n", "a untyped {} 1"),
        ("counter named _total in TYPE", "# TYPE a_total counter\na_total_total 1\n", {
            "a_total_total counter {} 1"
        }),
        ("info", "# TYPE a info\na_info{version=\"1\"} 1\na_info{version=\"2\"} 1.0\n", {
            "a_info info {version=\"1\"} 1 {version=\"2\"} 1"
        }),
        (
            "stateset",
            {
                "# TYPE a stateset\na{a=\"x\",b=\"c\"} 1\na{a=\"y\\\"\",b=\"c\"} 0\na{b=\"d\",a=\"x\"} 1.0\n"
            },
            "a stateset {b=\"c\"} x:1 y\":0 {b=\"d\"} x:1",
        ),
        (
            "summary",
            {
                "# TYPE a summary\na{quantile=\"0\"} 1\na{quantile=\"1.0\"} NaN\na_sum 3\na_count 17.0\n\
             a_created 5\na{quantile=\"0.5\",b=\"c\"} 1\n"
            },
            "a summary {} q0:1 q1:NaN count=17 sum=3 created=5000 {b=\"c\"} q0.5:1",
        ),
        (
            "histogram",
            {
                "# TYPE a histogram\na_bucket{b=\"c\",le=\"0.5\"} 1\na_bucket{b=\"c\",le=\"+Inf\"} 2\n\
             a_count{b=\"c\"} 2\na_sum{b=\"c\"} 1.5\na_created{b=\"c\"} 1.5\n\
             a_bucket{le=\"+Inf\",b=\"d\"} 0\n"
            },
            "a histogram {b=\"c\"} 0.5:1 inf:2 count=2 sum=1.5 created=1500 {b=\"d\"} inf:0",
        ),
        (
            "histogram: count and sum first",
            { "# TYPE a histogram\na_count 1\na_sum 1\na_bucket{le=\"+Inf\"} 1\n" },
            "a histogram {} inf:1 count=1 sum=1",
        ),
        (
            "histogram: spellings of le",
            {
                "# TYPE a histogram\na_bucket{le=\"0\"} 0\na_bucket{le=\"1e-04\"} 1\n\
             a_bucket{le=\"10000000000\"} 1\na_bucket{le=\"+Inf\"} 1\n"
            },
            "a histogram {} 0:0 0.0001:1 10000000000:1 inf:1",
        ),
        (
            "histogram: negative bounds without sum",
            { "# TYPE a histogram\na_bucket{le=\"-1\"} 1\na_bucket{le=\"+Inf\"} 1\n" },
            "a histogram {} -1:1 inf:1",
        ),
        (
            "gauge histogram",
            {
                "# TYPE a gaugehistogram\na_bucket{le=\"-1\"} 1\na_bucket{le=\"+Inf\"} 3\na_gcount 3\na_gsum -2\n"
            },
            "a gaugehistogram {} -1:1 inf:3 count=3 sum=-2",
        ),
        (
            "many bounds, every value integral",
            {
                "# TYPE a histogram\na_bucket{le=\"1\"} 1.0\na_bucket{le=\"2\"} 1e1\na_bucket{le=\"+Inf\"} 1e30\n"
            },
            "a histogram {} 1:1 2:10 inf:1000000000000000000000000000000",
        ),
    ]);
}

#[test]
fn refused_values() {
    let t = |kind: &str, line: &str| format!("# TYPE a {kind}\n{line}\n");
    refused(&[
        ("counter without _total", &t("counter", "a 1"), {
            "line 2, column 1: the samples of counter \"a\" end"
        }),
        (
            "NaN counter",
            &t("counter", "a_total NaN"),
            "line 2, column 9: found \"NaN\", expected a n",
        ),
        (
            "negative counter",
            &t("counter", "a_total -1"),
            "line 2, column 9: found \"-1\", expected",
        ),
        ("counter with nothing but _created", &t("counter", "a_created 1"), {
            "line 2, column 1: a counter needs its \"_total\" sample"
        }),
        ("_created is no time", &t("counter", "a_created NaN"), "line 2, column 11: found \"NaN\""),
        ("_created twice", &t("counter", "a_total 1\na_created 1\na_created 1"), {
            "line 4, column 1: the start time of this metric is given twice"
        }),
        ("_total twice", &t("counter", "a_total 1\na_total 1"), {
            "line 3, column 1: the value of series a_total{} is given twice"
        }),
        (
            "info without _info",
            &t("info", "a 1"),
            "line 2, column 1: the samples of info \"a\" end",
        ),
        (
            "info of another value",
            &t("info", "a_info 2"),
            "line 2, column 8: found \"2\", expected 1",
        ),
        ("info twice", &t("info", "a_info 1\na_info 1"), "line 3, column 1: the value of series"),
        ("stateset without its label", &t("stateset", "a{b=\"c\"} 1"), {
            "line 2, column 1: the sample needs a label \"a\""
        }),
        ("stateset, empty state", &t("stateset", "a{a=\"\"} 1"), "line 2, column 6: the name of a"),
        ("stateset of another value", &t("stateset", "a{a=\"x\"} 0.5"), {
            "line 2, column 10: found \"0.5\", expected 0 or 1"
        }),
        ("state twice", &t("stateset", "a{a=\"x\"} 1\na{a=\"x\"} 0"), {
            "body: the state \"x\" of series a{} is given twice"
        }),
        (
            "no quantile",
            &t("summary", "a 1"),
            "line 2, column 1: the sample needs a label \"quantil",
        ),
        ("quantile above 1", &t("summary", "a{quantile=\"1.1\"} 1"), "line 2, column 13: found"),
        ("quantile below 0", &t("summary", "a{quantile=\"-0.1\"} 1"), "line 2, column 13: found"),
        (
            "quantile NaN",
            &t("summary", "a{quantile=\"NaN\"} 1"),
            "line 2, column 13: found \"NaN\"",
        ),
        (
            "negative quantile value",
            &t("summary", "a{quantile=\"1\"} -1"),
            "line 2, column 17: foun",
        ),
        ("quantile twice", &t("summary", "a{quantile=\"1\"} 1\na{quantile=\"1.0\"} 1"), {
            "body: the quantile \"1\" of series a{} is given twice"
        }),
        (
            "quantile on a sum",
            &t("summary", "a_sum{quantile=\"1\"} 1"),
            "line 2, column 1: labels \"le",
        ),
        (
            "negative summary sum",
            &t("summary", "a_sum -1"),
            "line 2, column 7: found \"-1\", expect",
        ),
        (
            "NaN summary sum",
            &t("summary", "a_sum NaN"),
            "line 2, column 7: found \"NaN\", expected",
        ),
        (
            "fractional summary count",
            &t("summary", "a_count 0.5"),
            "line 2, column 9: found \"0.5\"",
        ),
        ("negative summary count", &t("summary", "a_count -1"), "line 2, column 9: found \"-1\""),
        ("NaN summary count", &t("summary", "a_count NaN"), "line 2, column 9: found \"NaN\""),
    ]);
}

#[test]
fn refused_histograms() {
    let h = |lines: &str| format!("# TYPE a histogram\n{lines}\n");
    let g = |lines: &str| format!("# TYPE a gaugehistogram\n{lines}\n");
    let inf = |lines: &str| format!("{}\na_bucket{{le=\"+Inf\"}} 5\n", lines.trim_end());
    refused(&[
        (
            "no +Inf bucket",
            &h("a_bucket{le=\"1\"} 1"),
            "line 2, column 14: a histogram needs a bucke",
        ),
        (
            "no bucket at all",
            &h("a_sum 1\na_count 1"),
            "line 3, column 1: a histogram needs a bucket",
        ),
        ("+Inf in another spelling", &h("a_bucket{le=\"Inf\"} 1"), {
            "line 2, column 14: found \"Inf\", expected a number as bucket bound (infinity is spelled"
        }),
        ("le NaN", &h("a_bucket{le=\"NaN\"} 1"), "line 2, column 14: found \"NaN\""),
        ("le no number", &h("a_bucket{le=\"x\"} 1"), "line 2, column 14: found \"x\""),
        ("no le", &h("a_bucket 1"), "line 2, column 1: the sample needs a label \"le\""),
        (
            "le twice",
            &h("a_bucket{le=\"1\",le=\"2\"} 1"),
            "line 2, column 1: label \"le\" is given twi",
        ),
        (
            "le on a count",
            &h("a_count{le=\"1\"} 1"),
            "line 2, column 1: labels \"le\" and \"quantile\"",
        ),
        ("bounds fall", &inf(&h("a_bucket{le=\"2\"} 1\na_bucket{le=\"1\"} 1")), {
            "line 3, column 14: the bounds of buckets must rise from line to line"
        }),
        ("same bound twice", &inf(&h("a_bucket{le=\"1\"} 1\na_bucket{le=\"1.0\"} 1")), {
            "line 3, column 14: the bounds of buckets must rise"
        }),
        (
            "same bound twice, signs of zero",
            &h("a_bucket{le=\"0\"} 1\na_bucket{le=\"-0\"} 1"),
            "line 3",
        ),
        (
            "a bound behind +Inf",
            &h("a_bucket{le=\"+Inf\"} 1\na_bucket{le=\"1\"} 1"),
            "line 3, column 1",
        ),
        ("not cumulative", &inf(&h("a_bucket{le=\"1\"} 7")), {
            "line 3, column 14: the counts of buckets must not fall"
        }),
        (
            "fractional bucket",
            &h("a_bucket{le=\"1\"} 0.5"),
            "line 2, column 18: found \"0.5\", expecte",
        ),
        (
            "negative bucket",
            &h("a_bucket{le=\"1\"} -1"),
            "line 2, column 18: found \"-1\", expected a",
        ),
        (
            "NaN bucket",
            &h("a_bucket{le=\"1\"} NaN"),
            "line 2, column 18: found \"NaN\", expected a wh",
        ),
        (
            "infinite bucket",
            &h("a_bucket{le=\"1\"} +Inf"),
            "line 2, column 18: found \"+Inf\", expect",
        ),
        (
            "count without sum",
            &inf(&h("a_count 5")),
            "line 3, column 14: a histogram needs both coun",
        ),
        (
            "sum without count",
            &inf(&h("a_sum 5")),
            "line 3, column 14: a histogram needs both count",
        ),
        ("count is not +Inf", &inf(&h("a_count 4\na_sum 1")), {
            "line 4, column 14: the count of a histogram must equal its bucket le=\"+Inf\""
        }),
        (
            "negative sum",
            &h("a_sum -1"),
            "line 2, column 7: found \"-1\", expected a number that is",
        ),
        (
            "NaN sum",
            &h("a_sum NaN"),
            "line 2, column 7: found \"NaN\", expected a number that is not",
        ),
        ("sum with negative bounds", &inf(&h("a_count 5\na_sum 1\na_bucket{le=\"-1\"} 1")), {
            "line 5, column 14: a histogram with negative bounds must not have a sum"
        }),
        ("bare name", &h("a 1"), "line 2, column 1: the samples of histogram \"a\" end"),
        (
            "the check comes at the next family",
            &h("a_bucket{le=\"1\"} 1\nb 1"),
            "line 2, column 14: a",
        ),
        (
            "the check comes at the next metric",
            &h("a_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\",x=\"y\"} 1"),
            "line 2, column 14: a histogram needs a bucket",
        ),
        (
            "gauge histogram: bare name",
            &g("a 1"),
            "line 2, column 1: the samples of gaugehistogram \"a\" end",
        ),
        ("gauge histogram: _count", &inf(&g("a_count 5")), {
            "line 3, column 1: metrics \"a_bucket\" and \"a\" both"
        }),
        ("gauge histogram: negative sum", &inf(&g("a_gcount 5\na_gsum -1")), {
            "line 4, column 14: the sum must not be negative where no bound is"
        }),
        (
            "gauge histogram: NaN sum",
            &g("a_gsum NaN"),
            "line 2, column 8: found \"NaN\", expected a n",
        ),
        (
            "gauge histogram: count is not +Inf",
            &inf(&g("a_gcount 4\na_gsum 1")),
            "line 4, column 14: t",
        ),
        (
            "gauge histogram: no +Inf",
            &g("a_gcount 4\na_gsum 1"),
            "line 3, column 1: a histogram nee",
        ),
        (
            "gauge histogram: _created",
            &inf(&g("a_created 1")),
            "line 3, column 1: metrics \"a_bucket\" and \"a\" both",
        ),
    ]);
}
