//! Series as they live in memory.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

use parking_lot::Mutex;
use triomphe::ThinArc;

use super::family::Family;
use super::group::Group;
use super::index::Ordered;
use super::table::Entry;
use super::texts::compare;
use crate::merge::State;
use crate::model::exposition::SeriesHasher;

/// One series in a single allocation. It ends in the canonical label text without the grouping key, which is
/// stored once for the whole group; or in the number of that text, if other series of the family have the
/// same.
#[derive(Clone)]
pub struct SeriesRef(ThinArc<Series, u8>);

/// Everything of a series but its labels. There may be millions, so every byte counts.
pub struct Series {
    pub(super) family: Arc<Family>,
    /// The grouping key of the push that created it.
    pub(super) group: Group,
    pub(super) state: Mutex<State>,
    created: Moment,
    /// Last push, seconds since the Unix epoch.
    touched_s: AtomicU32,
    /// Seconds after the last push when it may be forgotten; 0 is never.
    ttl_s: AtomicU32,
    flags: AtomicU8,
    /// Where in the text the grouping key belongs; or [`WITHOUT_GROUP`].
    group_at: u8,
}

const _: () = assert!(size_of::<Series>() == 64);

/// The whole label text is stored, because the grouping key is not in it in one piece.
const WITHOUT_GROUP: u8 = u8::MAX;

const DEAD: u8 = 1;
/// It is listed to be written.
const CHANGED: u8 = 2;
/// Everything but its state is on disk, or in the batch that goes there.
const STORED: u8 = 4;
/// It ends in the number of its text. Set when it is created.
const SHARED: u8 = 8;

/// Milliseconds since the Unix epoch in six bytes: the years -2490 to 6429.
#[derive(Clone, Copy)]
struct Moment([u16; 3]);

impl Moment {
    /// Times beyond that are clamped.
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
        // A searcher would take longer to set up than this search.
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

    /// The pieces of the label text, in order.
    fn pieces(&self) -> [&[u8]; 3] {
        self.pieces_in(&self.family)
    }

    /// The same for callers that have the family at hand: following the pointer of the series could mean a
    /// cache miss.
    pub fn pieces_in<'s>(&'s self, family: &'s Family) -> [&'s [u8]; 3] {
        let own = match self.0.slice {
            [low, high] if self.flags.load(Relaxed) & SHARED != 0 => {
                family.shared_text(u16::from_le_bytes([low, high]))
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
        const WHY: &str = "a str without a part of it that was a str";
        match self.pieces() {
            [all, [], []] => Cow::Borrowed(std::str::from_utf8(all).expect(WHY)),
            pieces => Cow::Owned(String::from_utf8(pieces.concat()).expect(WHY)),
        }
    }

    /// Fetches from memory what a reader of these series will need. They lie all over it; fetched together,
    /// their cache misses overlap, where otherwise each would be waited for. It takes two passes, because
    /// what a series points to is only known when the series itself has arrived.
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

    /// The memory it takes, with its places in table, index and group; an estimate.
    pub fn memory_bytes(&self) -> usize {
        const PLACES: usize = 4 * size_of::<SeriesRef>();
        let fixed = size_of::<Series>() + 2 * size_of::<usize>() + PLACES;
        fixed + self.0.slice.len() + self.with_state(State::heap_bytes)
    }

    /// Unique among the series that exist.
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

    /// As [`touch`](Series::touch), with the same time to live.
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

    /// The whole time to live has passed. As times are in seconds, this may be up to a second late. What was
    /// pushed at `seen_s` or later has not been shown to every scraper, and is kept for up to ten times as
    /// long (merge-semantics 4).
    pub(super) fn is_expired(&self, now_s: u32, seen_s: u32) -> bool {
        let (touched_s, ttl_s) = (self.touched_s(), self.ttl_s());
        let over = |times: u32| touched_s.saturating_add(ttl_s.saturating_mul(times)) < now_s;
        ttl_s > 0 && over(1) && (touched_s < seen_s || over(10))
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
        write!(f, "{}{{{}}} {:?}", self.family.name(), self.labels(), **self)
    }
}

/// Leaves out the family, which would print all of its series, and this one again.
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
        // A growing table calls this for every entry, so avoid the allocation where possible.
        let mut text = [0; 256];
        let mut length = 0;
        for piece in self.pieces() {
            let Some(room) = text.get_mut(length..length + piece.len()) else {
                return hasher.series(self.family.name_hash(), &*self.labels());
            };
            room.copy_from_slice(piece);
            length += piece.len();
        }
        hasher.series(self.family.name_hash(), &text[..length])
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
    use crate::model::Kind;

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
}
