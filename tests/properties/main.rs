//! Properties of merge-semantics 7, by their numbers, for all kinds. Values are compared bit by bit.
//!
//! Those about time or threads (9, 15 and more of 4) are in `tests/model`; those about keys, sources or
//! logs are with the code for these.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod accounting;
mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod refusal;
mod restart;
mod rising;

use std::collections::BTreeMap;

use common::strategies::{adding_push, push, wild_push};
use common::{
    Push, PushFamily, PushHistogram, PushSeries, PushValue, cases, counter, family, shown,
};
use proptest::prelude::*;
use tallygate::model::exposition::Bucket;
use tallygate::model::{GaugeRule, Kind, NativeBuckets, Number, ReadBuffer, Reading, labels};
use tallygate::store::{Store, StoreLimits};

fn pushed(pushes: &[Push]) -> Store {
    let store = Store::default();
    for push in pushes {
        push.apply(&store).unwrap();
    }
    store
}

/// Which families keep their type in formats with strict rules.
fn regular(store: &Store) -> BTreeMap<String, bool> {
    let families = store.families();
    families.iter().map(|family| (family.name().to_owned(), family.is_regular())).collect()
}

proptest! {
    #![proptest_config(cases(256))]

    /// 1: any permutation of pushes shows the same.
    #[test]
    fn order(
        (pushes, shuffled) in prop::collection::vec(push(), 1..8)
            .prop_flat_map(|pushes| (Just(pushes.clone()), Just(pushes).prop_shuffle())),
    ) {
        let (store, other) = (pushed(&pushes), pushed(&shuffled));
        prop_assert_eq!(shown(&store), shown(&other));
        prop_assert_eq!(regular(&store), regular(&other));
    }

    /// 2: a push of many series equals many pushes of one, and so does a push whose series become one
    /// by a rule.
    #[test]
    fn split_and_merge(pushes in prop::collection::vec(push(), 1..4), dropped in any::<bool>()) {
        let (whole, parts) = (Store::default(), Store::default());
        for mut push in pushes {
            push.drop_label = dropped.then(|| "instance".to_owned());
            let of_whole = push.apply(&whole).unwrap();
            let mut of_parts = (0, 0);
            for family in &push.families {
                for series in &family.series {
                    let family = PushFamily { series: vec![series.clone()], ..family.clone() };
                    let part = Push { families: vec![family], ..push.clone() };
                    let applied = part.apply(&parts).unwrap();
                    of_parts.0 += applied.series_merged;
                    of_parts.1 += applied.series_born;
                }
            }
            prop_assert_eq!((of_whole.series_merged, of_whole.series_born), of_parts);
        }
        prop_assert_eq!(shown(&whole), shown(&parts));
    }

    /// 3: empty pushes, and zeros for existing series, change no value; zeros refresh the time to live.
    #[test]
    fn identity(pushes in prop::collection::vec(adding_push(), 1..5)) {
        let store = pushed(&pushes);
        let before = shown(&store);
        Push::of(Vec::new()).apply(&store).unwrap();
        for push in &pushes {
            let mut nothing = push.clone();
            nothing.families.iter_mut().for_each(|family| family.series.clear());
            nothing.apply(&store).unwrap();
            let applied = zeros(push).apply(&store).unwrap();
            prop_assert_eq!(applied.series_born, 0);
        }
        prop_assert_eq!(before, shown(&store));
        for family in store.families().iter() {
            for series in family.series().iter() {
                prop_assert_eq!(series.touched_s(), LATER_S);
                prop_assert_eq!(series.expires_s(), Some(LATER_S + 7));
            }
        }
    }

    /// 17: the gauge shown is the one with the largest (time, value), and a late retry of any push
    /// changes nothing.
    #[test]
    fn last(
        pushes in prop::collection::vec((any::<i64>(), common::strategies::finite()), 1..8),
        retries in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let store = Store::default();
        let one = |&(stamp, value): &(i64, f64)| {
            let gauge = family("g_last", Kind::Gauge, &[], PushValue::Scalar(value));
            Push { stamp, ..Push::of(vec![gauge]) }.apply(&store).unwrap();
        };
        pushes.iter().for_each(one);
        retries.iter().map(|at| at.get(&pushes)).for_each(one);
        let best = pushes.iter().max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))).unwrap();
        let expected = format!("Gauge({:?})", best.1);
        prop_assert_eq!(&shown(&store)["g_last"].series[""], &expected);
    }

    /// 19, without bytes in between: what is shown can be pushed into an empty store, which then shows
    /// the same.
    #[test]
    fn round_trip(pushes in prop::collection::vec(push(), 1..6)) {
        let store = pushed(&pushes);
        let copy = Store::default();
        shown_as_push(&store).apply(&copy).unwrap();
        prop_assert_eq!(shown(&store), shown(&copy));
    }

    /// 20: whatever is pushed, the store stays within its limits, and its memory per series is bounded.
    #[test]
    fn memory(pushes in prop::collection::vec(wild_push(), 1..24)) {
        let store = Store::default();
        let limits =
            StoreLimits { series: 12, series_per_job: 6, families: 6, bucket_bounds: 4 };
        let mut buffer = ReadBuffer::default();
        for push in pushes {
            // It may be refused or not.
            let _ = Push { limits, ..push }.apply(&store);
            prop_assert!(store.series_count() <= limits.series);
            prop_assert!(store.family_count() <= limits.families);
            let mut of_jobs = BTreeMap::new();
            for family in store.families().iter() {
                for series in family.series().iter() {
                    let labels = series.labels();
                    let job = labels::value_of(&labels, "job").unwrap_or_default();
                    *of_jobs.entry(job.into_owned()).or_insert(0) += 1;
                    series.with_state(|state| state.read(family.kind(), 160, &mut buffer));
                    if let Reading::Histogram(histogram) = buffer.reading() {
                        prop_assert!(histogram.buckets.len() <= limits.bucket_bounds + 1);
                        prop_assert!(histogram.exemplars.len() <= 10);
                    }
                    prop_assert!(series.memory_bytes() < 8 << 10, "{}", series.memory_bytes());
                }
            }
            prop_assert!(of_jobs.values().all(|&series| series <= limits.series_per_job));
        }
    }
}

