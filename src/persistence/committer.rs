//! The thread that writes: one batch and one sync for all pushes that have come in the meantime.
//!
//! It holds the gate exclusively while it collects what has changed, and writes without it. If that
//! fails, nothing is lost: the batch stays, what changes is added to it, and it is written again every
//! second, or when somebody asks, until that succeeds. Until then pushes are refused
//! ([`Commits::check`]).

use std::mem;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Ack, Batch, Commits, Engine, EngineError, Usage};
use crate::telemetry::{CommitOutcome, Telemetry};

/// How long to wait after a failure before trying again, ...
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// ... and how long at least, when somebody asks for it.
const NUDGE_INTERVAL: Duration = Duration::from_millis(100);
/// How long a commit waits at most for pushes that are likely to join it.
const GATHER: Duration = Duration::from_millis(2);
/// Per this many bytes, a commit may take one more second: a slow disk is not a hanging one.
const SLOW_BYTES: usize = 1 << 20;
/// Beyond this, a sync does not wait for the interval.
const UNSYNCED_BYTES_MAX: usize = 8 << 20;

#[derive(Clone, Debug)]
pub struct CommitterOptions {
    /// How long a push that was answered before its sync may stay unsynced.
    pub interval: Duration,
    /// How long a small commit may take before everybody stops waiting for it.
    pub patience: Duration,
    pub telemetry: Arc<Telemetry>,
}

/// Moves what has changed into the batch.
pub type Collect = Box<dyn FnMut(&mut Batch) + Send>;

/// See the module documentation. The thread goes on until [`stop`](Committer::stop), even if this is
/// dropped.
#[derive(Debug)]
pub struct Committer {
    commits: Arc<Commits>,
    thread: JoinHandle<Result<(), EngineError>>,
}

impl Committer {
    /// `last` is the number of the last commit that the engine holds.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        engine: Box<dyn Engine>,
        last: u64,
        commits: Arc<Commits>,
        collect: Collect,
        options: CommitterOptions,
    ) -> std::io::Result<Committer> {
        commits.start_after(last);
        let work = Work {
            engine,
            commits: commits.clone(),
            collect,
            options,
            batch: Batch::default(),
            unsynced: Batch::default(),
            synced_at: Instant::now(),
            failing: false,
            usage_told_at: None,
        };
        let thread = thread::Builder::new().name("committer".into()).spawn(|| {
            let (commits, telemetry) = (work.commits.clone(), work.options.telemetry.clone());
            let _end = End { commits, telemetry };
            work.run()
        })?;
        Ok(Committer { commits, thread })
    }

    /// Commits everything and ends.
    ///
    /// # Errors
    /// If the last commit fails: what came after the last good one is then lost.
    pub fn stop(self) -> Result<(), EngineError> {
        self.commits.stop();
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Notices if the thread panics, so that nobody waits for it for ever.
struct End {
    commits: Arc<Commits>,
    telemetry: Arc<Telemetry>,
}

impl Drop for End {
    fn drop(&mut self) {
        if thread::panicking() {
            const REASON: &str =
                "what writes it has ended by a mistake of its own; a restart helps";
            self.telemetry.store_not_writable(REASON);
            self.commits.fail(u64::MAX, REASON);
        }
    }
}

struct Work {
    engine: Box<dyn Engine>,
    commits: Arc<Commits>,
    collect: Collect,
    options: CommitterOptions,
    /// What is to be written next, including what could not be written before.
    batch: Batch,
    /// What earlier commits have written since the last good sync.
    unsynced: Batch,
    synced_at: Instant,
    failing: bool,
    usage_told_at: Option<Instant>,
}

impl Work {
    fn run(mut self) -> Result<(), EngineError> {
        let mut retry_at = Instant::now();
        loop {
            let pause = if self.failing { RETRY_INTERVAL } else { self.options.interval };
            let goes_on = self.commits.await_work(Instant::now() + pause, GATHER);
            if self.failing && goes_on {
                thread::sleep(retry_at.saturating_duration_since(Instant::now()));
            }
            let result = self.commit(!goes_on);
            retry_at = Instant::now() + NUDGE_INTERVAL;
            if !goes_on {
                return result.and_then(|()| self.engine.close());
            }
        }
    }

    /// Writes what has changed.
    fn commit(&mut self, everything: bool) -> Result<(), EngineError> {
        let started = Instant::now();
        let Work { commits, collect, batch, .. } = self;
        let number = commits.cut(|| collect(batch));
        let anything = !self.batch.is_empty();
        let slow = (self.unsynced.bytes() + self.batch.bytes()) / SLOW_BYTES;
        let slow = Duration::from_secs(slow as u64);
        self.commits.writing(self.options.patience.saturating_add(slow));
        let written = self.write(number, everything);
        self.failing |= self.commits.answered();
        let outcome = if written.is_ok() { CommitOutcome::Done } else { CommitOutcome::Failed };
        if anything || written.is_err() {
            self.options.telemetry.committed(outcome, started.elapsed());
        }
        self.tell_usage();
        self.tell_change(&written);
        match &written {
            Ok(()) => self.commits.settle(number),
            Err(error) => {
                // Nobody knows what the disk holds, so everything since the last good sync goes again.
                if !self.unsynced.is_empty() {
                    self.unsynced.append(&self.batch);
                    self.batch.clear();
                    mem::swap(&mut self.batch, &mut self.unsynced);
                }
                self.commits.fail(number, &error.to_string());
            }
        }
        written
    }

    fn write(&mut self, number: u64, everything: bool) -> Result<(), EngineError> {
        // While nobody pushes, there is time for the engine's own work.
        let idle = self.batch.is_empty() && !everything && self.engine.is_behind();
        if !self.batch.is_empty() || idle {
            self.engine.write(number, &self.batch)?;
        }
        let unsynced = self.unsynced.bytes() + self.batch.bytes();
        let due = everything
            || idle
            || self.commits.ack() != Ack::Written
            || self.synced_at.elapsed() >= self.options.interval
            || unsynced > UNSYNCED_BYTES_MAX;
        if due {
            if unsynced > 0 || idle {
                let started = Instant::now();
                self.engine.sync()?;
                self.options.telemetry.synced(started.elapsed());
                self.unsynced.clear();
                self.batch.clear();
            }
            self.synced_at = Instant::now();
        } else {
            self.unsynced.append(&self.batch);
            self.batch.clear();
        }
        Ok(())
    }

    /// Before anybody is answered, since they may look.
    fn tell_change(&mut self, written: &Result<(), EngineError>) {
        match (written, self.failing) {
            (Ok(()), true) => self.options.telemetry.store_writable_again(),
            (Err(error), false) => self.options.telemetry.store_not_writable(&error.to_string()),
            _ => {}
        }
        self.failing = written.is_err();
    }

    /// Not with every commit, because it costs a system call.
    fn tell_usage(&mut self) {
        if self.usage_told_at.is_none_or(|told| told.elapsed() >= RETRY_INTERVAL) {
            let Usage { disk_bytes, live_bytes, free_bytes } = self.engine.usage();
            self.options.telemetry.store_usage(disk_bytes, live_bytes, free_bytes);
            self.usage_told_at = Some(Instant::now());
        }
    }
}
