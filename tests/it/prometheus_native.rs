//! A real Prometheus scrapes what was pushed: one that knows native histograms, and so asks for
//! protobuf, and one that does not, and so asks for OpenMetrics. The results of queries must be those
//! that were worked out by hand.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::{
    Gateway, Message, Request, Stopped, directory, eventually, message, prometheus, start,
};
use crate::oracles::{PROTOBUF, native, push_as};

/// A Prometheus that scrapes the gateway every second.
struct Prometheus {
    address: SocketAddr,
    _process: Stopped,
}

impl Prometheus {
    fn start(gateway: &Gateway, features: &str) -> Prometheus {
        let mut attempts = 5;
        let directory = directory();
        let config = directory.join("prometheus.yaml");
        let yaml = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n- job_name: gateway\n  honor_labels: true\n  static_configs:\n  \
             - targets: ['{}']\n",
            gateway.address
        );
        std::fs::write(&config, yaml).expect("a file below target/");
        loop {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            let address = free.expect("a free port");
            let mut process = Stopped(prometheus(&[
                format!("--config.file={}", config.display()),
                format!("--storage.tsdb.path={}", directory.join("data").display()),
                format!("--web.listen-address={address}"),
                format!("--enable-feature={features}"),
                "--log.level=error".to_owned(),
            ]));
            let listens = eventually("Prometheus listens, or has ended", || {
                let ended = process.0.try_wait().expect("its state").map(|_| false);
                ended.or_else(|| TcpStream::connect(address).is_ok().then_some(true))
            });
            // Now and then another program takes a port that was free a moment ago.
            if listens {
                return Prometheus { address, _process: process };
            }
            attempts -= 1;
            assert!(attempts > 0, "Prometheus does not start");
        }
    }

    /// The data of an answer; `None` while it starts.
    fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Option<serde_json::Value> {
        let query =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let response = Request::new(self.address, "GET", &format!("/api/v1/{path}?{query}")).send();
        if response.status == 503 {
            return None;
        }
        assert_eq!(response.status, 200, "{}", response.text());
        Some(response.json()["data"].clone())
    }

    /// Waits until an expression with one result has this value.
    #[track_caller]
    fn shows(&self, expression: &str, expected: f64) {
        let mut seen = None;
        let answer = || {
            let data = self.api("query", &[("query", expression)])?;
            let results = data["result"].as_array()?;
            assert!(results.len() < 2, "{expression}: {data}");
            seen = Some(results.first()?["value"][1].as_str()?.parse::<f64>().ok()?);
            (seen == Some(expected)).then_some(())
        };
        let what = format!("{expression} = {expected}");
        eventually(&what, answer);
    }

    /// Waits for this many exemplars of a series, and returns their `id`s and values, sorted.
    #[track_caller]
    fn exemplars(&self, series: &str, number: usize) -> Vec<(String, String)> {
        let (start, end) = (now() - 3600, now() + 3600);
        eventually(&format!("{number} exemplars of {series}"), || {
            let data = self.api(
                "query_exemplars",
                &[("query", series), ("start", &start.to_string()), ("end", &end.to_string())],
            )?;
            let mut found: Vec<_> = data
                .as_array()?
                .iter()
                .flat_map(|of| {
                    let exemplars = of["exemplars"].as_array().expect("a list");
                    exemplars.iter().map(|exemplar| {
                        let text =
                            |value: &serde_json::Value| value.as_str().expect("text").to_owned();
                        (text(&exemplar["labels"]["id"]), text(&exemplar["value"]))
                    })
                })
                .collect();
            found.sort();
            (found.len() >= number).then_some(found)
        })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn exemplar(id: &str, value: f64, seconds: u64) -> Message {
    message()
        .message(1, message().text(1, "id").text(2, id))
        .double(2, value)
        .message(3, message().int(1, seconds))
}

fn push(gateway: &Gateway, name: &str, kind: u64, field: u32, value: Message) {
    let family = Message::family(name, kind).metric(&[("job", "pushed")], (field, value));
    push_as(gateway, PROTOBUF, family.delimited());
}

/// Pushes the same classic and native buckets twice: (0.5, 1] 2, (1, 2] 3, (2, 4] 1.
fn push_both_ways(gateway: &Gateway) {
    for (id, age) in [("newer", 10), ("older", 20)] {
        let bucket = |bound, count| message().int(1, count).double(2, bound);
        let histogram = native(0, (0.001, 0), 0, &[2, 3, 1])
            .message(3, bucket(1.0, 2).message(3, exemplar(id, 0.75, now() - age)))
            .message(3, bucket(4.0, 6));
        push(gateway, "both_seconds", 4, 7, histogram);
    }
}

#[test]
fn prometheus_with_native_histograms() {
    let gateway = start();
    // Two schemas: (0.5, 1] 2, (1, 2] 8, (2, 4] 4, (4, 8] 2 and 3 around zero.
    push(&gateway, "schemas", 4, 7, native(1, (0.001, 1), 0, &[2, 3, 0, 4]));
    push(&gateway, "schemas", 4, 7, native(0, (0.001, 2), 1, &[5, 0, 2]));
    // Two zero thresholds: 16 in [-1, 1], (1, 2] 7, (2, 4] 1.
    push(&gateway, "thresholds", 4, 7, native(0, (0.001, 2), -1, &[4, 3, 5]));
    push(&gateway, "thresholds", 4, 7, native(0, (0.75, 7), 1, &[2, 1]));
    let float = message()
        .double(4, 4.5)
        .double(2, 10.0)
        .sint(5, 0)
        .double(6, 0.001)
        .double(8, 0.25)
        .message(12, message().sint(1, 3).int(2, 2))
        .double(14, 1.25)
        .double(14, 3.0);
    push(&gateway, "float", 4, 7, float);
    push(&gateway, "float", 4, 7, native(0, (0.001, 1), 3, &[1]));
    push(&gateway, "level", 5, 7, native(0, (0.001, 1), 1, &[4]));
    push_both_ways(&gateway);
    let counter = |id, age| message().double(1, 2.0).message(2, exemplar(id, 0.5, now() - age));
    push(&gateway, "jobs_total", 0, 3, counter("newer", 10));
    push(&gateway, "jobs_total", 0, 3, counter("older", 20));
    let prometheus = Prometheus::start(&gateway, "native-histograms,exemplar-storage");

    prometheus.shows("histogram_count(schemas{job='pushed'})", 19.0);
    prometheus.shows("histogram_sum(schemas)", 20.0);
    // Rank 9.5 is 4.5 into the 8 of (1, 2].
    prometheus.shows("histogram_quantile(0.5, schemas)", 1.5625);
    prometheus.shows("histogram_count(thresholds)", 24.0);
    // Rank 19.5 is half way through the 7 of (1, 2].
    prometheus.shows("histogram_quantile(0.8125, thresholds)", 1.5);
    prometheus.shows("histogram_fraction(-1, 1, thresholds)", 16.0 / 24.0);
    prometheus.shows("histogram_count(float)", 6.5);
    prometheus.shows("histogram_sum(float)", 20.0);
    prometheus.shows("histogram_count(level)", 5.0);
    prometheus.shows("histogram_count(both_seconds)", 12.0);
    prometheus.shows("histogram_quantile(0.5, both_seconds)", 1.0 + 2.0 / 6.0);
    prometheus.shows("jobs_total", 4.0);
    assert_eq!(prometheus.exemplars("jobs_total", 1), [("newer".to_owned(), "0.5".to_owned())]);
    assert_eq!(prometheus.exemplars("both_seconds", 1), [("newer".to_owned(), "0.75".to_owned())]);

    // Later pushes add up, even at a lower resolution, and are not a reset.
    push(&gateway, "schemas", 4, 7, native(-1, (0.001, 1), 1, &[5]));
    prometheus.shows("histogram_count(schemas)", 25.0);
    prometheus.shows("histogram_sum(schemas)", 30.0);
    // A reset would count all 25 again.
    prometheus.shows("histogram_count(increase(schemas[1m])) < bool 20", 1.0);
    prometheus.shows("min_over_time(up[1m])", 1.0);
}

#[test]
fn prometheus_without_native_histograms() {
    let gateway = start();
    let prometheus = Prometheus::start(&gateway, "exemplar-storage");
    push_both_ways(&gateway);
    push(&gateway, "native", 4, 7, native(1, (0.001, 1), 0, &[2, 3]));
    push(&gateway, "jobs_total", 0, 3, message().double(1, 2.0));

    prometheus.shows("both_seconds_bucket{le='1.0'}", 4.0);
    prometheus.shows("both_seconds_bucket{le='4.0'}", 12.0);
    prometheus.shows("both_seconds_bucket{le='+Inf'}", 12.0);
    prometheus.shows("both_seconds_count", 12.0);
    prometheus.shows("both_seconds_sum", 20.0);
    // Rank 6 is 2 into the 8 of (1, 4].
    prometheus.shows("histogram_quantile(0.5, both_seconds_bucket)", 1.75);
    prometheus.shows("native_bucket", 6.0);
    prometheus.shows("native_sum", 10.0);
    prometheus.shows("jobs_total", 2.0);
    assert_eq!(
        prometheus.exemplars("both_seconds_bucket", 1),
        [("newer".to_owned(), "0.75".to_owned())]
    );
    prometheus.shows("min_over_time(up[1m])", 1.0);
}
