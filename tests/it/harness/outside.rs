//! Other programs: push clients, Prometheus and its promtool.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use super::{Scratch, binary};

/// Runs the binary under test until it ends, in a directory of its own.
pub(crate) fn run(arguments: &[&str]) -> Output {
    let directory = Scratch::default();
    let mut command = binary();
    command.current_dir(&directory.0).args(arguments).stdin(Stdio::null());
    command.output().expect("the binary starts")
}

/// Starts a push client that `tests/setup` has installed; see the head of `tests/clients/curl.sh`.
#[track_caller]
pub(crate) fn client(name: &str, arguments: [&str; 4]) -> Child {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "target", "clients", "bin", name].iter().collect();
    Command::new(&path)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; run tests/setup first", path.display()))
}

/// A Prometheus server; [`Stopped`] ends it.
#[track_caller]
pub(crate) fn prometheus(arguments: &[String]) -> Child {
    Command::new("prometheus")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("prometheus: {error}; run tests/setup first"))
}

/// A process that is stopped when this is dropped.
pub(crate) struct Stopped(pub(crate) Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fails unless `promtool check metrics` can read the text.
///
/// It also complains about names and help texts (status 3). Those are up to the clients, so only what
/// it cannot read counts here; see [`promtool_lint`] for our own metrics.
#[track_caller]
pub(crate) fn promtool_accepts(text: &str) {
    let output = promtool(text);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "promtool: {complaint}\n{text}");
}

/// The complaints of `promtool check metrics` about names, types and help texts.
#[track_caller]
pub(crate) fn promtool_lint(text: &str) -> String {
    promtool_accepts(text);
    String::from_utf8_lossy(&promtool(text).stderr).into_owned()
}

#[track_caller]
fn promtool(text: &str) -> Output {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("promtool: {error}; run tests/setup first"));
    let mut input = promtool.stdin.take().expect("piped");
    std::thread::scope(|scope| {
        // It stops reading at an error.
        scope.spawn(move || _ = input.write_all(text.as_bytes()));
        promtool.wait_with_output().expect("promtool ends")
    })
}
