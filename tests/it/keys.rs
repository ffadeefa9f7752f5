//! Exactly once: a push with an idempotency key or a sequence number counts once, however often it
//! is sent (merge-semantics 3).

use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::{
    Coding, Connection, Gateway, Request, Response, Start, config, encoded, eventually, flag,
    sample, start,
};

const PATH: &str = "/metrics/job/j";
const BODY: &str = "a_total 1\n";

fn keyed(gateway: &Gateway, key: &str) -> Request {
    gateway.request("POST", PATH).header("Idempotency-Key", key).body(BODY)
}

fn numbered(gateway: &Gateway, source: &str, epoch: &str, number: &str) -> Request {
    let request = gateway.request("POST", PATH).header("Push-Source", source);
    request.header("Push-Epoch", epoch).header("Push-Seq", number).body(BODY)
}

/// Asserts that the push is applied, for the first time.
#[track_caller]
fn applies(request: Request) {
    let response = request.send();
    assert_eq!((response.status, replayed(&response)), (200, false), "{}", response.text());
}

/// Asserts that an earlier attempt was applied.
#[track_caller]
fn replays(request: Request) {
    let response = request.send();
    assert_eq!((response.status, replayed(&response)), (200, true), "{}", response.text());
    assert_eq!(response.text(), "");
}

fn replayed(response: &Response) -> bool {
    let header = response.header("idempotent-replayed");
    assert!(matches!(header, None | Some("?1")), "{header:?}");
    header.is_some()
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn uuid7(ms: u64, which: u32) -> String {
    let digits = format!("{ms:012x}");
    format!("{}-{}-7000-8000-{which:012x}", &digits[..8], &digits[8..])
}

fn ulid(ms: u64) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let time = (0..10).rev().map(|at| DIGITS[(ms >> (5 * at) & 31) as usize] as char);
    time.chain("0123456789ABCDEF".chars()).collect()
}

#[test]
fn a_retry_counts_once_and_is_told_so() {
    let gateway = start();
    applies(keyed(&gateway, "\"k\""));
    for retry in [
        keyed(&gateway, "\"k\""),
        keyed(&gateway, "k"),
        keyed(&gateway, " \"k\"; version=1"),
        keyed(&gateway, "k").chunked(),
        gateway.request("PUT", PATH).header("idempotency-key", "k").body(BODY),
        gateway.request("POST", "/metrics/job/j/?key=k").body(BODY),
        gateway.request("POST", "/metrics/job/j?key=%22k%22").body(BODY),
        keyed(&gateway, "k").header("Content-Type", "text/plain"),
        keyed(&gateway, "k").header("Push-Time", "1700000000"),
        keyed(&gateway, "k").header("Push-Mode", "delta"),
    ] {
        replays(retry);
    }
    for coding in [Coding::Gzip, Coding::Zstd, Coding::SnappyFramed] {
        let request = gateway.request("POST", PATH).header("Content-Encoding", coding.word());
        replays(request.header("Idempotency-Key", "k").body(encoded(coding, BODY)));
    }
    assert_eq!(gateway.sample("a_total{job=\"j\"}"), 1.0);
    assert_eq!(gateway.sample("tallygate_pushes_replayed_total"), 13.0);
    assert_eq!(gateway.sample("tallygate_pushes_total{outcome=\"accepted\"}"), 1.0);
    assert_eq!(gateway.sample("tallygate_push_samples_total"), 1.0);
    assert_eq!(gateway.sample("tallygate_dedupe_keys"), 1.0);
    // Without a key every push counts.
    gateway.accept(PATH, BODY);
    gateway.accept(PATH, BODY);
    assert_eq!(gateway.sample("a_total{job=\"j\"}"), 3.0);
}

#[test]
fn the_stored_status_may_be_202() {
    let gateway = flag("--push.success-code=202").run();
    for expected in [false, true] {
        let response = keyed(&gateway, "k").send();
        assert_eq!((response.status, replayed(&response)), (202, expected));
    }
}

