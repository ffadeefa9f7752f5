//! An ordered list to which it is cheap to add.
//!
//! New entries go to an unsorted tail. A reader first folds the tail into the sorted part, and drops dead
//! entries. The sorted part is shared by readers and never changes under them, so a scrape can go
//! through it without a lock, however slowly.

use std::cmp::Ordering;
use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;

pub(super) trait Ordered: Clone {
    fn order(&self, other: &Self) -> Ordering;
    fn is_dead(&self) -> bool;
}

#[derive(Debug)]
pub(super) struct Index<T> {
    inner: Mutex<Inner<T>>,
    /// Held while folding, during which `inner` is free: adding never waits for it.
    folding: Mutex<()>,
}

#[derive(Debug)]
struct Inner<T> {
    sorted: Arc<Vec<T>>,
    tail: Vec<T>,
    dead: usize,
    /// How often the sorted part has changed.
    folds: u64,
}

impl<T> Inner<T> {
    fn empty() -> Inner<T> {
        Inner { sorted: Arc::default(), tail: Vec::new(), dead: 0, folds: 0 }
    }
}

impl<T: Ordered> Index<T> {
    pub(super) fn new() -> Index<T> {
        Index { inner: Mutex::new(Inner::empty()), folding: Mutex::new(()) }
    }

    pub(super) fn add(&self, entry: T) {
        self.inner.lock().tail.push(entry);
    }

    /// An entry has died. From the next snapshot on it is left out.
    pub(super) fn note_dead(&self) {
        self.inner.lock().dead += 1;
    }

    /// Drops dead entries if most entries are dead, so that they do not pile up while nobody reads.
    pub(super) fn tidy(&self) {
        let mostly_dead = {
            let inner = self.inner.lock();
            inner.dead * 2 > inner.sorted.len() + inner.tail.len()
        };
        if mostly_dead {
            self.snapshot();
        }
    }

    pub(super) fn clear(&self) {
        let mut inner = self.inner.lock();
        let folds = inner.folds + 1;
        *inner = Inner { folds, ..Inner::empty() };
    }

    /// Entries, dead ones included.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let inner = self.inner.lock();
        inner.sorted.len() + inner.tail.len()
    }

    /// Some entry for which `is_it` is true, dead ones included. It is called with the lock of the list held.
    pub(super) fn find(&self, mut is_it: impl FnMut(&T) -> bool) -> Option<T> {
        let inner = self.inner.lock();
        inner.sorted.iter().chain(&inner.tail).find(|entry| is_it(entry)).cloned()
    }

    /// All live entries, in order.
    pub(super) fn snapshot(&self) -> Arc<Vec<T>> {
        self.numbered().0
    }

    /// The same, with a number that is unique among the lists of this index.
    pub(super) fn numbered(&self) -> (Arc<Vec<T>>, u64) {
        let _folding = self.folding.lock();
        let (sorted, mut tail, dead) = {
            let mut inner = self.inner.lock();
            if inner.tail.is_empty() && inner.dead == 0 {
                return (inner.sorted.clone(), inner.folds);
            }
            let dead = mem::take(&mut inner.dead) > 0;
            (mem::take(&mut inner.sorted), mem::take(&mut inner.tail), dead)
        };
        // If no reader holds the old list, it is moved instead of copied.
        let sorted = Arc::try_unwrap(sorted).unwrap_or_else(|shared| (*shared).clone());
        tail.sort_unstable_by(Ordered::order);
        let mut folded = merge(sorted, tail);
        if dead {
            folded.retain(|entry| !entry.is_dead());
            folded.shrink_to(folded.len() * 2);
        }
        let folded = Arc::new(folded);
        let mut inner = self.inner.lock();
        inner.sorted = folded.clone();
        inner.folds += 1;
        (folded, inner.folds)
    }
}

fn merge<T: Ordered>(sorted: Vec<T>, tail: Vec<T>) -> Vec<T> {
    if tail.is_empty() {
        return sorted;
    }
    if sorted.last().is_none_or(|last| last.order(&tail[0]).is_le()) {
        let mut sorted = sorted;
        sorted.extend(tail);
        return sorted;
    }
    let mut merged = Vec::with_capacity(sorted.len() + tail.len());
    let mut tail = tail.into_iter().peekable();
    for entry in sorted {
        while let Some(earlier) = tail.next_if(|new| new.order(&entry).is_lt()) {
            merged.push(earlier);
        }
        merged.push(entry);
    }
    merged.extend(tail);
    merged
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use super::*;

    #[derive(Clone, Debug)]
    struct Item(u32, Arc<AtomicBool>);

    impl Ordered for Item {
        fn order(&self, other: &Item) -> Ordering {
            self.0.cmp(&other.0)
        }

        fn is_dead(&self) -> bool {
            self.1.load(Relaxed)
        }
    }

    #[test]
    fn births_and_deaths_show_from_the_next_snapshot_on() {
        let index = Index::new();
        let items: Vec<Item> = [5, 1, 3].map(|n| Item(n, Arc::default())).to_vec();
        let numbers = |list: &[Item]| list.iter().map(|item| item.0).collect::<Vec<_>>();
        items.iter().for_each(|item| index.add(item.clone()));
        let first = index.snapshot();
        assert_eq!(numbers(&first), [1, 3, 5]);

        items[2].1.store(true, Relaxed);
        index.note_dead();
        index.add(Item(4, Arc::default()));
        index.add(Item(2, Arc::default()));
        assert_eq!(numbers(&index.snapshot()), [1, 2, 4, 5]);
        assert_eq!(numbers(&first), [1, 3, 5], "a reader keeps what it has");
        index.add(Item(6, Arc::default()));
        assert_eq!(numbers(&index.snapshot()), [1, 2, 4, 5, 6]);
    }
}
