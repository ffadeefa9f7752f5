//! What only the protobuf format has: native histograms, NaN bits, several messages.

use proptest::prelude::*;

use super::*;
use crate::model::exposition::PushedValue;

fn one_histogram(reading: HistogramReading) -> wire::Histogram {
    let families = [family(Kind::Histogram, "h", [("", Value::Histogram(reading))])];
    let mut families = messages(&encode(PROTOBUF, &families).body);
    families.remove(0).metric.remove(0).histogram.unwrap()
}

#[test]
fn native_histograms_have_spans_and_deltas() {
    let written = one_histogram(HistogramReading {
        count: Number::Int(17),
        sum: Some(1.0),
        native: Some(native()),
        ..HistogramReading::default()
    });
    let span = |offset, length| wire::BucketSpan { offset: Some(offset), length: Some(length) };
    let expected = wire::Histogram {
        sample_count: Some(17),
        sample_sum: Some(1.0),
        schema: Some(3),
        zero_threshold: Some(1e-128),
        zero_count: Some(2),
        positive_span: vec![span(-2, 2), span(2, 1), span(1, 2)],
        positive_delta: vec![3, 2, -4, 2, -1],
        negative_span: vec![span(7, 1)],
        negative_delta: vec![1],
        ..wire::Histogram::default()
    };
    assert_eq!(written, expected);
}

#[test]
fn one_fraction_makes_a_histogram_float() {
    let mut native = native();
    native.positive.truncate(1);
    native.negative.clear();
    let reading = HistogramReading {
        count: Number::Float(5.5),
        native: Some(native.clone()),
        ..classic(1.0, &[(1.0, 3), (f64::INFINITY, 5)])
    };
    let written = one_histogram(reading.clone());
    let expected = wire::Histogram {
        sample_count_float: Some(5.5),
        sample_sum: Some(1.0),
        bucket: [(1.0, 3.0), (f64::INFINITY, 5.0)]
            .map(|(upper_bound, count)| wire::Bucket {
                upper_bound: Some(upper_bound),
                cumulative_count_float: Some(count),
                ..wire::Bucket::default()
            })
            .into(),
        schema: Some(3),
        zero_threshold: Some(1e-128),
        zero_count_float: Some(2.0),
        positive_span: vec![wire::BucketSpan { offset: Some(-2), length: Some(1) }],
        positive_count: vec![3.0],
        ..wire::Histogram::default()
    };
    assert_eq!(written, expected);

    // Deltas are signed, so none reaches a population of 2^63.
    native.positive[0].1 = Number::Int(1 << 63);
    let count = Number::Int((1 << 63) + 2);
    let large = one_histogram(HistogramReading { count, native: Some(native), ..reading });
    assert_eq!(large.positive_count, [2f64.powi(63)]);
}

/// Float histograms need not add up to the last bit, and their numbers may all happen to be whole.
/// Readers refuse integers that do not add up.
#[test]
fn whole_numbers_that_do_not_add_up_are_floats() {
    let reading = |count, sum| HistogramReading {
        count: Number::Int(count),
        sum,
        native: Some(native()),
        ..HistogramReading::default()
    };
    for (count, sum, float) in [
        (17, Some(1.0), false),
        (16, Some(1.0), true),
        (18, Some(1.0), true),
        (18, None, true),
        // Observations of NaN are not in any bucket.
        (18, Some(f64::NAN), false),
        (16, Some(f64::NAN), true),
    ] {
        let written = one_histogram(reading(count, sum));
        assert_eq!(written.sample_count_float.is_some(), float, "{count} {sum:?}");
        assert_eq!(written.positive_count.is_empty(), !float, "{count} {sum:?}");
    }
}

#[test]
fn an_empty_native_histogram_can_be_told_from_a_classic_one() {
    let empty = |zero_threshold, zero_count| HistogramReading {
        count: zero_count,
        sum: Some(0.0),
        native: Some(NativeBuckets {
            schema: 0,
            zero_threshold,
            zero_count,
            positive: vec![],
            negative: vec![(1, Number::ZERO)],
        }),
        ..HistogramReading::default()
    };
    for (threshold, zero_count, spans) in [
        (0.0, Number::Int(0), 1),
        (0.0, Number::Int(1), 1),
        // Prometheus does not recognise them by a float zero count.
        (0.0, Number::Float(0.5), 1),
        (0.1, Number::Int(0), 0),
    ] {
        let written = one_histogram(empty(threshold, zero_count));
        assert_eq!(written.positive_span.len(), spans);
        assert!(written.positive_span.iter().all(|span| (span.offset(), span.length()) == (0, 0)));
        assert_eq!(written.negative_span, []);
    }
}

