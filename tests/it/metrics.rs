//! Our own metrics: they exist, are described, pass the linter, and count what they say.

use std::collections::BTreeMap;

use crate::harness::{Coding, Message, config, encoded, flag, promtool_lint, start, value};

#[test]
fn promtool_likes_our_own_metrics() {
    let gateway = flag("--web.management-address=127.0.0.1:0").run();
    gateway.accept("/metrics/job/j", "a 1\n");
    let own = crate::harness::Request::new(gateway.management(), "GET", "/metrics").send().text();
    assert_eq!(promtool_lint(&own), "");
    // Each has a type and a help text, and no label comes from a client.
    for line in own.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("tallygate_"), "{line}");
        assert!(!line.contains("job="), "{line}");
    }
    let names = |prefix: &str| -> Vec<String> {
        let lines = own.lines().filter_map(|line| line.strip_prefix(prefix));
        lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(names("# HELP "), names("# TYPE "));
}

#[test]
fn pushes_by_outcome() {
    let mut gateway = flag("--limits.series=2").flag("--limits.samples-per-push=5").run();
    gateway.expect_log("push refused");
    gateway.accept("/metrics", "a 1\nb 1\n");
    gateway.accept("/metrics", "");
    gateway.push("/metrics", "nonsense{\n");
    gateway.push("/metrics/job", "a 1\n");
    gateway.push("/metrics", "a NaN\n");
    gateway.push("/metrics", "c 1\n");
    gateway.push("/metrics", "c 1\n".repeat(6));
    let brotli = gateway.request("POST", "/metrics").header("Content-Encoding", "br");
    brotli.body("a 1\n").send();
    for (outcome, count) in [
        ("accepted", 2.0),
        ("malformed", 3.0),
        ("unacceptable", 1.0),
        ("over_limit", 1.0),
        ("unsupported_type", 1.0),
        ("too_large", 0.0),
        ("timed_out", 0.0),
        ("unavailable", 0.0),
    ] {
        let series = format!("tallygate_pushes_total{{outcome=\"{outcome}\"}}");
        assert_eq!(gateway.sample(&series), count, "{outcome}");
    }
    assert_eq!(gateway.sample("tallygate_push_samples_total"), 2.0);
    assert_eq!(gateway.sample("tallygate_push_duration_seconds_count"), 2.0);
    assert_eq!(gateway.sample("tallygate_series_born_total"), 2.0);
    assert_eq!(gateway.sample("tallygate_series"), 2.0);
    assert_eq!(gateway.sample("tallygate_families"), 2.0);
}

#[test]
fn bodies_by_format_and_coding() {
    let gateway = start();
    let openmetrics = "application/openmetrics-text";
    let protobuf = "application/vnd.google.protobuf";
    let body = Message::family("a", 0).metric(&[], value::counter(1.0)).delimited();
    let mut bytes = 0;
    for (format, content_type, body) in [
        ("text", "text/plain", b"# TYPE a counter\na 1\n".to_vec()),
        ("openmetrics", openmetrics, b"# TYPE b counter\nb_total 1\n# EOF\n".to_vec()),
        ("protobuf", protobuf, body),
    ] {
        for (coding, header) in
            [(None, "identity"), (Some(Coding::Gzip), "gzip"), (Some(Coding::Zstd), "zstd")]
        {
            let coded = coding.map_or(body.clone(), |coding| encoded(coding, &body));
            bytes += coded.len();
            let push = gateway.request("POST", "/metrics").header("Content-Type", content_type);
            gateway.accept_request(push.header("Content-Encoding", header).body(coded));
            let series =
                format!("tallygate_push_bodies_total{{encoding=\"{header}\",format=\"{format}\"}}");
            assert_eq!(gateway.sample(&series), 1.0);
        }
    }
    assert_eq!(gateway.sample("tallygate_push_bytes_total"), bytes as f64);
}

#[test]
fn requests_and_scrapes() {
    let gateway = start();
    let first = gateway.get("/metrics");
    gateway.get("/metrics");
    gateway.get("/nowhere");
    gateway.get("/api/v1/status");
    gateway.request("DELETE", "/metrics/job/j").send();
    gateway.request("PUT", "/-/quit").send();
    for (series, count) in [
        ("tallygate_http_requests_total{code=\"200\",handler=\"scrape\"}", 2.0),
        ("tallygate_http_requests_total{code=\"404\",handler=\"other\"}", 1.0),
        ("tallygate_http_requests_total{code=\"200\",handler=\"api_status\"}", 1.0),
        ("tallygate_http_requests_total{code=\"202\",handler=\"delete\"}", 1.0),
        ("tallygate_http_requests_total{code=\"403\",handler=\"quit\"}", 1.0),
    ] {
        let text = gateway.get("/metrics?match[]=tallygate_http_requests_total").text();
        let found =
            crate::harness::sample(&text, series).unwrap_or_else(|| panic!("{series}: {text}"));
        // The scrape itself counts, too.
        assert!(found >= count, "{series}");
    }
    assert!(gateway.sample("tallygate_scrape_duration_seconds_count") >= 7.0);
    assert!(gateway.sample("tallygate_scrape_bytes_total") >= 2.0 * first.body.len() as f64);
}

