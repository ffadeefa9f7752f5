//! Families and series as they live in memory.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use std::sync::{Arc, OnceLock};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock};
use triomphe::ThinArc;

use super::group::Group;
use super::index::{Index, Ordered};
use super::table::Entry;
use super::texts::{Texts, compare};
use crate::merge::State;
use crate::merge::histogram::{Layout, union};
use crate::model::Kind;
use crate::model::exposition::SeriesHasher;
use crate::model::labels::{has_quoted_name, raw_pairs};

/// One metric name with its live series. It exists as long as it has some.
#[derive(Debug)]
pub struct Family {
    name: Box<str>,
    hash: u64,
    /// No other family has it or ever will.
    id: u64,
    changes: Changes,
    /// Some series has a label name that stands in quotes.
    quoted: AtomicBool,
    /// Some series has a label that its samples need.
    reserved: AtomicBool,
    /// Of the label texts of its live series.
    label_bytes: AtomicUsize,
    kind: AtomicU8,
    metadata: RwLock<Metadata>,
    layouts: Mutex<Layouts>,
    /// None while it has few series.
    texts: OnceLock<Box<Texts>>,
    pub(super) live: AtomicUsize,
    /// Some of its values break the rules that OpenMetrics has for the type.
    irregular: AtomicBool,
    /// Its last series has gone; the name is free for another type.
    pub(super) dead: AtomicBool,
    /// It is in the list of those to be written.
    changed: AtomicBool,
    pub(super) index: Index<SeriesRef>,
}

/// HELP and UNIT; empty where none was pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pub help: Arc<str>,
    pub unit: Arc<str>,
}

/// Tells whether what a scrape shows of a family may have changed since another one.
#[derive(Debug, Default)]
struct Changes {
    /// Since the version was asked for.
    since: AtomicBool,
    version: Mutex<u64>,
}

/// Bucket layouts of one family: series with equal bounds share one list.
#[derive(Debug, Default)]
struct Layouts {
    /// The union of all.
    all: Vec<f64>,
    shared: HashTable<Layout>,
    hasher: RandomState,
    /// So many are looked through for those that no series uses any more.
    tidy_at: usize,
}

