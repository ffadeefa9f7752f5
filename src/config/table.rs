//! A table in one of the YAML files beside the configuration (web configuration, users), read key by key.
//! Keys that nobody has asked for are unknown.

use std::collections::BTreeMap;

use ::config::{File, FileFormat, Source, Value, ValueKind};

use super::schema::nearest;
use super::setting::{Setting, scalar};

/// One table, and what is wrong with it so far.
pub(super) struct Table {
    /// With its parents: `tls_server_config`; empty for the file itself.
    name: String,
    values: BTreeMap<String, Value>,
    asked: Vec<&'static str>,
    problems: Vec<String>,
}

impl Table {
    /// A whole file. One without any key is an empty table.
    ///
    /// # Errors
    /// If it is no YAML, or no table.
    pub(super) fn of_text(text: &str) -> Result<Table, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let bare = |line: &str| {
            let line = line.trim();
            line.is_empty() || line.starts_with('#') || line == "---"
        };
        if text.lines().all(bare) {
            return Ok(Table::new(String::new(), BTreeMap::new()));
        }
        let values = File::from_str(text, FileFormat::Yaml).collect();
        let values = values.map_err(|error| format!("it is not a table in YAML: {error}"))?;
        Ok(Table::new(String::new(), values.into_iter().collect()))
    }

    fn new(name: String, values: BTreeMap<String, Value>) -> Table {
        Table { name, values, asked: Vec::new(), problems: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The table below this one; empty where there is none.
    pub(super) fn table(&mut self, key: &'static str) -> Table {
        let value = self.take(key);
        let name = self.full(key);
        Table::new(name, self.entries(key, value))
    }

    /// The entries of a table with arbitrary keys, in the order of the keys.
    pub(super) fn free_table(&mut self, key: &'static str) -> Vec<(String, Value)> {
        let value = self.take(key);
        self.entries(key, value).into_iter().collect()
    }

    /// One of the values of [`Table::free_table`] as a table of fixed keys.
    pub(super) fn of_value(&mut self, key: &str, name: &str, value: Value) -> Table {
        let key = format!("{key}.{name}");
        let values = self.entries(&key, Some(value));
        Table::new(self.full(&key), values)
    }

    fn entries(&mut self, key: &str, value: Option<Value>) -> BTreeMap<String, Value> {
        match value.map(|value| value.kind) {
            None | Some(ValueKind::Nil) => BTreeMap::new(),
            Some(ValueKind::Table(table)) => table.into_iter().collect(),
            Some(_) => {
                self.wrong(key, "a table is expected");
                BTreeMap::new()
            }
        }
    }

    /// `None` where the key is missing or wrong.
    pub(super) fn get<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        let value = self.take(key)?;
        self.note(key, T::read(&value))
    }

    /// A text that no message shows. `None` if it is empty.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.take(key)?;
        self.note(key, scalar(&value)).filter(|text| !text.is_empty())
    }

    /// A list of texts. A single text is a list of one.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<String> {
        let Some(value) = self.take(key) else { return Vec::new() };
        self.note(key, texts(&value)).unwrap_or_default()
    }

    /// Each text of a list as a choice. For unknown ones, the nearest known one is suggested.
    pub(super) fn choices<T>(
        &mut self,
        key: &'static str,
        find: impl Fn(&str) -> Option<T>,
        known: impl Fn() -> Vec<&'static str>,
    ) -> Vec<T> {
        let mut found = Vec::new();
        for text in self.texts(key) {
            match find(&text) {
                Some(choice) => found.push(choice),
                None => {
                    let reason = unknown(&text, &known());
                    self.wrong(key, &reason);
                }
            }
        }
        found
    }

    /// [`Table::choices`] of one.
    pub(super) fn choice<T>(
        &mut self,
        key: &'static str,
        find: impl Fn(&str) -> Option<T>,
        known: impl Fn() -> Vec<&'static str>,
    ) -> Option<T> {
        let text = self.text(key)?;
        let found = find(&text);
        if found.is_none() {
            self.wrong(key, &unknown(&text, &known()));
        }
        found
    }

    fn note<T>(&mut self, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|reason| self.wrong(key, &reason)).ok()
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.asked.push(key);
        self.values.remove(key).filter(|value| value.kind != ValueKind::Nil)
    }

    pub(super) fn wrong(&mut self, key: &str, reason: &str) {
        let key = self.full(key);
        self.problems.push(format!("{key}: {reason}"));
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// Adds everything that is wrong, including keys that nobody has asked for.
    pub(super) fn finish(mut self, problems: &mut Vec<String>) {
        for key in std::mem::take(&mut self.values).into_keys() {
            let hint = nearest(&key, self.asked.iter().copied());
            let hint = hint.map(|hint| format!("; did you mean {hint}?")).unwrap_or_default();
            let key = self.full(&key);
            self.problems.push(format!("unknown key {key}{hint}"));
        }
        problems.append(&mut self.problems);
    }
}

/// A text, or a list of texts.
pub(super) fn texts(value: &Value) -> Result<Vec<String>, String> {
    match &value.kind {
        ValueKind::Array(values) => values.iter().map(scalar).collect(),
        _ => Ok(vec![scalar(value)?]),
    }
}

fn unknown(text: &str, known: &[&'static str]) -> String {
    match nearest(text, known.iter().copied()) {
        Some(hint) => format!("{text:?} is unknown; did you mean {hint}?"),
        None => format!("{text:?} is unknown; accepted are {}", known.join(", ")),
    }
}
