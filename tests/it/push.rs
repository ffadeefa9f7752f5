//! `POST` and `PUT /metrics…`: both add, under any path, and the path overrides the body.

use crate::harness::{flag, start};

#[test]
fn both_verbs_add() {
    let gateway = start();
    for (verb, body) in [("POST", "2"), ("PUT", "3"), ("POST", "0.5")] {
        let body = format!("# TYPE a_total counter\na_total{{x=\"1\"}} {body}\n");
        let response = gateway.request(verb, "/metrics/job/j").body(body).send();
        assert_eq!((response.status, response.text().as_str()), (200, ""), "{verb}");
        assert_eq!(response.header("content-length"), Some("0"));
    }
    assert_eq!(gateway.sample("a_total{job=\"j\",x=\"1\"}"), 5.5);
}

/// A PUT removes nothing: the C++ client swaps the verbs, and other instances have counted, too.
#[test]
fn put_replaces_nothing() {
    let gateway = start();
    gateway.accept("/metrics/job/j", "a_total 1\nb_total 1\n");
    let put = gateway.request("PUT", "/metrics/job/j").body("b_total 1\n");
    gateway.accept_request(put);
    gateway.accept_request(gateway.request("PUT", "/metrics/job/j"));
    assert_eq!(gateway.sample("a_total{job=\"j\"}"), 1.0);
    assert_eq!(gateway.sample("b_total{job=\"j\"}"), 2.0);
}

#[test]
fn the_success_code_can_be_202() {
    let gateway = flag("--push.success-code=202").run();
    for verb in ["POST", "PUT"] {
        let request = gateway.request(verb, "/metrics/job/j").body("a 1\n");
        assert_eq!(request.send().status, 202);
    }
    assert_eq!(gateway.sample("a{job=\"j\"}"), 2.0);
}

#[test]
fn a_push_without_samples_is_a_success_and_changes_nothing() {
    let gateway = start();
    gateway.accept("/metrics/job/j", "a 1\n");
    let before = gateway.pushed();
    for body in ["", "\n", "\n \n", "# a comment\n", "# TYPE a counter\n", "# HELP z Text.\n"] {
        for verb in ["POST", "PUT"] {
            let request = gateway.request(verb, "/metrics/job/j").body(body);
            assert_eq!(request.send().status, 200, "{body:?}");
        }
    }
    for content_type in [
        "application/openmetrics-text; version=1.0.0",
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
         encoding=delimited",
        "application/x-www-form-urlencoded",
    ] {
        for encoding in ["identity", "gzip", "snappy", "zstd", "deflate"] {
            let request = gateway.request("PUT", "/metrics/job/j");
            let request = request.header("Content-Type", content_type);
            gateway.accept_request(request.header("Content-Encoding", encoding));
        }
    }
    assert_eq!(gateway.pushed(), before);
}

// === the path (clients R4 and R5) ===

/// Pushes to each path and checks the labels of the sample.
#[track_caller]
fn check_paths(paths: &[(&str, &str)]) {
    let gateway = start();
    for (number, (path, labels)) in paths.iter().enumerate() {
        let verb = if number % 2 == 0 { "POST" } else { "PUT" };
        let body = format!("path{number}_total 1\n");
        let response = gateway.request(verb, path).body(body).send();
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        let sample = format!("path{number}_total{labels} 1\n");
        let exposition = gateway.pushed();
        assert!(exposition.contains(&sample), "{path}: no {sample} in\n{exposition}");
    }
}

#[test]
fn path_forms() {
    let job = "{job=\"j\"}";
    check_paths(&[
        ("/metrics", ""),
        ("/metrics/", ""),
        ("//metrics", ""),
        ("/metrics//", ""),
        ("/metrics/job/j", job),
        ("/metrics/job/j/", job),
        ("//metrics/job/j", job),
        ("/metrics//job/j", job),
        ("/metrics/team/x", "{team=\"x\"}"),
        ("/metrics/job/j/a/1/b/2", "{a=\"1\",b=\"2\",job=\"j\"}"),
        ("/metrics/b/2/job/j/a/1", "{a=\"1\",b=\"2\",job=\"j\"}"),
        ("/metrics/job/j/instance/i-1", "{instance=\"i-1\",job=\"j\"}"),
        // An empty value means no label.
        ("/metrics/job/j/a/", job),
        ("/metrics/job/", ""),
        ("/metrics/job/j/a//b/2", "{b=\"2\",job=\"j\"}"),
        // The last one of two counts, but the job in front stays.
        ("/metrics/job/j/a/1/a/2", "{a=\"2\",job=\"j\"}"),
        ("/metrics/job/j/job/k", job),
        ("/metrics/job/metrics", "{job=\"metrics\"}"),
    ]);
}

