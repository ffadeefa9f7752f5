//! Real, unchanged client libraries push to the real Pushgateway and to us: both show the same
//! afterwards, whether a push was accepted or not. `tests/clients/curl.sh` describes their command
//! line.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::Value;

use super::differential::{exposition, groups, settle};
use super::real;
use crate::harness::client;

/// In this order, later scenarios replace some or all of what earlier ones have pushed.
const SCENARIOS: [&str; 13] = [
    "counter",
    "histogram",
    "summary",
    "gauge",
    "grouping",
    "gzip",
    "put",
    "text",
    "protobuf",
    "openmetrics",
    "created",
    "delete",
    "counter",
];

/// The exit status: 0 if every push was accepted, 1 if one was not, 3 if the client does not support
/// the scenario.
fn push(name: &str, address: SocketAddr, scenario: &str) -> Option<i32> {
    let process = client(name, [&format!("http://{address}"), scenario, "7", "2"]);
    process.wait_with_output().expect("it ends").status.code()
}

/// Lines of the exposition. Start times differ from run to run.
fn shown(address: SocketAddr) -> BTreeSet<String> {
    let lines = exposition(address).lines.into_iter();
    let untimed = lines.map(|line| match line.rsplit_once(' ') {
        Some((series, _)) if !line.starts_with('#') && series.contains("_created{") => {
            format!("{series} TIME")
        }
        _ => line,
    });
    untimed.collect()
}

/// The number of samples by group and family in the JSON; not their order, which changes with every
/// push of a Rust client.
fn groups_shown(address: SocketAddr) -> BTreeMap<String, BTreeMap<String, usize>> {
    let families = |group: Value| {
        let count = |family: &Value| family["metrics"].as_array().map_or(0, Vec::len);
        let members = group.as_object().expect("an object").iter();
        members.map(|(name, family)| (name.clone(), count(family))).collect()
    };
    groups(address).into_iter().map(|(labels, group)| (labels, families(group))).collect()
}

/// Runs the scenarios on both, one after the other on the same state. Returns those that the client
/// supports.
#[track_caller]
fn compare(name: &str, scenarios: &[&'static str]) -> Vec<&'static str> {
    let (real, mut ours) = (real::start(&["--persistence.file="]), super::start());
    let mut able = Vec::new();
    for scenario in scenarios {
        let both = [real.address, ours.address].map(|address| {
            let status = push(name, address, scenario);
            settle(address);
            (status, shown(address), groups_shown(address))
        });
        let [theirs, mine] = &both;
        assert_eq!(mine, theirs, "{name} {scenario}: ours on the left, the real one on the right");
        match mine.0 {
            Some(0) => able.push(*scenario),
            Some(1) => _ = ours.expect_log("push refused"),
            status => assert_eq!(status, Some(3), "{name} {scenario}"),
        }
    }
    // Two pushes of the same numbers replace each other; they do not add up.
    let items = format!("e2e_items_total{{instance=\"\",job=\"{name}_batch\",kind=\"a\"}} 1");
    let lines = exposition(ours.address).lines;
    assert!(name == "rust-metrics" || lines.contains(&items), "{name}: {lines:#?}");
    able
}

const ALL_CAN: [&str; 4] = ["counter", "histogram", "gauge", "put"];

fn beyond(able: &[&'static str]) -> Vec<&'static str> {
    able.iter().copied().filter(|scenario| !ALL_CAN.contains(scenario)).collect()
}

#[test]
fn curl() {
    let able = compare("curl", &SCENARIOS);
    let more = ["summary", "grouping", "gzip", "text", "openmetrics", "delete"];
    assert_eq!(beyond(&able), more);
}

#[test]
fn go() {
    let able = compare("go", &SCENARIOS);
    let more = ["summary", "grouping", "text", "protobuf", "openmetrics", "delete"];
    assert_eq!(beyond(&able), more);
}

#[test]
fn node() {
    let scenarios: Vec<_> = SCENARIOS.into_iter().filter(|one| *one != "grouping").collect();
    let able = compare("node", &scenarios);
    assert_eq!(beyond(&able), ["summary", "gzip", "openmetrics", "delete"]);
}

/// Node writes the path `/a/b c` as `%2Fa%2Fb%20c`, and an escaped slash splits like any other. The
/// real one redirects because of the two slashes in a row, and the push is lost.
#[test]
fn a_value_with_a_slash_in_front_by_node() {
    let (real, ours) = (real::start(&["--persistence.file="]), super::start());
    assert_eq!(push("node", real.address, "grouping"), Some(1));
    assert_eq!(push("node", ours.address, "grouping"), Some(0));
    assert_eq!(groups(real.address).len(), 0);
    let labels = "a=\"b c\",empty=\"\",instance=\"\",job=\"node_batch\",path=\"\"";
    assert_eq!(ours.sample(&format!("e2e_grouped_total{{{labels}}}")), 1.0);
}

#[test]
fn python() {
    let able = compare("python", &SCENARIOS);
    assert_eq!(beyond(&able), ["summary", "grouping", "gzip", "created", "delete"]);
}

#[test]
fn rust() {
    assert_eq!(beyond(&compare("rust", &SCENARIOS)), ["protobuf"]);
}

/// The exporter of the metrics crate.
#[test]
fn rust_metrics() {
    assert_eq!(compare("rust-metrics", &["global", "global"]), ["global", "global"]);
}

/// The real one learned snappy after 1.5.1 and stores nothing of it.
#[test]
fn snappy_works_here_only() {
    let (real, ours) = (real::start(&["--persistence.file="]), super::start());
    assert_eq!(push("python", real.address, "snappy"), Some(1));
    assert_eq!(push("python", ours.address, "snappy"), Some(0));
    assert_eq!(groups(real.address).len(), 0);
    assert_eq!(ours.sample("e2e_items_total{instance=\"\",job=\"python_batch\",kind=\"b\"}"), 2.5);
}
