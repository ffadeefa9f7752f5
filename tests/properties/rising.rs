//! 8 and 9: counters, counts and buckets never fall, and every histogram adds up.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tallygate::merge::native::{downscale, upper_edge};
use tallygate::model::{HistogramReading, Kind, NativeBuckets, Number, ReadBuffer, Reading};
use tallygate::store::Store;

use super::common::cases;
use super::common::strategies::push;

/// Values that must not fall.
#[derive(Clone, Debug)]
enum Rising {
    Counter(f64),
    Count(Number),
    Histogram(HistogramReading),
}

fn read(store: &Store, native_limit: usize) -> BTreeMap<(String, String), Rising> {
    let mut all = BTreeMap::new();
    let mut buffer = ReadBuffer::default();
    for family in store.families().iter() {
        for series in family.series().iter() {
            series.with_state(|state| state.read(family.kind(), native_limit, &mut buffer));
            let rising = match (family.kind(), buffer.reading()) {
                (_, Reading::Counter { value, .. }) => Rising::Counter(value),
                (_, Reading::Summary { count, .. }) => Rising::Count(count),
                (Kind::Histogram, Reading::Histogram(histogram)) => {
                    Rising::Histogram(histogram.clone())
                }
                _ => continue,
            };
            all.insert((family.name().to_owned(), series.labels().into_owned()), rising);
        }
    }
    all
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn nothing_that_counts_ever_falls(
        pushes in prop::collection::vec(push(), 2..12),
        native_limit in 1..12usize,
    ) {
        let store = Store::default();
        let mut before = BTreeMap::new();
        for push in &pushes {
            push.apply(&store).unwrap();
            let now = read(&store, native_limit);
            for (series, held) in &before {
                match (held, &now[series]) {
                    (Rising::Counter(held), Rising::Counter(now)) => prop_assert!(now >= held),
                    (Rising::Count(held), Rising::Count(now)) => prop_assert!(now >= held),
                    (Rising::Histogram(held), Rising::Histogram(now)) => risen(held, now)?,
                    (held, now) => prop_assert!(false, "{held:?} became {now:?}"),
                }
            }
            for rising in now.values() {
                if let Rising::Histogram(histogram) = rising {
                    adds_up(histogram)?;
                }
            }
            before = now;
        }
    }
}

/// 9: buckets rise with their bounds, the last one is the count, and native buckets add up to the
/// count.
fn adds_up(histogram: &HistogramReading) -> Result<(), TestCaseError> {
    let counts: Vec<Number> = histogram.buckets.iter().map(|b| b.cumulative_count).collect();
    prop_assert!(counts.is_sorted(), "{:?}", histogram);
    prop_assert!(histogram.buckets.is_sorted_by(|a, b| a.upper_bound < b.upper_bound));
    if let Some(last) = histogram.buckets.last() {
        prop_assert_eq!(last.upper_bound, f64::INFINITY);
        prop_assert_eq!(last.cumulative_count, histogram.count);
    }
    if let Some(native) = &histogram.native {
        let sides = native.positive.iter().chain(&native.negative).map(|(_, count)| *count);
        let mut total = 0;
        for count in sides.chain([native.zero_count]) {
            // Fractions are small multiples of 1/8 here, so f64 adds them exactly.
            total += (count.as_f64() * 8.0) as u64;
        }
        prop_assert_eq!(total, (histogram.count.as_f64() * 8.0) as u64);
    } else {
        prop_assert!(!histogram.buckets.is_empty(), "shows nothing");
    }
    Ok(())
}

fn risen(held: &HistogramReading, now: &HistogramReading) -> Result<(), TestCaseError> {
    prop_assert!(now.count >= held.count);
    // A part that has missed observations is left out completely, and for good.
    if now.buckets.len() > 1 {
        for bucket in &held.buckets {
            let same = now.buckets.iter().find(|b| b.upper_bound == bucket.upper_bound);
            prop_assert!(same.is_some_and(|b| b.cumulative_count >= bucket.cumulative_count));
        }
    }
    match (&held.native, &now.native) {
        (Some(held), Some(now)) => native_risen(held, now),
        (None, Some(_)) => {
            prop_assert!(held.count.is_zero(), "the native part came back");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// By the rules of Prometheus for resets: the layout may only become coarser, and no bucket of it may
/// hold less than the earlier buckets that it includes.
fn native_risen(held: &NativeBuckets, now: &NativeBuckets) -> Result<(), TestCaseError> {
    prop_assert!(now.schema <= held.schema, "the schema rose: {:?}, then {:?}", held, now);
    prop_assert!(now.zero_threshold >= held.zero_threshold, "{:?}, then {:?}", held, now);
    let mut zero = held.zero_count.as_f64();
    for (held_side, now_side) in [(&held.positive, &now.positive), (&held.negative, &now.negative)]
    {
        let mut coarse: BTreeMap<i32, f64> = BTreeMap::new();
        for (index, count) in held_side {
            let index = downscale(*index, held.schema - now.schema);
            *coarse.entry(index).or_default() += count.as_f64();
        }
        for (index, count) in coarse {
            match now_side.iter().find(|(other, _)| *other == index) {
                Some((_, now)) => prop_assert!(now.as_f64() >= count),
                None => {
                    prop_assert!(upper_edge(now.schema, index) <= now.zero_threshold);
                    zero += count;
                }
            }
        }
    }
    prop_assert!(now.zero_count.as_f64() >= zero, "{:?}, then {:?}", held, now);
    Ok(())
}
