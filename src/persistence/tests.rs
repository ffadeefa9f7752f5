//! Pushes with a committer: whatever is acknowledged is on the disk, whatever the disk does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::disk::simulated::Simulated;
use super::disk::{Disk, Sizes};
use super::memory::{Memory, Records};
use super::*;
use crate::telemetry::Telemetry;

/// A state that is one number, to which each push adds one.
#[derive(Debug, Default)]
struct Counter {
    value: AtomicU64,
    dirty: AtomicU64,
    /// The values that were collected, each of which is also a record of its own.
    collected: Mutex<Vec<u64>>,
    /// The size of another record in the same batch, in bytes.
    large: AtomicUsize,
}

impl Counter {
    fn push(&self, commits: &Commits) -> Ticket {
        let pass = commits.enter();
        self.value.fetch_add(1, SeqCst);
        self.dirty.store(1, SeqCst);
        pass.ticket()
    }

    fn collect(self: &Arc<Counter>) -> Collect {
        let counter = self.clone();
        Box::new(move |batch| {
            if counter.dirty.swap(0, SeqCst) == 1 {
                let value = counter.value.load(SeqCst);
                batch.put(Table::Meta, b"counter", &value.to_le_bytes());
                batch.put(Table::Series, &value.to_le_bytes(), b"");
                batch.put(Table::Meta, b"large", &vec![0; counter.large.load(SeqCst)]);
                counter.collected.lock().push(value);
            }
        })
    }
}

fn kept(records: &Mutex<Records>) -> u64 {
    let records = records.lock();
    let value = records.value(Table::Meta, b"counter");
    value.map_or(0, |value| u64::from_le_bytes(value.try_into().unwrap()))
}

/// An engine that fails, hangs or panics on demand.
struct Failing {
    engine: Memory,
    broken: Arc<Mutex<Option<&'static str>>>,
}

impl Failing {
    fn fail(&self, action: &'static str) -> Result<(), EngineError> {
        match *self.broken.lock() == Some(action) {
            true => Err(EngineError::Io {
                action,
                path: "disk".into(),
                source: io::ErrorKind::StorageFull.into(),
            }),
            false => Ok(()),
        }
    }
}

impl Engine for Failing {
    fn load(&mut self, visit: &mut dyn Visit) -> Result<u64, EngineError> {
        self.engine.load(visit)
    }

    fn write(&mut self, commit: u64, batch: &Batch) -> Result<(), EngineError> {
        while *self.broken.lock() == Some("hang") {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(*self.broken.lock() != Some("panic"), "as the test wants it");
        self.fail("write")?;
        self.engine.write(commit, batch)
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        self.fail("sync").inspect_err(|_| self.engine.forget())?;
        self.engine.sync()
    }

    fn usage(&self) -> Usage {
        self.engine.usage()
    }

    fn place(&self) -> String {
        self.engine.place()
    }
}

struct Rig {
    counter: Arc<Counter>,
    commits: Arc<Commits>,
    records: Arc<Mutex<Records>>,
    broken: Arc<Mutex<Option<&'static str>>>,
    committer: Committer,
}

fn rig(ack: Ack, interval: Duration) -> Rig {
    let (counter, commits) = (Arc::new(Counter::default()), Arc::new(Commits::new(ack)));
    let (records, broken) = (Arc::default(), Arc::default());
    let engine =
        Failing { engine: Memory::over(Arc::clone(&records)), broken: Arc::clone(&broken) };
    let telemetry = Arc::new(Telemetry::new(0));
    let options = CommitterOptions { interval, patience: Duration::ZERO, telemetry };
    let committer =
        Committer::start(Box::new(engine), 0, commits.clone(), counter.collect(), options).unwrap();
    Rig { counter, commits, records, broken, committer }
}

fn eventually(is_so: impl Fn() -> bool) {
    for _ in 0..20_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("in vain");
}

#[test]
fn what_is_acknowledged_is_synced() {
    let rig = rig(Ack::Synced, Duration::from_secs(60));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let least = rig.records.lock().commit;
                    let pushed = rig.counter.push(&rig.commits);
                    rig.commits.wait(pushed).unwrap();
                    assert!(rig.records.lock().commit > least);
                }
            });
        }
    });
    assert_eq!(kept(&rig.records), 2_000);
    let commits = rig.records.lock().commit;
    assert!(commits <= 2_000, "{commits} commits");
    rig.committer.stop().unwrap();
}