#[test]
fn another_push_under_the_same_key_is_refused() {
    let mut gateway = start();
    applies(keyed(&gateway, "k"));
    for other in [
        keyed(&gateway, "k").body("a_total 2\n"),
        keyed(&gateway, "k").body("a_total 1 \n"),
        keyed(&gateway, "k").body(""),
        keyed(&gateway, "k").header("Push-TTL", "1h"),
        keyed(&gateway, "k").header("Push-Merge", "max"),
        keyed(&gateway, "k").header("Content-Type", "application/openmetrics-text"),
    ] {
        let problem = gateway.refuse_request(other, 422);
        assert_eq!(problem["title"], "key-reused");
        assert!(problem["hint"].is_string());
    }
    replays(keyed(&gateway, "k"));
}

#[test]
fn labels_in_another_order_are_another_body() {
    let mut gateway = start();
    applies(keyed(&gateway, "k").body("a_total{x=\"1\",y=\"2\"} 1\n"));
    gateway.refuse_request(keyed(&gateway, "k").body("a_total{y=\"2\",x=\"1\"} 1\n"), 422);
}

#[test]
fn each_path_has_keys_of_its_own() {
    let gateway = start();
    let push = |path: &str| gateway.request("POST", path).header("Idempotency-Key", "k").body(BODY);
    for path in ["/metrics", "/metrics/job/j", "/metrics/job/j/a/1/b/2", "/metrics/job/other"] {
        applies(push(path));
    }
    for path in
        ["/metrics/", "//metrics/job/j/", "/metrics/job@base64/ag", "/metrics/b/2/a/1/job/j"]
    {
        replays(push(path));
    }
}

#[test]
fn a_refused_push_leaves_its_key_free() {
    let mut gateway = start();
    for (body, status) in [
        ("# TYPE a_total counter\na_total -1\n", 422),
        ("a_total x\n", 400),
        ("tallygate_a 1\n", 422),
    ] {
        gateway.refuse_request(keyed(&gateway, "k").body(body), status);
    }
    let gzip = keyed(&gateway, "k").header("Content-Encoding", "gzip");
    gateway.refuse_request(gzip, 400);
    applies(keyed(&gateway, "k"));
    replays(keyed(&gateway, "k"));
}

#[test]
fn a_client_that_went_away_leaves_its_key_free() {
    let gateway = start();
    let request = keyed(&gateway, "k");
    let whole = request.bytes();
    for cut in [whole.len() - 1, whole.len() - BODY.len()] {
        let mut connection = Connection::open(gateway.address);
        connection.write(&whole[..cut]);
        drop(connection);
    }
    thread::sleep(Duration::from_millis(50));
    applies(request);
    // This push was complete, so it counts, although nobody waits for the answer.
    let mut connection = Connection::open(gateway.address);
    connection.write(keyed(&gateway, "l").bytes());
    drop(connection);
    eventually("the push is applied", || {
        (gateway.sample("a_total{job=\"j\"}") == 2.0).then_some(())
    });
    replays(keyed(&gateway, "l"));
    // The truncated pushes may have been logged or not.
    let mut gateway = gateway;
    gateway.expect_log("push refused");
}

#[test]
fn a_push_without_samples_is_a_push() {
    let mut gateway = start();
    applies(keyed(&gateway, "k").body(""));
    replays(keyed(&gateway, "k").body(""));
    gateway.refuse_request(keyed(&gateway, "k"), 422);
}

