//! What was pushed before the first scrape is not lost to `increase()`: that scrape shows a new series
//! at zero (merge-semantics 5).

use std::time::Duration;

use crate::harness::{Coding, Gateway, Request, decoded, eventually, flag, histogram, start};

const COUNTER: &str = "# TYPE a_total counter\na_total 5\n";

/// A scrape like one of Prometheus. The name stands for the address, which is the same for all of them
/// here.
fn scrape(gateway: &Gateway, name: &str) -> String {
    scrape_with(gateway, "/metrics", name, "10")
}

fn scrape_with(gateway: &Gateway, path: &str, name: &str, timeout_s: &str) -> String {
    let request = gateway.request("GET", path).header("User-Agent", name);
    let request = request.header("X-Prometheus-Scrape-Timeout-Seconds", timeout_s);
    shown(&request.send().text())
}

fn shown(text: &str) -> String {
    let ours = |line: &&str| !line.contains("tallygate_") && !line.starts_with('#');
    text.lines().filter(ours).collect::<Vec<_>>().join("\n")
}

/// Asserts that scrapes show zero, perhaps twice if the series was born just before the last scrape,
/// and then the value.
#[track_caller]
fn rises(zero: &str, value: &str, mut scrape: impl FnMut() -> String) {
    assert_eq!(scrape(), zero);
    eventually("the value is shown", || {
        let text = scrape();
        assert!(text == zero || text == value, "{text}");
        (text == value).then_some(())
    });
}

#[test]
fn each_scraper_sees_a_new_series_at_zero_once() {
    let gateway = start();
    for scraper in ["Prometheus/3 a", "Prometheus/3 b"] {
        scrape(&gateway, scraper);
    }
    gateway.accept("/metrics", COUNTER);
    // People see the value at once, without taking the zero away from a scraper.
    assert_eq!(shown(&gateway.get("/metrics").text()), "a_total 5");
    assert_eq!(scrape(&gateway, "Prometheus/3 a"), "a_total 0");
    gateway.accept("/metrics", COUNTER);
    rises("a_total 0", "a_total 10", || scrape(&gateway, "Prometheus/3 b"));
    eventually("the other one sees the value, too", || {
        (scrape(&gateway, "Prometheus/3 a") == "a_total 10").then_some(())
    });
    assert_eq!(shown(&gateway.get("/metrics").text()), "a_total 10");
}

/// Histograms are zero as a whole, so that buckets and count agree. Gauges, which may fall, and untyped
/// series, which may be anything, are shown as they are.
#[test]
fn histograms_as_a_whole_and_no_gauges() {
    let gateway = start();
    scrape(&gateway, "p");
    let body = format!(
        "{}# TYPE s summary\ns_sum 3\ns_count 2\n# TYPE g gauge\ng 7\nu 8\n\
         # TYPE i gauge\ni_info 1\n",
        histogram("h", 4.5, &[("1", 2), ("+Inf", 3)])
    );
    gateway.accept("/metrics", body);
    let zero = "g 7\nh_bucket{le=\"1\"} 0\nh_bucket{le=\"+Inf\"} 0\nh_sum 0\nh_count 0\n\
                i_info 1\ns_sum 0\ns_count 0\nu 8";
    let value = "g 7\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4.5\nh_count 3\n\
                 i_info 1\ns_sum 3\ns_count 2\nu 8";
    rises(zero, value, || scrape(&gateway, "p"));
}

/// For a new Prometheus, existing series must not seem to grow from zero; and a series that a
/// Prometheus knows must not fall to zero because we were restarted.
#[test]
fn who_is_not_known_is_told_the_values_of_what_is_not_new() {
    let gateway = start();
    gateway.accept("/metrics", COUNTER);
    let timeout_s = "0.05";
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(scrape_with(&gateway, "/metrics", "new", timeout_s), "a_total 5");
    let directory = gateway.directory.clone();
    drop(gateway);
    let gateway = crate::harness::Start::default().in_directory(&directory).run();
    assert_eq!(scrape_with(&gateway, "/metrics", "new", timeout_s), "a_total 5");
    // A series that was just born has hardly been seen by anybody.
    gateway.accept("/metrics", "# TYPE b_total counter\nb_total 1\n");
    assert_eq!(scrape_with(&gateway, "/metrics", "other", "10"), "a_total 0\nb_total 0");
}

