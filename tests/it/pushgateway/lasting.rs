//! Groups that outlive the process, ours and those of an old Pushgateway.

use std::collections::BTreeSet;

use super::{pushgateway, real};
use crate::harness::{Gateway, Message, Request, directory, eventually, run, value};

const TEXT: &str = "# HELP x Help\\\\ful.\n# TYPE x gauge\nx{a=\"\\\"\"} 1.5\nx NaN\n\
    # TYPE h histogram\nh_bucket{le=\"5\"} 2\nh_bucket{le=\"1\"} 4\nh_sum 1\nh_count 4\n\
    # TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 3\ns_count 4\nu -Inf\n";

/// The pushed families as they are shown, including push times.
pub(super) fn shown(text: &str) -> BTreeSet<String> {
    let own = ["go_", "process_", "pushgateway_", "tallygate_"];
    let pushed = text.lines().filter(|line| {
        let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        !own.iter().any(|prefix| name.starts_with(prefix))
    });
    pushed.map(str::to_owned).collect()
}

pub(super) fn fill(address: std::net::SocketAddr) {
    let send = |method: &str, path: &str, body: &[u8], content_type: &str| {
        let request = Request::new(address, method, path).header("Content-Type", content_type);
        request.body(body).send().status
    };
    assert_eq!(send("PUT", "/metrics/job/a/l/%22%5C", TEXT.as_bytes(), "text/plain"), 200);
    assert_eq!(send("PUT", "/metrics/job/b/l/", b"only 1\n", "text/plain"), 200);
    assert_eq!(send("POST", "/metrics/job/c", b"", "text/plain"), 200);
    assert_eq!(send("POST", "/metrics/job/c", b"# TYPE only counter\nonly 1\n", "text/plain"), 400);
    let family = Message::family("p", 0).metric(&[("m", "1")], value::counter(3.0)).delimited();
    assert_eq!(send("POST", "/metrics/job/d", &family, super::corpus::PROTOBUF), 200);
    assert_eq!(send("PUT", "/metrics/job/gone", b"x{b=\"1\"} 1\n", "text/plain"), 400);
    assert_eq!(send("DELETE", "/metrics/job/gone", b"", "text/plain"), 202);
}

pub(super) fn scraped(gateway: &Gateway) -> BTreeSet<String> {
    shown(&gateway.get("/metrics").text())
}

/// When each group was pushed to.
pub(super) fn stamps(json: serde_json::Value) -> BTreeSet<String> {
    let groups = json["data"].as_array().unwrap().iter();
    groups.map(|group| group["push_time_seconds"]["metrics"].to_string()).collect()
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let file = directory().join("groups");
    let start = || pushgateway().flag(&format!("--persistence.file={}", file.display())).run();
    let mut gateway = start();
    fill(gateway.address);
    gateway.accept("/metrics/job/b/l/", "more 2\n");
    let before = (scraped(&gateway), gateway.get("/api/v1/metrics").json()["data"].clone());
    gateway.last_scrape(None);
    gateway.expect_log("push refused");
    gateway.signal("KILL");
    gateway.wait();
    drop(gateway);
    assert!(!file.exists() && file.with_extension("tallygate").exists());

    let mut gateway = start();
    assert_eq!((scraped(&gateway), gateway.get("/api/v1/metrics").json()["data"].clone()), before);
    // The tables for checks are restored, too.
    assert_eq!(gateway.push("/metrics/job/z", "# TYPE more gauge\nmore 1\n").status, 400);
    assert_eq!(gateway.request("DELETE", "/metrics/job/b/l/").send().status, 202);
    gateway.accept("/metrics/job/z", "# TYPE more gauge\nmore 1\n");
    gateway.expect_log("push refused");
}

#[test]
fn the_file_of_an_old_pushgateway_is_taken_over() {
    let old = directory().join("old");
    let flag = format!("--persistence.file={}", old.display());
    let real = real::start(&[&flag, "--web.enable-lifecycle"]);
    fill(real.address);
    eventually("the last deletion is carried out", || {
        (!real.get("/metrics").text().contains("\"gone\"")).then_some(())
    });
    let before = shown(&real.get("/metrics").text());
    let pushed = stamps(real.get("/api/v1/metrics").json());
    assert_eq!(Request::new(real.address, "PUT", "/-/quit").send().status, 200);
    eventually("the file is written", || old.exists().then_some(()));

    let new = format!("--persistence.file={}", directory().join("new").display());
    let import = |file: &std::path::Path, flags: &[&str]| {
        let file = file.display().to_string();
        run(&[&["import", &file], flags].concat())
    };
    let flags = ["--mode=pushgateway", &new];
    // A start without an import logs a warning.
    let beside = pushgateway().flag(&flag);
    let mut beside = beside.run();
    let line = beside.await_log("run tallygate import");
    assert!(line.contains(&format!("{} is a file already", old.display())), "{line}");
    beside.expect_log("run tallygate import");
    drop(beside);
    let output = import(&old, &flags);
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    assert!(report.starts_with("imported 4 groups with 6 families into "), "{report}");
    assert!(!report.contains("left out"), "{report}");

    let gateway = pushgateway().flag(&new).run();
    assert_eq!(scraped(&gateway), before);
    assert_eq!(stamps(gateway.get("/api/v1/metrics").json()), pushed);
    drop(gateway);
    for (file, flags, reason) in [
        (&old, &flags[..], "has 4 groups already"),
        (&old, &["--mode=pushgateway"][..], "there is no store to import into"),
        (&old, &[][..], "add --mode=pushgateway"),
    ] {
        let output = import(file, flags);
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(reason), "{told}");
    }
}
