//! Exactly once: a push that is sent several times, at the same time or after a crash, counts as if it
//! had been sent once (merge-semantics 7, properties 5 and 7).

#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../benches/common/mod.rs"]
mod common;

use std::sync::{Arc, Barrier};
use std::thread;

use common::request;
use parking_lot::Mutex;
use proptest::prelude::*;
use tallygate::format::compress::Compression;
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::gateway::{
    ClaimError, Gateway, Identity, Key, PushError, PushId, PushRequest, Sequence, Settings,
};
use tallygate::model::{GaugeRule, Grouping};
use tallygate::persistence::disk::simulated::{Crash, Faults, Simulated};
use tallygate::persistence::disk::{Disk, Sizes};
use tallygate::persistence::memory::{Memory, Records};
use tallygate::persistence::{Ack, Batch, Commits, Engine, EngineError};
use tallygate::telemetry::Telemetry;

/// A push that a client wants to count once.
#[derive(Clone, Debug)]
struct Push {
    id: PushId,
    group: Grouping,
    body: String,
}

/// The `number`-th push of one client.
fn push(number: usize, form: usize, value: u32) -> Push {
    let body = match form {
        0 => format!("# TYPE a_total counter\na_total{{x=\"{}\"}} {value}\n", value % 3),
        1 => format!("# TYPE f_total counter\nf_total {}\n", f64::from(value) * 0.1),
        2 => format!("# TYPE g gauge\ng {value}\n"),
        3 => {
            let buckets = "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n";
            format!("# TYPE h histogram\n{buckets}h_sum 0.{value}\nh_count 2\n")
        }
        _ => String::new(),
    };
    let id = match number % 3 {
        0 => {
            let (source, epoch) = ("s".into(), "e".into());
            PushId::Sequence(Sequence { source, epoch, number: number as u64 })
        }
        _ => PushId::Key(Key::parse(format!("key-{number}").as_bytes()).unwrap()),
    };
    let job = ["a", "b"][number % 2];
    Push { id, group: Grouping::new([("job", job)]).unwrap(), body }
}

fn pushes() -> impl Strategy<Value = Vec<Push>> {
    prop::collection::vec((0_usize..5, 0_u32..1000), 1..40).prop_map(|pushes| {
        let numbered = pushes.into_iter().enumerate();
        numbered.map(|(number, (form, value))| push(number, form, value)).collect()
    })
}

/// Whether this attempt was applied; `None` while another one is in progress.
fn send(gateway: &Gateway, push: &Push) -> Option<bool> {
    let request = PushRequest {
        merge: Some(GaugeRule::Sum),
        identity: Some(Identity { principal: None, id: &push.id }),
        ..PushRequest::new(&push.group, PushFormat::Text, push.body.as_bytes())
    };
    match gateway.push(&request) {
        Ok(pushed) => Some(!pushed.replayed),
        Err(PushError::Claim(ClaimError::InFlight)) => None,
        // Another thread is far ahead, and has sent it already.
        Err(PushError::Claim(ClaimError::BelowWindow)) => Some(false),
        Err(error) => panic!("{push:?}: {error}"),
    }
}

fn shown(gateway: &Gateway) -> String {
    let mut scrape = gateway.scrape(request(Format::Text004, Compression::Identity)).unwrap();
    let mut body = Vec::new();
    while let Some(piece) = scrape.next_piece().unwrap() {
        body.extend_from_slice(&piece);
    }
    String::from_utf8(body).unwrap()
}

fn in_memory() -> Gateway {
    Gateway::new(Settings::default(), Arc::new(Telemetry::new(0)))
}

/// The result if nothing ever goes wrong.
fn expected(pushes: &[Push]) -> String {
    let gateway = in_memory();
    for push in pushes {
        assert_eq!(send(&gateway, push), Some(true));
    }
    shown(&gateway)
}

/// A gateway whose disk survives it.
struct Lasting {
    gateway: Gateway,
    engine: Box<dyn Engine>,
    commit: u64,
    /// What the next commit has to write, including what a failed one could not.
    pending: Batch,
}

impl Lasting {
    fn start(disk: &Arc<Mutex<Records>>) -> Lasting {
        Lasting::over(Box::new(Memory::over(disk.clone()))).unwrap()
    }

    fn over(mut engine: Box<dyn Engine>) -> Result<Lasting, EngineError> {
        let commits = Arc::new(Commits::new(Ack::Synced));
        let telemetry = Arc::new(Telemetry::new(0));
        let gateway = Gateway::with_commits(Settings::default(), telemetry, commits);
        let commit = gateway.load(&mut *engine, &mut |_| {})?.commit;
        Ok(Lasting { gateway, engine, commit, pending: Batch::default() })
    }

    /// On a disk with small files, so that a few commits take several of them.
    fn on(disk: &Simulated) -> Result<Lasting, EngineError> {
        let sizes = Sizes { segment_bytes: [2_000, 2_000], ahead_bytes: 700 };
        Lasting::over(Box::new(Disk::over(Box::new(disk.clone()), sizes)?))
    }

