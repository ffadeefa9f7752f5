//! The main purpose: a real Prometheus scrapes while clients push, and its answers are the exact sums.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::harness::{
    Authority, Connection, Gateway, Request, Stopped, TlsClient, client, directory, eventually,
    flag, histogram, prometheus, start,
};

/// A Prometheus of its own that scrapes every second.
pub(crate) struct Prometheus {
    address: SocketAddr,
    process: Option<Stopped>,
    directory: std::path::PathBuf,
}

impl Prometheus {
    fn scraping(gateway: &Gateway, path: &str) -> Prometheus {
        Prometheus::scraping_with(gateway, &format!("metrics_path: {path}"))
    }

    /// `more` is another line of the job's configuration.
    fn scraping_with(gateway: &Gateway, more: &str) -> Prometheus {
        Prometheus::with_jobs(&[("gateway", gateway.address, more)])
    }

    /// Jobs by name, each with its only target and another line of configuration.
    pub(crate) fn with_jobs(jobs: &[(&str, SocketAddr, &str)]) -> Prometheus {
        let directory = directory();
        let config = directory.join("prometheus.yml");
        let mut yaml = "global: {scrape_interval: 1s, evaluation_interval: 1s}\n\
                        scrape_configs:\n"
            .to_owned();
        for (name, address, more) in jobs {
            yaml += &format!(
                "- job_name: {name}\n\
                 \x20 honor_labels: true\n\
                 \x20 {more}\n\
                 \x20 static_configs: [{{targets: ['{address}']}}]\n",
            );
        }
        std::fs::write(&config, yaml).unwrap();
        let mut process = prometheus(&[
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", directory.join("data").display()),
            "--web.listen-address=127.0.0.1:0".to_owned(),
        ]);
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let sink = log.clone();
        thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| sink.lock().unwrap().push(line));
        });
        let process = Some(Stopped(process));
        let address = eventually("Prometheus listens", || {
            let log: Vec<String> = log.lock().unwrap().clone();
            let line = log.iter().find(|line| line.contains("msg=\"Listening on\""))?;
            line.split("address=").nth(1)?.split(' ').next()?.parse().ok()
        });
        eventually("Prometheus is ready", || {
            (Request::new(address, "GET", "/-/ready").send().status == 200).then_some(())
        });
        Prometheus { address, process, directory }
    }

    /// The result of an instant query: values by their labels.
    #[track_caller]
    pub(crate) fn query(&self, expression: &str) -> Vec<(Value, f64)> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", expression)
            .finish();
        let response = Request::new(self.address, "GET", &format!("/api/v1/query?{query}")).send();
        let json = response.json();
        assert_eq!(json["status"], "success", "{expression}: {json}");
        let result = json["data"]["result"].as_array().unwrap();
        result
            .iter()
            .map(|one| (one["metric"].clone(), one["value"][1].as_str().unwrap().parse().unwrap()))
            .collect()
    }

    /// The value of an expression with one result.
    fn value(&self, expression: &str) -> Option<f64> {
        match &self.query(expression)[..] {
            [] => None,
            [(_, value)] => Some(*value),
            several => panic!("{expression}: {several:?}"),
        }
    }

    /// Waits until the expression has this value.
    #[track_caller]
    pub(crate) fn await_value(&self, expression: &str, expected: f64) {
        let mut last = None;
        let reached = |last: &mut Option<f64>| {
            *last = self.value(expression);
            (*last == Some(expected)).then_some(())
        };
        eventually(&format!("{expression} is {expected}"), || reached(&mut last));
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.process.take());
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn run_clients(gateway: &Gateway, scenarios: &[(&str, &str)], pushes: u32) {
    let base = gateway.url("");
    let clients: Vec<_> = scenarios
        .iter()
        .enumerate()
        .map(|(worker, (name, scenario))| {
            client(name, [&base, scenario, &worker.to_string(), &pushes.to_string()])
        })
        .collect();
    for client in clients {
        let output = client.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn sums_of_real_clients_in_a_real_prometheus() {
    let gateway = start();
    let prometheus = Prometheus::scraping(&gateway, "/metrics");
    prometheus.await_value("up", 1.0);

    // A first push, so that each series is known before it grows.
    let clients = ["curl", "go", "node", "python", "rust"];
    let all: Vec<(&str, &str)> =
        clients.iter().flat_map(|name| [(*name, "counter"), (*name, "histogram")]).collect();
    run_clients(&gateway, &all, 1);
    prometheus.await_value("sum(e2e_items_total)", 5.0 * 3.5);
    prometheus.await_value("count(e2e_latency_seconds_count)", 5.0);

    // Two processes of each client and kind, while it scrapes.
    let twice = [all.clone(), all].concat();
    run_clients(&gateway, &twice, 5);
    let pushes = 1.0 + 2.0 * 5.0;
    for name in clients {
        let job = format!("job=\"{name}_batch\"");
        // honor_labels keeps the job that was pushed.
        prometheus.await_value(&format!("e2e_items_total{{{job},kind=\"a\"}}"), pushes);
        prometheus.await_value(&format!("e2e_items_total{{{job},kind=\"b\"}}"), 2.5 * pushes);
        prometheus.await_value(&format!("e2e_latency_seconds_count{{{job}}}"), 4.0 * pushes);
        for (le, observations) in [("0.1", 1.0), ("0.5", 2.0), ("1", 3.0), ("+Inf", 4.0)] {
            // Prometheus 2.x keeps the spelling of the format that it scraped.
            let le = if le == "1" { "1|1.0" } else { le.trim_start_matches('+') };
            let bucket = format!("e2e_latency_seconds_bucket{{{job},le=~\"[+]?({le})\"}}");
            prometheus.await_value(&bucket, observations * pushes);
        }
    }
    prometheus.await_value("sum(e2e_items_total)", 5.0 * 3.5 * pushes);
    for (_, sum) in prometheus.query("e2e_latency_seconds_sum") {
        assert_eq!(sum, 3.05 * pushes);
    }

    // The growth since the first push, extrapolated by the rules of Prometheus.
    let increase = prometheus.value("sum(increase(e2e_items_total[1m]))").unwrap();
    assert!(increase > 0.0 && increase < 10.0 * 5.0 * 3.5 * pushes, "{increase}");
    let resets = prometheus.value("sum(resets(e2e_items_total[1m]))").unwrap();
    assert_eq!(resets, 0.0);
    // Half of the observations are at most 0.5: the quantile is the upper end of that bucket.
    for name in clients {
        let quantile = |q: &str| {
            let buckets = format!("e2e_latency_seconds_bucket{{job=\"{name}_batch\"}}");
            prometheus.value(&format!("histogram_quantile({q}, {buckets})")).unwrap()
        };
        assert!((quantile("0.5") - 0.5).abs() < 1e-9, "{}", quantile("0.5"));
        assert!((quantile("0.375") - 0.3).abs() < 1e-9, "{}", quantile("0.375"));
        assert!((quantile("0.75") - 1.0).abs() < 1e-9, "{}", quantile("0.75"));
    }
    assert_eq!(prometheus.value("up"), Some(1.0));
    assert_eq!(prometheus.query("min_over_time(up[1m])")[0].1, 1.0);
}

/// Pushes at full speed during scrapes: every scrape shows whole histograms, and the last one shows all
/// pushes.
#[test]
fn whole_histograms_in_every_scrape() {
    let gateway = start();
    let prometheus = Prometheus::scraping(&gateway, "/metrics");
    gateway.accept("/metrics/job/j", "# TYPE a_total counter\na_total 0\n");
    prometheus.await_value("a_total", 0.0);
    let body = format!(
        "# TYPE a_total counter\na_total 1\n{}",
        histogram("h_seconds", 0.25, &[("0.1", 1), ("1", 2), ("+Inf", 4)])
    );
    let push = gateway.request("POST", "/metrics/job/j").body(&body);
    thread::scope(|scope| {
        for _ in 0..2 {
            let push = push.clone();
            let address = gateway.address;
            scope.spawn(move || {
                let mut connection = Connection::open(address);
                let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
                while std::time::Instant::now() < end {
                    assert_eq!(connection.send(&push).status, 200);
                }
            });
        }
    });
    let pushes = gateway.sample("a_total{job=\"j\"}");
    assert_eq!(pushes, gateway.sample("tallygate_pushes_total{outcome=\"accepted\"}") - 1.0);
    prometheus.await_value("a_total", pushes);
    prometheus.await_value("h_seconds_count", 4.0 * pushes);
    assert_eq!(prometheus.value("h_seconds_sum"), Some(0.25 * pushes));
    // In every scrape on the way.
    for broken in [
        "count_over_time((h_seconds_sum / (h_seconds_count > 0) != 0.0625)[1m:1s])",
        "count_over_time((h_seconds_bucket{le=\"+Inf\"} != ignoring(le) h_seconds_count)[1m:1s])",
        "count_over_time((4 * h_seconds_bucket{le=\"0.1\"} != on() h_seconds_count)[1m:1s])",
        "resets(h_seconds_count[1m]) > 0",
        "resets(a_total[1m]) > 0",
    ] {
        assert_eq!(prometheus.value(broken), None, "{broken}");
    }
    let rate = prometheus.value("rate(a_total[1m])").unwrap();
    assert!(rate > 0.0, "{rate}");
    assert!(prometheus.value("increase(a_total[1m])").unwrap() > 0.5 * pushes);
}

/// Different layouts per language: buckets stay cumulative, and quantiles are never too low.
#[test]
fn quantiles_of_mixed_layouts() {
    let gateway = flag("--web.management-address=127.0.0.1:0").run();
    let prometheus = Prometheus::scraping(&gateway, "/metrics");
    gateway.accept("/metrics/job/j", histogram("h", 1.0, &[("1", 3), ("5", 7), ("+Inf", 10)]));
    gateway.accept("/metrics/job/j", histogram("h", 1.0, &[("2", 4), ("5", 6), ("+Inf", 8)]));
    prometheus.await_value("h_count", 18.0);
    // The ninth of 18 lies in (2, 5], which holds 6: 2 + 3 * (9 - 7) / 6.
    let median = prometheus.value("histogram_quantile(0.5, h_bucket)").unwrap();
    assert!((median - 3.0).abs() < 1e-9, "{median}");
    assert_eq!(prometheus.value("h_bucket{le=~\"2|2.0\"}"), Some(7.0));
}

/// Families whose OpenMetrics names would clash, and types that only one format has: none of them must
/// fail the whole scrape for Prometheus.
#[test]
fn awkward_families_do_not_break_a_scrape() {
    let gateway = start();
    gateway.accept(
        "/metrics/job/j",
        "# TYPE a_total counter\na_total 1\n# TYPE a gauge\na 2\n\
         # TYPE a_info gauge\na_info{x=\"1\"} 1\n# TYPE b_created gauge\nb_created 5\n\
         # TYPE c counter\nc 3\n# TYPE d_total gauge\nd_total 4\n\
         # TYPE e_bucket gauge\ne_bucket{le=\"x\"} 1\n# TYPE f_count counter\nf_count 6\n\
         # TYPE f gauge\nf NaN\n# TYPE g histogram\ng_bucket{le=\"1\"} 0.5\n\
         g_bucket{le=\"+Inf\"} 1.5\ng_sum 1\n# TYPE h_total_total counter\nh_total_total 7\n\
         l{le=\"0.5\",quantile=\"x\"} 8\n{\"dotted.name\",\"dotted.label\"=\"x\"} 9\n",
    );
    let openmetrics = gateway.request("POST", "/metrics/job/j").body(
        "# TYPE gh gaugehistogram\ngh_bucket{le=\"1\"} 1\ngh_bucket{le=\"+Inf\"} 2\n\
         gh_gcount 2\ngh_gsum 3\n# TYPE st stateset\nst{st=\"a\"} 1\nst{st=\"b\"} 0\n\
         # TYPE nfo info\nnfo_info{v=\"1\"} 1\n# EOF\n",
    );
    gateway.accept_request(openmetrics.header("Content-Type", "application/openmetrics-text"));
    let prometheus = Prometheus::scraping(&gateway, "/metrics");
    prometheus.await_value("up", 1.0);
    for (expression, value) in [
        ("a_total", 1.0),
        ("a", 2.0),
        ("a_info", 1.0),
        ("b_created", 5.0),
        ("c", 3.0),
        ("d_total", 4.0),
        ("e_bucket", 1.0),
        ("f_count", 6.0),
        ("g_count", 1.5),
        ("h_total_total", 7.0),
        ("l{quantile=\"x\"}", 8.0),
        ("dotted_name{dotted_label=\"x\"}", 9.0),
        ("st{st=\"a\"}", 1.0),
        ("nfo_info{v=\"1\"}", 1.0),
        ("min_over_time(up[1m])", 1.0),
    ] {
        assert_eq!(prometheus.value(expression), Some(value), "{expression}");
    }
    assert!(prometheus.value("f").unwrap().is_nan());
}

/// Selectors can divide the series among several scrapes; a deleted series is stale at once.
#[test]
fn selected_series_and_staleness() {
    let gateway = start();
    let prometheus = Prometheus::scraping(&gateway, "/metrics");
    gateway.accept("/metrics/job/j", "# TYPE a_total counter\na_total 5\n");
    gateway.accept("/metrics/job/k", "# TYPE a_total counter\na_total 7\n");
    prometheus.await_value("a_total{job=\"j\"}", 5.0);
    prometheus.await_value("a_total{job=\"k\"}", 7.0);
    gateway.request("DELETE", "/metrics/job/j").send();
    eventually("the series is stale", || {
        prometheus.value("a_total{job=\"j\"}").is_none().then_some(())
    });
    assert_eq!(prometheus.value("a_total{job=\"k\"}"), Some(7.0));
    // It starts again, which is a reset to Prometheus.
    gateway.accept("/metrics/job/j", "# TYPE a_total counter\na_total 3\n");
    prometheus.await_value("a_total{job=\"j\"}", 3.0);
    assert_eq!(prometheus.value("resets(a_total{job=\"j\"}[1m])"), Some(1.0));
    // Our own metrics are scraped, too.
    prometheus.await_value("tallygate_series", 2.0);
}

/// A single push of a new series, as from a function that ran once.
#[test]
fn the_first_push_of_a_series_is_in_its_increase() {
    let gateway = start();
    let prometheus = Prometheus::scraping(&gateway, "/metrics");
    prometheus.await_value("up", 1.0);
    let body = format!(
        "# TYPE once_total counter\nonce_total 5\n{}",
        histogram("seconds", 0.5, &[("1", 2), ("+Inf", 2)])
    );
    gateway.accept("/metrics/job/function", body);
    prometheus.await_value("once_total", 5.0);
    prometheus.await_value("seconds_count", 2.0);
    for (expression, value) in [
        ("min_over_time(once_total[1m])", 0.0),
        ("resets(once_total[1m])", 0.0),
        ("changes(once_total[1m])", 1.0),
        ("min_over_time(seconds_bucket{le=\"1.0\"}[1m])", 0.0),
        ("min_over_time(seconds_count[1m])", 0.0),
        ("min_over_time(seconds_sum[1m])", 0.0),
    ] {
        assert_eq!(prometheus.value(expression), Some(value), "{expression}");
    }
    let increase = prometheus.value("increase(once_total[1m])").unwrap();
    assert!(increase >= 5.0, "{increase}");
}

/// A setup for a gateway that strangers can reach.
#[test]
fn with_a_password_and_certificates_on_both_sides() {
    let folder = directory();
    let authority = Authority::new("tests");
    authority.server().write(&folder, "server");
    authority.client("prometheus").write(&folder, "prometheus");
    std::fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
    let web = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  \
               client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n";
    let users = "users:\n  prometheus:\n    rights: [scrape]\n    password_bcrypt: \
                 $2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n  \
                 ci:\n    rights: [push]\n    token_file: token\n    labels: {job: ci}\n";
    for (name, text) in [("web.yml", web), ("users.yml", users), ("token", "a-token-of-the-tests")]
    {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let file = |name: &str| folder.join(name).display().to_string();
    let mut gateway = flag(&format!("--web.config.file={}", file("web.yml")))
        .flag(&format!("--auth.file={}", file("users.yml")))
        .run();
    gateway.last_scrape(None);
    let prometheus = Prometheus::scraping_with(
        &gateway,
        &format!(
            "scheme: https\n  basic_auth: {{username: prometheus, password: secret}}\n  \
             tls_config: {{ca_file: {}, cert_file: {}, key_file: {}, server_name: localhost}}",
            file("ca.crt"),
            file("prometheus.crt"),
            file("prometheus.key"),
        ),
    );
    let client = TlsClient::with(&authority.pem(), &authority.client("ci"));
    let push =
        gateway.request("POST", "/metrics/job/ci").body("# TYPE a_total counter\na_total 5\n");
    let push = push.header("Authorization", "Bearer a-token-of-the-tests");
    for _ in 0..3 {
        assert_eq!(client.send(&push).unwrap().status, 200);
    }
    prometheus.await_value("a_total{job=\"ci\"}", 15.0);
    prometheus.await_value("up{job=\"gateway\"}", 1.0);
    let _ = std::fs::remove_dir_all(folder);
}
