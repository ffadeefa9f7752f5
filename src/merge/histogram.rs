//! Classic and native buckets of one series (merge-semantics 1.2 and 1.3).
//!
//! Classic buckets follow the union-lower rule: each push is turned into *own* counts (observations
//! between two neighbouring bounds), which add up per upper bound, and are made cumulative again
//! when read. Layouts may differ between pushes; the result never claims more observations below
//! a bound than are certain, and does not depend on the order of arrival.
//!
//! A push may carry classic buckets, native buckets or both. Each part knows how many observations
//! it has seen; a part that has missed some is not shown, so that what is shown always adds up.

mod record;

use std::cmp::Ordering;
use std::sync::Arc;

use super::exact::Exact;
use super::native::{self, Native};
use super::{Refusal, better_exemplar};
use crate::model::exposition::{Bucket, BucketsOf, ExemplarsOf, PushedValue};
use crate::model::reading::{BucketReading, HistogramReading};
use crate::model::{Exemplar, NativeBuckets, Number};

/// Upper bounds, ascending, without `+Inf`; shared by the series of a family.
pub type Layout = Arc<[f64]>;

/// What one push says of one histogram.
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

    /// A push without native buckets is classic, if only by its count, the `+Inf` bucket.
    fn is_classic(&self) -> bool {
        !self.buckets.is_empty() || self.native.is_none()
    }

    fn count(&self) -> Number {
        self.count.unwrap_or_default()
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
pub struct Histogram {
    count: Exact,
    /// Absent if the first push had none: a mean over a part of the sum would be wrong.
    sum: Option<Exact>,
    classic: Option<Box<Classic>>,
    native: Option<Box<Native>>,
}

#[derive(Clone, Debug)]
struct Classic {
    bounds: Layout,
    /// Own counts per bound, then of what lies above the last one.
    own: Counts,
    /// The best exemplar of each bucket; empty until the first one comes.
    exemplars: Box<[Option<Box<Exemplar>>]>,
}

/// Integers while all counts are, as they nearly always are.
#[derive(Clone, Debug)]
enum Counts {
    Int(Box<[u64]>),
    Exact(Box<[Exact]>),
}

impl Histogram {
    /// The identity of merging. `with_sum`: whether the first push has a sum.
    pub fn new(with_sum: bool) -> Histogram {
        let sum = with_sum.then_some(Exact::ZERO);
        Histogram { count: Exact::ZERO, sum, classic: None, native: None }
    }

    /// Whether all bounds of the push are known here, so that its merge adds no bucket.
    ///
    /// # Errors
    /// If the push lacks a sum that this histogram has.
    pub fn knows(&self, pushed: &PushedHistogram<'_>) -> Result<bool, Refusal> {
        if self.sum.is_some() && pushed.sum.is_none() {
            return Err(Refusal::NoSum);
        }
        let known = match &self.classic {
            None => !pushed.is_classic(),
            Some(classic) => {
                let mut known = classic.bounds.iter();
                pushed.bounds().all(|bound| known.any(|&other| other == bound))
            }
        };
        Ok(known)
    }

    /// The layout after merging a push with these bounds; `None` if it stays as it is.
    pub fn grown(&self, pushed: &PushedHistogram<'_>) -> Option<Vec<f64>> {
        let known = self.classic.as_ref().map_or(&[][..], |classic| &classic.bounds);
        let grown = union(known, pushed.bounds());
        (grown.len() > known.len() || self.classic.is_none() && pushed.is_classic())
            .then_some(grown)
    }

    /// Makes room for the bounds of `layout`, which must contain those known already.
    pub fn set_layout(&mut self, layout: Layout) {
        let old = match self.classic.take() {
            Some(old) if old.bounds == layout => return self.classic = Some(old),
            Some(old) => *old,
            None => Classic::empty(Arc::from([])),
        };
        let mut new = Classic::empty(layout);
        let mut at = 0;
        for (bound, from) in old.bounds.iter().copied().chain([f64::INFINITY]).zip(0..) {
            at = new.slot(at, bound);
            new.own.move_from(at, &old.own, from);
            if let Some(exemplar) = old.exemplars.get(from).cloned().flatten() {
                new.offer(at, &exemplar);
            }
        }
        self.classic = Some(Box::new(new));
    }

    /// Adds a push whose bounds are all [known](Histogram::knows).
    pub fn merge(&mut self, pushed: &PushedHistogram<'_>) {
        add_number(&mut self.count, pushed.count());
        match (&mut self.sum, pushed.sum) {
            (Some(total), Some(sum)) => total.add_f64(sum),
            // Known to have one when checked, unless an operator has changed the rule since.
            (Some(_), None) => self.sum = None,
            (None, _) => {}
        }
        if pushed.is_classic() {
            self.classic
                .get_or_insert_with(|| Box::new(Classic::empty(Arc::from([]))))
                .merge(pushed);
        }
        if let Some(buckets) = pushed.native {
            let native = self.native.get_or_insert_with(|| Box::new(Native::like(buckets)));
            native.merge(buckets, pushed.count(), pushed.exemplars);
        }
    }

    /// The push alone, but with all bounds known here, so that the buckets shown of several pushes
    /// do not depend on their order.
    pub fn replaced(&self, pushed: &PushedHistogram<'_>) -> Histogram {
        let mut alone = Histogram::new(pushed.sum.is_some());
        if let Some(classic) = &self.classic {
            alone.set_layout(classic.bounds.clone());
        }
        alone.merge(pushed);
        alone
    }

    /// Becomes `candidate`, which is [replaced](Histogram::replaced) by `pushed`, if that is larger.
    /// Where both are equal but for exemplars, those are brought together.
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
            _ => self.offer_exemplars(pushed),
        }
    }

    fn offer_exemplars(&mut self, pushed: &PushedHistogram<'_>) {
        if let Some(classic) = &mut self.classic {
            classic.offer_exemplars(pushed);
        }
        if let Some(native) = &mut self.native {
            native.offer_exemplars(pushed.exemplars);
        }
    }

    /// Fills an empty reading; `native_limit`: how many native buckets to show at the most.
    pub fn read(&self, native_limit: usize, into: &mut HistogramReading) {
        into.count = read_number(&self.count);
        into.sum = self.sum.as_ref().map(Exact::to_f64);
        if let Some(native) = &self.native {
            native.read(into.count, native_limit, into);
        }
        if let Some(classic) = &self.classic {
            classic.read(&mut into.buckets);
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
        let classic = self.classic.as_ref().map_or(0, |classic| {
            size_of::<Classic>() + classic.own.heap_bytes() + size_of_val(&*classic.exemplars)
        });
        let native = self.native.as_ref().map_or(0, |native| native.heap_bytes());
        self.count.heap_bytes() + self.sum.as_ref().map_or(0, Exact::heap_bytes) + classic + native
    }
}

