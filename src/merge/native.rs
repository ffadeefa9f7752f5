//! Native (exponential) buckets of one series (merge-semantics 1.3, formats 10).
//!
//! Adding two histograms pairwise depends on the order when their schemas and zero thresholds both
//! differ. So nothing is resolved when a push arrives: counts are kept per layout, that is per
//! (schema, zero threshold), and all layouts are brought together in one step when read.

use std::collections::BTreeMap;

use super::exact::Exact;
use super::histogram::{add_number, read_number};
use super::{Refusal, better_exemplar};
use crate::model::exposition::ExemplarsOf;
use crate::model::reading::HistogramReading;
use crate::model::{Exemplar, NativeBuckets, Number};

pub const MIN_SCHEMA: i8 = -4;
pub const MAX_SCHEMA: i8 = 8;

/// More layouts than this in one series are folded into one for good.
const LAYOUTS_MAX: usize = 8;
/// More populated buckets than this on one side of a layout lower its schema for good. Far above
/// what is shown; a bound against hostile input.
const POPULATED_MAX: usize = 4096;
/// Exemplars kept for the native part: the best ones.
const EXEMPLARS_MAX: usize = 10;

/// Ascending by index.
type Buckets = BTreeMap<i32, Exact>;

#[derive(Clone, Debug, Default)]
pub struct Native {
    /// Observations of all pushes that had native buckets, those of NaN included.
    count: Exact,
    /// Few, in no particular order, (schema, zero threshold) unique.
    layouts: Vec<Layout>,
    /// Oldest first.
    exemplars: Vec<Exemplar>,
}

#[derive(Clone, Debug)]
struct Layout {
    schema: i8,
    zero_threshold: f64,
    zero: Exact,
    positive: Buckets,
    negative: Buckets,
}

/// # Errors
/// If the schema is unknown, the zero threshold is no width, or the buckets hold more observations
/// than `count` (fewer are fine: those of NaN are in no bucket).
pub fn check(buckets: &NativeBuckets, count: Number) -> Result<(), Refusal> {
    if !(MIN_SCHEMA..=MAX_SCHEMA).contains(&buckets.schema) {
        return Err(Refusal::NativeSchema { schema: buckets.schema });
    }
    if !(buckets.zero_threshold >= 0.0 && buckets.zero_threshold.is_finite()) {
        return Err(Refusal::ZeroThreshold { threshold: buckets.zero_threshold });
    }
    let mut total = Exact::ZERO;
    let sides = buckets.positive.iter().chain(&buckets.negative).map(|(_, count)| *count);
    for count in sides.chain([buckets.zero_count]) {
        match count {
            Number::Float(x) if !x.is_finite() => {
                return Err(Refusal::NotFinite { what: "bucket", value: x });
            }
            Number::Float(x) if x < 0.0 => {
                return Err(Refusal::Negative { what: "bucket", value: x });
            }
            _ => add_number(&mut total, count),
        }
    }
    let total = read_number(&total);
    // Float histograms may be off by rounding (formats 10: "float: not compared").
    match (total, count) {
        (Number::Int(total), Number::Int(count)) if total > count => {
            Err(Refusal::CountMismatch { count: count as f64, buckets: total as f64 })
        }
        _ => Ok(()),
    }
}

impl Native {
    pub fn merge(&mut self, pushed: &NativeBuckets, count: Number, exemplars: ExemplarsOf<'_>) {
        add_number(&mut self.count, count);
        let layout = self.layout(pushed.schema, pushed.zero_threshold);
        add_number(&mut layout.zero, pushed.zero_count);
        for (buckets, side) in
            [(&mut layout.positive, &pushed.positive), (&mut layout.negative, &pushed.negative)]
        {
            for &(index, count) in side.iter().filter(|(_, count)| !count.is_zero()) {
                add_number(buckets.entry(index).or_default(), count);
            }
        }
        layout.bound();
        if self.layouts.len() > LAYOUTS_MAX {
            self.layouts = vec![resolve(&self.layouts)];
        }
        self.offer_exemplars(exemplars);
    }

    pub fn offer_exemplars(&mut self, exemplars: ExemplarsOf<'_>) {
        for exemplar in exemplars.iter() {
            self.offer(exemplar);
        }
    }

    fn layout(&mut self, schema: i8, zero_threshold: f64) -> &mut Layout {
        let known =
            |layout: &Layout| layout.schema == schema && layout.zero_threshold == zero_threshold;
        let at = self.layouts.iter().position(known).unwrap_or_else(|| {
            self.layouts.push(Layout {
                schema,
                zero_threshold,
                zero: Exact::ZERO,
                positive: Buckets::new(),
                negative: Buckets::new(),
            });
            self.layouts.len() - 1
        });
        &mut self.layouts[at]
    }

    fn offer(&mut self, exemplar: &Exemplar) {
        let at = self.exemplars.partition_point(|held| better_exemplar(exemplar, held));
        if self.exemplars.get(at) == Some(exemplar) {
            return;
        }
        self.exemplars.insert(at, exemplar.clone());
        if self.exemplars.len() > EXEMPLARS_MAX {
            self.exemplars.remove(0);
        }
    }

