//! Clients on the wire (clients R2, R7, R12): old, odd, slow and broken ones.

use std::net::Shutdown;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::harness::{Coding, Connection, Gateway, Request, encoded, eventually, flag, start};

const BODY: &str = "a_total 1\n";

fn pushes(gateway: &Gateway) -> f64 {
    gateway.sample("a_total{job=\"j\"}")
}

// === forms of a request ===

#[test]
fn chunked_bodies() {
    let gateway = start();
    let push = gateway.request("POST", "/metrics/job/j").chunked();
    gateway.accept_request(push.clone().body(BODY));
    // prom-client leaves out type and length, and sets the coding itself.
    let gzip = encoded(Coding::Gzip, BODY);
    gateway.accept_request(push.clone().header("Content-Encoding", "gzip").body(gzip));
    let large = format!("{}{BODY}", "# filler\n".repeat(20_000));
    gateway.accept_request(push.clone().body(&large));
    // Byte by byte, with an extension and a trailer.
    let mut connection = Connection::open(gateway.address);
    connection.write(push.head_bytes());
    for byte in BODY.as_bytes() {
        connection.write([b"1;x=y\r\n", &[*byte][..], b"\r\n"].concat());
    }
    connection.write(b"0\r\n\r\n");
    assert_eq!(connection.read().status, 200);
    // No body at all.
    gateway.accept_request(push.body(""));
    assert_eq!(pushes(&gateway), 4.0);
}

#[test]
fn expect_100_continue() {
    let gateway = start();
    let mut connection = Connection::open(gateway.address);
    let push = gateway.request("PUT", "/metrics/job/j").header("Expect", "100-continue").body(BODY);
    for _ in 0..2 {
        connection.write(push.head_bytes());
        assert_eq!(connection.read_head().unwrap().status, 100);
        connection.write(BODY);
        assert_eq!(connection.read().status, 200);
    }
    // A client that does not wait for it still gets it.
    connection.write(push.bytes());
    let first = connection.read_head().unwrap();
    let last = if first.status == 100 { connection.read() } else { first };
    assert_eq!(last.status, 200);
    assert_eq!(pushes(&gateway), 3.0);
}

/// As in scripts with `/dev/tcp`; the connection ends after the answer.
#[test]
fn http_1_0() {
    let gateway = start();
    let push = gateway.request("POST", "/metrics/job/j").http10().body(BODY);
    let mut connection = Connection::open(gateway.address);
    assert_eq!(connection.send(&push).status, 200);
    assert!(connection.is_closed());
    let mut connection = Connection::open(gateway.address);
    connection.write(b"GET /metrics HTTP/1.0\r\n\r\n");
    let text = String::from_utf8(connection.read_to_end()).unwrap();
    assert!(text.starts_with("HTTP/1.0 200 ") && text.contains("a_total{job=\"j\"} 1\n"), "{text}");
    // Unless the client asks to keep it open.
    let kept = push.header("Connection", "keep-alive");
    let mut connection = Connection::open(gateway.address);
    assert_eq!(connection.send(&kept).status, 200);
    assert_eq!(connection.send(&kept).status, 200);
    assert_eq!(pushes(&gateway), 3.0);
}

#[test]
fn a_large_scrape_over_http_1_0() {
    let mut gateway = start();
    gateway.last_scrape(None);
    let many: String = (0..5000).map(|i| format!("many{{i=\"{i}\"}} 1\n")).collect();
    gateway.accept("/metrics", many);
    let mut connection = Connection::open(gateway.address);
    connection.write(b"GET /metrics HTTP/1.0\r\n\r\n");
    let text = String::from_utf8(connection.read_to_end()).unwrap();
    assert!(!text.to_lowercase().contains("transfer-encoding"), "{}", &text[..300]);
    assert_eq!(text.lines().filter(|line| line.starts_with("many{")).count(), 5000);
    assert!(text.ends_with('\n'));
}

#[test]
fn head_and_body_in_packets_of_their_own() {
    let gateway = start();
    let push = gateway.request("POST", "/metrics/job/j").header("Connection", "close").body(BODY);
    let mut connection = Connection::open(gateway.address);
    let bytes = push.bytes();
    for part in [&bytes[..10], &bytes[10..]] {
        connection.write(part);
        sleep(Duration::from_millis(30));
    }
    assert_eq!(connection.read().status, 200);
    assert!(connection.is_closed());
    let mut connection = Connection::open(gateway.address);
    connection.write(push.head_bytes());
    for byte in BODY.as_bytes() {
        sleep(Duration::from_millis(5));
        connection.write([*byte]);
    }
    assert_eq!(connection.read().status, 200);
    assert_eq!(pushes(&gateway), 2.0);
}

