//! Which pushes may be applied, and which were, whatever happens in between.

use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::persistence::Record;
use crate::persistence::memory::Records;

const START: i64 = 1_700_000_000_000;
const WINDOW_MS: i64 = 600_000;
const MEMORY: Memory = Memory { window_ms: WINDOW_MS, keys_bytes: 1 << 20, sources: 1600 };

fn delivery() -> Delivery {
    Delivery::new([7; 16], START, true)
}

fn key(text: &str) -> PushId {
    PushId::Key(Key::parse(text.as_bytes()).unwrap())
}

/// A `UUIDv7` that was made at this time.
fn made_at(ms: i64, which: u32) -> PushId {
    let digits = format!("{ms:012x}");
    key(&format!("{}-{}-7000-8000-{which:012x}", &digits[..8], &digits[8..]))
}

fn number(source: &str, epoch: &str, number: u64) -> PushId {
    PushId::Sequence(Sequence { source: source.into(), epoch: epoch.into(), number })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Now,
    Before,
    No(ClaimError),
}

impl Delivery {
    fn try_push(&self, attempt: &Attempt<'_>, now_ms: i64, memory: Memory, works: bool) -> Told {
        match self.claim(attempt, now_ms, memory) {
            Ok(Claimed::Now(claim)) => {
                if works {
                    claim.done();
                }
                Told::Now
            }
            Ok(Claimed::Before) => Told::Before,
            Err(error) => Told::No(error),
        }
    }

    fn push(&self, id: &PushId, now_ms: i64) -> Told {
        self.try_push(&attempt(id), now_ms, MEMORY, true)
    }

    fn refuse(&self, id: &PushId, now_ms: i64) -> Told {
        self.try_push(&attempt(id), now_ms, MEMORY, false)
    }
}

fn attempt(id: &PushId) -> Attempt<'_> {
    static PLAIN: std::sync::LazyLock<Grouping> = std::sync::LazyLock::new(Grouping::default);
    Attempt { principal: None, grouping: &PLAIN, id, content: &[b"body"] }
}

/// What a disk would hold, and a new state that is loaded from it.
#[derive(Clone, Default)]
struct Disk(Records);

impl Disk {
    fn write(&mut self, delivery: &Delivery) {
        let mut batch = Batch::default();
        delivery.collect(&mut batch);
        self.0.apply(&batch).unwrap();
    }

    fn start(&self, now_ms: i64, memory: Memory) -> Delivery {
        let delivery = Delivery::new([9; 16], now_ms, true);
        for Record { table, key, value, state } in self.0.iter() {
            assert_eq!(state, None);
            assert_eq!(delivery.restore(table, key, value), Ok(true));
        }
        delivery.restored(memory);
        delivery
    }
}

#[test]
fn one_try_is_applied_and_the_others_are_told() {
    let delivery = delivery();
    for id in [key("a"), made_at(START + 1, 0), number("s", "e", 5)] {
        assert_eq!(delivery.refuse(&id, START + 1), Told::Now, "a refusal leaves no key");
        let attempt = attempt(&id);
        let Ok(Claimed::Now(claim)) = delivery.claim(&attempt, START + 1, MEMORY) else {
            panic!("it was given back");
        };
        assert!(delivery.is_claimed(&attempt));
        assert_eq!(delivery.push(&id, START + 2), Told::No(ClaimError::InFlight));
        claim.done();
        assert!(!delivery.is_claimed(&attempt));
        assert_eq!(delivery.push(&id, START + 3), Told::Before);
    }
    assert_eq!((delivery.keys(), delivery.sources()), (2, 1));
}

#[test]
fn another_content_under_the_same_key_is_a_mistake() {
    let delivery = delivery();
    let id = key("a");
    delivery.push(&id, START);
    let other = Attempt { content: &[b"bod", b"y"], ..attempt(&id) };
    let told = delivery.try_push(&other, START, MEMORY, true);
    assert_eq!(told, Told::No(ClaimError::OtherPush));
    assert_eq!(delivery.push(&id, START), Told::Before);
}

