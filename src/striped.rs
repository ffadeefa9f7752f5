//! Data that many threads use all the time without getting in each other's way: each thread has its own, and
//! a reader looks at all of them.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Usually enough for all threads that push. If there are more, they share.
const STRIPES: usize = 16;

/// One `T` per thread, each on its own cache lines: processors that write to the same line have to wait for
/// each other.
#[derive(Debug, Default)]
pub struct Striped<T>([Apart<T>; STRIPES]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

impl<T> Striped<T> {
    /// Calls `new` for each stripe.
    pub fn of(mut new: impl FnMut() -> T) -> Striped<T> {
        Striped(std::array::from_fn(|_| Apart(new())))
    }

    /// The stripe of this thread, which other threads may share.
    #[inline]
    pub fn own(&self) -> &T {
        &self.0[stripe()].0
    }

    /// All stripes, always in the same order.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|Apart(stripe)| stripe)
    }
}

fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: usize = NEXT.fetch_add(1, Relaxed) % STRIPES;
    }
    STRIPE.with(|stripe| *stripe)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn all_have_what_each_has_done() {
        let counts = Striped::<AtomicU64>::default();
        std::thread::scope(|scope| {
            for _ in 0..3 * STRIPES {
                scope.spawn(|| (0..1000).for_each(|_| _ = counts.own().fetch_add(1, Relaxed)));
            }
        });
        let counted = counts.all().map(|count| count.load(Relaxed)).sum::<u64>();
        assert_eq!(counted, 3 * STRIPES as u64 * 1000);
        assert!(counts.all().all(|count| count.load(Relaxed) >= 1000), "threads take turns");
    }
}