#[test]
fn escapes_in_paths() {
    check_paths(&[
        ("/metrics/job/a%2Fb", "{job=\"a/b\"}"),
        ("/metrics/job/%2Fa%2Fb%2F/x/1", "{job=\"/a/b/\",x=\"1\"}"),
        ("/metrics/job/a%20b", "{job=\"a b\"}"),
        // A plus stays a plus, and a percent sign that does not begin an escape stays, too.
        ("/metrics/job/a+b", "{job=\"a+b\"}"),
        ("/metrics/job/100%", "{job=\"100%\"}"),
        ("/metrics/job/5%zz", "{job=\"5%zz\"}"),
        ("/metrics/job/a:b;c,d=e@f!g~h*i'j(k)l$", "{job=\"a:b;c,d=e@f!g~h*i'j(k)l$\"}"),
        ("/metrics/job/%22quoted%22%5C%0Aline", "{job=\"\\\"quoted\\\"\\\\\\nline\"}"),
        ("/metrics/job/%C3%A4%E2%82%AC", "{job=\"ä€\"}"),
        ("/metrics/job/%7Bx%7D", "{job=\"{x}\"}"),
        ("/metrics/job/{x}", "{job=\"{x}\"}"),
        ("/metrics/job/./x/..", "{job=\".\",x=\"..\"}"),
        ("/metrics/job/%2e%2e", "{job=\"..\"}"),
        ("/metrics/%6aob/j", "{job=\"j\"}"),
    ]);
}

#[test]
fn base64_in_paths() {
    let path = "{job=\"j\",path=\"/a/b c\"}";
    check_paths(&[
        ("/metrics/job@base64/ag==", "{job=\"j\"}"),
        ("/metrics/job@base64/ag", "{job=\"j\"}"),
        ("/metrics/job%40base64/ag==", "{job=\"j\"}"),
        ("/metrics/job/j/path@base64/L2EvYiBj", path),
        ("/metrics/path@base64/L2EvYiBj/job/j/", path),
        ("/metrics/job/j/empty@base64/=", "{job=\"j\"}"),
        ("/metrics/job/j/empty@base64/==", "{job=\"j\"}"),
        ("/metrics/job/j/empty@base64/", "{job=\"j\"}"),
        // Both alphabets: "~~?" and "~~>".
        ("/metrics/x@base64/fn4_", "{x=\"~~?\"}"),
        ("/metrics/x@base64/fn4%2F", "{x=\"~~?\"}"),
        ("/metrics/x@base64/fn4-", "{x=\"~~>\"}"),
        ("/metrics/x@base64/fn4+", "{x=\"~~>\"}"),
        // A value with that ending is just a value.
        ("/metrics/job/a@base64", "{job=\"a@base64\"}"),
    ]);
}

/// The default escaping of a text scrape turns the dot into an underscore.
#[test]
fn escaped_label_names_in_paths() {
    let gateway = start();
    gateway.accept("/metrics/job/j/U__cloud_2e_region/eu", "a_total 1\n");
    gateway.accept("/metrics/job/j/cloud.region/eu", "a_total 1\n");
    gateway.accept("/metrics/U__job/j/plain__name/x", "b_total 1\n");
    let accept = "text/plain; version=1.0.0; escaping=allow-utf-8";
    let text = gateway.request("GET", "/metrics").header("Accept", accept).send().text();
    assert!(text.contains("a_total{\"cloud.region\"=\"eu\",job=\"j\"} 2\n"), "{text}");
    assert_eq!(gateway.sample("a_total{cloud_region=\"eu\",job=\"j\"}"), 2.0);
    assert_eq!(gateway.sample("b_total{job=\"j\",plain__name=\"x\"}"), 1.0);
}

#[test]
fn one_grouping_key_in_many_spellings() {
    let gateway = start();
    for path in [
        "/metrics/job/j/path@base64/L2EvYiBj/x/1",
        "/metrics/x/1/job/j/path/%2Fa%2Fb%20c/",
        "/metrics/job@base64/ag/x@base64/MQ==/path@base64/L2EvYiBj",
        "//metrics/path/%2fa%2fb%20c/job/j/x/1",
    ] {
        gateway.accept(path, "a_total 1\n");
    }
    assert_eq!(gateway.pushed().lines().count(), 2);
    assert_eq!(gateway.sample("a_total{job=\"j\",path=\"/a/b c\",x=\"1\"}"), 4.0);
    let groups = gateway.get("/api/v1/series?match[]=a_total").json();
    assert_eq!(groups["data"]["series"][0]["group"], "job=\"j\",path=\"/a/b c\",x=\"1\"");
}

