//! The engine on a disk that fails, loses writes and is damaged: what was acknowledged is there, or its
//! absence is reported.

mod damage;
mod formats;
mod space;

use std::sync::LazyLock;

use proptest::prelude::*;

use super::simulated::{Crash, Faults, Simulated};
use super::*;
use crate::persistence::memory::Records;
use crate::persistence::{Table, each};

/// So small that a few commits take several segments.
const TINY: Sizes = Sizes { segment_bytes: [300, 300], ahead_bytes: 90 };

fn open(disk: &Simulated) -> Result<(Disk, Records, u64), EngineError> {
    open_with(disk, TINY)
}

/// Also the number of the last commit, which the records know, too.
fn open_with(disk: &Simulated, sizes: Sizes) -> Result<(Disk, Records, u64), EngineError> {
    let mut engine = Disk::over(Box::new(disk.clone()), sizes)?;
    let mut records = Records::default();
    let commit = engine.load(&mut each(|record| {
        let twin = records.value(record.table, record.key).is_some();
        records.put(record);
        if twin { Err("a record comes twice".into()) } else { Ok(()) }
    }))?;
    records.commit = commit;
    Ok((engine, records, commit))
}

fn commit_to(engine: &mut Disk, number: u64, batch: &Batch) -> Result<(), EngineError> {
    engine.write(number, batch)?;
    engine.sync()
}

/// Pseudo-random numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % below
    }
}

/// Changes to a few keys that are possible for these records: often just states, sometimes deletions.
fn changes_to(records: &Records, random: &mut Random) -> Batch {
    let (mut batch, mut then) = (Batch::default(), records.clone());
    for _ in 0..1 + random.below(4) {
        let mut one = Batch::default();
        let (table, key) =
            ([Table::Series, Table::Keys][random.below(2) as usize], [random.below(5) as u8]);
        let mut bytes = |most| vec![random.below(256) as u8; random.below(most) as usize];
        let (value, state) = (bytes(60), bytes(20));
        let has_state = then
            .iter()
            .any(|record| (record.table, record.key) == (table, &key) && record.state.is_some());
        match random.below(8) {
            0 | 1 => one.delete(table, &key),
            2 => one.put(table, &key, &value),
            3.. if has_state => one.put_state(table, &key, &state),
            _ => one.put_with_state(table, &key, &value, &state),
        }
        then.apply(&one).unwrap();
        batch.append(&one);
    }
    batch
}

const COMMITS: u64 = 400;

/// For each commit of a history, its changes and the records after it; nothing at first.
static HISTORY: LazyLock<Vec<(Batch, Records)>> = LazyLock::new(|| {
    let mut history = vec![(Batch::default(), Records::default())];
    let mut random = Random(1);
    for commit in 1..=COMMITS {
        let mut records = history[commit as usize - 1].1.clone();
        let batch = changes_to(&records, &mut random);
        records.apply(&batch).unwrap();
        records.commit = commit;
        history.push((batch, records));
    }
    history
});

fn batch(commit: u64) -> &'static Batch {
    &HISTORY[commit as usize].0
}

fn records_after(commit: u64) -> &'static Records {
    &HISTORY[commit as usize].1
}

/// Writes and syncs commits until the disk stops. Returns the last one that was acknowledged.
fn run(disk: &Simulated, commits: std::ops::RangeInclusive<u64>) -> u64 {
    let mut acknowledged = commits.start() - 1;
    let Ok((mut engine, _, _)) = open(disk) else { return acknowledged };
    for commit in commits {
        if commit_to(&mut engine, commit, batch(commit)).is_err() {
            break;
        }
        acknowledged = commit;
    }
    acknowledged
}

#[test]
fn records_come_back_through_segments_and_upkeep() {
    let disk = Simulated::default();
    let mut removed = false;
    for start in (1..=COMMITS).step_by(50) {
        assert_eq!(run(&disk, start..=start + 49), start + 49);
        let (engine, records, commit) = open(&disk).unwrap();
        assert_eq!((commit, &records), (start + 49, records_after(start + 49)));
        assert_eq!(engine.index.len(), records.iter().count());
        removed |= !disk.contents().contains_key(&format::segment_name(1));
    }
    assert!(removed, "upkeep has removed the oldest segment");
}

