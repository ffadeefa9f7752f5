//! `/api/v1/…`: what is stored, as JSON; what is running; and removal by selector.

use serde_json::{Value, json};

use crate::harness::{Gateway, flag, histogram, matching, start};

fn data(gateway: &Gateway, path: &str) -> Value {
    let response = gateway.get(path);
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let json = response.json();
    assert_eq!(json["status"], "success");
    json["data"].clone()
}

#[test]
fn status() {
    let gateway = flag("--limits.series=77").flag("--web.enable-admin-api").run();
    gateway.accept("/metrics/job/j", "a 1\nb{x=\"1\"} 1\nb{x=\"2\"} 1\n");
    let status = data(&gateway, "/api/v1/status");
    assert_eq!(status["build_information"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["phase"], "ready");
    assert_eq!((&status["series"], &status["families"]), (&json!(3), &json!(2)));
    let flags = &status["flags"];
    assert_eq!(flags["--limits.series"], "77");
    assert_eq!(flags["--web.enable-admin-api"], "true");
    assert_eq!(flags["--ttl.default"], "0s");
    let started = status["start_time"].as_str().unwrap();
    assert!(started.ends_with('Z') && started.len() == "2026-11-23T02:36:05.814Z".len());
}

#[test]
fn families_as_json() {
    let gateway = start();
    gateway.accept(
        "/metrics/job/j",
        "# HELP a_total Text.\n# TYPE a_total counter\na_total{x=\"\\\"\"} 0.1\n",
    );
    gateway.accept("/metrics/job/j", "# TYPE g gauge\ng NaN\n");
    gateway.accept("/metrics/job/j", histogram("h", 1.5, &[("0.5", 1), ("1", 2), ("+Inf", 3)]));
    gateway
        .accept("/metrics/job/j", "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 5\ns_count 2\n");
    let expected = json!({
        "truncated": false,
        "families": [
            {
                "name": "a_total", "type": "counter", "help": "Text.",
                "metrics": [{ "labels": { "job": "j", "x": "\"" }, "value": "0.1" }],
            },
            {
                "name": "g", "type": "gauge",
                "metrics": [{ "labels": { "job": "j" }, "value": "NaN" }],
            },
            {
                "name": "h", "type": "histogram",
                "metrics": [{
                    "labels": { "job": "j" }, "count": "3", "sum": "1.5",
                    "buckets": { "0.5": "1", "1": "2", "+Inf": "3" },
                }],
            },
            {
                "name": "s", "type": "summary",
                "metrics": [{
                    "labels": { "job": "j" }, "count": "2", "sum": "5", "quantiles": {},
                }],
            },
        ],
    });
    assert_eq!(data(&gateway, "/api/v1/metrics"), expected);
    let chosen =
        data(&gateway, &format!("/api/v1/metrics?{}", matching(&["g", "{__name__=\"s\"}"])));
    let names: Vec<&Value> =
        chosen["families"].as_array().unwrap().iter().map(|family| &family["name"]).collect();
    assert_eq!(names, ["g", "s"]);
    assert_eq!(gateway.get("/api/v1/metrics?match[]={").status, 400);
}

#[test]
fn one_series_explained() {
    let gateway = start();
    let push =
        gateway.request("POST", "/metrics/job/j").body("# TYPE g gauge\ng{x=\"1\"} 1\nc 1\n");
    gateway.accept_request(push.header("Push-Merge", "max").header("Push-TTL", "1h"));
    let series = data(&gateway, "/api/v1/series?match[]=g")["series"][0].clone();
    assert_eq!(series["name"], "g");
    assert_eq!(series["type"], "gauge");
    assert_eq!(series["labels"], json!({ "job": "j", "x": "1" }));
    assert_eq!(series["merge"], "max");
    assert_eq!(series["group"], "job=\"j\"");
    assert!(series["memory_bytes"].as_u64().unwrap() < 1000);
    let time = |key: &str| humantime::parse_rfc3339(series[key].as_str().unwrap()).unwrap();
    assert_eq!(time("expires").duration_since(time("last_push")).unwrap().as_secs(), 3600);
    assert!(time("created").elapsed().unwrap().as_secs() < 60);
    gateway.accept("/metrics", "forever 1\n");
    let series = data(&gateway, "/api/v1/series?match[]=forever");
    assert_eq!(series["series"][0]["expires"], Value::Null);
    assert_eq!(series["series"][0]["group"], "");
    assert_eq!(series["truncated"], false);
    for path in ["/api/v1/series", "/api/v1/series?match[]={}", "/api/v1/series?match[]=a["] {
        assert_eq!(gateway.get(path).status, 400, "{path}");
    }
}

#[test]
fn deletion_by_selector() {
    let gateway = flag("--web.enable-admin-api").run();
    gateway.accept("/metrics/job/j", "a{x=\"1\"} 1\na{x=\"2\"} 1\nb 1\nc 1\n");
    gateway.accept("/metrics/job/k", "a{x=\"1\"} 1\nb 1\n");
    let delete = |selectors: &[&str], more: &str| {
        let path = format!("/api/v1/series?{}{more}", matching(selectors));
        gateway.request("DELETE", &path).send()
    };
    let selectors = ["{job=\"j\",x=~\".+\"}", "c"];
    let dry = delete(&selectors, "&dry_run=1");
    assert_eq!(dry.status, 202);
    let expected = json!({ "dry_run": true, "series": 3, "families": { "a": 2, "c": 1 } });
    assert_eq!(dry.json()["data"], expected);
    assert_eq!(gateway.sample("tallygate_series"), 6.0);
    let deleted = delete(&selectors, "");
    assert_eq!((deleted.status, deleted.text().as_str()), (202, ""));
    assert_eq!(
        gateway.pushed(),
        "# TYPE a untyped\na{job=\"k\",x=\"1\"} 1\n\
         # TYPE b untyped\nb{job=\"j\"} 1\nb{job=\"k\"} 1\n"
    );
    // Selectors that match everything, probably by mistake, are refused.
    assert_eq!(delete(&[], "").status, 400);
    for selector in ["", "{}", "{job=~\".*\"}", "{x=\"\"}"] {
        assert_eq!(delete(&[selector], "").status, 400, "{selector}");
        assert_eq!(delete(&["b", selector], "").status, 400, "{selector}");
    }
    assert_eq!(delete(&["{__name__=~\".+\"}"], "").status, 202);
    assert_eq!(gateway.pushed(), "");
}

#[test]
fn wipe() {
    let gateway = flag("--web.enable-admin-api").run();
    gateway.accept("/metrics/job/j", "a 1\nb 1\n");
    gateway.accept("/metrics", histogram("h", 1.0, &[("+Inf", 1)]));
    let response = gateway.request("PUT", "/api/v1/admin/wipe").body("ignored").send();
    assert_eq!((response.status, response.text().as_str()), (202, ""));
    assert_eq!(gateway.pushed(), "");
    assert_eq!(gateway.sample("tallygate_series_removed_total{cause=\"wiped\"}"), 3.0);
    assert_eq!(gateway.sample("tallygate_pushes_total{outcome=\"accepted\"}"), 2.0);
    gateway.accept("/metrics/job/j", "# TYPE a gauge\na 7\n");
    assert_eq!(gateway.sample("a{job=\"j\"}"), 7.0);
}

/// Without the flag nothing changes, and the answer names it.
#[test]
fn removal_needs_its_flag() {
    let gateway = start();
    gateway.accept("/metrics/job/j", "a 1\n");
    for (method, path) in [
        ("DELETE", "/api/v1/series?match[]=a"),
        ("DELETE", "/api/v1/series?match[]=a&dry_run=1"),
        ("DELETE", "/api/v1/series"),
        ("PUT", "/api/v1/admin/wipe"),
    ] {
        let response = gateway.request(method, path).send();
        assert_eq!(response.status, 403, "{path}");
        assert_eq!(response.json()["hint"], "start it with --web.enable-admin-api");
    }
    assert_eq!(gateway.sample("a{job=\"j\"}"), 1.0);
}
