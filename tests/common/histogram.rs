//! Histograms of the [model](super::model): every push is kept, and bounds and buckets are computed by
//! the formulas of merge-semantics 1.2 and 1.3 whenever they are read.

use std::collections::{BTreeMap, BTreeSet};

use num_bigint::BigInt;
use tallygate::merge::native::upper_edge;
use tallygate::model::reading::BucketReading;
use tallygate::model::{Exemplar, HistogramReading, NativeBuckets, Number};

use super::PushHistogram;
use super::exactly::{nearest, number, units, units_of};
use super::model::{Bound, by_merit, only_infinite};

#[derive(Clone, Debug)]
pub(crate) struct HistogramModel {
    /// A single entry to which all pushes add, or one for each push, of which the latest is shown.
    entries: Vec<Entry>,
    /// Finite bounds of all pushes.
    bounds: BTreeSet<Bound>,
    classic: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    stamp: i64,
    with_sum: bool,
    pushes: Vec<(PushHistogram, Vec<Exemplar>)>,
}

impl HistogramModel {
    pub(crate) fn new(first: &PushHistogram) -> HistogramModel {
        let entry = Entry { stamp: i64::MIN, with_sum: first.sum.is_some(), pushes: Vec::new() };
        HistogramModel { entries: vec![entry], bounds: BTreeSet::new(), classic: false }
    }

    /// Finite bounds of all pushes.
    pub(crate) fn bounds(&self) -> impl Iterator<Item = &Bound> {
        self.bounds.iter()
    }

    /// `last` is the stamp of a push that does not add to the others. Returns false if it is refused.
    pub(crate) fn push(
        &mut self,
        pushed: &PushHistogram,
        exemplars: &[Exemplar],
        last: Option<i64>,
    ) -> bool {
        let push = (pushed.clone(), exemplars.to_vec());
        match last {
            Some(stamp) => {
                let with_sum = pushed.sum.is_some();
                self.entries.push(Entry { stamp, with_sum, pushes: vec![push] });
            }
            None => {
                let entry = self.entries.last_mut().unwrap();
                if entry.with_sum && pushed.sum.is_none() {
                    return false;
                }
                entry.pushes.push(push);
            }
        }
        self.bounds.extend(bounds(pushed));
        self.classic |= is_classic(pushed);
        true
    }

    /// Continues from the value that is shown, which becomes the earliest one.
    pub(crate) fn change_rule(&mut self) {
        let mut shown = self.latest().clone();
        shown.stamp = i64::MIN;
        self.entries = vec![shown];
    }

    fn latest(&self) -> &Entry {
        let rank = |entry: &Entry| {
            let reading = self.read_entry(entry, usize::MAX);
            let counts: Vec<Number> = reading.buckets.iter().map(|b| b.cumulative_count).collect();
            let native = reading.native.map(|native| {
                let NativeBuckets { schema, zero_threshold, zero_count, positive, negative } =
                    native;
                (schema, zero_threshold, zero_count, positive, negative)
            });
            (reading.count, reading.sum, counts, native)
        };
        let order = |a: &&Entry, b: &&Entry| {
            let by_stamp = a.stamp.cmp(&b.stamp);
            by_stamp.then_with(|| rank(a).partial_cmp(&rank(b)).unwrap())
        };
        self.entries.iter().max_by(order).unwrap()
    }

    pub(crate) fn read(&self, native_limit: usize) -> HistogramReading {
        self.read_entry(self.latest(), native_limit)
    }

