//! Encoded chunks of earlier scrapes, to be sent again while nothing in them has changed.
//!
//! A scrape consists of chunks (see [`super::chunks`]), each encoded and compressed on its own. A chunk
//! is kept with a stamp of everything that went into it, and is as good as a new one while its stamp is
//! the same. The stamp is taken before any value is read, and whoever changes a family changes its
//! version afterwards. So a chunk may be dropped needlessly, but is never out of date.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::Settings;
use crate::format::compress::{Compression, Sum};
use crate::format::encode::{Decision, Options};

/// How many ways to write a scrape have chunks that are kept; each way has its own.
const WAYS_MAX: usize = 4;

/// Everything that went into a chunk.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stamp {
    pub(super) families: Vec<FamilyStamp>,
    /// For a part of a family: the number of the list of series, and the range in it.
    pub(super) part: Option<(u64, usize, usize)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct FamilyStamp {
    /// See [`crate::store::Family::id`] and [`crate::store::Family::version`].
    pub(super) id: u64,
    pub(super) version: u64,
    pub(super) decision: Decision,
}

/// A chunk, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) bytes: Bytes,
    pub(super) sum: Sum,
    pub(super) series_left_out: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Way {
    pub(super) options: Options,
    pub(super) compression: Compression,
}

#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ways: Vec<Chunks>,
    bytes: usize,
    scrapes: u64,
}

/// The chunks for one way to write a scrape.
#[derive(Debug)]
struct Chunks {
    way: Way,
    /// The settings they were made under; with others they are worthless.
    settings: Arc<Settings>,
    /// The last scrape that was written this way.
    used: u64,
    /// By the first family and the position of the part in it.
    chunks: HashMap<(u64, usize), KeptChunk, RandomState>,
}

#[derive(Debug)]
struct KeptChunk {
    stamp: Stamp,
    /// `None` if the chunk has not been the same twice yet.
    ready: Option<Ready>,
    used: u64,
}

/// One scrape that uses kept chunks.
#[derive(Debug)]
pub(super) struct Use {
    way: Way,
    settings: Arc<Settings>,
    number: u64,
}

impl Kept {
    /// Call at the beginning of a scrape.
    pub(super) fn begin(&self, way: Way, settings: &Arc<Settings>) -> Use {
        let mut inner = self.0.lock();
        inner.scrapes += 1;
        let number = inner.scrapes;
        let same = |chunks: &Chunks| chunks.way == way;
        let at = inner.ways.iter().position(same);
        if at.is_some_and(|at| !Arc::ptr_eq(&inner.ways[at].settings, settings)) || at.is_none() {
            if let Some(at) = at {
                inner.remove(at);
            }
            if inner.ways.len() >= WAYS_MAX
                && let Some(oldest) = inner.least_used(&way)
            {
                inner.remove(oldest);
            }
            let (way, settings) = (way.clone(), settings.clone());
            inner.ways.push(Chunks { way, settings, used: number, chunks: HashMap::default() });
        }
        Use { way, settings: settings.clone(), number }
    }

    /// The chunk, if it is kept and up to date.
    pub(super) fn get(&self, of: &Use, part: usize, stamp: &Stamp) -> Option<Ready> {
        let first = stamp.families.first()?.id;
        let mut inner = self.0.lock();
        let chunks = inner.of(of)?;
        chunks.used = of.number;
        let chunk = chunks.chunks.get_mut(&(first, part))?;
        if chunk.stamp != *stamp {
            return None;
        }
        chunk.used = of.number;
        chunk.ready.clone()
    }

    /// Keeps a chunk if there is room: `budget` is for all chunks, in bytes.
    ///
    /// Uncompressed chunks are large and cheap to make, so they are only kept after they have been the
    /// same twice.
    pub(super) fn put(&self, of: &Use, part: usize, stamp: Stamp, ready: &Ready, budget: usize) {
        let Some(first) = stamp.families.first().map(|family| family.id) else { return };
        let mut inner = self.0.lock();
        let before = match inner.of(of) {
            Some(chunks) => chunks.chunks.remove(&(first, part)),
            None => return,
        };
        inner.bytes -= before.as_ref().map_or(0, KeptChunk::bytes);
        let again = before.is_some_and(|before| before.stamp == stamp);
        let mut chunk = KeptChunk { stamp, ready: None, used: of.number };
        if of.way.compression != Compression::Identity {
            chunk.ready = Some(ready.clone());
        } else if again {
            // Copy it: the buffer may have spare capacity, and can be used for other chunks.
            let bytes = Bytes::copy_from_slice(&ready.bytes);
            chunk.ready = Some(Ready { bytes, ..ready.clone() });
        }
        while inner.bytes + chunk.bytes() > budget {
            match inner.least_used(&of.way) {
                Some(other) => inner.remove(other),
                None => {
                    chunk.ready = None;
                    break;
                }
            }
        }
        let bytes = chunk.bytes();
        if let Some(chunks) = inner.of(of) {
            chunks.chunks.insert((first, part), chunk);
            inner.bytes += bytes;
        }
    }

