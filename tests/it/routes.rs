//! Every route with every method, with and without the flags that enable dangerous ones.

use crate::harness::{Gateway, flag, start};

pub(crate) const METHODS: [&str; 8] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"];

/// Path, then the status for each of [`METHODS`]. `A` is 202 with the admin API and 403 without,
/// `L` is 200 with the lifecycle API and 403 without.
pub(crate) const TABLE: &[(&str, [&str; 8])] = &[
    ("/", ["200", "200", "405", "405", "405", "200", "405", "405"]),
    ("/metrics", ["200", "200", "200", "200", "405", "200", "405", "405"]),
    ("/metrics/", ["200", "200", "200", "200", "405", "200", "405", "405"]),
    ("//metrics", ["200", "200", "200", "200", "405", "200", "405", "405"]),
    ("/metrics/job/j", ["405", "405", "200", "200", "202", "200", "405", "405"]),
    ("/metrics/job/j/", ["405", "405", "200", "200", "202", "200", "405", "405"]),
    ("//metrics/job/j/x/1", ["405", "405", "200", "200", "202", "200", "405", "405"]),
    ("/metrics/job/j/x@base64/YQ==", ["405", "405", "200", "200", "202", "200", "405", "405"]),
    ("/metrics/team/x?merge=max&ttl=1h", ["405", "405", "200", "200", "202", "200", "405", "405"]),
    ("/metrics/job", ["405", "405", "400", "400", "400", "200", "405", "405"]),
    ("/-/healthy", ["200", "200", "405", "405", "405", "200", "405", "405"]),
    ("/-/ready", ["200", "200", "405", "405", "405", "200", "405", "405"]),
    ("/-/reload", ["405", "405", "L", "L", "405", "200", "405", "405"]),
    ("/api/v1/status", ["200", "200", "405", "405", "405", "200", "405", "405"]),
    ("/api/v1/metrics", ["200", "200", "405", "405", "405", "200", "405", "405"]),
    ("/api/v1/series", ["400", "400", "405", "405", "A400", "200", "405", "405"]),
    ("/api/v1/series?match[]=x", ["200", "200", "405", "405", "A", "200", "405", "405"]),
    ("/api/v1/admin/wipe", ["405", "405", "405", "A", "405", "200", "405", "405"]),
    ("/api/v1/nothing", ["404"; 8]),
    ("/nothing", ["404"; 8]),
    ("/metricsx", ["404"; 8]),
    ("/Metrics/job/j", ["404"; 8]),
    ("/metric", ["404"; 8]),
    ("/favicon.ico", ["404"; 8]),
    ("/-/", ["404"; 8]),
    ("/v1/metrics", ["404"; 8]),
];

/// Answers to programs with another protocol say so in their text, since many of them hide the status
/// from people.
#[test]
fn paths_of_other_protocols() {
    let gateway = start();
    for (path, hint) in [
        ("/v1/metrics", "OTLP is not supported; "),
        ("/api/v1/write", "remote write is not supported; "),
        ("/nothing", ""),
    ] {
        let problem = gateway.request("POST", path).body("x").send().json();
        let expected = format!("{hint}pushes go to /metrics/job/<job>, scrapes to /metrics");
        assert_eq!(problem["hint"], expected, "{path}");
    }
}

#[test]
fn every_route_with_every_method() {
    for (admin, lifecycle) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut gateway = flag(&format!("--web.enable-admin-api={admin}"))
            .flag(&format!("--web.enable-lifecycle={lifecycle}"))
            .run();
        gateway.expect_log("push refused");
        for (path, expected) in TABLE {
            for (method, expected) in METHODS.into_iter().zip(expected) {
                let expected = match (*expected, admin, lifecycle) {
                    ("A", true, _) => 202,
                    ("A400", true, _) => 400,
                    ("L", _, true) => 200,
                    ("A" | "A400" | "L", ..) => 403,
                    (status, ..) => status.parse().unwrap(),
                };
                check(&gateway, method, path, expected);
            }
        }
        // Comes last, because it ends the process.
        for (method, expected) in [("GET", 405), ("DELETE", 405), ("OPTIONS", 200)] {
            check(&gateway, method, "/-/quit", expected);
        }
        check(&gateway, "PUT", "/-/quit", if lifecycle { 200 } else { 403 });
        if lifecycle {
            gateway.expect_log("stop requested");
            assert_eq!(gateway.wait(), Some(0));
        }
    }
}

fn check(gateway: &Gateway, method: &str, path: &str, expected: u16) {
    let response = gateway.request(method, path).send();
    assert_eq!(response.status, expected, "{method} {path}");
    assert!(response.header("location").is_none());
    match response.status {
        405 => assert!(!response.header("allow").unwrap().contains(method), "{method} {path}"),
        200 if method == "OPTIONS" => {
            // The methods in `Allow` are those that work.
            let allow = response.header("allow").unwrap();
            let allowed: Vec<&str> = allow.split(", ").collect();
            assert!(allowed.is_sorted() && allowed.contains(&"OPTIONS"), "{allow}");
            assert_eq!(response.text(), "");
        }
        _ => {}
    }
    if response.status >= 400 && method != "HEAD" {
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        assert_eq!(response.json()["status"], expected);
    }
}

/// `Allow` agrees with the table above.
#[test]
fn allow_says_what_works() {
    let gateway = flag("--web.enable-admin-api").flag("--web.enable-lifecycle").run();
    for (path, statuses) in TABLE {
        if statuses.contains(&"404") {
            continue;
        }
        let allow = gateway.request("OPTIONS", path).send();
        let mut working: Vec<&str> = METHODS
            .into_iter()
            .zip(statuses)
            .filter(|(_, status)| **status != "405")
            .map(|(method, _)| method)
            .collect();
        working.sort_unstable();
        assert_eq!(allow.header("allow"), Some(&*working.join(", ")), "{path}");
    }
}

#[test]
fn a_route_prefix_moves_everything() {
    for start in [
        flag("--web.route-prefix=/tally/"),
        flag("--web.external-url=https://example.org:8443/tally"),
    ] {
        let mut gateway = start.run();
        gateway.last_scrape(Some("/tally/metrics"));
        assert_eq!(gateway.push("/tally/metrics/job/j", "a 1\n").status, 200);
        assert_eq!(gateway.push("//tally//metrics/job/j", "a 1\n").status, 200);
        assert!(gateway.get("/tally/metrics").text().contains("a{job=\"j\"} 2\n"));
        for path in ["/tally", "/tally/", "/tally/-/ready", "/tally/api/v1/status"] {
            assert_eq!(gateway.get(path).status, 200, "{path}");
        }
        for path in ["/metrics", "/", "/-/ready", "/tallyx/metrics", "/tallymetrics"] {
            assert_eq!(gateway.get(path).status, 404, "{path}");
        }
        assert_eq!(gateway.push("/metrics/job/j", "a 1\n").status, 404);
    }
}

#[test]
fn the_page_says_where_to_go() {
    let gateway = flag("--limits.series=5").run();
    let page = gateway.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let html = page.text();
    let links = html.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let links: Vec<&str> = links.collect();
    assert!(links.len() >= 3);
    for link in links {
        assert!(!link.starts_with('/'), "{link}: it must work below a prefix");
        assert_eq!(gateway.get(&format!("/{link}")).status, 200, "{link}");
    }
}