#[test]
fn a_failure_refuses_until_it_is_over() {
    for action in ["write", "sync"] {
        let rig = rig(Ack::Synced, Duration::from_secs(60));
        rig.commits.wait(rig.counter.push(&rig.commits)).unwrap();
        *rig.broken.lock() = Some(action);
        let error = rig.commits.wait(rig.counter.push(&rig.commits)).unwrap_err();
        assert!(error.to_string().contains(action), "{error}");
        assert!(rig.commits.check().is_err());
        assert_eq!(kept(&rig.records), 1);

        *rig.broken.lock() = None;
        // The check makes it try again at once.
        eventually(|| rig.commits.check().is_ok());
        assert_eq!(kept(&rig.records), 2, "what the failed commit held is not lost");
        rig.commits.wait(rig.counter.push(&rig.commits)).unwrap();
        rig.committer.stop().unwrap();
        assert_eq!(kept(&rig.records), 3);
    }
}

#[test]
fn weaker_acknowledgements_wait_for_less_and_lose_nothing_in_the_end() {
    for ack in [Ack::Written, Ack::Memory] {
        let rig = rig(ack, Duration::from_secs(60));
        for _ in 0..100 {
            rig.commits.wait(rig.counter.push(&rig.commits)).unwrap();
        }
        assert_eq!(kept(&rig.records), 0, "{ack:?}: nothing is synced yet");
        rig.committer.stop().unwrap();
        assert_eq!(kept(&rig.records), 100, "{ack:?}");
    }
    let rig = rig(Ack::Memory, Duration::from_millis(1));
    rig.commits.wait(rig.counter.push(&rig.commits)).unwrap();
    eventually(|| kept(&rig.records) > 0);
    rig.committer.stop().unwrap();
}

#[test]
fn what_was_written_and_not_synced_goes_again_after_a_failure() {
    let rig = rig(Ack::Written, Duration::from_millis(200));
    *rig.broken.lock() = Some("sync");
    for _ in 0..3 {
        // Usually all are written before the first sync is due; if not, that does not matter.
        let _ = rig.commits.wait(rig.counter.push(&rig.commits));
    }
    eventually(|| rig.commits.check().is_err());
    rig.counter.push(&rig.commits);
    assert_eq!(kept(&rig.records), 0);

    *rig.broken.lock() = None;
    eventually(|| rig.commits.check().is_ok());
    // The engine has forgotten what was written before, so each of these was written twice.
    assert_eq!(kept(&rig.records), 4);
    let records = rig.records.lock().clone();
    for value in &*rig.counter.collected.lock() {
        let record = records.value(Table::Series, &value.to_le_bytes());
        assert!(record.is_some(), "the commit that made it {value}");
    }
    *rig.broken.lock() = Some("sync");
    rig.counter.push(&rig.commits);
    assert!(rig.committer.stop().is_err(), "the last sync fails");
    assert_eq!(kept(&rig.records), 4);
}

#[test]
fn who_gives_up_waiting_leaves_nothing_behind() {
    let rig = rig(Ack::Synced, Duration::from_secs(60));
    *rig.broken.lock() = Some("hang");
    let waiting = |count: usize| {
        let commits = format!("{:?}", rig.commits);
        assert!(commits.contains(&format!("waiting: {count},")), "{commits}");
    };
    for _ in 0..100 {
        let mut safe = rig.commits.safe(rig.counter.push(&rig.commits));
        for _ in 0..2 {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(std::pin::Pin::new(&mut safe).poll(&mut context).is_pending());
            waiting(1);
        }
    }
    waiting(0);
    *rig.broken.lock() = None;
    rig.commits.wait(rig.counter.push(&rig.commits)).unwrap();
    rig.committer.stop().unwrap();
    assert_eq!(kept(&rig.records), 101, "what they have pushed is there");
}

#[test]
fn nobody_waits_for_long_while_the_disk_hangs() {
    let rig = rig(Ack::Synced, Duration::from_secs(60));
    rig.commits.wait(rig.counter.push(&rig.commits)).unwrap();
    assert_eq!(rig.commits.lose_patience(), None, "nothing is being written");
    *rig.broken.lock() = Some("hang");
    let ticket = rig.counter.push(&rig.commits);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.commits.wait(ticket));
        eventually(|| rig.commits.lose_patience().is_some());
        assert_eq!(rig.commits.lose_patience(), None, "it is told once");
        let error = waiting.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("has not answered for 0 s"), "{error}");
    });
    // A push that checked before that becomes part of the next commit.
    rig.commits.wait(rig.counter.push(&rig.commits)).unwrap_err();
    rig.commits.check().unwrap_err();

    *rig.broken.lock() = None;
    eventually(|| rig.commits.check().is_ok());
    rig.commits.wait(rig.counter.push(&rig.commits)).unwrap();
    assert_eq!(kept(&rig.records), 4);
    rig.committer.stop().unwrap();
}

