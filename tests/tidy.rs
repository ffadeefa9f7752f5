//! The layers and layout of the source, as described in docs/ARCHITECTURE.md. Cargo enforces the
//! direction of imports between crates; within this one crate these tests do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Who may import whom, from the bottom up: a module may name only modules above it in this table,
/// and of those the ones in its list. `app`, `cli` and `main` put everything together.
const LAYERS: [(&str, &[&str]); 20] = [
    ("model", &[]),
    ("units", &[]),
    ("clock", &[]),
    ("random", &[]),
    ("lifecycle", &[]),
    ("striped", &[]),
    ("merge", &["model"]),
    ("auth", &["model", "random"]),
    ("rules", &["model"]),
    ("format", &["model"]),
    ("telemetry", &["model", "striped"]),
    ("persistence", &["model", "striped", "telemetry"]),
    ("store", &["model", "striped", "merge", "persistence"]),
    ("groups", &["model", "format", "persistence"]),
    ("import", &["model", "format", "groups"]),
    ("delivery", &["model", "persistence"]),
    (
        "gateway",
        &[
            "model",
            "clock",
            "random",
            "striped",
            "merge",
            "rules",
            "format",
            "telemetry",
            "persistence",
            "store",
            "groups",
            "delivery",
        ],
    ),
    ("http", &["model", "units", "lifecycle", "auth", "format", "telemetry", "gateway"]),
    ("config", &["model", "units", "auth", "rules"]),
    ("cli", &["model", "clock", "random", "format", "telemetry", "delivery", "gateway", "config"]),
];

/// Names of the crate root that are not modules.
const ROOT_ITEMS: [&str; 1] = ["REVISION"];

/// What only some files may name: the beginning of a name, and where it is allowed.
const CONFINED: &[(&str, &[&str])] = &[
    ("actix", &["http/"]),
    ("getrandom", &["random.rs"]),
    ("siphasher", &["delivery/"]),
    ("ureq", &["cli/client.rs"]),
    ("dashmap", &["store/table.rs"]),
    ("prost", &["format/"]),
    ("metrics::", &["telemetry/"]),
    ("regex", &["rules/"]),
    ("rustix", &["persistence/disk/files.rs", "app/open_files.rs"]),
    ("rustls", &["http/", "cli/"]),
    ("x509_cert", &["http/"]),
    ("bcrypt::", &["auth/"]),
    ("ring::", &["auth/", "http/", "cli/"]),
    ("tokio", &["app/", "http/", "lifecycle.rs"]),
    ("xxhash", &["persistence/disk/format.rs", "persistence/disk/index.rs"]),
];

/// Layers without side effects: time comes as an argument, and nothing is logged, awaited, read or
/// sent.
const PURE: [&str; 9] = [
    "model/",
    "units.rs",
    "merge/",
    "rules/",
    "format/",
    "store/",
    "groups/",
    "import/",
    "delivery/",
];
const IMPURE: [&str; 9] = [
    "SystemTime",
    "Instant",
    "tracing",
    "async",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
];

/// Longer files are hard to find one's way in.
const LINES_MAX: usize = 700;

/// Files that are too long today. Remove them from this list when they are split; add none.
const TOO_LONG: [&str; 0] = [];

/// One file below `src`.
struct Source {
    /// The path below `src`, with slashes.
    path: String,
    text: String,
    /// Whether it is only compiled for tests.
    test: bool,
    generated: bool,
}

impl Source {
    /// Its lines, with their numbers, without those of tests. Comments become empty lines.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let until = match self.test {
            true => Some(0),
            false => self.text.find("#[cfg(test)]\nmod tests {"),
        };
        let text = &self.text[..until.unwrap_or(self.text.len())];
        text.lines().enumerate().map(|(at, line)| {
            let comment = line.trim_start().starts_with("//");
            (at + 1, if comment { "" } else { line })
        })
    }

    /// The top-level module that it is part of.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| match place.strip_suffix('/') {
            Some(folder) => self.module() == folder,
            None => self.path == *place,
        })
    }
}

