//! The configuration as YAML that loads back.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::schema::{KeyKind, flag_name, schema};
use super::setting::{Setting as _, quoted};
use super::{Config, Origin};
use crate::rules::{RawRule, Rules, Setting};

impl Config {
    /// In the order of the default file. Values that are not defaults say where they come from. Secrets are
    /// hidden; everything else loads back as it is.
    pub fn to_yaml(&self) -> String {
        let mut values = BTreeMap::new();
        self.visit(&mut |seen| _ = values.insert(seen.key, seen.yaml));
        let mut out = String::new();
        for section in &schema().sections {
            if !section.name.is_empty() {
                line(&mut out, &format!("{}:", section.name), &Origin::Default);
            }
            for key in &section.keys {
                let origin = self.origin(key.name);
                if key.kind == KeyKind::Rules {
                    write_rules(&mut out, &self.rules, origin);
                } else if let Some(value) = values.get(key.name) {
                    let (indent, name) = match key.name.split_once('.') {
                        Some((_, name)) => ("  ", name),
                        None => ("", key.name),
                    };
                    line(&mut out, &format!("{indent}{name}: {value}"), origin);
                }
            }
        }
        out
    }
}

impl Config {
    /// Flags with the values in force, `--web.listen-address` to `:9091`. Secrets are hidden.
    pub fn flags(&self) -> BTreeMap<String, String> {
        let mut flags = BTreeMap::new();
        self.visit(&mut |seen| _ = flags.insert(flag_name(seen.key), seen.text));
        flags
    }
}

fn line(out: &mut String, text: &str, origin: &Origin) {
    out.push_str(text);
    if *origin != Origin::Default {
        // A name from outside must not break out of the comment.
        let origin = origin.to_string().replace(char::is_control, "?");
        let _infallible = write!(out, "  # {origin}");
    }
    out.push('\n');
}

fn write_rules(out: &mut String, rules: &Rules, origin: &Origin) {
    if rules.is_empty() {
        return line(out, "rules: []", origin);
    }
    line(out, "rules:", origin);
    for rule in rules.iter() {
        let _infallible = writeln!(out, "  - match: {}", quoted(&rule.raw().selector));
        for setting in Setting::ALL {
            if let Some(value) = setting_yaml(rule.raw(), setting) {
                let _infallible = writeln!(out, "    {}: {value}", setting.word());
            }
        }
    }
}

fn setting_yaml(rule: &RawRule, setting: Setting) -> Option<String> {
    let list = |names: &Vec<String>| {
        let quoted: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        format!("[{}]", quoted.join(", "))
    };
    let table = |pairs: &BTreeMap<String, String>| {
        let pairs = pairs.iter().map(|(old, new)| format!("{}: {}", quoted(old), quoted(new)));
        format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
    };
    match setting {
        Setting::Gauge => rule.gauge.map(|rule| rule.yaml()),
        Setting::Untyped => rule.untyped.map(|rule| rule.yaml()),
        Setting::Ttl => rule.ttl.map(|ttl| ttl.yaml()),
        Setting::NativeBuckets => rule.native_buckets.map(|buckets| buckets.get().yaml()),
        Setting::RequireKey => rule.require_key.map(|required| required.yaml()),
        Setting::Drop => rule.drop.map(|drop| drop.yaml()),
        Setting::Rename => rule.rename.as_deref().map(quoted),
        Setting::DropLabels => rule.drop_labels.as_ref().map(list),
        Setting::KeepLabels => rule.keep_labels.as_ref().map(list),
        Setting::RenameLabels => rule.rename_labels.as_ref().map(table),
    }
}
