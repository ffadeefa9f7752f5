//! Limits: each has its error, its status and its figures, and refuses the push as a whole.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Coding, Connection, Gateway, Request, encoded, eventually, flag, sample};

/// A gateway with one limit, and the limit's metrics.
struct Limited {
    gateway: Gateway,
    word: &'static str,
}

fn limited(word: &'static str, value: &str) -> Limited {
    let flag_name = format!("--limits.{}={value}", word.replace('_', "-"));
    Limited { gateway: flag(&flag_name).run(), word }
}

impl Limited {
    fn refusals(&self) -> f64 {
        self.gateway.sample(&format!("tallygate_limit_refusals_total{{limit=\"{}\"}}", self.word))
    }

    /// Asserts that the request is refused and counted, and that the answer names the limit.
    #[track_caller]
    fn refuses(&mut self, request: Request, status: u16) -> Value {
        let before = self.refusals();
        let problem = self.gateway.refuse_request(request, status);
        assert_eq!(problem["title"], "over a limit");
        assert_eq!(problem["limit"], self.word);
        assert!(problem["hint"].is_string() || status == 429, "{problem}");
        assert_eq!(self.refusals(), before + 1.0);
        problem
    }

    #[track_caller]
    fn refuses_body(&mut self, body: &str, status: u16) -> Value {
        self.refuses(self.gateway.request("POST", "/metrics/job/j").body(body), status)
    }

    #[track_caller]
    fn shows(&self, max: f64) {
        let limit = format!("tallygate_limit{{limit=\"{}\"}}", self.word);
        assert_eq!(self.gateway.sample(&limit), max);
    }
}

fn lines(count: usize) -> String {
    (0..count).map(|i| format!("a_total{{i=\"{i}\"}} 1\n")).collect()
}

#[test]
fn body_bytes() {
    let mut limited = limited("body_bytes", "1KiB");
    limited.shows(1024.0);
    let fits = format!("a_total 1\n#{}\n", "x".repeat(1024 - 12));
    assert_eq!(fits.len(), 1024);
    let push = |body: &str| limited.gateway.request("POST", "/metrics/job/j").body(body);
    let (exact, chunked) = (push(&fits), push(&fits).chunked());
    let (over, over_in_chunks) = (push(&format!("{fits}#")), push(&format!("{fits}#")).chunked());
    limited.gateway.accept_request(exact);
    limited.gateway.accept_request(chunked);
    limited.refuses(over, 413);
    limited.refuses(over_in_chunks, 413);
    let outcome = limited.gateway.sample("tallygate_pushes_total{outcome=\"too_large\"}");
    assert_eq!(outcome, 2.0);
}

#[test]
fn decoded_body_bytes() {
    let mut gateway =
        flag("--limits.body-bytes=16KiB").flag("--limits.decoded-body-bytes=64KiB").run();
    gateway.expect_log("push refused");
    let mut limited = Limited { gateway, word: "decoded_body_bytes" };
    limited.shows(65536.0);
    // Each body is small, and decodes to far too many bytes.
    let bomb = "\n".repeat(1 << 20);
    for coding in Coding::ALL {
        if coding == Coding::SnappyBlock || coding == Coding::SnappyFramed {
            continue;
        }
        let push = limited.gateway.request("POST", "/metrics/job/j");
        let push = push.header("Content-Encoding", coding.word());
        limited.refuses(push.body(encoded(coding, &bomb)), 413);
    }
    // Snappy compresses by a factor of about 20 at most.
    let bomb = "\n".repeat(80 << 10);
    for coding in [Coding::SnappyBlock, Coding::SnappyFramed] {
        let push = limited.gateway.request("POST", "/metrics/job/j");
        let push = push.header("Content-Encoding", coding.word());
        limited.refuses(push.body(encoded(coding, &bomb)), 413);
    }
    // Also within another coding.
    let nested = encoded(Coding::Gzip, encoded(Coding::Gzip, "\n".repeat(8 << 20)));
    let push = limited.gateway.request("POST", "/metrics/job/j").body(nested);
    limited.refuses(push.header("Content-Encoding", "gzip, gzip"), 413);
    let fits = encoded(Coding::Gzip, "\n".repeat(64 << 10));
    let push = limited.gateway.request("POST", "/metrics/job/j").body(fits);
    limited.gateway.accept_request(push.header("Content-Encoding", "gzip"));
}

#[test]
fn samples_per_push() {
    let mut limited = limited("samples_per_push", "3");
    limited.shows(3.0);
    limited.gateway.accept("/metrics/job/j", lines(3));
    limited.refuses_body(&lines(4), 413);
    // Each line of a histogram is one sample.
    let histogram = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\n";
    limited.gateway.accept("/metrics/job/j", histogram);
    limited.refuses_body(&format!("{histogram}h_count 1\n"), 413);
}

