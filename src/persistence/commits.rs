//! What all owners of durable state share: the gate, and the tickets that answers wait for.
//!
//! A push passes the gate together with others; the committer and removals pass it alone. So a commit
//! always contains whole pushes. A ticket is the number of the commit that will contain what its owner
//! has done inside the gate. The answer waits until that commit is as safe as `store.ack` asks.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::striped::Striped;

/// When a push may be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// When it would survive a power failure.
    #[default]
    Synced,
    /// When it would survive the end of the process.
    Written,
    /// At once. It is written soon afterwards.
    Memory,
}

/// Which commit will contain a change; 0 if the answer does not have to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// A change could not be made durable. It is not undone, and is written as soon as that is possible again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store cannot be written: {0}")]
pub struct NotDurable(pub Arc<str>);

/// See the module documentation.
#[derive(Debug)]
pub struct Commits {
    /// Whoever passes together with others locks the stripe of its thread; whoever passes alone, all of them.
    gate: Striped<RwLock<()>>,
    /// `None` if state is kept in memory only.
    ack: Option<Ack>,
    /// The number of the commit that will contain what is done now. Only changes while the gate is held
    /// exclusively.
    open: AtomicU64,
    /// How many tickets were handed out so far.
    asked: AtomicU64,
    /// Whoever takes this ticket wakes the committer.
    enough: AtomicU64,
    /// Commits up to this one are safe. Only changes while `progress` is held.
    safe: AtomicU64,
    /// The last commit failed.
    failing: AtomicBool,
    progress: Mutex<Progress>,
    /// What the committer waits on.
    work: Condvar,
}

/// Nobody has to wake the committer.
const NEVER: u64 = u64::MAX;

#[derive(Default)]
struct Progress {
    /// How many tickets had been handed out when the last commit was cut.
    taken: u64,
    /// How many are likely to take part in the next commit: those that the last one has answered, and those
    /// that have come in the meantime.
    expected: u64,
    /// Commits up to this one have failed, unless they are safe.
    failed: u64,
    reason: Option<Arc<str>>,
    waiting: Vec<Waiting>,
    /// How many have ever waited.
    waited: u64,
    /// When the commit that is being written was given to the disk, and how long it may take.
    writing: Option<(Instant, Duration)>,
    /// Somebody wants another attempt at once.
    nudged: bool,
    stopping: bool,
}

struct Waiting {
    /// Unique.
    number: u64,
    commit: u64,
    waker: Waker,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("taken", &self.taken)
            .field("failed", &self.failed)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

/// The right to be inside the gate, together with others.
#[derive(Debug)]
pub struct Pass<'c> {
    commits: &'c Commits,
    _guard: RwLockReadGuard<'c, ()>,
}

/// The right to be inside the gate, alone.
#[derive(Debug)]
pub struct Exclusive<'c> {
    commits: &'c Commits,
    _guards: Vec<RwLockWriteGuard<'c, ()>>,
}

impl Pass<'_> {
    /// A ticket for what was done inside the gate, to be taken before leaving it.
    pub fn ticket(&self) -> Ticket {
        self.commits.ticket()
    }
}

impl Exclusive<'_> {
    /// As [`Pass::ticket`].
    pub fn ticket(&self) -> Ticket {
        self.commits.ticket()
    }
}

/// For state that is kept in memory only.
impl Default for Commits {
    fn default() -> Commits {
        Commits::with(None)
    }
}

impl Commits {
    /// For a [`Committer`](super::Committer) to work on.
    pub fn new(ack: Ack) -> Commits {
        Commits::with(Some(ack))
    }

    fn with(ack: Option<Ack>) -> Commits {
        Commits {
            gate: Striped::default(),
            ack,
            open: AtomicU64::new(1),
            asked: AtomicU64::new(0),
            enough: AtomicU64::new(NEVER),
            safe: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            progress: Mutex::default(),
            work: Condvar::new(),
        }
    }

    /// What changes is written by somebody, and so has to be noted.
    pub fn are_kept(&self) -> bool {
        self.ack.is_some()
    }

