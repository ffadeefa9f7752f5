//! Native histograms: converts spans and deltas to counts by bucket index, and validates them (formats
//! 10, G17).

use super::wire;
use crate::model::{NativeBuckets, Number};

/// Schemas that clients may send; those above 8 are read at the resolution of 8.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=52;
const SCHEMA_KEPT_MAX: i32 = 8;
const SCHEMA_CUSTOM_BUCKETS: i32 = -53;

/// Why a native histogram is invalid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum NativeError {
    #[error("schema -53 (custom buckets) cannot be exposed, their boundaries have no field")]
    CustomBuckets,
    #[error("schema {0} is not one of -4 to 8")]
    Schema(i32),
    #[error("zero_threshold is {0}")]
    ZeroThreshold(f64),
    #[error("zero_count is negative or NaN")]
    ZeroCount,
    #[error("the {side} spans have {spans} buckets, the list has {list}")]
    SpanLengths { side: &'static str, spans: u64, list: usize },
    #[error("{side} span {span} has offset {offset}; only the first may be negative")]
    SpanOffset { side: &'static str, span: usize, offset: i32 },
    #[error("{side} bucket {index} lies beyond the one of infinity")]
    Beyond { side: &'static str, index: i64 },
    #[error("the population of {side} bucket {index} is negative, NaN or too large")]
    Population { side: &'static str, index: i64 },
    #[error("the buckets hold {buckets} observations, the histogram {count}")]
    Count { buckets: u128, count: u64 },
}

/// Whether it is a float histogram, which has its populations in the `*_count` lists rather than the
/// `*_delta` lists.
pub(super) fn is_float(histogram: &wire::Histogram) -> bool {
    histogram.sample_count_float() > 0.0 || histogram.zero_count_float() > 0.0
}

/// The native part of a histogram, if it has one. Explicit empty buckets are left out: they mean the
/// same as missing ones.
pub(super) fn read(histogram: &wire::Histogram) -> Result<Option<NativeBuckets>, NativeError> {
    let native = !histogram.positive_span.is_empty()
        || !histogram.negative_span.is_empty()
        || histogram.zero_threshold() > 0.0
        || histogram.zero_count() > 0;
    if !native {
        return Ok(None);
    }
    let schema = histogram.schema();
    if schema == SCHEMA_CUSTOM_BUCKETS {
        return Err(NativeError::CustomBuckets);
    }
    if !SCHEMAS.contains(&schema) {
        return Err(NativeError::Schema(schema));
    }
    let zero_threshold = histogram.zero_threshold();
    if !(zero_threshold >= 0.0 && zero_threshold.is_finite()) {
        return Err(NativeError::ZeroThreshold(zero_threshold));
    }
    let zero_count = super::count(histogram.zero_count, histogram.zero_count_float)
        .map_err(|_| NativeError::ZeroCount)?
        .unwrap_or_default();

    let float = is_float(histogram);
    let mut total = 0;
    let mut side = |name, spans: &[wire::BucketSpan], deltas: &[i64], counts: &[f64]| {
        let mut side = Side::new(name, schema);
        if float {
            side.read(spans, counts, |&count| (count >= 0.0).then(|| Number::from_f64(count)))?;
        } else {
            let mut population = 0_i64;
            side.read(spans, deltas, |&delta| {
                population = population.checked_add(delta)?;
                let count = u64::try_from(population).ok()?;
                total += u128::from(count);
                Some(Number::Int(count))
            })?;
        }
        Ok(side.buckets)
    };
    let positive = side(
        "positive",
        &histogram.positive_span,
        &histogram.positive_delta,
        &histogram.positive_count,
    )?;
    let negative = side(
        "negative",
        &histogram.negative_span,
        &histogram.negative_delta,
        &histogram.negative_count,
    )?;

    if !float {
        total += u128::from(histogram.zero_count());
        let count = histogram.sample_count();
        // An observation of NaN is counted, but is not in any bucket.
        let unbucketed = histogram.sample_sum().is_nan() && total <= u128::from(count);
        if total != u128::from(count) && !unbucketed {
            return Err(NativeError::Count { buckets: total, count });
        }
    }
    Ok(Some(NativeBuckets {
        schema: schema.min(SCHEMA_KEPT_MAX) as i8,
        zero_threshold,
        zero_count,
        positive,
        negative,
    }))
}

/// The positive or the negative buckets.
struct Side {
    name: &'static str,
    /// The index after that of the bucket with the largest finite number.
    index_max: i64,
    /// How many times the resolution is halved.
    halvings: i32,
    buckets: Vec<(i32, Number)>,
}

impl Side {
    fn new(name: &'static str, schema: i32) -> Side {
        // The last bucket of finite numbers ends at 2^1024, and bucket i ends at 2^(i * 2^-schema).
        let last_finite = if schema >= 0 { 1024_i64 << schema } else { 1024_i64 >> -schema };
        let halvings = (schema - SCHEMA_KEPT_MAX).max(0);
        Side { name, index_max: last_finite + 1, halvings, buckets: Vec::new() }
    }

    fn read<T>(
        &mut self,
        spans: &[wire::BucketSpan],
        list: &[T],
        mut population: impl FnMut(&T) -> Option<Number>,
    ) -> Result<(), NativeError> {
        let side = self.name;
        let lengths = spans.iter().map(|span| u64::from(span.length())).sum();
        if lengths != list.len() as u64 {
            return Err(NativeError::SpanLengths { side, spans: lengths, list: list.len() });
        }
        let mut list = list.iter();
        let mut index = 0_i64;
        for (at, span) in spans.iter().enumerate() {
            let offset = span.offset();
            if at > 0 && offset < 0 {
                return Err(NativeError::SpanOffset { side, span: at, offset });
            }
            index += i64::from(offset);
            for value in list.by_ref().take(span.length() as usize) {
                if index > self.index_max {
                    return Err(NativeError::Beyond { side, index });
                }
                let count = population(value).ok_or(NativeError::Population { side, index })?;
                if !count.is_zero() {
                    self.add(index, count);
                }
                index += 1;
            }
        }
        Ok(())
    }

    /// Indexes are ascending, so those that halving makes equal are neighbours.
    fn add(&mut self, index: i64, count: Number) {
        let reduced = ((index - 1) >> self.halvings) + 1;
        // The index fits: at schema 8 and below, the bucket of infinity has index 262145 or less, and
        // the first span begins at an i32.
        let index = i32::try_from(reduced).unwrap_or(i32::MIN);
        match self.buckets.last_mut().filter(|(last, _)| *last == index) {
            Some((_, sum)) => *sum = add(*sum, count),
            None => self.buckets.push((index, count)),
        }
    }
}

fn add(a: Number, b: Number) -> Number {
    if let (Number::Int(a), Number::Int(b)) = (a, b)
        && let Some(sum) = a.checked_add(b)
    {
        return Number::Int(sum);
    }
    Number::from_f64(a.as_f64() + b.as_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(spans: &[(i32, u32)]) -> Vec<wire::BucketSpan> {
        spans
            .iter()
            .map(|&(offset, length)| wire::BucketSpan {
                offset: Some(offset),
                length: Some(length),
            })
            .collect()
    }

    /// A histogram of positive integer buckets and 1 in the zero bucket.
    fn integer(schema: i32, positive: &[(i32, u32)], deltas: &[i64]) -> wire::Histogram {
        let mut population = 0;
        let count = deltas.iter().map(|delta| {
            population += delta;
            population
        });
        wire::Histogram {
            schema: Some(schema),
            sample_count: Some(1 + count.sum::<i64>() as u64),
            sample_sum: Some(1.0),
            zero_threshold: Some(1e-128),
            zero_count: Some(1),
            positive_span: spans(positive),
            positive_delta: deltas.to_vec(),
            ..wire::Histogram::default()
        }
    }

    fn positive(histogram: &wire::Histogram) -> Vec<(i32, u64)> {
        let native = read(histogram).unwrap().unwrap();
        assert!(native.schema <= 8);
        native
            .positive
            .iter()
            .map(|&(index, count)| match count {
                Number::Int(count) => (index, count),
                Number::Float(_) => panic!("{native:?}"),
            })
            .collect()
    }

    #[test]
    fn spans_and_deltas_become_absolute_counts() {
        let expected = [(-2, 3), (-1, 5), (2, 1), (4, 3), (5, 2)];
        let gaps = integer(3, &[(-2, 2), (2, 1), (1, 2)], &[3, 2, -4, 2, -1]);
        assert_eq!(positive(&gaps), expected);
        let explicit = integer(3, &[(-2, 2), (2, 4)], &[3, 2, -4, -1, 3, -1]);
        assert_eq!(positive(&explicit), expected);
        // Spans of length 0, and a second span without a gap.
        let odd =
            integer(3, &[(-5, 0), (3, 2), (0, 0), (2, 1), (1, 1), (0, 1)], &[3, 2, -4, 2, -1]);
        assert_eq!(positive(&odd), expected);
    }

    #[test]
    fn schemas_above_8_are_reduced_to_8() {
        let fine = integer(9, &[(-3, 8)], &[1; 1].repeat(8));
        // -3→1 -2→2 -1→3 0→4 1→5 2→6 3→7 4→8, in pairs (-3,-2) (-1,0) (1,2) (3,4).
        assert_eq!(positive(&fine), [(-1, 3), (0, 7), (1, 11), (2, 15)]);
        assert_eq!(read(&fine).unwrap().unwrap().schema, 8);
        let finest = integer(52, &[(i32::MIN, 1), (i32::MAX, 1)], &[1, 0]);
        assert_eq!(positive(&finest), [(0, 2)]);
    }

    #[test]
    fn float_lists_are_absolute() {
        let histogram = wire::Histogram {
            sample_count_float: Some(2.5),
            zero_count_float: Some(0.0),
            schema: Some(0),
            negative_span: spans(&[(0, 2)]),
            negative_count: vec![1.5, 1.0],
            ..wire::Histogram::default()
        };
        let native = read(&histogram).unwrap().unwrap();
        assert_eq!(native.negative, [(0, Number::Float(1.5)), (1, Number::Int(1))]);
        // The count is not compared: sums of fractions need not agree to the last bit.
        let more = wire::Histogram { sample_count_float: Some(9.0), ..histogram };
        assert!(read(&more).is_ok());
    }

    #[test]
    fn what_makes_a_histogram_native() {
        let classic = wire::Histogram::default();
        assert_eq!(read(&classic), Ok(None));
        // Prometheus ignores zero_count_float here, so we do, too.
        let float = wire::Histogram { zero_count_float: Some(1.0), ..classic.clone() };
        assert_eq!(read(&float), Ok(None));
        for native in [
            wire::Histogram { positive_span: spans(&[(0, 0)]), ..classic.clone() },
            wire::Histogram { negative_span: spans(&[(0, 0)]), ..classic.clone() },
            wire::Histogram { zero_threshold: Some(0.5), ..classic.clone() },
            wire::Histogram { zero_count: Some(1), sample_count: Some(1), ..classic },
        ] {
            assert!(matches!(read(&native), Ok(Some(_))), "{native:?}");
        }
    }

    #[test]
    fn a_nan_sum_allows_for_observations_in_no_bucket() {
        let mut histogram = integer(0, &[(0, 1)], &[4]);
        histogram.sample_count = Some(7);
        assert_eq!(read(&histogram), Err(NativeError::Count { buckets: 5, count: 7 }));
        histogram.sample_sum = Some(f64::NAN);
        assert!(read(&histogram).is_ok());
        histogram.sample_count = Some(4);
        assert_eq!(read(&histogram), Err(NativeError::Count { buckets: 5, count: 4 }));
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut wire::Histogram), message: &str) {
        let mut histogram = integer(0, &[(0, 2)], &[1, 1]);
        change(&mut histogram);
        let error = read(&histogram).expect_err("accepted");
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn refused_histograms() {
        refused(
            |h| h.schema = Some(-53),
            "schema -53 (custom buckets) cannot be exposed, their boundaries have no field",
        );
        for schema in [-9, -5, 53, i32::MIN, i32::MAX] {
            refused(|h| h.schema = Some(schema), &format!("schema {schema} is not one of -4 to 8"));
        }
        refused(|h| h.zero_threshold = Some(-1.0), "zero_threshold is -1");
        refused(|h| h.zero_threshold = Some(f64::NAN), "zero_threshold is NaN");
        refused(|h| h.zero_threshold = Some(f64::INFINITY), "zero_threshold is inf");
        refused(|h| h.zero_count_float = Some(-1.0), "zero_count is negative or NaN");
        refused(
            |h| h.positive_span = spans(&[(0, 3)]),
            "the positive spans have 3 buckets, the list has 2",
        );
        refused(
            |h| h.negative_delta = vec![1],
            "the negative spans have 0 buckets, the list has 1",
        );
        refused(
            |h| h.positive_span = spans(&[(0, u32::MAX), (0, u32::MAX)]),
            "the positive spans have 8589934590 buckets, the list has 2",
        );
        refused(
            |h| h.positive_span = spans(&[(0, 1), (-1, 1)]),
            "positive span 1 has offset -1; only the first may be negative",
        );
        refused(
            |h| h.positive_delta = vec![1, -2],
            "the population of positive bucket 1 is negative, NaN or too large",
        );
        refused(
            |h| h.positive_delta = vec![i64::MAX, 1],
            "the population of positive bucket 1 is negative, NaN or too large",
        );
        refused(
            |h| {
                h.sample_count_float = Some(3.0);
                h.positive_count = vec![1.0, f64::NAN];
            },
            "the population of positive bucket 1 is negative, NaN or too large",
        );
        // A float histogram must have its counts in the float lists.
        refused(
            |h| h.sample_count_float = Some(3.0),
            "the positive spans have 2 buckets, the list has 0",
        );
        refused(|h| h.sample_count = Some(5), "the buckets hold 4 observations, the histogram 5");
    }

    #[test]
    fn the_bucket_of_infinity_is_the_last() {
        for (schema, last) in [(8, 262_145), (0, 1025), (-4, 65)] {
            assert_eq!(positive(&integer(schema, &[(last, 1)], &[1])), [(last, 1)]);
            let error = read(&integer(schema, &[(last, 2)], &[1, 0])).expect_err("accepted");
            let index = i64::from(last) + 1;
            assert_eq!(error, NativeError::Beyond { side: "positive", index });
        }
    }
}