#[test]
fn who_pushes_where_is_part_of_the_identity() {
    let delivery = delivery();
    let grouping = |pairs: &[(&'static str, &'static str)]| Grouping::new(pairs.to_vec()).unwrap();
    let groupings = [
        grouping(&[]),
        grouping(&[("job", "j")]),
        grouping(&[("job", "j"), ("x", "")]),
        grouping(&[("job", "jx"), ("y", "")]),
        grouping(&[("x", "1"), ("job", "j")]),
    ];
    let ids = [key("a"), key("b"), number("a", "", 1), number("", "a", 1), number("a", "", 2)];
    for again in [false, true] {
        for grouping in &groupings {
            for principal in [None, Some(""), Some("a"), Some("b")] {
                for id in &ids {
                    let attempt = Attempt { principal, grouping, id, content: &[] };
                    let told = delivery.try_push(&attempt, START, MEMORY, true);
                    let expected = if again { Told::Before } else { Told::Now };
                    assert_eq!(told, expected, "{attempt:?}");
                }
            }
        }
    }
    let reordered = grouping(&[("job", "j"), ("x", "1")]);
    let attempt = Attempt { principal: None, grouping: &reordered, id: &ids[0], content: &[] };
    assert_eq!(delivery.try_push(&attempt, START, MEMORY, true), Told::Before);
}

#[test]
fn after_the_window_a_key_is_free_unless_it_carries_its_time() {
    for swept in [false, true] {
        let delivery = delivery();
        let (opaque, timed, numbered) = (key("a"), made_at(START + 1, 0), number("s", "e", 9));
        for id in [&opaque, &timed, &numbered] {
            assert_eq!(delivery.push(id, START + 1), Told::Now);
        }
        let last = START + WINDOW_MS;
        let after = last + 1;
        for id in [&opaque, &timed, &numbered] {
            assert_eq!(delivery.push(id, last), Told::Before);
        }
        if swept {
            delivery.expire(after + WINDOW_MS, MEMORY);
            assert_eq!((delivery.keys(), delivery.sources()), (0, 0));
        }
        assert_eq!(delivery.push(&timed, after), Told::No(ClaimError::TooOld));
        assert_eq!(delivery.push(&opaque, after), Told::Now);
        assert_eq!(delivery.push(&opaque, after), Told::Before);
    }
}

#[test]
fn a_key_that_came_again_is_not_forgotten_with_its_first_life() {
    let delivery = delivery();
    let mut disk = Disk::default();
    let (first, second) = (key("first"), key("second"));
    delivery.push(&second, START);
    delivery.push(&first, START + 1);
    disk.write(&delivery);
    // Both are due, but only the first push removes due ones.
    let again = START + WINDOW_MS + 1;
    assert_eq!(delivery.push(&first, again), Told::Now);
    disk.write(&delivery);
    delivery.expire(again + 1, MEMORY);
    disk.write(&delivery);
    for delivery in [&delivery, &disk.start(again + 1, MEMORY)] {
        assert_eq!(delivery.push(&first, again + 1), Told::Before);
        assert_eq!(delivery.push(&second, again + 1), Told::Now);
    }
}

#[test]
fn times_that_cannot_be_checked_are_refused() {
    let delivery = delivery();
    let now = START + 1000;
    for (made, told) in [
        (START - 1, Told::No(ClaimError::TooOld)),
        (START, Told::No(ClaimError::TooOld)),
        (START + 1, Told::Now),
        (now + 10_000, Told::Now),
        (now + 10_001, Told::No(ClaimError::FromTheFuture)),
        (0, Told::No(ClaimError::TooOld)),
    ] {
        assert_eq!(delivery.push(&made_at(made, 0), now), told, "{}", made - START);
    }
    let later = now + 2 * WINDOW_MS;
    let too_old = Told::No(ClaimError::TooOld);
    assert_eq!(delivery.push(&made_at(later - WINDOW_MS, 1), later), too_old);
    assert_eq!(delivery.push(&made_at(later - WINDOW_MS + 1, 1), later), Told::Now);
}

#[test]
fn at_the_cap_the_oldest_go_and_the_window_shrinks() {
    let delivery = delivery();
    let memory = Memory { keys_bytes: 64 << 10, sources: 64, ..MEMORY };
    let at = |n: i64| START + WINDOW_MS + 10 * n;
    assert_eq!(delivery.window_ms(at(0), memory), WINDOW_MS);
    for n in 0..20_000 {
        let id = made_at(at(n), n as u32);
        assert_eq!(delivery.try_push(&attempt(&id), at(n), memory, true), Told::Now);
        let id = number("s", &n.to_string(), 1);
        assert_eq!(delivery.try_push(&attempt(&id), at(n), memory, true), Told::Now);
    }
    assert!(delivery.keys_bytes() <= memory.keys_bytes, "{}", delivery.keys_bytes());
    assert!(delivery.keys() > 900, "{}", delivery.keys());
    assert!(delivery.sources() <= 64, "{}", delivery.sources());
    assert!(delivery.window_ms(at(20_000), memory) < WINDOW_MS / 20);
    for n in 0..20_000 {
        let id = made_at(at(n), n as u32);
        let told = delivery.try_push(&attempt(&id), at(20_000), memory, true);
        assert!(matches!(told, Told::Before | Told::No(ClaimError::TooOld)), "{n}: {told:?}");
    }
    // A lower limit takes effect little by little.
    let lower = Memory { keys_bytes: 16 << 10, ..memory };
    for n in 20_000..21_000 {
        let id = made_at(at(n), n as u32);
        assert_eq!(delivery.try_push(&attempt(&id), at(n), lower, true), Told::Now);
    }
    assert!(delivery.keys_bytes() <= lower.keys_bytes, "{}", delivery.keys_bytes());
    delivery.expire(at(21_000) + WINDOW_MS, memory);
    assert_eq!((delivery.keys(), delivery.sources()), (0, 0));
    assert_eq!(delivery.window_ms(at(21_000) + WINDOW_MS, memory), WINDOW_MS);
}

