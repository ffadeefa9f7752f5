//! A real Prometheus scrapes the real Pushgateway and us, and sees the same from both.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{corpus, real};
use crate::harness::{Message, Request, client, eventually, promtool_accepts, value};
use crate::prometheus::Prometheus;

const TEXT: &str = "# HELP x Help\\\\ful.\n# TYPE x gauge\nx{a=\"\\\"\",b=\"/\"} 1.5\nx 0.25\n\
    # TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"5\"} 4\nh_sum 1\nh_count 4\n\
    # TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 3\ns_count 4\nu -Inf\n";

fn send(address: SocketAddr, method: &str, path: &str, body: &[u8], content_type: &str) {
    let request = Request::new(address, method, path).header("Content-Type", content_type);
    let status = request.body(body).send().status;
    assert!((200..300).contains(&status), "{method} {path}: {status}");
}

/// Pushed values and push times by labels; of a time only whether it is set.
fn seen(prometheus: &Prometheus, gateway: &str) -> BTreeMap<String, f64> {
    let own = "go_.*|process_.*|promhttp_.*|pushgateway_.*|tallygate_.*|scrape_.*|up";
    let query = format!("{{gateway=\"{gateway}\",__name__!~\"{own}\"}}");
    let mut seen = BTreeMap::new();
    for (mut labels, value) in prometheus.query(&query) {
        labels.as_object_mut().expect("labels").remove("gateway");
        let name = labels["__name__"].as_str().expect("a name");
        let is_time = super::differential::is_time(&format!("{name}{{"));
        let value = if is_time && value != 0.0 { 1.0 } else { value };
        assert_eq!(seen.insert(labels.to_string(), value), None, "{labels}");
    }
    seen
}

/// Waits until it has seen the last change to both, and compares everything.
#[track_caller]
fn same(prometheus: &Prometheus, last: impl Fn(&BTreeMap<String, f64>) -> bool) -> usize {
    let mut both = (BTreeMap::new(), BTreeMap::new());
    eventually("Prometheus has scraped both", || {
        both = (seen(prometheus, "ours"), seen(prometheus, "real"));
        (last(&both.0) && last(&both.1)).then_some(())
    });
    assert_eq!(both.0, both.1, "ours on the left, the real one on the right");
    both.0.len()
}

#[test]
fn prometheus_sees_the_same_of_both() {
    let (real, ours) = (real::start(&["--persistence.file="]), super::start());
    let both = [real.address, ours.address];
    let mark =
        |name| format!("metric_relabel_configs: [{{target_label: gateway, replacement: {name}}}]");
    let prometheus = Prometheus::with_jobs(&[
        ("real", real.address, &mark("real")),
        ("ours", ours.address, &mark("ours")),
    ]);
    for address in both {
        let family = Message::family("p", 0).metric(&[("m", "1")], value::counter(3.0));
        send(address, "PUT", "/metrics/job/a/l/%22%5C", TEXT.as_bytes(), "text/plain");
        send(
            address,
            "PUT",
            "/metrics/job@base64/L2E/instance/i",
            b"# TYPE x gauge\nx 1\n",
            "text/plain",
        );
        send(address, "PUT", "/metrics/job/b/l/", b"# TYPE x gauge\nx 2\n", "text/plain");
        send(address, "POST", "/metrics/job/d", &family.delimited(), corpus::PROTOBUF);
        for name in ["go", "node", "python"] {
            for scenario in ["counter", "histogram"] {
                let process = client(name, [&format!("http://{address}"), scenario, "1", "2"]);
                assert!(process.wait_with_output().expect("it ends").status.success());
            }
        }
        send(address, "POST", "/metrics/job/last", b"last 1\n", "text/plain");
    }
    let has_last = |seen: &BTreeMap<String, f64>| seen.keys().any(|key| key.contains("\"last\""));
    let count = same(&prometheus, has_last);
    // The series of the bodies above, three times those of two scenarios, two times for each group.
    let group_count = 5 + 3;
    assert_eq!(count, 11 + 2 + 1 + 3 * (2 + 6) + 1 + 2 * group_count);
    prometheus.await_value("x{job=\"/a\",instance=\"i\",gateway=\"ours\"}", 1.0);
    prometheus.await_value("min(min_over_time(up[1m]))", 1.0);

    // Deleted and replaced series are stale at once.
    for address in both {
        send(address, "PUT", "/metrics/job/a/l/%22%5C", b"# TYPE x gauge\nx 7\n", "text/plain");
        send(address, "DELETE", "/metrics/job/last", b"", "text/plain");
    }
    let fewer = same(&prometheus, |seen| !has_last(seen));
    assert_eq!(fewer, count - 3 - 10);
    prometheus.await_value("x{job=\"a\",gateway=\"ours\"}", 7.0);
    for address in both {
        promtool_accepts(&Request::new(address, "GET", "/metrics").send().text());
    }
}
