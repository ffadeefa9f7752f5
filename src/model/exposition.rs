//! One parsed push: families and series in flat, reusable buffers.
//!
//! Parsers fill it through a [`Builder`], which owns what all formats share: label sets become
//! canonical text with the grouping labels applied, samples of the same series come together whatever
//! the order of their lines, and nothing may be given twice (formats G4). The store then reads it. All
//! text is in one arena, so once the buffers have grown, a push allocates nothing per sample.

mod builder;
mod slots;

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::labels::{Extent, LabelError};
use super::{Exemplar, Grouping, Kind, NativeBuckets, Number};
pub use builder::Builder;
pub use slots::{Given, Place, Slot, Wanted};

/// Hashes series identities. Seeded per process, so that clients cannot provoke collisions; clones
/// agree with each other. A hash only finds candidates, and a comparison of text decides.
#[derive(Clone, Debug, Default)]
pub struct SeriesHasher(RandomState);

impl SeriesHasher {
    pub fn family(&self, name: &str) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(name.as_bytes());
        hasher.finish()
    }

    /// `family` is the result of [`SeriesHasher::family`] for the name of the family.
    pub fn series(&self, family: u64, labels: impl AsRef<[u8]>) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write_u64(family);
        hasher.write(labels.as_ref());
        hasher.finish()
    }
}

/// A family of one [`Exposition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FamilyId(u32);

impl FamilyId {
    /// Position in the exposition.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A series of one [`Exposition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(u32);

impl SeriesId {
    /// The series at this position.
    pub fn new(index: usize) -> SeriesId {
        SeriesId(index as u32)
    }

    /// Position in the exposition.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Why a body is not a valid exposition although its syntax is. A parser adds the position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Label(#[from] LabelError),
    #[error("metric name {0:?} holds a NUL, which Prometheus cannot read in names")]
    Nul(String),
    #[error("{what} of series {series} is given twice")]
    Twice { what: String, series: String },
    #[error(
        "the labels of all series, with those of the URL, take more than {TEXT_BYTES_MAX} bytes"
    )]
    TooMuchText,
}

/// Which names of metrics and labels a push may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Only those with legacy characters.
    Legacy,
    Utf8,
}

/// How many complaints are reported one by one.
const COMPLAINTS_MAX: usize = 50;

/// How much text the labels of a push may take. Grouping labels are written once per series, so a body
/// of short lines under a long URL can grow to many times its size. Far below `u32::MAX`, so that names
/// and help texts of the body still fit after them.
const TEXT_BYTES_MAX: usize = 1 << 30;

#[derive(Debug, Default)]
pub struct Exposition {
    hasher: SeriesHasher,
    text: String,
    families: Vec<FamilyEntry>,
    series: Vec<SeriesEntry>,
    buckets: Vec<Member<Bucket>>,
    quantiles: Vec<Member<Quantile>>,
    states: Vec<Member<State>>,
    natives: Vec<NativeBuckets>,
    exemplars: Vec<Member<Exemplar>>,
    slots: Vec<Slot>,
    /// Whether members were given in another order than they now have.
    reordered: bool,
    family_index: HashTable<u32>,
    series_index: HashTable<u32>,
    samples: usize,
    created_dropped: usize,
    extent: Extent,
    complaints: Vec<String>,
    complaints_left_out: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Debug)]
struct FamilyEntry {
    name: Span,
    hash: u64,
    kind: Kind,
    help: Option<Span>,
    unit: Option<Span>,
    typed: bool,
    series: u32,
}

#[derive(Debug)]
struct SeriesEntry {
    family: FamilyId,
    labels: Span,
    hash: u64,
    scalar: Option<f64>,
    count: Option<Number>,
    sum: Option<f64>,
    /// Buckets, quantiles or states, by kind; set by [`Builder::finish`].
    members: Span,
    native: Option<u32>,
    exemplars: Span,
    created_ms: Option<i64>,
    dropped: bool,
}

/// Something that belongs to a series and may arrive in any order.
#[derive(Debug)]
struct Member<T> {
    series: SeriesId,
    value: T,
}

