//! Starting, reloading, stopping: no acknowledged push is lost on the way out.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::{Connection, Gateway, Request, config, eventually, flag, start};

/// As soon as it listens, signals stop it gracefully and no push is turned away.
#[test]
fn ready_as_soon_as_it_listens() {
    for _ in 0..10 {
        let mut gateway = start();
        gateway.accept("/metrics", "a 1\n");
        gateway.signal("TERM");
        assert_eq!(gateway.wait(), Some(0));
    }
}

// === probes ===

#[test]
fn probes() {
    let gateway = flag("--web.management-address=127.0.0.1:0").run();
    for address in [gateway.address, gateway.management()] {
        for path in ["/-/healthy", "/-/ready"] {
            let response = Request::new(address, "GET", path).send();
            assert_eq!((response.status, response.text().as_str()), (200, "OK"), "{path}");
            assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
            assert_eq!(response.header("cache-control"), Some("no-store"));
            let head = Request::new(address, "HEAD", path).send();
            assert_eq!((head.status, head.header("content-length")), (200, Some("2")));
        }
    }
}

/// It is about the gateway itself, so it has neither pushes nor the API.
#[test]
fn the_management_address_takes_no_pushes() {
    let gateway = flag("--web.management-address=127.0.0.1:0")
        .flag("--web.enable-lifecycle")
        .flag("--web.enable-admin-api")
        .run();
    for (method, path, status) in [
        ("POST", "/metrics/job/j", 404),
        ("PUT", "/metrics", 405),
        ("GET", "/api/v1/status", 404),
        ("PUT", "/-/quit", 404),
        ("PUT", "/api/v1/admin/wipe", 404),
        ("GET", "/", 404),
    ] {
        let request = Request::new(gateway.management(), method, path);
        assert_eq!(request.send().status, status, "{method} {path}");
    }
}

// === stopping ===

/// A push whose last bytes have not been sent yet.
fn half_sent(gateway: &Gateway) -> (Connection, &'static str) {
    let body = "in_flight_total 1\n";
    let mut connection = Connection::open(gateway.address);
    connection.write(gateway.request("POST", "/metrics/job/j").body(body).head_bytes());
    connection.write(&body[..5]);
    // The push is being served once it is counted.
    eventually("the push is in flight", || {
        (gateway.sample("tallygate_inflight_push_bytes") > 0.0).then_some(())
    });
    (connection, &body[5..])
}

#[test]
fn a_push_in_flight_at_sigterm_is_counted_in_the_last_scrape() {
    let mut gateway = flag("--web.drain-delay=4s").run();
    gateway.accept("/metrics/job/j", "in_flight_total 1\n");
    let (mut connection, rest) = half_sent(&gateway);
    gateway.signal("TERM");
    let unready = eventually("no longer ready", || {
        let response = gateway.get("/-/ready");
        (response.status != 200).then_some(response)
    });
    assert_eq!(unready.status, 503);
    assert_eq!(unready.header("retry-after"), Some("1"));
    assert_eq!(gateway.get("/-/healthy").status, 200);
    assert_eq!(gateway.get("/api/v1/status").json()["data"]["phase"], "draining");

    connection.write(rest);
    let answer = connection.read();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"), "no further push should come here");
    // Other clients may not have noticed yet.
    gateway.accept("/metrics/job/j", "in_flight_total 1\n");
    assert_eq!(gateway.sample("in_flight_total{job=\"j\"}"), 3.0);
    assert_eq!(gateway.wait(), Some(0));
    assert!(TcpStream::connect(gateway.address).is_err());
    gateway.await_log("draining");
    gateway.await_log("stopped");
}

#[test]
fn a_push_in_flight_outlasts_the_listener() {
    let mut gateway = start();
    let (mut connection, rest) = half_sent(&gateway);
    gateway.signal("TERM");
    eventually("the listener is closed", || TcpStream::connect(gateway.address).err());
    assert!(gateway.is_running());
    connection.write(rest);
    assert_eq!(connection.read().status, 200);
    assert_eq!(gateway.wait(), Some(0));
}