#[test]
fn keys_that_cannot_be_read() {
    let mut gateway = start();
    let too_long = "k".repeat(256);
    for key in ["", "\"\"", "\"k", "a b", "\"a\" b", "schlüssel", &too_long] {
        let problem = gateway.refuse_request(keyed(&gateway, key), 400);
        let detail = problem["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("idempotency-key: "), "{detail}");
    }
    let twice = keyed(&gateway, "k").header("Idempotency-Key", "k");
    gateway.refuse_request(twice, 400);
    let by_query = gateway.request("POST", "/metrics/job/j?key=").body(BODY);
    gateway.refuse_request(by_query, 400);
    applies(keyed(&gateway, &"k".repeat(255)));
}

#[test]
fn a_key_can_be_required() {
    let mut gateway = flag("--push.require-key").run();
    let problem = gateway.refuse(PATH, BODY, 400);
    assert_eq!(problem["title"], "key-required");
    assert!(problem["detail"].as_str().unwrap().contains("push.require_key"));
    gateway.refuse(PATH, "", 400);
    applies(keyed(&gateway, "k"));
    applies(numbered(&gateway, "s", "1", "1"));
}

#[test]
fn a_rule_can_require_a_key_or_excuse_it() {
    let rules = |required: bool| {
        format!(
            "push: {{require_key: {required}}}\n\
             rules:\n\
             - {{match: '{{x=\"drop\"}}', drop: true}}\n\
             - {{match: '{{x=\"yes\"}}', require_key: true}}\n\
             - {{match: '{{x=\"no\"}}', require_key: false}}\n"
        )
    };
    for (required, cases) in [
        (false, [("yes", 400), ("no", 200), ("other", 200), ("drop", 200)]),
        (true, [("yes", 400), ("no", 200), ("other", 400), ("drop", 400)]),
    ] {
        let mut gateway = config(&rules(required)).run();
        gateway.expect_log("push refused");
        for (x, status) in cases {
            let body = format!("a_total{{x=\"{x}\"}} 1\n");
            assert_eq!(gateway.push(PATH, &body).status, status, "{required} {x}");
            applies(keyed(&gateway, x).body(&body));
        }
        // One series that requires a key is enough.
        let both = "a_total{x=\"no\"} 1\na_total{x=\"yes\"} 1\n";
        gateway.refuse(PATH, both, 400);
    }
}

#[test]
fn keys_with_time_are_refused_when_nobody_can_tell() {
    let mut gateway = start();
    let started = now_ms();
    for old in [uuid7(started - 3_600_000, 0), ulid(started - 3_600_000), uuid7(0, 0)] {
        let problem = gateway.refuse_request(keyed(&gateway, &old), 422);
        assert_eq!(problem["title"], "key-too-old");
    }
    let problem = gateway.refuse_request(keyed(&gateway, &uuid7(started + 60_000, 0)), 422);
    assert_eq!(problem["title"], "key-from-the-future");
    thread::sleep(Duration::from_millis(2));
    for new in [uuid7(now_ms(), 1), ulid(now_ms())] {
        applies(keyed(&gateway, &new));
        replays(keyed(&gateway, &new));
    }
}

#[test]
fn after_the_window_a_key_is_forgotten_unless_it_carries_its_time() {
    let mut gateway = flag("--push.key-window=1s").run();
    let (opaque, timed) = ("k", uuid7(now_ms(), 0));
    applies(keyed(&gateway, opaque));
    applies(keyed(&gateway, &timed));
    replays(keyed(&gateway, opaque));
    thread::sleep(Duration::from_millis(1100));
    applies(keyed(&gateway, opaque));
    let problem = gateway.refuse_request(keyed(&gateway, &timed), 422);
    assert_eq!(problem["title"], "key-too-old");
    assert_eq!(gateway.sample("tallygate_dedupe_window_seconds"), 1.0);
}

#[test]
fn forgotten_keys_give_their_memory_back() {
    let gateway = flag("--push.key-window=1s").flag("--ttl.sweep-interval=100ms").run();
    for n in 0..100 {
        applies(keyed(&gateway, &format!("k{n}")));
        applies(numbered(&gateway, "s", &n.to_string(), "1"));
    }
    let used = |word: &str| gateway.sample(&format!("tallygate_limit_used{{limit=\"{word}\"}}"));
    assert!(used("remembered_keys_bytes") > 0.0 && used("remembered_sources") > 0.0);
    eventually("all are forgotten", || {
        let text = gateway.get("/metrics").text();
        let left = ["tallygate_dedupe_keys", "tallygate_dedupe_sources"]
            .map(|name| sample(&text, name).unwrap());
        (left == [0.0, 0.0]).then_some(())
    });
}

#[test]
fn where_there_are_more_keys_than_room_the_oldest_go() {
    let gateway = flag("--limits.remembered-keys-bytes=64KiB").run();
    let mut connection = Connection::open(gateway.address);
    for n in 0..3000 {
        assert_eq!(connection.send(&keyed(&gateway, &format!("k{n}"))).status, 200);
    }
    let text = gateway.get("/metrics").text();
    let used = sample(&text, "tallygate_limit_used{limit=\"remembered_keys_bytes\"}").unwrap();
    assert!(used <= 65_536.0 && used > 60_000.0, "{used}");
    assert!(sample(&text, "tallygate_dedupe_window_seconds").unwrap() < 60.0);
    replays(keyed(&gateway, "k2999"));
    applies(keyed(&gateway, "k0"));
}

#[test]
fn numbered_pushes_count_once() {
    let mut gateway = start();
    for number in ["1", "2", "5", "3", "200"] {
        applies(numbered(&gateway, "s", "1", number));
        replays(numbered(&gateway, "s", "1", number));
    }
    let problem = gateway.refuse_request(numbered(&gateway, "s", "1", "72"), 422);
    assert_eq!(problem["title"], "sequence-too-old");
    applies(numbered(&gateway, "s", "1", "73"));
    // Another run, another source, another path.
    applies(numbered(&gateway, "s", "2", "1"));
    applies(numbered(&gateway, "t", "1", "1"));
    let by_query = "/metrics/job/j?source=s&epoch=1&seq=200";
    replays(gateway.request("PUT", by_query).body(BODY));
    let elsewhere = "/metrics/job/k?source=s&epoch=1&seq=200";
    applies(gateway.request("PUT", elsewhere).body(BODY));
    assert_eq!(gateway.sample("a_total{job=\"j\"}"), 8.0);
    assert_eq!(gateway.sample("tallygate_dedupe_sources"), 4.0);
    // The number of a push that was refused for another reason can be used again.
    gateway.refuse_request(numbered(&gateway, "s", "1", "201").body("tallygate_a 1\n"), 422);
    applies(numbered(&gateway, "s", "1", "201"));
}

#[test]
fn numbers_that_cannot_be_read() {
    let mut gateway = start();
    for number in ["", "-1", "+1", "1.0", "x", "18446744073709551616"] {
        gateway.refuse_request(numbered(&gateway, "s", "1", number), 400);
    }
    let post = |query: &str| gateway.request("POST", &format!("{PATH}?{query}")).body(BODY);
    let incomplete = ["source=s", "epoch=1", "seq=1", "source=s&seq=1", "source=s&epoch=1"];
    let wrong = ["key=k&seq=1", "source=&epoch=1&seq=1", "source=s&epoch=a%20b&seq=1"];
    let requests: Vec<_> = incomplete.iter().chain(&wrong).map(|query| post(query)).collect();
    for request in requests {
        gateway.refuse_request(request, 400);
    }
    applies(numbered(&gateway, "s", "1", "18446744073709551615"));
    applies(numbered(&gateway, "s", "2", "0"));
}

#[test]
fn a_retry_does_not_bring_back_what_was_removed() {
    let gateway = flag("--ttl.sweep-interval=100ms").run();
    let short = keyed(&gateway, "k").header("Push-TTL", "1s").body("short_total 1\n");
    applies(short.clone());
    applies(keyed(&gateway, "l"));
    assert_eq!(gateway.request("DELETE", PATH).send().status, 202);
    eventually("all is gone", || gateway.pushed().is_empty().then_some(()));
    replays(short);
    replays(keyed(&gateway, "l"));
    assert_eq!(gateway.pushed(), "");
}

/// Many at once: small ones, and large ones that get a thread of their own.
#[test]
fn of_tries_at_the_same_time_one_counts() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 12;
    let gateway = start();
    let large: String = (0..3000).map(|n| format!("large_total{{n=\"{n}\"}} 1\n")).collect();
    let applied = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (gateway, large, applied) = (&gateway, &large, &applied);
            scope.spawn(move || {
                let mut connection = Connection::open(gateway.address);
                for round in 0..ROUNDS {
                    let body = if round % 2 == 0 { BODY } else { large };
                    let request = keyed(gateway, &format!("k{round}")).body(body);
                    let answer = loop {
                        let response = connection.send(&request);
                        if response.status != 409 {
                            break response;
                        }
                        assert_eq!(response.header("retry-after"), Some("1"));
                        assert_eq!(response.json()["title"], "push-in-flight");
                        thread::sleep(Duration::from_millis(10 * thread as u64));
                    };
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    applied.fetch_add(usize::from(!replayed(&answer)), Relaxed);
                }
            });
        }
    });
    assert_eq!(applied.into_inner(), ROUNDS);
    assert_eq!(gateway.sample("a_total{job=\"j\"}"), (ROUNDS / 2) as f64);
    assert_eq!(gateway.sample("large_total{job=\"j\",n=\"2999\"}"), (ROUNDS / 2) as f64);
    let mut gateway = gateway;
    gateway.expect_log("push refused");
}

