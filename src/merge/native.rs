//! Native (exponential) buckets of one series (merge-semantics 1.3, formats 10).
//!
//! If pushes were added pairwise, reconciling the zero thresholds each time, the result would depend on
//! the order when both schemas and thresholds differ. So a push does not reconcile thresholds. The sum
//! is defined as that of all pushes at once, brought first to the smallest schema, then to one
//! threshold. It follows from four things, which can be updated push by push in any order: that schema,
//! the counts of its buckets, the largest threshold, and whether there was more than one. The threshold
//! is settled when the buckets are read.

mod record;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::exact::Exact;
use super::histogram::{add_number, read_number};
use super::{Refusal, exemplar_order};
use crate::model::exposition::ExemplarsOf;
use crate::model::reading::HistogramReading;
use crate::model::{Exemplar, NativeBuckets, Number};

pub const MIN_SCHEMA: i8 = -4;
pub const MAX_SCHEMA: i8 = 8;

/// With more populated buckets than this, the schema is lowered for good. Far more than are ever shown;
/// this protects against hostile input.
const POPULATED_MAX: usize = 4096;
/// How many exemplars the native part keeps: the best ones.
const EXEMPLARS_MAX: usize = 10;

#[derive(Clone, Debug)]
pub struct Native {
    /// Observations of all pushes that had native buckets.
    count: Exact,
    buckets: Buckets,
    /// Pushes had different zero thresholds, so buckets below the largest one count as zero. While all
    /// agree, a bucket may overlap the zero bucket.
    thresholds_differ: bool,
    /// Best last.
    exemplars: Vec<Exemplar>,
}

#[derive(Clone, Debug)]
struct Buckets {
    schema: i8,
    zero_threshold: f64,
    zero: Exact,
    positive: Side,
    negative: Side,
}

/// Populated buckets, ascending by index.
type Side = BTreeMap<i32, Exact>;

/// # Errors
/// If the schema is unknown, the zero threshold is negative or not finite, a bucket lies where no
/// number can, or the buckets do not add up to `count`. (Observations of NaN are in no bucket, but they
/// make the sum NaN, which is refused.)
pub fn check(buckets: &NativeBuckets, count: Number) -> Result<(), Refusal> {
    let schema = buckets.schema;
    if !(MIN_SCHEMA..=MAX_SCHEMA).contains(&schema) {
        return Err(Refusal::NativeSchema { schema });
    }
    if !(buckets.zero_threshold >= 0.0 && buckets.zero_threshold.is_finite()) {
        return Err(Refusal::ZeroThreshold { threshold: buckets.zero_threshold });
    }
    let indexes = indexes(schema);
    let mut total = Exact::ZERO;
    add_checked(&mut total, buckets.zero_count)?;
    for &(index, count) in buckets.positive.iter().chain(&buckets.negative) {
        if !indexes.contains(&index) {
            return Err(Refusal::BucketIndex { schema, index });
        }
        add_checked(&mut total, count)?;
    }
    match (read_number(&total), count) {
        (Number::Int(total), Number::Int(count)) if total != count => {
            Err(Refusal::CountMismatch { count: count as f64, buckets: total as f64 })
        }
        // Float histograms may be off by rounding (formats 10: "float: not compared").
        _ => Ok(()),
    }
}

fn add_checked(total: &mut Exact, count: Number) -> Result<(), Refusal> {
    super::histogram::check_count(count, "bucket")?;
    add_number(total, count);
    Ok(())
}

/// The indexes of buckets that can hold a number: from that of the smallest number to that of infinity,
/// which follows the bucket that ends at the largest finite number. All others are refused, so that
/// only a few buckets are possible at the lowest schema, whatever is pushed.
fn indexes(schema: i8) -> RangeInclusive<i32> {
    let at = |exponent: i32| if schema >= 0 { exponent << schema } else { exponent >> -schema };
    -at(1074)..=at(1024) + 1
}

impl Native {
    /// The identity of merging, with the layout of the first push.
    pub fn like(pushed: &NativeBuckets) -> Native {
        let buckets = Buckets {
            schema: pushed.schema,
            zero_threshold: threshold(pushed),
            zero: Exact::ZERO,
            positive: Side::new(),
            negative: Side::new(),
        };
        Native { count: Exact::ZERO, buckets, thresholds_differ: false, exemplars: Vec::new() }
    }

    pub fn merge(&mut self, pushed: &NativeBuckets, count: Number, exemplars: ExemplarsOf<'_>) {
        add_number(&mut self.count, count);
        let held = &mut self.buckets;
        held.lower_schema(pushed.schema);
        let threshold = threshold(pushed);
        if threshold != held.zero_threshold {
            self.thresholds_differ = true;
            held.zero_threshold = held.zero_threshold.max(threshold);
        }
        add_number(&mut held.zero, pushed.zero_count);
        let schemas_down = pushed.schema - held.schema;
        for (side, pushed) in
            [(&mut held.positive, &pushed.positive), (&mut held.negative, &pushed.negative)]
        {
            for &(index, count) in pushed.iter().filter(|(_, count)| !count.is_zero()) {
                add_number(side.entry(downscale(index, schemas_down)).or_default(), count);
            }
        }
        held.limit(POPULATED_MAX);
        self.offer_exemplars(exemplars);
    }