/// A classic bucket as pushed: cumulative, with an optional exemplar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    pub upper_bound: f64,
    pub cumulative_count: Number,
    pub exemplar: Option<Box<Exemplar>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile {
    pub quantile: f64,
    pub value: f64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub name: Box<str>,
    pub on: bool,
}

/// A family as pushed.
#[derive(Clone, Copy, Debug)]
pub struct PushedFamily<'a> {
    pub id: FamilyId,
    pub name: &'a str,
    /// [`SeriesHasher::family`] of the name.
    pub hash: u64,
    pub kind: Kind,
    /// Whether the body named a type; if not, `kind` is [`Kind::Untyped`].
    pub typed: bool,
    pub help: Option<&'a str>,
    pub unit: Option<&'a str>,
    /// How many series of the body belong to it.
    pub series: usize,
}

/// A series as pushed. Which fields are used depends on the kind of the family.
#[derive(Clone, Copy, Debug)]
pub struct PushedSeries<'a> {
    pub id: SeriesId,
    pub family: FamilyId,
    /// Canonical label text, grouping labels included.
    pub labels: &'a str,
    /// [`SeriesHasher::series`] of family and labels.
    pub hash: u64,
    pub value: PushedValue<'a>,
    pub exemplars: ExemplarsOf<'a>,
    /// The start time that the client gave, in milliseconds since the Unix epoch.
    pub created_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
pub enum PushedValue<'a> {
    /// Counter, gauge, untyped, info.
    Scalar(f64),
    /// Histogram, gauge histogram.
    Histogram {
        count: Option<Number>,
        sum: Option<f64>,
        buckets: BucketsOf<'a>,
        native: Option<&'a NativeBuckets>,
    },
    Summary {
        count: Option<Number>,
        sum: Option<f64>,
        quantiles: QuantilesOf<'a>,
    },
    StateSet(StatesOf<'a>),
}

macro_rules! members_of {
    ($(#[$doc:meta])* $name:ident, $item:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<'a>(&'a [Member<$item>]);

        impl<'a> $name<'a> {
            pub fn len(&self) -> usize {
                self.0.len()
            }

            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a $item> + DoubleEndedIterator + Clone + use<'a> {
                self.0.iter().map(|member| &member.value)
            }
        }
    };
}

members_of!(/** Bounds unique and ascending; of a push that replaces, as pushed. */ BucketsOf, Bucket);
members_of!(/** Quantiles unique and ascending; of a push that replaces, as pushed. */ QuantilesOf, Quantile);
members_of!(/** Sorted by name, names unique. */ StatesOf, State);
members_of!(/** Of the whole series: at most one on a counter, any number on native buckets. */ ExemplarsOf, Exemplar);

impl Exposition {
    /// `hasher` must be (a clone of) that of the store that the push is for.
    pub fn new(hasher: SeriesHasher) -> Exposition {
        Exposition { hasher, ..Exposition::default() }
    }

    /// Empties it and starts a new push; buffers are kept for reuse.
    pub fn build<'e>(&'e mut self, grouping: &'e Grouping) -> Builder<'e> {
        self.clear();
        Builder { to: self, grouping, replaces: None }
    }

    /// As [`Exposition::build`], for a push that replaces what is stored (pushgateway-contract 9).
    /// Reading then continues after something that cannot be stored, because it makes a difference
    /// whether the rest can be read. It is noted instead, see [`Exposition::complaints`]. The members
    /// of a series stay in the order of the body, and `_created` samples are treated like any others.
    pub fn build_replacing<'e>(&'e mut self, grouping: &'e Grouping, names: Names) -> Builder<'e> {
        self.clear();
        Builder { to: self, grouping, replaces: Some(names) }
    }

    /// Why the push cannot be stored although all of it could be read: the first reasons.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// How many more complaints there are.
    pub fn complaints_left_out(&self) -> usize {
        self.complaints_left_out
    }