#[test]
fn paths_that_name_no_grouping_key() {
    let mut gateway = start();
    gateway.accept("/metrics/job/j", "a 1\n");
    for path in [
        "/metrics/job",
        "/metrics/job/j/a",
        "/metrics/job/j//a/1",
        "/metrics/__name__/x",
        "/metrics/job/j/__a/1",
        "/metrics/@base64/eA",
        "/metrics/job@base64/!",
        "/metrics/job@base64/abcde",
        "/metrics/job@base64/YQ=b",
        "/metrics/job@base64/_w",
        "/metrics/job/%FF",
        "/metrics/%FF/x",
    ] {
        let problem = gateway.refuse(path, "a 1\n", 400);
        assert!(problem["detail"].as_str().unwrap().contains("path"), "{path}: {problem}");
    }
}

// === the path and the body ===

#[test]
fn labels_of_the_path_win_over_those_of_the_body() {
    let gateway = start();
    let body =
        "a_total{job=\"other\",instance=\"mine\",x=\"1\"} 1\na_total{instance=\"theirs\"} 2\n";
    gateway.accept("/metrics/job/j", body);
    gateway.accept("/metrics/job/j/instance/i", "a_total{instance=\"mine\",x=\"1\"} 4\n");
    assert_eq!(
        gateway.pushed(),
        "# TYPE a_total untyped\n\
         a_total{instance=\"i\",job=\"j\",x=\"1\"} 4\n\
         a_total{instance=\"mine\",job=\"j\",x=\"1\"} 1\n\
         a_total{instance=\"theirs\",job=\"j\"} 2\n"
    );
}

/// An empty label in the path removes the label of the body.
#[test]
fn an_empty_value_in_the_path_removes_the_label() {
    let gateway = start();
    gateway.accept("/metrics/job/j/instance@base64/=", "a_total{instance=\"i\",x=\"1\"} 1\n");
    gateway.accept("/metrics/job/j/instance/", "a_total{instance=\"k\",x=\"1\"} 1\n");
    assert_eq!(gateway.sample("a_total{job=\"j\",x=\"1\"}"), 2.0);
}

#[test]
fn series_made_equal_by_the_path_are_given_twice() {
    let mut gateway = start();
    let body = "a_total{instance=\"1\"} 1\na_total{instance=\"2\"} 2\n";
    let problem = gateway.refuse("/metrics/job/j/instance/i", body, 400);
    assert!(problem["detail"].as_str().unwrap().contains("twice"), "{problem}");
    gateway.accept("/metrics/job/j", body);
}

/// Labels of the path are added to every sample, but buckets and quantiles already have these.
#[test]
fn le_and_quantile_in_the_path() {
    let mut gateway = start();
    gateway.accept("/metrics/job/j/le/5", "a_total 1\n");
    assert_eq!(gateway.sample("a_total{job=\"j\",le=\"5\"}"), 1.0);
    let histogram = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\n";
    gateway.refuse("/metrics/job/j/le/5", histogram, 400);
    let summary = "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\n";
    gateway.refuse("/metrics/job/j/quantile/0.5", summary, 400);
    let states = gateway
        .request("POST", "/metrics/st/1/job/j")
        .body("# TYPE st stateset\nst{st=\"on\"} 1\n");
    let states = states.header("Content-Type", "application/openmetrics-text");
    let problem = gateway.refuse_request(states, 400);
    assert_eq!(problem["family"], "st");
    // Without a value it is not a label.
    gateway.accept("/metrics/job/j/le/", histogram);
}

#[test]
fn series_of_one_family_may_differ_in_their_label_names() {
    let gateway = start();
    gateway.accept("/metrics/job/j", "a_total 1\n");
    gateway.accept("/metrics/job/j/instance/i", "a_total 2\n");
    gateway.accept("/metrics", "a_total{x=\"\"} 4\n");
    assert_eq!(
        gateway.pushed(),
        "# TYPE a_total untyped\na_total 4\na_total{instance=\"i\",job=\"j\"} 2\n\
         a_total{job=\"j\"} 1\n"
    );
}

#[test]
fn names_of_our_own_metrics_cannot_be_pushed() {
    let mut gateway = start();
    let problem = gateway.refuse("/metrics/job/j", "ok_total 1\ntallygate_x 1\n", 422);
    assert_eq!(problem["family"], "tallygate_x");
}

/// The real Pushgateway replaces these; here they are metrics like any other.
#[test]
fn names_of_the_pushgateway_are_not_special() {
    let gateway = start();
    gateway.accept("/metrics/job/j", "# TYPE push_time_seconds gauge\npush_time_seconds 5\n");
    assert_eq!(gateway.sample("push_time_seconds{job=\"j\"}"), 5.0);
}