/// There a push replaces, so a late retry must not bring back what was replaced since.
#[test]
fn in_pushgateway_mode_a_late_retry_replaces_nothing() {
    let mut gateway = flag("--mode=pushgateway").run();
    gateway.expect_log("push refused");
    let push = |method: &str, key: &str, value: u32| {
        let request = gateway.request(method, "/metrics/job/j").header("Idempotency-Key", key);
        request.body(format!("a {value}\n"))
    };
    applies(push("PUT", "k", 1));
    applies(push("PUT", "l", 2));
    replays(push("PUT", "k", 1));
    assert_eq!(gateway.sample("a{instance=\"\",job=\"j\"}"), 2.0);
    // POST and other values make it a different push.
    for other in [push("POST", "k", 1), push("PUT", "k", 3)] {
        let response = other.send();
        assert_eq!(response.status, 422);
        assert!(response.text().contains("was used for another push"), "{}", response.text());
    }
    applies(numbered(&gateway, "s", "1", "1").body("a 4\n"));
    replays(numbered(&gateway, "s", "1", "1").body("a 4\n"));
    assert_eq!(keyed(&gateway, "a b").send().status, 400);
    // The query is ignored.
    for _ in 0..2 {
        applies(gateway.request("PUT", "/metrics/job/j?key=k&source=x").body("a 5\n"));
    }
    assert_eq!(gateway.sample("a{instance=\"\",job=\"j\"}"), 5.0);

    let gateway = flag("--mode=pushgateway").flag("--push.require-key").run();
    let response = gateway.push(PATH, BODY);
    assert_eq!(response.status, 400);
    assert!(response.text().contains("push.require_key"), "{}", response.text());
    applies(keyed(&gateway, "k"));
    let mut gateway = gateway;
    gateway.expect_log("push refused");
}