impl Family {
    pub(super) fn new(name: &str, hash: u64, kind: Kind) -> Family {
        Family {
            name: name.into(),
            hash,
            id: next_id(),
            changes: Changes::default(),
            quoted: AtomicBool::new(false),
            reserved: AtomicBool::new(false),
            label_bytes: AtomicUsize::new(0),
            kind: AtomicU8::new(kind as u8),
            metadata: RwLock::default(),
            layouts: Mutex::default(),
            texts: OnceLock::new(),
            live: AtomicUsize::new(0),
            irregular: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            changed: AtomicBool::new(false),
            index: Index::new(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kind(&self) -> Kind {
        Kind::from_u8(self.kind.load(Relaxed))
    }

    /// Untyped becomes a counter; nothing else ever changes.
    pub(super) fn refine(&self, kind: Kind) {
        self.kind.store(kind as u8, Relaxed);
        self.note_change();
    }

    /// Belongs to this family alone, whatever its name was or will be used for.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// While it stays the same, so does what a scrape shows. To be asked before anything of the
    /// family is looked at.
    pub fn version(&self) -> u64 {
        let mut version = self.changes.version.lock();
        *version += u64::from(self.changes.since.swap(false, Relaxed));
        *version
    }

    /// To be called by who has changed what a scrape shows, after it is done, and before it lets go
    /// of the lock that others read it under or tells anybody. Then a scrape that read it before the
    /// change has asked for the version before this, and one that asks for it later sees the change.
    #[inline]
    pub(super) fn note_change(&self) {
        // Mostly others have changed something, too; then no cache line is written.
        if !self.changes.since.load(Relaxed) {
            self.changes.since.store(true, Relaxed);
        }
    }

    /// Depends on the name alone, while this process runs.
    pub fn name_hash(&self) -> u64 {
        self.hash
    }

    /// Some label names need quotes, or another name where a scraper cannot read them.
    pub fn has_quoted_names(&self) -> bool {
        self.quoted.load(Relaxed)
    }

    /// Some series has a label that samples of its type have (`le`, `quantile`).
    pub fn has_reserved_names(&self) -> bool {
        self.reserved.load(Relaxed)
    }

    /// Of the label texts of all series, together.
    pub fn label_bytes(&self) -> usize {
        self.label_bytes.load(Relaxed)
    }

    pub(super) fn note_birth(&self, labels: &str) {
        self.label_bytes.fetch_add(labels.len(), Relaxed);
        if has_quoted_name(labels) {
            self.quoted.store(true, Relaxed);
        }
        if let Some(reserved) = self.kind().sample_label()
            && raw_pairs(labels).any(|pair| pair.name == reserved)
        {
            self.reserved.store(true, Relaxed);
        }
    }

    pub(super) fn note_death(&self, labels: &str) {
        self.label_bytes.fetch_sub(labels.len(), Relaxed);
        self.index.note_dead();
        self.note_change();
    }

    /// How many lines a series has in the text format, at the most; an estimate.
    pub fn lines_per_series(&self) -> usize {
        match self.kind() {
            Kind::Histogram | Kind::GaugeHistogram => self.layouts.lock().all.len() + 3,
            Kind::Summary => 2,
            Kind::StateSet => 4,
            _ => 1,
        }
    }

    /// See [`merge::is_regular`](crate::merge::is_regular).
    pub fn is_regular(&self) -> bool {
        !self.irregular.load(Relaxed)
    }

    /// False if it was known.
    pub(super) fn note_irregular(&self) -> bool {
        let news = self.is_regular() && !self.irregular.swap(true, Relaxed);
        if news {
            self.note_change();
        }
        news
    }

    /// False if it is marked already.
    pub(super) fn mark_changed(&self) -> bool {
        !self.changed.load(Relaxed) && !self.changed.swap(true, Relaxed)
    }

    pub(super) fn unmark_changed(&self) {
        self.changed.store(false, Relaxed);
    }

    pub fn metadata(&self) -> Metadata {
        self.metadata.read().clone()
    }

    pub(super) fn with_metadata<T>(&self, look: impl FnOnce(&Metadata) -> T) -> T {
        look(&self.metadata.read())
    }

    pub(super) fn change_metadata(&self, change: impl FnOnce(&mut Metadata)) {
        change(&mut self.metadata.write());
        self.note_change();
    }

    /// Live series, in the order of their labels.
    pub fn series(&self) -> Arc<Vec<SeriesRef>> {
        self.index.snapshot()
    }

    /// The same, with a number that no other list of this family has had.
    pub fn numbered_series(&self) -> (Arc<Vec<SeriesRef>>, u64) {
        self.index.numbered()
    }

    pub fn len(&self) -> usize {
        self.live.load(Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bounds of the family with `more` of them.
    pub(super) fn bounds_with(&self, more: &[f64]) -> Vec<f64> {
        union(&self.layouts.lock().all, more.iter().copied())
    }

    /// The number under which series share this part of a label text, if they do.
    fn share_text(&self, text: &[u8]) -> Option<u16> {
        /// With fewer series it takes more than it saves.
        const SERIES_MIN: usize = 16;
        // The number takes as much as a short text.
        if text.len() <= 8 || self.texts.get().is_none() && self.len() < SERIES_MIN {
            return None;
        }
        self.texts.get_or_init(Box::default).share(text)
    }

    /// The shared list of these bounds.
    pub(super) fn layout(&self, bounds: &[f64]) -> Layout {
        self.layouts.lock().shared(bounds)
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Relaxed)
}

impl Layouts {
    fn shared(&mut self, bounds: &[f64]) -> Layout {
        let hash = |bounds: &[f64]| {
            let mut hasher = self.hasher.build_hasher();
            bounds.iter().for_each(|bound| hasher.write_u64(bound.to_bits()));
            hasher.finish()
        };
        let wanted = hash(bounds);
        if let Some(known) = self.shared.find(wanted, |layout| **layout == *bounds) {
            return known.clone();
        }
        if self.shared.len() >= self.tidy_at {
            // Lists that no series uses any more are held by this family alone.
            self.shared.retain(|layout| layout.is_shared());
            self.tidy_at = 16.max(self.shared.len() * 2);
        }
        self.all = union(&self.all, bounds.iter().copied());
        let layout: Layout = bounds.into();
        self.shared.insert_unique(wanted, layout.clone(), |layout| hash(layout));
        layout
    }
}

impl Entry for Arc<Family> {
    fn hash(&self, _: &SeriesHasher) -> u64 {
        self.hash
    }

    fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(self, other)
    }
}

impl Ordered for Arc<Family> {
    fn order(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }
}

/// One series: a single allocation that ends in what the canonical label text has besides that of
/// the grouping key, which is stored once for the group; or in the number of that text, if other
/// series of the family have the same.
#[derive(Clone)]
pub struct SeriesRef(ThinArc<Series, u8>);

/// Everything of a series but its labels. There may be millions, so every byte of it counts.
pub struct Series {
    pub(super) family: Arc<Family>,
    /// Grouping key of the push that created it.
    pub(super) group: Group,
    pub(super) state: Mutex<State>,
    created: Moment,
    /// Last push, seconds since the Unix epoch.
    touched_s: AtomicU32,
    /// Seconds after the last push when it may be forgotten; 0 is never.
    ttl_s: AtomicU32,
    flags: AtomicU8,
    /// Before so many bytes of its text the grouping key stands; or [`WITHOUT_GROUP`].
    group_at: u8,
}

const _: () = assert!(size_of::<Series>() == 64);

/// The label text is stored as it is: the grouping key is not in it in one piece.
const WITHOUT_GROUP: u8 = u8::MAX;

const DEAD: u8 = 1;
/// It is in a list of those to be written.
const CHANGED: u8 = 2;
/// All but its state is on the disk, or in the batch that goes there.
const STORED: u8 = 4;
/// It ends in the number of its text; set at birth.
const SHARED: u8 = 8;

/// Milliseconds since the Unix epoch in six bytes: from the year -2490 on to 6429.
#[derive(Clone, Copy)]
struct Moment([u16; 3]);

impl Moment {
    /// What lies beyond is cut off.
    fn new(ms: i64) -> Moment {
        let ms = ms.clamp(-1 << 47, (1 << 47) - 1);
        Moment([ms as u16, (ms >> 16) as u16, (ms >> 32) as u16])
    }

    fn ms(self) -> i64 {
        let [low, middle, high] = self.0.map(i64::from);
        // The highest bit is the sign.
        (high << 48 >> 16) | middle << 16 | low
    }
}

/// What a series starts with.
#[derive(Debug)]
pub(super) struct Birth<'a> {
    pub(super) family: Arc<Family>,
    pub(super) group: Group,
    pub(super) labels: &'a str,
    pub(super) created_ms: i64,
    pub(super) state: State,
}

impl SeriesRef {
    pub(super) fn new(birth: Birth<'_>) -> SeriesRef {
        let (labels, key) = (birth.labels.as_bytes(), birth.group.as_bytes());
        // Not by a searcher: to set one up takes longer than to look here.
        let is_key = |at: &u8| labels.get(usize::from(*at)..).is_some_and(|l| l.starts_with(key));
        let group_at = match key {
            [] => WITHOUT_GROUP,
            _ => (0..WITHOUT_GROUP).find(is_key).unwrap_or(WITHOUT_GROUP),
        };
        let own: Cow<'_, [u8]> = match group_at {
            WITHOUT_GROUP => labels.into(),
            at => {
                let at = usize::from(at);
                [&labels[..at], &labels[at + key.len()..]].concat().into()
            }
        };
        let number = birth.family.share_text(&own);
        let series = Series {
            family: birth.family,
            group: birth.group,
            created: Moment::new(birth.created_ms),
            touched_s: AtomicU32::new(0),
            ttl_s: AtomicU32::new(0),
            flags: AtomicU8::new(number.map_or(0, |_| SHARED)),
            group_at,
            state: Mutex::new(birth.state),
        };
        SeriesRef(match number {
            Some(number) => ThinArc::from_header_and_slice(series, &number.to_le_bytes()),
            None => ThinArc::from_header_and_slice(series, &own),
        })
    }

    pub(super) fn is(&self, family: &Arc<Family>, labels: &str) -> bool {
        let mut rest = Some(labels.as_bytes());
        for piece in self.pieces() {
            rest = rest.and_then(|rest| rest.strip_prefix(piece));
        }
        rest == Some(&[]) && Arc::ptr_eq(&self.0.header.header.family, family)
    }

    /// What the label text consists of, one after the other.
    fn pieces(&self) -> [&[u8]; 3] {
        self.pieces_in(&self.family)
    }

    /// The same for who has the family at hand: to ask the series for it may be a look at memory that
    /// would not be needed otherwise.
    pub fn pieces_in<'s>(&'s self, family: &'s Family) -> [&'s [u8]; 3] {
        let own = match self.0.slice {
            [low, high] if self.flags.load(Relaxed) & SHARED != 0 => {
                let number = u16::from_le_bytes([low, high]);
                family.texts.get().map_or(&[][..], |texts| texts.get(number))
            }
            ref own => own,
        };
        match self.group_at {
            WITHOUT_GROUP => [own, &[], &[]],
            at => {
                let (before, behind) = own.split_at(at.into());
                [before, self.group.as_bytes(), behind]
            }
        }
    }

    /// Canonical label text, see [`crate::model::labels`].
    pub fn labels(&self) -> Cow<'_, str> {
        const WHY: &str = "a str without a str";
        match self.pieces() {
            [all, [], []] => Cow::Borrowed(std::str::from_utf8(all).expect(WHY)),
            pieces => Cow::Owned(String::from_utf8(pieces.concat()).expect(WHY)),
        }
    }

