//! Classic and native buckets of one series (merge-semantics 1.2 and 1.3).
//!
//! Classic buckets follow the union-lower rule: each push is turned into *own* counts (observations
//! between two neighbouring bounds), which add up per upper bound, and are made cumulative again
//! when read. Layouts may differ between pushes; the result never claims more observations below
//! a bound than are certain, and does not depend on the order of arrival.
//!
//! A push may carry classic buckets, native buckets or both. Each part counts the observations it has
//! seen. A part that has missed some is not shown, so that the histogram shown always adds up.

mod full;
mod layout;
mod packed;
mod record;

use std::cmp::Ordering;

use super::exact::Exact;
use super::{Refusal, native};
use crate::model::exposition::{Bucket, BucketsOf, ExemplarsOf, PushedValue};
use crate::model::reading::{BucketReading, HistogramReading};
use crate::model::{NativeBuckets, Number};
use full::Full;
pub use layout::Layout;
use packed::Packed;

/// One histogram in one push.
#[derive(Clone, Copy, Debug)]
pub struct PushedHistogram<'a> {
    /// `_count`, or else the `+Inf` bucket (formats G7).
    count: Option<Number>,
    sum: Option<f64>,
    /// Ascending; the `+Inf` bucket, if given, is the last one.
    buckets: BucketsOf<'a>,
    native: Option<&'a NativeBuckets>,
    exemplars: ExemplarsOf<'a>,
}

impl<'a> PushedHistogram<'a> {
    /// `None` if the value is no histogram.
    pub fn of(value: PushedValue<'a>, exemplars: ExemplarsOf<'a>) -> Option<PushedHistogram<'a>> {
        let PushedValue::Histogram { count, sum, buckets, native } = value else {
            return None;
        };
        let infinite = buckets.iter().next_back().filter(|b| b.upper_bound == f64::INFINITY);
        let count = count.or(infinite.map(|bucket| bucket.cumulative_count));
        Some(PushedHistogram { count, sum, buckets, native, exemplars })
    }

    /// # Errors
    /// If buckets fall, a bound is NaN, the count is missing or contradicts the buckets, or a value
    /// is negative or not finite.
    pub fn check(&self) -> Result<(), Refusal> {
        let count = self.count.ok_or(Refusal::NoCount)?;
        check_count(count, "count")?;
        let mut below = Number::ZERO;
        for bucket in self.buckets.iter() {
            if bucket.upper_bound.is_nan() {
                return Err(Refusal::BucketBound);
            }
            check_count(bucket.cumulative_count, "bucket")?;
            if bucket.cumulative_count < below {
                return Err(Refusal::FallingBuckets { bound: bucket.upper_bound });
            }
            below = bucket.cumulative_count;
        }
        let infinite = self.buckets.iter().any(|bucket| bucket.upper_bound == f64::INFINITY);
        if count < below || infinite && count != below {
            return Err(Refusal::CountMismatch { count: count.as_f64(), buckets: below.as_f64() });
        }
        if let Some(sum) = self.sum.filter(|sum| !sum.is_finite()) {
            return Err(Refusal::NotFinite { what: "sum", value: sum });
        }
        match self.native {
            Some(buckets) => native::check(buckets, count),
            None => Ok(()),
        }
    }

    /// Finite upper bounds, ascending.
    pub fn bounds(&self) -> impl Iterator<Item = f64> + Clone + use<'a> {
        self.finite().map(|bucket| bucket.upper_bound)
    }

    fn finite(&self) -> impl Iterator<Item = &'a Bucket> + Clone + use<'a> {
        self.buckets.iter().filter(|bucket| bucket.upper_bound != f64::INFINITY)
    }

    /// A push without native buckets is always classic: its count is the `+Inf` bucket.
    fn is_classic(&self) -> bool {
        !self.buckets.is_empty() || self.native.is_none()
    }

    fn count(&self) -> Number {
        self.count.unwrap_or_default()
    }

    /// Only classic buckets with whole numbers, without exemplars.
    fn is_whole_and_plain(&self) -> bool {
        let is_plain = |bucket: &Bucket| {
            matches!(bucket.cumulative_count, Number::Int(_)) && bucket.exemplar.is_none()
        };
        self.native.is_none() && self.buckets.iter().all(is_plain)
    }

    fn has_exemplars(&self) -> bool {
        self.exemplars.iter().next().is_some()
            || self.buckets.iter().any(|bucket| bucket.exemplar.is_some())
    }
}

pub(super) fn check_count(count: Number, what: &'static str) -> Result<(), Refusal> {
    match count {
        Number::Float(x) if !x.is_finite() => Err(Refusal::NotFinite { what, value: x }),
        Number::Float(x) if x < 0.0 => Err(Refusal::Negative { what, value: x }),
        _ => Ok(()),
    }
}

/// The sum of all pushes to one histogram.
#[derive(Clone, Debug)]
pub struct Histogram(Form);

/// Packed for as long as possible; a histogram that needed the full form once keeps it.
#[derive(Clone, Debug)]
enum Form {
    Packed(Packed),
    Full(Box<Full>),
}

impl Histogram {
    /// The identity of merging. `with_sum`: whether the first push has a sum.
    pub fn new(with_sum: bool) -> Histogram {
        Histogram(Form::Packed(Packed::empty(with_sum.then_some(Exact::ZERO))))
    }

    /// The bounds of the classic buckets, if there are any.
    pub(super) fn bounds(&self) -> Option<&Layout> {
        match &self.0 {
            Form::Packed(packed) => packed.bounds(),
            Form::Full(full) => full.bounds(),
        }
    }

    fn has_sum(&self) -> bool {
        match &self.0 {
            Form::Packed(packed) => packed.sum().is_some(),
            Form::Full(full) => full.has_sum(),
        }
    }