/// A client that never finishes must not keep the process alive.
#[test]
fn a_push_that_never_ends_is_cut_off() {
    let mut gateway = flag("--web.shutdown-timeout=1s").run();
    let (mut connection, _) = half_sent(&gateway);
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    assert!(connection.try_read().is_err());
}

/// Scrapers and pools keep connections for minutes; nobody waits for them.
#[test]
fn idle_connections_do_not_delay_the_end() {
    let mut gateway = flag("--web.shutdown-timeout=1h").run();
    let mut connections: Vec<Connection> =
        (0..3).map(|_| Connection::open(gateway.address)).collect();
    for connection in &mut connections {
        assert_eq!(connection.send(&gateway.request("GET", "/-/healthy")).status, 200);
    }
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    assert!(connections.iter_mut().all(Connection::is_closed));
}

/// After Ctrl-C there is nobody to wait for.
#[test]
fn sigint_stops_at_once() {
    let mut gateway = flag("--web.drain-delay=1h").run();
    gateway.accept("/metrics/job/j", "a 1\n");
    gateway.signal("INT");
    assert_eq!(gateway.wait(), Some(0));
}

/// Whoever sends a second signal does not want to wait.
#[test]
fn a_second_signal_ends_the_draining() {
    for second in ["TERM", "INT"] {
        let mut gateway = flag("--web.drain-delay=1h").run();
        gateway.signal("TERM");
        gateway.await_log("draining");
        assert!(gateway.is_running());
        gateway.signal(second);
        assert_eq!(gateway.wait(), Some(0));
    }
}

#[test]
fn quit_over_http() {
    for verb in ["PUT", "POST"] {
        let mut gateway = flag("--web.enable-lifecycle").flag("--web.drain-delay=1h").run();
        gateway.expect_log("stop requested over HTTP");
        let response = gateway.request(verb, "/-/quit").send();
        assert_eq!(response.status, 200);
        assert!(response.text().contains("topping"), "{}", response.text());
        assert_eq!(gateway.wait(), Some(0));
    }
}

#[test]
fn quit_and_reload_need_their_flag() {
    let gateway = start();
    for path in ["/-/quit", "/-/reload"] {
        for verb in ["PUT", "POST"] {
            let response = gateway.request(verb, path).send();
            assert_eq!(response.status, 403);
            assert_eq!(response.json()["hint"], "start it with --web.enable-lifecycle");
        }
        assert_eq!(gateway.get(path).status, 405);
    }
    assert_eq!(gateway.get("/-/ready").status, 200);
}

/// Two gateways cannot share a port; the second one says so and exits with 1.
#[test]
fn a_port_that_is_taken() {
    let gateway = start();
    let address = format!("--web.listen-address={}", gateway.address);
    let output = crate::harness::run(&[&address]);
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("level=error") && log.contains("in use"), "{log}");
    let cannot = format!("cannot listen on {}: ", gateway.address);
    assert!(log.contains(&cannot) && log.contains("web.listen_address"), "{log}");
    assert!(!log.contains("message=ready"), "{log}");
}

#[test]
fn several_addresses() {
    let gateway = flag("--web.listen-address=127.0.0.1:0,127.0.0.1:0").run();
    let second = eventually("two listeners", || {
        let mut lines =
            gateway.log().into_iter().filter(|line| line.contains("message=listening "));
        let line = lines.next_back().filter(|line| !line.contains(&gateway.address.to_string()))?;
        line.split("address=").nth(1)?.split(' ').next()?.parse().ok()
    });
    let push = Request::new(second, "POST", "/metrics").body("a 1\n").send();
    assert_eq!(push.status, 200);
    gateway.accept("/metrics", "a 1\n");
    assert_eq!(gateway.sample("a"), 2.0);
}

/// Without a host it listens on every address, IPv4 and IPv6 where available.
#[test]
fn any_address() {
    let gateway = flag("--web.listen-address=:0").run();
    let port = gateway.address.port();
    let loopback: [std::net::IpAddr; 2] =
        [std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()];
    for host in &loopback[..if gateway.address.is_ipv6() { 2 } else { 1 }] {
        let request = Request::new((*host, port).into(), "POST", "/metrics").body("a 1\n");
        assert_eq!(request.send().status, 200, "{host}");
    }
}

// === reloading ===

