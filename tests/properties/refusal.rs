//! 4: a refused push leaves no trace, wherever in it the fault is.

use proptest::prelude::*;
use proptest::sample::select;
use tallygate::model::exposition::Bucket;
use tallygate::model::{GaugeRule, Kind, NativeBuckets, Number, UntypedRule};
use tallygate::store::{Store, StoreLimits};

use super::common::strategies::push;
use super::common::{Push, PushFamily, PushHistogram, PushValue, cases, counter, dump, family};

/// Why a push is refused. Each fault is among families that are valid.
#[derive(Clone, Copy, Debug)]
enum Fault {
    NotANumber,
    Infinite,
    Negative,
    NegativeToKnown,
    NotANumberToGauge,
    OtherKind,
    OtherUnit,
    OtherGaugeRule,
    GaugeHistogramRule,
    NoType,
    InfoValue,
    FallingBuckets,
    CountMismatch,
    NoCount,
    BucketBound,
    HistogramSum,
    MissingHistogramSum,
    SummarySum,
    MissingSummarySum,
    MissingSumOfTwin,
    NativeSchema,
    NativeThreshold,
    NativeCount,
    NativeIndex,
    NameOfSample,
    SamplesOfName,
    Series,
    SeriesPerJob,
    Families,
    BucketBounds,
}

const FAULTS: [Fault; 30] = [
    Fault::NotANumber,
    Fault::Infinite,
    Fault::Negative,
    Fault::NegativeToKnown,
    Fault::NotANumberToGauge,
    Fault::OtherKind,
    Fault::OtherUnit,
    Fault::OtherGaugeRule,
    Fault::GaugeHistogramRule,
    Fault::NoType,
    Fault::InfoValue,
    Fault::FallingBuckets,
    Fault::CountMismatch,
    Fault::NoCount,
    Fault::BucketBound,
    Fault::HistogramSum,
    Fault::MissingHistogramSum,
    Fault::SummarySum,
    Fault::MissingSummarySum,
    Fault::MissingSumOfTwin,
    Fault::NativeSchema,
    Fault::NativeThreshold,
    Fault::NativeCount,
    Fault::NativeIndex,
    Fault::NameOfSample,
    Fault::SamplesOfName,
    Fault::Series,
    Fault::SeriesPerJob,
    Fault::Families,
    Fault::BucketBounds,
];

/// A push for the faults to conflict with.
fn stored(grouping: &[(String, String)]) -> Push {
    let seconds = PushFamily { unit: "seconds".to_owned(), ..counter("k_total", &[], 1.0) };
    let with_sum = PushHistogram { sum: Some(1.0), ..histogram(&[(1.0, 1)], Some(2)) };
    let summary = PushValue::Summary { count: Some(Number::Int(1)), sum: Some(1.0) };
    let families = vec![
        seconds,
        family("kg_max", Kind::Gauge, &[], PushValue::Scalar(1.0)),
        family("kh", Kind::Histogram, &[], PushValue::Histogram(with_sum)),
        family("ks", Kind::Summary, &[], summary),
        counter("kn_count", &[], 1.0),
    ];
    Push { grouping: grouping.to_vec(), ..Push::of(families) }
}

fn histogram(buckets: &[(f64, u64)], count: Option<u64>) -> PushHistogram {
    let buckets = buckets.iter().map(|&(upper_bound, count)| Bucket {
        upper_bound,
        cumulative_count: Number::Int(count),
        exemplar: None,
    });
    PushHistogram {
        count: count.map(Number::Int),
        buckets: buckets.collect(),
        ..PushHistogram::default()
    }
}

fn native(schema: i8, zero_threshold: f64, index: i32, count: u64) -> PushFamily {
    let buckets = NativeBuckets {
        schema,
        zero_threshold,
        zero_count: Number::ZERO,
        positive: vec![(index, Number::Int(1))],
        negative: Vec::new(),
    };
    let pushed = PushHistogram { native: Some(buckets), ..histogram(&[], Some(count)) };
    family("new", Kind::Histogram, &[], PushValue::Histogram(pushed))
}

