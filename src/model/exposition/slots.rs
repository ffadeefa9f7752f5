//! The positions of values in a body. A body that differs only in its values need not be parsed: its
//! values are put into the existing exposition.

use super::{Exposition, Member, Number, SeriesId};
use crate::model::Kind;

/// A value in the body of a push, and where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Byte offsets in the body.
    pub start: u32,
    pub end: u32,
    pub wanted: Wanted,
    pub place: Place,
}

/// The condition for a value to be read as by the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Any number.
    Float,
    /// Not negative.
    Population,
    /// A whole number below 2^64.
    Whole,
}

/// Which value of an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    Scalar(SeriesId),
    Sum(SeriesId),
    Count(SeriesId),
    /// Buckets and quantiles by their position.
    Bucket(u32),
    Quantile(u32),
}

/// Which value of a series was read.
#[derive(Clone, Copy, Debug)]
pub enum Given {
    Scalar(SeriesId),
    Sum(SeriesId),
    Count(SeriesId),
    /// The bucket or quantile that was added last.
    LastBucket,
    LastQuantile,
}

impl Exposition {
    /// Notes the position in the body of the value that was given last.
    pub(super) fn note_slot(&mut self, start: usize, end: usize, given: Given) {
        let place = match given {
            Given::Scalar(id) => Place::Scalar(id),
            Given::Sum(id) => Place::Sum(id),
            Given::Count(id) => Place::Count(id),
            Given::LastBucket => Place::Bucket(self.buckets.len().saturating_sub(1) as u32),
            Given::LastQuantile => Place::Quantile(self.quantiles.len().saturating_sub(1) as u32),
        };
        let wanted = match place {
            Place::Scalar(_) | Place::Sum(_) | Place::Quantile(_) => Wanted::Float,
            Place::Bucket(_) => Wanted::Population,
            Place::Count(id) => {
                let family = self.series[id.index()].family;
                match self.families[family.0 as usize].kind {
                    Kind::Summary => Wanted::Whole,
                    _ => Wanted::Population,
                }
            }
        };
        self.slots.push(Slot { start: start as u32, end: end as u32, wanted, place });
    }

    /// The values in the order of the body. Empty if the parser does not note them, or if members had
    /// to be sorted.
    pub fn slots(&self) -> &[Slot] {
        if self.reordered { &[] } else { &self.slots }
    }

    /// The slot at this position of [`Exposition::slots`].
    #[inline]
    pub fn slot(&self, at: usize) -> Slot {
        self.slots[at]
    }

    /// How many series, buckets and quantiles there are, that is, [`Place`]s of these kinds. `None` if
    /// members had to be sorted.
    pub fn places(&self) -> Option<[usize; 3]> {
        (!self.reordered).then_some([self.series.len(), self.buckets.len(), self.quantiles.len()])
    }

    /// Whether both have the values of a body in the same places. Both must be read from bodies that
    /// differ only in values. But the labels of the path may differ, and may merge two series into one,
    /// or keep them apart.
    pub fn has_places_of(&self, other: &Exposition) -> bool {
        fn series<T>(members: &[Member<T>]) -> impl Iterator<Item = SeriesId> {
            members.iter().map(|member| member.series)
        }
        fn places(exposition: &Exposition) -> impl Iterator<Item = Place> {
            exposition.slots.iter().map(|slot| slot.place)
        }
        self.places().is_some()
            && self.places() == other.places()
            && places(self).eq(places(other))
            && series(&self.buckets).eq(series(&other.buckets))
            && series(&self.quantiles).eq(series(&other.quantiles))
    }

    /// Replaces a value.
    #[inline]
    pub fn refill(&mut self, place: Place, value: Number) {
        match place {
            Place::Scalar(id) => self.series[id.index()].scalar = Some(value.as_f64()),
            Place::Sum(id) => self.series[id.index()].sum = Some(value.as_f64()),
            Place::Count(id) => self.series[id.index()].count = Some(value),
            Place::Bucket(at) => self.buckets[at as usize].value.cumulative_count = value,
            Place::Quantile(at) => self.quantiles[at as usize].value.value = value.as_f64(),
        }
    }

    /// Replaces a start time.
    pub fn refill_created(&mut self, id: SeriesId, created_ms: Option<i64>) {
        self.series[id.index()].created_ms = created_ms;
    }
}
