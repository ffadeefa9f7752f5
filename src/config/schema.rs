//! The keys, read from the default file, so that they cannot differ from it.

use std::sync::LazyLock;

/// The defaults and the reference in one.
pub const DEFAULT_YAML: &str = include_str!("../../config/default.yaml");

/// The prefix of environment variables. It has two underscores because Kubernetes injects `TALLYGATE_PORT`
/// and the like for a service of that name, and those are none of our business.
pub const ENVIRONMENT_PREFIX: &str = "TALLYGATE__";

/// How similar a misspelt key and a suggestion must be at least.
const LIKENESS_MIN: f64 = 0.6;

/// All keys, in the order of the default file.
#[derive(Debug)]
pub struct Schema {
    pub sections: Vec<Section>,
}

/// Keys that belong together.
#[derive(Debug)]
pub struct Section {
    /// Empty for keys that are in no section.
    pub name: &'static str,
    pub doc: Doc,
    pub keys: Vec<Key>,
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// With its section: `web.listen_address`.
    pub name: &'static str,
    pub doc: Doc,
    pub kind: KeyKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// One value.
    Scalar,
    /// True or false; as a flag it needs no value.
    Switch,
    /// Several values; as a flag it may be repeated.
    List,
    /// The list of rules, for the file only.
    Rules,
}

/// A comment of the default file, without its marks; paragraphs are separated by empty lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doc(String);

pub fn schema() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::read(DEFAULT_YAML));
    &SCHEMA
}

impl Schema {
    /// Reads comments and keys, two levels deep. Values are left to the YAML parser.
    fn read(yaml: &'static str) -> Schema {
        let mut sections: Vec<Section> = Vec::new();
        let mut comment: Vec<&str> = Vec::new();
        for line in yaml.lines() {
            let text = line.trim_start();
            if text.is_empty() {
                comment.clear();
            } else if let Some(words) = text.strip_prefix('#') {
                comment.push(words.strip_prefix(' ').unwrap_or(words));
            } else if let Some((name, value)) = text.split_once(':') {
                let doc = Doc(comment.join("\n"));
                comment.clear();
                let value = value.trim();
                if value.is_empty() {
                    sections.push(Section { name, doc, keys: Vec::new() });
                } else if line.starts_with(' ') {
                    if let Some(section) = sections.last_mut() {
                        let name = [section.name, name].join(".").leak();
                        section.keys.push(Key { name, doc, kind: KeyKind::of(name, value) });
                    }
                } else {
                    let key = Key { name, doc, kind: KeyKind::of(name, value) };
                    sections.push(Section { name: "", doc: Doc::default(), keys: vec![key] });
                }
            }
        }
        Schema { sections }
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.sections.iter().flat_map(|section| &section.keys)
    }

    pub fn key(&self, name: &str) -> Option<&Key> {
        self.keys().find(|key| key.name == name)
    }

    pub fn is_section(&self, name: &str) -> bool {
        !name.is_empty() && self.sections.iter().any(|section| section.name == name)
    }

    /// The key or section that a misspelt one is likely to be.
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        let sections = self.sections.iter().map(|section| section.name);
        let candidates = self.keys().map(|key| key.name).chain(sections.filter(|s| !s.is_empty()));
        nearest(name, candidates)
    }
}

/// The candidate that is most similar to `name`, if any is. The last part of a dotted key is also compared
/// alone, to find the right key in the wrong section, and so is the beginning of a longer one.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let last = |name: &'a str| name.rsplit_once('.').map_or(name, |(_, last)| last);
    let wanted = name.rsplit_once('.').map_or(name, |(_, last)| last);
    let likeness = |candidate: &'a str| {
        let whole = strsim::normalized_damerau_levenshtein(name, candidate);
        let part = strsim::normalized_damerau_levenshtein(wanted, last(candidate));
        let begins = wanted.len() >= 3 && last(candidate).starts_with(wanted);
        whole.max(part * 0.9).max(if begins { LIKENESS_MIN } else { 0.0 })
    };
    candidates
        .into_iter()
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

