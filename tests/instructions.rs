//! What a push costs in instructions, which unlike its time is the same on every machine, whatever
//! else it does: a guard against shortcuts that are not taken any more, and costs that creep in.
//!
//! Valgrind counts, in this very binary, which is not optimised. So the ceilings say nothing of what
//! a push costs in a release (`benches/count` does that); they are a third above what was counted
//! when they were set, because processors differ in how they copy and compare bytes.

#[path = "../benches/common/mod.rs"]
mod common;

use std::process::{Command, ExitCode};

use common::Work;

/// What is counted, in a gateway with how many series, and the ceiling for doing it once.
const CEILINGS: [(Work, usize, u64); 5] = [
    (Work::Text, 0, 64_000),
    (Work::Text200, 0, 960_000),
    (Work::Protobuf, 0, 122_000),
    (Work::Gunzip, 0, 240_000),
    (Work::Scrape, 100, 2_700_000),
];

/// Done so often in one process and so much oftener in another: what both do besides differs a
/// little from run to run, as hashes do.
const FEW: u64 = 20;
const MORE: u64 = 100;

#[expect(clippy::print_stdout, reason = "it tells what a test harness would")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [work, stored, times] = &*arguments
        && let Some(work) = Work::from_word(work)
        && let (Ok(stored), Ok(times)) = (stored.parse(), times.parse())
    {
        common::work(work, stored, times);
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (work, stored, ceiling) in CEILINGS {
        let count = |times| count(work, stored, times);
        let each = count(FEW + MORE).saturating_sub(count(FEW)) / MORE;
        let fine = each <= ceiling;
        println!(
            "test {} ... {each} instructions, of {ceiling} allowed: {}",
            work.word(),
            if fine { "ok" } else { "FAILED" }
        );
        failed += usize::from(!fine);
    }
    let (word, code) = match failed {
        0 => ("ok", ExitCode::SUCCESS),
        _ => ("FAILED", ExitCode::FAILURE),
    };
    let passed = CEILINGS.len() - failed;
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored");
    code
}

/// Instructions of a process that does it so often.
fn count(work: Work, stored: usize, times: u64) -> u64 {
    let binary = std::env::current_exe().expect("this binary");
    let counted = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(binary)
        .args([work.word(), &stored.to_string(), &times.to_string()])
        .output()
        .expect("tests/setup installs valgrind");
    let told = String::from_utf8_lossy(&counted.stderr);
    assert!(counted.status.success(), "{told}");
    let line = told.lines().find_map(|line| line.split_once("Collected : "));
    line.and_then(|(_, count)| count.trim().parse().ok()).unwrap_or_else(|| panic!("{told}"))
}