/// Scrapers that share an address can choose names.
#[test]
fn scrapers_with_a_name() {
    let gateway = start();
    let named = |name: &str| shown(&gateway.get(&format!("/metrics?scraper={name}")).text());
    assert_eq!((named("a"), named("b")), (String::new(), String::new()));
    gateway.accept("/metrics", COUNTER);
    for name in ["a", "b"] {
        rises("a_total 0", "a_total 5", || named(name));
    }
    // Different queries under one name are different scrapes, however long they are.
    let long = "x".repeat(600);
    let part = |name: &str| named(&format!("a&match[]={long}&match[]={name}"));
    assert_eq!((part("b_total"), part("c_total")), (String::new(), String::new()));
    gateway.accept(
        "/metrics",
        "# TYPE b_total counter\nb_total 1\n# TYPE c_total counter\nc_total 2\n",
    );
    rises("b_total 0", "b_total 1", || part("b_total"));
    rises("c_total 0", "c_total 2", || part("c_total"));
}

/// A scrape of our own metrics, at the other address, does not show what was pushed.
#[test]
fn scrapes_of_own_metrics_do_not_count() {
    let gateway = flag("--web.management-address=127.0.0.1:0").run();
    scrape(&gateway, "p");
    gateway.accept("/metrics", COUNTER);
    std::thread::sleep(Duration::from_millis(150));
    let own = Request::new(gateway.management(), "GET", "/metrics").header("User-Agent", "p");
    own.header("X-Prometheus-Scrape-Timeout-Seconds", "10").send();
    assert_eq!(scrape(&gateway, "p"), "a_total 0");
}

#[test]
fn it_can_be_turned_off() {
    let gateway = flag("--no-scrape.zero-first").run();
    scrape(&gateway, "p");
    gateway.accept("/metrics", COUNTER);
    assert_eq!(scrape(&gateway, "p"), "a_total 5");
}

/// A chunk that was encoded for one scraper is not sent to another that has to get something else.
#[test]
fn what_is_kept_of_scrapes_does_not_mix_scrapers() {
    let gateway = start();
    let gzip = |scraper: Option<&str>| {
        let mut request = gateway.request("GET", "/metrics").header("Accept-Encoding", "gzip");
        if let Some(scraper) = scraper {
            request = request.header("User-Agent", scraper);
            request = request.header("X-Prometheus-Scrape-Timeout-Seconds", "10");
        }
        let response = request.send();
        shown(&decoded(Some(Coding::Gzip.word()), &response.body))
    };
    gzip(Some("a"));
    gzip(Some("b"));
    gateway.accept("/metrics", COUNTER);
    for _ in 0..2 {
        assert_eq!(gzip(None), "a_total 5");
    }
    for scraper in ["a", "b"] {
        rises("a_total 0", "a_total 5", || {
            assert_eq!(gzip(None), "a_total 5");
            gzip(Some(scraper))
        });
    }
    for reader in [Some("a"), Some("b"), None] {
        assert_eq!(gzip(reader), "a_total 5");
    }
}

/// A series that was deleted and pushed again starts at zero again.
#[test]
fn a_series_that_comes_back_is_new() {
    let gateway = start();
    gateway.accept("/metrics/job/j", COUNTER);
    eventually("it is no longer new", || {
        (scrape(&gateway, "p") == "a_total{job=\"j\"} 5").then_some(())
    });
    assert_eq!(gateway.request("DELETE", "/metrics/job/j").send().status, 202);
    scrape(&gateway, "p");
    gateway.accept("/metrics/job/j", COUNTER);
    assert_eq!(scrape(&gateway, "p"), "a_total{job=\"j\"} 0");
}