    /// Shows the native part if it has seen all `count` observations of the histogram.
    pub fn read(&self, count: Number, limit: usize, into: &mut HistogramReading) {
        if read_number(&self.count) != count {
            return;
        }
        let mut resolved = resolve(&self.layouts);
        while resolved.populated() > limit && resolved.schema > MIN_SCHEMA {
            // From the layouts again: a threshold that a finer schema has settled may lie inside
            // a bucket of the coarser one.
            let schema = resolved.schema - 1;
            resolved = resolve_at(&self.layouts, schema);
        }
        into.native = Some(NativeBuckets {
            schema: resolved.schema,
            zero_threshold: resolved.zero_threshold,
            zero_count: read_number(&resolved.zero),
            positive: read_side(&resolved.positive),
            negative: read_side(&resolved.negative),
        });
        into.exemplars.extend_from_slice(&self.exemplars);
    }

    pub fn heap_bytes(&self) -> usize {
        let buckets = self.layouts.iter().map(Layout::populated).sum::<usize>();
        // A node of a B-tree is about two thirds full.
        let bucket = (size_of::<i32>() + size_of::<Exact>()) * 3 / 2;
        size_of::<Native>() + self.layouts.len() * size_of::<Layout>() + buckets * bucket
    }
}

fn read_side(buckets: &Buckets) -> Vec<(i32, Number)> {
    buckets.iter().map(|(&index, count)| (index, read_number(count))).collect()
}

/// All layouts at the smallest of their schemas.
fn resolve(layouts: &[Layout]) -> Layout {
    let schema = layouts.iter().map(|layout| layout.schema).min().unwrap_or(MAX_SCHEMA);
    resolve_at(layouts, schema)
}

/// All layouts at `schema`, which none of them may be below, under the smallest zero threshold that
/// is at least each of theirs and cuts no populated bucket. Depends on the set of layouts only.
fn resolve_at(layouts: &[Layout], schema: i8) -> Layout {
    let zero_threshold = layouts.iter().map(|layout| layout.zero_threshold).fold(0.0, f64::max);
    let mut sum = Layout {
        schema,
        zero_threshold,
        zero: Exact::ZERO,
        positive: Buckets::new(),
        negative: Buckets::new(),
    };
    for layout in layouts {
        sum.zero.add(&layout.zero);
        add_side(&mut sum.positive, &layout.positive, layout.schema - schema);
        add_side(&mut sum.negative, &layout.negative, layout.schema - schema);
    }
    // Layouts with the largest threshold may hold buckets that overlap it, which is legal for one
    // histogram alone, but not distinguishable after the sum.
    if layouts.iter().any(|layout| layout.zero_threshold != zero_threshold) {
        while let Some(edge) = sum.edge_above_threshold() {
            sum.zero_threshold = edge;
        }
        sum.swallow();
    }
    sum
}

fn add_side(into: &mut Buckets, from: &Buckets, schemas_down: i8) {
    for (&index, count) in from {
        into.entry(downscale(index, schemas_down)).or_default().add(count);
    }
}

/// The index of the bucket that holds bucket `index`, `schemas_down` schemas lower (formats 10).
pub fn downscale(index: i32, schemas_down: i8) -> i32 {
    ((index - 1) >> schemas_down) + 1
}

/// Upper end of bucket `index`, in absolute value.
pub fn upper_edge(schema: i8, index: i32) -> f64 {
    if schema <= 0 {
        // The last bucket that is not infinite ends at the largest f64, not at 2^1024.
        let exponent = i64::from(index) << -schema;
        return match exponent {
            1024 => f64::MAX,
            ..-1074 => 0.0,
            1025.. => f64::INFINITY,
            _ => 2f64.powi(exponent as i32),
        };
    }
    let per_octave = 1 << schema;
    let (octave, part) = (index.div_euclid(per_octave), index.rem_euclid(per_octave));
    if octave >= 1024 {
        return if part == 0 && octave == 1024 { f64::MAX } else { f64::INFINITY };
    }
    let fraction = (f64::from(part) / f64::from(per_octave)).exp2();
    // In two steps, so that a subnormal result is not lost on the way.
    fraction * 2f64.powi(octave / 2) * 2f64.powi(octave - octave / 2)
}

impl Layout {
    fn populated(&self) -> usize {
        self.positive.len() + self.negative.len()
    }

    /// See [`POPULATED_MAX`].
    fn bound(&mut self) {
        while self.populated() > POPULATED_MAX && self.schema > MIN_SCHEMA {
            for side in [&mut self.positive, &mut self.negative] {
                let mut coarse = Buckets::new();
                add_side(&mut coarse, side, 1);
                *side = coarse;
            }
            self.schema -= 1;
        }
    }

    /// The upper edge of a populated bucket that the zero threshold cuts through.
    fn edge_above_threshold(&self) -> Option<f64> {
        let threshold = self.zero_threshold;
        let cut = |side: &Buckets| {
            side.keys()
                .map(|&index| (upper_edge(self.schema, index - 1), upper_edge(self.schema, index)))
                .take_while(|(lower, _)| *lower < threshold)
                .find(|(_, upper)| threshold < *upper)
                .map(|(_, upper)| upper)
        };
        cut(&self.positive).or_else(|| cut(&self.negative))
    }

    /// Moves the buckets below the zero threshold into the zero bucket.
    fn swallow(&mut self) {
        for side in [&mut self.positive, &mut self.negative] {
            while let Some(first) = side.first_entry()
                && upper_edge(self.schema, *first.key()) <= self.zero_threshold
            {
                self.zero.add(&first.remove());
            }
        }
    }
}