impl Fault {
    /// Puts the fault into a push that would be accepted, after `at` of its families.
    fn into_push(self, store: &Store, mut push: Push, at: usize) -> Push {
        let scalar =
            |name, kind, value| family(name, kind, &[("a", "new")], PushValue::Scalar(value));
        let buckets =
            |name, pushed| family(name, Kind::Histogram, &[], PushValue::Histogram(pushed));
        let summary = |name, sum| {
            let value = PushValue::Summary { count: Some(Number::Int(1)), sum };
            family(name, Kind::Summary, &[], value)
        };
        let bad = match self {
            Fault::NotANumber => counter("new", &[], f64::NAN),
            Fault::Infinite => counter("new", &[], f64::INFINITY),
            Fault::Negative => counter("new", &[], -1.0),
            Fault::NegativeToKnown => counter("k_total", &[], -1.0),
            Fault::NotANumberToGauge => scalar("new_sum", Kind::Gauge, f64::NAN),
            Fault::OtherKind => scalar("k_total", Kind::Gauge, 1.0),
            Fault::OtherUnit => {
                PushFamily { unit: "bytes".to_owned(), ..counter("k_total", &[], 1.0) }
            }
            Fault::OtherGaugeRule => {
                push.families.retain(|family| family.kind != Kind::GaugeHistogram);
                push.gauge = Some(GaugeRule::Min);
                family("kg_max", Kind::Gauge, &[], PushValue::Scalar(1.0))
            }
            Fault::GaugeHistogramRule => {
                let value = PushValue::Histogram(histogram(&[(1.0, 1)], Some(2)));
                family("new_mean", Kind::GaugeHistogram, &[], value)
            }
            Fault::NoType => {
                push.untyped = UntypedRule::Reject;
                scalar("new", Kind::Untyped, 1.0)
            }
            Fault::InfoValue => scalar("new_info", Kind::Info, 2.0),
            Fault::FallingBuckets => buckets("new", histogram(&[(1.0, 2), (2.0, 1)], Some(2))),
            Fault::CountMismatch => buckets("new", histogram(&[(f64::INFINITY, 1)], Some(2))),
            Fault::NoCount => buckets("new", histogram(&[(1.0, 1)], None)),
            Fault::BucketBound => buckets("new", histogram(&[(f64::NAN, 1)], Some(2))),
            Fault::HistogramSum => {
                let sum = Some(f64::NAN);
                buckets("new", PushHistogram { sum, ..histogram(&[(1.0, 1)], Some(2)) })
            }
            Fault::MissingHistogramSum => buckets("kh", histogram(&[(3.0, 1)], Some(2))),
            Fault::SummarySum => summary("new", Some(-1.0)),
            Fault::MissingSummarySum => summary("ks", None),
            Fault::MissingSumOfTwin => {
                push.drop_label = Some("twin".to_owned());
                let mut twins = summary("new", Some(1.0));
                let mut other = summary("new", None).series.remove(0);
                other.labels.push(("twin".to_owned(), "2".to_owned()));
                twins.series.push(other);
                twins
            }
            Fault::NativeSchema => native(9, 0.0, 1, 1),
            Fault::NativeThreshold => native(0, -1.0, 1, 1),
            Fault::NativeCount => native(0, 0.0, 1, 2),
            Fault::NativeIndex => native(0, 0.0, 1026, 1),
            Fault::NameOfSample => counter("kh_count", &[], 1.0),
            Fault::SamplesOfName => buckets("kn", histogram(&[(1.0, 1)], Some(2))),
            Fault::Series | Fault::SeriesPerJob | Fault::Families => counter("new", &[], 1.0),
            Fault::BucketBounds => {
                buckets("new", histogram(&[(1.0, 1), (2.0, 2), (3.0, 3)], Some(3)))
            }
        };
        push.limits = match self {
            Fault::Series => StoreLimits { series: store.series_count(), ..push.limits },
            Fault::SeriesPerJob => {
                push.grouping = vec![("job".to_owned(), "busy".to_owned())];
                // The job has no series yet, but the push has more than one.
                StoreLimits { series_per_job: 1, ..push.limits }
            }
            Fault::Families => StoreLimits { families: store.family_count(), ..push.limits },
            Fault::BucketBounds => StoreLimits { bucket_bounds: 2, ..push.limits },
            _ => push.limits,
        };
        push.families.insert(at.min(push.families.len()), bad);
        push
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_refused_push_leaves_no_trace(
        history in prop::collection::vec(push(), 0..4),
        good in push(),
        fault in select(FAULTS.to_vec()),
        at in any::<prop::sample::Index>(),
    ) {
        let store = Store::default();
        stored(&good.grouping).apply(&store).unwrap();
        for push in &history {
            push.apply(&store).unwrap();
        }
        // With families that add new series, buckets and metadata.
        let mut good = good;
        good.families.push(counter("good_total", &[], 1.0));
        good.families.insert(0, PushFamily {
            help: "longer".to_owned(),
            ..family("good_h", Kind::Histogram, &[("a", "b")], PushValue::Histogram(histogram(&[(7.0, 1)], Some(1))))
        });
        let bad = fault.into_push(&store, good.clone(), at.index(good.families.len() + 1));

        let before = dump(&store);
        let refused = bad.apply(&store);
        prop_assert!(refused.is_err(), "accepted {bad:?}");
        prop_assert_eq!(before, dump(&store));
        // Without the fault, the push is accepted.
        prop_assert!(good.apply(&store).is_ok());
    }
}
