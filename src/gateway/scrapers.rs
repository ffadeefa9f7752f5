//! Keeps track of which series are new to which scraper (merge-semantics 5).
//!
//! Prometheus counts differences between samples. The first sample of a series only sets the level, so
//! whatever was pushed before it would not be part of any `increase()`. So the first scrape by a
//! scraper that finds a series shows it at zero, and the next one shows its value. This is tracked per
//! scraper, so that several of them do not take each other's zeros away, and people see values at once.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use crate::clock::Now;

/// A scraper that scrapes repeatedly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scraper {
    /// The same for all scrapes by this scraper, and different from that of any other.
    pub identity: String,
    /// How long it waits for an answer, which is less than its scrape interval. 0 if it does not say.
    pub timeout_ms: i64,
}

#[derive(Debug, Default)]
pub(super) struct Scrapers {
    /// Recent scrapers, by the hash of their identity.
    known: Mutex<HashMap<u64, Known, RandomState>>,
    /// For each push in progress that may create series, the birth time that these will have.
    births_ms: Mutex<Vec<i64>>,
}

/// A push in progress that may create series.
#[derive(Debug)]
pub(super) struct UnderWay<'s> {
    scrapers: &'s Scrapers,
    born_ms: i64,
}

/// Times are milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// When its last scrape began, or the first push that was in progress then.
    last_ms: i64,
    /// What was pushed before this time has been shown to it with its value.
    seen_ms: i64,
    /// Whether it came back in time, which an identity that was made up for one scrape never does.
    regular: bool,
}

/// How many scrapers are known at a time.
const SCRAPERS_MAX: usize = 1000;

const FORGOTTEN_AFTER_MS: i64 = 3_600_000;

/// A series is born just before its first push. Within this time it may be shown at zero once more,
/// which does no harm.
const BORN_BEFORE_MS: i64 = 100;

/// An unknown scraper is shown the value of any series that is older than this.
const NEW_FOR_AT_MOST_MS: i64 = 300_000;

impl Scrapers {
    /// Call when a push begins that may create series. Returns the time of the push as well: scrapes
    /// that begin before it ends may miss its series, however long it waits and takes.
    pub(super) fn push_begins(&self, now: impl FnOnce() -> Now) -> (UnderWay<'_>, Now) {
        let mut births_ms = self.births_ms.lock();
        // Taken under the lock, so that a scrape that found no push here has an earlier time.
        let now = now();
        births_ms.push(now.steady_ms());
        (UnderWay { scrapers: self, born_ms: now.steady_ms() }, now)
    }

    /// Call when a scrape begins. Series that were born at or after the returned time have not been
    /// shown to this scraper before.
    ///
    /// An unknown scraper may be new, and then old series must not seem to grow from zero. Or it was
    /// known before we were restarted, and then series must not fall to zero. When it sees a series for
    /// the third time, two of its intervals have passed, each at least as long as its timeout. So a
    /// series that is younger than one and a half timeouts has not been shown to it with a value that
    /// the next one could not have either.
    pub(super) fn begin(&self, scraper: &Scraper, now_ms: i64) -> i64 {
        let first_birth_ms = self.births_ms.lock().iter().copied().min();
        let seen_until_ms = first_birth_ms.map_or(now_ms, |birth_ms| birth_ms.min(now_ms));
        let mut known = self.known.lock();
        let who = known.hasher().hash_one(&scraper.identity);
        let last_ms = known.get(&who).map(|known| known.last_ms);
        // Two scrapes that begin at once may come here in the other order.
        let last_ms =
            last_ms.map(|last_ms| last_ms.min(now_ms)).filter(|&ms| is_recent(ms, now_ms));
        let new_since_ms = match last_ms {
            Some(last_ms) => last_ms - BORN_BEFORE_MS,
            None => now_ms - scraper.timeout_ms.saturating_mul(3).min(2 * NEW_FOR_AT_MOST_MS) / 2,
        };
        if known.len() >= SCRAPERS_MAX && !known.contains_key(&who) {
            let worth =
                |known: &Known| (known.regular && is_recent(known.last_ms, now_ms), known.last_ms);
            let least = known.iter().min_by_key(|(_, known)| worth(known));
            if let Some(least) = least.map(|(&who, _)| who) {
                known.remove(&least);
            }
        }
        let regular = last_ms.is_some();
        known.insert(who, Known { last_ms: seen_until_ms, seen_ms: new_since_ms, regular });
        new_since_ms
    }

    /// What was pushed before this time has been shown with its value to all recent scrapers. `None` if
    /// there are none.
    pub(super) fn all_have_seen_ms(&self, now_ms: i64) -> Option<i64> {
        let known = self.known.lock();
        let recent = known.values().filter(|known| is_recent(known.last_ms, now_ms));
        recent.map(|known| known.seen_ms).min()
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut births_ms = self.scrapers.births_ms.lock();
        if let Some(at) = births_ms.iter().position(|&birth_ms| birth_ms == self.born_ms) {
            births_ms.swap_remove(at);
        }
    }
}