impl Classic {
    fn empty(bounds: Layout) -> Classic {
        let own = Counts::Int(vec![0; bounds.len() + 1].into());
        Classic { bounds, own, exemplars: Box::default() }
    }

    /// The bucket of this bound, searched from `from`; the one above all bounds if there is none.
    fn slot(&self, from: usize, bound: f64) -> usize {
        let ahead = &self.bounds[from..];
        ahead.iter().position(|&other| other == bound).map_or(self.bounds.len(), |at| from + at)
    }

    fn merge(&mut self, pushed: &PushedHistogram<'_>) {
        let mut below = Number::ZERO;
        let mut at = 0;
        for bucket in pushed.finite() {
            at = self.slot(at, bucket.upper_bound);
            self.own.add_difference(at, bucket.cumulative_count, below);
            below = bucket.cumulative_count;
        }
        self.own.add_difference(self.bounds.len(), pushed.count(), below);
        self.offer_exemplars(pushed);
    }

    fn offer_exemplars(&mut self, pushed: &PushedHistogram<'_>) {
        let mut at = 0;
        for bucket in pushed.buckets.iter() {
            if let Some(exemplar) = &bucket.exemplar {
                at = self.slot(at, bucket.upper_bound);
                self.offer(at, exemplar);
            }
        }
    }

