//! Names in quotes, escaped names, and names that clash, in each reader.

use expect_test::expect;

use super::{OPENMETRICS, gateway, push_as, readers};

const NAMES: &str = "# TYPE \"rpc.latency\" histogram\n# HELP \"rpc.latency\" Text.\n\
    {\"rpc.latency_bucket\",\"le\"=\"1\",\"a.b\"=\"x\"} 1\n\
    {\"rpc.latency_bucket\",le=\"+Inf\",\"a.b\"=\"x\"} 2\n\
    {\"rpc.latency_sum\",\"a.b\"=\"x\"} 3\n{\"rpc.latency_count\",\"a.b\"=\"x\"} 2\n\
    # TYPE \"ü/total_total\" counter\n{\"ü/total_total\",\"b:c\"=\"}\",d_e=\"{\"} 4\n\
    # TYPE \"0 \\\"\\\\\\n#\" gauge\n{\"0 \\\"\\\\\\n#\",\"0 \\\"\\\\\\n,=\"=\"v\"} 5\n";

#[test]
fn names_in_quotes() {
    let gateway = gateway();
    gateway.accept("/metrics", NAMES);
    let seen = readers().read(&gateway, "allow-utf-8");
    expect![[r#"
        === OpenMetrics
        gauge 0 "\
        #
          0 "\
        #{0 "\
        ,=="v"} 5
        histogram rpc.latency help="Text."
          rpc.latency_bucket{a.b="x",le=1} 1
          rpc.latency_bucket{a.b="x",le=inf} 2
          rpc.latency_sum{a.b="x"} 3
          rpc.latency_count{a.b="x"} 2
          rpc.latency_created{a.b="x"} now
        counter ü/total
          ü/total_total{b:c="}",d_e="{"} 4
          ü/total_created{b:c="}",d_e="{"} now
        === text
        gauge 0 "\
        #
          0 "\
        #{0 "\
        ,=="v"} 5
        histogram rpc.latency help="Text."
          rpc.latency_bucket{a.b="x",le=1} 1
          rpc.latency_bucket{a.b="x",le=inf} 2
          rpc.latency_sum{a.b="x"} 3
          rpc.latency_count{a.b="x"} 2
        counter ü/total
          ü/total_total{b:c="}",d_e="{"} 4
        === protobuf
        gauge 0 "\
        #
          0 "\
        #{0 "\
        ,=="v"} 5
        histogram rpc.latency help="Text."
          rpc.latency_bucket{a.b="x",le=1} 1
          rpc.latency_bucket{a.b="x",le=inf} 2
          rpc.latency_sum{a.b="x"} 3
          rpc.latency_count{a.b="x"} 2
          rpc.latency_created{a.b="x"} now
        counter ü/total_total
          ü/total_total{b:c="}",d_e="{"} 4
          ü/total_total_created{b:c="}",d_e="{"} now
    "#]]
    .assert_eq(&seen);
}

