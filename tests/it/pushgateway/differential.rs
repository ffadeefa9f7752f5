//! The same requests to the real Pushgateway and to us: statuses, headers, JSON and expositions must be
//! the same. Differences are listed in the corpus with their reasons, and must occur.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::Value;

use super::corpus::{self, Case, Step};
use super::{generate, real};
use crate::harness::{Request, Response, eventually, promtool_accepts};

/// Everything that is visible of a gateway after a case.
#[derive(Debug, PartialEq)]
struct Seen {
    answers: Vec<Answer>,
    exposition: Exposition,
    groups: BTreeMap<String, Value>,
}

#[derive(Debug, PartialEq)]
struct Answer {
    step: String,
    status: u16,
    content_type: Option<String>,
    nosniff: bool,
    /// Successes have an empty body, errors a text that ends in a line feed.
    body: &'static str,
}

#[derive(Debug, PartialEq)]
pub(super) struct Exposition {
    status: u16,
    content_type: String,
    /// Lines of pushed families, without the order.
    pub(super) lines: BTreeSet<String>,
    /// Names in the order of their blocks.
    families: Vec<String>,
}

#[test]
fn the_corpus_has_the_same_effect_on_both() {
    let cases = corpus::cases();
    assert!(cases.len() >= 200, "only {} cases", cases.len());
    compare(cases);
}

#[test]
fn generated_sequences_have_the_same_effect_on_both() {
    let number = |name: &str, default| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (seed, cases) = (number("DIFFERENTIAL_SEED", 1), number("DIFFERENTIAL_CASES", 250));
    compare(generate::cases(seed, cases));
}

#[track_caller]
fn compare(cases: Vec<Case>) {
    let flags = ["--persistence.file=", "--web.enable-admin-api", "--web.enable-lifecycle"];
    let real = real::start(&flags);
    let mut ours = super::start();
    ours.expect_log("push refused");
    let mut complaints = Vec::new();
    for case in cases {
        let theirs = run(real.address, &case);
        let mine = run(ours.address, &case);
        // Only ours must be readable, whatever theirs shows after one of its accidents.
        promtool_accepts_ours(&mine);
        match (case.differs, theirs == mine) {
            (None, true) | (Some(_), false) => {}
            (None, false) => complaints.push(format!(
                "{}: they differ\n{:#?}\nreal {}\nours {}",
                case.name,
                theirs.answers,
                shown(&theirs, &mine),
                shown(&mine, &theirs)
            )),
            (Some(why), true) => {
                complaints.push(format!("{}: no difference any more ({why})", case.name));
            }
        }
    }
    assert!(complaints.is_empty(), "{}\n{} differences", complaints.join("\n\n"), complaints.len());
}