    /// Does what the committer would do.
    fn commit(&mut self) -> Result<(), EngineError> {
        self.gateway.collect(&mut self.pending);
        self.commit += 1;
        self.engine.write(self.commit, &self.pending)?;
        self.engine.sync()?;
        self.pending.clear();
        Ok(())
    }

    /// The same with a disk that accepts no writes.
    fn fail_to_commit(&mut self) {
        self.gateway.collect(&mut self.pending);
        self.commit += 1;
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Sends one of the pushes, for the first time or again.
    Send(prop::sample::Index),
    Commit,
    FailedCommit,
    /// Time passes, but not as long as keys are remembered, and what is old is forgotten.
    Wait(i64),
    /// Everything that was not committed is lost.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any::<prop::sample::Index>().prop_map(Step::Send),
        2 => Just(Step::Commit),
        1 => Just(Step::FailedCommit),
        1 => (0..1_000_i64).prop_map(Step::Wait),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..Default::default() })]

    #[test]
    fn crashes_and_retries_change_nothing(
        pushes in pushes(),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let disk = Arc::default();
        let mut lasting = Lasting::start(&disk);
        // For each push: whether it was applied, and whether that is on the disk.
        let mut applied = vec![false; pushes.len()];
        let mut safe = applied.clone();
        for step in steps {
            match step {
                Step::Send(index) => {
                    let at = index.index(pushes.len());
                    prop_assert_eq!(send(&lasting.gateway, &pushes[at]), Some(!applied[at]));
                    applied[at] = true;
                }
                Step::Commit => {
                    lasting.commit().unwrap();
                    safe.clone_from(&applied);
                }
                Step::FailedCommit => lasting.fail_to_commit(),
                Step::Wait(ms) => {
                    lasting.gateway.clock().advance(ms);
                    lasting.gateway.expire();
                }
                Step::Crash => {
                    lasting = Lasting::start(&disk);
                    applied.clone_from(&safe);
                }
            }
        }
        // Clients without an answer try again, and so may others.
        for (push, applied) in pushes.iter().zip(applied) {
            prop_assert_eq!(send(&lasting.gateway, push), Some(!applied));
        }
        let expected = expected(&pushes);
        prop_assert_eq!(&shown(&lasting.gateway), &expected);
        lasting.commit().unwrap();
        prop_assert_eq!(&shown(&Lasting::start(&disk).gateway), &expected);
    }
}

#[test]
fn many_threads_that_send_the_same_count_once() {
    const THREADS: usize = 6;
    let pushes: Vec<Push> = (0..300).map(|n| push(n, n % 5, n as u32 * 7 % 1000)).collect();
    let gateway = in_memory();
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (gateway, pushes, barrier) = (&gateway, &pushes, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for at in 0..pushes.len() {
                    // Some go backwards, but stay within the window.
                    let at = if thread % 2 == 0 { at } else { at ^ 31 };
                    let Some(push) = pushes.get(at) else { continue };
                    while send(gateway, push).is_none() {
                        thread::yield_now();
                    }
                }
            });
        }
    });
    for push in &pushes[200..] {
        assert_eq!(send(&gateway, push), Some(false));
    }
    assert_eq!(shown(&gateway), expected(&pushes));
}

/// Commits after every second push, until the disk stops. Returns how many pushes were acknowledged.
fn push_until_it_stops(disk: &Simulated, pushes: &[Push]) -> usize {
    let Ok(mut lasting) = Lasting::on(disk) else { return 0 };
    for (at, two) in pushes.chunks(2).enumerate() {
        for push in two {
            assert_eq!(send(&lasting.gateway, push), Some(true));
        }
        if lasting.commit().is_err() {
            return at * 2;
        }
    }
    pushes.len()
}

#[test]
fn key_and_effect_are_torn_off_together() {
    let pushes: Vec<Push> = (0..14).map(|n| push(n, n % 4, n as u32 * 7)).collect();
    let expected = expected(&pushes);
    let whole = Simulated::default();
    assert_eq!(push_until_it_stops(&whole, &pushes), pushes.len());
    let (mut torn, mut kept) = (0, 0);
    for stop in 0..=whole.operations() {
        let disk = Simulated::default();
        disk.set_faults(Faults { stop_at: Some(stop), ..Faults::default() });
        let acknowledged = push_until_it_stops(&disk, &pushes);
        let mut crashes = vec![Crash::Process];
        for writes in 0..=disk.unsynced().min(3) {
            crashes.extend([0, 1, 32, 150, 400].map(|bytes| Crash::Machine { writes, bytes }));
        }
        for crash in crashes {
            let mut lasting = Lasting::on(&disk.after(crash)).unwrap();
            // All are sent again: those without an answer, and some with one.
            let replayed =
                pushes.iter().filter(|push| send(&lasting.gateway, push) == Some(false)).count();
            assert!(replayed >= acknowledged, "{stop} {crash:?}: an acknowledged key is missing");
            assert_eq!(shown(&lasting.gateway), expected, "{stop} {crash:?}");
            torn += usize::from(replayed == acknowledged);
            kept += usize::from(replayed == acknowledged + 2);
            lasting.commit().unwrap();
        }
    }
    assert!(torn > 50 && kept > 10, "{torn} {kept}");
}
