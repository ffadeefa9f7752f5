//! Sequences from a seed: a few groups and names, so that they meet.

use super::corpus::{Case, PROTOBUF, Step, delete, step};
use crate::harness::{Coding, Message, encoded, value};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

const PATHS: [&str; 8] = [
    "/metrics/job/a",
    "/metrics/job/b",
    "/metrics/job/a/l/1",
    "/metrics/job@base64/YQ/l@base64/MQ",
    "/metrics/job/a/l/",
    "/metrics/job/a/instance/i",
    "/metrics/job/a/l/1/instance/i",
    "/metrics/job/a/oops",
];
const NAMES: [&str; 6] = ["x", "y", "x_sum", "x_count", "x_bucket", "z:total"];
const LABELS: [&str; 8] = [
    "",
    "{}",
    "{l=\"1\"}",
    "{l=\"2\"}",
    "{m=\"\\\"\\\\\\n\"}",
    "{instance=\"i\"}",
    "{job=\"b\",l=\"1\"}",
    "{l=\"\"}",
];
const NUMBERS: [&str; 10] =
    ["0", "1", "-1", "0.1", "1e6", "123456789", "NaN", "+Inf", "1e-7", "2.5"];

pub(super) fn cases(seed: u64, cases: u64) -> Vec<Case> {
    let case = |at| {
        let mut random = Random(seed.wrapping_mul(1_000_003).wrapping_add(at));
        let steps = (0..2 + random.below(6)).map(|_| request(&mut random)).collect();
        Case { name: format!("seed {seed}, case {at}"), steps, differs: None }
    };
    (0..cases).map(case).collect()
}

fn request(random: &mut Random) -> Step {
    let path = random.pick(&PATHS);
    let method = random.pick(&["PUT", "POST", "POST"]);
    match random.below(12) {
        0 => delete(path),
        1 => step(method, path, protobuf(random)).header("Content-Type", PROTOBUF),
        2 => step(method, path, encoded(Coding::Gzip, text(random)))
            .header("Content-Encoding", "gzip"),
        3 => step(method, path, ""),
        _ => step(method, path, text(random)),
    }
}

fn text(random: &mut Random) -> String {
    let mut body = String::new();
    let mut named = Vec::new();
    for _ in 0..1 + random.below(3) {
        let name = random.pick(&NAMES);
        if named.contains(&name) {
            continue;
        }
        named.push(name);
        // A sample with the bare name of a histogram vanishes there and is refused here, so no name is
        // part of another.
        let kinds = ["", "gauge", "counter", "untyped", "summary", "histogram"];
        let kind = random.pick(if name.starts_with("x_") { &kinds[..4] } else { &kinds });
        // Always the same text: which of several is shown is undefined.
        body += &format!("# HELP {name} Help of {name}.\n");
        if !kind.is_empty() {
            body += &format!("# TYPE {name} {kind}\n");
        }
        for _ in 0..1 + random.below(2) {
            let labels = random.pick(&LABELS);
            let inside = labels.trim_matches(['{', '}']);
            let number = random.pick(&NUMBERS);
            let count = random.below(100);
            let with = |label: &str| match inside {
                "" => format!("{{{label}}}"),
                inside => format!("{{{inside},{label}}}"),
            };
            match kind {
                "summary" => {
                    body += &format!("{name}{} {number}\n", with("quantile=\"0.5\""));
                    body += &format!("{name}_sum{labels} {number}\n{name}_count{labels} {count}\n");
                }
                "histogram" => {
                    body += &format!("{name}_bucket{} {count}\n", with("le=\"0.50\""));
                    body += &format!("{name}_sum{labels} {number}\n{name}_count{labels} {count}\n");
                }
                _ => body += &format!("{name}{labels} {number}\n"),
            }
            // A second summary or histogram with the same labels would be the same series.
            if matches!(kind, "summary" | "histogram") {
                break;
            }
        }
    }
    match random.below(25) {
        0 => body.truncate(body.len() / 2 + random.below(body.len() / 2)),
        1 => body += "broken{ 1\n",
        2 => body = body.replacen('\n', " 1600000000000\n", 3),
        3 => body += "push_time_seconds 5\n",
        _ => {}
    }
    body
}

fn protobuf(random: &mut Random) -> Vec<u8> {
    let labels: &[&[(&str, &str)]] = &[&[], &[("l", "1")], &[("m", "x")], &[("instance", "i")]];
    let name = random.pick(&NAMES);
    let labels = random.pick(labels);
    let help = format!("Help of {name}.");
    let family = match random.below(4) {
        0 => Message::family(name, 0).metric(labels, value::counter(3.0)),
        1 => Message::family(name, 1).metric(labels, value::gauge(-2.5)),
        2 => Message::family(name, 4).metric(labels, value::histogram(4, 2.0, &[(1.0, 3)])),
        _ => Message::family(name, 3).metric(labels, value::untyped(0.25)),
    };
    family.text(2, &help).delimited()
}