    fn read_entry(&self, entry: &Entry, native_limit: usize) -> HistogramReading {
        let pushes = || entry.pushes.iter().map(|(pushed, _)| pushed);
        let total: BigInt = pushes().map(count_of).sum();
        let mut reading = HistogramReading { count: number(&total), ..HistogramReading::default() };
        if entry.with_sum {
            let sum: BigInt = pushes().filter_map(|pushed| pushed.sum).map(units).sum();
            reading.sum = Some(nearest(&sum));
        }
        let native: Vec<_> =
            entry.pushes.iter().filter(|(pushed, _)| pushed.native.is_some()).collect();
        let seen: BigInt = native.iter().map(|(pushed, _)| count_of(pushed)).sum();
        if !native.is_empty() && number(&seen) == reading.count {
            let parts = native.iter().filter_map(|(pushed, _)| pushed.native.as_ref());
            reading.native = Some(resolve(&parts.collect::<Vec<_>>(), native_limit));
            let mut exemplars: Vec<Exemplar> =
                native.iter().flat_map(|(_, exemplars)| exemplars.clone()).collect();
            exemplars.sort_by(by_merit);
            exemplars.dedup_by(|a, b| by_merit(a, b).is_eq());
            reading.exemplars = exemplars.split_off(exemplars.len().saturating_sub(10));
        }
        let seen: BigInt = pushes().filter(|pushed| is_classic(pushed)).map(count_of).sum();
        if self.classic && number(&seen) == reading.count {
            let bounds = self.bounds.iter().map(|bound| bound.0).chain([f64::INFINITY]);
            reading.buckets = bounds.map(|bound| bucket(entry, bound)).collect();
        } else if reading.native.is_none() {
            reading.buckets = vec![only_infinite(&reading)];
        }
        reading
    }
}

fn bucket(entry: &Entry, upper_bound: f64) -> BucketReading {
    let mut total = BigInt::ZERO;
    let mut best: Option<&Exemplar> = None;
    for (pushed, _) in entry.pushes.iter().filter(|(pushed, _)| is_classic(pushed)) {
        total += known_up_to(pushed, upper_bound);
        for bucket in pushed.buckets.iter().filter(|b| b.upper_bound == upper_bound) {
            best = best.into_iter().chain(bucket.exemplar.as_deref()).max_by(|a, b| by_merit(a, b));
        }
    }
    BucketReading {
        upper_bound,
        cumulative_count: number(&total),
        exemplar: best.cloned().map(Box::new),
    }
}

/// L(x) of one push: how many observations are certain to be at or below `bound`.
fn known_up_to(pushed: &PushHistogram, bound: f64) -> BigInt {
    if bound == f64::INFINITY {
        return count_of(pushed);
    }
    let below = pushed.buckets.iter().filter(|bucket| bucket.upper_bound <= bound);
    let nearest = below.max_by(|a, b| a.upper_bound.total_cmp(&b.upper_bound));
    nearest.and_then(|bucket| units_of(bucket.cumulative_count)).unwrap_or_default()
}

fn infinite(pushed: &PushHistogram) -> Option<Number> {
    let bucket = pushed.buckets.iter().find(|bucket| bucket.upper_bound == f64::INFINITY);
    bucket.map(|bucket| bucket.cumulative_count)
}

fn count_of(pushed: &PushHistogram) -> BigInt {
    pushed.count.or(infinite(pushed)).and_then(units_of).unwrap_or_default()
}

fn is_classic(pushed: &PushHistogram) -> bool {
    !pushed.buckets.is_empty() || pushed.native.is_none()
}

fn bounds(pushed: &PushHistogram) -> impl Iterator<Item = Bound> + '_ {
    let finite = pushed.buckets.iter().map(|bucket| bucket.upper_bound);
    finite.filter(|bound| *bound != f64::INFINITY).map(|bound| Bound(bound + 0.0))
}

