//! The options of pushgateway mode, and features that only ours has.

use super::{pushgateway, start};
use crate::harness::{Coding, Response, decoded, encoded, sample};

const DELTA: (&str, &str) = ("Push-Mode", "delta");

#[test]
fn pushes_that_ask_for_it_are_added_up() {
    let mut gateway = pushgateway().flag("--push.allow-mode").run();
    let add = |path: &str, body: &str| {
        gateway.request("POST", path).header(DELTA.0, DELTA.1).body(body).send()
    };
    for _ in 0..2 {
        assert_eq!(add("/metrics/job/a", "# TYPE runs_total counter\nruns_total 2\n").status, 200);
        let by_query =
            gateway.push("/metrics/job/a?mode=delta", "# TYPE runs_total counter\nruns_total 1\n");
        assert_eq!(by_query.status, 200);
        gateway.accept("/metrics/job/a", "# TYPE size gauge\nsize 7\n");
    }
    assert_eq!(gateway.sample("runs_total{job=\"a\"}"), 6.0);
    assert_eq!(gateway.sample("size{instance=\"\",job=\"a\"}"), 7.0);
    // The families of both are sorted by name.
    let text = gateway.get("/metrics").text();
    let families: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(families.is_sorted(), "{families:?}");
    // A name is either added up or replaced, whichever came first; the same goes for the names of its
    // samples.
    for (path, headers, body) in [
        ("/metrics/job/b", None, "# TYPE runs_total counter\nruns_total 1\n"),
        ("/metrics/job/b", Some(DELTA), "# TYPE size gauge\nsize 1\n"),
        ("/metrics/job/b", Some(DELTA), "# TYPE push_time_seconds gauge\npush_time_seconds 1\n"),
        ("/metrics/job/b", Some(DELTA), "# TYPE process_open_fds gauge\nprocess_open_fds 1\n"),
        ("/metrics/job/b", Some(("Push-Mode", "sideways")), "x 1\n"),
    ] {
        let mut request = gateway.request("POST", path).body(body);
        if let Some((name, value)) = headers {
            request = request.header(name, value);
        }
        let response = request.send();
        assert_eq!(response.status, 400, "{body}");
        assert!(response.text().ends_with('\n'));
        assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    // Idempotency keys work there, too.
    for _ in 0..2 {
        let keyed = gateway.request("POST", "/metrics/job/a").header(DELTA.0, DELTA.1);
        let keyed = keyed
            .header("Idempotency-Key", "one")
            .body("# TYPE keyed_total counter\nkeyed_total 1\n");
        assert_eq!(keyed.send().status, 200);
    }
    assert_eq!(gateway.sample("keyed_total{job=\"a\"}"), 1.0);
    gateway.expect_log("push refused");
}

#[test]
fn a_push_does_not_choose_its_mode_unless_allowed() {
    let mut gateway = start();
    let response =
        gateway.request("POST", "/metrics/job/a").header(DELTA.0, DELTA.1).body("x 1\n").send();
    assert_eq!(response.status, 400);
    assert!(response.text().contains("--push.allow-mode"), "{}", response.text());
    gateway.accept("/metrics/job/a?mode=delta", "x 1\n");
    assert_eq!(gateway.sample("x{instance=\"\",job=\"a\"}"), 1.0);
    gateway.expect_log("push refused");
}

#[test]
fn without_the_consistency_check_a_push_is_acknowledged_and_a_failed_one_is_remembered() {
    let mut gateway = pushgateway().flag("--push.disable-consistency-check").run();
    let status = |path: &str, body: &str| gateway.push(path, body).status;
    assert_eq!(status("/metrics/job/a", "x 1\n"), 202);
    assert_eq!(status("/metrics/job/b", "# TYPE x gauge\nx 1\n"), 202);
    assert_eq!(status("/metrics/job/c", "x 1 1\n"), 202);
    assert_eq!(status("/metrics/job/d", "x\n"), 400);
    assert_eq!(gateway.sample("x{instance=\"\",job=\"a\"}"), 1.0);
    for job in ["b", "c"] {
        let series = format!("push_failure_time_seconds{{instance=\"\",job=\"{job}\"}}");
        assert!(gateway.sample(&series) > 1e9);
    }
    let text = gateway.get("/metrics").text();
    assert!(!text.contains("job=\"d\"") && sample(&text, "x{instance=\"\",job=\"b\"}").is_none());
    gateway.expect_log("push refused");
}

#[test]
fn utf8_names() {
    let mut plain = start();
    for (path, body) in [
        ("/metrics/job/a", "{\"a.b\"} 1\n"),
        ("/metrics/job/a", "x{\"a.b\"=\"1\"} 1\n"),
        ("/metrics/job/a/a.b/1", "x 1\n"),
    ] {
        assert_eq!(plain.push(path, body).status, 400, "{body}");
    }
    plain.accept("/metrics/job/a", "{\"ab\"} 1\n");
    plain.expect_log("push refused");

    let gateway = pushgateway().flag("--push.enable-utf8-names").run();
    gateway.accept("/metrics/job/a/U__l_2e_m/1", "{\"a.b\",\"c d\"=\"2\"} 1\n");
    assert_eq!(gateway.sample("a_b{c_d=\"2\",instance=\"\",job=\"a\",l_m=\"1\"}"), 1.0);
    let utf8 =
        gateway.request("GET", "/metrics").header("Accept", "text/plain;escaping=allow-utf-8");
    let text = utf8.send().text();
    assert!(
        text.contains("{\"a.b\",\"c d\"=\"2\",instance=\"\",job=\"a\",\"l.m\"=\"1\"} 1\n"),
        "{text}"
    );
}

#[test]
fn our_own_metrics_have_the_names_that_dashboards_know() {
    let mut gateway = start();
    gateway.accept("/metrics/job/a", "x 1\n");
    assert_eq!(gateway.push("/metrics/job/a", "x\n").status, 400);
    assert_eq!(gateway.request("PUT", "/metrics/job/a").send().status, 200);
    assert_eq!(gateway.request("DELETE", "/metrics/job/a").send().status, 202);
    gateway.get("/-/ready");
    gateway.get("/metrics");
    let value = |name: &str| gateway.sample(&format!("pushgateway_http_{name}"));
    assert_eq!(value("requests_total{code=\"200\",handler=\"push\",method=\"post\"}"), 1.0);
    assert_eq!(value("requests_total{code=\"400\",handler=\"push\",method=\"post\"}"), 1.0);
    assert_eq!(value("requests_total{code=\"202\",handler=\"delete\",method=\"delete\"}"), 1.0);
    assert_eq!(value("requests_total{code=\"200\",handler=\"ready\",method=\"get\"}"), 1.0);
    assert_eq!(value("push_duration_seconds_count{method=\"post\"}"), 2.0);
    assert_eq!(value("push_size_bytes_count{method=\"put\"}"), 1.0);
    let size = value("push_size_bytes{method=\"post\",quantile=\"0.5\"}");
    assert!((40.0..400.0).contains(&size), "{size}");
    let text = gateway.get("/metrics").text();
    for name in ["pushgateway_build_info{", "process_open_fds ", "tallygate_groups "] {
        assert!(text.contains(&format!("\n{name}")), "{name}");
    }
    assert!(!text.contains("handler=\"metrics\"") && !text.contains("tallygate_process_"));
    gateway.expect_log("push refused");
}

#[test]
fn scrapes_are_text_or_protobuf_and_compressed_on_demand() {
    let mut gateway = start();
    gateway.accept("/metrics/job/a", "x 1\n");
    for (accept, content_type) in [
        ("*/*", "text/plain; version=0.0.4"),
        ("application/openmetrics-text;version=1.0.0", "text/plain; version=0.0.4"),
        ("text/plain;version=1.0.0", "text/plain; version=0.0.4"),
        (
            "application/openmetrics-text,text/plain;version=0.0.4;q=0.5",
            "text/plain; version=0.0.4",
        ),
        (super::corpus::PROTOBUF, "application/vnd.google.protobuf"),
    ] {
        let response = gateway.request("GET", "/metrics").header("Accept", accept).send();
        let found = response.header("content-type").unwrap();
        assert!(found.starts_with(content_type), "{accept}: {found}");
    }
    for (offered, coding) in [("gzip", Some("gzip")), ("gzip;q=0", None), ("", None)] {
        let response = gateway.request("GET", "/metrics").header("Accept-Encoding", offered).send();
        assert_eq!(response.header("content-encoding"), coding, "{offered}");
        assert!(decoded(coding, &response.body).contains("x{instance=\"\",job=\"a\"} 1\n"));
    }
    for (body, status) in [
        (encoded(Coding::SnappyFramed, "y 1\n"), 200),
        (encoded(Coding::SnappyBlock, "y 2\n"), 400),
        (Vec::new(), 200),
    ] {
        let snappy = gateway.request("POST", "/metrics/job/a").header("Content-Encoding", "snappy");
        assert_eq!(snappy.body(body).send().status, status);
    }
    assert!(gateway.get("/metrics").text().contains("\ny{instance=\"\",job=\"a\"} 1\n"));
    gateway.expect_log("in the framing format");
}

#[test]
fn everything_moves_below_the_prefix_and_only_the_scrape_elsewhere() {
    let mut gateway = pushgateway()
        .flag("--web.external-url=http://example.org/gw")
        .flag("--web.telemetry-path=/own/metrics")
        .run();
    gateway.last_scrape(Some("/gw/own/metrics"));
    assert_eq!(gateway.push("/gw/metrics/job/a", "x 1\n").status, 200);
    assert_eq!(gateway.push("/metrics/job/a", "x 1\n").status, 404);
    assert_eq!(gateway.get("/gw/metrics").status, 404);
    assert_eq!(gateway.get("/metrics").status, 404);
    assert!(gateway.get("/gw/own/metrics").text().contains("x{instance=\"\",job=\"a\"} 1\n"));
    let status = gateway.get("/gw/api/v1/status").json();
    assert_eq!(status["data"]["flags"]["web.telemetry-path"], "/own/metrics");
    assert_eq!(status["data"]["flags"]["persistence.interval"], "5m0s");
    for path in ["/gw", "/gw/", "/gw/status"] {
        let page = gateway.get(path);
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(page.text().contains("<base href=\"/gw/\">"), "{path}");
        assert!(!page.text().contains("<script>"), "scripts are files of their own");
    }
    for (file, content_type) in [
        ("pushgateway.js", "text/javascript; charset=utf-8"),
        ("pushgateway.css", "text/css; charset=utf-8"),
    ] {
        let response = gateway.get(&format!("/gw/static/{file}"));
        assert_eq!((response.status, response.header("content-type")), (200, Some(content_type)));
    }
}

#[test]
fn groups_are_wiped_and_the_process_stops_on_request_only_if_allowed() {
    let gateway = pushgateway().run();
    gateway.accept("/metrics/job/a", "x 1\n");
    assert_eq!(gateway.request("PUT", "/api/v1/admin/wipe").send().status, 404);
    let quit = gateway.request("PUT", "/-/quit").send();
    assert_eq!(quit.status, 403);
    assert!(quit.text().contains("--web.enable-lifecycle"), "{}", quit.text());
    drop(gateway);

    let mut gateway = start();
    gateway.accept("/metrics/job/a", "x 1\n");
    assert_eq!(gateway.request("PUT", "/api/v1/admin/wipe").send().status, 202);
    assert_eq!(gateway.get("/api/v1/metrics").json()["data"], serde_json::json!([]));
    gateway.last_scrape(None);
    assert_eq!(gateway.request("POST", "/-/quit").send().status, 200);
    assert_eq!(gateway.wait(), Some(0));
    gateway.expect_log("stop requested over HTTP");
}

#[test]
fn a_gateway_that_is_full_refuses_without_a_trace() {
    let mut gateway = pushgateway()
        .flag("--limits.series=5")
        .flag("--limits.body-bytes=1KiB")
        .flag("--limits.decoded-body-bytes=1KiB")
        .run();
    gateway.accept("/metrics/job/a", "x 1\ny 1\nz 1\n");
    let response = gateway.push("/metrics/job/b", "x 1\n");
    assert_eq!(response.status, 429, "{}", response.text());
    assert_eq!(gateway.push("/metrics/job/b", format!("x 1\n#{}\n", "x".repeat(2000))).status, 413);
    assert!(!gateway.get("/metrics").text().contains("job=\"b\""));
    // A push that only replaces is still accepted.
    assert_eq!(gateway.request("PUT", "/metrics/job/a").body("u 1\nv 1\nw 1\n").send().status, 200);
    gateway.expect_log("push refused");
}

/// Groups count even without metrics.
#[test]
fn groups_without_metrics_are_limited_too() {
    let mut gateway = pushgateway()
        .flag("--limits.series=6")
        .flag("--limits.families=2")
        .flag("--limits.labels-per-series=4")
        .flag("--web.enable-admin-api")
        .run();
    let put = |path: &str, body: &str| gateway.request("PUT", path).body(body).send();
    let refused = |response: Response, status: u16, limit: &str| {
        assert_eq!(response.status, status, "{}", response.text());
        assert!(response.text().contains(limit), "{}", response.text());
    };
    for job in ["a", "b", "c"] {
        assert_eq!(put(&format!("/metrics/job/{job}"), "").status, 200);
    }
    refused(put("/metrics/job/d", ""), 429, "limits.series");
    // A group with only failed pushes counts, too. If there is no room for it, it is not remembered.
    refused(put("/metrics/job/e", "x 1 1\n"), 400, "timestamp");
    assert_eq!(gateway.get("/api/v1/metrics").json()["data"].as_array().unwrap().len(), 3);
    assert_eq!(gateway.request("DELETE", "/metrics/job/a").send().status, 202);
    assert_eq!(put("/metrics/job/b", "x 1\ny 1\n").status, 200);
    refused(put("/metrics/job/c", "x{l=\"1\"} 1\n"), 429, "limits.series");

    assert_eq!(gateway.request("PUT", "/api/v1/admin/wipe").send().status, 202);
    assert_eq!(put("/metrics/job/a", "x 1\ny 1\n").status, 200);
    refused(put("/metrics/job/a", "x 1\ny 1\nz 1\n"), 429, "limits.families");
    refused(gateway.push("/metrics/job/a", "z 1\n"), 429, "limits.families");
    assert_eq!(put("/metrics/job/a", "z 1\nx 2\n").status, 200);
    // The limits on labels apply even if the body has no series.
    let long = "v".repeat(5000);
    refused(put(&format!("/metrics/job/{long}"), ""), 400, "label_value_bytes");
    refused(put("/metrics/job/a/b/1/c/1/d/1/e/1", ""), 400, "labels_per_series");
    let help = format!("# HELP x {}\nx 1\n", "h".repeat(20_000));
    refused(put("/metrics/job/a", &help), 400, "help_bytes");
    gateway.expect_log("push refused");
}

#[test]
fn a_group_cannot_be_hidden_by_a_metric_called_like_its_keys() {
    let gateway = start();
    gateway.accept("/metrics/job/a", "labels 1\nlast_push_successful 0\n");
    let groups = gateway.get("/api/v1/metrics").json();
    assert_eq!(groups["data"][0]["labels"], serde_json::json!({ "job": "a" }));
    assert_eq!(groups["data"][0]["last_push_successful"], true);
}
