//! Other readers, each in a process that reads many expositions; see `tests/oracles/oracle.py`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message as _;
use serde::Deserialize;

use crate::harness::{Stopped, directory};

/// A running reader.
pub(crate) struct Oracle {
    _process: Stopped,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// The answer of a reader.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Read { families: Vec<Family> },
    Refused { error: String },
}

#[derive(Debug, Deserialize)]
pub(crate) struct Family {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) unit: String,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: Option<String>,
    pub(crate) timestamp: Option<String>,
    pub(crate) exemplar: Option<Exemplar>,
    pub(crate) native: Option<Native>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Exemplar {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: String,
    pub(crate) timestamp: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Native {
    schema: i32,
    zero_threshold: String,
    zero_count: String,
    negative: Vec<(i32, String)>,
    positive: Vec<(i32, String)>,
    exemplars: Vec<Exemplar>,
}

impl Oracle {
    /// OpenMetrics 1.0, by the reference reader.
    pub(crate) fn openmetrics() -> Oracle {
        Oracle::start("openmetrics", &[])
    }

    /// Text 0.0.4.
    pub(crate) fn text() -> Oracle {
        Oracle::start("text", &[])
    }

    /// Delimited protobuf, by Google's runtime with the messages of `proto/metrics.proto`.
    pub(crate) fn protobuf() -> Oracle {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
        let descriptors = protox::compile(["metrics.proto"], [path]).expect("proto/metrics.proto");
        let file = directory().join("descriptors");
        std::fs::write(&file, descriptors.encode_to_vec()).expect("a file below target/");
        Oracle::start("protobuf", &["--descriptors", file.to_str().expect("UTF-8")])
    }

    fn start(format: &str, arguments: &[&str]) -> Oracle {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("target/test-venv/bin/python");
        let mut process: Child = Command::new(&python)
            .arg(root.join("tests/oracles/oracle.py"))
            .args([format, "--frames"])
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run tests/setup first", python.display()));
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        Oracle { _process: Stopped(process), input, output }
    }

    /// The families, or why they cannot be read.
    pub(crate) fn try_read(&mut self, exposition: &[u8]) -> Result<Vec<Family>, String> {
        const ENDED: &str = "the reader ends (its complaint is above); is tests/setup up to date?";
        let length = u32::try_from(exposition.len()).expect("not that long");
        self.input.write_all(&length.to_be_bytes()).expect(ENDED);
        self.input.write_all(exposition).expect(ENDED);
        self.input.flush().expect(ENDED);
        let mut length = [0; 4];
        self.output.read_exact(&mut length).expect(ENDED);
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.output.read_exact(&mut answer).expect(ENDED);
        match serde_json::from_slice(&answer).expect("an answer") {
            Answer::Read { families } => Ok(families),
            Answer::Refused { error } => Err(error),
        }
    }

    /// The families of an exposition that must be readable.
    #[track_caller]
    pub(crate) fn read(&mut self, exposition: &[u8]) -> Vec<Family> {
        self.try_read(exposition).unwrap_or_else(|error| {
            panic!("{error}\n{}", String::from_utf8_lossy(exposition));
        })
    }
}

// === as text ===

/// What was pushed, with one line per family and one per sample. Our own metrics are left out, and
/// recent start times are shown as `now`.
pub(crate) fn dump(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families.iter().filter(|family| !family.name.starts_with("tallygate_")) {
        _ = write!(out, "{} {}", family.kind, family.name);
        for (word, text) in [("help", &family.help), ("unit", &family.unit)] {
            if !text.is_empty() {
                _ = write!(out, " {word}={text:?}");
            }
        }
        out.push('\n');
        for sample in &family.samples {
            _ = write!(out, "  {}{} ", sample.name, labels(&sample.labels));
            dump_value(&mut out, sample);
            out.push('\n');
        }
    }
    out
}

fn dump_value(out: &mut String, sample: &Sample) {
    assert!(sample.timestamp.is_none(), "{}: samples have no timestamps", sample.name);
    match (&sample.value, &sample.native) {
        (Some(value), None) if sample.name.ends_with("_created") => out.push_str(&start(value)),
        (Some(value), None) => out.push_str(&number(value)),
        (None, Some(native)) => dump_native(out, native),
        (_, _) => panic!("one value: {sample:?}"),
    }
    if let Some(exemplar) = &sample.exemplar {
        out.push_str(&exemplar.dump());
    }
}

fn dump_native(out: &mut String, native: &Native) {
    let side = |buckets: &[(i32, String)]| {
        let buckets = buckets.iter().map(|(index, count)| format!("{index}:{}", number(count)));
        buckets.collect::<Vec<_>>().join(" ")
    };
    let zero = (number(&native.zero_threshold), number(&native.zero_count));
    _ = write!(out, "schema {} zero {}:{}", native.schema, zero.0, zero.1);
    if !native.negative.is_empty() {
        _ = write!(out, " negative {}", side(&native.negative));
    }
    if !native.positive.is_empty() {
        _ = write!(out, " positive {}", side(&native.positive));
    }
    for exemplar in &native.exemplars {
        out.push_str(&exemplar.dump());
    }
}

impl Exemplar {
    fn dump(&self) -> String {
        let time = self.timestamp.as_deref().map(|time| format!(" @{}", number(time)));
        let (labels, value) = (labels(&self.labels), number(&self.value));
        format!(" #{labels} {value}{}", time.unwrap_or_default())
    }
}

pub(super) fn labels(labels: &BTreeMap<String, String>) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let labels = labels.iter().map(|(name, value)| match &**name {
        // Bounds are numbers, which every format spells in its own way.
        "le" | "quantile" => format!("{name}={}", number(value)),
        _ => format!("{name}={value:?}"),
    });
    format!("{{{}}}", labels.collect::<Vec<_>>().join(","))
}

/// One spelling for all: integers keep every digit, floats are written as Rust does.
fn number(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    text.parse::<f64>().map_or_else(|_| format!("{text:?}"), |value| value.to_string())
}

fn start(value: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let ago = now - value.parse::<f64>().expect("a start time");
    if (0.0..60.0).contains(&ago) { "now".to_owned() } else { number(value) }
}