    /// Asks the memory for all that a reader of these will look at. They lie all over it, and those
    /// that are asked for together come together, where each alone would be waited for. Two walks,
    /// because what a series refers to is known only when itself has come.
    pub fn fetch(all: &[SeriesRef]) {
        let series = all.iter().fold(0, |seen, series| {
            seen ^ series.0.slice.len() ^ usize::from(series.state.is_locked())
        });
        std::hint::black_box(series);
        let texts = all.iter().fold(0, |seen, series| {
            let ends = [series.0.slice.last(), series.group.as_bytes().last()];
            ends.into_iter().flatten().fold(seen, |seen, byte| seen ^ byte)
        });
        std::hint::black_box(texts);
    }

    /// Appends the label text.
    pub(super) fn write_labels(&self, out: &mut Vec<u8>) {
        self.pieces().iter().for_each(|piece| out.extend_from_slice(piece));
    }

    /// What it takes, with its places in table, index and group; an estimate.
    pub fn memory_bytes(&self) -> usize {
        const PLACES: usize = 4 * size_of::<SeriesRef>();
        let fixed = size_of::<Series>() + 2 * size_of::<usize>() + PLACES;
        fixed + self.0.slice.len() + self.with_state(State::heap_bytes)
    }

    /// No other series that is there has it.
    pub(super) fn address(&self) -> *const Series {
        &**self
    }
}

