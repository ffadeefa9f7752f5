//! The log says what was refused and why, but nobody can flood it.

use std::time::Instant;

use crate::harness::{Connection, Gateway, Scratch, eventually, flag, start};

#[test]
fn a_refused_push_is_one_line_without_its_payload() {
    let mut gateway = start();
    let body =
        "ok_total{token=\"s3cret\"} 1\n# HELP ok_total s3cret\nbroken{token=\"s3cret\"} 1 x\n";
    gateway.refuse("/metrics/job/my_job", body, 400);
    let line = gateway.await_log("push refused");
    assert!(line.contains("level=warn") && line.contains("outcome=malformed"), "{line}");
    assert!(line.contains("group=/job/my_job") && line.contains("peer=127.0.0.1:"), "{line}");
    assert!(line.contains("line 3"), "{line}");
    assert!(!gateway.log().join("\n").contains("s3cret"), "{line}");
    assert_eq!(gateway.log().iter().filter(|line| line.contains("push refused")).count(), 1);
}

/// However much a client sends, the log and the answer quote only a little of it.
#[test]
fn what_is_quoted_is_short() {
    let mut gateway = start();
    let labels = |count| -> String {
        (0..count).map(|i| format!("l{i}=\"{}\",", "x".repeat(4000))).collect()
    };
    let odd_path = format!("/metrics/job/{}/odd", "x".repeat(50_000));
    for (path, body, status) in [
        ("/metrics/job/j", format!("# TYPE a counter\na{{{}}} -1\n", labels(60)), 422),
        ("/metrics/job/j", format!("a{{{0}}} 1\na{{{0}}} 1\n", labels(60)), 400),
        ("/metrics/job/j", format!("a {}\n", "9x".repeat(50_000)), 400),
        ("/metrics/job/j", format!("tallygate_{} 1\n", "x".repeat(400)), 422),
        (&odd_path, String::new(), 400),
    ] {
        let problem = gateway.refuse(path, body, status);
        assert!(problem.to_string().len() < 3000, "{}", problem.to_string().len());
    }
    eventually("all are logged", || {
        let log = gateway.log();
        let lines: Vec<&String> = log.iter().filter(|line| line.contains("refused")).collect();
        let longest = lines.iter().map(|line| line.len()).max()?;
        (lines.len() == 5).then(|| assert!(longest < 1000, "{longest}"))
    });
}

#[test]
fn accepted_pushes_and_scrapes_are_not_logged() {
    let gateway = start();
    let before = gateway.log().len();
    for _ in 0..20 {
        gateway.accept("/metrics/job/j", "a 1\n");
        gateway.get("/metrics");
        gateway.get("/nowhere");
    }
    assert_eq!(gateway.log().len(), before);
}

/// Removals on request are logged; expiry is only counted.
#[test]
fn removals() {
    let gateway = flag("--ttl.default=1s").flag("--ttl.sweep-interval=100ms").run();
    gateway.accept("/metrics/job/j", "a 1\n");
    eventually("it has expired", || gateway.pushed().is_empty().then_some(()));
    let removed = |gateway: &Gateway| -> Vec<String> {
        gateway.log().into_iter().filter(|line| line.contains("series removed")).collect()
    };
    assert_eq!(removed(&gateway), Vec::<String>::new());
    gateway.accept("/metrics/job/j?ttl=1h", "a 1\n");
    gateway.request("DELETE", "/metrics/job/j").send();
    gateway.await_log("series removed");
    let lines = removed(&gateway);
    let expected = "cause=deleted series=1 peer=127.0.0.1:";
    assert!(lines.len() == 1 && lines[0].contains(expected), "{lines:?}");
    assert!(!lines[0].contains("user="), "nobody is asked who they are: {lines:?}");
}