#[test]
fn whatever_the_moment_of_a_crash_whole_commits_and_at_least_the_acknowledged_ones_are_there() {
    const COMMITS: u64 = 60;
    let all = Simulated::default();
    run(&all, 1..=COMMITS);
    let mut torn = 0;
    for stop in 0..=all.operations() {
        let disk = Simulated::default();
        disk.set_faults(Faults { stop_at: Some(stop), ..Faults::default() });
        let acknowledged = run(&disk, 1..=COMMITS);
        let mut crashes = vec![Crash::Process];
        for writes in 0..=disk.unsynced().min(4) {
            for bytes in [0, 1, 31, 32, 39, 41, 60, 100] {
                crashes.push(Crash::Machine { writes, bytes });
            }
        }
        for names in [false, true] {
            // There are only a few writes before each sync.
            crashes.extend((0..8).map(|writes| Crash::Scattered { writes, names }));
        }
        for (nth, crash) in crashes.into_iter().enumerate() {
            let after = disk.after(crash);
            let (mut engine, records, commit) =
                open(&after).unwrap_or_else(|e| panic!("{stop} {crash:?}: {e}"));
            assert!(acknowledged <= commit && commit <= acknowledged + 1, "{stop} {crash:?}");
            assert_eq!(records, *records_after(commit), "{stop} {crash:?}");
            torn += usize::from(commit == acknowledged);
            // The engine continues from there. Not tested every time, because it takes long.
            if !(stop + nth as u64).is_multiple_of(4) {
                continue;
            }
            let next = changes_to(&records, &mut Random(stop));
            let mut expected = records;
            expected.commit += 1;
            expected.apply(&next).unwrap();
            commit_to(&mut engine, commit + 1, &next).unwrap();
            drop(engine);
            for again in [
                Crash::Machine { writes: 0, bytes: 0 },
                Crash::Scattered { writes: 0, names: false },
            ] {
                let (_, records, _) = open(&after.after(again)).unwrap();
                assert_eq!(records, expected, "{stop} {crash:?}");
            }
        }
    }
    assert!(torn > 100, "{torn}");
}

#[test]
fn failures_lose_nothing_when_everything_since_the_last_sync_goes_again() {
    let faults = [
        Faults { failing_writes: true, ..Faults::default() },
        Faults { failing_syncs: true, ..Faults::default() },
        Faults { full_at_bytes: Some(0), ..Faults::default() },
    ];
    for fault in faults {
        for at in 1..=50 {
            let disk = Simulated::default();
            // Zeros that were written ahead would leave room even on a full disk.
            let ahead_bytes = if fault.full_at_bytes.is_some() { 0 } else { TINY.ahead_bytes };
            let (mut engine, _, _) = open_with(&disk, Sizes { ahead_bytes, ..TINY }).unwrap();
            for commit in 1..at {
                commit_to(&mut engine, commit, batch(commit)).unwrap();
            }
            let full_at_bytes = fault.full_at_bytes.map(|_| disk.bytes() + 20);
            disk.set_faults(Faults { full_at_bytes, ..fault });
            for _ in 0..3 {
                let failed = commit_to(&mut engine, at, batch(at));
                assert!(failed.is_err(), "{fault:?} {at}");
            }
            for crash in [Crash::Process, Crash::Machine { writes: 0, bytes: 0 }] {
                let (_, records, commit) = open(&disk.after(crash)).unwrap();
                assert!(commit == at - 1 || commit == at);
                assert_eq!(records, *records_after(commit), "{fault:?} {at} {crash:?}");
            }
            disk.set_faults(Faults::default());
            for commit in at..at + 5 {
                commit_to(&mut engine, commit, batch(commit)).unwrap();
                // What the system has lost of failed writes must not be needed.
                let after = disk.after(Crash::Machine { writes: 0, bytes: 0 });
                let (_, records, found) = open(&after).unwrap();
                assert_eq!((found, &records), (commit, records_after(commit)), "{fault:?} {at}");
            }
        }
    }
}