#[test]
fn keys_outlive_the_process() {
    let mut gateway = start();
    let timed = uuid7(now_ms() + 100, 0);
    let requests = |gateway: &Gateway| {
        [keyed(gateway, "k"), keyed(gateway, &timed), numbered(gateway, "s", "1", "7")]
    };
    requests(&gateway).into_iter().for_each(applies);
    let directory = gateway.directory.clone();
    for signal in ["KILL", "TERM"] {
        gateway.signal(signal);
        gateway.wait();
        gateway = Start::default().in_directory(&directory).run();
        requests(&gateway).into_iter().for_each(replays);
        assert_eq!(gateway.sample("a_total{job=\"j\"}"), 3.0);
        assert_eq!(gateway.sample("tallygate_dedupe_keys"), 2.0);
    }
    gateway.refuse_request(keyed(&gateway, "k").body("a_total 2\n"), 422);
    // It remembers, so a key from before this start is fine.
    applies(keyed(&gateway, &uuid7(now_ms() - 1, 1)));
}

/// Killed over and over at any moment, while clients retry every push until it is answered: each push
/// counts exactly once. CRASH_KILLS makes it longer.
#[test]
fn whenever_it_is_killed_every_push_counts_once() {
    const LOADERS: usize = 4;
    let kills = std::env::var("CRASH_KILLS").ok().and_then(|kills| kills.parse().ok());
    let run = |start: Start| {
        let mut gateway = start.run();
        gateway.expect_log("push refused");
        gateway
    };
    let mut gateway = run(Start::default());
    let directory = gateway.directory.clone();
    let (address, ended) = (Mutex::new(gateway.address), AtomicBool::new(false));
    let (acknowledged, retried) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for loader in 0..LOADERS {
            let (address, ended, gateway) = (&address, &ended, gateway.address);
            let (acknowledged, retried) = (&acknowledged, &retried);
            scope.spawn(move || {
                for number in 1.. {
                    let request = crash_push(gateway, loader, number);
                    let tries = (0..).find(|_| acknowledges(*address.lock().unwrap(), &request));
                    acknowledged.fetch_add(1, Relaxed);
                    retried.fetch_add(usize::from(tries > Some(0)), Relaxed);
                    if ended.load(Relaxed) {
                        break;
                    }
                }
            });
        }
        for kill in 0..kills.unwrap_or(8_u64) {
            thread::sleep(Duration::from_millis(20 + kill * 37 % 150));
            gateway.signal("KILL");
            gateway.wait();
            gateway = run(Start::default().in_directory(&directory));
            *address.lock().unwrap() = gateway.address;
        }
        ended.store(true, Relaxed);
    });
    let (pushes, retried) = (acknowledged.into_inner() as f64, retried.into_inner());
    assert!(retried > 0, "no push of {pushes} was caught by a kill");
    // Only whole pushes were applied, with all types.
    let text = gateway.get("/metrics").text();
    let sum = |name: &str| -> f64 {
        let loaders = (0..LOADERS).map(|loader| format!("{name}{{job=\"loader{loader}\"}}"));
        loaders.map(|series| sample(&text, &series).unwrap_or_else(|| panic!("{text}"))).sum()
    };
    assert_eq!(sum("c_total"), pushes);
    assert_eq!(sum("h_count"), 2.0 * pushes);
    assert_eq!(sum("h_sum"), 0.5 * pushes);
}