/// Whether a push is a valid histogram.
pub(crate) fn fits(pushed: &PushHistogram) -> bool {
    let Some(count) = pushed.count.or(infinite(pushed)) else { return false };
    let mut given: Vec<Number> = vec![count];
    given.extend(pushed.buckets.iter().map(|bucket| bucket.cumulative_count));
    let native = pushed.native.iter();
    given.extend(native.clone().flat_map(populations));
    let whole =
        given.iter().all(|number| units_of(*number).is_some_and(|units| units >= BigInt::ZERO));
    if !whole || pushed.sum.is_some_and(|sum| !sum.is_finite()) {
        return false;
    }
    let mut buckets = pushed.buckets.clone();
    buckets.sort_by(|a, b| a.upper_bound.total_cmp(&b.upper_bound));
    let rising = buckets.is_sorted_by(|a, b| {
        units_of(a.cumulative_count).unwrap() <= units_of(b.cumulative_count).unwrap()
    });
    let numbers = !buckets.iter().any(|bucket| bucket.upper_bound.is_nan());
    let highest = buckets.last().and_then(|bucket| units_of(bucket.cumulative_count));
    let within = highest.is_none_or(|highest| highest <= count_of(pushed));
    let agreed =
        infinite(pushed).is_none_or(|infinite| units_of(infinite).unwrap() == count_of(pushed));
    numbers
        && rising
        && within
        && agreed
        && native.into_iter().all(|native| fits_native(native, count))
}

fn populations(native: &NativeBuckets) -> Vec<Number> {
    let sides = native.positive.iter().chain(&native.negative);
    sides.map(|(_, count)| *count).chain([native.zero_count]).collect()
}

fn fits_native(native: &NativeBuckets, count: Number) -> bool {
    let total: BigInt = populations(native).into_iter().filter_map(units_of).sum();
    let whole = matches!((number(&total), count), (Number::Int(_), Number::Int(_)));
    (-4..=8).contains(&native.schema)
        && native.zero_threshold >= 0.0
        && native.zero_threshold.is_finite()
        && (!whole || number(&total) == count)
}

/// Combines all layouts at once: first the smallest schema, then the zero threshold, up to a fixed
/// point.
fn resolve(parts: &[&NativeBuckets], limit: usize) -> NativeBuckets {
    let mut schema = parts.iter().map(|part| part.schema).min().unwrap();
    let mut sides = sides_at(parts, schema);
    while sides[0].len() + sides[1].len() > limit && schema > -4 {
        schema -= 1;
        sides = sides_at(parts, schema);
    }
    let thresholds = || parts.iter().map(|part| part.zero_threshold.abs());
    let mut zero_threshold = thresholds().fold(0.0, f64::max);
    let mut zero: BigInt = parts.iter().filter_map(|part| units_of(part.zero_count)).sum();
    if thresholds().any(|threshold| threshold != zero_threshold) {
        loop {
            let edges = sides
                .iter()
                .flat_map(BTreeMap::keys)
                .map(|&at| (upper_edge(schema, at - 1), upper_edge(schema, at)));
            let mut cut =
                edges.filter(|(low, high)| *low < zero_threshold && zero_threshold < *high);
            match cut.next() {
                Some((_, high)) => zero_threshold = high,
                None => break,
            }
        }
        for side in &mut sides {
            side.retain(|&at, count| {
                let swallowed = upper_edge(schema, at) <= zero_threshold;
                if swallowed {
                    zero += &*count;
                }
                !swallowed
            });
        }
    }
    let [positive, negative] =
        sides.map(|side| side.iter().map(|(at, count)| (*at, number(count))).collect());
    NativeBuckets { schema, zero_threshold, zero_count: number(&zero), positive, negative }
}

fn sides_at(parts: &[&NativeBuckets], schema: i8) -> [BTreeMap<i32, BigInt>; 2] {
    let mut sides = [BTreeMap::new(), BTreeMap::new()];
    for part in parts {
        for (into, from) in sides.iter_mut().zip([&part.positive, &part.negative]) {
            for &(index, count) in from.iter().filter(|(_, count)| !count.is_zero()) {
                // One schema at a time: buckets 2k - 1 and 2k become bucket k.
                let mut at = index;
                for _ in schema..part.schema {
                    at = (at + 1).div_euclid(2);
                }
                *into.entry(at).or_insert(BigInt::ZERO) += units_of(count).unwrap();
            }
        }
    }
    sides
}