#[test]
fn numbers_may_leave_gaps_and_come_late() {
    let delivery = delivery();
    for (n, told) in [
        (1000, Told::Now),
        (873, Told::Now),
        (872, Told::No(ClaimError::BelowWindow)),
        (2000, Told::Now),
        (2000, Told::Before),
        (1999, Told::Now),
        (1000, Told::No(ClaimError::BelowWindow)),
    ] {
        assert_eq!(delivery.push(&number("s", "1", n), START), told, "{n}");
    }
    // Another run starts counting again, and the old one is still known.
    assert_eq!(delivery.push(&number("s", "2", 1), START), Told::Now);
    assert_eq!(delivery.push(&number("s", "1", 1999), START), Told::Before);
}

#[test]
fn a_start_without_memory_is_a_loss_and_one_with_it_is_none() {
    let before = delivery();
    let (opaque, timed, numbered) = (key("a"), made_at(START + 1, 0), number("s", "e", 9));
    let mut disk = Disk::default();
    for id in [&opaque, &timed, &numbered] {
        assert_eq!(before.push(id, START + 1), Told::Now);
    }
    disk.write(&before);
    let restart = START + 60_000;
    let restored = disk.start(restart, MEMORY);
    for id in [&opaque, &timed, &numbered] {
        assert_eq!(restored.push(id, restart), Told::Before);
    }
    assert_eq!(restored.push(&made_at(restart - 1, 1), restart), Told::Now);
    assert_eq!(restored.window_ms(restart, MEMORY), 60_000);

    let lost = Delivery::new([1; 16], restart, true);
    assert_eq!(lost.push(&timed, restart), Told::No(ClaimError::TooOld));
    assert_eq!(lost.push(&opaque, restart), Told::Now);
    assert_eq!(lost.window_ms(restart, MEMORY), 0);
}

#[test]
fn damaged_records_are_refused() {
    let delivery = delivery();
    let record = Entry { digest: Digest([1; 16]), fingerprint: 1, applied_ms: 2, made_ms: 3 };
    assert_eq!(Entry::from_record(&[1; 16], &record.record()), Some(record));
    let mut other_version = record.record();
    other_version[0] = 2;
    for (table, key, value) in [
        (Table::Keys, &[1; 16][..], &other_version[..]),
        (Table::Keys, &[1; 15], &record.record()),
        (Table::Keys, &[1; 16], &record.record()[..24]),
        (Table::Keys, &[1; 16], &[]),
        (Table::Sources, &[1; 16], &[]),
        (Table::Sources, &[1; 16], &[1; 32]),
        // A window always contains its highest number.
        (Table::Sources, &[1; 16], &[&[1][..], &[0; 32]].concat()),
        (Table::Sources, &[1; 17], &[1; 33]),
        (Table::Meta, SECRET, &[1; 15]),
        (Table::Meta, MARKS, &[1; 17]),
        (Table::Meta, MARKS, &[]),
    ] {
        assert!(delivery.restore(table, key, value).is_err(), "{table:?} {key:?} {value:?}");
    }
    assert_eq!(delivery.restore(Table::Meta, b"other", b""), Ok(false));
    assert_eq!(delivery.restore(Table::Series, SECRET, b""), Ok(false));
}

