//! The order of system calls: an answer is sent only after the disk has confirmed the push.

use std::fs;
use std::process::{Command, Stdio};

use crate::harness::{Scratch, Start, eventually};

const PUSHES: usize = 5;

/// What had been done when a push was answered.
#[derive(Debug, Default, PartialEq, Eq)]
struct Before {
    written: bool,
    synced: bool,
}

/// System calls, in the order in which they began or ended.
#[derive(Debug, PartialEq, Eq)]
enum Event<'t> {
    Written(&'t str),
    SyncBegins(&'t str),
    SyncEnds(&'t str),
    Answer,
}

/// Reads what strace has written: `PID CALL(ARGUMENTS) = RESULT`, or two lines if other threads did
/// something in between: `PID CALL(ARGUMENTS <unfinished ...>` and `PID <... CALL resumed>) = RESULT`.
fn events(trace: &str) -> Vec<Event<'_>> {
    let mut events = Vec::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let unfinished = call.ends_with("<unfinished ...>");
        let answer = ["sendto(", "sendmsg(", "write(", "writev("].iter().any(|name| {
            call.starts_with(name) && call.contains("<socket:") && call.contains("HTTP/1.1 200")
        });
        if answer {
            events.push(Event::Answer);
        } else if call.starts_with("pwrite64(") && call.contains(".log>") {
            events.push(Event::Written(call));
        } else if call.starts_with("fdatasync(") && call.contains(".log>") {
            events.push(Event::SyncBegins(thread));
            if !unfinished && call.ends_with("= 0") {
                events.push(Event::SyncEnds(thread));
            }
        } else if call.starts_with("<... fdatasync resumed>") && call.ends_with("= 0") {
            // This may be the sync of another file, but then this thread has not begun one of the log.
            events.push(Event::SyncEnds(thread));
        }
    }
    events
}

/// For each answer: whether its push was written, and whether a sync has begun after that and ended.
fn before_answers(trace: &str) -> Vec<Before> {
    let events = events(trace);
    let answers = events.iter().enumerate().filter(|(_, event)| **event == Event::Answer);
    answers
        .enumerate()
        .map(|(push, (answered, _))| {
            let label = format!("push-{push}-");
            let is_its =
                |event: &Event<'_>| matches!(event, Event::Written(call) if call.contains(&label));
            let Some(written) = events[..answered].iter().position(is_its) else {
                return Before::default();
            };
            let later = &events[written..answered];
            let synced = later.iter().enumerate().any(|(at, event)| match event {
                Event::SyncBegins(thread) => later[at..].contains(&Event::SyncEnds(thread)),
                _ => false,
            });
            Before { written: true, synced }
        })
        .collect()
}

/// Whether this may watch other processes; if not, says that `test` is skipped.
fn can_trace(test: &str) -> bool {
    let mut probe = Command::new("strace");
    probe.args(["-o", "/dev/null", "true"]).stdin(Stdio::null()).stderr(Stdio::null());
    let can = probe.status().expect("strace runs; run tests/setup first").success();
    if !can {
        eprintln!("skipped: {test} (ptrace is not permitted here)");
    }
    can
}

#[test]
fn an_answer_comes_after_the_sync() {
    if !can_trace("an_answer_comes_after_the_sync") {
        return;
    }
    for (ack, expected) in [
        ("synced", Before { written: true, synced: true }),
        ("written", Before { written: true, synced: false }),
        ("memory", Before { written: false, synced: false }),
    ] {
        let scratch = Scratch::default();
        let trace = scratch.0.join("trace").display().to_string();
        let calls = "--trace=pwrite64,fdatasync,write,writev,sendto,sendmsg";
        // As a sibling of the process, not its parent; with file names and up to 4 KiB of written data.
        let strace = ["strace", "-D", "-f", "-y", "-s", "4096", calls, "-o", &trace];
        let gateway = Start::default()
            .under(&strace)
            .flag(&format!("--store.ack={ack}"))
            .flag("--store.commit-interval=60s")
            .run();
        for push in 0..PUSHES {
            gateway.accept("/metrics/job/j", format!("a_total{{p=\"push-{push}-\"}} 1\n"));
        }
        let before = eventually("all answers are in the trace", || {
            let before = before_answers(&fs::read_to_string(&trace).unwrap());
            (before.len() == PUSHES).then_some(before)
        });
        for (push, before) in before.iter().enumerate() {
            assert_eq!(*before, expected, "{ack}, push {push}");
        }
    }
}

/// A disk that hangs is treated like one that fails.
#[test]
fn a_sync_that_hangs_is_not_waited_for() {
    if !can_trace("a_sync_that_hangs_is_not_waited_for") {
        return;
    }
    let scratch = Scratch::default();
    let trace = scratch.0.join("trace").display().to_string();
    let mut gateway = Start::default().run();
    gateway.signal("TERM");
    gateway.wait();
    // The first commit begins a file and also syncs the mark. Only the sync of the second one takes 20
    // seconds.
    let hang = "--inject=fdatasync:delay_enter=20000000:when=3";
    let strace = ["strace", "-D", "-f", "-o", &trace, "--trace=fdatasync", hang];
    let directory = gateway.directory.clone();
    let mut gateway = Start::default().under(&strace).in_directory(&directory).run();
    gateway.expect_log("has not answered").expect_log("can be written again");
    gateway.expect_log("push refused");
    let push = |value: u32| gateway.push("/metrics/job/j", format!("a_total {value}\n"));
    assert_eq!(push(1).status, 200);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| push(2));
        eventually("it is merged", || (gateway.sample("a_total{job=\"j\"}") == 3.0).then_some(()));
        let second = push(4);
        for refused in [first.join().unwrap(), second] {
            assert_eq!(refused.status, 503);
            assert!(refused.text().contains("the disk has not answered for"), "{}", refused.text());
        }
    });
    assert_eq!(push(8).status, 503, "at once, and not merged");
    assert_eq!(gateway.sample("tallygate_store_writable"), 0.0);
    eventually("it goes on", || (push(16).status == 200).then_some(()));
    assert_eq!(gateway.sample("tallygate_store_writable"), 1.0);
    gateway.signal("KILL");
    gateway.wait();
    let gateway = Start::default().in_directory(&directory).run();
    assert_eq!(gateway.sample("a_total{job=\"j\"}"), 23.0);
}
