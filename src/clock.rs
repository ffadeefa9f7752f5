//! The time. Modules below `gateway` get it as an argument.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// The wall clock of one gateway.
#[derive(Debug, Default)]
pub struct Clock {
    last_stamp: AtomicI64,
    /// What the clock said when it was found to be behind the stamps, and the last stamp at that time.
    behind: Mutex<(i64, i64)>,
    /// Milliseconds to add, for tests.
    ahead_ms: AtomicI64,
}

/// One moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the Unix epoch.
    pub ms: i64,
    /// Nanoseconds since the Unix epoch, advanced where necessary so that stamps always rise: a push
    /// that arrives later has a larger one. After the clock has stepped back, they advance at half its
    /// speed until it has caught up.
    pub stamp: i64,
}

impl Now {
    /// The time of all that is compared with scrapes: births of series and last pushes. In milliseconds since
    /// the Unix epoch; unlike `ms` it never steps back.
    pub fn steady_ms(self) -> i64 {
        self.stamp / 1_000_000
    }
}

impl Clock {
    pub fn now(&self) -> Now {
        let ns = i64::try_from(since_epoch().as_nanos()).unwrap_or(i64::MAX);
        let ns = ns.saturating_add(self.ahead_ms.load(Relaxed).saturating_mul(1_000_000));
        let last = self.last_stamp.fetch_max(ns, Relaxed);
        let stamp = if last < ns { ns } else { self.stamp_behind(ns, last) };
        Now { ms: ns / 1_000_000, stamp }
    }

    /// For a clock that stands still or has stepped back. If stamps stood still as well, all series
    /// until it has caught up would be born at the same moment, and it would be unknown which of them a
    /// scraper has seen.
    fn stamp_behind(&self, ns: i64, last: i64) -> i64 {
        let mut behind = self.behind.lock();
        let (since_ns, from) = *behind;
        let slow = from.saturating_add(ns.saturating_sub(since_ns) / 2);
        if ns < since_ns || slow < last {
            // These are from an earlier step.
            *behind = (ns, last);
        }
        match self.last_stamp.fetch_max(slow, Relaxed) {
            last if last < slow => slow,
            _ => self.last_stamp.fetch_add(1, Relaxed) + 1,
        }
    }

    /// The largest stamp so far.
    pub fn last_stamp(&self) -> i64 {
        self.last_stamp.load(Relaxed)
    }

    /// Makes stamps continue from this one, which is from before a restart.
    pub fn not_before(&self, stamp: i64) {
        self.last_stamp.fetch_max(stamp, Relaxed);
    }

    /// Moves the clock on, so that tests of expiry do not have to wait.
    pub fn advance(&self, ms: i64) {
        self.ahead_ms.fetch_add(ms, Relaxed);
    }
}

/// Milliseconds since the Unix epoch.
pub fn unix_ms() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

/// Zero if the clock is not set, and before 1970.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_always_rise_even_when_the_clock_steps_back() {
        let clock = Clock::default();
        clock.advance(60_000);
        let early = clock.now();
        clock.advance(-50_000);
        let mut last = early;
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now.stamp > last.stamp);
            last = now;
        }
        assert!(last.ms < early.ms);

        // They catch up.
        for (seconds, expected) in [(10, 5), (20, 15), (30, 30), (60, 70)] {
            clock.advance(seconds * 1000);
            let now = clock.now();
            let rest_ms = now.stamp / 1_000_000 - early.stamp / 1_000_000 - expected * 1000;
            assert!((0..1000).contains(&rest_ms), "{seconds} s on: {rest_ms} ms");
        }

        let restarted = Clock::default();
        restarted.not_before(last.stamp);
        restarted.not_before(0);
        assert!(restarted.now().stamp > last.stamp);
        assert!(restarted.last_stamp() > last.stamp);
    }
}
