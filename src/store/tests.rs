//! What is not visible from outside: the bookkeeping of new and removed series.

use super::*;
use crate::merge::Refusal;
use crate::model::{
    Exposition, GaugeRule, Grouping, Kind, Label, Number, ReadBuffer, Reading, UntypedRule,
};

fn context(group: &str) -> PushContext<'_> {
    PushContext { group, stamp: 0, now_ms: 1_000_000, limits: StoreLimits::default() }
}

/// Pushes one counter family with these values of the label `a`.
fn push(store: &Store, group: &str, name: &str, values: &[&str]) {
    let mut exposition = Exposition::new(store.hasher().clone());
    let grouping = Grouping::default();
    let mut builder = exposition.build(&grouping);
    let family = builder.family(name);
    builder.set_kind(family, Kind::Counter);
    for value in values {
        let series = builder.series(family, &mut [Label::raw("a", *value)]).unwrap();
        builder.set_scalar(series, 1.0).unwrap();
    }
    builder.finish().unwrap();
    store
        .admit(
            &store.commits().enter(),
            &exposition,
            context(group),
            |_| Terms::default(),
            &mut Plan::default(),
        )
        .unwrap()
        .apply();
}

#[test]
fn a_store_prints_each_series_once_per_place() {
    let store = Store::default();
    let values: Vec<String> = (0..20).map(|i| format!("v{i}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    push(&store, "job=\"j\"", "x_total", &values);
    // The group, the table of series, the table and the list of families.
    assert_eq!(format!("{store:?}").matches("x_total{a=\"v7\"}").count(), 4);
}

#[test]
fn a_scrape_never_meets_a_series_before_its_first_value() {
    use std::sync::atomic::AtomicBool;

    // Whatever the rule, the value before the first push is not one that was pushed.
    for rule in [GaugeRule::Last, GaugeRule::Sum, GaugeRule::Min, GaugeRule::Max] {
        let store = Store::default();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut exposition = Exposition::new(store.hasher().clone());
                let grouping = Grouping::default();
                for round in 0..3_000 {
                    let mut builder = exposition.build(&grouping);
                    // Create new families as well.
                    let family = builder.family(&format!("g{}", round % 100));
                    builder.set_kind(family, Kind::Gauge);
                    let label = round.to_string();
                    let series = builder.series(family, &mut [Label::raw("a", &*label)]).unwrap();
                    builder.set_scalar(series, 7.0).unwrap();
                    builder.finish().unwrap();
                    let rules = MergeRules { gauge: rule, untyped: UntypedRule::Sum };
                    let terms = |_: &PushedSeries<'_>| Terms { rules, ..Terms::default() };
                    store
                        .admit(
                            &store.commits().enter(),
                            &exposition,
                            context(""),
                            terms,
                            &mut Plan::default(),
                        )
                        .unwrap()
                        .apply();
                }
                done.store(true, Relaxed);
            });
            let mut buffer = ReadBuffer::default();
            while !done.load(Relaxed) {
                for family in store.families().iter() {
                    let all = family.series();
                    assert!(!all.is_empty(), "a family without series");
                    for series in all.iter() {
                        series.with_state(|state| state.read(Kind::Gauge, 160, &mut buffer));
                        assert_eq!(buffer.reading(), Reading::Gauge(7.0), "{rule}");
                    }
                }
            }
        });
    }
}

/// Pushes summaries by labels and sum, of which a rule then drops the labels.
fn push_twins(
    store: &Store,
    series: &[(&str, Option<f64>)],
    limits: StoreLimits,
) -> Result<Applied, AdmitError> {
    let mut exposition = Exposition::new(store.hasher().clone());
    let grouping = Grouping::default();
    let mut builder = exposition.build(&grouping);
    let family = builder.family("s");
    builder.set_kind(family, Kind::Summary);
    let mut ids = Vec::new();
    for (label, sum) in series {
        let series = builder.series(family, &mut [Label::raw("a", *label)]).unwrap();
        builder.set_count(series, Number::Int(1)).unwrap();
        if let Some(sum) = sum {
            builder.set_sum(series, *sum).unwrap();
        }
        ids.push(series);
    }
    builder.finish().unwrap();
    ids.iter().for_each(|id| exposition.rename_series(*id, Some("s"), Some("")));
    let context = PushContext { limits, ..context("") };
    let mut plan = Plan::default();
    store
        .admit(&store.commits().enter(), &exposition, context, |_| Terms::default(), &mut plan)
        .map(Admitted::apply)
}