    fn clear(&mut self) {
        self.text.clear();
        self.families.clear();
        self.series.clear();
        self.buckets.clear();
        self.quantiles.clear();
        self.states.clear();
        self.natives.clear();
        self.exemplars.clear();
        self.slots.clear();
        self.reordered = false;
        clear_table(&mut self.family_index);
        clear_table(&mut self.series_index);
        self.samples = 0;
        self.created_dropped = 0;
        self.extent = Extent::default();
        self.complaints.clear();
        self.complaints_left_out = 0;
    }

    /// How many bytes the buffers hold, so that their owner can drop unusually large ones.
    pub fn capacity_bytes(&self) -> usize {
        self.text.capacity()
            + self.series.capacity() * size_of::<SeriesEntry>()
            + self.families.capacity() * size_of::<FamilyEntry>()
            + self.buckets.capacity() * size_of::<Member<Bucket>>()
    }

    pub fn hasher(&self) -> &SeriesHasher {
        &self.hasher
    }

    /// How many samples there are: lines in the text format, or what would be such lines.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// How many `_created` pseudo samples were left out (merge-semantics 1, "created samples").
    pub fn created_dropped(&self) -> usize {
        self.created_dropped
    }

    /// How many quantiles of summaries there are.
    pub fn quantiles(&self) -> usize {
        self.quantiles.len()
    }