/// If one of the two slots is damaged, the other one says nearly as much.
#[test]
fn the_last_two_marks_stand_in_different_places() {
    let disk = Simulated::default();
    let (mut engine, _, _) = open(&disk).unwrap();
    // Most numbers belong to commits without changes.
    for commit in [2, 4, 8, 9, 13] {
        let before = engine.marked;
        commit_to(&mut engine, commit, batch(1)).unwrap();
        for (slot, mark) in [(engine.slot, engine.marked), (1 - engine.slot, before)] {
            let mut damaged = disk.contents()[MARK_FILE].clone();
            assert_eq!(Mark::read(&damaged), Some((engine.marked, engine.slot)));
            damaged[SLOTS[1 - slot] as usize] ^= 1;
            assert_eq!(Mark::read(&damaged), Some((mark, slot)), "{commit}");
        }
    }
}

#[test]
fn several_writes_may_share_a_sync() {
    let disk = Simulated::default();
    let (mut engine, _, _) = open(&disk).unwrap();
    for commit in 1..=100 {
        engine.write(commit, batch(commit)).unwrap();
        if commit % 7 == 0 {
            engine.sync().unwrap();
        }
        let (_, records, found) = open(&disk.after(Crash::Process)).unwrap();
        assert_eq!((found, &records), (commit, records_after(commit)));
        let after = disk.after(Crash::Machine { writes: 0, bytes: 0 });
        let (_, records, found) = open(&after).unwrap();
        assert!(found >= commit - commit % 7);
        assert_eq!(records, *records_after(found));
    }
}

/// What happens to a store.
#[derive(Clone, Debug)]
enum Step {
    /// Changes, from a seed, and whether they are synced.
    Commit {
        seed: u64,
        synced: bool,
    },
    /// Changes that fail and go again, as the committer does it.
    Failure {
        seed: u64,
        faults: Faults,
    },
    /// Nothing, so that there is time to free space.
    Idle,
    Crash(Crash),
}

