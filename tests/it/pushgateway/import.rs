//! `tallygate import --from` imports the groups of a running Pushgateway.

use std::net::SocketAddr;
use std::process::Output;

use super::corpus::PROTOBUF;
use super::lasting::{fill, scraped, shown, stamps};
use super::{pushgateway, real};
use crate::harness::{Gateway, Message, Request, directory, eventually, message, run};

/// A histogram with native and classic buckets, and exemplars wherever possible.
fn native() -> Vec<u8> {
    let exemplar = |trace: &str| {
        let labels = message().text(1, "trace").text(2, trace);
        message().message(1, labels).double(2, 0.5).message(3, message().int(1, 1_700_000_000))
    };
    let histogram = message()
        .int(1, 5)
        .double(2, 7.5)
        .message(3, message().int(1, 2).double(2, 1.0).message(3, exemplar("classic")))
        .sint(5, 2)
        .double(6, 0.001)
        .int(7, 1)
        .message(9, message().sint(1, -1).int(2, 1))
        .sint(10, 1)
        .message(12, message().sint(1, 3).int(2, 2))
        .sint(13, 2)
        .sint(13, -1);
    let counter = message().double(1, 3.0).message(2, exemplar("counter"));
    let native = Message::family("n", 4).metric(&[("m", "1")], (7, histogram)).delimited();
    [native, Message::family("e", 0).metric(&[], (3, counter)).delimited()].concat()
}

fn push(address: SocketAddr, path: &str, body: &[u8], content_type: &str) {
    let request = Request::new(address, "POST", path).header("Content-Type", content_type);
    assert_eq!(request.body(body).send().status, 200);
}

/// The pushed families in a protobuf scrape, as bytes.
fn in_protobuf(address: SocketAddr) -> Vec<Vec<u8>> {
    let scrape = Request::new(address, "GET", "/metrics").header("Accept", PROTOBUF).send().body;
    let mut rest = &scrape[..];
    let mut families = Vec::new();
    while !rest.is_empty() {
        let length = tallygate::format::protobuf::delimited_len(rest).expect("a whole family");
        let (family, after) = rest.split_at(length);
        rest = after;
        if ["\x0a\x01n", "\x0a\x01e"]
            .iter()
            .any(|head| family.windows(head.len()).take(3).any(|found| found == head.as_bytes()))
        {
            families.push(family.to_vec());
        }
    }
    assert_eq!(families.len(), 2);
    families
}

fn import(from: SocketAddr, flags: &[&str]) -> Output {
    run(&[&["import", &format!("--from=http://{from}"), "--mode=pushgateway"], flags].concat())
}

fn report(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn store() -> String {
    format!("--store.path={}", directory().join("store").display())
}

#[test]
fn a_running_pushgateway_is_taken_over() {
    // Debian's keeps a file by default.
    let real = real::start(&["--persistence.file="]);
    fill(real.address);
    push(real.address, "/metrics/job/native", &native(), PROTOBUF);
    eventually("the last push is carried out", || {
        let text = real.get("/metrics").text();
        (!text.contains("\"gone\"") && text.contains("\"native\"")).then_some(())
    });
    let before = shown(&real.get("/metrics").text());
    let pushed = stamps(real.get("/api/v1/metrics").json());

    let store = store();
    let told = report(&import(real.address, &[&store]));
    assert!(told.starts_with("imported 5 groups with 8 families into "), "{told}");
    assert!(!told.contains("left out"), "{told}");
    let gateway = pushgateway().flag(&store).run();
    assert_eq!(scraped(&gateway), before);
    assert_eq!(stamps(gateway.get("/api/v1/metrics").json()), pushed);

    // Compare what text and JSON do not show, as if it had been pushed here.
    let other = pushgateway().run();
    push(other.address, "/metrics/job/native", &native(), PROTOBUF);
    let expected = in_protobuf(other.address);
    assert!(expected.iter().all(|family| family.windows(5).any(|found| found == b"trace")));
    assert_eq!(in_protobuf(gateway.address), expected);
}

#[test]
fn one_of_ours_is_taken_over_with_its_prefix_and_path() {
    let old = pushgateway()
        .flag("--web.route-prefix=/gw")
        .flag("--web.telemetry-path=/own")
        .flag("--push.allow-mode");
    let mut old = old.run();
    old.last_scrape(Some("/gw/own"));
    let at = |path: &str| format!("/gw/metrics/job/{path}");
    for (job, body) in
        [("a", "# HELP x Of a.\n# TYPE x gauge\nx 1\n"), ("b", "# TYPE x gauge\nx 2\n")]
    {
        push(old.address, &at(job), body.as_bytes(), "text/plain");
    }
    push(old.address, &at("n"), &native(), PROTOBUF);
    let added = old.request("POST", &at("a?mode=delta"));
    assert_eq!(added.body("# TYPE added counter\nadded 1\n").send().status, 200);

    let (from, store) = (format!("--from=http://{}/gw/", old.address), store());
    let flags = ["import", "--mode=pushgateway", "--web.telemetry-path=/own", &from, &store];
    let told = report(&run(&flags));
    assert!(told.starts_with("imported 3 groups with 4 families into "), "{told}");
    assert!(told.ends_with("\nleft out: added: 1 series of no group\n"), "{told}");

    let new = pushgateway().flag(&store).run();
    let groups = |gateway: &Gateway, path: &str| gateway.get(path).json()["data"].clone();
    assert_eq!(groups(&new, "/api/v1/metrics"), groups(&old, "/gw/api/v1/metrics"));
    drop(new);
    let again = run(&flags);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("has 3 groups already"));
}

#[test]
fn who_does_not_answer_as_a_pushgateway_gives_nothing() {
    let aggregating = crate::harness::start();
    for (from, reason) in [
        (
            format!("http://{}", aggregating.address),
            "it does not list its groups as a Pushgateway does",
        ),
        ("http://127.0.0.1:1".to_owned(), "cannot connect"),
    ] {
        let output = run(&["import", "--mode=pushgateway", &store(), &format!("--from={from}")]);
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(reason), "{told}");
    }
}