impl std::ops::Deref for SeriesRef {
    type Target = Series;

    fn deref(&self) -> &Series {
        &self.0.header.header
    }
}

impl Series {
    pub fn group(&self) -> &str {
        self.group.as_str()
    }

    /// Just before the first push, milliseconds since the Unix epoch.
    pub fn created_ms(&self) -> i64 {
        self.created.ms()
    }

    pub(super) fn touch(&self, now_s: u32, ttl_s: u32) {
        self.touch_again(now_s);
        self.ttl_s.store(ttl_s, Relaxed);
    }

    /// The time to live stays.
    pub(super) fn touch_again(&self, now_s: u32) {
        self.touched_s.store(now_s, Relaxed);
    }

    /// Seconds since the Unix epoch.
    pub fn touched_s(&self) -> u32 {
        self.touched_s.load(Relaxed)
    }

    /// Seconds after the last push when it may be forgotten; 0 is never.
    pub(super) fn ttl_s(&self) -> u32 {
        self.ttl_s.load(Relaxed)
    }

    /// Seconds since the Unix epoch; `None` if it stays for good.
    pub fn expires_s(&self) -> Option<u32> {
        let ttl = self.ttl_s();
        (ttl > 0).then(|| self.touched_s().saturating_add(ttl))
    }

    /// The whole time to live has passed; clocks in seconds, so up to one second late.
    pub(super) fn is_expired(&self, now_s: u32) -> bool {
        self.expires_s().is_some_and(|expires| expires < now_s)
    }

