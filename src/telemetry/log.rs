//! The log: logfmt or JSON on standard error.

use std::borrow::Cow;
use std::io;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// The format of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Logfmt,
    Json,
}

/// Changes the level while running.
#[derive(Clone, Debug)]
pub struct LevelHandle {
    handle: reload::Handle<Targets, Registry>,
    noisy: &'static str,
}

impl LevelHandle {
    pub fn set(&self, level: LevelFilter) {
        // Only fails if the subscriber has gone, and then there is nobody to tell.
        let _ = self.handle.reload(targets(level, self.noisy));
    }
}

/// Libraries may log warnings; `noisy` only at level debug.
fn targets(level: LevelFilter, noisy: &str) -> Targets {
    let below = level.min(LevelFilter::WARN);
    let quiet = if level >= LevelFilter::DEBUG { below } else { LevelFilter::OFF };
    Targets::new().with_default(below).with_target(noisy, quiet).with_target("tallygate", level)
}

/// Installs the subscriber of this process, once. `noisy` is a library that logs what clients do to their
/// own connections as errors, with which anybody could fill the log.
pub fn init(level: LevelFilter, format: LogFormat, noisy: &'static str) -> LevelHandle {
    let (filter, handle) = reload::Layer::new(targets(level, noisy));
    let lines = match format {
        LogFormat::Logfmt => {
            tracing_logfmt::builder().with_target(false).layer().with_writer(io::stderr).boxed()
        }
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_target(false)
            .with_writer(io::stderr)
            .boxed(),
    };
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    LevelHandle { handle, noisy }
}

/// The beginning of a text that a client can make as long as it likes.
pub fn beginning(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let end = (0..=bytes_max).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    Cow::Owned(format!("{}…", &text[..end]))
}

/// Lets a few lines a second through, however many clients err.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    started: Option<Instant>,
    logged: u64,
    unlogged: u64,
}

const LINES_PER_SECOND: u64 = 10;

impl Throttle {
    /// `Some(n)` if a line may be logged; `n` were not since the last one.
    pub fn allow(&self) -> Option<u64> {
        let mut window = self.0.lock();
        let now = Instant::now();
        if window
            .started
            .is_none_or(|started| now.duration_since(started) >= Duration::from_secs(1))
        {
            window.started = Some(now);
            window.logged = 0;
        }
        if window.logged >= LINES_PER_SECOND {
            window.unlogged += 1;
            return None;
        }
        window.logged += 1;
        Some(std::mem::take(&mut window.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(beginning("abc", 3), "abc");
        assert_eq!(beginning("abcd", 3), "abc…");
        assert_eq!(beginning("ää", 3), "ä…");
    }

    #[test]
    fn a_burst_is_cut_and_counted() {
        let throttle = Throttle::default();
        let allowed = (0..100).filter(|_| throttle.allow().is_some()).count() as u64;
        assert!((LINES_PER_SECOND..100).contains(&allowed));
        throttle.0.lock().started = None;
        assert_eq!(throttle.allow(), Some(100 - allowed));
    }
}
