//! What can be wrong with a configuration. Everything is reported at once.

use std::fmt;
use std::path::PathBuf;

use crate::rules::RuleProblem;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Default,
    File(PathBuf),
    /// The name of the variable.
    Environment(String),
    /// The flag with its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("the defaults"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("cannot read the configuration file {}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{origin} cannot be understood: {reason}")]
    Syntax { origin: Origin, reason: String },
    #[error("{origin}: unknown {what} {name}{}", did_you_mean(nearest))]
    Unknown { origin: Origin, what: &'static str, name: String, nearest: Option<String> },
    #[error("{key} ({origin}): a section is expected here, with keys below it")]
    NoSection { key: String, origin: Origin },
    #[error("{key} ({origin}): rules are a list, so they can only stand in the file")]
    RulesOutsideFile { key: String, origin: Origin },
    #[error("{key} is {value} ({origin}): {reason}")]
    Value {
        key: String,
        /// Ready to be shown.
        value: String,
        origin: Origin,
        reason: String,
    },
    #[error("{origin} is not UTF-8")]
    NotUtf8 { origin: Origin },
    #[error("{origin}, rule {number}{}: {problem}", shown_selector(selector))]
    Rule { number: usize, selector: String, origin: Origin, problem: RuleFault },
    #[error("{0}")]
    Conflict(String),
}

/// What is wrong with one rule of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    #[error("a rule is a table with the key match and at least one setting")]
    NoTable,
    #[error("it has no match; write match: '{{}}' for all series")]
    NoMatch,
    #[error("unknown key {name}{}", did_you_mean(nearest))]
    UnknownKey { name: String, nearest: Option<String> },
    #[error("{key}: {reason}")]
    Value { key: String, reason: String },
    #[error(transparent)]
    Meaning(#[from] RuleProblem),
}

/// Everything that is wrong, one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Problem>);

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or(String::new(), |nearest| format!("; did you mean {nearest}?"))
}

fn shown_selector(selector: &str) -> String {
    if selector.is_empty() { String::new() } else { format!(" ({selector})") }
}