/// It can be found out who removed something.
#[test]
fn what_people_ask_for_is_told_with_their_address() {
    let gateway = flag("--web.enable-admin-api").flag("--web.enable-lifecycle").run();
    gateway.accept("/metrics/job/j", "a 1\nb 1\n");
    gateway.request("DELETE", "/api/v1/series?match[]=a").send();
    gateway.request("PUT", "/api/v1/admin/wipe").send();
    gateway.request("PUT", "/-/reload").send();
    for start in [
        "message=\"series removed\" cause=deleted series=1 peer=127.0.0.1:",
        "message=\"series removed\" cause=wiped series=1 peer=127.0.0.1:",
        "message=\"reload requested over HTTP\" peer=127.0.0.1:",
    ] {
        gateway.await_log(start);
    }

    let gateway = flag("--mode=pushgateway").flag("--web.enable-admin-api").run();
    gateway.push("/metrics/job/j", "a 1\n");
    gateway.push("/metrics/job/k", "a 1\n");
    gateway.request("DELETE", "/metrics/job/j").send();
    gateway.request("DELETE", "/metrics/job/j").send();
    gateway.request("PUT", "/api/v1/admin/wipe").send();
    let wiped = "message=\"groups removed\" cause=wiped groups=1 peer=127.0.0.1:";
    gateway.await_log(wiped);
    let log = gateway.log();
    let deleted = "message=\"groups removed\" cause=deleted groups=1 peer=127.0.0.1:";
    assert_eq!(log.iter().filter(|line| line.contains(deleted)).count(), 1, "{log:?}");
}

/// After a thousand refusals in a moment, there are a few lines, and the number of those left out.
#[test]
fn refusals_are_logged_at_a_bounded_rate() {
    let mut gateway = start();
    gateway.expect_log("push refused");
    let started = Instant::now();
    let mut connection = Connection::open(gateway.address);
    let push = gateway.request("POST", "/metrics/job/j").body("nonsense{\n");
    for _ in 0..1000 {
        assert_eq!(connection.send(&push).status, 400);
    }
    let windows = started.elapsed().as_secs() + 2;
    let log = gateway.log();
    let lines: Vec<&String> = log.iter().filter(|line| line.contains("push refused")).collect();
    assert!(!lines.is_empty() && lines.len() as u64 <= 10 * windows, "{} lines", lines.len());
    assert_eq!(gateway.sample("tallygate_pushes_total{outcome=\"malformed\"}"), 1000.0);
    // How many were left out is logged later.
    let unlogged =
        |line: &str| -> u64 { line.split("unlogged=").nth(1).unwrap().trim().parse().unwrap() };
    eventually("all are told of", || {
        gateway.push("/metrics/job/j", "nonsense{\n");
        let log = gateway.log();
        let refused = log.iter().filter(|line| line.contains("push refused"));
        let told: u64 = refused.map(|line| 1 + unlogged(line)).sum();
        (told >= 1000).then_some(())
    });
}

/// Paths, headers and labels may contain line breaks and quotes, but a log entry is always one line.
#[test]
fn nobody_can_forge_a_line() {
    let mut gateway = start();
    gateway.expect_log("push refused");
    let lines = gateway.log().len();
    gateway.push("/metrics/job/x%0Alevel=error%20message=forged/odd", "a 1\n");
    gateway.push("/metrics/job/j", "\"} 1\nlevel=error message=forged\n");
    gateway.push("/metrics/job/j", "a{x=\"\\nlevel=error message=forged\"} x\n");
    gateway.push("/metrics/job/j?merge=%1b%5B31mred%0Alevel%3Derror", "a 1\n");
    gateway.await_log("push-merge");
    for line in &gateway.log()[lines..] {
        assert!(line.starts_with("ts=") && line.contains("level=warn"), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
    assert_eq!(gateway.log().len(), lines + 4);
}

#[test]
fn lines_as_json() {
    let mut gateway = flag("--log.format=json").run();
    gateway.refuse("/metrics/job/\"j\"/x", "a 1\n", 400);
    gateway.await_log("push refused");
    for line in gateway.log() {
        let json: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        assert!(json["timestamp"].is_string() && json["level"].is_string(), "{line}");
        assert!(json["message"].is_string(), "{line}");
    }
    let line = gateway.await_log("push refused");
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&json["level"], &json["outcome"]), (&"WARN".into(), &"malformed".into()));
    assert_eq!(json["group"], "/job/\"j\"/x");
    assert!(json["reason"].is_string());
}

#[test]
fn levels() {
    // It does not even log where it listens.
    let scratch = Scratch::default();
    let mut quiet = flag("--log.level=error").spawn(&scratch);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(quiet.try_wait().unwrap().is_none());
    quiet.kill().unwrap();
    let output = quiet.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");

    let loud = flag("--log.level=debug").run();
    loud.accept("/metrics/job/j", "a 1\n");
    assert!(loud.log().iter().any(|line| line.contains("listening")));
}