    /// The most labels, the longest name and the longest value of any series.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    pub fn is_empty(&self) -> bool {
        self.series().next().is_none()
    }

    /// How many series there are, including those that a rule has dropped; every [`SeriesId::index`] is
    /// below this.
    pub fn series_len(&self) -> usize {
        self.series.len()
    }

    /// In order of appearance, including those without series.
    pub fn families(&self) -> impl Iterator<Item = PushedFamily<'_>> {
        (0..self.families.len() as u32).map(|id| self.family(FamilyId(id)))
    }

    #[inline]
    pub fn family(&self, id: FamilyId) -> PushedFamily<'_> {
        let entry = &self.families[id.0 as usize];
        PushedFamily {
            id,
            name: self.str(entry.name),
            hash: entry.hash,
            kind: entry.kind,
            typed: entry.typed,
            help: entry.help.map(|span| self.str(span)),
            unit: entry.unit.map(|span| self.str(span)),
            series: entry.series as usize,
        }
    }

    /// [`PushedFamily::kind`], without the rest.
    #[inline]
    pub fn kind(&self, id: FamilyId) -> Kind {
        self.families[id.0 as usize].kind
    }

    /// In order of appearance.
    pub fn series(&self) -> impl Iterator<Item = PushedSeries<'_>> {
        self.series
            .iter()
            .enumerate()
            .filter(|(_, entry)| !entry.dropped)
            .map(|(at, entry)| self.view(SeriesId(at as u32), entry))
    }

    /// As [`Exposition::series`], but faster, because the labels are left out: for callers that know
    /// them already.
    pub fn values(&self) -> impl Iterator<Item = PushedSeries<'_>> {
        let live = self.series.iter().enumerate().filter(|(_, entry)| !entry.dropped);
        live.map(|(at, entry)| {
            let SeriesEntry { family, created_ms, .. } = *entry;
            let id = SeriesId(at as u32);
            match (self.kind(family), entry.scalar) {
                (Kind::Counter | Kind::Gauge | Kind::Untyped | Kind::Info, Some(value))
                    if entry.exemplars.start == entry.exemplars.end =>
                {
                    let value = PushedValue::Scalar(value);
                    let exemplars = ExemplarsOf(&[]);
                    PushedSeries { id, family, labels: "", hash: 0, value, exemplars, created_ms }
                }
                _ => PushedSeries { labels: "", hash: 0, ..self.view(id, entry) },
            }
        })
    }

    /// `None` if there is no such series, or a rule has dropped it.
    pub fn get(&self, id: SeriesId) -> Option<PushedSeries<'_>> {
        self.series.get(id.index()).filter(|entry| !entry.dropped).map(|entry| self.view(id, entry))
    }

    #[inline]
    fn view(&self, id: SeriesId, entry: &SeriesEntry) -> PushedSeries<'_> {
        let (count, sum) = (entry.count, entry.sum);
        let value = match self.families[entry.family.0 as usize].kind {
            Kind::Counter | Kind::Gauge | Kind::Untyped | Kind::Info => {
                PushedValue::Scalar(entry.scalar.unwrap_or_default())
            }
            Kind::Histogram | Kind::GaugeHistogram => PushedValue::Histogram {
                count,
                sum,
                buckets: BucketsOf(entry.members.of(&self.buckets)),
                native: entry.native.and_then(|at| self.natives.get(at as usize)),
            },
            Kind::Summary => PushedValue::Summary {
                count,
                sum,
                quantiles: QuantilesOf(entry.members.of(&self.quantiles)),
            },
            Kind::StateSet => PushedValue::StateSet(StatesOf(entry.members.of(&self.states))),
        };
        PushedSeries {
            id,
            family: entry.family,
            labels: self.str(entry.labels),
            hash: entry.hash,
            value,
            exemplars: ExemplarsOf(entry.exemplars.of(&self.exemplars)),
            created_ms: entry.created_ms,
        }
    }

    /// Leaves a series out from now on, because of a rule.
    pub fn drop_series(&mut self, id: SeriesId) {
        let entry = &mut self.series[id.0 as usize];
        if !entry.dropped {
            entry.dropped = true;
            self.families[entry.family.0 as usize].series -= 1;
        }
    }

    /// Gives a series another family name or label set, because of a rule. Two series that become one
    /// that way add up (merge-semantics 0).
    pub fn rename_series(&mut self, id: SeriesId, family: Option<&str>, labels: Option<&str>) {
        let SeriesEntry { family: old, labels: old_labels, .. } = self.series[id.0 as usize];
        let new = match family {
            Some(name) if name != self.family(old).name => self.family_like(name, old),
            _ => old,
        };
        let labels = labels.map_or(old_labels, |labels| self.push_str(labels));
        let hash = self.hasher.series(self.families[new.0 as usize].hash, self.str(labels));
        self.families[old.0 as usize].series -= 1;
        self.families[new.0 as usize].series += 1;
        let entry = &mut self.series[id.0 as usize];
        (entry.family, entry.labels, entry.hash) = (new, labels, hash);
    }

    /// The family with this name and the kind of `model`. Families with the same name but different
    /// kinds are kept apart: a push may have samples for a name to which a rule renames others.
    fn family_like(&mut self, name: &str, model: FamilyId) -> FamilyId {
        let FamilyEntry { kind, help, unit, typed, .. } = self.families[model.0 as usize];
        let hash = self.hasher.family(name);
        let same = |&at: &u32| {
            let family = &self.families[at as usize];
            family.kind == kind && self.str(family.name) == name
        };
        if let Some(&found) = self.family_index.find(hash, same) {
            return FamilyId(found);
        }
        let name = self.push_str(name);
        let at = self.families.len() as u32;
        self.families.push(FamilyEntry { name, hash, kind, help, unit, typed, series: 0 });
        let families = &self.families;
        self.family_index.insert_unique(hash, at, |&at| families[at as usize].hash);
        FamilyId(at)
    }

    fn find_hashed(&self, name: &str, hash: u64) -> Option<FamilyId> {
        let same = |&at: &u32| self.str(self.families[at as usize].name) == name;
        self.family_index.find(hash, same).map(|&at| FamilyId(at))
    }

    fn str(&self, span: Span) -> &str {
        &self.text[span.start as usize..span.end as usize]
    }

    fn push_str(&mut self, text: &str) -> Span {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        Span { start, end: self.text.len() as u32 }
    }

    fn describe(&self, id: SeriesId) -> String {
        let entry = &self.series[id.0 as usize];
        let name = self.str(self.families[entry.family.0 as usize].name);
        format!("{name}{{{}}}", self.str(entry.labels))
    }
}

/// Clearing takes time in proportion to the capacity of the table. So most of it is given back after a
/// large push, or small pushes would pay for it.
fn clear_table(table: &mut HashTable<u32>) {
    const SMALL: usize = 64;
    let used = table.len().max(SMALL);
    table.clear();
    if table.capacity() > 8 * used {
        table.shrink_to(2 * used, |_| 0);
    }
}