fn step() -> impl Strategy<Value = Step> {
    let failing = prop_oneof![
        Just(Faults { failing_writes: true, ..Faults::default() }),
        Just(Faults { failing_syncs: true, ..Faults::default() }),
    ];
    let torn = (0_usize..4, 0_usize..80);
    let scattered = (any::<u64>(), any::<bool>());
    prop_oneof![
        12 => (any::<u64>(), prop::bool::weighted(0.7))
            .prop_map(|(seed, synced)| Step::Commit { seed, synced }),
        2 => Just(Step::Idle),
        2 => (any::<u64>(), failing).prop_map(|(seed, faults)| Step::Failure { seed, faults }),
        1 => Just(Step::Crash(Crash::Process)),
        1 => torn.prop_map(|(writes, bytes)| Step::Crash(Crash::Machine { writes, bytes })),
        1 => scattered
            .prop_map(|(writes, names)| Step::Crash(Crash::Scattered { writes, names })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Records, states, deletions, new records, upkeep, failures and torn ends in any order: what is
    /// found equals a model after some commit since the last sync.
    #[test]
    fn whatever_happens_a_model_knows_what_is_there(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut disk = Simulated::default();
        let (mut engine, mut records, _) = open(&disk).unwrap();
        // The states since the last sync, including the one right after it, and what was written since.
        let (mut possible, mut unsynced) = (vec![records.clone()], Batch::default());
        let mut steps = steps;
        steps.push(Step::Crash(Crash::Process));
        for step in steps {
            match step {
                Step::Commit { seed, synced } => {
                    let batch = changes_to(&records, &mut Random(seed));
                    records.apply(&batch).unwrap();
                    records.commit += 1;
                    engine.write(records.commit, &batch).unwrap();
                    unsynced.append(&batch);
                    possible.push(records.clone());
                    if synced {
                        engine.sync().unwrap();
                        possible = vec![records.clone()];
                        unsynced.clear();
                    }
                }
                Step::Failure { seed, faults } => {
                    let batch = changes_to(&records, &mut Random(seed));
                    records.apply(&batch).unwrap();
                    records.commit += 1;
                    unsynced.append(&batch);
                    disk.set_faults(faults);
                    let failed = commit_to(&mut engine, records.commit, &batch);
                    prop_assert!(failed.is_err());
                    disk.set_faults(Faults::default());
                    records.commit += 1;
                    commit_to(&mut engine, records.commit, &unsynced).unwrap();
                    possible = vec![records.clone()];
                    unsynced.clear();
                }
                Step::Idle => {
                    records.commit += 1;
                    commit_to(&mut engine, records.commit, &Batch::default()).unwrap();
                    possible = vec![records.clone()];
                    unsynced.clear();
                }
                Step::Crash(crash) => {
                    disk = disk.after(crash);
                    (engine, records, _) = open(&disk).unwrap();
                    prop_assert!(possible.contains(&records), "{crash:?}: {records:?}");
                    if crash == Crash::Process {
                        prop_assert_eq!(Some(&records), possible.last());
                    }
                    prop_assert_eq!(engine.index.len(), records.iter().count());
                    possible = vec![records.clone()];
                    unsynced.clear();
                }
            }
        }
    }
}

#[test]
fn a_state_of_a_record_that_is_not_there_is_refused() {
    let disk = Simulated::default();
    let (mut engine, _, _) = open(&disk).unwrap();
    let put = |key: &[u8], has_state: bool| {
        let mut batch = Batch::default();
        match has_state {
            true => batch.put_with_state(Table::Series, key, b"value", b"state"),
            false => batch.put(Table::Series, key, b"value"),
        }
        batch
    };
    commit_to(&mut engine, 1, &put(b"a", true)).unwrap();
    commit_to(&mut engine, 2, &put(b"b", false)).unwrap();
    for key in [b"b", b"c"] {
        let mut batch = put(b"d", true);
        batch.put_state(Table::Series, key, b"state");
        let error = engine.write(3, &batch).unwrap_err();
        assert!(error.to_string().contains("is missing"), "{error}");
    }
    let mut batch = Batch::default();
    batch.put_state(Table::Series, b"a", b"other");
    commit_to(&mut engine, 3, &batch).unwrap();
    let (_, records, _) = open(&disk).unwrap();
    let found: Vec<_> = records.iter().map(|record| (record.key, record.state)).collect();
    assert_eq!(found, [(&b"a"[..], Some(&b"other"[..])), (b"b", None)]);
}

/// A frame that is larger than the part of it that is in memory at a time.
#[test]
fn a_large_commit_comes_back() {
    let disk = Simulated::default();
    let (mut engine, mut records, _) = open_with(&disk, Sizes::default()).unwrap();
    let mut batch = Batch::default();
    for n in 0..3 * (BUFFER_BYTES as u32) / 100 {
        batch.put_with_state(Table::Series, &n.to_le_bytes(), &[7; 70], &[8; 30]);
    }
    records.apply(&batch).unwrap();
    records.commit = 1;
    commit_to(&mut engine, 1, &batch).unwrap();
    assert_eq!(open(&disk).unwrap().1, records);
}

#[test]
fn a_real_directory_is_locked_while_it_is_open() {
    let path = std::env::temp_dir().join(format!("tallygate-lock-{}", std::process::id()));
    let engine = Disk::open(&path).unwrap();
    let error = Disk::open(&path).unwrap_err();
    assert!(matches!(error, EngineError::Locked { .. }), "{error}");
    drop(engine);
    let mut engine = Disk::open_to_read(&path).unwrap();
    let error = Disk::open(&path).unwrap_err();
    assert!(matches!(error, EngineError::Locked { .. }), "{error}");
    assert_eq!(engine.load(&mut each(|_| Ok(()))).unwrap(), 0);
    let error = engine.write(1, batch(1)).unwrap_err();
    assert!(matches!(error, EngineError::Io { .. }), "{error}");
    drop(engine);
    let mut engine = Disk::open(&path).unwrap();
    engine.load(&mut each(|_| Ok(()))).unwrap();
    commit_to(&mut engine, 1, batch(1)).unwrap();
    assert!(engine.usage().free_bytes.is_some_and(|bytes| bytes > 0));
    drop(engine);
    std::fs::remove_dir_all(&path).unwrap();
    let error = Disk::open_to_read(&path).unwrap_err();
    assert!(matches!(error, EngineError::Missing { .. }), "{error}");
}