#[test]
fn labels_per_series() {
    let mut limited = limited("labels_per_series", "3");
    limited.shows(3.0);
    limited.gateway.accept("/metrics/job/j", "a{x=\"1\",y=\"2\"} 1\n");
    limited.refuses_body("ok 1\na{x=\"1\",y=\"2\",z=\"3\"} 1\n", 422);
    // A label with an empty value does not count, and one of the path replaces one of the body.
    limited.gateway.accept("/metrics/job/j", "a{x=\"1\",y=\"2\",z=\"\",job=\"k\"} 1\n");
}

#[test]
fn label_name_bytes() {
    let mut limited = limited("label_name_bytes", "5");
    limited.shows(5.0);
    limited.gateway.accept("/metrics/job/j", "a{fifth=\"1\"} 1\n");
    limited.refuses_body("a{sixths=\"1\"} 1\n", 422);
    let path = limited.gateway.request("POST", "/metrics/sixths/1").body("a 1\n");
    limited.refuses(path, 422);
}

#[test]
fn label_value_bytes() {
    let mut limited = limited("label_value_bytes", "8B");
    limited.shows(8.0);
    limited.gateway.accept("/metrics/job/j", "a{x=\"12345678\"} 1\n");
    limited.refuses_body("a{x=\"123456789\"} 1\n", 422);
    // Bytes, not characters.
    limited.refuses_body("a{x=\"ääää1\"} 1\n", 422);
    let path = limited.gateway.request("POST", "/metrics/job/123456789").body("a 1\n");
    limited.refuses(path, 422);
}

#[test]
fn metric_name_bytes() {
    let mut limited = limited("metric_name_bytes", "8");
    limited.shows(8.0);
    limited.gateway.accept("/metrics/job/j", "eight_ab 1\n");
    limited.refuses_body("nine_abcd 1\n", 422);
}

#[test]
fn help_bytes() {
    let mut limited = limited("help_bytes", "8");
    limited.shows(8.0);
    limited.gateway.accept("/metrics/job/j", "# HELP a Eight ab\na 1\n");
    limited.refuses_body("# HELP a Nine abcd\na 1\n", 422);
    // Even without a series: the family may exist already.
    limited.refuses_body("# HELP a Nine abcd\n", 422);
    let unit = "# TYPE a_kilometers gauge\n# UNIT a_kilometers kilometers\na_kilometers 1\n# EOF\n";
    let push = limited.gateway.request("POST", "/metrics/job/j").body(unit);
    limited.refuses(push.header("Content-Type", "application/openmetrics-text"), 422);
}

#[test]
fn bucket_bounds() {
    let mut limited = limited("bucket_bounds", "2");
    limited.shows(2.0);
    let of = |bounds: &[u32]| {
        let lines: String =
            bounds.iter().map(|le| format!("h_bucket{{le=\"{le}\"}} 1\n")).collect();
        format!("# TYPE h histogram\n{lines}h_bucket{{le=\"+Inf\"}} 1\nh_sum 1\n")
    };
    limited.gateway.accept("/metrics/job/j", of(&[1, 2]));
    limited.refuses_body(&of(&[3]), 422);
    limited.refuses_body(&of(&[1, 2, 3]), 422);
    // Per family, not per series.
    let other = limited.gateway.request("POST", "/metrics/job/other").body(of(&[3]));
    limited.refuses(other, 422);
    limited.gateway.accept("/metrics/job/other", of(&[2]));
    limited.gateway.accept("/metrics/job/j", of(&[]));
    // Deletion makes room, even if the family stays.
    limited.gateway.request("DELETE", "/metrics/job/j").send();
    limited.gateway.accept("/metrics/job/other", of(&[3]));
    let other = limited.gateway.request("POST", "/metrics/job/other").body(of(&[1]));
    limited.refuses(other, 422);
}

#[test]
fn series() {
    let mut limited = limited("series", "3");
    limited.shows(3.0);
    limited.gateway.accept("/metrics/job/j", lines(3));
    limited.refuses_body("b_total 1\n", 429);
    limited.refuses_body(&lines(4), 429);
    assert_eq!(limited.gateway.sample("tallygate_limit_used{limit=\"series\"}"), 3.0);
    // Pushes to known series are still accepted, and deletion makes room.
    limited.gateway.accept("/metrics/job/j", lines(2));
    limited.gateway.request("DELETE", "/metrics/job/j").send();
    limited.gateway.accept("/metrics/job/j", "b_total 1\n");
}