#[test]
fn names_with_underscores() {
    let gateway = gateway();
    gateway.accept("/metrics", NAMES);
    let seen = readers().read(&gateway, "underscores");
    expect![[r#"
        === OpenMetrics
        gauge ______
          ______{_="v"} 5
        histogram rpc_latency help="Text."
          rpc_latency_bucket{a_b="x",le=1} 1
          rpc_latency_bucket{a_b="x",le=inf} 2
          rpc_latency_sum{a_b="x"} 3
          rpc_latency_count{a_b="x"} 2
          rpc_latency_created{a_b="x"} now
        counter __total
          __total_total{b_c="}",d_e="{"} 4
          __total_created{b_c="}",d_e="{"} now
        === text
        gauge ______
          ______{_="v"} 5
        histogram rpc_latency help="Text."
          rpc_latency_bucket{a_b="x",le=1} 1
          rpc_latency_bucket{a_b="x",le=inf} 2
          rpc_latency_sum{a_b="x"} 3
          rpc_latency_count{a_b="x"} 2
        counter __total
          __total_total{b_c="}",d_e="{"} 4
        === protobuf
        gauge ______
          ______{_="v"} 5
        histogram rpc_latency help="Text."
          rpc_latency_bucket{a_b="x",le=1} 1
          rpc_latency_bucket{a_b="x",le=inf} 2
          rpc_latency_sum{a_b="x"} 3
          rpc_latency_count{a_b="x"} 2
          rpc_latency_created{a_b="x"} now
        counter __total_total
          __total_total{b_c="}",d_e="{"} 4
          __total_total_created{b_c="}",d_e="{"} now
    "#]]
    .assert_eq(&seen);
}

#[test]
fn names_with_dots() {
    let gateway = gateway();
    gateway.accept("/metrics", NAMES);
    let seen = readers().read(&gateway, "dots");
    expect![[r#"
        === OpenMetrics
        gauge ____________
          ____________{_="v"} 5
        histogram rpc_dot_latency help="Text."
          rpc_dot_latency_bucket{a_dot_b="x",le=1} 1
          rpc_dot_latency_bucket{a_dot_b="x",le=inf} 2
          rpc_dot_latency_sum{a_dot_b="x"} 3
          rpc_dot_latency_count{a_dot_b="x"} 2
          rpc_dot_latency_created{a_dot_b="x"} now
        counter ____total_
          ____total__total{b__c="}",d_e="{"} 4
          ____total__created{b__c="}",d_e="{"} now
        === text
        gauge ____________
          ____________{_="v"} 5
        histogram rpc_dot_latency help="Text."
          rpc_dot_latency_bucket{a_dot_b="x",le=1} 1
          rpc_dot_latency_bucket{a_dot_b="x",le=inf} 2
          rpc_dot_latency_sum{a_dot_b="x"} 3
          rpc_dot_latency_count{a_dot_b="x"} 2
        counter ____total_
          ____total__total{b__c="}",d_e="{"} 4
        === protobuf
        gauge ____________
          ____________{_="v"} 5
        histogram rpc_dot_latency help="Text."
          rpc_dot_latency_bucket{a_dot_b="x",le=1} 1
          rpc_dot_latency_bucket{a_dot_b="x",le=inf} 2
          rpc_dot_latency_sum{a_dot_b="x"} 3
          rpc_dot_latency_count{a_dot_b="x"} 2
          rpc_dot_latency_created{a_dot_b="x"} now
        counter ____total__total
          ____total__total{b__c="}",d_e="{"} 4
          ____total__total_created{b__c="}",d_e="{"} now
    "#]]
    .assert_eq(&seen);
}

#[test]
fn names_with_values() {
    let gateway = gateway();
    gateway.accept("/metrics", NAMES);
    let seen = readers().read(&gateway, "values");
    expect![[r#"
        === OpenMetrics
        gauge U___30__20__22__5c__a__23_
          U___30__20__22__5c__a__23_{U___30__20__22__5c__a__2c__3d_="v"} 5
        histogram U__rpc_2e_latency help="Text."
          U__rpc_2e_latency_bucket{U__a_2e_b="x",le=1} 1
          U__rpc_2e_latency_bucket{U__a_2e_b="x",le=inf} 2
          U__rpc_2e_latency_sum{U__a_2e_b="x"} 3
          U__rpc_2e_latency_count{U__a_2e_b="x"} 2
          U__rpc_2e_latency_created{U__a_2e_b="x"} now
        counter U___fc__2f_total_
          U___fc__2f_total__total{U__b_3a_c="}",d_e="{"} 4
          U___fc__2f_total__created{U__b_3a_c="}",d_e="{"} now
        === text
        gauge U___30__20__22__5c__a__23_
          U___30__20__22__5c__a__23_{U___30__20__22__5c__a__2c__3d_="v"} 5
        histogram U__rpc_2e_latency help="Text."
          U__rpc_2e_latency_bucket{U__a_2e_b="x",le=1} 1
          U__rpc_2e_latency_bucket{U__a_2e_b="x",le=inf} 2
          U__rpc_2e_latency_sum{U__a_2e_b="x"} 3
          U__rpc_2e_latency_count{U__a_2e_b="x"} 2
        counter U___fc__2f_total_
          U___fc__2f_total__total{U__b_3a_c="}",d_e="{"} 4
        === protobuf
        gauge U___30__20__22__5c__a__23_
          U___30__20__22__5c__a__23_{U___30__20__22__5c__a__2c__3d_="v"} 5
        histogram U__rpc_2e_latency help="Text."
          U__rpc_2e_latency_bucket{U__a_2e_b="x",le=1} 1
          U__rpc_2e_latency_bucket{U__a_2e_b="x",le=inf} 2
          U__rpc_2e_latency_sum{U__a_2e_b="x"} 3
          U__rpc_2e_latency_count{U__a_2e_b="x"} 2
          U__rpc_2e_latency_created{U__a_2e_b="x"} now
        counter U___fc__2f_total__total
          U___fc__2f_total__total{U__b_3a_c="}",d_e="{"} 4
          U___fc__2f_total__total_created{U__b_3a_c="}",d_e="{"} now
    "#]]
    .assert_eq(&seen);
}

/// Names that escaping makes equal: of families, the one that had the name before stays; of series and
/// labels, the first. And no label gets a reserved name.
#[test]
fn names_that_are_equal_after_escaping() {
    let mut gateway = gateway();
    gateway.expect_log("left out");
    gateway.accept(
        "/metrics",
        "# TYPE \"a.b\" gauge\n{\"a.b\"} 1\n# TYPE a_b gauge\na_b 2\n\
         # TYPE h histogram\nh_bucket{le=\"+Inf\"} 3\nh_sum 3\nh_count 3\n\
         # TYPE \"h.sum\" gauge\n{\"h.sum\"} 4\n\
         # TYPE l gauge\nl{\"x.y\"=\"1\"} 5\nl{\"x_y\"=\"1\"} 6\nl{\"x.y\"=\"1\",\"x_y\"=\"1\"} 7\n\
         # TYPE r gauge\nr{\"üünameüü\"=\"1\"} 8\n",
    );
    let seen = readers().read(&gateway, "underscores");
    expect![[r#"
            === OpenMetrics
            gauge a_b
              a_b 2
            histogram h
              h_bucket{le=inf} 3
              h_sum 3
              h_count 3
              h_created now
            gauge l
              l{x_y="1"} 5
            gauge r
              r{_name__="1"} 8
            === text
            gauge a_b
              a_b 2
            histogram h
              h_bucket{le=inf} 3
              h_sum 3
              h_count 3
            gauge l
              l{x_y="1"} 5
            gauge r
              r{_name__="1"} 8
            === protobuf
            gauge a_b
              a_b 2
            histogram h
              h_bucket{le=inf} 3
              h_sum 3
              h_count 3
              h_created now
            gauge l
              l{x_y="1"} 5
            gauge r
              r{_name__="1"} 8
        "#]]
    .assert_eq(&seen);
    let seen = readers().read(&gateway, "allow-utf-8");
    expect![[r#"
            === OpenMetrics
            gauge a.b
              a.b 1
            gauge a_b
              a_b 2
            histogram h
              h_bucket{le=inf} 3
              h_sum 3
              h_count 3
              h_created now
            gauge h.sum
              h.sum 4
            gauge l
              l{x.y="1"} 5
              l{x.y="1",x_y="1"} 7
              l{x_y="1"} 6
            gauge r
              r{üünameüü="1"} 8
            === text
            gauge a.b
              a.b 1
            gauge a_b
              a_b 2
            histogram h
              h_bucket{le=inf} 3
              h_sum 3
              h_count 3
            gauge h.sum
              h.sum 4
            gauge l
              l{x.y="1"} 5
              l{x.y="1",x_y="1"} 7
              l{x_y="1"} 6
            gauge r
              r{üünameüü="1"} 8
            === protobuf
            gauge a.b
              a.b 1
            gauge a_b
              a_b 2
            histogram h
              h_bucket{le=inf} 3
              h_sum 3
              h_count 3
              h_created now
            gauge h.sum
              h.sum 4
            gauge l
              l{x.y="1"} 5
              l{x.y="1",x_y="1"} 7
              l{x_y="1"} 6
            gauge r
              r{üünameüü="1"} 8
        "#]]
    .assert_eq(&seen);
}

// === what OpenMetrics 1.0 cannot hold (formats 7) ===

#[test]
fn names_and_values_that_openmetrics_has_other_plans_for() {
    let gateway = gateway();
    gateway.accept(
        "/metrics",
        "# TYPE plain counter\nplain 1\n\
         # TYPE a_total counter\na_total 2\n# TYPE a gauge\na 3\n\
         # TYPE b_total counter\nb_total 4\n\
         # TYPE below_total untyped\nbelow_total -7\n\
         # TYPE t_total gauge\nt_total 8\n# TYPE t histogram\nt_bucket{le=\"+Inf\"} 9\n\
         t_sum 9\nt_count 9\n\
         # TYPE i_info gauge\ni_info 1\n# TYPE i gauge\ni 11\n",
    );
    push_as(
        &gateway,
        OPENMETRICS,
        "# TYPE j info\nj_info{v=\"1\"} 1\n# TYPE k info\nk_info 1\n# EOF\n",
    );
    gateway.accept(
        "/metrics",
        "# TYPE j_total counter\nj_total 12\n# TYPE k gauge\nk 13\n\
         # TYPE below_total counter\nbelow_total 1\n\
         # TYPE b_created gauge\nb_created{x=\"1\"} 5\n# TYPE t_created gauge\nt_created 10\n",
    );
    let seen = readers().read(&gateway, "underscores");
    expect![[r#"
            === OpenMetrics
            gauge a
              a 3
            unknown a_total
              a_total 2
            gauge b_created
              b_created{x="1"} 5
            unknown b_total
              b_total 4
            unknown below_total
              below_total -6
            gauge i
              i 11
            gauge i_info
              i_info 1
            gauge j_info
              j_info{v="1"} 1
            counter j
              j_total 12
              j_created now
            gauge k
              k 13
            gauge k_info
              k_info 1
            unknown plain
              plain 1
            unknown t_bucket
              t_bucket{le=inf} 9
            unknown t_sum
              t_sum 9
            unknown t_count
              t_count 9
            gauge t_created
              t_created 10
            gauge t_total
              t_total 8
            === text
            gauge a
              a 3
            counter a
              a_total 2
            gauge b_created
              b_created{x="1"} 5
            counter b
              b_total 4
            counter below
              below_total -6
            gauge i
              i 11
            gauge i_info
              i_info 1
            gauge j_info
              j_info{v="1"} 1
            counter j
              j_total 12
            gauge k
              k 13
            gauge k_info
              k_info 1
            counter plain
              plain_total 1
            histogram t
              t_bucket{le=inf} 9
              t_sum 9
              t_count 9
            gauge t_created
              t_created 10
            gauge t_total
              t_total 8
            === protobuf
            gauge a
              a 3
            counter a_total
              a_total 2
              a_total_created now
            gauge b_created
              b_created{x="1"} 5
            counter b_total
              b_total 4
              b_total_created now
            counter below_total
              below_total -6
              below_total_created now
            gauge i
              i 11
            gauge i_info
              i_info 1
            gauge j_info
              j_info{v="1"} 1
            counter j_total
              j_total 12
              j_total_created now
            gauge k
              k 13
            gauge k_info
              k_info 1
            counter plain
              plain 1
              plain_created now
            histogram t
              t_bucket{le=inf} 9
              t_sum 9
              t_count 9
              t_created now
            gauge t_created
              t_created 10
            gauge t_total
              t_total 8
        "#]]
    .assert_eq(&seen);
}
