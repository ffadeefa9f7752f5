//! Quoted names (formats 4), which are read whatever the version is (G11).

use super::*;

#[test]
fn accepted_names() {
    accepted(&[
        ("name in the braces", "{\"metric.name\",label=\"x\",\"label.name\"=\"y\"} 1\n", {
            "metric.name untyped? {label=\"x\",\"label.name\"=\"y\"} 1"
        }),
        ("name alone", "{\"a.b\"} 1\n{ \"c d\" , } 2\n", "a.b untyped? {} 1\nc d untyped? {} 2"),
        ("TYPE and HELP", "# TYPE \"a.b\" counter\n# HELP \"a.b\" x\n{\"a.b\"} 1\n", {
            "a.b counter help=\"x\" {} 1"
        }),
        (
            "TYPE with nothing",
            "# TYPE \"a.b\"\n# HELP \"a.b\" \n{\"a.b\"} 1\n",
            "a.b untyped? {} 1",
        ),
        (
            "suffixes inside the quotes",
            {
                "# TYPE \"rpc.latency\" histogram\n{\"rpc.latency_bucket\",le=\"1\"} 5\n\
             {\"rpc.latency_bucket\",le=\"+Inf\"} 6\n{\"rpc.latency_sum\"} 7\n{\"rpc.latency_count\"} 6\n"
            },
            "rpc.latency histogram {} 1:5 inf:6 count=6 sum=7",
        ),
        ("name not first (G11)", "{a=\"b\",\"c.d\"} 1\n{ x = \"y\" , \"e.f\" } 1\n", {
            "c.d untyped? {a=\"b\"} 1\ne.f untyped? {x=\"y\"} 1"
        }),
        (
            "labels before the name, after a histogram",
            {
                "# TYPE h histogram\nh_bucket{le=\"1\"} 1\n{le=\"5\",quantile=\"x\",\"a.b\"} 2\n\
             {le=\"2\",\"h_bucket\"} 3\n"
            },
            "h histogram {} 1:1 2:3\na.b untyped? {le=\"5\",quantile=\"x\"} 2",
        ),
        ("quoted legacy names", "{\"a\",\"b\"=\"c\"} 1\n", "a untyped? {b=\"c\"} 1"),
        (
            "mixed quoting of one family",
            {
                "# TYPE \"h\" histogram\nh_bucket{\"le\"=\"1\"} 1\n{\"h_bucket\",le=\"2\"} 2\n\
             h_bucket{le=\"3\"} 3\n{\"h_count\"} 4\nh_sum{} 5\n"
            },
            "h histogram {} 1:1 2:2 3:3 count=4 sum=5",
        ),
        ("escapes in names", "{\"a\\\\b\\\"c\\nd\",\"l\\\"\"=\"x\"} 1\n", {
            "a\\b\"c\nd untyped? {\"l\\\"\"=\"x\"} 1"
        }),
        ("escapes in a TYPE line", "# TYPE \"a\\\"b\" gauge\n{\"a\\\"b\"} 1\n", "a\"b gauge {} 1"),
        (
            "a name with an escape and a suffix",
            {
                "# TYPE \"a\\\"b\" summary\n{\"a\\\"b_sum\"} 1\n# TYPE x gauge\n{\"a\\\"b_count\"} 1\n"
            },
            "a\"b summary {} count=1 sum=1",
        ),
        ("a colon in a quoted label name", "a{\"b:c\"=\"d\"} 1\n", {
            "a untyped? {\"b:c\"=\"d\"} 1"
        }),
        ("UTF-8 names", "{\"ü\",\"日本\"=\"x\"} 1\n", "ü untyped? {\"日本\"=\"x\"} 1"),
        ("blanks around quoted label names", "a{ \"b.c\" = \"d\" } 1\n", {
            "a untyped? {\"b.c\"=\"d\"} 1"
        }),
        ("metric names may start with two underscores", "{\"__a\"} 1\n__b 2\n", {
            "__a untyped? {} 1\n__b untyped? {} 2"
        }),
    ]);
}

#[test]
fn refused_names() {
    refused(&[
        (
            "two names in the braces",
            "{\"a\",\"b\"} 1\n",
            "line 1, column 6: two metric names in the",
        ),
        (
            "name outside and inside",
            "a{\"a\"} 1\n",
            "line 1, column 1: two metric names: one before",
        ),
        ("no name", "{\"a\"=\"b\"} 1\n", "line 1, column 1: the metric name is missing"),
        ("empty metric name", "{\"\"} 1\n", "line 1, column 2: the metric name is empty"),
        (
            "empty metric name in TYPE",
            "# TYPE \"\" gauge\n",
            "line 1, column 8: the metric name is e",
        ),
        ("empty label name", "a{\"\"=\"b\"} 1\n", "line 1, column 1: a label name is empty"),
        (
            "quoted name outside braces",
            "\"a.b\" 1\n",
            "line 1, column 1: found \"\\\"a.b\\\"\", expected",
        ),
        (
            "a and \"a\" as two labels",
            "x{a=\"1\",\"a\"=\"2\"} 1\n",
            "line 1, column 1: label \"a\" is giv",
        ),
        (
            "__name__ quoted",
            "{\"__name__\"=\"x\",\"a\"} 1\n",
            "line 1, column 1: label name \"__name__\"",
        ),
        ("NUL in a name", "{\"a\0b\"} 1\n", "body: metric name \"a\\0b\" holds a NUL"),
        ("NUL in a TYPE line", "# TYPE \"a\0\" gauge\n", "body: metric name \"a\\0\" holds a NUL"),
        (
            "NUL in a label name",
            "a{\"b\0\"=\"c\"} 1\n",
            "line 1, column 1: label name \"b\\0\" holds a NUL",
        ),
        ("bad escape in a name", "{\"a\\tb\"} 1\n", "line 1, column 4: unknown escape"),
        ("bad escape in a label name", "a{\"b\\x\"=\"c\"} 1\n", "line 1, column 5: unknown escape"),
        (
            "bad escape in a TYPE line",
            "# TYPE \"a\\t\" gauge\n",
            "line 1, column 10: unknown escape",
        ),
        ("raw LF in a name", "{\"a\nb\"} 1\n", "line 1, column 3: the closing quote is missing"),
        (
            "unclosed name in TYPE",
            "# TYPE \"a gauge\n",
            "line 1, column 9: the closing quote is miss",
        ),
        (
            "text behind a name in TYPE",
            "# TYPE \"a\"b gauge\n",
            "line 1, column 8: the metric name aft",
        ),
        ("string and no comma", "{\"a\" 1\n", "line 1, column 6: found \"1\", expected \"=\""),
        ("name and label without a comma", "{\"a\" b=\"c\"} 1\n", "line 1, column 6: found"),
    ]);
}
