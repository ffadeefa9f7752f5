//! What cannot be seen from outside: the books that births and removals keep.

use super::*;
use crate::model::{Grouping, Label};

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
        .admit(&exposition, context(group), |_| Terms::default(), &mut Plan::default())
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
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    // Whatever the rule, the value before the first push is none that anybody pushed.
    for rule in [GaugeRule::Last, GaugeRule::Sum, GaugeRule::Min, GaugeRule::Max] {
        let store = Store::default();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut exposition = Exposition::new(store.hasher().clone());
                let grouping = Grouping::default();
                for round in 0..3_000 {
                    let mut builder = exposition.build(&grouping);
                    // Families are born as well.
                    let family = builder.family(&format!("g{}", round % 100));
                    builder.set_kind(family, Kind::Gauge);
                    let label = round.to_string();
                    let series = builder.series(family, &mut [Label::raw("a", &*label)]).unwrap();
                    builder.set_scalar(series, 7.0).unwrap();
                    builder.finish().unwrap();
                    let rules = MergeRules { gauge: rule, untyped: UntypedRule::Sum };
                    let terms = |_: &PushedSeries<'_>| Terms { rules, ..Terms::default() };
                    store
                        .admit(&exposition, context(""), terms, &mut Plan::default())
                        .unwrap()
                        .apply();
                }
                done.store(true, Relaxed);
            });
            let mut buffer = crate::model::ReadBuffer::default();
            while !done.load(Relaxed) {
                for family in store.families().iter() {
                    let all = family.series();
                    assert!(!all.is_empty(), "a family without series");
                    for series in all.iter() {
                        series.with_state(|state| state.read(Kind::Gauge, 160, &mut buffer));
                        assert_eq!(buffer.reading(), crate::model::Reading::Gauge(7.0), "{rule}");
                    }
                }
            }
        });
    }
}
