//! Expiry: never too early, always soon after, and the whole series at once.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{Gateway, config, eventually, flag, histogram, sample, start};

fn gateway(ttl: &str) -> Gateway {
    flag(&format!("--ttl.default={ttl}")).flag("--ttl.sweep-interval=100ms").run()
}

fn has(gateway: &Gateway, series: &str) -> bool {
    sample(&gateway.pushed(), series).is_some()
}

/// Waits until the series is forgotten. Returns how long that took, from before the last push.
fn forgotten(gateway: &Gateway, series: &str, pushed: Instant) -> Duration {
    eventually(&format!("{series} is forgotten"), || (!has(gateway, series)).then_some(()));
    pushed.elapsed()
}

#[test]
fn a_series_is_forgotten_after_its_time_and_not_before() {
    let gateway = gateway("1s");
    let pushed = Instant::now();
    gateway.accept("/metrics/job/j", "# TYPE a_total counter\na_total 5\n");
    let keep = gateway.request("POST", "/metrics/job/j").header("Push-TTL", "1h").body("kept 1\n");
    gateway.accept_request(keep);
    assert!(forgotten(&gateway, "a_total{job=\"j\"}", pushed) >= Duration::from_secs(1));
    assert!(has(&gateway, "kept{job=\"j\"}"));
    assert_eq!(gateway.sample("tallygate_series_removed_total{cause=\"expired\"}"), 1.0);
    assert_eq!(gateway.sample("tallygate_series"), 1.0);
    // The series starts from zero, and its name is free for another type.
    gateway.accept("/metrics/job/j", "# TYPE a_total gauge\na_total 2\n");
    assert_eq!(gateway.sample("a_total{job=\"j\"}"), 2.0);
}

#[test]
fn every_push_that_names_a_series_keeps_it() {
    let gateway = gateway("4s");
    let started = Instant::now();
    gateway.accept("/metrics", "a_total 5\nidle_total 1\n");
    let mut last = Instant::now();
    while started.elapsed() < Duration::from_millis(9500) {
        assert!(has(&gateway, "a_total"));
        last = Instant::now();
        // Even a push that adds nothing refreshes it.
        gateway.accept("/metrics", "a_total 0\n");
        sleep(Duration::from_millis(150));
    }
    assert!(!has(&gateway, "idle_total"));
    assert_eq!(gateway.sample("a_total"), 5.0);
    assert!(forgotten(&gateway, "a_total", last) >= Duration::from_secs(4));
}

#[test]
fn a_histogram_goes_as_a_whole() {
    let gateway = gateway("1s");
    let pushed = Instant::now();
    gateway.accept("/metrics", histogram("h", 1.0, &[("1", 1), ("5", 2), ("+Inf", 2)]));
    // Another layout refreshes the whole series.
    gateway.accept("/metrics", histogram("h", 1.0, &[("2", 1), ("+Inf", 1)]));
    assert!(forgotten(&gateway, "h_count", pushed) >= Duration::from_secs(1));
    assert_eq!(gateway.pushed(), "");
}

#[test]
fn nothing_is_forgotten_by_default() {
    let gateway = flag("--ttl.sweep-interval=100ms").run();
    gateway.accept("/metrics", "a 1\n");
    sleep(Duration::from_millis(500));
    assert_eq!(gateway.sample("a"), 1.0);
    let series = gateway.get("/api/v1/series?match[]=a").json();
    assert!(series["data"]["series"][0]["expires"].is_null());
}

#[test]
fn ttl_by_header_and_query() {
    let gateway = flag("--ttl.sweep-interval=100ms").run();
    let pushed = Instant::now();
    let header = gateway.request("POST", "/metrics").header("Push-TTL", "1s");
    gateway.accept_request(header.body("by_header 1\n"));
    gateway.accept("/metrics?ttl=1s", "by_query 1\n");
    gateway.accept("/metrics?ttl=0", "for_ever 1\n");
    assert!(forgotten(&gateway, "by_header", pushed) >= Duration::from_secs(1));
    assert!(forgotten(&gateway, "by_query", pushed) >= Duration::from_secs(1));
    assert!(has(&gateway, "for_ever"));
}

/// The last push decides on the time.
#[test]
fn a_later_push_may_ask_for_another_time() {
    let gateway = flag("--ttl.sweep-interval=100ms").run();
    gateway.accept("/metrics?ttl=1s", "longer 1\nshorter 1\n");
    gateway.accept("/metrics?ttl=1h", "longer 1\n");
    gateway.accept("/metrics?ttl=1h", "shorter 1\n");
    let pushed = Instant::now();
    gateway.accept("/metrics?ttl=1s", "shorter 1\n");
    assert!(forgotten(&gateway, "shorter", pushed) >= Duration::from_secs(1));
    assert!(has(&gateway, "longer"));
}

#[test]
fn rules_win_over_the_push_and_the_default() {
    let gateway = config(
        "ttl: {default: 1h, sweep_interval: 100ms}\n\
         rules: [{match: short, ttl: 1s}, {match: long, ttl: 0}]",
    )
    .run();
    let pushed = Instant::now();
    gateway.accept("/metrics?ttl=1h", "short 1\n");
    gateway.accept("/metrics?ttl=1s", "long 1\n");
    assert!(forgotten(&gateway, "short", pushed) >= Duration::from_secs(1));
    sleep(Duration::from_millis(1500));
    assert!(has(&gateway, "long"));
}

#[test]
fn the_longest_time_a_push_may_ask_for() {
    let mut gateway = flag("--ttl.client-max=1h").run();
    for ttl in ["61m", "0", "2d"] {
        let request = gateway.request("POST", "/metrics").header("Push-TTL", ttl).body("a 1\n");
        gateway.refuse_request(request, 422);
    }
    gateway.accept("/metrics?ttl=1h", "a 1\n");
}

#[test]
fn times_that_are_none() {
    let mut gateway = start();
    for ttl in ["soon", "-1s", "5", "1 fortnight", ""] {
        let request = gateway.request("POST", "/metrics").header("Push-TTL", ttl).body("a 1\n");
        let problem = gateway.refuse_request(request, 400);
        assert!(problem["detail"].as_str().unwrap().starts_with("push-ttl"), "{problem}");
    }
}

/// No acknowledged push may get lost between the check of a series and its removal.
#[test]
fn pushes_and_forgetting_at_once() {
    let gateway = gateway("4s");
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let gateway = &gateway;
            scope.spawn(move || {
                while started.elapsed() < Duration::from_secs(10) {
                    // The steady one is pushed all the time; the others come and go.
                    for name in 0..20 {
                        let body = format!("steady_total 1\nflicker_{name}{{t=\"{thread}\"}} 1\n");
                        gateway.accept("/metrics", &body);
                    }
                    sleep(Duration::from_millis(if thread == 0 { 10 } else { 4500 }));
                }
            });
        }
    });
    let accepted = gateway.sample("tallygate_pushes_total{outcome=\"accepted\"}");
    assert_eq!(gateway.sample("steady_total"), accepted);
}
