//! The layers of a configuration. Each of them is checked for unknown keys.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ::config::{ConfigError, File, FileFormat, Map, Source, Value, ValueKind};

use super::problem::{Origin, Problem};
use super::schema::{
    DEFAULT_YAML, ENVIRONMENT_PREFIX, Key, KeyKind, flag_name, schema, variable_name,
};

/// Everything that a configuration is read from, so that it can be read again.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// Variables of the process. Those that are not ours are ignored.
    pub environment: Vec<(OsString, OsString)>,
    /// Key (`web.listen_address`) and value of each flag.
    pub flags: Vec<(&'static str, String)>,
}

/// The keys that one source sets.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    values: BTreeMap<&'static str, Value>,
    origins: BTreeMap<&'static str, Origin>,
}

impl Layer {
    pub(super) fn origins(&self) -> &BTreeMap<&'static str, Origin> {
        &self.origins
    }

    fn set(&mut self, key: &Key, value: Value, origin: Origin) {
        self.values.insert(key.name, value);
        self.origins.insert(key.name, origin);
    }

    pub(super) fn defaults(problems: &mut Vec<Problem>) -> Layer {
        Layer::yaml(DEFAULT_YAML, Origin::Default, problems)
    }

    pub(super) fn file(path: &Path, problems: &mut Vec<Problem>) -> Layer {
        let mut unreadable = |reason: String| {
            problems.push(Problem::Unreadable { path: path.to_owned(), reason });
            Layer::default()
        };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => return unreadable(error.to_string()),
        };
        match String::from_utf8(bytes) {
            Ok(text) => {
                let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
                Layer::yaml(text, Origin::File(path.to_owned()), problems)
            }
            Err(_) => unreadable("it is not UTF-8".to_owned()),
        }
    }

    pub(super) fn yaml(text: &str, origin: Origin, problems: &mut Vec<Problem>) -> Layer {
        let mut layer = Layer::default();
        match File::from_str(text, FileFormat::Yaml).collect() {
            Ok(values) => layer.add_tables(sorted(values), &origin, problems),
            Err(ConfigError::FileParse { cause, .. }) => {
                problems.push(Problem::Syntax { origin, reason: cause.to_string() });
            }
            Err(error) => problems.push(Problem::Syntax { origin, reason: error.to_string() }),
        }
        layer
    }

    fn add_tables(
        &mut self,
        values: BTreeMap<String, Value>,
        origin: &Origin,
        problems: &mut Vec<Problem>,
    ) {
        for (name, value) in values {
            if !schema().is_section(&name) {
                self.add_value(name, value, origin, problems);
                continue;
            }
            match value.kind {
                ValueKind::Table(table) => {
                    for (key, value) in sorted(table) {
                        self.add_value(format!("{name}.{key}"), value, origin, problems);
                    }
                }
                // All keys of the section are commented out.
                ValueKind::Nil => {}
                _ => problems.push(Problem::NoSection { key: name, origin: origin.clone() }),
            }
        }
    }

    fn add_value(
        &mut self,
        name: String,
        value: Value,
        origin: &Origin,
        problems: &mut Vec<Problem>,
    ) {
        match schema().key(&name) {
            Some(key) => self.set(key, value, origin.clone()),
            None => problems.push(Problem::Unknown {
                nearest: schema().nearest(&name).map(str::to_owned),
                origin: origin.clone(),
                what: if matches!(value.kind, ValueKind::Table(_)) { "section" } else { "key" },
                name,
            }),
        }
    }

    /// Variables with our prefix, except the one that names the file.
    pub(super) fn environment(
        variables: &[(OsString, OsString)],
        problems: &mut Vec<Problem>,
    ) -> Layer {
        let mut layer = Layer::default();
        for (name, value) in variables {
            let name = name.to_string_lossy();
            if !name.starts_with(ENVIRONMENT_PREFIX) || name == FILE_VARIABLE {
                continue;
            }
            let origin = Origin::Environment(name.to_string());
            let key = name[ENVIRONMENT_PREFIX.len()..].to_lowercase().replace("__", ".");
            let Some(value) = value.to_str() else {
                problems.push(Problem::NotUtf8 { origin });
                continue;
            };
            match schema().key(&key) {
                Some(key) if key.kind == KeyKind::Rules => {
                    problems.push(Problem::RulesOutsideFile { key: key.name.to_owned(), origin });
                }
                Some(key) => layer.set(key, value.into(), origin),
                None => problems.push(Problem::Unknown {
                    nearest: schema().nearest(&key).map(variable_name),
                    origin: Origin::Environment(name.to_string()),
                    what: "key",
                    name: key,
                }),
            }
        }
        layer
    }

    pub(super) fn flags(flags: &[(&'static str, String)]) -> Layer {
        let mut layer = Layer::default();
        for (name, value) in flags {
            let Some(key) = schema().key(name) else { continue };
            let value = match layer.values.get(key.name) {
                // Only lists may be repeated; the command line makes sure of that.
                Some(earlier) => format!("{earlier},{value}"),
                None => value.clone(),
            };
            layer.set(key, value.into(), Origin::Flag(flag_name(name)));
        }
        layer
    }
}

/// The variable that names the configuration file, unless the flag does.
pub const FILE_VARIABLE: &str = "TALLYGATE__CONFIG__FILE";

/// Variables that seem to be meant for us but have single underscores, each with its right name. The
/// variables that Kubernetes injects for a service are never among them.
pub(super) fn misnamed_variables(variables: &[(OsString, OsString)]) -> Vec<(String, String)> {
    let flat = |key: &Key| key.variable().replace("__", "_");
    let names = variables.iter().filter_map(|(name, _)| name.to_str());
    names
        .filter(|name| is_like_ours(name) && !name.starts_with(ENVIRONMENT_PREFIX))
        .filter_map(|name| {
            let key = schema().keys().find(|key| flat(key) == name.replace("__", "_"))?;
            Some((name.to_owned(), key.variable()))
        })
        .collect()
}

/// Other variables may contain secrets of other programs, and are not kept.
pub(crate) fn is_like_ours(name: &str) -> bool {
    name.starts_with("TALLYGATE_")
}

/// Gives errors a stable order.
fn sorted(map: Map<String, Value>) -> BTreeMap<String, Value> {
    map.into_iter().collect()
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.values.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }
}