fn reload(gateway: &Gateway) -> crate::harness::Response {
    gateway.request("POST", "/-/reload").send()
}

#[test]
fn reload_over_http_tells_what_has_changed() {
    let gateway = config("push: {gauge: last}").flag("--web.enable-lifecycle").run();
    gateway.accept("/metrics", "# TYPE g gauge\ng 3\n");
    assert_eq!(reload(&gateway).text(), "Configuration loaded; nothing to change.\n");
    gateway.rewrite_config("push: {gauge: max}\nlimits: {series: 5}\nweb: {workers: 7}");
    let report = reload(&gateway);
    assert_eq!(report.status, 200);
    assert_eq!(report.text(), "Configuration loaded; changed: push.gauge, limits.series.\n");
    assert_eq!(gateway.sample("tallygate_limit{limit=\"series\"}"), 5.0);
    assert_eq!(gateway.get("/api/v1/status").json()["data"]["flags"]["--push.gauge"], "max");
}

#[test]
fn reload_names_what_needs_a_restart() {
    let gateway = config("").flag("--web.enable-lifecycle").run();
    gateway.rewrite_config("web: {keep_alive: 1s}\nttl: {default: 1h}\nlog: {format: json}");
    assert_eq!(
        reload(&gateway).text(),
        "Configuration loaded; changed: ttl.default.\n\
         These changes need a restart: web.keep_alive, log.format.\n"
    );
    let flags = gateway.get("/api/v1/status").json()["data"]["flags"].clone();
    assert_eq!(flags["--web.keep-alive"], "2m", "the status tells what is in force");
    assert_eq!(flags["--ttl.default"], "1h");
}

#[test]
fn a_bad_file_changes_nothing() {
    let mut gateway = config("limits: {series: 5}").flag("--web.enable-lifecycle").run();
    gateway.expect_log("configuration not loaded");
    gateway.rewrite_config("limits: {series: 6, familes: 1}\npush: {gauge: median}");
    let response = reload(&gateway);
    assert_eq!(response.status, 400);
    let detail = response.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("limits.familes; did you mean limits.families?"), "{detail}");
    assert!(detail.contains("push.gauge"), "{detail}");
    assert_eq!(gateway.sample("tallygate_limit{limit=\"series\"}"), 5.0);
    assert_eq!(gateway.sample("tallygate_config_last_reload_successful"), 0.0);
    gateway.rewrite_config("limits: {series: 7}");
    assert_eq!(reload(&gateway).status, 200);
    assert_eq!(gateway.sample("tallygate_config_last_reload_successful"), 1.0);
    assert_eq!(gateway.sample("tallygate_limit{limit=\"series\"}"), 7.0);
}

#[test]
fn reload_by_signal() {
    let mut gateway = config("limits: {series: 5}").run();
    let series_limit = |gateway: &Gateway| gateway.sample("tallygate_limit{limit=\"series\"}");
    gateway.rewrite_config("limits: {series: 6}");
    gateway.signal("HUP");
    eventually("the new limit is in force", || (series_limit(&gateway) == 6.0).then_some(()));
    gateway.expect_log("configuration not loaded");
    gateway.rewrite_config("limits: [");
    gateway.signal("HUP");
    gateway.await_log("configuration not loaded");
    assert_eq!(series_limit(&gateway), 6.0);
    assert!(gateway.is_running());
}

/// Pushes go on while the configuration changes under them.
#[test]
fn reload_during_pushes() {
    let gateway = config("rules: []").flag("--web.enable-lifecycle").run();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                gateway.accept("/metrics", "a_total{x=\"1\"} 1\na_total{x=\"2\"} 1\n");
            }
        });
        let started = Instant::now();
        for round in 0..20 {
            let rules = ["rules: []", "rules: [{match: a_total, drop_labels: [x]}]"];
            gateway.rewrite_config(rules[round % 2]);
            assert_eq!(reload(&gateway).status, 200);
        }
        assert!(started.elapsed() < Duration::from_secs(10));
    });
    let text = gateway.pushed();
    let values = text.lines().filter_map(|line| line.strip_prefix("a_total")?.split(' ').nth(1));
    let total: f64 = values.map(|value| value.parse::<f64>().unwrap()).sum();
    assert_eq!(total, 400.0);
}
