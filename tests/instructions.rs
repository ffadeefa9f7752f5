//! Counts the instructions of a push, which unlike its time do not depend on the machine or its load: a
//! guard against shortcuts that are no longer taken, and costs that creep in.
//!
//! Valgrind counts, in this binary or in the gateway itself, neither of which is optimised. So the
//! ceilings say nothing about the cost of a push in a release build (see `benches/count` for that).
//! They are a third above what was counted when they were set, because processors differ in how they
//! copy and compare bytes.

#[path = "../benches/common/mod.rs"]
mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitCode, Stdio};

use common::{SMALL, Work};

/// (work, stored series, ceiling for doing it once)
const CEILINGS: [(Work, usize, u64); 5] = [
    (Work::Text, 0, 64_000),
    (Work::Text200, 0, 960_000),
    (Work::Protobuf, 0, 122_000),
    (Work::Gunzip, 0, 240_000),
    (Work::Scrape, 100, 2_700_000),
];

/// The ceiling for a push of 13 samples over HTTP, on a connection that stays open.
const OVER_HTTP: u64 = 228_000;

/// How often it is done in one process, and how many more times in another. What they do besides
/// differs a little from run to run, for example because of random hash seeds.
const FEW: u64 = 20;
const MORE: u64 = 100;
/// More, because the gateway does other things as well.
const MORE_OVER_HTTP: u64 = 300;

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
    let mut check = |what: &str, each: u64, ceiling: u64| {
        let fine = each <= ceiling;
        let word = if fine { "ok" } else { "FAILED" };
        println!("test {what} ... {each} instructions, of {ceiling} allowed: {word}");
        failed += usize::from(!fine);
    };
    for (work, stored, ceiling) in CEILINGS {
        let count = |times| count(work, stored, times);
        check(work.word(), each(MORE, count), ceiling);
    }
    check("over_http", each(MORE_OVER_HTTP, count_over_http), OVER_HTTP);
    let (word, code) = match failed {
        0 => ("ok", ExitCode::SUCCESS),
        _ => ("FAILED", ExitCode::FAILURE),
    };
    let passed = CEILINGS.len() + 1 - failed;
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored");
    code
}

/// Instructions for doing it once.
fn each(more: u64, count: impl Fn(u64) -> u64) -> u64 {
    count(FEW + more).saturating_sub(count(FEW)) / more
}

/// The instructions of a process that does it `times` times.
fn count(work: Work, stored: usize, times: u64) -> u64 {
    let binary = std::env::current_exe().expect("this binary");
    let mut process = counted(&binary.to_string_lossy())
        .args([work.word(), &stored.to_string(), &times.to_string()])
        .spawn()
        .expect("tests/setup installs valgrind");
    let mut told = String::new();
    process.stderr.take().expect("piped").read_to_string(&mut told).expect("text");
    instructions(&mut process, &told)
}

/// The instructions of a gateway that gets this many pushes.
fn count_over_http(times: u64) -> u64 {
    let mut gateway = counted(env!("CARGO_BIN_EXE_tallygate"))
        .args(["--web.listen-address=127.0.0.1:0", "--web.workers=1", "--web.drain-delay=0s"])
        .arg("--store.path=")
        .spawn()
        .expect("tests/setup installs valgrind");
    let mut log = BufReader::new(gateway.stderr.take().expect("piped"));
    let mut told = String::new();
    let address = loop {
        let start = told.len();
        assert!(log.read_line(&mut told).expect("text") > 0, "it ended: {told}");
        let line = told[start..].split_once("message=listening address=");
        if let Some(address) = line.and_then(|(_, rest)| rest.split_whitespace().next()) {
            break address.to_owned();
        }
    };
    let mut connection = TcpStream::connect(address).expect("it listens");
    let head = format!(
        "POST /metrics/job/checkout/instance/10.0.3.17 HTTP/1.1\r\nHost: localhost\r\n\
         Content-Length: {}\r\n\r\n",
        SMALL.len()
    );
    let push = [head.as_bytes(), SMALL].concat();
    for _ in 0..times {
        connection.write_all(&push).expect("it reads");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            connection.read_exact(&mut byte).expect("an answer");
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    }
    let stopped = Command::new("kill").args(["-TERM", &gateway.id().to_string()]).status();
    assert!(stopped.expect("kill runs").success());
    log.read_to_string(&mut told).expect("text");
    instructions(&mut gateway, &told)
}

/// The program, run by valgrind. The output of both is on standard error.
fn counted(program: &str) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", program]);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The count that valgrind prints when the process ends.
fn instructions(process: &mut Child, told: &str) -> u64 {
    assert!(process.wait().expect("it ends").success(), "{told}");
    let line = told.lines().find_map(|line| line.split_once("Collected : "));
    line.and_then(|(_, count)| count.trim().parse().ok()).unwrap_or_else(|| panic!("{told}"))
}
