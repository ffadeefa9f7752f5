//! `GET /metrics`: order, negotiation, selection, and no burden for pushes.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Connection, Gateway, Message, Response, decoded, eventually, flag, histogram, matching,
    message, promtool_accepts, sample, start,
};

fn scrape(gateway: &Gateway, headers: &[(&str, &str)]) -> Response {
    let request = gateway.request("GET", "/metrics");
    headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send()
}

#[test]
fn families_and_series_are_in_order_each_with_one_head() {
    let gateway = start();
    gateway
        .accept("/metrics/job/b", "# HELP z Last.\n# TYPE z counter\nz 1\n# TYPE a gauge\na 1\n");
    gateway.accept("/metrics/job/a", "# TYPE z counter\nz{x=\"2\"} 1\nz{x=\"10\"} 1\na_b 1\nB 1\n");
    gateway.accept("/metrics/job/a", histogram("h", 1.0, &[("5", 1), ("10", 1), ("+Inf", 1)]));
    assert_eq!(
        gateway.pushed(),
        "# TYPE B untyped\nB{job=\"a\"} 1\n\
         # TYPE a gauge\na{job=\"b\"} 1\n\
         # TYPE a_b untyped\na_b{job=\"a\"} 1\n\
         # TYPE h histogram\nh_bucket{job=\"a\",le=\"5\"} 1\nh_bucket{job=\"a\",le=\"10\"} 1\n\
         h_bucket{job=\"a\",le=\"+Inf\"} 1\nh_sum{job=\"a\"} 1\nh_count{job=\"a\"} 1\n\
         # HELP z Last.\n# TYPE z counter\nz{job=\"a\",x=\"10\"} 1\nz{job=\"a\",x=\"2\"} 1\n\
         z{job=\"b\"} 1\n"
    );
    // Two scrapes without a change in between are equal.
    assert_eq!(gateway.pushed(), gateway.pushed());
    assert_eq!(gateway.get("//metrics/").status, 200);
}

#[test]
fn help_is_escaped() {
    let gateway = start();
    gateway.accept("/metrics", "# HELP a Back\\\\slash and \\n line.\na 1\n");
    assert!(gateway.pushed().starts_with("# HELP a Back\\\\slash and \\n line.\n"));
}

#[test]
fn our_own_metrics_are_at_the_end() {
    let gateway = start();
    gateway.accept("/metrics", "tally 1\nzzz 1\n");
    let text = gateway.get("/metrics").text();
    let own = text.find("# HELP tallygate_").unwrap();
    assert!(text.find("zzz 1").unwrap() < own);
    let names: Vec<&str> =
        text[own..].lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(names.is_sorted() && names.iter().all(|name| name.starts_with("tallygate_")));
    assert!(names.len() > 20, "{names:?}");
}

#[test]
fn our_own_metrics_at_an_address_of_their_own() {
    let mut gateway = flag("--web.management-address=127.0.0.1:0").run();
    gateway.accept("/metrics/job/j", "a 1\n");
    let pushed = gateway.get("/metrics").text();
    assert_eq!(pushed, "# TYPE a untyped\na{job=\"j\"} 1\n");
    promtool_accepts(&pushed);
    let address = gateway.management();
    let own = crate::harness::Request::new(address, "GET", "/metrics").send().text();
    promtool_accepts(&own);
    assert!(own.contains("\ntallygate_build_info{"), "{own}");
    assert!(types(&own).iter().all(|line| line.starts_with("# TYPE tallygate_")), "{own}");
    assert_eq!(sample(&own, "tallygate_series"), Some(1.0));
    gateway.last_scrape(Some("/metrics"));
}

#[test]
fn an_empty_gateway_shows_only_itself() {
    let gateway = start();
    assert_eq!(gateway.pushed(), "");
    let gateway = flag("--web.management-address=127.0.0.1:0").run();
    let scrape = gateway.get("/metrics");
    assert_eq!((scrape.status, scrape.text().as_str()), (200, ""));
}

// === negotiation ===

const PROTOBUF: &str = "application/vnd.google.protobuf;\
    proto=io.prometheus.client.MetricFamily;encoding=delimited";

