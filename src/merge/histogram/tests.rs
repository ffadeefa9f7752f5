//! The small form of a histogram and the full one agree.

use proptest::prelude::*;

use super::*;
use crate::merge::tests::notation::{parse, show};
use crate::model::packed::{Packer, Unpacker};
use crate::model::{Kind, ReadBuffer};

fn push_to(histogram: &mut Histogram, push: &str) {
    let (exposition, _) = parse(Kind::Histogram, push);
    let series = exposition.series().next().unwrap();
    let pushed = PushedHistogram::of(series.value, series.exemplars).unwrap();
    pushed.check().unwrap_or_else(|refusal| panic!("{push}: {refusal}"));
    if let Some(bounds) = histogram.grown(&pushed) {
        histogram.set_layout(bounds.into());
    }
    histogram.merge(&pushed);
}

fn shown(histogram: &Histogram) -> String {
    let mut buffer = ReadBuffer::default();
    histogram.read(160, buffer.set_histogram());
    show(buffer.reading())
}

fn stored_and_back(histogram: &Histogram) -> Histogram {
    let mut bytes = Vec::new();
    histogram.pack(&mut Packer(&mut bytes));
    let mut from = Unpacker(&bytes);
    let back = Histogram::unpack(&mut from, &mut |bounds| bounds.into()).unwrap();
    assert!(from.0.is_empty());
    back
}

fn is_packed(histogram: &Histogram) -> bool {
    matches!(histogram.0, Form::Packed(_))
}

#[test]
fn what_fits_the_small_form() {
    let half = u64::MAX / 2;
    for (pushes, fits) in [
        (&[][..], true),
        (&["count=0"], true),
        (&["le1=3 le2=4 count=7 sum=2.5"], true),
        (&["le1=3 count=7", "le0.5=1 le2=2 count=2"], true),
        // A bucket needs more than one word, then more than two.
        (&["le1=4294967295 count=4294967295", "le1=1 count=2"], true),
        (&[&format!("le1=5 count={half}"), &format!("le1={half} count={half}"), "count=1"], true),
        (&[&format!("count={half}"), &format!("count={half}"), "count=2"], false),
        (&["le1=0.5 count=1"], false),
        (&["le1=1 count=1.5"], false),
        (&["le1=1#a=0.5 count=1"], false),
        (&["count=5 schema=0 p1=5"], false),
    ] {
        let mut histogram = Histogram::new(true);
        for push in pushes {
            push_to(&mut histogram, push);
            assert_eq!(shown(&stored_and_back(&histogram)), shown(&histogram), "{pushes:?}");
        }
        assert_eq!(is_packed(&histogram), fits, "{pushes:?}");
        if !pushes.is_empty() {
            assert_eq!(is_packed(&stored_and_back(&histogram)), fits, "{pushes:?}");
        }
    }
}

#[test]
fn a_latency_histogram_takes_one_allocation() {
    let measured = allocation_counter::measure(|| {
        let layout = Layout::from(&[0.01, 0.05, 0.1, 0.5, 1.0][..]);
        let counted = allocation_counter::measure(|| {
            let packed = Packed::new(layout.clone(), Some(Exact::ZERO), [3; 6].into_iter());
            assert!(packed.unwrap().heap_bytes() <= 64);
        });
        assert_eq!((counted.count_total, counted.bytes_max), (1, 64));
    });
    assert_eq!(measured.count_current, 0);
}

/// Counts near the limits of 32 and 64 bits, and now and then a fraction.
fn count() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (0..20u32).prop_map(f64::from),
        1 => Just(2f64.powi(32) - 1.0),
        1 => Just(2f64.powi(63)),
        1 => (0..9u32).prop_map(|halves| f64::from(halves) / 2.0),
    ]
}

fn push() -> impl Strategy<Value = String> {
    let buckets = prop::collection::vec((0..5u32, count(), prop::bool::weighted(0.02)), 0..4);
    (buckets, count(), 0..9u32).prop_map(|(mut buckets, above, sum)| {
        buckets.sort_by_key(|(bound, _, _)| *bound);
        buckets.dedup_by_key(|(bound, _, _)| *bound);
        let mut below = 0.0;
        let mut push = String::new();
        for (bound, own, marked) in buckets {
            below += own;
            let exemplar = if marked { "#x@5=0.5" } else { "" };
            push += &format!("le{bound}={below}{exemplar} ");
        }
        format!("{push}count={} sum={}", below + above, f64::from(sum) * 0.1)
    })
}

proptest! {
    #[test]
    fn both_forms_say_the_same(pushes in prop::collection::vec(push(), 1..8)) {
        let mut small = Histogram::new(true);
        let mut full = small.clone();
        full.full();
        for push in &pushes {
            push_to(&mut small, push);
            push_to(&mut full, push);
            prop_assert!(!is_packed(&full));
            prop_assert_eq!(shown(&small), shown(&full), "{:?}", pushes);
            small = stored_and_back(&small);
        }
    }
}