#[test]
fn series_per_job() {
    let mut limited = limited("series_per_job", "2");
    limited.shows(2.0);
    limited.gateway.accept("/metrics/job/j", lines(2));
    let problem = limited.refuses_body("b_total 1\n", 429);
    assert!(problem["detail"].as_str().unwrap().contains("job \"j\""), "{problem}");
    limited.gateway.accept("/metrics/job/other", lines(2));
    // Series without a job count together.
    limited.gateway.accept("/metrics", lines(2));
    let without = limited.gateway.request("POST", "/metrics").body("b_total 1\n");
    limited.refuses(without, 429);
}

#[test]
fn families() {
    let mut limited = limited("families", "2");
    limited.shows(2.0);
    limited.gateway.accept("/metrics/job/j", "a 1\nb 1\n");
    limited.refuses_body("c 1\n", 429);
    limited.gateway.accept("/metrics/job/k", "a 1\nb{x=\"1\"} 1\n");
    assert_eq!(limited.gateway.sample("tallygate_limit_used{limit=\"families\"}"), 2.0);
}

#[test]
fn inflight_push_bytes() {
    let gateway = flag("--limits.body-bytes=2KiB")
        .flag("--limits.decoded-body-bytes=2KiB")
        .flag("--limits.inflight-push-bytes=2KiB")
        .run();
    let mut limited = Limited { gateway, word: "inflight_push_bytes" };
    limited.shows(2048.0);
    let body = format!("a_total 1\n#{}\n", "x".repeat(1500));
    let mut first = Connection::open(limited.gateway.address);
    first.write(limited.gateway.request("POST", "/metrics/job/j").body(&body).head_bytes());
    let used = eventually("the first push is in flight", || {
        let used = limited.gateway.sample("tallygate_limit_used{limit=\"inflight_push_bytes\"}");
        (used > 0.0).then_some(used)
    });
    assert_eq!(used, body.len() as f64);
    let second = limited.gateway.request("POST", "/metrics/job/j").body(&body);
    limited.refuses(second.clone(), 429);
    // Without a length, it is noticed while reading.
    limited.refuses(second.clone().chunked(), 429);
    let answer = second.clone().send();
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
    limited.gateway.accept("/metrics/job/j", "small_total 1\n");
    first.write(&body);
    assert_eq!(first.read().status, 200);
    limited.gateway.accept_request(second);
    let left = limited.gateway.sample("tallygate_inflight_push_bytes");
    assert_eq!(left, 0.0);
}

/// Most systems have a soft limit of 1,024 files, which connections could use up, so that the store
/// could not open another file.
#[test]
fn the_limit_of_open_files_is_lifted() {
    let shell = |limits: &str| format!("{limits}; exec \"$@\"");
    let max_fds = |gateway: &Gateway| gateway.sample("tallygate_process_max_fds");

    let lifted = shell("ulimit -S -n 64 && ulimit -H -n 4000");
    let gateway = flag("--limits.connections=3000").under(&["sh", "-c", &lifted, "sh"]).run();
    assert_eq!(max_fds(&gateway), 4000.0);

    let low = shell("ulimit -n 200");
    let mut gateway = flag("--limits.connections=3000").under(&["sh", "-c", &low, "sh"]).run();
    gateway.expect_log("limits.connections");
    assert_eq!(max_fds(&gateway), 200.0);
    let warning = gateway.await_log("limits.connections");
    assert!(warning.contains("level=warn") && warning.contains("200 files"), "{warning}");
}

#[test]
fn connections() {
    let mut gateway = flag("--limits.connections=2").run();
    gateway.expect_log("connection refused");
    gateway.last_scrape(None);
    let mut kept: Vec<Connection> = Vec::new();
    let healthy = gateway.request("GET", "/-/healthy");
    // The scrapes of the harness may not be closed yet.
    for _ in 0..2 {
        kept.push(eventually("a place is free", || {
            let mut connection = Connection::open(gateway.address);
            connection.write(healthy.bytes());
            connection.try_read().ok().map(|_| connection)
        }));
    }
    let mut third = Connection::open(gateway.address);
    third.write(healthy.bytes());
    assert!(third.try_read().is_err());
    let text = kept[0].send(&gateway.request("GET", "/metrics")).text();
    assert_eq!(sample(&text, "tallygate_connections"), Some(2.0));
    let refused = sample(&text, "tallygate_connections_refused_total").unwrap();
    assert!(refused >= 1.0);
    assert_eq!(
        sample(&text, "tallygate_limit_refusals_total{limit=\"connections\"}"),
        Some(refused)
    );
    drop(kept);
    eventually("places are free again", || {
        let mut connection = Connection::open(gateway.address);
        connection.write(healthy.bytes());
        connection.try_read().ok()
    });
}

