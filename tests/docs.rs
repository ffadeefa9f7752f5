//! The documents agree with the source, and their examples do what they show.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tallygate::config::{
    Config, DescribedKey, KeyKind, UsersFile, WebFile, describe, markdown_reference,
};
use tallygate::telemetry::{BodyEncoding, BodyFormat, Cause, Handler, Limit, METRICS, Outcome};

const DOCUMENTS: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/ARCHITECTURE.md",
    "docs/dependencies.md",
    "docs/durability.md",
    "docs/kubernetes.md",
    "docs/merging.md",
    "docs/operating.md",
    "docs/performance.md",
    "docs/pushgateway-mode.md",
    "docs/security.md",
    CHART_README,
];
const CHART_README: &str = "helm/tallygate/README.md";

fn path(document: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(document)
}

fn read(document: &str) -> String {
    fs::read_to_string(path(document)).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// Fails with all complaints, if there are any.
#[track_caller]
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

// === What is generated

/// `UPDATE_DOCS=1 cargo test --test docs` regenerates the sections.
#[test]
fn generated_sections_are_what_the_source_says() {
    let mut text = read("README.md");
    let mut stale = Vec::new();
    for (name, fresh) in [("configuration", markdown_reference()), ("metrics", metrics())] {
        let begin = format!("<!-- generated: {name} -->\n");
        let start = text.find(&begin).unwrap_or_else(|| panic!("no {begin}")) + begin.len();
        let length = text[start..].find("<!-- end -->").expect("the section has an end");
        if text[start..start + length] != fresh {
            text.replace_range(start..start + length, &fresh);
            stale.push(name);
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path("README.md"), text).expect("write README.md");
    } else {
        assert!(stale.is_empty(), "stale in README.md: {stale:?}. UPDATE_DOCS=1 writes them anew");
    }
}

/// The chart refuses keys that the server does not know. `UPDATE_DOCS=1` regenerates this part of its
/// schema, too.
#[test]
fn the_schema_of_the_chart_knows_the_keys_of_the_configuration() {
    const SCHEMA: &str = "helm/tallygate/values.schema.json";
    let text = read(SCHEMA);
    let begin = "\n    \"config\": {\n";
    let start = text.rfind(begin).expect("a definition of config") + begin.len();
    let length = text[start..].find("\n    }").expect("its end");
    let fresh = chart_keys();
    if text[start..start + length] == fresh {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_DOCS").is_some(),
        "{SCHEMA} is stale. UPDATE_DOCS=1 writes it anew"
    );
    let mut text = text;
    text.replace_range(start..start + length, &fresh);
    let _: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
    fs::write(path(SCHEMA), text).expect("write the schema");
}

/// A JSON schema of the configuration file, with one line per key.
fn chart_keys() -> String {
    let sections = describe().expect("the defaults are right");
    let mut lines = Vec::new();
    for described in sections {
        let keys: Vec<_> = described.keys.iter().map(chart_key).collect();
        lines.push(match described.section.name {
            "" => keys.iter().map(|key| format!("        {key}")).collect::<Vec<_>>().join(",\n"),
            name => format!(
                "        \"{name}\": {{\n          \"type\": \"object\",\n          \
                 \"additionalProperties\": false,\n          \"properties\": {{\n            \
                 {}\n          }}\n        }}",
                keys.join(",\n            ")
            ),
        });
    }
    format!(
        "      \"type\": \"object\",\n      \"additionalProperties\": false,\n      \
         \"properties\": {{\n{}\n      }}",
        lines.join(",\n")
    )
}

fn chart_key(described: &DescribedKey) -> String {
    let name = described.key.name;
    let name = name.rsplit_once('.').map_or(name, |(_, name)| name);
    let words: Vec<_> = described.placeholder.split('|').collect();
    let allowed = match described.key.kind {
        KeyKind::Switch => "\"type\": \"boolean\"".to_owned(),
        KeyKind::List => "\"type\": [\"array\", \"string\"]".to_owned(),
        KeyKind::Rules => "\"type\": \"array\", \"items\": {\"type\": \"object\"}".to_owned(),
        KeyKind::Scalar if words.len() > 1 => {
            let word = |word: &&str| match word.parse::<u64>() {
                Ok(number) => format!("{number}, \"{number}\""),
                Err(_) => format!("\"{word}\""),
            };
            format!("\"enum\": [{}]", words.iter().map(word).collect::<Vec<_>>().join(", "))
        }
        KeyKind::Scalar => "\"type\": [\"string\", \"number\"]".to_owned(),
    };
    format!("\"{name}\": {{{allowed}}}")
}

fn metrics() -> String {
    let mut out = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for metric in METRICS {
        let labels: Vec<_> = metric.labels.split(", ").filter(|label| !label.is_empty()).collect();
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let (name, kind, help) = (metric.name, metric.kind, metric.help);
        let _ = writeln!(out, "| `{name}` | {kind} | {labels} | {help} |");
    }
    out.push_str("\nValues of the labels:\n\n");
    let mut list = |label: &str, words: Vec<&str>| {
        let words = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(out, "- `{label}`: {words}");
    };
    list("outcome", Outcome::ALL.iter().map(|value| value.word()).collect());
    list("limit", Limit::ALL.iter().map(|value| value.word()).collect());
    list("cause", Cause::ALL.iter().map(|value| value.word()).collect());
    list("format", BodyFormat::ALL.iter().map(|value| value.word()).collect());
    list("encoding", BodyEncoding::ALL.iter().map(|value| value.word()).collect());
    list("handler", Handler::ALL.iter().map(|value| value.word()).collect());
    out
}

// === What is explained

/// The names on the left of `=` in the tables of a manifest whose names end in `dependencies`.
fn cargo_dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in read(manifest).lines() {
        if line.starts_with('[') {
            inside = line.trim_end().ends_with("dependencies]");
        } else if inside && let Some((name, _)) = line.split_once('=') {
            names.push(name.trim().to_owned());
        }
    }
    assert!(!names.is_empty(), "{manifest}");
    names.retain(|name| name != "tallygate");
    names
}

