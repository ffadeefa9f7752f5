//! From merged layers to typed values. Everything that is wrong is collected.

use std::collections::BTreeMap;

use ::config::{ConfigError, Map, Source, Value, ValueKind};

use super::layers::Layer;
use super::problem::{Origin, Problem, RuleFault};
use super::rules;
use super::setting::{Setting, shown};
use crate::rules::Rules;

/// Merged layers, the later ones winning.
pub(super) struct Reader<'p> {
    values: Map<String, Value>,
    origins: BTreeMap<&'static str, Origin>,
    problems: &'p mut Vec<Problem>,
}

impl<'p> Reader<'p> {
    pub(super) fn new(
        layers: Vec<Layer>,
        problems: &'p mut Vec<Problem>,
    ) -> Result<Reader<'p>, ConfigError> {
        let mut origins = BTreeMap::new();
        let mut builder = ::config::Config::builder();
        for layer in layers {
            origins.extend(layer.origins().clone());
            builder = builder.add_source(layer);
        }
        let values = builder.build()?.collect()?;
        Ok(Reader { values, origins, problems })
    }

    pub(super) fn into_origins(self) -> BTreeMap<&'static str, Origin> {
        self.origins
    }

    pub(super) fn get<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        let value = self.value(key);
        match T::read(&value) {
            Ok(value) => Some(value),
            Err(reason) => {
                let value = if T::SECRET { "hidden".to_owned() } else { shown(&value) };
                self.wrong(key, value, reason);
                None
            }
        }
    }

    pub(super) fn check<T: Setting>(
        &mut self,
        key: &'static str,
        value: Option<T>,
        refuse: impl Fn(&T) -> Option<String>,
    ) -> Option<T> {
        let value = value?;
        match refuse(&value) {
            Some(reason) => {
                self.wrong(key, value.text(), reason);
                None
            }
            None => Some(value),
        }
    }

    pub(super) fn rules(&mut self) -> Option<Rules> {
        let value = self.value("rules");
        let origin = self.origin("rules");
        let values = match value.kind {
            ValueKind::Array(values) => values,
            ValueKind::Nil => Vec::new(),
            _ => {
                let value = self.value("rules");
                let reason = "a list of rules is expected, each with match and settings".to_owned();
                self.wrong("rules", shown(&value), reason);
                return None;
            }
        };
        let mut compiled = Vec::new();
        let before = self.problems.len();
        for (number, value) in (1..).zip(values) {
            match rules::compile(value) {
                Ok(rule) => compiled.push(rule),
                Err((selector, faults)) => {
                    let problem = |problem: RuleFault| Problem::Rule {
                        number,
                        selector: selector.clone(),
                        origin: origin.clone(),
                        problem,
                    };
                    self.problems.extend(faults.into_iter().map(problem));
                }
            }
        }
        (self.problems.len() == before).then(|| compiled.into_iter().collect())
    }

    /// Every key has a value, if only a default.
    fn value(&self, key: &str) -> Value {
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        let found = match self.values.get(section) {
            Some(value) if name.is_empty() => Some(value),
            Some(Value { kind: ValueKind::Table(table), .. }) => table.get(name),
            _ => None,
        };
        found.cloned().unwrap_or_default()
    }

    fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    fn wrong(&mut self, key: &str, value: String, reason: String) {
        let origin = self.origin(key);
        self.problems.push(Problem::Value { key: key.to_owned(), value, origin, reason });
    }
}