#[test]
fn of_many_threads_one_applies() {
    const THREADS: usize = 8;
    let delivery = delivery();
    for round in 0..200_u64 {
        for id in [key(&round.to_string()), number("s", "e", round)] {
            let (applied, barrier) = (AtomicUsize::new(0), Barrier::new(THREADS));
            thread::scope(|scope| {
                for thread in 0..THREADS {
                    let (delivery, id, applied, barrier) = (&delivery, &id, &applied, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        // Some of them are refused for another reason.
                        let mut works = thread % 2 == 0;
                        loop {
                            match delivery.try_push(&attempt(id), START, MEMORY, works) {
                                Told::Now if works => {
                                    applied.fetch_add(1, Relaxed);
                                    break;
                                }
                                Told::Now => works = true,
                                Told::Before => break,
                                Told::No(ClaimError::InFlight) => thread::yield_now(),
                                told => panic!("{told:?}"),
                            }
                        }
                    });
                }
            });
            assert_eq!(applied.into_inner(), 1, "{id:?}");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A push with one of a few keys: whether the key has a time, and whether the push is accepted.
    Push {
        which: u8,
        works: bool,
    },
    Wait {
        ms: i64,
    },
    /// The clock steps back.
    Back {
        ms: i64,
    },
    Sweep,
    Commit,
    /// Everything that was not committed is lost, including its effects.
    Crash,
    /// Everything is lost.
    Loss,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (any::<u8>(), prop::bool::weighted(0.9))
            .prop_map(|(which, works)| Step::Push { which, works }),
        6 => (0_i64..400).prop_map(|ms| Step::Wait { ms }),
        1 => (0_i64..2000).prop_map(|ms| Step::Back { ms }),
        2 => Just(Step::Sweep),
        4 => Just(Step::Commit),
        1 => Just(Step::Crash),
        1 => Just(Step::Loss),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Compares with a list of what was applied (merge-semantics 7, properties 5, 20 and 21). The
    /// clocks of clients that make keys with a time are wrong by up to ten seconds.
    #[test]
    fn whatever_happens_no_push_counts_twice(
        steps in prop::collection::vec(step(), 1..300),
        skews in prop::collection::vec(-10_000_i64..10_000, 16),
        few in any::<bool>(),
    ) {
        let keys_bytes = if few { 40 * keys::KEY_BYTES } else { 1 << 20 };
        let memory = Memory { window_ms: 1000, keys_bytes, sources: 16 };
        let mut delivery = Delivery::new([7; 16], START, true);
        let mut disk = Disk::default();
        disk.write(&delivery);
        let mut now = START;
        let mut latest = START;
        // When each key was last applied; and, for each change since the last commit, the time before
        // it.
        let mut applied: HashMap<String, i64> = HashMap::new();
        let mut uncommitted: Vec<(String, Option<i64>)> = Vec::new();
        let mut made: HashMap<u8, PushId> = HashMap::new();
        let mut serial = 0;
        let mut lost_at = START;
        for step in steps {
            match step {
                Step::Push { which, works } => {
                    let timed = which % 2 == 0;
                    let skew = skews[usize::from(which / 16)];
                    serial += 1;
                    let id = made.entry(which).or_insert_with(|| match timed {
                        true => made_at(now + skew, serial),
                        false => key(&format!("k{which}")),
                    });
                    let name = format!("{id:?}");
                    let told = delivery.try_push(&attempt(id), now, memory, works);
                    let before = applied.get(&name).copied();
                    match (told, before) {
                        (Told::Now, Some(at)) => {
                            prop_assert!(!timed, "{} was applied twice", name);
                            let remembered = !few && at > lost_at && at > latest - 1000;
                            prop_assert!(!remembered, "{} was forgotten too early", name);
                        }
                        (Told::Before, None) => prop_assert!(false, "{} was never applied", name),
                        (Told::No(ClaimError::TooOld | ClaimError::FromTheFuture), _) => {
                            prop_assert!(timed);
                        }
                        (Told::No(error), _) => prop_assert!(false, "{}: {:?}", name, error),
                        _ => {}
                    }
                    if told == Told::Now && works {
                        let before = applied.insert(name.clone(), now);
                        uncommitted.push((name, before));
                    }
                }
                Step::Wait { ms } => {
                    now += ms;
                    latest = latest.max(now);
                }
                Step::Back { ms } => now -= ms,
                Step::Sweep => delivery.expire(now, memory),
                Step::Commit => {
                    disk.write(&delivery);
                    uncommitted.clear();
                }
                Step::Crash => {
                    for (name, before) in uncommitted.drain(..).rev() {
                        match before {
                            Some(at) => applied.insert(name, at),
                            None => applied.remove(&name),
                        };
                    }
                    delivery = disk.start(now, memory);
                }
                Step::Loss => {
                    disk = Disk::default();
                    // As the clock may have stepped back, some of these times may still be in the
                    // future.
                    lost_at = applied.values().copied().max().unwrap_or(now);
                    delivery = Delivery::new([8; 16], now, true);
                    disk.write(&delivery);
                    uncommitted.clear();
                    // Keys from a client with a fast clock are not covered by the loss.
                    made.clear();
                }
            }
            prop_assert!(delivery.keys() <= keys_bytes / keys::KEY_BYTES);
        }
    }
}