#[test]
fn the_process_is_described() {
    let gateway = start();
    let version = env!("CARGO_PKG_VERSION");
    let text = gateway.get("/metrics").text();
    let build = text.lines().find(|line| line.starts_with("tallygate_build_info{")).unwrap();
    assert!(build.contains(&format!("version=\"{version}\"")) && build.ends_with(" 1"), "{build}");
    for (name, least) in [
        ("process_resident_memory_bytes", 1e6),
        ("process_virtual_memory_bytes", 1e6),
        ("process_open_fds", 5.0),
        ("process_max_fds", 100.0),
        ("process_start_time_seconds", 1.7e9),
        ("config_last_reload_success_timestamp_seconds", 1.7e9),
        ("config_last_reload_successful", 1.0),
        ("connections", 1.0),
    ] {
        assert!(gateway.sample(&format!("tallygate_{name}")) >= least, "{name}");
    }
    // It only grows if there is something to do.
    let many: String = (0..20_000).map(|i| format!("a{{i=\"{i}\"}} 1\n")).collect();
    gateway.accept("/metrics", many);
    crate::harness::eventually("CPU time counts", || {
        (gateway.sample("tallygate_process_cpu_seconds_total") > 0.0).then_some(())
    });
}

#[test]
fn every_limit_has_its_figures() {
    let gateway = start();
    let text = gateway.get("/metrics").text();
    let labels = |name: &str| -> BTreeMap<String, f64> {
        let prefix = format!("tallygate_{name}{{limit=\"");
        let lines = text.lines().filter_map(|line| line.strip_prefix(&prefix));
        lines
            .map(|line| {
                let (limit, rest) = line.split_once('"').unwrap();
                (limit.to_owned(), rest.trim_start_matches("} ").parse().unwrap())
            })
            .collect()
    };
    let keys: Vec<String> = include_str!("../../config/default.yaml")
        .lines()
        .skip_while(|line| *line != "limits:")
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with(' '))
        .filter(|line| !line.trim_start().starts_with('#') && line.contains(':'))
        .map(|line| line.trim().split(':').next().unwrap().to_owned())
        .collect();
    assert!(keys.len() > 10);
    let limits = labels("limit");
    for key in &keys {
        assert!(limits.contains_key(key), "{key} is not shown");
    }
    assert_eq!(limits.len(), keys.len());
    assert_eq!(labels("limit_refusals_total").len(), keys.len());
    assert!(labels("limit_refusals_total").values().all(|count| *count == 0.0));
    for key in labels("limit_used").keys() {
        assert!(keys.contains(key), "{key}");
    }
}

#[test]
fn what_is_left_out_is_counted() {
    let gateway = config("rules: [{match: unwanted, drop: true}]").run();
    gateway.accept("/metrics", "unwanted 1\nunwanted{x=\"1\"} 1\nwanted 1\n");
    assert_eq!(gateway.sample("tallygate_series_dropped_total"), 2.0);
}

/// Two names that escaping makes equal: one is shown, but a scraper that asks for UTF-8 gets both.
#[test]
fn names_that_collide_when_escaped() {
    let mut gateway = start();
    gateway.expect_log("left out of a scrape");
    gateway
        .accept("/metrics", "{\"a.b\"} 1\n{\"a-b\"} 2\nc{\"x.y\"=\"1\"} 1\nc{\"x-y\"=\"1\"} 2\n");
    let text = gateway.pushed();
    assert_eq!(text.matches("\na_b ").count(), 1, "{text}");
    assert!(gateway.sample("tallygate_scrape_left_out_total{what=\"family\"}") >= 1.0);
    let accept = "text/plain;version=1.0.0;escaping=allow-utf-8";
    let all = gateway.request("GET", "/metrics").header("Accept", accept).send().text();
    for line in ["{\"a-b\"} 2\n", "{\"a.b\"} 1\n", "c{\"x-y\"=\"1\"} 2\n", "c{\"x.y\"=\"1\"} 1\n"] {
        assert!(all.contains(line), "no {line} in {all}");
    }
}
