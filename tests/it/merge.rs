//! How pushes add up: one rule for each type, whatever the order of the pushes.

use crate::harness::{Gateway, Request, config, flag, histogram, start};

/// Pushes each body to `/metrics` and returns the exposition.
fn merged(bodies: &[&str]) -> String {
    let gateway = start();
    bodies.iter().for_each(|body| gateway.accept("/metrics", body));
    gateway.pushed()
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";

fn openmetrics(gateway: &Gateway, body: &str) -> Request {
    let request = gateway.request("POST", "/metrics").header("Content-Type", OPENMETRICS);
    request.body(format!("{body}# EOF\n"))
}

// === counters ===

#[test]
fn counters_add_up_exactly() {
    let tenths = ["# TYPE a counter\na 0.1\n"; 10];
    assert_eq!(merged(&tenths), "# TYPE a counter\na 1\n");
    // Beyond the point where doubles can count.
    let ones = ["a 9007199254740992\n", "a 1\n", "a 1\n"];
    assert_eq!(merged(&ones), "# TYPE a untyped\na 9.007199254740994e+15\n");
    let tiny = ["a 1e16\n", "a 1e-300\n", "a 1\n", "a 0.5\n", "a 0.5\n"];
    assert_eq!(merged(&tiny), "# TYPE a untyped\na 1.0000000000000002e+16\n");
}

#[test]
fn order_and_grouping_of_pushes_do_not_matter() {
    let samples = ["a 0.1\n", "a 1e16\n", "a 3\n", "a 5e-324\n", "a 1e300\n", "a 0.7\n"];
    let expected = merged(&samples);
    for shift in 1..samples.len() {
        let mut rotated = samples;
        rotated.rotate_left(shift);
        assert_eq!(merged(&rotated), expected);
        rotated.reverse();
        assert_eq!(merged(&rotated), expected);
    }
}

#[test]
fn samples_without_a_type_join_a_counter() {
    let gateway = start();
    gateway.accept("/metrics", "a_total 1\n");
    gateway.accept("/metrics", "# TYPE a_total counter\na_total 2\n");
    assert_eq!(gateway.pushed(), "# TYPE a_total counter\na_total 3\n");
    gateway.accept("/metrics", "a_total 4\n");
    assert_eq!(gateway.pushed(), "# TYPE a_total counter\na_total 7\n");
}

#[test]
fn samples_without_a_type_by_configuration() {
    let gateway = flag("--push.untyped=last").run();
    gateway.accept("/metrics", "a 5\n");
    gateway.accept("/metrics", "a 3\n");
    assert_eq!(gateway.sample("a"), 3.0);
    let mut gateway = flag("--push.untyped=reject").run();
    let problem = gateway.refuse("/metrics", "# TYPE b counter\nb 1\na 5\n", 422);
    assert_eq!(problem["family"], "a");
    gateway.accept("/metrics", "# TYPE b counter\nb 1\n");
}

// === gauges ===

fn gauge(gateway: &Gateway, value: &str) -> Request {
    gateway.request("POST", "/metrics").body(format!("# TYPE g gauge\ng {value}\n"))
}

#[test]
fn the_last_gauge_wins() {
    let gateway = start();
    for value in ["3", "7", "5"] {
        gateway.accept_request(gauge(&gateway, value));
    }
    assert_eq!(gateway.sample("g"), 5.0);
    for value in ["NaN", "-Inf", "+Inf", "1e-320"] {
        gateway.accept_request(gauge(&gateway, value));
        assert_eq!(gateway.pushed(), format!("# TYPE g gauge\ng {value}\n"));
    }
}

#[test]
fn gauge_rules_by_header_and_by_query() {
    for (rule, expected) in
        [("sum", 11.5), ("min", -2.0), ("max", 8.0), ("mean", 11.5 / 4.0), ("last", 5.0)]
    {
        let by_header = start();
        let by_query = start();
        let by_configuration = flag(&format!("--push.gauge={rule}")).run();
        for value in ["0.5", "8", "-2", "5"] {
            let hinted = gauge(&by_header, value).header("Push-Merge", rule);
            by_header.accept_request(hinted);
            let body = format!("# TYPE g gauge\ng {value}\n");
            by_query.accept(&format!("/metrics?merge={rule}"), &body);
            by_configuration.accept_request(gauge(&by_configuration, value));
        }
        for gateway in [by_header, by_query, by_configuration] {
            assert_eq!(gateway.sample("g"), expected, "{rule}");
        }
    }
}

#[test]
fn sums_and_means_of_gauges_are_exact() {
    let gateway = start();
    for value in ["0.1", "1e17", "0.2", "-1e17", "-0.3"] {
        gateway.accept_request(gauge(&gateway, value).header("Push-Merge", "sum"));
    }
    let left = gateway.sample("g");
    assert!(left != 0.0 && left.abs() < 1e-16, "0.1 + 0.2 - 0.3 in doubles is {left:e}");
}

#[test]
fn hints_about_gauges() {
    let mut gateway = start();
    for hint in ["median", "", "Sum", "sum_by_source", "mean5m"] {
        let request = gauge(&gateway, "1").header("Push-Merge", hint);
        let problem = gateway.refuse_request(request, 400);
        assert!(problem["detail"].as_str().unwrap().starts_with("push-merge"), "{problem}");
    }
    // The parameter only affects gauges.
    let counter = gateway.request("POST", "/metrics?merge=max").body("# TYPE c counter\nc 2\n");
    gateway.accept_request(counter.clone());
    gateway.accept_request(counter);
    assert_eq!(gateway.sample("c"), 4.0);

    let mut gateway = flag("--push.merge-hint=false").run();
    let request = gauge(&gateway, "1").header("Push-Merge", "last");
    gateway.refuse_request(request, 422);
    gateway.accept_request(gauge(&gateway, "1"));
}

/// A push that names another rule is refused, because it would change the meaning of earlier pushes;
/// one that names none follows the rule of the gauge.
#[test]
fn a_gauge_keeps_its_rule() {
    let mut gateway = start();
    gateway.accept_request(gauge(&gateway, "3").header("Push-Merge", "max"));
    let other = gauge(&gateway, "5").header("Push-Merge", "sum");
    let problem = gateway.refuse_request(other, 422);
    assert_eq!(problem["series"], "g{}");
    gateway.accept_request(gauge(&gateway, "4"));
    gateway.accept_request(gauge(&gateway, "2").header("Push-Merge", "max"));
    assert_eq!(gateway.sample("g"), 4.0);
}

#[test]
fn an_operators_rule_wins_over_the_hint() {
    let gateway = config("rules: [{match: g, gauge: min}]").run();
    for (value, hint) in [("4", "max"), ("2", "sum"), ("6", "last")] {
        gateway.accept_request(gauge(&gateway, value).header("Push-Merge", hint));
    }
    gateway.accept_request(gauge(&gateway, "9"));
    assert_eq!(gateway.sample("g"), 2.0);
}

#[test]
fn what_rules_for_gauges_cannot_take() {
    let mut gateway = start();
    for (rule, value) in [
        ("sum", "NaN"),
        ("sum", "+Inf"),
        ("mean", "-Inf"),
        ("mean", "NaN"),
        ("min", "NaN"),
        ("max", "NaN"),
    ] {
        let request = gauge(&gateway, value).header("Push-Merge", rule);
        let problem = gateway.refuse_request(request, 422);
        assert_eq!(problem["family"], "g", "{rule} {value}");
    }
    gateway.accept_request(gauge(&gateway, "-Inf").header("Push-Merge", "min"));
    assert_eq!(gateway.sample("g"), f64::NEG_INFINITY);
}

// === the order of gauges ===

#[test]
fn push_time_orders_gauges_whatever_the_order_of_arrival() {
    let gateway = start();
    let push = |value: &str, time: &str| {
        gateway.accept_request(gauge(&gateway, value).header("Push-Time", time));
        gateway.sample("g")
    };
    assert_eq!(push("1", "1700000100"), 1.0);
    assert_eq!(push("2", "1700000000"), 1.0, "a late retry");
    assert_eq!(push("3", "1700000100.5"), 3.0);
    assert_eq!(push("4", "1.7000001e9"), 3.0);
    // With the same time the larger value wins, in either order.
    assert_eq!(push("5", "1700000200"), 5.0);
    assert_eq!(push("4", "1700000200"), 5.0);
    assert_eq!(push("6", "1700000200.000"), 6.0);
    // A push without a time counts as now.
    gateway.accept_request(gauge(&gateway, "7"));
    assert_eq!(gateway.sample("g"), 7.0);
    gateway.accept("/metrics?time=1700000300", "# TYPE g gauge\ng 8\n");
    assert_eq!(gateway.sample("g"), 7.0);
}

/// Otherwise, a client whose clock is far ahead would win for ever.
#[test]
fn push_times_in_the_future_count_as_now() {
    let gateway = start();
    gateway.accept_request(gauge(&gateway, "1").header("Push-Time", "9000000000"));
    gateway.accept_request(gauge(&gateway, "2").header("Push-Time", "9000000001"));
    assert_eq!(gateway.sample("g"), 2.0, "both are ten seconds ahead, the larger one wins");
}

#[test]
fn push_times_that_are_none() {
    let mut gateway = start();
    for time in ["soon", "-1", "NaN", "inf", "2026-11-23T00:00:00Z", ""] {
        let request = gauge(&gateway, "1").header("Push-Time", time);
        let problem = gateway.refuse_request(request, 400);
        assert!(problem["detail"].as_str().unwrap().starts_with("push-time"), "{problem}");
    }
}

/// Ignoring them would miscount.
#[test]
fn what_is_not_built_yet_is_refused() {
    let mut gateway = start();
    for (header, value) in [
        ("Push-Mode", "cumulative"),
        ("Push-Source", "s"),
        ("Push-Epoch", "1"),
        ("Push-Final", "?1"),
    ] {
        let request = gateway.request("POST", "/metrics").body("a 1\n");
        gateway.refuse_request(request.header(header, value), 400);
    }
    for query in ["mode=cumulative", "source=s", "epoch=1", "final=1"] {
        gateway.refuse(&format!("/metrics/job/j?{query}"), "a 1\n", 400);
    }
    gateway.accept("/metrics?mode=delta", "a 1\n");
    let delta = gateway.request("POST", "/metrics").body("a 1\n");
    gateway.accept_request(delta.header("Push-Mode", "delta"));
}

// === summaries, histograms ===

#[test]
fn summaries_add_sum_and_count() {
    let one = "# TYPE s summary\ns{quantile=\"0.5\"} 3\ns{quantile=\"0.9\"} NaN\ns_sum 4.5\n\
               s_count 2\n";
    let gateway = start();
    gateway.accept("/metrics", one);
    gateway.accept("/metrics", "# TYPE s summary\ns_count 1\ns_sum 0.1\n");
    assert_eq!(gateway.pushed(), "# TYPE s summary\ns_sum 4.6\ns_count 3\n");
    assert_eq!(gateway.sample("tallygate_quantiles_dropped_total"), 2.0);
}

/// The worked example of the merge rules: no observation is counted below a bound unless it is certain
/// to be.
#[test]
fn histograms_of_different_layouts() {
    let a = histogram("h", 1.5, &[("1", 3), ("5", 7), ("+Inf", 10)]);
    let b = histogram("h", 2.5, &[("2", 4), ("5", 6), ("+Inf", 8)]);
    let expected = |buckets: [u64; 4], sum: &str| {
        let [one, two, five, all] = buckets;
        format!(
            "# TYPE h histogram\nh_bucket{{le=\"1\"}} {one}\nh_bucket{{le=\"2\"}} {two}\n\
             h_bucket{{le=\"5\"}} {five}\nh_bucket{{le=\"+Inf\"}} {all}\n\
             h_sum {sum}\nh_count {all}\n"
        )
    };
    for order in [[&a, &b], [&b, &a]] {
        assert_eq!(merged(&order.map(String::as_str)), expected([3, 7, 13, 18], "4"));
    }
    for order in [[&a, &a, &b, &a], [&b, &a, &a, &a], [&a, &a, &a, &b]] {
        assert_eq!(merged(&order.map(String::as_str)), expected([9, 13, 27, 38], "7"));
    }
}

#[test]
fn layouts_that_contain_each_other_or_have_nothing_in_common() {
    let coarse = histogram("h", 0.0, &[("5", 2), ("+Inf", 3)]);
    let fine = histogram("h", 0.0, &[("1", 1), ("5", 2), ("10", 3), ("+Inf", 3)]);
    let other = histogram("h", 0.0, &[("2", 1), ("+Inf", 1)]);
    let none = histogram("h", 0.0, &[("+Inf", 4)]);
    let text = merged(&[&coarse, &fine, &other, &none]);
    assert_eq!(
        text,
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 2\nh_bucket{le=\"5\"} 5\n\
         h_bucket{le=\"10\"} 6\nh_bucket{le=\"+Inf\"} 11\nh_sum 0\nh_count 11\n"
    );
    assert_eq!(merged(&[&none, &other, &fine, &coarse]), text);
}

/// Two series of a family may have different layouts.
#[test]
fn layouts_belong_to_a_series() {
    let gateway = start();
    gateway.accept("/metrics/x/1", histogram("h", 0.0, &[("1", 1), ("+Inf", 1)]));
    gateway.accept("/metrics/x/2", histogram("h", 0.0, &[("2", 1), ("+Inf", 1)]));
    let text = gateway.pushed();
    assert!(
        text.contains("h_bucket{x=\"1\",le=\"1\"} 1\nh_bucket{x=\"1\",le=\"+Inf\"} 1\n"),
        "{text}"
    );
    assert!(
        text.contains("h_bucket{x=\"2\",le=\"2\"} 1\nh_bucket{x=\"2\",le=\"+Inf\"} 1\n"),
        "{text}"
    );
}

#[test]
fn parts_of_histograms_that_are_missing() {
    let mut gateway = start();
    // No count: it is the +Inf bucket. No +Inf: it is the count.
    gateway.accept("/metrics", "# TYPE a histogram\na_bucket{le=\"+Inf\"} 2\na_sum 1\n");
    gateway.accept("/metrics", "# TYPE a histogram\na_bucket{le=\"1\"} 1\na_count 2\na_sum 1\n");
    assert_eq!(gateway.sample("a_count"), 4.0);
    assert_eq!(gateway.sample("a_bucket{le=\"+Inf\"}"), 4.0);
    // No sum: none is shown, even if later pushes have one.
    gateway.accept("/metrics", "# TYPE b histogram\nb_bucket{le=\"1\"} 1\nb_count 2\n");
    gateway.accept("/metrics", "# TYPE b histogram\nb_bucket{le=\"1\"} 1\nb_count 2\nb_sum 7\n");
    assert_eq!(
        gateway.pushed().split("# TYPE b").nth(1).unwrap(),
        " histogram\nb_bucket{le=\"1\"} 2\nb_bucket{le=\"+Inf\"} 4\nb_count 4\n"
    );
    for (family, body) in [
        ("c", "# TYPE c histogram\nc_bucket{le=\"1\"} 1\nc_sum 1\n"),
        ("a", "# TYPE a histogram\na_bucket{le=\"+Inf\"} 2\n"),
        (
            "d",
            "# TYPE d histogram\nd_bucket{le=\"1\"} 3\nd_bucket{le=\"2\"} 2\nd_count 3\nd_sum 1\n",
        ),
        ("d", "# TYPE d histogram\nd_bucket{le=\"+Inf\"} 3\nd_count 4\nd_sum 1\n"),
        ("d", "# TYPE d histogram\nd_bucket{le=\"1\"} 3\nd_count 2\nd_sum 1\n"),
        ("d", "# TYPE d histogram\nd_bucket{le=\"+Inf\"} 3\nd_count 3\nd_sum NaN\n"),
        ("d", "# TYPE d histogram\nd_bucket{le=\"+Inf\"} 3\nd_count 3\nd_sum +Inf\n"),
    ] {
        let problem = gateway.refuse("/metrics", body, 422);
        assert_eq!(problem["family"], family, "{body}");
    }
}

#[test]
fn floating_histograms() {
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 0.1\nh_bucket{le=\"+Inf\"} 0.3\nh_sum 0.1\n";
    assert_eq!(
        merged(&[body; 10]),
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 3\nh_sum 1\nh_count 3\n"
    );
}

// === info, states, start times ===

#[test]
fn infos_are_united() {
    let gateway = start();
    for version in ["1", "2", "1"] {
        let body = format!("# TYPE build info\nbuild_info{{version=\"{version}\"}} 1\n");
        gateway.accept_request(openmetrics(&gateway, &body));
    }
    let expected =
        "# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\nbuild_info{version=\"2\"} 1\n";
    assert_eq!(gateway.pushed(), expected);
    // In text they are gauges, and the last one counts.
    gateway.accept("/metrics", "# TYPE x_info gauge\nx_info{v=\"1\"} 1\n");
    gateway.accept("/metrics", "# TYPE x_info gauge\nx_info{v=\"1\"} 1\n");
    assert_eq!(gateway.sample("x_info{v=\"1\"}"), 1.0);
}

/// The states are set as a whole: those of two pushes never mix.
#[test]
fn states_are_set_as_a_whole() {
    let gateway = start();
    let set = |states: &str, time: &str| {
        let request = openmetrics(&gateway, &format!("# TYPE s stateset\n{states}"));
        gateway.accept_request(request.header("Push-Time", time));
    };
    set("s{s=\"a\"} 1\ns{s=\"b\"} 0\n", "1700000001");
    set("s{s=\"b\"} 1\ns{s=\"c\"} 0\n", "1700000002");
    set("s{s=\"a\"} 1\ns{s=\"b\"} 0\n", "1700000000");
    assert_eq!(gateway.pushed(), "# TYPE s gauge\ns{s=\"b\"} 1\ns{s=\"c\"} 0\n");
}

/// As the Python client writes them in text.
#[test]
fn start_times_are_never_summed() {
    let gateway = start();
    let body = "# TYPE c_total counter\nc_total 1\n# TYPE c_created gauge\nc_created 1.7e+09\n\
                # TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 1\n\
                # TYPE h_created gauge\nh_created 1.7e+09\n\
                # TYPE s summary\ns_count 1\ns_sum 1\n# TYPE s_created gauge\ns_created 1.7e+09\n\
                # TYPE z_created gauge\nz_created 1.7e+09\n";
    gateway.accept("/metrics", body);
    gateway.accept("/metrics", body);
    let text = gateway.pushed();
    let created: Vec<&str> = text.lines().filter(|line| line.contains("_created")).collect();
    assert_eq!(created, ["# TYPE z_created gauge", "z_created 1.7e+09"]);
    assert_eq!(gateway.sample("tallygate_created_samples_dropped_total"), 6.0);
}

// === what families have in common ===

#[test]
fn the_longest_help_wins_then_the_smallest() {
    let helps = ["Bytes.", "Bytes sent.", "", "Bytes seen.", "Short."];
    for shift in 0..helps.len() {
        let mut order = helps;
        order.rotate_left(shift);
        let bodies = order.map(|help| format!("# HELP a_total {help}\na_total 1\n"));
        let text = merged(&bodies.each_ref().map(String::as_str));
        assert_eq!(text, "# HELP a_total Bytes seen.\n# TYPE a_total untyped\na_total 5\n");
    }
}

#[test]
fn a_unit_is_taken_over_but_never_changed() {
    let mut gateway = start();
    gateway.accept_request(openmetrics(&gateway, "# TYPE a_s gauge\na_s 1\n"));
    gateway.accept_request(openmetrics(&gateway, "# TYPE a_s gauge\n# UNIT a_s s\na_s 2\n"));
    gateway.accept_request(openmetrics(&gateway, "# TYPE a_s gauge\na_s 3\n"));
    let accept = gateway.request("GET", "/metrics").header("Accept", OPENMETRICS);
    assert!(accept.send().text().starts_with("# TYPE a_s gauge\n# UNIT a_s s\na_s 3.0\n"));
    let other = openmetrics(&gateway, "# TYPE x_a_s gauge\n# UNIT x_a_s s\nx_a_s 1\n");
    gateway.accept_request(other);
    let other = openmetrics(&gateway, "# TYPE x_a_s gauge\n# UNIT x_a_s a_s\nx_a_s 1\n");
    let problem = gateway.refuse_request(other, 422);
    assert_eq!(problem["family"], "x_a_s");
}