    fn offer(&mut self, at: usize, exemplar: &Exemplar) {
        if self.exemplars.is_empty() {
            self.exemplars = vec![None; self.bounds.len() + 1].into();
        }
        let held = &mut self.exemplars[at];
        if held.as_ref().is_none_or(|held| better_exemplar(exemplar, held)) {
            *held = Some(Box::new(exemplar.clone()));
        }
    }

    fn read(&self, into: &mut Vec<BucketReading>) {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let mut total = Exact::ZERO;
        let mut sum = 0u64;
        for (at, upper_bound) in bounds.enumerate() {
            let cumulative_count = match &self.own {
                // Sums of u64 that overflow are rare enough to start over exactly.
                Counts::Int(own) => match sum.checked_add(own[at]) {
                    Some(next) => {
                        sum = next;
                        Number::Int(sum)
                    }
                    None => {
                        into.clear();
                        return self.exactly().read(into);
                    }
                },
                Counts::Exact(own) => {
                    total.add(&own[at]);
                    read_number(&total)
                }
            };
            let exemplar = self.exemplars.get(at).cloned().flatten().map(|exemplar| *exemplar);
            into.push(BucketReading { upper_bound, cumulative_count, exemplar });
        }
    }

    fn exactly(&self) -> Classic {
        let mut exact = self.clone();
        exact.own.exact();
        exact
    }
}

impl Counts {
    /// Adds `upper - lower`.
    fn add_difference(&mut self, at: usize, upper: Number, lower: Number) {
        if let (Counts::Int(own), Number::Int(upper), Number::Int(lower)) =
            (&mut *self, upper, lower)
            && let Some(next) = own[at].checked_add(upper.saturating_sub(lower))
        {
            own[at] = next;
            return;
        }
        let own = &mut self.exact()[at];
        add_number(own, upper);
        let mut lower_exact = Exact::ZERO;
        add_number(&mut lower_exact, lower);
        own.add(&lower_exact.negated());
    }

    fn move_from(&mut self, at: usize, other: &Counts, from: usize) {
        match (&mut *self, other) {
            (Counts::Int(own), Counts::Int(other)) => own[at] = other[from],
            (_, Counts::Exact(other)) => self.exact()[at] = other[from].clone(),
            (Counts::Exact(own), Counts::Int(other)) => own[at].add_u64(other[from]),
        }
    }

    fn exact(&mut self) -> &mut [Exact] {
        if let Counts::Int(own) = self {
            let exact = own.iter().map(|&count| {
                let mut exact = Exact::ZERO;
                exact.add_u64(count);
                exact
            });
            *self = Counts::Exact(exact.collect());
        }
        match self {
            Counts::Exact(own) => own,
            Counts::Int(_) => unreachable!("made exact above"),
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Counts::Int(own) => size_of_val(&**own),
            Counts::Exact(own) => {
                size_of_val(&**own) + own.iter().map(Exact::heap_bytes).sum::<usize>()
            }
        }
    }
}

/// Decides between histograms of one layout: everything that is shown but exemplars.
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

/// Counts that rise are shown as numbers that rise, also among whole numbers that f64 cannot tell
/// apart: there, a fraction is cut off, because rounding it to f64 would go past its neighbours.
pub(super) fn read_number(total: &Exact) -> Number {
    const FRACTIONS_END: u64 = 1 << 53;
    match total.whole_part() {
        Some((whole, all)) if all || whole >= FRACTIONS_END => Number::Int(whole),
        _ => Number::from_f64(total.to_f64()),
    }
}