fn npm_dependencies(manifest: &str) -> Vec<String> {
    let manifest: serde_json::Value = serde_json::from_str(&read(manifest)).expect("JSON");
    let names = manifest["dependencies"].as_object().expect("dependencies");
    names.keys().cloned().collect()
}

/// Those that are requested by name; the others in the file are their dependencies.
fn python_dependencies(requirements: &str) -> Vec<String> {
    let text = read(requirements);
    let names = text.lines().filter_map(|line| line.split_once("==")).map(|(name, _)| name.into());
    names.collect()
}

/// The first cells of the tables below a heading.
fn explained(text: &str, heading: &str) -> BTreeSet<String> {
    let (_, below) = text.split_once(&format!("\n## {heading}\n")).unwrap_or_default();
    let below = below.split("\n## ").next().unwrap_or_default();
    let cells = below.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    cells.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn every_dependency_is_explained() {
    let text = read("docs/dependencies.md");
    let mut complaints = Vec::new();
    for (heading, dependencies) in [
        ("The gateway, its tests and benchmarks", cargo_dependencies("Cargo.toml")),
        ("Fuzzing", cargo_dependencies("fuzz/Cargo.toml")),
        ("Test clients in Rust", cargo_dependencies("tests/clients/rust/Cargo.toml")),
        ("Test clients in Node", npm_dependencies("tests/clients/node/package.json")),
        ("Test clients in Python", python_dependencies("tests/clients/python/requirements.txt")),
        ("Tests of the chart, from PyPI", python_dependencies("tests/chart/requirements.in")),
        ("Tests of the chart, from npm", npm_dependencies("tests/chart/package.json")),
    ] {
        let explained = explained(&text, heading);
        for name in dependencies.iter().filter(|name| !explained.contains(*name)) {
            complaints.push(format!("docs/dependencies.md, {heading:?}: {name} is missing"));
        }
        for name in explained.iter().filter(|name| !dependencies.contains(name)) {
            complaints.push(format!("docs/dependencies.md, {heading:?}: {name} is not used"));
        }
    }
    none(&complaints);
}

/// Checks paths in backquotes that look like our files.
#[test]
fn files_that_are_named_exist() {
    let mut complaints = Vec::new();
    for document in DOCUMENTS {
        let text = read(document);
        for word in text.split('`').filter(|word| !word.contains(char::is_whitespace)) {
            let ours = ["src/", "tests/", "docs/", "benches/", "fuzz/", "config/", "proto/"];
            let file = ours.iter().any(|folder| word.starts_with(folder));
            let pattern = word.contains(['*', '<', '{', '…']);
            if file && !pattern && !path(word).exists() {
                complaints.push(format!("{document} names {word}, which does not exist"));
            }
        }
    }
    none(&complaints);
}

// === Links

/// The anchor that GitHub makes from a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    outside_of_blocks(text).filter(|line| line.starts_with('#')).map(anchor).collect()
}

fn outside_of_blocks(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    })
}