const LATER_S: u32 = 1_800_000_000;

fn zeros(push: &Push) -> Push {
    let mut zeros = Push { now_ms: i64::from(LATER_S) * 1000, ttl_s: 7, ..push.clone() };
    for family in &mut zeros.families {
        for series in &mut family.series {
            series.exemplars.clear();
            match &mut series.value {
                PushValue::Scalar(value) if family.kind != Kind::Info => *value = 0.0,
                PushValue::Summary { count, sum } => {
                    *count = Some(Number::ZERO);
                    *sum = sum.map(|_| 0.0);
                }
                PushValue::Histogram(histogram) => {
                    histogram.count = histogram.count.map(|_| Number::ZERO);
                    histogram.sum = histogram.sum.map(|_| 0.0);
                    for bucket in &mut histogram.buckets {
                        (bucket.cumulative_count, bucket.exemplar) = (Number::ZERO, None);
                    }
                    if let Some(native) = &mut histogram.native {
                        native.zero_count = Number::ZERO;
                        let sides = native.positive.iter_mut().chain(&mut native.negative);
                        sides.for_each(|(_, count)| *count = Number::ZERO);
                    }
                }
                _ => {}
            }
        }
    }
    zeros
}

fn shown_as_push(store: &Store) -> Push {
    let mut buffer = ReadBuffer::default();
    let mut families = Vec::new();
    for stored in store.families().iter() {
        let metadata = stored.metadata();
        let mut series = Vec::new();
        for one in stored.series().iter() {
            one.with_state(|state| state.read(stored.kind(), common::NATIVE_LIMIT, &mut buffer));
            let text = one.labels();
            let labels = labels::pairs(&text);
            let labels = labels.map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
            let (value, exemplars) = value_shown(buffer.reading());
            series.push(PushSeries { labels, value, exemplars });
        }
        families.push(PushFamily {
            name: stored.name().to_owned(),
            kind: stored.kind(),
            help: metadata.help.to_string(),
            unit: metadata.unit.to_string(),
            series,
        });
    }
    Push::of(families)
}

fn value_shown(reading: Reading<'_>) -> (PushValue, Vec<tallygate::model::Exemplar>) {
    match reading {
        Reading::Counter { value, exemplar } => {
            (PushValue::Scalar(value), exemplar.cloned().into_iter().collect())
        }
        Reading::Gauge(value) | Reading::Untyped(value) => (PushValue::Scalar(value), Vec::new()),
        Reading::Summary { count, sum, .. } => {
            (PushValue::Summary { count: Some(count), sum }, Vec::new())
        }
        Reading::StateSet(states) => {
            let states = states.iter().map(|(name, on)| (name.to_string(), *on)).collect();
            (PushValue::States(states), Vec::new())
        }
        Reading::Histogram(histogram) => {
            let buckets = histogram.buckets.iter().map(|bucket| Bucket {
                upper_bound: bucket.upper_bound,
                cumulative_count: bucket.cumulative_count,
                exemplar: bucket.exemplar.clone(),
            });
            let pushed = PushHistogram {
                count: Some(histogram.count),
                sum: histogram.sum,
                buckets: buckets.collect(),
                native: histogram.native.clone(),
            };
            (PushValue::Histogram(pushed), histogram.exemplars.clone())
        }
    }
}

