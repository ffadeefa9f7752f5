//! Which rule wins, and what it does to a series.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::Grouping;
use crate::model::labels::{self, Label};

fn rule(selector: &str, change: impl FnOnce(&mut RawRule)) -> RawRule {
    let mut raw = RawRule { selector: selector.into(), ..RawRule::default() };
    change(&mut raw);
    raw
}

fn names(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

fn renames(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    Some(pairs.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect())
}

/// The labels of a series named `a` after a single rule.
#[track_caller]
fn relabelled(change: impl FnOnce(&mut RawRule), labels: &str) -> String {
    let rules = Rules::compile(&[rule("a", change)]).unwrap();
    let mut out = String::from("before ");
    let changed = rules.decide("a", labels).relabel.apply(labels, &mut out);
    let after = out["before ".len()..].to_owned();
    assert!(changed || after.is_empty());
    if changed { after } else { format!("unchanged {labels}") }
}

#[test]
fn first_match_wins_per_setting() {
    let minute = Ttl::After(Duration::from_secs(60));
    let rules = Rules::compile(&[
        rule(r#"queue_depth{job="a"}"#, |r| r.gauge = Some(GaugeRule::Max)),
        rule(r#"{job="a"}"#, |r| {
            r.gauge = Some(GaugeRule::Sum);
            r.ttl = Some(minute);
        }),
        rule("queue_depth", |r| {
            r.ttl = Some(Ttl::Never);
            r.untyped = Some(UntypedRule::Reject);
        }),
    ])
    .unwrap();
    let decide = |name, labels| {
        let decision = rules.decide(name, labels);
        (decision.gauge, decision.ttl, decision.untyped)
    };
    let reject = Some(UntypedRule::Reject);
    assert_eq!(decide("queue_depth", r#"job="a""#), (Some(GaugeRule::Max), Some(minute), reject));
    assert_eq!(decide("queue_depth", r#"job="b""#), (None, Some(Ttl::Never), reject));
    assert_eq!(decide("up", r#"job="a""#), (Some(GaugeRule::Sum), Some(minute), None));
    assert_eq!(rules.decide("up", r#"job="b""#), Decision::default());
    let family = rules.for_family("queue_depth");
    assert_eq!(family.deciding_rule(Setting::Ttl, r#"job="a""#), Some(2));
    assert_eq!(family.deciding_rule(Setting::Ttl, r#"job="b""#), Some(3));
    assert_eq!(family.deciding_rule(Setting::Drop, r#"job="b""#), None);
}

#[test]
fn an_earlier_rule_keeps_series_from_being_dropped() {
    let rules = Rules::compile(&[
        rule(r#"{__name__=~"go_.*",job="debug"}"#, |r| r.drop = Some(false)),
        rule(r#"{__name__=~"go_.*"}"#, |r| r.drop = Some(true)),
    ])
    .unwrap();
    assert!(!rules.decide("go_info", r#"job="debug""#).drop);
    assert!(rules.decide("go_info", r#"job="x""#).drop);
    assert!(!rules.decide("up", "").drop);
}

#[test]
fn an_empty_setting_shields_from_later_rules() {
    let rules = Rules::compile(&[
        rule("a", |r| r.drop_labels = names(&[])),
        rule("{}", |r| r.drop_labels = names(&["pod"])),
    ])
    .unwrap();
    assert!(rules.decide("a", r#"pod="x""#).relabel.is_identity());
    assert!(!rules.decide("b", r#"pod="x""#).relabel.is_identity());
}

#[test]
fn settings_of_several_rules_meet() {
    let rules = Rules::compile(&[
        rule("a", |r| r.rename_labels = renames(&[("zone", "region")])),
        rule("a", |r| r.rename = Some("b".into())),
        rule("{}", |r| r.drop_labels = names(&["pod"])),
    ])
    .unwrap();
    let decision = rules.decide("a", r#"pod="x",zone="z""#);
    let mut out = String::new();
    assert!(decision.relabel.apply(r#"pod="x",zone="z""#, &mut out));
    assert_eq!((decision.family, out.as_str()), (Some("b"), r#"region="z""#));
}

#[test]
fn a_family_that_no_rule_is_about() {
    let rules = Rules::compile(&[rule("a", |r| r.drop = Some(true))]).unwrap();
    let family = rules.for_family("b");
    assert!(family.is_empty());
    assert_eq!(family.for_every_series(), Some(Decision::default()));
    assert_eq!(family.decide(r#"x="y""#), Decision::default());
    let family = rules.for_family("a");
    assert!(!family.is_empty() && family.for_every_series().unwrap().drop);
    assert!(Rules::default().is_empty() && Rules::default().for_family("a").is_empty());
}

#[test]
fn labels_are_kept_dropped_and_renamed() {
    let labels = r#"a="1",b="\"\\\n","c.d"="3""#;
    for (change, expected) in [
        (RawRule { drop_labels: names(&["b"]), ..RawRule::default() }, r#"a="1","c.d"="3""#),
        (RawRule { drop_labels: names(&["c.d"]), ..RawRule::default() }, r#"a="1",b="\"\\\n""#),
        (RawRule { drop_labels: names(&["a", "b", "c.d"]), ..RawRule::default() }, ""),
        (RawRule { keep_labels: names(&["b", "x"]), ..RawRule::default() }, r#"b="\"\\\n""#),
        (RawRule { keep_labels: names(&[]), ..RawRule::default() }, ""),
        (
            RawRule { rename_labels: renames(&[("a", "z")]), ..RawRule::default() },
            r#"b="\"\\\n","c.d"="3",z="1""#,
        ),
        (
            RawRule { rename_labels: renames(&[("c.d", "a.b")]), ..RawRule::default() },
            r#"a="1","a.b"="3",b="\"\\\n""#,
        ),
        // Renamed to a label that exists: the renamed one wins.
        (
            RawRule { rename_labels: renames(&[("a", "b")]), ..RawRule::default() },
            r#"b="1","c.d"="3""#,
        ),
        // All at once, so labels can be swapped.
        (
            RawRule { rename_labels: renames(&[("a", "b"), ("b", "a")]), ..RawRule::default() },
            r#"a="\"\\\n",b="1","c.d"="3""#,
        ),
        (
            RawRule {
                drop_labels: names(&["b"]),
                rename_labels: renames(&[("a", "b")]),
                ..RawRule::default()
            },
            r#"b="1","c.d"="3""#,
        ),
    ] {
        let got = relabelled(|r| *r = RawRule { selector: "a".into(), ..change.clone() }, labels);
        assert_eq!(got, expected, "{change:?}");
    }
}

#[test]
fn labels_that_are_not_there_change_nothing() {
    let labels = r#"a="1""#;
    let unchanged = format!("unchanged {labels}");
    assert_eq!(relabelled(|r| r.drop_labels = names(&["x"]), labels), unchanged);
    assert_eq!(relabelled(|r| r.keep_labels = names(&["a", "x"]), labels), unchanged);
    assert_eq!(relabelled(|r| r.rename_labels = renames(&[("x", "a")]), labels), unchanged);
    assert_eq!(relabelled(|r| r.keep_labels = names(&[]), ""), "unchanged ");
}

#[test]
fn errors_name_the_rule() {
    let error =
        Rules::compile(&[rule("a", |r| r.drop = Some(true)), rule("b{", |r| r.drop = Some(true))])
            .unwrap_err();
    assert_eq!(
        error.to_string(),
        "rule 2 (match: b{): match: column 3: expected a label name, found the end"
    );
}

fn label_name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("c.d".to_owned()),
        Just("\"".to_owned()),
        Just("ü".to_owned()),
        Just("job".to_owned()),
    ]
}

fn label_set() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(label_name(), "[xy\"\\\\\n,=ü]{1,3}", 0..6)
}

fn canonical(set: &BTreeMap<String, String>) -> String {
    let mut labels: Vec<_> = set.iter().map(|(name, value)| Label::raw(name, value)).collect();
    let mut out = String::new();
    labels::write_canonical(&mut out, &mut labels, &Grouping::default()).unwrap();
    out
}

proptest! {
    /// Compares with a direct implementation of the settings, on maps.
    #[test]
    fn relabelling_is_canonical(
        set in label_set(),
        keep in prop::option::of(prop::collection::vec(label_name(), 0..4)),
        drop in prop::option::of(prop::collection::vec(label_name(), 0..4)),
        rename in prop::option::of(prop::collection::btree_map(label_name(), label_name(), 0..4)),
    ) {
        // Each setting in a rule of its own, since a rule must not contradict itself.
        let raw = [
            keep.clone().map(|keep| rule("{}", |r| r.keep_labels = Some(keep))),
            drop.clone().map(|drop| rule("{}", |r| r.drop_labels = Some(drop))),
            rename.clone().map(|rename| rule("{}", |r| r.rename_labels = Some(rename))),
        ];
        let raw: Vec<_> = raw.into_iter().flatten().collect();
        let Ok(rules) = Rules::compile(&raw) else { return Ok(()) };

        let mut kept = set.clone();
        kept.retain(|name, _| {
            keep.as_ref().is_none_or(|keep| keep.contains(name))
                && !drop.as_ref().is_some_and(|drop| drop.contains(name))
        });
        let new_name = |name: &String| rename.as_ref().and_then(|names| names.get(name));
        let mut expected: BTreeMap<String, String> = kept
            .iter()
            .filter(|(name, _)| new_name(name).is_none())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        expected.extend(
            kept.iter().filter_map(|(name, value)| Some((new_name(name)?.clone(), value.clone()))),
        );

        let text = canonical(&set);
        let mut out = String::new();
        let changed = rules.decide("x", &text).relabel.apply(&text, &mut out);
        prop_assert_eq!(if changed { &out } else { &text }, &canonical(&expected));
        prop_assert!(changed || out.is_empty());
    }

    /// Both ways to decide agree.
    #[test]
    fn by_family_as_by_series(
        set in label_set(),
        name in "[ab]",
        selectors in prop::collection::vec(
            prop_oneof![
                Just("a"), Just("b"), Just("{}"), Just(r#"{__name__=~"a|b",job="x"}"#),
                Just(r#"a{job!="x"}"#), Just(r#"{"c.d"=~".+"}"#), Just(r#"{__name__!="a"}"#),
            ],
            0..6,
        ),
        settings in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 6),
    ) {
        let raw: Vec<_> = selectors
            .iter()
            .zip(settings)
            .enumerate()
            .map(|(index, (selector, (gauge, ttl, drop)))| rule(selector, |r| {
                r.gauge = gauge.then(|| GaugeRule::ALL[index % 5]);
                r.ttl = ttl.then(|| Ttl::After(Duration::from_secs(index as u64 + 1)));
                r.drop = Some(drop);
            }))
            .collect();
        let rules = Rules::compile(&raw).unwrap();
        let text = canonical(&set);
        let family = rules.for_family(&name);
        let expected = rules.decide(&name, &text);
        prop_assert_eq!(family.decide(&text), expected);
        if let Some(every) = family.for_every_series() {
            prop_assert_eq!(every, expected);
        }
    }
}