    pub(super) fn is_dead(&self) -> bool {
        self.flags.load(Relaxed) & DEAD != 0
    }

    /// False if it is marked already.
    pub(super) fn mark_changed(&self) -> bool {
        let is_marked = |flags: u8| flags & CHANGED != 0;
        !is_marked(self.flags.load(Relaxed)) && !is_marked(self.flags.fetch_or(CHANGED, Relaxed))
    }

    pub(super) fn unmark_changed(&self) {
        self.flags.fetch_and(!CHANGED, Relaxed);
    }

    /// False if it is marked already.
    pub(super) fn mark_stored(&self) -> bool {
        self.flags.fetch_or(STORED, Relaxed) & STORED == 0
    }

    pub(super) fn kill(&self) {
        self.flags.fetch_or(DEAD, Relaxed);
    }

    /// Looks at the value under its lock; keep it short.
    pub fn with_state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }
}

impl fmt::Debug for SeriesRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{{}}} {:?}", self.family.name, self.labels(), **self)
    }
}

/// The family stays out: it would print all of its series, and this one again.
impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Series")
            .field("group", &self.group)
            .field("created_ms", &self.created_ms())
            .field("touched_s", &self.touched_s)
            .field("ttl_s", &self.ttl_s)
            .field("dead", &self.is_dead())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Entry for SeriesRef {
    fn hash(&self, hasher: &SeriesHasher) -> u64 {
        // A table that grows does this for all in it: mostly without an allocation.
        let mut text = [0; 256];
        let mut length = 0;
        for piece in self.pieces() {
            let Some(room) = text.get_mut(length..length + piece.len()) else {
                return hasher.series(self.family.hash, &*self.labels());
            };
            room.copy_from_slice(piece);
            length += piece.len();
        }
        hasher.series(self.family.hash, &text[..length])
    }

    fn same(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

impl Ordered for SeriesRef {
    fn order(&self, other: &Self) -> Ordering {
        compare(self.pieces(), other.pieces())
    }

    fn is_dead(&self) -> bool {
        Series::is_dead(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::group::Groups;
    use super::*;

    fn series(family: &Arc<Family>, group: &str, labels: &str) -> SeriesRef {
        let group = Groups::default().key(group);
        let family = family.clone();
        SeriesRef::new(Birth { family, group, labels, created_ms: 0, state: State::Info })
    }

    #[test]
    fn the_grouping_key_is_stored_once() {
        let family = Arc::new(Family::new("m", 0, Kind::Counter));
        let long = format!("a=\"{}\",job=\"j\"", "x".repeat(300));
        for (group, labels, own) in [
            ("job=\"j\"", "a=\"b\",job=\"j\",z=\"y\"", "a=\"b\",,z=\"y\""),
            ("job=\"j\"", "job=\"j\"", ""),
            ("a=\"ä\",job=\"j\"", "a=\"ä\",job=\"j\",z=\"ö\"", ",z=\"ö\""),
            ("", "a=\"b\"", "a=\"b\""),
            ("", "", ""),
            // Not there in one piece, not there at all, too far behind.
            ("a=\"b\",job=\"j\"", "a=\"b\",g=\"h\",job=\"j\"", "a=\"b\",g=\"h\",job=\"j\""),
            ("job=\"j\"", "a=\"b\"", "a=\"b\""),
            ("job=\"j\"", &*long, &*long),
        ] {
            let series = series(&family, group, labels);
            assert_eq!(series.labels(), labels);
            assert_eq!(std::str::from_utf8(&series.0.slice), Ok(own), "{group} in {labels}");
        }
    }

    #[test]
    fn a_text_that_comes_again_is_stored_once() {
        let family = Arc::new(Family::new("m", 0, Kind::Counter));
        family.live.store(1_000, Relaxed);
        for (labels, is_shared) in [
            ("a=\"b\",instance=\"{}\",job=\"j\",z=\"some more text\"", true),
            ("instance=\"{}\",job=\"j\",z=\"of these there are two\"", true),
            ("instance=\"{}\",job=\"j\",z=\"1\"", false),
            ("instance=\"{}\",job=\"j\"", false),
        ] {
            for instance in ["one", "two", "three"] {
                let group = format!("instance=\"{instance}\",job=\"j\"");
                let labels = labels.replace("{}", instance);
                let series = series(&family, &group, &labels);
                assert_eq!(series.labels(), labels);
                assert!(series.is(&family, &labels) && !series.is(&family, "z=\"1\""));
                assert_eq!(series.flags.load(Relaxed) & SHARED != 0, is_shared, "{labels}");
                assert!(!is_shared || series.0.slice.len() == size_of::<u16>());
            }
        }
    }

    proptest! {
        /// Few letters, so that texts often begin alike.
        #[test]
        fn a_text_in_pieces_is_that_text(
            texts in prop::collection::vec(("[ab]{0,4}", "[ab]{0,4}", "[ab]{0,4}"), 2),
        ) {
            let family = Arc::new(Family::new("m", 0, Kind::Counter));
            let whole: Vec<String> = texts.iter().map(|(a, b, c)| format!("{a}{b}{c}")).collect();
            let both: Vec<SeriesRef> = texts
                .iter()
                .zip(&whole)
                .map(|((_, group, _), labels)| series(&family, group, labels))
                .collect();
            for (series, labels) in both.iter().zip(&whole) {
                let mut written = Vec::new();
                series.write_labels(&mut written);
                prop_assert_eq!(&written, labels.as_bytes());
                prop_assert_eq!(&series.labels(), labels);
            }
            prop_assert_eq!(both[0].order(&both[1]), whole[0].cmp(&whole[1]));
            prop_assert_eq!(both[0].is(&family, &whole[1]), whole[0] == whole[1]);
        }
    }

    #[test]
    fn moments_keep_their_milliseconds() {
        for ms in [0, 1, -1, 65_535, 65_536, 1_764_000_000_123, (1 << 47) - 1, -1 << 47] {
            assert_eq!(Moment::new(ms).ms(), ms);
        }
        assert_eq!(Moment::new(i64::MAX).ms(), (1 << 47) - 1);
        assert_eq!(Moment::new(i64::MIN).ms(), -1 << 47);
    }

    #[test]
    fn series_of_equal_bounds_share_a_list_and_unused_lists_go() {
        let family = Family::new("h", 0, Kind::Histogram);
        let used = family.layout(&[1.0, 2.0]);
        for bound in 0..1_000 {
            family.layout(&[f64::from(bound)]);
        }
        assert!(std::ptr::eq(&*used, &*family.layout(&[1.0, 2.0])));
        assert!(family.layouts.lock().shared.len() <= 17);
        assert_eq!(family.bounds_with(&[0.5]).len(), 1_001, "bounds count for the limit");
    }
}
