//! Rules as they stand in the file.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use ::config::{Value, ValueKind};

use super::problem::RuleFault;
use super::schema;
use super::setting::{Setting as _, scalar};
use crate::model::{GaugeRule, Ttl, UntypedRule};
use crate::rules::{RawRule, Rule, Setting};

/// # Errors
/// With the selector, if there is one, and everything that is wrong with the rule.
pub(super) fn compile(value: Value) -> Result<Rule, (String, Vec<RuleFault>)> {
    let (raw, mut faults) = read(value);
    if faults.is_empty() {
        match Rule::compile(&raw) {
            Ok(rule) => return Ok(rule),
            Err(problem) => faults.push(problem.into()),
        }
    }
    Err((raw.selector, faults))
}

fn read(value: Value) -> (RawRule, Vec<RuleFault>) {
    let mut rule = RawRule::default();
    let ValueKind::Table(table) = value.kind else {
        return (rule, vec![RuleFault::NoTable]);
    };
    let mut faults = Vec::new();
    if !table.contains_key("match") {
        faults.push(RuleFault::NoMatch);
    }
    let values: BTreeMap<String, Value> = table.into_iter().collect();
    for (key, value) in &values {
        let result = if key == "match" {
            scalar(value).map(|selector| rule.selector = selector)
        } else if let Some(setting) = Setting::ALL.into_iter().find(|s| s.word() == key) {
            set(&mut rule, setting, value)
        } else {
            let words = Setting::ALL.map(Setting::word);
            let nearest = schema::nearest(key, words.into_iter().chain(["match"]));
            faults.push(RuleFault::UnknownKey {
                name: key.clone(),
                nearest: nearest.map(str::to_owned),
            });
            continue;
        };
        if let Err(reason) = result {
            faults.push(RuleFault::Value { key: key.clone(), reason });
        }
    }
    (rule, faults)
}

fn set(rule: &mut RawRule, setting: Setting, value: &Value) -> Result<(), String> {
    match setting {
        Setting::Gauge => rule.gauge = Some(GaugeRule::read(value)?),
        Setting::Untyped => rule.untyped = Some(UntypedRule::read(value)?),
        Setting::Ttl => rule.ttl = Some(Ttl::read(value)?),
        Setting::NativeBuckets => {
            let buckets = NonZeroUsize::new(usize::read(value)?);
            rule.native_buckets = Some(buckets.ok_or("at least 1 is expected")?);
        }
        Setting::RequireKey => rule.require_key = Some(bool::read(value)?),
        Setting::Drop => rule.drop = Some(bool::read(value)?),
        Setting::Rename => rule.rename = Some(scalar(value)?),
        Setting::DropLabels => rule.drop_labels = Some(names(value)?),
        Setting::KeepLabels => rule.keep_labels = Some(names(value)?),
        Setting::RenameLabels => rule.rename_labels = Some(renames(value)?),
    }
    Ok(())
}

fn names(value: &Value) -> Result<Vec<String>, String> {
    match &value.kind {
        ValueKind::Array(values) => values.iter().map(scalar).collect(),
        _ => Err("a list of label names is expected, such as [instance, pod]".to_owned()),
    }
}

fn renames(value: &Value) -> Result<BTreeMap<String, String>, String> {
    match &value.kind {
        ValueKind::Table(table) => {
            table.iter().map(|(old, new)| Ok((old.clone(), scalar(new)?))).collect()
        }
        _ => Err("a table of old and new label names is expected, such as {node: host}".to_owned()),
    }
}