#[test]
fn series_that_become_one_are_born_once() {
    let store = Store::default();
    let limits = StoreLimits { series: 1, series_per_job: 1, ..StoreLimits::default() };
    let applied = push_twins(&store, &[("1", None), ("2", Some(1.0)), ("3", None)], limits);
    assert_eq!(applied, Ok(Applied { series_merged: 3, series_born: 1 }));
}

#[test]
fn series_that_become_one_agree_on_having_a_sum() {
    let store = Store::default();
    let refused = push_twins(&store, &[("1", Some(1.0)), ("2", None)], StoreLimits::default());
    let expected = AdmitError::Refused {
        family: "s".to_owned(),
        series: "s{}".to_owned(),
        refusal: Refusal::NoSum,
    };
    assert_eq!(refused, Err(expected));
    assert_eq!((store.series_count(), store.family_count()), (0, 0));
}

#[test]
fn limits_that_are_passed_already_hold_up_births_only() {
    let store = Store::default();
    push(&store, "", "x_total", &["1", "2"]);
    let limits = StoreLimits { series: 1, series_per_job: 1, families: 0, bucket_bounds: 1 };
    let mut exposition = Exposition::new(store.hasher().clone());
    let grouping = Grouping::default();
    for (label, fine) in [("1", true), ("3", false)] {
        let mut builder = exposition.build(&grouping);
        let family = builder.family("x_total");
        builder.set_kind(family, Kind::Counter);
        // Not known yet, so that the push has to create something.
        builder.set_unit(family, "seconds");
        let series = builder.series(family, &mut [Label::raw("a", label)]).unwrap();
        builder.set_scalar(series, 1.0).unwrap();
        builder.finish().unwrap();
        let context = PushContext { limits, ..context("") };
        let mut plan = Plan::default();
        let pass = store.commits().enter();
        let admitted = store.admit(&pass, &exposition, context, |_| Terms::default(), &mut plan);
        assert_eq!(admitted.is_ok(), fine, "{label}");
    }
}

/// One sample, with this kind and rule for untyped samples.
fn push_one(
    store: &Store,
    kind: Kind,
    untyped: UntypedRule,
    label: &str,
    value: f64,
) -> Result<Applied, AdmitError> {
    let mut exposition = Exposition::new(store.hasher().clone());
    let grouping = Grouping::default();
    let mut builder = exposition.build(&grouping);
    let family = builder.family("x");
    builder.set_kind(family, kind);
    let series = builder.series(family, &mut [Label::raw("a", label)]).unwrap();
    builder.set_scalar(series, value).unwrap();
    builder.finish().unwrap();
    let rules = MergeRules { untyped, gauge: GaugeRule::Last };
    let terms = |_: &PushedSeries<'_>| Terms { rules, ..Terms::default() };
    store
        .admit(&store.commits().enter(), &exposition, context(""), terms, &mut Plan::default())
        .map(Admitted::apply)
}

fn shown(store: &Store) -> Vec<String> {
    let mut buffer = ReadBuffer::default();
    let mut shown = Vec::new();
    for family in store.families().iter() {
        for series in family.series().iter() {
            series.with_state(|state| state.read(family.kind(), 160, &mut buffer));
            shown.push(format!("{:?}", buffer.reading()));
        }
    }
    shown
}

#[test]
fn an_untyped_series_that_turns_out_to_count_goes_on_as_a_sum() {
    let store = Store::default();
    // Merged by `last`, until the rules change and the client begins to send the type.
    push_one(&store, Kind::Untyped, UntypedRule::Last, "1", 5.0).unwrap();
    push_one(&store, Kind::Untyped, UntypedRule::Last, "1", 4.0).unwrap();
    push_one(&store, Kind::Untyped, UntypedRule::Last, "2", 7.0).unwrap();
    push_one(&store, Kind::Counter, UntypedRule::Sum, "1", 3.0).unwrap();
    push_one(&store, Kind::Untyped, UntypedRule::Sum, "2", 2.0).unwrap();
    let counters =
        ["Counter { value: 8.0, exemplar: None }", "Counter { value: 9.0, exemplar: None }"];
    assert_eq!(shown(&store), counters);
}

