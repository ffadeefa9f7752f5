//! The full form of a histogram: it holds anything a push can contain, and takes more memory.

use super::{Layout, Packed, PushedHistogram, add_number, read_number};
use crate::merge::better_exemplar;
use crate::merge::exact::Exact;
use crate::merge::native::Native;
use crate::model::reading::{BucketReading, HistogramReading};
use crate::model::{Exemplar, Number};

#[derive(Clone, Debug)]
pub(super) struct Full {
    pub(super) count: Exact,
    /// Absent if the first push had none: a mean computed from part of the sum would be wrong.
    pub(super) sum: Option<Exact>,
    pub(super) classic: Option<Classic>,
    pub(super) native: Option<Box<Native>>,
}

#[derive(Clone, Debug)]
pub(super) struct Classic {
    pub(super) bounds: Layout,
    /// Own counts per bound, then of the observations above the last one.
    pub(super) own: Counts,
    /// The best exemplar of each bucket; empty until the first one comes.
    pub(super) exemplars: Box<[Option<Box<Exemplar>>]>,
}

/// Integers as long as all counts are, which is nearly always.
#[derive(Clone, Debug)]
pub(super) enum Counts {
    Int(Box<[u64]>),
    Exact(Box<[Exact]>),
}

impl Full {
    pub(super) fn bounds(&self) -> Option<&Layout> {
        self.classic.as_ref().map(|classic| &classic.bounds)
    }

    pub(super) fn has_sum(&self) -> bool {
        self.sum.is_some()
    }

    /// Makes room for the bounds of `layout`, which must contain those known already.
    pub(super) fn set_layout(&mut self, layout: Layout) {
        let old = match self.classic.take() {
            Some(old) if old.bounds == layout => return self.classic = Some(old),
            Some(old) => old,
            None => Classic::empty(Layout::default()),
        };
        let mut new = Classic::empty(layout);
        let mut at = 0;
        for (bound, from) in old.bounds.iter().copied().chain([f64::INFINITY]).zip(0..) {
            at = new.bounds.slot(at, bound);
            new.own.move_from(at, &old.own, from);
            if let Some(exemplar) = old.exemplars.get(from).cloned().flatten() {
                new.offer(at, &exemplar);
            }
        }
        self.classic = Some(new);
    }

    /// Adds a push whose bounds are all [known](super::Histogram::knows).
    pub(super) fn merge(&mut self, pushed: &PushedHistogram<'_>) {
        add_number(&mut self.count, pushed.count());
        match (&mut self.sum, pushed.sum) {
            (Some(total), Some(sum)) => total.add_f64(sum),
            // The check saw a sum, unless an operator has changed the rule since.
            (Some(_), None) => self.sum = None,
            (None, _) => {}
        }
        if pushed.is_classic() {
            self.classic.get_or_insert_with(|| Classic::empty(Layout::default())).merge(pushed);
        }
        if let Some(buckets) = pushed.native {
            let native = self.native.get_or_insert_with(|| Box::new(Native::like(buckets)));
            native.merge(buckets, pushed.count(), pushed.exemplars);
        }
    }

    pub(super) fn offer_exemplars(&mut self, pushed: &PushedHistogram<'_>) {
        if let Some(classic) = &mut self.classic {
            classic.offer_exemplars(pushed);
        }
        if let Some(native) = &mut self.native {
            native.offer_exemplars(pushed.exemplars);
        }
    }

    /// Fills an empty reading. Classic buckets that have missed observations are included.
    pub(super) fn read(&self, native_limit: usize, into: &mut HistogramReading) {
        into.count = read_number(&self.count);
        into.sum = self.sum.as_ref().map(Exact::to_f64);
        if let Some(native) = &self.native {
            native.read(into.count, native_limit, into);
        }
        if let Some(classic) = &self.classic {
            classic.read(&mut into.buckets);
        }
    }

    /// Bytes owned, including the value itself, without the shared layout.
    pub(super) fn heap_bytes(&self) -> usize {
        let classic = self
            .classic
            .as_ref()
            .map_or(0, |classic| classic.own.heap_bytes() + size_of_val(&*classic.exemplars));
        let native = self.native.as_ref().map_or(0, |native| native.heap_bytes());
        let sums = self.count.heap_bytes() + self.sum.as_ref().map_or(0, Exact::heap_bytes);
        size_of::<Full>() + sums + classic + native
    }
}

impl From<&Packed> for Full {
    fn from(packed: &Packed) -> Full {
        let mut count = Exact::ZERO;
        count.add_u64(packed.count());
        let classic = packed.bounds().map(|bounds| Classic {
            bounds: bounds.clone(),
            own: Counts::Int(packed.own().collect()),
            exemplars: Box::default(),
        });
        Full { count, sum: packed.sum().cloned(), classic, native: None }
    }
}

impl Classic {
    fn empty(bounds: Layout) -> Classic {
        let own = Counts::Int(vec![0; bounds.len() + 1].into());
        Classic { bounds, own, exemplars: Box::default() }
    }

    fn merge(&mut self, pushed: &PushedHistogram<'_>) {
        let mut below = Number::ZERO;
        let mut at = 0;
        for bucket in pushed.finite() {
            at = self.bounds.slot(at, bucket.upper_bound);
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
                at = self.bounds.slot(at, bucket.upper_bound);
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
                // Overflow is so rare that starting over with exact sums is fast enough.
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
            let exemplar = self.exemplars.get(at).cloned().flatten();
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