#[test]
fn no_nan_is_a_staleness_marker() {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let families = [
        family(Kind::Gauge, "a", [("", Value::Gauge(stale))]),
        family(Kind::Counter, "b", [("", Value::Counter(-f64::NAN, None))]),
        family(
            Kind::Summary,
            "c",
            [("", Value::Summary(Number::ZERO, Some(stale), vec![(0.5, stale)]))],
        ),
    ];
    let families = messages(&encode(PROTOBUF, &families).body);
    let summary = families[2].metric[0].summary.as_ref().unwrap();
    for written in [
        families[0].metric[0].gauge.as_ref().unwrap().value,
        families[1].metric[0].counter.as_ref().unwrap().value,
        summary.sample_sum,
        summary.quantile[0].value,
    ] {
        assert_eq!(written.unwrap().to_bits(), 0x7ff8_0000_0000_0001);
    }
}

#[test]
fn a_large_family_comes_in_several_messages() {
    let value = "v".repeat(1 << 20);
    let labels: Vec<_> = (0..9).map(|at| format!("a=\"{at}{value}\"")).collect();
    let series = labels.iter().map(|labels| (&**labels, Value::Gauge(1.0)));
    let families = [family(Kind::Gauge, "x", series).help("Help.").unit("s")];
    let families = messages(&encode(PROTOBUF, &families).body);
    assert_eq!(families.iter().map(|family| family.metric.len()).collect::<Vec<_>>(), [4, 4, 1]);
    assert!(families.iter().all(|f| f.name() == "x" && f.help() == "Help." && f.unit() == "s"));
}

fn side() -> impl Strategy<Value = Vec<(i32, Number)>> {
    prop::collection::btree_map(-3000..1000_i32, 1..u64::MAX / 64, 0..12)
        .prop_map(|side| side.into_iter().map(|(i, n)| (i, Number::Int(n))).collect())
}

proptest! {
    #[test]
    fn native_histograms_read_back(
        schema in 0_i8..=8,
        zero_threshold in 0.0..10.0_f64,
        zero_count in 0..u64::MAX / 64,
        positive in side(),
        negative in side(),
        sum in any::<f64>(),
        fraction in prop::bool::ANY,
    ) {
        let total = positive.iter().chain(&negative).map(|(_, n)| n.as_f64() as u128).sum::<u128>();
        let exact = positive.iter().chain(&negative).map(|(_, n)| match n {
            Number::Int(n) => *n,
            Number::Float(_) => 0,
        }).sum::<u64>() + zero_count;
        let mut native = NativeBuckets {
            schema,
            zero_threshold,
            zero_count: Number::Int(zero_count),
            positive,
            negative,
        };
        let mut count = Number::Int(exact);
        if fraction {
            // Then all become floats, which must not change them: none has more than 53 bits.
            let halves = |n: &mut Number| *n = Number::Float((n.as_f64() as u64 >> 12) as f64 + 0.5);
            halves(&mut native.zero_count);
            native.positive.iter_mut().chain(&mut native.negative).for_each(|(_, n)| halves(n));
            count = Number::Float(total as f64 / 4096.0 + 0.5);
        }
        let families = [family(Kind::Histogram, "h", [("", Value::Histogram(HistogramReading {
            count,
            sum: Some(sum),
            native: Some(native.clone()),
            ..HistogramReading::default()
        }))])];
        let body = encode(PROTOBUF, &families).body;

        let grouping = Grouping::default();
        let mut exposition = Exposition::default();
        parse(&body, exposition.build(&grouping), Timestamps::Reject).unwrap();
        let read = exposition.series().next().unwrap().value;
        let PushedValue::Histogram { native: Some(read), .. } = read else { panic!("{read:?}") };
        prop_assert_eq!(read, &native);
    }
}