#[test]
fn samples_without_a_type_join_a_counter_by_their_own_rule() {
    let store = Store::default();
    push_one(&store, Kind::Counter, UntypedRule::Sum, "1", 5.0).unwrap();
    // Two series of one run; the rule of the first lets it in, that of the second does not.
    let mut exposition = Exposition::new(store.hasher().clone());
    let grouping = Grouping::default();
    let mut builder = exposition.build(&grouping);
    let family = builder.family("x");
    for label in ["1", "2"] {
        let series = builder.series(family, &mut [Label::raw("a", label)]).unwrap();
        builder.set_scalar(series, 1.0).unwrap();
    }
    builder.finish().unwrap();
    for (second, fine) in
        [(UntypedRule::Last, false), (UntypedRule::Reject, false), (UntypedRule::Sum, true)]
    {
        let terms = |series: &PushedSeries<'_>| {
            let untyped = if series.labels == "a=\"2\"" { second } else { UntypedRule::Sum };
            Terms { rules: MergeRules { untyped, ..MergeRules::default() }, ..Terms::default() }
        };
        let mut plan = Plan::default();
        let pass = store.commits().enter();
        let admitted = store.admit(&pass, &exposition, context(""), terms, &mut plan);
        assert_eq!(admitted.is_ok(), fine, "{second}");
    }
}

/// Each group lists its live series, each at the place it knows.
fn check_groups(store: &Store) {
    let structure = store.structure.lock();
    let mut listed = 0;
    for (key, members) in structure.groups.iter() {
        assert!(!members.is_empty(), "{key:?}");
        for series in &members {
            assert!(!series.is_dead() && series.group() == key.as_str());
        }
        listed += members.len();
    }
    assert_eq!(listed, store.series_count());
    assert_eq!(structure.jobs.values().sum::<usize>(), store.series_count());
}

#[test]
fn groups_list_their_series_through_births_and_removals() {
    let store = Store::default();
    let labels: Vec<String> = (0..150).map(|i| i.to_string()).collect();
    for round in 0..200_usize {
        let some: Vec<&str> =
            labels.iter().skip(round % 7).step_by(1 + round % 5).map(String::as_str).collect();
        push(&store, ["", "job=\"j\"", "job=\"k\""][round % 3], "x_total", &some);
        match round % 4 {
            0 => {
                let gone = labels[round % 150].as_str();
                store.remove_matching(false, |_, labels| labels == format!("a=\"{gone}\""));
            }
            1 => {
                store.remove_matching(false, |_, labels| labels.len() % 2 == round / 4 % 2);
            }
            _ => {}
        }
        check_groups(&store);
    }
    for group in ["", "job=\"j\"", "job=\"k\""] {
        store.remove_group(group, false);
        check_groups(&store);
    }
    assert_eq!((store.series_count(), store.family_count()), (0, 0));
    assert!(store.structure.lock().groups.is_empty());
}

#[test]
fn what_has_died_is_let_go_of_without_a_scrape() {
    let store = Store::default();
    push(&store, "stays", "x_total", &["stays"]);
    for round in 0..1_000 {
        let label = round.to_string();
        push(&store, "goes", "x_total", &[&label]);
        push(&store, "goes", &format!("y{label}_total"), &["1"]);
        assert_eq!(store.remove_group("goes", false).series, 2);
    }
    let family = store.find_family("x_total", store.hasher.family("x_total")).unwrap();
    assert!(family.index.held() < 10, "{} series held", family.index.held());
    assert!(store.family_index.held() < 10, "{} families held", store.family_index.held());
}

#[test]
fn a_family_is_freed_with_its_last_series() {
    let store = Store::default();
    let remove: [fn(&Store); 3] = [
        |store| drop(store.remove_group("", false)),
        |store| drop(store.remove_matching(false, |_, _| true)),
        |store| drop(store.remove_expired(u32::MAX, u32::MAX)),
    ];
    for (removal, scraped) in remove.iter().flat_map(|removal| [(removal, false), (removal, true)])
    {
        let mut exposition = Exposition::new(store.hasher().clone());
        let grouping = Grouping::default();
        let mut builder = exposition.build(&grouping);
        let family = builder.family("x");
        for label in ["1", "2", "3"] {
            let series = builder.series(family, &mut [Label::raw("a", label)]).unwrap();
            builder.set_scalar(series, 1.0).unwrap();
        }
        builder.finish().unwrap();
        let terms = |_: &PushedSeries<'_>| Terms { ttl_s: 1, ..Terms::default() };
        store
            .admit(&store.commits().enter(), &exposition, context(""), terms, &mut Plan::default())
            .unwrap()
            .apply();
        if scraped {
            assert_eq!(shown(&store).len(), 3);
        }
        let family = Arc::downgrade(&store.find_family("x", store.hasher.family("x")).unwrap());
        removal(&store);
        assert!(family.upgrade().is_none(), "held by its own series");
    }
}

#[test]
fn a_store_is_freed_with_all_families() {
    let store = Store::default();
    push(&store, "", "x_total", &["1", "2"]);
    let family = Arc::downgrade(&store.families()[0]);
    drop(store);
    assert!(family.upgrade().is_none(), "held by its own series");
}