    /// Passes the gate together with others. A thread must not enter it twice.
    pub fn enter(&self) -> Pass<'_> {
        Pass { commits: self, _guard: self.gate.own().read() }
    }

    /// Passes the gate alone. Be quick.
    pub fn exclude(&self) -> Exclusive<'_> {
        Exclusive { commits: self, _guards: self.close() }
    }

    /// Keeps everybody out.
    fn close(&self) -> Vec<RwLockWriteGuard<'_, ()>> {
        self.gate.all().map(RwLock::write).collect()
    }

    fn ticket(&self) -> Ticket {
        if matches!(self.ack, None | Some(Ack::Memory)) {
            return Ticket(0);
        }
        let asked = self.asked.fetch_add(1, SeqCst) + 1;
        let enough = self.enough.load(SeqCst);
        if asked >= enough && self.enough.compare_exchange(enough, NEVER, SeqCst, SeqCst).is_ok() {
            let _progress = self.progress.lock();
            self.work.notify_one();
        }
        Ticket(self.open.load(Relaxed))
    }

    /// Whether changes can be made durable at present. If not, the committer is asked to try again.
    ///
    /// # Errors
    /// If the last commit failed.
    pub fn check(&self) -> Result<(), NotDurable> {
        if !self.failing.load(Relaxed) {
            return Ok(());
        }
        let mut progress = self.progress.lock();
        progress.nudged = true;
        self.work.notify_one();
        Err(NotDurable(progress.reason.clone().unwrap_or_default()))
    }

    /// Waits until the change that the ticket stands for is safe.
    pub fn safe(&self, ticket: Ticket) -> Safe<'_> {
        Safe { commits: self, ticket, waiting: None }
    }

    /// The same for threads that may block.
    ///
    /// # Errors
    /// If the change could not be made durable.
    pub fn wait(&self, ticket: Ticket) -> Result<(), NotDurable> {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let mut safe = self.safe(ticket);
        loop {
            match Pin::new(&mut safe).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(result) => return result,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    /// A disk may hang, and fail much later or never. A commit that takes too long counts as failed until it
    /// is done, so that nobody waits any longer. Returns the reason the first time. To be called now and
    /// then.
    pub fn lose_patience(&self) -> Option<NotDurable> {
        let mut progress = self.progress.lock();
        let (since, patience) = progress.writing?;
        let took = since.elapsed();
        if took <= patience {
            return None;
        }
        let reason = format!("the disk has not answered for {} s", took.as_secs());
        let news = !self.failing.load(Relaxed);
        // Also for those who would be part of the next commit.
        let open = self.open.load(Relaxed);
        self.have_failed(&mut progress, open, &reason);
        wake(progress, open);
        news.then(|| NotDurable(reason.into()))
    }

    // === for the committer

    /// Starts after the last commit that was loaded.
    pub(super) fn start_after(&self, commit: u64) {
        self.open.store(commit + 1, Relaxed);
        let _progress = self.progress.lock();
        self.safe.store(commit, SeqCst);
    }

    /// Waits until somebody wants a commit, nudges, or stops the committer, or until the time has come. False
    /// if it is to stop.
    ///
    /// A commit costs the same for one push and for many. So one that is wanted waits for most of those who
    /// are likely to want it as well, but not for long. The rest arrives while it is being written, so that
    /// disk and processors work at the same time.
    pub(super) fn await_work(&self, until: Instant, gather: Duration) -> bool {
        let mut progress = self.progress.lock();
        let first = if self.failing.load(Relaxed) { NEVER } else { progress.taken + 1 };
        if self.await_asked(&mut progress, first, until) {
            let most = progress.taken + progress.expected - progress.expected / 4;
            self.await_asked(&mut progress, most, Instant::now() + gather);
        }
        !progress.stopping
    }

    /// Waits until so many tickets were handed out; false if something else has to be done first.
    fn await_asked(
        &self,
        progress: &mut MutexGuard<'_, Progress>,
        count: u64,
        until: Instant,
    ) -> bool {
        let asked = loop {
            // Whoever takes the next ticket either sees this or is counted below.
            self.enough.store(count, SeqCst);
            if self.asked.load(SeqCst) >= count {
                break true;
            }
            if progress.stopping || std::mem::take(&mut progress.nudged) {
                break false;
            }
            if self.work.wait_until(progress, until).timed_out() {
                break false;
            }
        };
        self.enough.store(NEVER, SeqCst);
        asked
    }

    /// Ends the open commit, and calls `collect` with the gate held exclusively. The number of the commit.
    pub(super) fn cut(&self, collect: impl FnOnce()) -> u64 {
        let _guards = self.close();
        collect();
        let asked = self.asked.load(SeqCst);
        let mut progress = self.progress.lock();
        progress.expected = asked - std::mem::replace(&mut progress.taken, asked);
        self.open.fetch_add(1, Relaxed)
    }

    /// The disk is given a commit, and may take so long.
    pub(super) fn writing(&self, patience: Duration) {
        self.progress.lock().writing = Some((Instant::now(), patience));
    }

    /// The disk has answered. True if others have stopped waiting before that.
    pub(super) fn answered(&self) -> bool {
        self.progress.lock().writing = None;
        self.failing.load(Relaxed)
    }

    /// This commit, and all before it, are safe.
    pub(super) fn settle(&self, commit: u64) {
        let mut progress = self.progress.lock();
        self.safe.store(commit, SeqCst);
        progress.failed = commit;
        progress.expected += self.asked.load(SeqCst) - progress.taken;
        progress.reason = None;
        self.failing.store(false, Relaxed);
        wake(progress, commit);
    }

    /// This commit, and all before it that are not safe yet, could not be written.
    pub(super) fn fail(&self, commit: u64, reason: &str) {
        let mut progress = self.progress.lock();
        self.have_failed(&mut progress, commit, reason);
        progress.nudged = false;
        wake(progress, commit);
    }

    fn have_failed(&self, progress: &mut Progress, commit: u64, reason: &str) {
        progress.failed = commit;
        progress.reason = Some(reason.into());
        self.failing.store(true, Relaxed);
    }

    pub(super) fn ack(&self) -> Ack {
        self.ack.unwrap_or_default()
    }

    pub(super) fn stop(&self) {
        self.progress.lock().stopping = true;
        self.work.notify_one();
    }
}

/// Wakes those who wait for commits up to this one, after releasing the lock that they will need.
fn wake(mut progress: MutexGuard<'_, Progress>, commit: u64) {
    let woken: Vec<_> = progress.waiting.extract_if(.., |one| one.commit <= commit).collect();
    drop(progress);
    woken.into_iter().for_each(|one| one.waker.wake());
}

/// See [`Commits::safe`]. Dropping it only means not to wait any longer.
#[derive(Debug)]
pub struct Safe<'c> {
    commits: &'c Commits,
    ticket: Ticket,
    /// Its number among the waiting. It may have been woken already.
    waiting: Option<u64>,
}