impl Span {
    fn of<T>(self, items: &[T]) -> &[T] {
        &items[self.start as usize..self.end as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Label;

    fn bucket(upper_bound: f64, count: u64) -> Bucket {
        Bucket { upper_bound, cumulative_count: Number::Int(count), exemplar: None }
    }

    #[test]
    fn interleaved_members_come_together_in_order() {
        let grouping = Grouping::new([("job", "j")]).unwrap();
        let mut exposition = Exposition::default();
        let mut builder = exposition.build(&grouping);
        let family = builder.family("h");
        builder.set_kind(family, Kind::Histogram);
        let a = builder.series(family, &mut [Label::raw("x", "a")]).unwrap();
        builder.add_bucket(a, bucket(f64::INFINITY, 3));
        let b = builder.series(family, &mut [Label::raw("x", "b")]).unwrap();
        builder.add_bucket(b, bucket(1.0, 1));
        assert_eq!(builder.series(family, &mut [Label::raw("x", "a")]), Ok(a));
        builder.add_bucket(a, bucket(0.5, 2));
        builder.set_count(a, Number::Int(3)).unwrap();
        builder.finish().unwrap();

        let seen: Vec<_> = exposition
            .series()
            .map(|series| {
                let PushedValue::Histogram { buckets, .. } = series.value else { panic!() };
                (
                    series.labels.to_owned(),
                    buckets.iter().map(|b| b.upper_bound).collect::<Vec<_>>(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                (r#"job="j",x="a""#.to_owned(), vec![0.5, f64::INFINITY]),
                (r#"job="j",x="b""#.to_owned(), vec![1.0]),
            ]
        );
        assert_eq!(exposition.samples(), 4);
        assert_eq!(exposition.extent().labels, 2);
    }

    #[test]
    fn nothing_may_be_said_twice() {
        let grouping = Grouping::default();
        let mut exposition = Exposition::default();
        let mut builder = exposition.build(&grouping);
        let family = builder.family("a");
        let series = builder.series(family, &mut []).unwrap();
        builder.set_scalar(series, 1.0).unwrap();
        assert!(builder.set_scalar(series, 1.0).is_err());

        let mut builder = exposition.build(&grouping);
        let family = builder.family("h");
        builder.set_kind(family, Kind::Histogram);
        let series = builder.series(family, &mut []).unwrap();
        builder.add_bucket(series, bucket(1.0, 1));
        builder.add_bucket(series, bucket(2.0, 1));
        builder.add_bucket(series, bucket(1.0, 1));
        let error = builder.finish().unwrap_err();
        assert_eq!(error.to_string(), "the bucket le=\"1\" of series h{} is given twice");

        let mut builder = exposition.build(&grouping);
        let family = builder.family("h");
        builder.set_kind(family, Kind::Histogram);
        let series = builder.series(family, &mut []).unwrap();
        builder.add_bucket(series, bucket(-0.0, 1));
        builder.add_bucket(series, bucket(0.0, 1));
        let error = builder.finish().unwrap_err();
        assert_eq!(error.to_string(), "the bucket le=\"0\" of series h{} is given twice");
    }

    #[test]
    fn created_gauges_are_left_out_beside_their_sibling_only() {
        let grouping = Grouping::default();
        let mut exposition = Exposition::default();
        let mut builder = exposition.build(&grouping);
        for (name, kind) in
            [("a_total", Kind::Counter), ("a_created", Kind::Gauge), ("b_created", Kind::Gauge)]
        {
            let family = builder.family(name);
            builder.set_kind(family, kind);
            let series = builder.series(family, &mut []).unwrap();
            builder.set_scalar(series, 1.7e9).unwrap();
        }
        builder.finish().unwrap();
        let left: Vec<_> = exposition.series().map(|s| exposition.family(s.family).name).collect();
        assert_eq!(left, ["a_total", "b_created"]);
        assert_eq!(exposition.created_dropped(), 1);
    }
}
