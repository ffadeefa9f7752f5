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
    store.admit(&exposition, context(group), |_| Terms::default()).unwrap().apply();
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