impl Safe<'_> {
    fn look(&mut self, context: &Context<'_>) -> Poll<Result<(), NotDurable>> {
        let Ticket(commit) = self.ticket;
        let is_safe = || commit <= self.commits.safe.load(SeqCst);
        if commit == 0 || is_safe() {
            return Poll::Ready(Ok(()));
        }
        let mut progress = self.commits.progress.lock();
        if is_safe() {
            return Poll::Ready(Ok(()));
        }
        if commit <= progress.failed {
            return Poll::Ready(Err(NotDurable(progress.reason.clone().unwrap_or_default())));
        }
        // The entry goes with the commit, even if nobody waits any more.
        let waker = context.waker();
        if let Some(number) = self.waiting
            && let Some(one) = progress.waiting.iter_mut().find(|one| one.number == number)
        {
            one.waker.clone_from(waker);
        } else {
            progress.waited += 1;
            let number = progress.waited;
            self.waiting = Some(number);
            progress.waiting.push(Waiting { number, commit, waker: waker.clone() });
        }
        Poll::Pending
    }
}

impl Future for Safe<'_> {
    type Output = Result<(), NotDurable>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let safe = self.get_mut();
        let done = safe.look(context);
        if done.is_ready() {
            safe.waiting = None;
        }
        done
    }
}

impl Drop for Safe<'_> {
    /// While a disk hangs, many may stop waiting without being woken.
    fn drop(&mut self) {
        if let Some(number) = self.waiting {
            self.commits.progress.lock().waiting.retain(|one| one.number != number);
        }
    }
}
