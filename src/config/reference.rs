//! What can be configured, for people: for `--help`, and as tables for the README.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::reload::is_reloadable;
use super::schema::{Key, KeyKind, Section, schema};
use super::{ConfigErrors, Sources};

/// A section with everything there is to say about its keys.
#[derive(Debug)]
pub struct DescribedSection {
    pub section: &'static Section,
    pub keys: Vec<DescribedKey>,
}

/// A key, its default, and what stands for its value in help (`DURATION`).
#[derive(Debug)]
pub struct DescribedKey {
    pub key: &'static Key,
    pub placeholder: &'static str,
    pub default: String,
    /// A reload can change it.
    pub reloadable: bool,
}

/// All keys in the order of the default file.
///
/// # Errors
/// If the embedded defaults are invalid, which a test rules out.
pub fn describe() -> Result<Vec<DescribedSection>, ConfigErrors> {
    let defaults = Sources::default().load()?;
    let mut seen = BTreeMap::new();
    defaults.visit(&mut |key| _ = seen.insert(key.key, (key.placeholder, key.text)));
    let describe_key = |key: &'static Key| {
        let (placeholder, default) = seen.get(key.name).cloned().unwrap_or_default();
        DescribedKey { key, placeholder, default, reloadable: is_reloadable(key.name) }
    };
    let describe_section = |section: &'static Section| DescribedSection {
        section,
        keys: section.keys.iter().map(describe_key).collect(),
    };
    Ok(schema().sections.iter().map(describe_section).collect())
}

/// A table per section in Markdown. Empty if the embedded defaults are wrong, which a test rules
/// out.
pub fn markdown_reference() -> String {
    let mut out = String::from(
        "Each key is set by the file, by an environment variable or by a flag; later ones win. \
         Keys marked * take effect with the next start, all others also by a reload.\n",
    );
    for described in describe().unwrap_or_default() {
        let section = described.section;
        if section.keys.iter().all(|key| key.kind == KeyKind::Rules) {
            continue;
        }
        if section.name.is_empty() {
            out.push('\n');
        } else {
            let title = section.doc.first_paragraph();
            let _infallible = writeln!(out, "\n#### `{}`\n\n{title}\n", section.name);
        }
        out.push_str("| key | flag | variable | default | meaning |\n|---|---|---|---|---|\n");
        for key in &described.keys {
            row(&mut out, key);
        }
    }
    out
}

fn row(out: &mut String, described: &DescribedKey) {
    let DescribedKey { key, placeholder, default, reloadable } = described;
    let star = if *reloadable { "" } else { " *" };
    let flag = match key.kind {
        KeyKind::Switch => key.flag(),
        _ => format!("{}={placeholder}", key.flag()),
    };
    let default = if default.is_empty() { "empty".to_owned() } else { format!("`{default}`") };
    let _infallible = writeln!(
        out,
        "| `{}`{star} | `{}` | `{}` | {} | {} |",
        key.name,
        cell(&flag),
        key.variable(),
        cell(&default),
        cell(&key.doc.first_paragraph()),
    );
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