    /// Whether all bounds of the push are known here, so that its merge adds no bucket.
    ///
    /// # Errors
    /// If the push lacks a sum that this histogram has.
    pub fn knows(&self, pushed: &PushedHistogram<'_>) -> Result<bool, Refusal> {
        if self.has_sum() && pushed.sum.is_none() {
            return Err(Refusal::NoSum);
        }
        let known = match self.bounds() {
            None => !pushed.is_classic(),
            Some(bounds) => {
                let mut known = bounds.iter();
                pushed.bounds().all(|bound| known.any(|&other| other == bound))
            }
        };
        Ok(known)
    }

    /// The layout after merging a push with these bounds; `None` if it stays as it is.
    pub fn grown(&self, pushed: &PushedHistogram<'_>) -> Option<Vec<f64>> {
        let bounds = self.bounds();
        let known = bounds.map_or(&[][..], |bounds| bounds);
        let grown = union(known, pushed.bounds());
        (grown.len() > known.len() || bounds.is_none() && pushed.is_classic()).then_some(grown)
    }

    /// Makes room for the bounds of `layout`, which must contain those known already.
    pub fn set_layout(&mut self, layout: Layout) {
        match &mut self.0 {
            Form::Packed(packed) => packed.set_layout(layout),
            Form::Full(full) => full.set_layout(layout),
        }
    }

    /// Adds a push whose bounds are all [known](Histogram::knows).
    pub fn merge(&mut self, pushed: &PushedHistogram<'_>) {
        if let Form::Packed(packed) = &mut self.0
            && packed.merge(pushed)
        {
            return;
        }
        self.full().merge(pushed);
    }

    fn full(&mut self) -> &mut Full {
        if let Form::Packed(packed) = &self.0 {
            self.0 = Form::Full(Box::new(Full::from(packed)));
        }
        match &mut self.0 {
            Form::Full(full) => full,
            Form::Packed(_) => unreachable!("made full above"),
        }
    }

    /// The push alone, but with all bounds known here: the buckets shown after several pushes then do
    /// not depend on their order.
    pub fn replaced(&self, pushed: &PushedHistogram<'_>) -> Histogram {
        let mut alone = Histogram::new(pushed.sum.is_some());
        if let Some(bounds) = self.bounds() {
            alone.set_layout(bounds.clone());
        }
        alone.merge(pushed);
        alone
    }

    /// Becomes `candidate`, the result of [`replaced`](Histogram::replaced) for `pushed`, if that is
    /// larger. If the two differ only in exemplars, the better ones are kept.
    pub fn keep_larger(&mut self, candidate: Histogram, pushed: &PushedHistogram<'_>) {
        let read = |histogram: &Histogram| {
            let mut reading = HistogramReading::default();
            histogram.read(usize::MAX, &mut reading);
            reading
        };
        let (new, held) = (read(&candidate), read(self));
        let order = rank(&new).partial_cmp(&rank(&held));
        match order {
            Some(Ordering::Greater) => *self = candidate,
            Some(Ordering::Less) => {}
            _ if pushed.has_exemplars() => self.full().offer_exemplars(pushed),
            _ => {}
        }
    }

    /// Fills an empty reading, with at most `native_limit` native buckets.
    pub fn read(&self, native_limit: usize, into: &mut HistogramReading) {
        match &self.0 {
            Form::Packed(packed) => packed.read(into),
            Form::Full(full) => full.read(native_limit, into),
        }
        let complete =
            into.buckets.last().is_some_and(|bucket| bucket.cumulative_count == into.count);
        if !complete {
            into.buckets.clear();
            if into.native.is_none() {
                into.buckets.push(BucketReading {
                    upper_bound: f64::INFINITY,
                    cumulative_count: into.count,
                    exemplar: None,
                });
            }
        }
    }

    /// Bytes owned beyond the value itself, without the shared layout.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Packed(packed) => packed.heap_bytes(),
            Form::Full(full) => full.heap_bytes(),
        }
    }
}

/// Orders histograms with the same layout: by everything that is shown except exemplars.
fn rank(reading: &HistogramReading) -> impl PartialOrd + '_ {
    let buckets: Vec<Number> = reading.buckets.iter().map(|b| b.cumulative_count).collect();
    let native = reading.native.as_ref().map(|native| {
        let NativeBuckets { schema, zero_threshold, zero_count, positive, negative } = native;
        (schema, zero_threshold, zero_count, positive, negative)
    });
    (reading.count, reading.sum, buckets, native)
}

/// Ascending union of two ascending lists of bounds.
pub fn union(known: &[f64], pushed: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut union = Vec::with_capacity(known.len());
    let mut known = known.iter().copied().peekable();
    for bound in pushed {
        while let Some(below) = known.next_if(|&other| other < bound) {
            union.push(below);
        }
        known.next_if_eq(&bound);
        union.push(bound);
    }
    union.extend(known);
    union
}

pub(super) fn add_number(total: &mut Exact, number: Number) {
    match number {
        Number::Int(n) => total.add_u64(n),
        Number::Float(x) => total.add_f64(x),
    }
}

/// Rising counts must be shown as rising numbers, even where f64 cannot tell whole numbers apart.
/// There, a fraction is cut off: rounding to f64 could jump past a neighbouring count.
pub(super) fn read_number(total: &Exact) -> Number {
    const FRACTIONS_END: u64 = 1 << 53;
    match total.whole_part() {
        Some((whole, all)) if all || whole >= FRACTIONS_END => Number::Int(whole),
        _ => Number::from_f64(total.to_f64()),
    }
}

#[cfg(test)]
mod tests;
