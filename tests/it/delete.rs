//! `DELETE /metrics/…`: removes what was first pushed under exactly this path, and always answers 202.

use crate::harness::{Connection, flag, start};

#[test]
fn exactly_the_series_of_this_path() {
    let gateway = start();
    gateway.accept("/metrics/job/j", "a_total 1\nb_total 1\n");
    gateway.accept("/metrics/job/j/instance/i", "a_total 2\n");
    gateway.accept("/metrics/job/k", "a_total 4\n");
    gateway.accept("/metrics", "a_total 8\n");
    let response = gateway.request("DELETE", "/metrics/job/j").send();
    assert_eq!((response.status, response.text().as_str()), (202, ""));
    assert_eq!(
        gateway.pushed(),
        "# TYPE a_total untyped\na_total 8\n\
         a_total{instance=\"i\",job=\"j\"} 2\na_total{job=\"k\"} 4\n"
    );
    assert_eq!(gateway.sample("tallygate_series_removed_total{cause=\"deleted\"}"), 2.0);
}

#[test]
fn any_spelling_of_the_path() {
    let gateway = start();
    for path in
        ["/metrics/x@base64/L2Ev/job/j", "//metrics/job/j/x/%2Fa%2F/", "/metrics/x/%2fa%2f/job/j/"]
    {
        gateway.accept("/metrics/job/j/x/%2Fa%2F", "a 1\n");
        assert_eq!(gateway.request("DELETE", path).send().status, 202);
        assert_eq!(gateway.pushed(), "", "{path}");
    }
}

/// A series belongs to the path of its first push, whatever the paths of later ones.
#[test]
fn the_path_of_the_first_push_counts() {
    let gateway = start();
    gateway.accept("/metrics", "a{job=\"j\"} 1\n");
    gateway.accept("/metrics/job/j", "a 1\n");
    gateway.request("DELETE", "/metrics/job/j").send();
    assert_eq!(gateway.sample("a{job=\"j\"}"), 2.0);
    gateway.accept("/metrics/job/k", "b 1\n");
    gateway.accept("/metrics", "b{job=\"k\"} 1\n");
    gateway.request("DELETE", "/metrics/job/k").send();
    assert_eq!(gateway.pushed(), "# TYPE a untyped\na{job=\"j\"} 2\n");
}

#[test]
fn a_deleted_series_begins_anew() {
    let gateway = start();
    for _ in 0..3 {
        gateway.accept("/metrics/job/j", "a_total 5\n");
        assert_eq!(gateway.sample("a_total{job=\"j\"}"), 5.0);
        gateway.request("DELETE", "/metrics/job/j").send();
    }
    // The type goes with the last series, so the name is free.
    gateway.accept("/metrics/job/j", "# TYPE a_total gauge\na_total 1\n");
    assert!(gateway.pushed().starts_with("# TYPE a_total gauge\n"));
}

#[test]
fn nothing_to_delete_is_no_error() {
    let gateway = start();
    for path in ["/metrics/job/never", "/metrics/job/j/a/1", "/metrics/team/x"] {
        assert_eq!(gateway.request("DELETE", path).send().status, 202);
    }
}

#[test]
fn paths_that_cannot_be_deleted() {
    let gateway = start();
    gateway.accept("/metrics", "a 1\n");
    for (path, status) in [
        ("/metrics", 405),
        ("/metrics/", 405),
        ("/metrics/job", 400),
        ("/metrics/job@base64/!", 400),
    ] {
        assert_eq!(gateway.request("DELETE", path).send().status, status, "{path}");
    }
    assert_eq!(gateway.sample("a"), 1.0);
}

#[test]
fn a_dry_run_tells_and_removes_nothing() {
    let gateway = start();
    gateway.accept("/metrics/job/j", "a{x=\"1\"} 1\na{x=\"2\"} 1\nb 1\n");
    let before = gateway.pushed();
    for query in ["dry_run=1", "dry_run", "dry_run=true"] {
        let response = gateway.request("DELETE", &format!("/metrics/job/j?{query}")).send();
        assert_eq!(response.status, 202);
        let expected = serde_json::json!({
            "status": "success",
            "data": { "dry_run": true, "series": 3, "families": { "a": 2, "b": 1 } },
        });
        assert_eq!(response.json(), expected);
    }
    let none = gateway.request("DELETE", "/metrics/job/k?dry_run=1").send().json();
    assert_eq!(none["data"]["series"], 0);
    assert_eq!(gateway.pushed(), before);
    assert_eq!(gateway.request("DELETE", "/metrics/job/j?dry_run=0").send().status, 202);
    assert_eq!(gateway.pushed(), "");
}

/// Some clients delete at every shutdown, which would remove what others have counted.
#[test]
fn deletion_can_be_ignored() {
    let gateway = flag("--push.delete=ignore").run();
    gateway.accept("/metrics/job/j", "a 1\n");
    assert_eq!(gateway.request("DELETE", "/metrics/job/j").send().status, 202);
    assert_eq!(gateway.sample("a{job=\"j\"}"), 1.0);
    assert_eq!(gateway.request("DELETE", "/metrics/job").send().status, 400);
}

/// aioprometheus sends all metrics with it.
#[test]
fn a_body_is_thrown_away() {
    let gateway = start();
    gateway.accept("/metrics/job/j", "a 1\n");
    let mut connection = Connection::open(gateway.address);
    let body = "a 1\nnonsense{{{\n".repeat(5000);
    let delete = gateway.request("DELETE", "/metrics/job/j").body(&body);
    assert_eq!(connection.send(&delete).status, 202);
    assert_eq!(connection.send(&delete.chunked()).status, 202);
    assert_eq!(connection.send(&gateway.request("GET", "/-/healthy")).text(), "OK");
    assert_eq!(gateway.pushed(), "");
}