/// Scrapers that stay away for longer are forgotten.
fn is_recent(last_ms: i64, now_ms: i64) -> bool {
    now_ms - last_ms < FORGOTTEN_AFTER_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = FORGOTTEN_AFTER_MS;

    fn scraper(name: &str) -> Scraper {
        Scraper { identity: name.to_owned(), timeout_ms: 10_000 }
    }

    #[test]
    fn each_scraper_has_its_own_last_scrape() {
        let scrapers = Scrapers::default();
        let (a, b) = (scraper("a"), scraper("b"));
        assert_eq!(scrapers.begin(&a, HOUR), HOUR - 15_000);
        assert_eq!(scrapers.begin(&b, HOUR + 5_000), HOUR - 10_000);
        assert_eq!(scrapers.begin(&a, HOUR + 15_000), HOUR - 100);
        assert_eq!(scrapers.begin(&a, HOUR + 30_000), HOUR + 14_900);
        assert_eq!(scrapers.begin(&b, HOUR + 30_000), HOUR + 4_900);
    }

    /// A push that began long before a scrape creates its series only after the scrape has begun.
    #[test]
    fn what_was_under_way_is_new_next_time() {
        let scrapers = Scrapers::default();
        let a = scraper("a");
        let at = |ms: i64| move || Now { ms, stamp: ms * 1_000_000 };
        scrapers.begin(&a, HOUR);
        let (slow, _) = scrapers.push_begins(at(HOUR + 1_000));
        let (quick, _) = scrapers.push_begins(at(HOUR + 9_000));
        drop(quick);
        assert_eq!(scrapers.begin(&a, HOUR + 10_000), HOUR - 100);
        drop(slow);
        assert_eq!(scrapers.begin(&a, HOUR + 20_000), HOUR + 900);
        assert_eq!(scrapers.begin(&a, HOUR + 30_000), HOUR + 19_900);
    }

    #[test]
    fn who_was_away_for_long_is_a_new_one() {
        let scrapers = Scrapers::default();
        scrapers.begin(&scraper("a"), 0);
        assert_eq!(scrapers.begin(&scraper("a"), HOUR - 200), -100);
        assert_eq!(scrapers.begin(&scraper("a"), 3 * HOUR), 3 * HOUR - 15_000);
    }

    #[test]
    fn a_clock_that_steps_back_hides_nothing_for_long() {
        let scrapers = Scrapers::default();
        scrapers.begin(&scraper("a"), HOUR);
        assert_eq!(scrapers.begin(&scraper("a"), HOUR - 60_000), HOUR - 60_100);
        assert_eq!(scrapers.begin(&scraper("a"), HOUR - 50_000), HOUR - 60_100);
        assert_eq!(scrapers.begin(&scraper("a"), HOUR - 40_000), HOUR - 50_100);
    }

    /// All have seen a push when each has begun two scrapes since, or one if the series was not new to
    /// it.
    #[test]
    fn what_all_have_seen() {
        let scrapers = Scrapers::default();
        assert_eq!(scrapers.all_have_seen_ms(HOUR), None);
        scrapers.begin(&scraper("a"), HOUR);
        assert_eq!(scrapers.all_have_seen_ms(HOUR), Some(HOUR - 15_000));
        scrapers.begin(&scraper("b"), HOUR + 5_000);
        scrapers.begin(&scraper("a"), HOUR + 15_000);
        assert_eq!(scrapers.all_have_seen_ms(HOUR + 15_000), Some(HOUR - 10_000));
        scrapers.begin(&scraper("b"), HOUR + 20_000);
        assert_eq!(scrapers.all_have_seen_ms(HOUR + 20_000), Some(HOUR - 100));
        assert_eq!(scrapers.all_have_seen_ms(3 * HOUR), None);
    }

    #[test]
    fn timeouts_are_believed_within_bounds() {
        let scrapers = Scrapers::default();
        for (timeout_ms, new_for_ms) in
            [(0, 0), (60_000, 90_000), (200_000, 300_000), (i64::MAX, 300_000)]
        {
            let scraper = Scraper { timeout_ms, ..scraper(&timeout_ms.to_string()) };
            assert_eq!(scrapers.begin(&scraper, HOUR), HOUR - new_for_ms, "{timeout_ms}");
        }
    }

    #[test]
    fn the_one_that_was_silent_for_longest_makes_room() {
        let scrapers = Scrapers::default();
        for at in 0..2 * SCRAPERS_MAX as i64 {
            scrapers.begin(&scraper(&at.to_string()), at);
        }
        let known = scrapers.known.lock();
        assert_eq!(known.len(), SCRAPERS_MAX);
        assert!(known.values().all(|known| known.last_ms >= SCRAPERS_MAX as i64));
    }

    #[test]
    fn names_that_come_once_do_not_push_out_those_that_come_again() {
        let scrapers = Scrapers::default();
        scrapers.begin(&scraper("a"), HOUR);
        scrapers.begin(&scraper("a"), HOUR + 10_000);
        let flood = |from: i64| {
            for n in 0..2 * SCRAPERS_MAX as i64 {
                scrapers.begin(&scraper(&format!("{from}-{n}")), from);
            }
        };
        flood(HOUR + 15_000);
        assert_eq!(scrapers.begin(&scraper("a"), HOUR + 20_000), HOUR + 9_900);
        // Except those that have stayed away for too long.
        flood(3 * HOUR);
        assert!(scrapers.known.lock().values().all(|known| known.last_ms == 3 * HOUR));
    }
}