/// A single check for all cases would not show which one is at fault, and each check costs a process:
/// so only the odd ones are checked.
fn promtool_accepts_ours(seen: &Seen) {
    let text: String = seen.exposition.lines.iter().map(|line| format!("{line}\n")).collect();
    if text.contains('\\') {
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        lines.sort_unstable();
        promtool_accepts(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    }
}

/// What one has and the other does not.
fn shown(seen: &Seen, other: &Seen) -> String {
    let mut out = String::new();
    for (answer, others) in seen.answers.iter().zip(&other.answers) {
        if answer != others {
            out += &format!("\n  {answer:?}");
        }
    }
    let (mine, others) = (&seen.exposition, &other.exposition);
    for line in mine.lines.difference(&others.lines) {
        out += &format!("\n  {line}");
    }
    if (mine.status, &mine.content_type) != (others.status, &others.content_type) {
        out += &format!("\n  scrape: {} {}", mine.status, mine.content_type);
    }
    if mine.families != others.families {
        out += &format!("\n  families {:?}", mine.families);
    }
    for (labels, group) in &seen.groups {
        if other.groups.get(labels) != Some(group) {
            out += &format!("\n  group {labels}: {group}");
        }
    }
    out
}

fn run(address: SocketAddr, case: &Case) -> Seen {
    wipe(address);
    let answers = case.steps.iter().map(|step| send(address, step)).collect();
    let seen = Seen { answers, exposition: exposition(address), groups: groups(address) };
    wipe(address);
    seen
}

/// Wipes, and waits: the real one does it some time after its answer.
fn wipe(address: SocketAddr) {
    let wiped = Request::new(address, "PUT", "/api/v1/admin/wipe").send();
    assert_eq!(wiped.status, 202);
    eventually("everything is wiped", || groups(address).is_empty().then_some(()));
}

fn send(address: SocketAddr, step: &Step) -> Answer {
    let mut request = Request::new(address, step.method, &step.path).body(&step.body);
    for (name, value) in &step.headers {
        request = request.header(name, value);
    }
    let response = request.send();
    if step.method == "DELETE" && response.status == 202 {
        settle(address);
    }
    answer(step, &response)
}

/// Waits for deletions, which are done before the next push, but not before the next read.
pub(super) fn settle(address: SocketAddr) {
    let _ = Request::new(address, "POST", "/metrics/job/barrier").send();
    let _ = Request::new(address, "DELETE", "/metrics/job/barrier").send();
    eventually("the barrier is gone", || {
        let there = groups(address).keys().any(|labels| labels.contains("\"barrier\""));
        (!there).then_some(())
    });
}

fn answer(step: &Step, response: &Response) -> Answer {
    let body = response.text();
    Answer {
        step: format!("{} {} {:?}", step.method, step.path, String::from_utf8_lossy(&step.body)),
        status: response.status,
        content_type: response.header("content-type").map(str::to_owned),
        nosniff: response.header("x-content-type-options") == Some("nosniff"),
        body: match body.as_str() {
            "" => "none",
            "OK" => "OK",
            body if body.ends_with('\n') => "text",
            _ => "some",
        },
    }
}

pub(super) fn exposition(address: SocketAddr) -> Exposition {
    let response = Request::new(address, "GET", "/metrics").send();
    let mut lines = BTreeSet::new();
    let mut families = Vec::new();
    for line in response.text().lines().filter(|_| response.status == 200) {
        let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        let own = ["go_", "process_", "pushgateway_", "tallygate_"];
        if own.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        if let Some(family) = line.strip_prefix("# TYPE ") {
            families.push(family.split(' ').next().unwrap_or_default().to_owned());
        }
        lines.insert(without_time(line));
    }
    let content_type = response.header("content-type").unwrap_or_default();
    Exposition {
        status: response.status,
        // From 1.8 on it names the escaping.
        content_type: content_type.split("; escaping").next().unwrap_or_default().to_owned(),
        lines,
        families,
    }
}

/// Shows whether something has happened, but not when.
fn without_time(line: &str) -> String {
    match line.rsplit_once(' ') {
        Some((series, time)) if is_time(series) && time != "0" => format!("{series} 1"),
        _ => line.to_owned(),
    }
}

pub(super) fn is_time(name: &str) -> bool {
    name.starts_with("push_time_seconds{") || name.starts_with("push_failure_time_seconds{")
}

/// By their labels.
pub(super) fn groups(address: SocketAddr) -> BTreeMap<String, Value> {
    let response = Request::new(address, "GET", "/api/v1/metrics").send();
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    let json = response.json();
    assert_eq!(json["status"], "success");
    let mut groups = BTreeMap::new();
    for group in json["data"].as_array().expect("an array") {
        let mut group = group.clone();
        let members = group.as_object_mut().expect("an object");
        for (name, member) in members.iter_mut() {
            let Some(family) = member.as_object_mut().filter(|_| name != "labels") else {
                continue;
            };
            let stamp = family.remove("time_stamp").expect("every family has one");
            assert!(stamp.as_str().is_some_and(|stamp| stamp.ends_with('Z')), "{stamp}");
            if matches!(&**name, "push_time_seconds" | "push_failure_time_seconds") {
                let value = &mut family["metrics"][0]["value"];
                if *value != "0" {
                    *value = "TIME".into();
                }
            }
        }
        groups.insert(group["labels"].to_string(), group);
    }
    groups
}