/// Each loader identifies its pushes in another way.
fn crash_push(address: SocketAddr, loader: usize, number: u64) -> Request {
    let path = format!("/metrics/job/loader{loader}");
    let body = "# TYPE c_total counter\nc_total 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\n\
                h_bucket{le=\"+Inf\"} 2\nh_sum 0.5\nh_count 2\n";
    let request = Request::new(address, "POST", &path).body(body);
    match loader % 3 {
        0 => request.header("Idempotency-Key", &uuid7(now_ms(), number as u32)),
        1 => request.header("Idempotency-Key", &number.to_string()),
        _ => {
            let request = request.header("Push-Source", "s").header("Push-Epoch", "1");
            request.header("Push-Seq", &number.to_string())
        }
    }
}

/// One attempt. Waits a little if there is no answer, or no final one.
fn acknowledges(address: SocketAddr, request: &Request) -> bool {
    if let Ok(stream) = TcpStream::connect(address) {
        let mut connection = Connection::over(stream);
        connection.write(request.bytes());
        if let Ok(response) = connection.try_read() {
            let status = response.status;
            assert!(matches!(status, 200 | 409 | 503), "{status}: {}", response.text());
            if status == 200 {
                return true;
            }
        }
    }
    thread::sleep(Duration::from_millis(5));
    false
}