/// Otherwise, with too many connections, the gateway would be considered dead and restarted.
#[test]
fn connections_leave_room_for_probes() {
    let mut gateway =
        flag("--limits.connections=2").flag("--web.management-address=127.0.0.1:0").run();
    gateway.expect_log("connection refused");
    gateway.last_scrape(None);
    let open = |address, count| -> Vec<Connection> {
        (0..count).map(|_| Connection::open(address)).collect()
    };
    let flood = open(gateway.address, 50);
    let at_management = |path: &str| Request::new(gateway.management(), "GET", path).send();
    for path in ["/-/healthy", "/-/ready", "/metrics"] {
        assert_eq!(at_management(path).status, 200, "{path}");
    }
    drop(flood);
    // Those have a limit, too.
    let flood = open(gateway.management(), 50);
    let healthy = Request::new(gateway.management(), "GET", "/-/healthy");
    let mut last = Connection::open(gateway.management());
    last.write(healthy.bytes());
    assert!(last.try_read().is_err());
    drop(flood);
    eventually("places are free again", || {
        let mut connection = Connection::open(gateway.management());
        connection.write(healthy.bytes());
        connection.try_read().ok()
    });
}

/// A list is in memory as a whole, so many at a time would use up the memory.
#[test]
fn lists_that_nobody_reads() {
    for mode in ["aggregate", "pushgateway"] {
        let gateway = flag(&format!("--mode={mode}")).run();
        let long = "v".repeat(4000);
        let line = |at| format!("a{{n=\"{at}\",l=\"{long}\"}} 1\n");
        gateway.accept("/metrics/job/j", (0..1300).map(line).collect::<String>());
        let list = gateway.request("GET", "/api/v1/metrics");
        let ask = || {
            let mut connection = Connection::open(gateway.address);
            connection.write(list.bytes());
            connection
        };
        let begun = |connection: &Connection, within_ms| {
            let stream = connection.stream();
            stream.set_read_timeout(Some(Duration::from_millis(within_ms))).unwrap();
            stream.peek(&mut [0]).is_ok()
        };
        let mut stalled: Vec<Connection> = (0..4).map(|_| ask()).collect();
        assert!(stalled.iter().all(|connection| begun(connection, 30_000)));
        // The next one waits until one of them is closed or complete.
        for end in [drop, |mut connection: Connection| _ = connection.read()] {
            let next = ask();
            assert!(!begun(&next, 300), "{mode}: there are four already");
            end(stalled.remove(0));
            assert!(begun(&next, 30_000));
            stalled.push(next);
        }
        // Other requests do not wait.
        assert_eq!(gateway.get("/metrics").status, 200);
        assert_eq!(gateway.get("/-/ready").status, 200);
        // Lists do not wait for ever, either.
        if mode == "aggregate" {
            assert_eq!(list.clone().send().status, 503);
        }
    }
}

#[test]
fn header_bytes() {
    let limited = limited("header_bytes", "4KiB");
    limited.shows(4096.0);
    let push = limited.gateway.request("POST", "/metrics/job/j").body("a 1\n");
    let fits = push.clone().header("X-Long", &"x".repeat(4000));
    limited.gateway.accept_request(fits);
    let before = limited.refusals();
    for request in [
        push.clone().header("X-Long", &"x".repeat(4096)),
        limited.gateway.request("GET", "/-/healthy").header("X-Long", &"x".repeat(5000)),
    ] {
        let answer = request.send();
        assert_eq!(answer.status, 431);
        assert_eq!(answer.json()["limit"], "header_bytes");
    }
    assert_eq!(limited.refusals(), before + 2.0);
    limited.gateway.accept_request(push);
}

/// Refused long before much memory is allocated for it.
#[test]
fn a_head_without_end() {
    let gateway = flag("--limits.header-bytes=128KiB").run();
    let mut connection = Connection::open(gateway.address);
    connection.write(b"POST /metrics/job/j HTTP/1.1\r\n");
    for _ in 0..200 {
        connection.write(format!("X-Header: {}\r\n", "x".repeat(4000)));
    }
    match connection.try_read() {
        Ok(answer) => assert!(matches!(answer.status, 400 | 431), "{answer:?}"),
        Err(_) => assert!(connection.is_closed()),
    }
    assert_eq!(gateway.get("/-/healthy").status, 200);
}

#[test]
fn a_limit_of_zero_is_none() {
    let gateway = flag("--limits.series=0")
        .flag("--limits.families=0")
        .flag("--limits.bucket-bounds=0")
        .run();
    let many: String = (0..2000).map(|i| format!("family_{i} 1\n")).collect();
    gateway.accept("/metrics/job/j", many);
    assert_eq!(gateway.sample("tallygate_limit{limit=\"families\"}"), 0.0);
    assert_eq!(gateway.sample("tallygate_families"), 2000.0);
}
