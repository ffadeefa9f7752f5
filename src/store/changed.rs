//! What has changed since the last commit, and its records.
//!
//! A series is listed once, however often it is pushed, so the cost of a commit follows what has changed
//! and not what has happened. Pushes on different threads append to different lists.
//!
//! The records:
//!
//! ```text
//! Families   name             -> 1  kind  irregular  help  unit
//! Series     name labels      -> 2  created_ms  group
//!            its state           touched_s  ttl_s  state
//! ```
//!
//! Names and texts begin with their length. The rest of a key are labels, in canonical text. When a
//! series is born, both parts of it are written; from then on only its state. In version 1 there was one
//! part: `1  created_ms  touched_s  ttl_s  group  state`.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;

use super::Store;
use super::family::Family;
use super::series::SeriesRef;
use crate::model::packed::Packer;
use crate::persistence::{Batch, Table};
use crate::striped::Striped;

/// How many series are fetched from memory together.
const FETCHED: usize = 16;

/// The version of family records.
pub(super) const FAMILY_VERSION: u8 = 1;
/// The version of series records.
pub(super) const SERIES_VERSION: u8 = 2;

#[derive(Debug, Default)]
pub(super) struct Changed {
    series: Striped<Mutex<Vec<SeriesRef>>>,
    families: Mutex<Vec<Arc<Family>>>,
    /// Deletions. They come first in a commit: what was removed may have been created again since then.
    /// What was created and then removed is not written at all.
    removed: Mutex<Batch>,
}

impl Changed {
    pub(super) fn note_series(&self, series: &SeriesRef) {
        if series.mark_changed() {
            self.series.own().lock().push(series.clone());
        }
    }

    pub(super) fn series(&self) -> usize {
        self.series.all().map(|list| list.lock().len()).sum()
    }

    pub(super) fn note_family(&self, family: &Arc<Family>) {
        if family.mark_changed() {
            self.families.lock().push(family.clone());
        }
    }

    pub(super) fn note_removed_series(&self, series: &SeriesRef) {
        let mut removed = self.removed.lock();
        removed.delete(Table::Series, &series_key(series, Vec::new()));
    }

    pub(super) fn note_removed_family(&self, family: &Family) {
        self.removed.lock().delete(Table::Families, family.name().as_bytes());
    }
}

fn series_key(series: &SeriesRef, mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    Packer(&mut buffer).text(series.family.name());
    series.write_labels(&mut buffer);
    buffer
}

impl Store {
    /// Moves what has changed since the last call into the batch. The caller holds the gate exclusively.
    pub fn collect(&self, batch: &mut Batch) {
        let changed = &self.changed;
        let mut removed = changed.removed.lock();
        batch.append(&removed);
        removed.clear();
        drop(removed);

        let (mut value, mut state) = (Vec::new(), Vec::new());
        for family in changed.families.lock().drain(..) {
            family.unmark_changed();
            if !family.dead.load(Relaxed) {
                value.clear();
                family.pack(&mut Packer(&mut value));
                batch.put(Table::Families, family.name().as_bytes(), &value);
            }
        }
        let mut key = Vec::new();
        for list in changed.series.all() {
            let mut list = list.lock();
            for (at, series) in list.iter().enumerate() {
                if at % FETCHED == 0 {
                    SeriesRef::fetch(&list[at..list.len().min(at + FETCHED)]);
                }
                series.unmark_changed();
                if !series.is_dead() {
                    key = series_key(series, mem::take(&mut key));
                    state.clear();
                    series.pack_state(&mut Packer(&mut state));
                    if series.mark_stored() {
                        value.clear();
                        series.pack(&mut Packer(&mut value));
                        batch.put_with_state(Table::Series, &key, &value, &state);
                    } else {
                        batch.put_state(Table::Series, &key, &state);
                    }
                }
            }
            list.clear();
            // One large push must not hold memory for ever.
            list.shrink_to(1024);
        }
    }
}

impl Family {
    fn pack(&self, into: &mut Packer<'_>) {
        into.u8(FAMILY_VERSION);
        into.u8(self.kind() as u8);
        into.u8((!self.is_regular()).into());
        self.with_metadata(|metadata| {
            into.text(&metadata.help);
            into.text(&metadata.unit);
        });
    }
}

impl SeriesRef {
    /// What never changes.
    fn pack(&self, into: &mut Packer<'_>) {
        into.u8(SERIES_VERSION);
        into.i64(self.created_ms());
        into.text(self.group());
    }

    fn pack_state(&self, into: &mut Packer<'_>) {
        into.u64(self.touched_s().into());
        into.u64(self.ttl_s().into());
        self.with_state(|state| state.pack(into));
    }
}