    pub fn offer_exemplars(&mut self, exemplars: ExemplarsOf<'_>) {
        for exemplar in exemplars.iter() {
            let held = &self.exemplars;
            let at = held.partition_point(|held| exemplar_order(held, exemplar).is_lt());
            if held.get(at).is_some_and(|held| exemplar_order(held, exemplar).is_eq()) {
                continue;
            }
            self.exemplars.insert(at, exemplar.clone());
            if self.exemplars.len() > EXEMPLARS_MAX {
                self.exemplars.remove(0);
            }
        }
    }

    /// Fills in the native part, if it has seen all `count` observations of the histogram.
    pub fn read(&self, count: Number, limit: usize, into: &mut HistogramReading) {
        if read_number(&self.count) != count {
            return;
        }
        let mut shown = self.buckets.clone();
        // Limit the buckets before some of them are counted as zero: at any one schema their number
        // never falls, so the schema shown never rises, which would look like a reset.
        shown.limit(limit);
        if self.thresholds_differ {
            shown.settle_threshold();
        }
        into.native = Some(NativeBuckets {
            schema: shown.schema,
            zero_threshold: shown.zero_threshold,
            zero_count: read_number(&shown.zero),
            positive: read_side(&shown.positive),
            negative: read_side(&shown.negative),
        });
        into.exemplars.extend_from_slice(&self.exemplars);
    }

    pub fn heap_bytes(&self) -> usize {
        // A node of a B-tree is about two thirds full.
        const BUCKET: usize = (size_of::<i32>() + size_of::<Exact>()) * 3 / 2;
        size_of::<Native>()
            + self.buckets.populated() * BUCKET
            + self.exemplars.len() * size_of::<Exemplar>()
    }
}

/// The threshold without the sign that a zero may have.
fn threshold(pushed: &NativeBuckets) -> f64 {
    pushed.zero_threshold.abs()
}

fn read_side(side: &Side) -> Vec<(i32, Number)> {
    side.iter().map(|(&index, count)| (index, read_number(count))).collect()
}

impl Buckets {
    fn populated(&self) -> usize {
        self.positive.len() + self.negative.len()
    }

    /// Merges neighbouring buckets, which is exact. Does nothing if the schema is that low already.
    fn lower_schema(&mut self, schema: i8) {
        if schema >= self.schema {
            return;
        }
        for side in [&mut self.positive, &mut self.negative] {
            let mut coarse = Side::new();
            for (&index, count) in &*side {
                coarse.entry(downscale(index, self.schema - schema)).or_default().add(count);
            }
            *side = coarse;
        }
        self.schema = schema;
    }

    /// Lowers the schema until at most `max` buckets are populated, or to the lowest one.
    fn limit(&mut self, max: usize) {
        while self.populated() > max && self.schema > MIN_SCHEMA {
            self.lower_schema(self.schema - 1);
        }
    }

    /// Raises the zero threshold until it cuts through no populated bucket, and counts the buckets
    /// below it as zero.
    fn settle_threshold(&mut self) {
        while let Some(edge) = self.edge_above_threshold() {
            self.zero_threshold = edge;
        }
        for side in [&mut self.positive, &mut self.negative] {
            while let Some(first) = side.first_entry()
                && upper_edge(self.schema, *first.key()) <= self.zero_threshold
            {
                self.zero.add(&first.remove());
            }
        }
    }

    /// The upper edge of a populated bucket that the zero threshold cuts through.
    fn edge_above_threshold(&self) -> Option<f64> {
        let threshold = self.zero_threshold;
        let edge = |index| upper_edge(self.schema, index);
        let cut = |side: &Side| {
            side.keys()
                .map(|&index| (edge(index.saturating_sub(1)), edge(index)))
                .take_while(|(lower, _)| *lower < threshold)
                .find(|(_, upper)| threshold < *upper)
                .map(|(_, upper)| upper)
        };
        cut(&self.positive).or_else(|| cut(&self.negative))
    }
}

/// The index of the bucket that contains bucket `index` when the schema is `schemas_down` lower
/// (formats 10).
pub fn downscale(index: i32, schemas_down: i8) -> i32 {
    // In 64 bits, because any i32 can be pushed; the result is nearer to zero than `index`.
    (((i64::from(index) - 1) >> schemas_down) + 1) as i32
}

/// The upper bound of bucket `index`, as an absolute value.
pub fn upper_edge(schema: i8, index: i32) -> f64 {
    let (octave, fraction) = if schema <= 0 {
        (i64::from(index) << -schema, 1.0)
    } else {
        let per_octave = 1 << schema;
        let part = f64::from(index.rem_euclid(per_octave)) / f64::from(per_octave);
        (i64::from(index.div_euclid(per_octave)), part.exp2())
    };
    match octave {
        // The last finite bucket ends at the largest f64, not at 2^1024.
        1024 if fraction == 1.0 => f64::MAX,
        1024.. => f64::INFINITY,
        ..-1100 => 0.0,
        // In two steps: 2^octave alone may be too small for an f64, or for powi.
        _ => {
            let octave = octave as i32;
            fraction * 2f64.powi(octave / 2) * 2f64.powi(octave - octave / 2)
        }
    }
}