/// 20: single series with ever new bounds, native buckets or exemplars, or with sums over the whole
/// range of f64.
#[test]
fn memory_of_hostile_series() {
    let store = Store::default();
    let limits = StoreLimits { bucket_bounds: 256, ..StoreLimits::default() };
    let mut refused = 0;
    for turn in 0..2_000 {
        let scattered =
            f64::from_bits((turn as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % (0x7fe << 52));
        let native = NativeBuckets {
            schema: 8,
            zero_threshold: f64::from(turn) * 1e-9,
            zero_count: Number::ZERO,
            positive: (0..20).map(|i| (turn * 97 + i * 5000 - 250_000, Number::Int(1))).collect(),
            negative: vec![],
        };
        let native = PushHistogram {
            count: Some(Number::Int(20)),
            sum: Some(scattered),
            native: Some(native),
            ..PushHistogram::default()
        };
        let mut native = family("n", Kind::Histogram, &[], PushValue::Histogram(native));
        native.series[0].exemplars.push(tallygate::model::Exemplar {
            labels: format!("id=\"{turn}\"").into(),
            value: scattered,
            timestamp_ms: Some(turn.into()),
        });
        let bound =
            Bucket { upper_bound: scattered, cumulative_count: Number::Int(1), exemplar: None };
        let classic = PushHistogram {
            count: Some(Number::Int(1)),
            buckets: vec![bound],
            ..PushHistogram::default()
        };
        let classic = family("h", Kind::Histogram, &[], PushValue::Histogram(classic));
        Push::of(vec![counter("c", &[], scattered), native]).apply(&store).unwrap();
        refused += usize::from(Push { limits, ..Push::of(vec![classic]) }.apply(&store).is_err());
    }
    assert_eq!(refused, 2_000 - 256);
    for (name, bytes_max) in [("c", 700), ("h", 10 << 10), ("n", 1 << 20)] {
        let families = store.families();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let bytes = family.series()[0].memory_bytes();
        assert!(bytes <= bytes_max, "{name}: {bytes} bytes");
    }
}

/// 2: pushes from many threads add up as if they came one after the other.
#[test]
fn threads_are_shards() {
    let values: Vec<f64> =
        (0..4_000).map(|i| f64::from(i % 97) * 0.1 + f64::from(i) * 1e-12).collect();
    let one_by_one = Store::default();
    for &value in &values {
        Push::of(vec![counter("c_total", &[], value)]).apply(&one_by_one).unwrap();
    }
    let sharded = Store::default();
    std::thread::scope(|scope| {
        for part in values.chunks(1_000) {
            let sharded = &sharded;
            scope.spawn(move || {
                for &value in part {
                    Push::of(vec![counter("c_total", &[], value)]).apply(sharded).unwrap();
                }
            });
        }
    });
    assert_eq!(shown(&one_by_one), shown(&sharded));
}

/// 1: HELP converges to the longest text, then the smallest.
#[test]
fn help_in_any_order() {
    for order in [["b", "aa", "ab"], ["ab", "b", "aa"], ["aa", "ab", "b"]] {
        let store = Store::default();
        for help in order {
            let family = PushFamily { help: help.to_owned(), ..counter("c_total", &[], 1.0) };
            Push::of(vec![family]).apply(&store).unwrap();
        }
        assert_eq!(shown(&store)["c_total"].help, "aa");
    }
}

/// 15: once the last series is gone, so is the type.
#[test]
fn the_type_goes_with_the_last_series() {
    let store = Store::default();
    let as_counter = || Push { ttl_s: 5, ..Push::of(vec![counter("x", &[], 1.0)]) };
    let gauge = || {
        let gauge = family("x", Kind::Gauge, &[], PushValue::Scalar(1.0));
        Push { gauge: Some(GaugeRule::Last), ..Push::of(vec![gauge]) }
    };
    as_counter().apply(&store).unwrap();
    gauge().apply(&store).unwrap_err();
    store.remove_expired(as_counter().now_s() + 5, u32::MAX);
    gauge().apply(&store).unwrap_err();
    store.remove_expired(as_counter().now_s() + 6, u32::MAX);
    gauge().apply(&store).unwrap();
    assert_eq!(shown(&store)["x"].kind, Kind::Gauge);
}
