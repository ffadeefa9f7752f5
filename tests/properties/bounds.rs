//! 10: merged buckets compared with known observations.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tallygate::model::exposition::Bucket;
use tallygate::model::{Kind, Number, ReadBuffer, Reading};
use tallygate::store::Store;

use super::common::{Push, PushHistogram, PushValue, cases, family};

/// Observations, and the bounds of their sender.
#[derive(Clone, Debug)]
struct Observed {
    bounds: Vec<f64>,
    observations: Vec<f64>,
}

fn observed() -> impl Strategy<Value = Observed> {
    let all: Vec<f64> = (0..12).map(|i| f64::from(i) * 0.5).collect();
    // On bounds, between them, and below and above all.
    let observation = prop_oneof![
        select(all.clone()),
        -1.0..8.0,
        Just(f64::NEG_INFINITY),
        Just(f64::INFINITY),
        Just(-0.0),
    ];
    (subsequence(all, 0..=6), prop::collection::vec(observation, 0..20))
        .prop_map(|(bounds, observations)| Observed { bounds, observations })
}

impl Observed {
    fn up_to(&self, bound: f64) -> u64 {
        self.observations.iter().filter(|x| **x <= bound).count() as u64
    }

    /// How many observations the sender knows to be at or below a bound.
    fn at_least(&self, bound: f64) -> u64 {
        if bound == f64::INFINITY {
            return self.up_to(bound);
        }
        let known = self.bounds.iter().rfind(|own| **own <= bound);
        known.map_or(0, |own| self.up_to(*own))
    }

    fn at_most(&self, bound: f64) -> u64 {
        let known = self.bounds.iter().find(|own| **own >= bound);
        known.map_or(self.observations.len() as u64, |own| self.up_to(*own))
    }

    fn push(&self) -> Push {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets = bounds.map(|upper_bound| Bucket {
            upper_bound,
            cumulative_count: Number::Int(self.up_to(upper_bound)),
            exemplar: None,
        });
        let histogram = PushHistogram { buckets: buckets.collect(), ..PushHistogram::default() };
        Push::of(vec![family("h", Kind::Histogram, &[], PushValue::Histogram(histogram))])
    }
}

fn merged(all: &[Observed]) -> Vec<(f64, u64)> {
    let store = Store::default();
    for observed in all {
        observed.push().apply(&store).unwrap();
    }
    let mut buffer = ReadBuffer::default();
    let series = store.families()[0].series()[0].clone();
    series.with_state(|state| state.read(Kind::Histogram, 160, &mut buffer));
    let Reading::Histogram(histogram) = buffer.reading() else { panic!("no histogram") };
    let buckets = histogram.buckets.iter().map(|bucket| {
        let Number::Int(count) = bucket.cumulative_count else { panic!("no whole count") };
        (bucket.upper_bound, count)
    });
    buckets.collect()
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn merged_buckets_never_say_too_much(
        (all, shuffled) in prop::collection::vec(observed(), 1..6)
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        let buckets = merged(&all);
        let mut bounds: Vec<f64> = all.iter().flat_map(|o| o.bounds.clone()).collect();
        bounds.push(f64::INFINITY);
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        let union: Vec<f64> = buckets.iter().map(|(bound, _)| *bound).collect();
        prop_assert_eq!(union, bounds);

        for &(bound, count) in &buckets {
            let sum = |f: &dyn Fn(&Observed) -> u64| all.iter().map(f).sum::<u64>();
            let truth = sum(&|o| o.up_to(bound));
            // L is the greatest number that is certain: the sum of what each sender knows.
            prop_assert_eq!(count, sum(&|o| o.at_least(bound)), "L at {}", bound);
            prop_assert!(count <= truth && truth <= sum(&|o| o.at_most(bound)), "at {bound}");
            if all.iter().all(|o| o.bounds.contains(&bound)) || bound == f64::INFINITY {
                prop_assert_eq!(count, truth, "shared by all: {}", bound);
            }
        }
        prop_assert_eq!(merged(&shuffled), buckets);
    }
}