/// curl --http2 offers an upgrade, and Erlang sends the header without a value.
#[test]
fn offers_and_headers_that_are_ignored() {
    let gateway = start();
    let push = || gateway.request("POST", "/metrics/job/j").body(BODY);
    let upgrade = push()
        .header("Connection", "Upgrade, HTTP2-Settings")
        .header("Upgrade", "h2c")
        .header("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA");
    gateway.accept_request(upgrade);
    gateway.accept_request(push().header("TE", ""));
    gateway.accept_request(push().header("TE", "trailers"));
    gateway.accept_request(push().header("User-Agent", "").header("Accept", ""));
    gateway.accept_request(push().header("Accept-Encoding", "gzip"));
    gateway.accept_request(push().header("CF-Worker", "example.org"));
    assert_eq!(pushes(&gateway), 6.0);
}

#[test]
fn a_get_with_a_body() {
    let gateway = start();
    let mut connection = Connection::open(gateway.address);
    let scrape = gateway.request("GET", "/metrics").body(BODY);
    for _ in 0..2 {
        let response = connection.send(&scrape);
        assert_eq!(response.status, 200);
        assert!(!response.text().contains("a_total"));
    }
}

/// Odd paths are never redirected: half of the clients would take that for success.
#[test]
fn no_push_is_ever_redirected() {
    let mut gateway = start();
    gateway.expect_log("push refused");
    for path in [
        "/metrics",
        "/metrics/",
        "//metrics//",
        "/metrics/job/j/",
        "/metrics//job/j",
        "/metrics/job/a//b",
        "/metrics/job/./../x",
        "/metrics/../metrics/job/j",
        "/METRICS/job/j",
        "/metrics/job/",
        "/metrics/job//",
        "/metrics/job/a%2F/b/%2F",
        "/metrics/job/j?x=/",
        "/",
        "/push",
    ] {
        for verb in ["POST", "PUT", "DELETE"] {
            let response = gateway.request(verb, path).body(BODY).send();
            assert!(!(300..400).contains(&response.status), "{verb} {path}: {}", response.status);
            assert_eq!(response.header("location"), None);
        }
    }
}

// === kept connections ===

