//! Families as they live in memory.

use std::cmp::Ordering;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use std::sync::{Arc, OnceLock};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock};

use super::index::{Index, Ordered};
use super::series::SeriesRef;
use super::table::Entry;
use super::texts::Texts;
use crate::merge::histogram::{Layout, union};
use crate::model::Kind;
use crate::model::exposition::SeriesHasher;
use crate::model::labels::{has_quoted_name, raw_pairs};

/// One metric name with its live series. It exists as long as there are any.
#[derive(Debug)]
pub struct Family {
    name: Box<str>,
    hash: u64,
    /// Unique among all families, also those of the past.
    id: u64,
    changes: Changes,
    /// Some series has a label name that needs quotes.
    quoted: AtomicBool,
    /// Some series has a label that samples of this kind use themselves.
    reserved: AtomicBool,
    /// The length of the label texts of all live series.
    label_bytes: AtomicUsize,
    last_birth_ms: AtomicI64,
    kind: AtomicU8,
    metadata: RwLock<Metadata>,
    layouts: Mutex<Layouts>,
    /// Empty while there are few series.
    texts: OnceLock<Box<Texts>>,
    pub(super) live: AtomicUsize,
    /// Some of its values break the rules that OpenMetrics has for the type.
    irregular: AtomicBool,
    /// Its last series has gone, and the name is free for another type.
    pub(super) dead: AtomicBool,
    /// It is listed to be written.
    changed: AtomicBool,
    pub(super) index: Index<SeriesRef>,
}

/// HELP and UNIT; empty where none was pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pub help: Arc<str>,
    pub unit: Arc<str>,
}

/// Tells whether what a scrape shows of a family may have changed.
#[derive(Debug, Default)]
struct Changes {
    /// Something has, since the version was last asked for.
    since: AtomicBool,
    version: Mutex<u64>,
}

/// The bucket layouts of one family. Series with equal bounds share a list of them.
#[derive(Debug, Default)]
struct Layouts {
    /// The union of all bounds, and perhaps of some that went with their series.
    all: Vec<f64>,
    /// Series have gone since it was made.
    outlived: bool,
    shared: HashTable<Layout>,
    hasher: RandomState,
    /// The number of lists at which unused ones are next looked for.
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
            last_birth_ms: AtomicI64::new(i64::MIN),
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

    /// Belongs to this family alone; another one of the same name has another id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// As long as it stays the same, so does what a scrape shows. To be asked for before anything else of
    /// the family is read.
    pub fn version(&self) -> u64 {
        let mut version = self.changes.version.lock();
        *version += u64::from(self.changes.since.swap(false, Relaxed));
        *version
    }

    /// To be called by whoever has changed what a scrape shows, after the change, but before releasing the
    /// lock under which others read it, and before telling anybody. Then a scrape that has read the old
    /// state has asked for the version earlier, and one that asks for it later sees the change.
    #[inline]
    pub(super) fn note_change(&self) {
        // Usually somebody has already noted a change, and then no cache line is written.
        if !self.changes.since.load(Relaxed) {
            self.changes.since.store(true, Relaxed);
        }
    }

    /// Depends on nothing but the name, as long as this process runs.
    pub fn name_hash(&self) -> u64 {
        self.hash
    }

    /// Some label names need quotes, or have to be escaped for scrapers that cannot read them.
    pub fn has_quoted_names(&self) -> bool {
        self.quoted.load(Relaxed)
    }

    /// Some series has a label that samples of this kind use themselves (`le`, `quantile`).
    pub fn has_reserved_names(&self) -> bool {
        self.reserved.load(Relaxed)
    }

    /// The length of the label texts of all series.
    pub fn label_bytes(&self) -> usize {
        self.label_bytes.load(Relaxed)
    }

    /// When the youngest series was born, milliseconds since the Unix epoch. No series in a list that was
    /// taken earlier is younger.
    pub fn last_birth_ms(&self) -> i64 {
        self.last_birth_ms.load(Relaxed)
    }

    /// To be called before anybody can find the series.
    pub(super) fn note_birth(&self, labels: &str, created_ms: i64) {
        self.last_birth_ms.fetch_max(created_ms, Relaxed);
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
        if matches!(self.kind(), Kind::Histogram | Kind::GaugeHistogram) {
            self.layouts.lock().outlived = true;
        }
        self.index.note_dead();
        self.note_change();
    }

    /// How many lines a series has at the most in the text format, estimated.
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

    /// False if that was known already.
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

    /// The same, with a number that is unique among the lists of this family.
    pub fn numbered_series(&self) -> (Arc<Vec<SeriesRef>>, u64) {
        self.index.numbered()
    }

    pub fn len(&self) -> usize {
        self.live.load(Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bounds of the family. Those of series that are gone may be among them.
    pub(super) fn bounds(&self) -> Vec<f64> {
        self.layouts.lock().all.clone()
    }

    /// The same without those of series that are gone; `None` if there are no such. Looks at every
    /// series, and must not be called while any may be born or grow.
    pub(super) fn bounds_in_use(&self) -> Option<Vec<f64>> {
        if !std::mem::take(&mut self.layouts.lock().outlived) {
            return None;
        }
        let mut all = Vec::new();
        let mut last: Option<Layout> = None;
        for series in self.series().iter() {
            series.with_state(|state| match (state.bounds(), &last) {
                (None, _) => {}
                // They mostly share one list.
                (Some(bounds), Some(last)) if std::ptr::eq(&**bounds, &**last) => {}
                (Some(bounds), _) => {
                    all = union(&all, bounds.iter().copied());
                    last = Some(bounds.clone());
                }
            });
        }
        self.layouts.lock().all.clone_from(&all);
        Some(all)
    }

    /// The number under which series share this part of their label texts; `None` if they do not.
    pub(super) fn share_text(&self, text: &[u8]) -> Option<u16> {
        /// With fewer series, sharing costs more memory than it saves.
        const SERIES_MIN: usize = 16;
        // A short text takes no more than the number.
        if text.len() <= 8 || self.texts.get().is_none() && self.len() < SERIES_MIN {
            return None;
        }
        self.texts.get_or_init(Box::default).share(text)
    }

    /// The text with this number; empty if there is none.
    #[inline]
    pub(super) fn shared_text(&self, number: u16) -> &[u8] {
        self.texts.get().map_or(&[], |texts| texts.get(number))
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
            // A list that no series uses any more is only referred to from here.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_equal_bounds_share_a_list_and_unused_lists_go() {
        let family = Family::new("h", 0, Kind::Histogram);
        let used = family.layout(&[1.0, 2.0]);
        for bound in 0..1_000 {
            family.layout(&[f64::from(bound)]);
        }
        assert!(std::ptr::eq(&*used, &*family.layout(&[1.0, 2.0])));
        assert!(family.layouts.lock().shared.len() <= 17);
        assert_eq!(family.bounds().len(), 1_000, "bounds count for the limit");
    }
}