#[test]
fn formats_by_accept() {
    let gateway = start();
    gateway.accept("/metrics", "# TYPE a_total counter\na_total 1\n");
    for (accept, content_type) in [
        ("", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"),
        ("text/html", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"),
        (
            "text/plain;version=1.0.0;escaping=allow-utf-8",
            "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        ),
        (
            "application/openmetrics-text;version=1.0.0",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
        (
            "application/openmetrics-text;version=1.0.0;q=0.2,text/plain;version=0.0.4;q=0.3",
            "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
        ),
        (
            PROTOBUF,
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
             encoding=delimited; escaping=underscores",
        ),
    ] {
        let response = scrape(&gateway, &[("Accept", accept)]);
        assert_eq!(response.header("content-type"), Some(content_type), "{accept}");
        assert_eq!(response.header("vary"), Some("Accept, Accept-Encoding"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
    }
    let two_lines = [("Accept", "text/html"), ("Accept", "application/openmetrics-text")];
    let openmetrics = scrape(&gateway, &two_lines).text();
    assert!(openmetrics.starts_with("# TYPE a counter\na_total 1.0\n"), "{openmetrics}");
    assert!(openmetrics.ends_with("\n# EOF\n"));
    let protobuf = scrape(&gateway, &[("Accept", PROTOBUF)]).body;
    // Length, then field 1 with the name.
    assert_eq!(protobuf[1..10], *b"\x0a\x07a_total");
}

/// An exposition in any format can be pushed again.
#[test]
fn expositions_can_be_pushed() {
    let first = flag("--web.management-address=127.0.0.1:0").run();
    first.accept("/metrics/job/j", "# HELP c_total C.\n# TYPE c_total counter\nc_total 0.1\nu 2\n");
    first.accept("/metrics/job/j", "# TYPE g gauge\ng{x=\"\\\"\\n\"} -0.5\n");
    first.accept("/metrics/job/j", histogram("h", 1.5, &[("0.1", 1), ("+Inf", 3)]));
    first.accept("/metrics/job/j", "# TYPE s summary\ns_sum 5\ns_count 2\n");
    let text = first.get("/metrics").text();
    for accept in ["text/plain", "application/openmetrics-text;version=1.0.0", PROTOBUF] {
        let scraped = scrape(&first, &[("Accept", accept)]);
        let second = flag("--web.management-address=127.0.0.1:0").run();
        let content_type = scraped.header("content-type").unwrap();
        let push = second.request("POST", "/metrics").header("Content-Type", content_type);
        second.accept_request(push.body(&scraped.body));
        assert_eq!(second.get("/metrics").text(), text, "{accept}");
    }
}

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";

#[test]
fn exemplars_and_start_times_in_openmetrics() {
    for created in [false, true] {
        let gateway = flag(&format!("--scrape.created-samples={created}")).run();
        let push = gateway.request("POST", "/metrics").header("Content-Type", OPENMETRICS);
        gateway.accept_request(push.body(
            "# TYPE c counter\nc_total 1 # {trace_id=\"t\"} 0.5 1700000000.5\n\
             # TYPE h histogram\nh_bucket{le=\"1.0\"} 1 # {} 0.25\nh_bucket{le=\"+Inf\"} 1\n\
             h_count 1\nh_sum 0.25\n# EOF\n",
        ));
        let text = scrape(&gateway, &[("Accept", OPENMETRICS)]).text();
        let counter = "# TYPE c counter\nc_total 1.0 # {trace_id=\"t\"} 0.5 1700000000.5\n";
        assert!(text.starts_with(counter), "{text}");
        assert!(text.contains("h_bucket{le=\"1.0\"} 1 # {} 0.25\n"), "{text}");
        let times = text.lines().filter(|line| line.contains("_created "));
        let times = times.filter(|line| !line.starts_with('#'));
        let times: Vec<f64> =
            times.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        let start = gateway.sample("tallygate_process_start_time_seconds");
        assert!(times.iter().all(|time| (start - 1.0..start + 60.0).contains(time)), "{times:?}");
        assert_eq!(times.len() >= 2, created, "{times:?}");
    }
}

/// Protobuf has native buckets; text shows only the total of all buckets.
#[test]
fn native_histograms_in_protobuf() {
    let own = flag("--web.management-address=127.0.0.1:0").run();
    let histogram = message()
        .int(1, 4)
        .double(2, 6.0)
        .sint(5, 1)
        .double(6, 0.001)
        .int(7, 1)
        .message(12, message().sint(1, -1).int(2, 2))
        .sint(13, 1)
        .sint(13, 1);
    let family = Message::family("h", 4).metric(&[("x", "1")], (7, histogram)).delimited();
    let push = |gateway: &Gateway, body: &[u8]| {
        let push = gateway.request("POST", "/metrics").header("Content-Type", PROTOBUF);
        gateway.accept_request(push.body(body));
    };
    push(&own, &family);
    push(&own, &family);
    assert_eq!(
        own.get("/metrics").text(),
        "# TYPE h histogram\nh_bucket{x=\"1\",le=\"+Inf\"} 8\n\
         h_sum{x=\"1\"} 12\nh_count{x=\"1\"} 8\n"
    );
    let copy = start();
    push(&copy, &scrape(&own, &[("Accept", PROTOBUF)]).body);
    let shown = |gateway: &Gateway| {
        let json = gateway.get("/api/v1/metrics").json();
        json["data"]["families"][0]["metrics"][0].clone()
    };
    assert_eq!(shown(&copy), shown(&own));
    assert_eq!(shown(&own)["native"]["positive"], serde_json::json!([[-1, "2"], [0, "4"]]));
    assert_eq!(shown(&own)["native"]["zero_count"], "2");
}

#[test]
fn the_effort_of_compression() {
    for level in [1, 6, 9] {
        let gateway = flag(&format!("--scrape.gzip-level={level}")).run();
        let response = scrape(&gateway, &[("Accept-Encoding", "gzip")]);
        let text = decoded(response.header("content-encoding"), &response.body);
        assert!(text.contains("\ntallygate_series 0\n"), "{level}");
    }
}

#[test]
fn compression_by_accept_encoding() {
    let gateway = start();
    gateway.accept("/metrics", "a 1\n");
    let whole = types(&gateway.get("/metrics").text());
    for (accept, coding) in [
        ("gzip", Some("gzip")),
        ("zstd", Some("zstd")),
        ("gzip, zstd", Some("zstd")),
        ("gzip;q=1.0, zstd;q=0.5", Some("gzip")),
        ("gzip;q=0.1, zstd;q=0", Some("gzip")),
        ("GZIP", Some("gzip")),
        ("*", Some("gzip")),
        ("gzip;q=0", None),
        ("gzip;q=0.000", None),
        ("gzip; q=0, identity", None),
        ("gzip;q=0.5, identity;q=0.6", None),
        ("identity", None),
        ("br, deflate, snappy", None),
        ("", None),
        ("notgzip", None),
    ] {
        let response = scrape(&gateway, &[("Accept-Encoding", accept)]);
        assert_eq!(response.header("content-encoding"), coding, "{accept}");
        let text = decoded(coding, &response.body);
        assert!(text.starts_with("# TYPE a untyped\na 1\n"), "{accept}");
        assert_eq!(types(&text), whole, "{accept}");
    }
}

/// The TYPE lines, in their order.
fn types(exposition: &str) -> Vec<String> {
    exposition.lines().filter(|line| line.starts_with("# TYPE ")).map(str::to_owned).collect()
}

#[test]
fn large_scrapes_are_compressed_piece_by_piece() {
    let gateway = start();
    gateway.accept("/metrics", many_series(5000, 20));
    let plain = gateway.pushed();
    assert_eq!(plain.lines().count(), 5001);
    for coding in ["gzip", "zstd"] {
        let response = scrape(&gateway, &[("Accept-Encoding", coding)]);
        assert_eq!(response.header("content-encoding"), Some(coding));
        assert_eq!(response.header("transfer-encoding"), Some("chunked"));
        assert!(response.body.len() < plain.len() / 4);
        assert!(decoded(Some(coding), &response.body).starts_with(&plain));
    }
}

#[test]
fn head_is_a_scrape_without_its_body() {
    let gateway = start();
    gateway.accept("/metrics", "a 1\n");
    let mut connection = Connection::open(gateway.address);
    let head = gateway.request("HEAD", "/metrics").header("Accept-Encoding", "gzip");
    let response = connection.send(&head);
    assert_eq!(response.status, 200);
    assert!(response.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    // The length may be left out, but must not be wrong.
    assert_ne!(response.header("content-length"), Some("0"));
    // The connection can still be used.
    assert_eq!(connection.send(&gateway.request("GET", "/-/healthy")).text(), "OK");
}

// === selection ===

#[test]
fn selectors() {
    let gateway = start();
    gateway.accept("/metrics/job/a", "up 1\nerrors_total{code=\"500\"} 2\nerrors_total 1\n");
    gateway.accept("/metrics/job/b", "up 1\nerrors_total{code=\"404\"} 3\n");
    let ask = |selectors: &[&str]| gateway.get(&format!("/metrics?{}", matching(selectors))).text();
    assert_eq!(ask(&["up"]), "# TYPE up untyped\nup{job=\"a\"} 1\nup{job=\"b\"} 1\n");
    assert_eq!(
        ask(&["errors_total{code=~\"5..\"}"]),
        "# TYPE errors_total untyped\nerrors_total{code=\"500\",job=\"a\"} 2\n"
    );
    // Series that match either selector.
    assert_eq!(
        ask(&["errors_total{job=\"b\"}", "{__name__=\"up\",job!=\"b\"}"]),
        "# TYPE errors_total untyped\nerrors_total{code=\"404\",job=\"b\"} 3\n\
         # TYPE up untyped\nup{job=\"a\"} 1\n"
    );
    assert_eq!(ask(&["nothing"]), "");
    assert_eq!(
        ask(&["tallygate_series", "up{job=\"a\"}"]),
        "# TYPE up untyped\nup{job=\"a\"} 1\n\
         # HELP tallygate_series Series stored; a histogram or summary is one.\n\
         # TYPE tallygate_series gauge\ntallygate_series 5\n"
    );
    // As people type it.
    assert_eq!(gateway.get("/metrics?match[]=up&match[]={job=~'a'}").status, 200);
}

#[test]
fn selectors_that_are_none() {
    let gateway = start();
    for selector in ["{", "{}", "", "up[5m]", "{a=~\"(\"}"] {
        let response = gateway.get(&format!("/metrics?{}", matching(&[selector])));
        assert_eq!(response.status, 400, "{selector}");
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
    }
    // Other parameters are ignored.
    assert_eq!(gateway.get("/metrics?format=prometheus&x").status, 200);
}

// === beside pushes ===

fn many_series(count: usize, padding: usize) -> String {
    let padding = "x".repeat(padding);
    let series = (0..count).map(|i| format!("many_total{{series=\"{padding}{i:06}\"}} 1\n"));
    series.collect()
}

/// The buckets are from between two pushes, never from the middle of one.
#[test]
fn scrapes_during_pushes_show_whole_histograms() {
    let gateway = start();
    let body: String = ["a", "b", "c"]
        .map(|name| histogram(name, 0.75, &[("0.1", 1), ("0.5", 2), ("1", 3), ("+Inf", 4)]))
        .concat();
    let wider = histogram("a", 0.75, &[("0.2", 1), ("0.7", 2), ("+Inf", 4)]);
    gateway.accept("/metrics", &body);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let pushers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for i in 0..300 {
                        gateway.accept("/metrics", &body);
                        if i % 50 == 0 {
                            gateway.accept("/metrics", &wider);
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut counts = [0.0; 3];
            while !done.load(Relaxed) {
                let text = gateway.get("/metrics").text();
                for (name, before) in ["a", "b", "c"].into_iter().zip(&mut counts) {
                    *before = check_histogram(&text, name, *before);
                }
            }
        });
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
        done.store(true, Relaxed);
    });
    let total = 4.0 * (1.0 + 2.0 * 300.0);
    assert_eq!(gateway.sample("b_count"), total);
    assert_eq!(gateway.sample("a_count"), total + 2.0 * 6.0 * 4.0);
}

/// Checks that buckets rise up to the count, that the mean is right, and that nothing is less than
/// before. Returns the count.
fn check_histogram(text: &str, name: &str, before: f64) -> f64 {
    let bucket = format!("{name}_bucket{{");
    let buckets = text.lines().filter(|line| line.starts_with(&bucket));
    let counts: Vec<f64> =
        buckets.map(|line| line.split(' ').next_back().unwrap().parse().unwrap()).collect();
    let count = sample(text, &format!("{name}_count")).unwrap();
    let sum = sample(text, &format!("{name}_sum")).unwrap();
    assert!(counts.is_sorted() && counts.len() >= 4, "{counts:?}");
    assert_eq!(counts.last(), Some(&count));
    assert_eq!(sum / count, 0.75 / 4.0, "count and sum are of the same pushes");
    assert!(count >= before);
    count
}

/// A scraper that sends a request and then reads nothing.
fn stalled(gateway: &Gateway) -> Connection {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&gateway.address.into()).unwrap();
    let mut connection = Connection::over(TcpStream::from(socket));
    connection.write(gateway.request("GET", "/metrics").bytes());
    connection
}

fn big(stall_timeout: &str) -> Gateway {
    let mut gateway = flag(&format!("--web.write-stall-timeout={stall_timeout}")).run();
    // Too much for the buffers of any kernel.
    for half in 0..2 {
        gateway.accept(&format!("/metrics/half/{half}"), many_series(50_000, 300));
    }
    // promtool would take too long.
    gateway.last_scrape(None);
    gateway
}

#[test]
fn stalled_scrapers_hold_nobody_up_and_are_dropped() {
    let gateway = big("1s");
    let mut scrapers: Vec<Connection> = (0..3).map(|_| stalled(&gateway)).collect();
    let mut pusher = Connection::open(gateway.address);
    let push =
        gateway.request("POST", "/metrics").body("small_total 1\nmany_total{half=\"0\"} 1\n");
    let started = Instant::now();
    for _ in 0..500 {
        assert_eq!(pusher.send(&push).status, 200);
    }
    // Waiting for one of them, even once, would take a second.
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    drop(pusher);
    let selected = gateway.get("/metrics?match[]=small_total").text();
    assert_eq!(sample(&selected, "small_total"), Some(500.0));
    // Only the connection of this request is left.
    eventually("stalled connections are dropped", || {
        let own = gateway.get("/metrics?match[]=tallygate_connections").text();
        (sample(&own, "tallygate_connections") == Some(1.0)).then_some(())
    });
    for scraper in &mut scrapers {
        let received = scraper.read_to_end();
        assert!(received.starts_with(b"HTTP/1.1 200 "));
        assert!(!received.ends_with(b"\r\n0\r\n\r\n"), "it must not look complete");
    }
}

#[test]
fn a_slow_scraper_gets_it_all() {
    let gateway = big("2s");
    let mut slow = stalled(&gateway);
    thread::sleep(Duration::from_millis(300));
    let response = slow.read();
    let text = response.text();
    assert!(text.lines().count() > 100_000);
    assert_eq!(text.matches("# TYPE many_total").count(), 1);
}

#[test]
fn scrapes_at_once_are_bounded() {
    let gateway = {
        let mut gateway = flag("--scrape.max-in-flight=2").run();
        gateway.accept("/metrics", many_series(50_000, 300));
        gateway.last_scrape(None);
        gateway
    };
    let stalled = [stalled(&gateway), stalled(&gateway)];
    eventually("a third scrape is refused", || {
        let response = gateway.request("HEAD", "/metrics").send();
        assert_eq!(response.status, 200, "it costs nothing");
        let response = gateway.get("/metrics?match[]=tallygate_series");
        (response.status == 503).then(|| assert_eq!(response.header("retry-after"), Some("1")))
    });
    gateway.accept("/metrics", "small 1\n");
    drop(stalled);
    eventually("places are free again", || {
        (gateway.get("/metrics?match[]=small").status == 200).then_some(())
    });
}