#[test]
fn a_connection_survives_refused_pushes() {
    let mut gateway = flag("--limits.body-bytes=64KiB").run();
    gateway.expect_log("push refused");
    let mut connection = Connection::open(gateway.address);
    let good = gateway.request("POST", "/metrics/job/j").body(BODY);
    let to = |path| gateway.request("POST", path);
    for (bad, status) in [
        (to("/metrics/job/j").body("nonsense{\n"), 400),
        (to("/metrics/job").body(BODY), 400),
        (to("/metrics/job/j").header("Content-Encoding", "br").body(BODY), 415),
        (to("/metrics/job/j").header("Push-Merge", "x").body("x".repeat(50_000)), 400),
        (to("/nowhere").body("x".repeat(50_000)), 404),
        (to("/-/healthy").body(BODY), 405),
        (to("/metrics/job/j").body("x".repeat(100_000)), 413),
        (to("/metrics/job/j").body("x".repeat(100_000)).chunked(), 413),
        (to("/-/quit").body("x".repeat(100_000)).chunked(), 403),
    ] {
        assert_eq!(connection.send(&bad).status, status);
        assert_eq!(connection.send(&good).status, 200, "after a {status}");
    }
    assert_eq!(pushes(&gateway), 9.0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut gateway = start();
    gateway.expect_log("push refused");
    let push = gateway.request("POST", "/metrics/job/j");
    let mut bytes = Vec::new();
    for i in 0..50 {
        let body = if i % 5 == 4 { "nonsense{\n" } else { BODY };
        bytes.extend(push.clone().body(body).bytes());
        bytes.extend(gateway.request("GET", "/-/healthy").bytes());
    }
    let mut connection = Connection::open(gateway.address);
    connection.write(bytes);
    for i in 0..50 {
        assert_eq!(connection.read().status, if i % 5 == 4 { 400 } else { 200 });
        assert_eq!(connection.read().text(), "OK");
    }
    assert_eq!(pushes(&gateway), 40.0);
}

#[test]
fn idle_connections_are_closed_in_time() {
    let gateway = flag("--web.keep-alive=2s").run();
    let mut connection = Connection::open(gateway.address);
    let push = gateway.request("POST", "/metrics/job/j").body(BODY);
    assert_eq!(connection.send(&push).status, 200);
    sleep(Duration::from_millis(300));
    assert_eq!(connection.send(&push).status, 200);
    assert!(connection.is_closed());
}

#[test]
fn connections_that_are_not_kept() {
    let gateway = flag("--web.keep-alive=0").run();
    let push = gateway.request("POST", "/metrics/job/j").body(BODY);
    for _ in 0..3 {
        let mut connection = Connection::open(gateway.address);
        assert_eq!(connection.send(&push).status, 200);
        assert!(connection.is_closed());
    }
    assert_eq!(pushes(&gateway), 3.0);
}

// === slow and broken clients ===

#[test]
fn slow_heads_get_408() {
    let gateway = flag("--web.read-header-timeout=300ms").run();
    let mut connection = Connection::open(gateway.address);
    connection.write(b"POST /metrics/job/j HTTP/1.1\r\nHost: x\r\n");
    let answer = connection.read();
    assert_eq!(answer.status, 408);
    assert!(connection.is_closed());
}

#[test]
fn slow_bodies_get_408_and_apply_nothing() {
    let mut gateway = flag("--web.read-body-timeout=300ms").run();
    gateway.expect_log("push refused");
    gateway.accept("/metrics/job/j", BODY);
    for chunked in [false, true] {
        let push = gateway.request("POST", "/metrics/job/j").body("a_total 1\nb_total 1\n");
        let push = if chunked { push.chunked() } else { push };
        let mut connection = Connection::open(gateway.address);
        let bytes = push.bytes();
        // Everything but the end, which makes all the difference.
        connection.write(&bytes[..bytes.len() - 3]);
        let answer = connection.read();
        assert_eq!(answer.status, 408);
        assert_eq!(answer.json()["title"], "too slow");
        assert!(connection.is_closed());
    }
    assert_eq!(gateway.pushed(), "# TYPE a_total untyped\na_total{job=\"j\"} 1\n");
    assert_eq!(gateway.sample("tallygate_pushes_total{outcome=\"timed_out\"}"), 2.0);
}

/// Nothing of the body has arrived when the push is processed, nor ever does. What comes before it
/// decides where and when that is.
#[test]
fn bodies_that_never_begin_get_408() {
    let mut gateway = flag("--web.read-body-timeout=300ms").run();
    gateway.expect_log("push refused");
    let push = gateway.request("POST", "/metrics/job/j").body(BODY);
    let cases = [
        ("nothing", None, 0),
        ("an answer with a body", Some(gateway.request("GET", "/-/healthy")), 200),
        ("a scrape", Some(gateway.request("GET", "/metrics")), 200),
        ("a refused push", Some(gateway.request("POST", "/metrics/job").body(BODY)), 400),
        ("an accepted push", Some(gateway.request("PUT", "/metrics").body("")), 200),
    ];
    thread::scope(|scope| {
        for (what, before, status) in &cases {
            for push in [push.clone(), push.clone().chunked()] {
                scope.spawn(move || {
                    let mut connection = Connection::open(push.address());
                    let started = Instant::now();
                    let before = before.as_ref().map(Request::bytes).unwrap_or_default();
                    connection.write([before, push.head_bytes()].concat());
                    if *status > 0 {
                        assert_eq!(connection.read().status, *status, "{what}");
                    }
                    // Or the connection is closed at once, as after some answers.
                    if let Ok(answer) = connection.try_read() {
                        assert_eq!(answer.status, 408, "{what}");
                    }
                    assert!(connection.is_closed(), "{what}");
                    assert!(started.elapsed() < Duration::from_secs(10), "{what}");
                });
            }
        }
    });
    eventually("nothing is held for them", || {
        (gateway.sample("tallygate_inflight_push_bytes") == 0.0).then_some(())
    });
}

/// A push in two pieces, cut at any position, and one that arrives byte by byte.
#[test]
fn bodies_in_pieces_cut_anywhere() {
    let gateway = flag("--store.path=").run();
    let push = gateway.request("POST", "/metrics/job/j").body("a_total 1\nb_total 1\n");
    let mut expected = 0.0;
    for push in [push.clone(), push.chunked()] {
        let bytes = push.bytes();
        let mut connection = Connection::open(gateway.address);
        for at in 1..bytes.len() {
            connection.write(&bytes[..at]);
            sleep(Duration::from_millis(1));
            connection.write(&bytes[at..]);
            assert_eq!(connection.read().status, 200, "cut at {at}");
        }
        for byte in &bytes {
            connection.write([*byte]);
            sleep(Duration::from_micros(200));
        }
        assert_eq!(connection.read().status, 200);
        expected += bytes.len() as f64;
    }
    assert_eq!(pushes(&gateway), expected);
    assert_eq!(gateway.sample("b_total{job=\"j\"}"), expected);
}

/// A client whose next body has not arrived when a push is answered has to connect again: nothing waits
/// for it.
#[test]
fn bodies_that_stall_behind_another_push_are_not_waited_for() {
    let gateway = start();
    let push = gateway.request("POST", "/metrics/job/j").body(BODY);
    let mut connection = Connection::open(gateway.address);
    connection.write([push.bytes(), push.head_bytes()].concat());
    let answer = connection.read();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(connection.is_closed());
    assert_eq!(pushes(&gateway), 1.0);
}

/// Far beyond the limit: the answer comes before the body is sent, and the rest is not read.
#[test]
fn huge_bodies_are_refused_at_once() {
    let mut gateway = flag("--limits.body-bytes=64KiB").run();
    gateway.expect_log("push refused");
    for chunked in [false, true] {
        let push = gateway.request("POST", "/metrics/job/j").body("# filler\n".repeat(500_000));
        let push = if chunked { push.chunked() } else { push };
        let mut connection = Connection::open(gateway.address);
        let bytes = push.bytes();
        connection.write(&bytes[..100_000]);
        // A client that reads while it writes gets it in time.
        let answer = connection.read();
        assert_eq!(answer.status, 413);
        assert_eq!(answer.header("connection"), Some("close"));
        connection.write(&bytes[100_000..]);
        assert!(connection.is_closed());
    }
}

/// The client shuts down its sending side, and still wants the answer.
#[test]
fn half_closed_clients_get_their_answer() {
    let gateway = start();
    for chunked in [false, true] {
        let push = gateway.request("POST", "/metrics/job/j").body(BODY);
        let push = if chunked { push.chunked() } else { push };
        let mut connection = Connection::open(gateway.address);
        connection.write(push.bytes());
        connection.stream().shutdown(Shutdown::Write).unwrap();
        assert_eq!(connection.read().status, 200);
    }
    assert_eq!(pushes(&gateway), 2.0);
}

/// A body that is cut at the end of a line looks complete, but is not.
#[test]
fn bodies_cut_short_apply_nothing() {
    let mut gateway = start();
    gateway.expect_log("push refused");
    gateway.accept("/metrics/job/j", BODY);
    let body = format!("{BODY}b_total 1\n");
    for chunked in [false, true] {
        let push = gateway.request("POST", "/metrics/job/j").body(&body);
        let push = if chunked { push.chunked() } else { push };
        let bytes = push.bytes();
        let end = bytes.windows(BODY.len()).position(|part| part == BODY.as_bytes()).unwrap();
        let mut connection = Connection::open(gateway.address);
        connection.write(&bytes[..end + BODY.len()]);
        connection.stream().shutdown(Shutdown::Write).unwrap();
        if let Ok(answer) = connection.try_read() {
            assert_eq!(answer.status, 400);
        }
    }
    // The same with an abrupt end of the connection.
    let mut connection = Connection::open(gateway.address);
    connection.write(gateway.request("POST", "/metrics/job/j").body(&body).head_bytes());
    connection.write(BODY);
    drop(connection);
    eventually("they are all gone", || {
        (gateway.sample("tallygate_inflight_push_bytes") == 0.0
            && gateway.sample("tallygate_connections") == 1.0)
            .then_some(())
    });
    assert_eq!(gateway.pushed(), "# TYPE a_total untyped\na_total{job=\"j\"} 1\n");
}

#[test]
fn what_is_no_http() {
    let gateway = start();
    for bytes in [
        &b"hello\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /metrics HTTP/3.0\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\na 1\n\n\n",
        b"POST /metrics HTTP/1.1\r\nContent-Length: 4\r\n\
          Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\na 1\n",
        b"GET  /metrics HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\0\0\0\0",
    ] {
        let mut connection = Connection::open(gateway.address);
        connection.write(bytes);
        connection.stream().shutdown(Shutdown::Write).unwrap();
        let answer = String::from_utf8_lossy(&connection.read_to_end()).into_owned();
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(refused, "{:?}: {answer}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(gateway.pushed(), "");
    assert_eq!(gateway.get("/-/healthy").status, 200);
}

/// Slow clients do not take workers away from others.
#[test]
fn slow_pushers_hold_nobody_up() {
    let gateway = flag("--web.read-body-timeout=20s").run();
    let slow: Vec<Connection> = (0..100)
        .map(|_| {
            let mut connection = Connection::open(gateway.address);
            let push = gateway.request("POST", "/metrics/job/j").body(BODY);
            connection.write(push.head_bytes());
            connection.write(&BODY[..4]);
            connection
        })
        .collect();
    let mut connection = Connection::open(gateway.address);
    for _ in 0..300 {
        let push = gateway.request("POST", "/metrics/job/j").body(BODY);
        assert_eq!(connection.send(&push).status, 200);
    }
    assert_eq!(pushes(&gateway), 300.0);
    for mut connection in slow {
        connection.write(&BODY[4..]);
        assert_eq!(connection.read().status, 200);
    }
    assert_eq!(pushes(&gateway), 400.0);
}