/// All source files, sorted by path.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 50, "only {} files found", sources.len());
    sources
}

fn read_folder(folder: &Path, prefix: &str, into: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("read a folder of src") {
        let file = entry.expect("read an entry of src").path();
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        let path = format!("{prefix}{name}");
        if file.is_dir() {
            read_folder(&file, &format!("{path}/"), into);
        } else if path.ends_with(".rs") {
            let text = fs::read_to_string(&file).expect("read a file of src");
            let mut parts = path.split('/');
            let test = parts.any(|part| matches!(part, "tests" | "tests.rs" | "testing.rs"));
            let generated = text.lines().next().is_some_and(|line| line.contains("@generated"));
            into.push(Source { path, text, test, generated });
        }
    }
}

/// Fails with all complaints, if there are any, and what to do about them.
#[track_caller]
fn none(complaints: &[String], advice: &str) {
    assert!(complaints.is_empty(), "\n{}\n{advice}\n", complaints.join("\n"));
}

/// The first names of the paths in `text` that start at the root of the crate, each with its byte
/// offset. `at_root` says whether `super` is the root.
fn root_names(text: &str, at_root: bool) -> Vec<(usize, &str)> {
    let mut names = Vec::new();
    let roots = if at_root { &["crate::", "super::"][..] } else { &["crate::"] };
    for root in roots {
        for (at, _) in text.match_indices(root) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c == '_' || c == ':' || c.is_alphanumeric()) {
                continue;
            }
            let start = at + root.len();
            let rest = &text[start..];
            if rest.starts_with('{') {
                names.extend(group_names(rest).map(|(offset, name)| (start + offset, name)));
            } else {
                names.push((start, identifier(rest)));
            }
        }
    }
    names
}

/// The first names of the paths in `{a::b, c, d::{e, f}}`.
fn group_names(group: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut depth = 0;
    let mut ended = false;
    group.char_indices().filter_map(move |(at, c)| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        ended |= depth == 0;
        let begins = depth == 1 && matches!(c, '{' | ',');
        let rest = group[at + 1..].trim_start();
        let skipped = group.len() - at - rest.len();
        (begins && !ended).then(|| (at + skipped, identifier(rest))).filter(|(_, n)| !n.is_empty())
    })
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len());
    &text[..end]
}

/// Whether a word of the line begins with `name`; `metrics::` does not match `api::metrics::`.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c == '_' || c == ':' || c.is_alphanumeric())
    })
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "use crate::{model::Kind, store, format::{text, encode::Plan}};\n\
                let x = crate::merge::check();\nuse super::clock::Now;\nuse mycrate::nothing;\n";
    let found = |at_root| root_names(text, at_root).into_iter().map(|(_, name)| name);
    assert_eq!(found(false).collect::<Vec<_>>(), ["model", "store", "format", "merge"]);
    assert_eq!(found(true).next_back(), Some("clock"));
    assert!(names("use actix_web::rt;", "actix"));
    assert!(names("    metrics::with_local_recorder(", "metrics::"));
    assert!(!names("api::metrics::all(); my_metrics::x()", "metrics::"));
}

#[test]
fn modules_import_only_what_lies_below_them() {
    let allowed: BTreeMap<&str, &[&str]> = LAYERS.into_iter().collect();
    let mut complaints = Vec::new();
    let mut above = BTreeSet::new();
    for (module, imports) in LAYERS {
        for import in imports.iter().filter(|import| !above.contains(*import)) {
            complaints.push(format!("{module} may import {import}, which is not below it"));
        }
        above.insert(module);
    }
    none(&complaints, "LAYERS in tests/tidy.rs goes from the bottom up.");

    for source in sources() {
        let module = source.module();
        if matches!(module, "lib" | "main" | "app") {
            continue;
        }
        let Some(imports) = allowed.get(module) else {
            complaints.push(format!("src/{}: module {module} has no layer", source.path));
            continue;
        };
        // Comments and tests become empty lines, so that line numbers stay right.
        let code: String = source.code().flat_map(|(_, line)| [line, "\n"]).collect();
        let at_root =
            source.path == format!("{module}.rs") || source.path == format!("{module}/mod.rs");
        for (at, name) in root_names(&code, at_root) {
            let other = allowed.contains_key(name) || name == "app" || name == "cli";
            let ours = name == module || ROOT_ITEMS.contains(&name) || imports.contains(&name);
            if other && !ours {
                let line = line_of(&code, at);
                complaints.push(format!(
                    "src/{}:{line}: {module} imports {name}; it may import {}",
                    source.path,
                    if imports.is_empty() { "nothing of ours".into() } else { imports.join(", ") },
                ));
            }
        }
    }
    none(
        &complaints,
        "Move the code to the layer it belongs to, or hand down what it needs as an argument. \
         Layers are in LAYERS of tests/tidy.rs and in docs/ARCHITECTURE.md.",
    );
}

