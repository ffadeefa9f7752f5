//! Compares groups with a naive model that looks at everything for every push.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::exposition::Names;
use crate::model::{Exposition, Label, Number};
use crate::persistence::memory::Records;
use crate::persistence::{Batch, Record, Table};

/// A pushed series: family, kind, and labels of the body.
type Pushed = (&'static str, Kind, Vec<(&'static str, &'static str)>);

#[derive(Clone, Debug)]
enum Step {
    Push { group: usize, replace: Replace, series: Vec<Pushed>, value: f64 },
    Delete(usize),
    Wipe,
}

const GROUPS: [&[(&str, &str)]; 5] = [
    &[("job", "a")],
    &[("job", "b")],
    &[("job", "a"), ("l", "1")],
    &[("job", "a"), ("l", "")],
    &[("job", "a"), ("instance", "i")],
];

fn step() -> impl Strategy<Value = Step> {
    let kind =
        prop::sample::select(vec![Kind::Gauge, Kind::Counter, Kind::Summary, Kind::Histogram]);
    let name =
        prop::sample::select(vec!["x", "x_sum", "x_count", "x_bucket", "y", "own", PUSH_TIME]);
    let label = prop::sample::select(vec![("l", "1"), ("l", "2"), ("instance", "i"), ("m", "")]);
    let series = (name, kind, prop::collection::vec(label, 0..2));
    let replace = prop::sample::select(vec![Replace::Group, Replace::Families]);
    prop_oneof![
        12 => (0..GROUPS.len(), replace, prop::collection::vec(series, 0..4), 0..5_u8).prop_map(
            |(group, replace, series, value)| Step::Push {
                group, replace, series, value: f64::from(value),
            }
        ),
        2 => (0..GROUPS.len()).prop_map(Step::Delete),
        1 => Just(Step::Wipe),
    ]
}

fn grouping(group: usize) -> Grouping {
    Grouping::of_group(GROUPS[group].iter().copied()).unwrap()
}

/// The families of a push; the first series of a name decides its kind.
fn parsed(groups: &Groups, key: &Grouping, series: &[Pushed], value: f64) -> Exposition {
    let mut exposition = Exposition::new(groups.hasher().clone());
    let mut builder = exposition.build_replacing(key, Names::Legacy);
    for (name, kind, labels) in series {
        let known = builder.find_family(name);
        let family = builder.family(name);
        if known.is_none() {
            builder.set_kind(family, *kind);
        }
        let mut labels: Vec<_> = labels.iter().map(|(n, v)| Label::raw(*n, *v)).collect();
        let id = builder.series(family, &mut labels).unwrap();
        match builder.kind(family) {
            Kind::Summary | Kind::Histogram => builder.set_count(id, Number::Int(1)).unwrap(),
            _ => builder.set_scalar(id, value).unwrap(),
        }
    }
    builder.finish().unwrap();
    exposition
}

/// What a family holds: kind, and values by labels.
type Shown = (Kind, BTreeMap<String, String>);
type Group = BTreeMap<String, Shown>;

fn shown(families: &[Arc<Family>]) -> Group {
    let series = |family: &Family| {
        family
            .series
            .iter()
            .map(|one| (one.labels.to_string(), format!("{:?}", one.value)))
            .collect()
    };
    families.iter().map(|family| (family.name.to_string(), (family.kind, series(family)))).collect()
}

/// Whether all groups and our own family are consistent.
fn consistent(groups: &BTreeMap<usize, Group>) -> bool {
    let mut kinds: BTreeMap<&str, Kind> = BTreeMap::from([("own", Kind::Gauge)]);
    let mut seen = BTreeSet::new();
    for (name, (kind, series)) in groups.values().flatten() {
        if *kinds.entry(name).or_insert(*kind) != *kind {
            return false;
        }
        if !series.keys().all(|labels| seen.insert((name, labels))) {
            return false;
        }
    }
    let owns = |name: &str, kind: Kind| {
        kind.sample_suffixes().iter().any(|suffix| kinds.contains_key(&*format!("{name}{suffix}")))
    };
    !kinds.iter().any(|(name, kind)| owns(name, *kind))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn groups_are_what_a_naive_model_says(steps in prop::collection::vec(step(), 1..25)) {
        let groups = Groups::new(SeriesHasher::default(), [("own", Kind::Gauge)], true);
        let mut model: BTreeMap<usize, Group> = BTreeMap::new();
        let mut records = Records::default();
        for (now, step) in (1..).zip(steps) {
            match step {
                Step::Push { group, replace, series, value } => {
                    let key = grouping(group);
                    let exposition = parsed(&groups, &key, &series, value);
                    let pushed = families(&exposition, false, now);
                    let mut after = model.clone();
                    let there = after.entry(group).or_default();
                    if replace == Replace::Group {
                        there.clear();
                    }
                    there.extend(shown(&pushed));
                    there.remove(PUSH_TIME);
                    let good = exposition.complaints().is_empty() && consistent(&after);
                    if good {
                        model = after;
                    } else {
                        model.entry(group).or_default();
                    }
                    let result = groups.push(GroupPush {
                        grouping: &key,
                        replace,
                        families: pushed,
                        complaints: exposition.complaints(),
                        complaints_left_out: 0,
                        now_ns: now,
                        room: Room::default(),
            added_up: &|_| None,
                    });
                    prop_assert_eq!(result.is_ok(), good, "{:?}", result);
                    let stored = groups.snapshot();
                    let stored = stored.iter().find(|one| one.grouping.key() == key.key()).unwrap();
                    let stamp = if good { stored.pushed } else { stored.failed };
                    prop_assert_eq!(stamp, Stamp::now(now));
                }
                Step::Delete(group) => {
                    let there = model.remove(&group).is_some();
                    prop_assert_eq!(groups.delete(grouping(group).key()), there);
                }
                Step::Wipe => prop_assert_eq!(groups.wipe(), std::mem::take(&mut model).len()),
            }
            let stored: BTreeMap<String, Group> = groups
                .snapshot()
                .iter()
                .map(|group| (group.grouping.key().to_owned(), shown(&group.families)))
                .collect();
            let expected: BTreeMap<String, Group> =
                model.iter().map(|(group, of)| (grouping(*group).key().to_owned(), of.clone())).collect();
            prop_assert_eq!(stored, expected);
            if now % 3 != 0 {
                commit(&groups, &mut records);
            }
            let all = model.values().flatten();
            let size = groups.size();
            prop_assert_eq!(size.series, all.clone().map(|(_, (_, series))| series.len()).sum::<usize>());
            prop_assert_eq!(size.families, all.map(|(name, _)| name).collect::<BTreeSet<_>>().len());
        }
        commit(&groups, &mut records);
        let restored = Groups::new(SeriesHasher::default(), [("own", Kind::Gauge)], true);
        restore(&restored, &records);
        prop_assert_eq!(restored.size(), groups.size());
        let all = |groups: &Groups| -> Vec<_> {
            let group = |group: &Arc<super::Group>| {
                (group.grouping.clone(), group.pushed, group.failed, shown(&group.families))
            };
            groups.snapshot().iter().map(group).collect()
        };
        prop_assert_eq!(all(&restored), all(&groups));
    }
}

/// Writes the changes to the records, as to a disk.
fn commit(groups: &Groups, records: &mut Records) {
    let mut batch = Batch::default();
    groups.collect(&mut batch);
    records.apply(&batch).unwrap();
}

fn restore(groups: &Groups, records: &Records) {
    for Record { table, key, value, state } in records.iter() {
        assert_eq!((table, state), (Table::Groups, None));
        groups.restore(key, value).unwrap();
    }
}

#[test]
fn everything_of_a_family_survives_in_a_record() {
    let text = "# HELP h H\"\\\\\n# TYPE h histogram\nh_bucket{le=\"2\"} 1.5\nh_bucket{le=\"1\"} 3\n\
                h_sum NaN\nh_count 2\n# TYPE s summary\ns{quantile=\"0.9\",a=\"\"} -0\n\
                s{quantile=\"0.5\",a=\"\"} NaN\ns_count{a=\"\"} 7\nu{b=\"x\\n\"} -Inf\n";
    let groups = Groups::new(SeriesHasher::default(), [], true);
    let key = grouping(3);
    let mut exposition = Exposition::new(groups.hasher().clone());
    let builder = exposition.build_replacing(&key, Names::Legacy);
    crate::format::text::parse(text.as_bytes(), builder, Default::default()).unwrap();
    groups
        .push(GroupPush {
            grouping: &key,
            replace: Replace::Group,
            families: families(&exposition, false, 7),
            complaints: &[],
            complaints_left_out: 0,
            now_ns: 7,
            room: Room::default(),
            added_up: &|_| None,
        })
        .unwrap();
    let mut records = Records::default();
    commit(&groups, &mut records);
    let restored = Groups::new(groups.hasher().clone(), [], true);
    restore(&restored, &records);
    // Compared as text, because NaN is not equal to itself.
    assert_eq!(format!("{:?}", restored.snapshot()), format!("{:?}", groups.snapshot()));
    // A second copy of a series would belong to another group.
    let twin = records.iter().find(|record| record.key.ends_with(b"u")).unwrap();
    assert!(restored.restore(twin.key, twin.value).is_err());
    for Record { key, value, .. } in records.iter() {
        for end in 0..value.len() {
            let fresh = Groups::new(SeriesHasher::default(), [], true);
            let cut = fresh.restore(key, &value[..end]);
            assert!(cut.is_err() || fresh.size().series < restored.size().series, "{end}");
        }
    }
    let newer: Vec<u8> = [&[2][..], &[0; 32]].concat();
    assert!(restored.restore(twin.key, &newer).unwrap_err().contains("version 2"));
}

#[test]
fn all_clashes_are_told() {
    let groups = Groups::new(SeriesHasher::default(), [("own", Kind::Gauge)], true);
    let push = |key: &Grouping, series: &[Pushed]| {
        let exposition = parsed(&groups, key, series, 1.0);
        groups.push(GroupPush {
            grouping: key,
            replace: Replace::Families,
            families: families(&exposition, false, 1),
            complaints: exposition.complaints(),
            complaints_left_out: 0,
            now_ns: 1,
            room: Room { series: 8, families: 4 },
            added_up: &|name| (name == "sum").then_some(Kind::Summary),
        })
    };
    let first: &[Pushed] = &[
        ("x", Kind::Gauge, vec![("l", "1")]),
        ("h", Kind::Histogram, vec![]),
        ("g", Kind::Gauge, vec![]),
    ];
    push(&grouping(0), first).unwrap();
    let series: &[Pushed] = &[
        ("x", Kind::Gauge, vec![]),
        ("own", Kind::Counter, vec![]),
        ("h_sum", Kind::Gauge, vec![]),
        ("s", Kind::Summary, vec![("quantile", "1")]),
        ("g", Kind::Counter, vec![]),
    ];
    let Err(PushRefused::Clash(refused)) = push(&grouping(2), series) else { panic!("accepted") };
    let told = refused.to_string();
    for clash in [
        r#"metric "own" is a counter, but that of the gateway itself of this name is a gauge"#,
        r#"metric "h_sum" has the name of the samples of the histogram "h""#,
        r#"series x{instance="",job="a",l="1"} is in the group {job="a"} already"#,
        r#"series s{instance="",job="a",l="1",quantile="1"} of a summary has a label "quantile""#,
        r#"metric "g" is a counter, but that of another group of this name is a gauge"#,
    ] {
        assert!(told.contains(clash), "{clash}\n{told}");
    }
    // Clashes with a family that is added up.
    let series: &[Pushed] = &[("sum", Kind::Summary, vec![]), ("sum_count", Kind::Gauge, vec![])];
    let Err(PushRefused::Clash(refused)) = push(&grouping(2), series) else { panic!("accepted") };
    assert!(refused.to_string().contains("cannot be both added up and replaced"), "{refused}");
    let held = groups.hold();
    assert!(held.check([("other", Kind::Summary), ("x_count", Kind::Gauge)]).is_ok());
    for (name, kind) in [
        ("x", Kind::Gauge),
        ("own", Kind::Gauge),
        ("h_count", Kind::Gauge),
        (PUSH_TIME, Kind::Gauge),
    ] {
        assert!(held.check([(name, kind)]).is_err(), "{name}");
    }
    drop(held);
    // A push for which there is no room leaves no trace.
    let many: &[Pushed] = &[("a", Kind::Gauge, vec![]), ("b", Kind::Gauge, vec![])];
    let found = push(&grouping(1), many);
    assert_eq!(found, Err(PushRefused::TooManySeries { max: 8, found: 11 }));
    assert_eq!(groups.size(), Size { groups: 2, families: 3, series: 3 });
}

#[test]
fn a_record_may_be_longer_than_the_longest_metric_in_a_push() {
    let pushed = Groups::new(SeriesHasher::default(), [], true);
    let key = grouping(0);
    let mut exposition = Exposition::new(pushed.hasher().clone());
    let mut builder = exposition.build_replacing(&key, Names::Legacy);
    let family = builder.family("x");
    builder.set_kind(family, Kind::Gauge);
    // 4 MiB, which is the limit.
    let value = "v".repeat(4 << 20);
    let series = builder.series(family, &mut [Label::raw("l", &*value)]).unwrap();
    builder.set_scalar(series, 1.0).unwrap();
    builder.finish().unwrap();
    let push = GroupPush {
        grouping: &key,
        replace: Replace::Group,
        families: families(&exposition, true, 1),
        complaints: &[],
        complaints_left_out: 0,
        now_ns: 1,
        room: Room::default(),
        added_up: &|_| None,
    };
    pushed.push(push).unwrap();
    let mut records = Records::default();
    commit(&pushed, &mut records);
    let restored = Groups::new(SeriesHasher::default(), [], true);
    restore(&restored, &records);
    assert_eq!(restored.size(), pushed.size());
}