impl Key {
    /// `--web.listen-address`
    pub fn flag(&self) -> String {
        flag_name(self.name)
    }

    /// `TALLYGATE__WEB__LISTEN_ADDRESS`
    pub fn variable(&self) -> String {
        variable_name(self.name)
    }
}

pub fn flag_name(key: &str) -> String {
    if key == "web.config_file" {
        // Everything else that reads such a file calls the flag so.
        return "--web.config.file".to_owned();
    }
    format!("--{}", key.replace('_', "-"))
}

pub(super) fn variable_name(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "__").to_uppercase())
}

impl KeyKind {
    fn of(name: &str, value: &str) -> KeyKind {
        match value {
            "true" | "false" => KeyKind::Switch,
            _ if name == "rules" => KeyKind::Rules,
            _ if value.starts_with('[') => KeyKind::List,
            _ => KeyKind::Scalar,
        }
    }
}

impl Doc {
    /// As they are in the file. An example is a paragraph of its own.
    pub fn paragraphs(&self) -> impl Iterator<Item = &str> {
        self.0.split("\n\n")
    }

    /// The first paragraph, on one line.
    pub fn first_paragraph(&self) -> String {
        let first = self.paragraphs().next().unwrap_or_default();
        first.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The first sentence, on one line.
    pub fn first_sentence(&self) -> String {
        let paragraph = self.first_paragraph();
        match paragraph.find(". ") {
            Some(end) => paragraph[..=end].to_owned(),
            None => paragraph,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_line_reader_and_the_yaml_parser_see_the_same_keys() {
        use config::{File, FileFormat, Source};
        let parsed = File::from_str(DEFAULT_YAML, FileFormat::Yaml).collect().unwrap();
        let mut expected = BTreeSet::new();
        for (name, value) in parsed {
            match value.clone().into_table() {
                Ok(table) => expected.extend(table.keys().map(|key| format!("{name}.{key}"))),
                Err(_) => _ = expected.insert(name),
            }
        }
        let read: BTreeSet<_> = schema().keys().map(|key| key.name.to_owned()).collect();
        assert_eq!(read, expected);
        assert_eq!(schema().keys().count(), expected.len());
    }

    #[test]
    fn every_key_and_section_is_documented() {
        for section in &schema().sections {
            assert!(section.name.is_empty() || section.doc != Doc::default(), "{}", section.name);
            for key in &section.keys {
                let text = key.doc.first_paragraph();
                assert!(text.ends_with('.'), "{}: {text:?}", key.name);
            }
        }
    }

    #[test]
    fn kinds_and_names() {
        let key = schema().key("web.listen_address").unwrap();
        assert_eq!(key.kind, KeyKind::List);
        assert_eq!(key.flag(), "--web.listen-address");
        assert_eq!(key.variable(), "TALLYGATE__WEB__LISTEN_ADDRESS");
        assert_eq!(schema().key("web.enable_lifecycle").unwrap().kind, KeyKind::Switch);
        assert_eq!(schema().key("mode").unwrap().kind, KeyKind::Scalar);
        assert_eq!(schema().key("rules").unwrap().kind, KeyKind::Rules);
        assert!(schema().is_section("web") && !schema().is_section("mode"));
    }

    #[test]
    fn misspelt_keys_find_theirs() {
        for (wrong, right) in [
            ("web.listen_adress", Some("web.listen_address")),
            ("web.listen", Some("web.listen_address")),
            ("limit", Some("limits")),
            ("limits.bodybytes", Some("limits.body_bytes")),
            ("web.body_bytes", Some("limits.body_bytes")),
            ("gzip_level", Some("scrape.gzip_level")),
            ("rule", Some("rules")),
            ("nothing.alike", None),
            ("", None),
        ] {
            assert_eq!(schema().nearest(wrong), right, "{wrong}");
        }
    }

    #[test]
    fn sentences() {
        let doc = Doc("One\ntwo. Three.\n\nFour.".into());
        assert_eq!(doc.first_sentence(), "One two.");
        assert_eq!(doc.first_paragraph(), "One two. Three.");
    }
}