#[test]
fn the_architecture_shows_the_same_layers() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md");
    let text = fs::read_to_string(file).expect("read docs/ARCHITECTURE.md");
    let mut complaints = Vec::new();
    for (module, imports) in LAYERS {
        let imports = if imports.is_empty() { "nothing".into() } else { imports.join(", ") };
        let (start, end) = (format!("| `{module}` | "), format!(" | {imports} |"));
        if !text.lines().any(|line| line.starts_with(&start) && line.ends_with(&end)) {
            complaints.push(format!("docs/ARCHITECTURE.md: no row {start}…{end}"));
        }
    }
    none(&complaints, "Its module map has to follow LAYERS of tests/tidy.rs.");
}

#[test]
fn some_crates_are_named_in_one_place_only() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| !source.test) {
        for (name, places) in CONFINED.iter().filter(|(_, places)| !source.is_in(places)) {
            for (number, _) in source.code().filter(|(_, line)| names(line, name)) {
                let (path, places) = (&source.path, places.join(", src/"));
                complaints.push(format!(
                    "src/{path}:{number}: names {name}, which only src/{places} may"
                ));
            }
        }
    }
    none(&complaints, "So that a crate can be replaced, one module knows it: ask that module.");
}

#[test]
fn the_lower_layers_are_pure() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| !source.test && source.is_in(&PURE)) {
        for name in IMPURE {
            for (number, _) in source.code().filter(|(_, line)| names(line, name)) {
                complaints.push(format!("src/{}:{number}: names {name}", source.path));
            }
        }
    }
    none(
        &complaints,
        "These layers take the time as an argument and leave logging, waiting, files and sockets \
         to those above.",
    );
}

#[test]
fn nothing_panics_by_unwrap() {
    let mut complaints = Vec::new();
    for source in sources() {
        for (number, _) in source.code().filter(|(_, line)| line.contains(".unwrap()")) {
            complaints.push(format!("src/{}:{number}: unwrap()", source.path));
        }
    }
    none(&complaints, "Return an error, or write expect(\"why it holds\").");
}

#[test]
fn every_file_says_what_it_is_for() {
    let untold = sources()
        .into_iter()
        .filter(|source| !source.generated && !source.text.starts_with("//! "));
    let complaints: Vec<_> = untold.map(|source| format!("src/{}", source.path)).collect();
    none(&complaints, "Begin the file with a line or two of //! that say what it is for, and why.");
}

#[test]
fn no_file_is_too_long() {
    let mut complaints = Vec::new();
    let mut known: BTreeSet<&str> = TOO_LONG.into_iter().collect();
    for source in sources().iter().filter(|source| !source.generated) {
        let (path, lines) = (&source.path, source.text.lines().count());
        match (known.remove(path.as_str()), lines > LINES_MAX) {
            (false, true) => complaints.push(format!(
                "src/{path} has {lines} lines, more than {LINES_MAX}: split it, or move its tests \
                 to a file of their own"
            )),
            (true, false) => complaints.push(format!(
                "src/{path} has become short enough: take it off TOO_LONG in tests/tidy.rs"
            )),
            _ => {}
        }
    }
    complaints.extend(known.iter().map(|path| format!("src/{path} in TOO_LONG does not exist")));
    none(&complaints, "");
}