#[test]
fn links_lead_somewhere() {
    let mut complaints = Vec::new();
    for document in DOCUMENTS {
        let text = read(document);
        for line in outside_of_blocks(&text) {
            for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if link.contains("://") {
                    continue;
                }
                let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
                let target = match file {
                    "" => path(document),
                    file => path(document).parent().expect("a folder").join(file),
                };
                let found = match fragment {
                    "" => target.exists(),
                    fragment => fs::read_to_string(&target)
                        .is_ok_and(|text| anchors(&text).contains(fragment)),
                };
                if !found {
                    complaints.push(format!("{document}: the link to {link} leads nowhere"));
                }
            }
        }
    }
    none(&complaints);
}

// === Examples

/// A block between fences.
#[derive(Debug)]
struct Block {
    /// The number of its first line in the document.
    line: usize,
    language: String,
    /// The last non-empty line before it.
    before: String,
    text: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    let mut before = "";
    for (at, line) in text.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(language) if !inside => {
                let (language, before) = (language.to_owned(), before.to_owned());
                blocks.push(Block { line: at + 2, language, before, text: String::new() });
                inside = true;
            }
            Some(_) => {
                inside = false;
                before = line;
            }
            None if inside => {
                let block = blocks.last_mut().expect("it was begun");
                block.text.push_str(line);
                block.text.push('\n');
            }
            None if line.trim().is_empty() => {}
            None => before = line,
        }
    }
    assert!(!inside, "a block has no end");
    blocks
}

#[test]
fn configuration_examples_load() {
    let mut complaints = Vec::new();
    // Blocks in the documents of the chart are its values, which tests/chart tries.
    let of_chart = |document: &&&str| !["docs/kubernetes.md", CHART_README].contains(document);
    for document in DOCUMENTS.iter().filter(of_chart) {
        for block in blocks(&read(document)).iter().filter(|block| block.language == "yaml") {
            let of_prometheus = block.text.contains("scrape_configs:");
            if !of_prometheus && let Err(error) = Config::from_yaml(&block.text) {
                complaints.push(format!("{document}:{}: {error}", block.line));
            }
        }
    }
    none(&complaints);
}

#[test]
fn examples_of_other_files_load() {
    let mut seen = 0;
    for block in DOCUMENTS.iter().flat_map(|document| blocks(&read(document))) {
        let error = match &*block.language {
            "yaml web" => WebFile::parse(&block.text, Path::new("")).err(),
            "yaml users" => {
                let token = |_: &Path| Ok("0123456789abcdef".to_owned());
                UsersFile::parse(&block.text, Path::new(""), &token).err()
            }
            _ => continue,
        };
        assert_eq!(error, None, "{}", block.text);
        seen += 1;
    }
    assert!(seen >= 2, "docs/security.md shows both files");
}

/// The real binary; stopped when dropped.
struct Gateway {
    child: Child,
    address: String,
    /// Its working directory, with its store.
    directory: PathBuf,
}

impl Gateway {
    fn start() -> Gateway {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tallygate"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TALLYGATE__")) {
            command.env_remove(name);
        }
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("docs-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).expect("a directory below target/");
        command.current_dir(&directory);
        command.args(["--web.listen-address=127.0.0.1:0", "--web.drain-delay=0s"]);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("message=listening address=")?;
            rest.split(' ').next().map(str::to_owned)
        });
        // Keep reading, or the gateway would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Gateway { child, address: address.expect("it listens"), directory }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Every shell block after `<!-- tested -->` is run, in order, with one fresh gateway per document. A
/// text block right after it is what it must print.
#[test]
fn tested_examples_print_what_they_say() {
    let mut run = 0;
    for document in DOCUMENTS {
        let blocks = blocks(&read(document));
        if !blocks.iter().any(|block| block.before == "<!-- tested -->") {
            continue;
        }
        let gateway = Gateway::start();
        for (at, block) in blocks.iter().enumerate() {
            if block.before != "<!-- tested -->" {
                continue;
            }
            let script = block.text.replace("localhost:9091", &gateway.address);
            let output = Command::new("bash")
                .args(["-euo", "pipefail", "-c", &script])
                .output()
                .expect("bash runs");
            let printed = String::from_utf8_lossy(&output.stdout);
            let place = format!("{document}:{}", block.line);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{place}: {}\n{printed}{errors}", output.status);
            let expected = blocks.get(at + 1).filter(|next| next.before == "```");
            if let Some(expected) = expected.filter(|next| next.language == "text") {
                assert_eq!(printed.trim_end(), expected.text.trim_end(), "{place}");
            }
            run += 1;
        }
    }
    assert!(run >= 5, "only {run} examples found");
}