    /// Call at the end of a scrape. Drops what the scrape did not use, because later ones will not,
    /// either.
    pub(super) fn end(&self, of: &Use) {
        let mut inner = self.0.lock();
        let mut freed = 0;
        if let Some(chunks) = inner.of(of) {
            chunks.chunks.retain(|_, chunk| {
                let stays = chunk.used >= of.number;
                freed += if stays { 0 } else { chunk.bytes() };
                stays
            });
        }
        inner.bytes -= freed;
    }

    /// How many bytes are kept.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.0.lock().bytes
    }
}

impl Inner {
    fn of(&mut self, of: &Use) -> Option<&mut Chunks> {
        let same = |chunks: &&mut Chunks| {
            chunks.way == of.way && Arc::ptr_eq(&chunks.settings, &of.settings)
        };
        self.ways.iter_mut().find(same)
    }

    /// Another way than this one, whose last scrape was the longest ago.
    fn least_used(&self, way: &Way) -> Option<usize> {
        let others = self.ways.iter().enumerate().filter(|(_, chunks)| chunks.way != *way);
        others.min_by_key(|(_, chunks)| chunks.used).map(|(at, _)| at)
    }

    fn remove(&mut self, at: usize) {
        let chunks = self.ways.swap_remove(at);
        self.bytes -= chunks.chunks.values().map(KeptChunk::bytes).sum::<usize>();
    }
}

impl KeptChunk {
    /// Approximately what it takes to keep it.
    fn bytes(&self) -> usize {
        const FIXED: usize = 128;
        let stamp = self.stamp.families.len() * size_of::<FamilyStamp>();
        FIXED + stamp + self.ready.as_ref().map_or(0, |ready| ready.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::encode::Plan;
    use crate::model::{FamilyHead, Kind};

    fn stamp(id: u64, version: u64) -> Stamp {
        let head = FamilyHead { name: "a", kind: Kind::Gauge, help: "", unit: "" };
        let decision = Plan::new(Options::default(), [head]).decisions().remove(0).unwrap();
        Stamp { families: vec![FamilyStamp { id, version, decision }], part: None }
    }

    fn ready(bytes: usize) -> Ready {
        Ready { bytes: vec![b'x'; bytes].into(), sum: Sum::default(), series_left_out: 0 }
    }

    fn way(compression: Compression) -> Way {
        Way { options: Options::default(), compression }
    }

    #[test]
    fn only_the_same_stamp_gets_it() {
        let (kept, settings) = (Kept::default(), Arc::default());
        let of = kept.begin(way(Compression::Gzip), &settings);
        kept.put(&of, 0, stamp(1, 1), &ready(100), 1000);
        assert!(kept.get(&of, 0, &stamp(1, 1)).is_some());
        for (part, stamp) in [(1, stamp(1, 1)), (0, stamp(1, 2)), (0, stamp(2, 1))] {
            assert!(kept.get(&of, part, &stamp).is_none());
        }
        let other = kept.begin(way(Compression::Zstd), &settings);
        assert!(kept.get(&other, 0, &stamp(1, 1)).is_none());
        // Other settings, even if they are equal.
        let of = kept.begin(way(Compression::Gzip), &Arc::default());
        assert!(kept.get(&of, 0, &stamp(1, 1)).is_none());
        assert_eq!(kept.bytes(), 0);
    }

    #[test]
    fn the_budget_is_kept() {
        let (kept, settings) = (Kept::default(), Arc::default());
        for (at, compression) in
            [Compression::Gzip, Compression::Zstd, Compression::Gzip].into_iter().enumerate()
        {
            let of = kept.begin(way(compression), &settings);
            for id in 0..100 {
                kept.put(&of, 0, stamp(id, at as u64), &ready(1000), 50_000);
                assert!(kept.bytes() <= 50_000 + 100 * 300);
            }
            assert!(kept.get(&of, 0, &stamp(0, at as u64)).is_some());
            kept.end(&of);
        }
        // This scrape uses nothing.
        let of = kept.begin(way(Compression::Gzip), &settings);
        kept.end(&of);
        assert!(kept.bytes() < 50_000);
    }

    #[test]
    fn what_is_plain_is_kept_when_it_comes_again() {
        let (kept, settings) = (Kept::default(), Arc::default());
        let of = kept.begin(way(Compression::Identity), &settings);
        for there in [false, true] {
            kept.put(&of, 0, stamp(1, 1), &ready(100), 1000);
            assert_eq!(kept.get(&of, 0, &stamp(1, 1)).is_some(), there);
        }
    }
}
