//! The phase of the process between its start and end. The app sets it; probes and pushes read it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use tokio::sync::Notify;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// State is being loaded.
    Starting,
    Ready,
    /// Stopping: requests are still served, but probes and connections send clients elsewhere.
    Draining,
}

#[derive(Debug)]
pub struct Lifecycle {
    phase: AtomicU8,
    loaded: AtomicU64,
    quit: Notify,
}

impl Default for Lifecycle {
    fn default() -> Lifecycle {
        Lifecycle {
            phase: AtomicU8::new(Phase::Starting as u8),
            loaded: AtomicU64::new(0),
            quit: Notify::new(),
        }
    }
}

impl Lifecycle {
    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    pub fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// Records of the store that have been loaded so far.
    pub fn loaded(&self) -> u64 {
        self.loaded.load(Relaxed)
    }

    pub fn set_loaded(&self, records: u64) {
        self.loaded.store(records, Relaxed);
    }

    /// The state is complete, so pushes and scrapes are answered. Still true while draining.
    pub fn is_up(&self) -> bool {
        self.phase() != Phase::Starting
    }

    /// Asks the app to stop the process in good order.
    pub fn ask_to_quit(&self) {
        self.quit.notify_one();
    }

    pub async fn asked_to_quit(&self) {
        self.quit.notified().await;
    }
}
