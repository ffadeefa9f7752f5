//! The small form that nearly all histograms have, in one allocation: classic buckets that hold whole
//! numbers, without exemplars. Anything else needs the [full](super::full) form.
//!
//! Every observation is in a bucket here, so the count is the sum of the buckets and need not be kept.
//! A bucket is one 32-bit word, or two of them once the count needs more than 32 bits.

use std::fmt;

use triomphe::{Arc, HeaderSlice, UniqueArc};

use super::{Layout, PushedHistogram};
use crate::merge::exact::Exact;
use crate::model::Number;
use crate::model::packed::Packer;
use crate::model::reading::{BucketReading, HistogramReading};

pub(super) struct Packed(UniqueArc<HeaderSlice<Head, [u32]>>);

#[derive(Clone, Debug)]
struct Head {
    bounds: Layout,
    sum: Option<Exact>,
}

impl Packed {
    /// Before the first push: without buckets, not even `+Inf`.
    pub(super) fn empty(sum: Option<Exact>) -> Packed {
        Packed::with(Head { bounds: Layout::default(), sum }, [].into_iter())
    }

    /// `own`: observations per bound, then those above the last one. `None` if their sum overflows.
    pub(super) fn new(
        bounds: Layout,
        sum: Option<Exact>,
        own: impl ExactSizeIterator<Item = u64> + Clone,
    ) -> Option<Packed> {
        debug_assert_eq!(own.len(), bounds.len() + 1);
        let total = own.clone().try_fold(0, u64::checked_add)?;
        let is_wide = total > u32::MAX.into();
        let words = if is_wide { 2 * own.len() } else { own.len() };
        let mut packed = Packed::with(Head { bounds, sum }, (0..words).map(|_| 0));
        own.enumerate().for_each(|(at, count)| packed.set(at, count));
        Some(packed)
    }

    fn with(head: Head, words: impl ExactSizeIterator<Item = u32>) -> Packed {
        let shared = Arc::from_header_and_iter(head, words);
        Packed(UniqueArc::try_from(shared).unwrap_or_else(|_| unreachable!("nobody else has it")))
    }

    /// `None` before the first classic push.
    pub(super) fn bounds(&self) -> Option<&Layout> {
        (!self.0.slice.is_empty()).then_some(&self.0.header.bounds)
    }

    pub(super) fn sum(&self) -> Option<&Exact> {
        self.0.header.sum.as_ref()
    }

    fn is_wide(&self) -> bool {
        self.0.slice.len() > self.0.header.bounds.len() + 1
    }

    /// Observations in each bucket, `+Inf` the last.
    pub(super) fn own(&self) -> impl ExactSizeIterator<Item = u64> + Clone + '_ {
        let words_each = if self.is_wide() { 2 } else { 1 };
        self.0.slice.chunks_exact(words_each).map(|words| match *words {
            [low, high] => u64::from(high) << 32 | u64::from(low),
            _ => words[0].into(),
        })
    }

    /// The number of all observations: `new` and `merge` make sure that it does not overflow.
    pub(super) fn count(&self) -> u64 {
        if self.is_wide() {
            self.own().sum()
        } else {
            self.0.slice.iter().map(|&n| u64::from(n)).sum()
        }
    }

    fn set(&mut self, at: usize, count: u64) {
        if self.is_wide() {
            self.0.slice[2 * at] = count as u32;
            self.0.slice[2 * at + 1] = (count >> 32) as u32;
        } else {
            self.0.slice[at] = count as u32;
        }
    }

    fn add(&mut self, at: usize, count: u64) {
        if self.is_wide() {
            let words = &self.0.slice[2 * at..];
            let own = u64::from(words[1]) << 32 | u64::from(words[0]);
            self.set(at, own + count);
        } else {
            self.0.slice[at] += count as u32;
        }
    }

    /// Makes room for the bounds of `layout`, which must contain those known already.
    pub(super) fn set_layout(&mut self, layout: Layout) {
        if self.bounds() == Some(&layout) {
            return;
        }
        let mut own = vec![0; layout.len() + 1];
        let mut at = 0;
        for (&bound, count) in self.0.header.bounds.iter().chain([&f64::INFINITY]).zip(self.own()) {
            at = layout.slot(at, bound);
            own[at] = count;
        }
        let sum = self.0.header.sum.take();
        *self = Packed::new(layout, sum, own.into_iter()).expect("as many as there were");
    }

    /// Adds a push whose bounds are all known. Returns false and changes nothing if this form cannot
    /// hold it.
    pub(super) fn merge(&mut self, pushed: &PushedHistogram<'_>) -> bool {
        let Number::Int(count) = pushed.count() else { return false };
        let total = self.count().checked_add(count);
        let Some(total) = total.filter(|_| pushed.is_whole_and_plain()) else { return false };
        if self.0.slice.is_empty() {
            self.set_layout(Layout::default());
        }
        if total > u32::MAX.into() && !self.is_wide() {
            self.widen();
        }
        let (mut below, mut at) = (0, 0);
        for bucket in pushed.finite() {
            let Number::Int(cumulative) = bucket.cumulative_count else { continue };
            at = self.0.header.bounds.slot(at, bucket.upper_bound);
            // Cumulative counts do not fall: that was checked.
            self.add(at, cumulative.saturating_sub(below));
            below = cumulative;
        }
        self.add(self.0.header.bounds.len(), count.saturating_sub(below));
        let head = &mut self.0.header;
        match (&mut head.sum, pushed.sum) {
            (Some(total), Some(sum)) => total.add_f64(sum),
            // The check saw a sum, unless an operator has changed the rule since.
            (Some(_), None) => head.sum = None,
            (None, _) => {}
        }
        true
    }

    fn widen(&mut self) {
        let words = (0..2 * self.0.slice.len()).map(|at| match at % 2 {
            0 => self.0.slice[at / 2],
            _ => 0,
        });
        *self = Packed::with(self.0.header.clone(), words);
    }

    pub(super) fn read(&self, into: &mut HistogramReading) {
        let mut count = 0;
        let mut bucket = |(&upper_bound, own)| {
            count += own;
            let cumulative_count = Number::Int(count);
            BucketReading { upper_bound, cumulative_count, exemplar: None }
        };
        if let Some(bounds) = self.bounds() {
            let bounds = bounds.iter().chain([&f64::INFINITY]);
            if self.is_wide() {
                into.buckets.extend(bounds.zip(self.own()).map(&mut bucket));
            } else {
                let own = self.0.slice.iter().map(|&own| own.into());
                into.buckets.extend(bounds.zip(own).map(&mut bucket));
            }
        }
        into.count = Number::Int(count);
        into.sum = self.sum().map(Exact::to_f64);
    }

    /// Writes the same bytes as the full form.
    pub(super) fn pack(&self, into: &mut Packer<'_>) {
        let mut count = Exact::ZERO;
        count.add_u64(self.count());
        count.pack(into);
        into.option(self.sum(), |into, sum| sum.pack(into));
        into.option(self.bounds(), |into, bounds| {
            into.length(bounds.len());
            bounds.iter().for_each(|&bound| into.f64(bound));
            into.u8(0);
            self.own().for_each(|count| into.u64(count));
            into.length(0);
        });
        into.u8(0);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let counter = size_of::<usize>();
        counter + size_of_val(&*self.0) + self.sum().map_or(0, Exact::heap_bytes)
    }
}

impl Clone for Packed {
    fn clone(&self) -> Packed {
        Packed::with(self.0.header.clone(), self.0.slice.iter().copied())
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packed")
            .field("head", &self.0.header)
            .field("own", &self.own().collect::<Vec<_>>())
            .finish()
    }
}