#[test]
fn a_large_commit_may_take_longer() {
    let rig = rig(Ack::Synced, Duration::from_millis(10));
    *rig.broken.lock() = Some("hang");
    rig.counter.large.store(20_000_000, SeqCst);
    let ticket = rig.counter.push(&rig.commits);
    eventually(|| rig.counter.dirty.load(SeqCst) == 0);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(rig.commits.lose_patience(), None, "19 seconds more");
    *rig.broken.lock() = None;
    rig.commits.wait(ticket).unwrap();
    rig.committer.stop().unwrap();
}

#[test]
fn nobody_waits_for_a_committer_that_has_ended() {
    let rig = rig(Ack::Synced, Duration::from_secs(60));
    *rig.broken.lock() = Some("panic");
    let error = rig.commits.wait(rig.counter.push(&rig.commits)).unwrap_err();
    assert!(error.to_string().contains("a restart helps"), "{error}");
    rig.commits.check().unwrap_err();
    rig.commits.wait(rig.counter.push(&rig.commits)).unwrap_err();
    let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rig.committer.stop()));
    assert!(stopped.is_err(), "and it is told at the end");
}

#[test]
fn without_a_store_nothing_waits() {
    let (counter, commits) = (Counter::default(), Commits::default());
    assert_eq!(counter.push(&commits), Ticket::default());
    commits.wait(Ticket::default()).unwrap();
    commits.check().unwrap();
}

/// Records that expire over night must not fill the disk until somebody pushes again.
#[test]
fn space_is_freed_while_nobody_pushes() {
    const RECORDS: u32 = 30_000;
    let disk = Simulated::default();
    let mut engine = Disk::over(Box::new(disk.clone()), Sizes::default()).unwrap();
    engine.load(&mut each(|_| Ok(()))).unwrap();
    let commits = Arc::new(Commits::new(Ack::Synced));
    let round = Arc::new(AtomicU64::new(0));
    let rounds = Arc::clone(&round);
    let collect = Box::new(move |batch: &mut Batch| match rounds.fetch_add(1, SeqCst) {
        // One record stays, in the oldest file.
        0 => (0..RECORDS).for_each(|n| {
            batch.put_with_state(Table::Series, &n.to_le_bytes(), &[7; 900], b"state");
        }),
        1 => (1..RECORDS).for_each(|n| batch.delete(Table::Series, &n.to_le_bytes())),
        _ => {}
    });
    let options = CommitterOptions {
        interval: Duration::from_millis(10),
        patience: Duration::from_secs(60),
        telemetry: Arc::new(Telemetry::new(0)),
    };
    let committer = Committer::start(Box::new(engine), 0, commits, collect, options).unwrap();
    eventually(|| round.load(SeqCst) > 1);
    eventually(|| disk.bytes() < 10 << 20);
    // And then it is at rest.
    eventually(|| {
        let before = (disk.operations(), round.load(SeqCst));
        eventually(|| round.load(SeqCst) > before.1 + 3);
        disk.operations() == before.0
    });
    committer.stop().unwrap();
    let mut engine = Disk::over(Box::new(disk), Sizes::default()).unwrap();
    let mut left = Vec::new();
    let visit = |record: Record<'_>| {
        left.push(record.key.to_vec());
        Ok(())
    };
    engine.load(&mut each(visit)).unwrap();
    assert_eq!(left, [0_u32.to_le_bytes()]);
}

/// Until it is time for a commit, if that comes soon.
fn awaited(commits: &Commits, gather: Duration) -> Duration {
    let started = Instant::now();
    assert!(commits.await_work(started + Duration::from_secs(60), gather));
    let took = started.elapsed();
    assert!(took < Duration::from_secs(30), "it waits for who does not come");
    took
}

#[test]
fn a_commit_waits_for_those_who_are_likely_to_come_and_not_for_long() {
    const LONG: Duration = Duration::from_secs(60);
    let commits = Commits::new(Ack::Synced);
    commits.start_after(0);
    let ask = || commits.enter().ticket();
    (0..7).for_each(|_| _ = ask());
    awaited(&commits, LONG);
    let number = commits.cut(|| {});
    // This one comes while the others are being written.
    ask();
    commits.settle(number);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| awaited(&commits, LONG));
        (0..4).for_each(|_| _ = ask());
        std::thread::sleep(Duration::from_millis(20));
        assert!(!waiting.is_finished(), "eight are likely to come, and six are most of them");
        ask();
        waiting.join().unwrap();
    });
    commits.settle(commits.cut(|| {}));
    ask();
    let short = Duration::from_millis(10);
    assert!(awaited(&commits, short) >= short, "the others did not come");
    commits.settle(commits.cut(|| {}));
    // A single push does not wait for others.
    ask();
    awaited(&commits, LONG);
}
