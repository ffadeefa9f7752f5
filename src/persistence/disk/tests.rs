//! The engine over a disk that fails, forgets and is damaged: what was acknowledged is there, or
//! its absence is told.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::simulated::{Crash, Faults, Simulated};
use super::*;
use crate::persistence::memory::Records;
use crate::persistence::{Table, each};

/// Small enough that few commits make several segments.
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

/// Pseudo-random, from one seed.
struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % below
    }
}

/// Changes to a few keys, often of states alone, sometimes deletions, such that these records can take
/// them.
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

/// The changes of each commit of one history, and the records after it; none at first.
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

/// Writes and syncs commits until the disk stops; the last one that was acknowledged.
fn run(disk: &Simulated, commits: std::ops::RangeInclusive<u64>) -> u64 {
    let mut acknowledged = commits.start() - 1;
    let Ok((mut engine, _, _)) = open(disk) else { return acknowledged };
    for commit in commits {
        if engine.write(commit, batch(commit)).and_then(|()| engine.sync()).is_err() {
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
fn a_segment_in_which_nothing_is_valid_goes() {
    let disk = Simulated::default();
    let (mut engine, _, _) = open(&disk).unwrap();
    for commit in 1..=60 {
        let mut batch = Batch::default();
        batch.put(Table::Series, b"hot", &[7; 50]);
        engine.write(commit, &batch).and_then(|()| engine.sync()).unwrap();
        let contents = disk.contents();
        let segments = contents.keys().filter(|name| format::segment_number(name).is_some());
        assert!(segments.count() <= 2, "{:?}", contents.keys());
    }
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
            // Before a sync there are few writes.
            crashes.extend((0..8).map(|writes| Crash::Scattered { writes, names }));
        }
        for crash in crashes {
            let after = disk.after(crash);
            let (mut engine, records, commit) =
                open(&after).unwrap_or_else(|e| panic!("{stop} {crash:?}: {e}"));
            assert!(acknowledged <= commit && commit <= acknowledged + 1, "{stop} {crash:?}");
            assert_eq!(records, *records_after(commit), "{stop} {crash:?}");
            torn += usize::from(commit == acknowledged);
            // And it goes on from there.
            let next = changes_to(&records, &mut Random(stop));
            let mut expected = records;
            expected.commit += 1;
            expected.apply(&next).unwrap();
            engine.write(commit + 1, &next).and_then(|()| engine.sync()).unwrap();
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
            // On a full disk there would still be room where zeros have been written ahead.
            let ahead_bytes = if fault.full_at_bytes.is_some() { 0 } else { TINY.ahead_bytes };
            let (mut engine, _, _) = open_with(&disk, Sizes { ahead_bytes, ..TINY }).unwrap();
            for commit in 1..at {
                engine.write(commit, batch(commit)).and_then(|()| engine.sync()).unwrap();
            }
            let full_at_bytes = fault.full_at_bytes.map(|_| disk.bytes() + 20);
            disk.set_faults(Faults { full_at_bytes, ..fault });
            for _ in 0..3 {
                let failed = engine.write(at, batch(at)).and_then(|()| engine.sync());
                assert!(failed.is_err(), "{fault:?} {at}");
            }
            for crash in [Crash::Process, Crash::Machine { writes: 0, bytes: 0 }] {
                let (_, records, commit) = open(&disk.after(crash)).unwrap();
                assert!(commit == at - 1 || commit == at);
                assert_eq!(records, *records_after(commit), "{fault:?} {at} {crash:?}");
            }
            disk.set_faults(Faults::default());
            for commit in at..at + 5 {
                engine.write(commit, batch(commit)).and_then(|()| engine.sync()).unwrap();
                // What the system has lost of the failed writes must not be needed.
                let after = disk.after(Crash::Machine { writes: 0, bytes: 0 });
                let (_, records, found) = open(&after).unwrap();
                assert_eq!((found, &records), (commit, records_after(commit)), "{fault:?} {at}");
            }
        }
    }
}

/// Where something damages one of them, the other one tells nearly as much.
#[test]
fn the_last_two_marks_stand_in_different_places() {
    let disk = Simulated::default();
    let (mut engine, _, _) = open(&disk).unwrap();
    // Most numbers are those of commits that hold nothing.
    for commit in [2, 4, 8, 9, 13] {
        let before = engine.marked;
        engine.write(commit, batch(1)).and_then(|()| engine.sync()).unwrap();
        for (slot, mark) in [(engine.slot, engine.marked), (1 - engine.slot, before)] {
            let mut damaged = disk.contents()[MARK_FILE].clone();
            assert_eq!(Mark::read(&damaged), Some((engine.marked, engine.slot)));
            damaged[SLOTS[1 - slot] as usize] ^= 1;
            assert_eq!(Mark::read(&damaged), Some((mark, slot)), "{commit}");
        }
    }
}

/// Pushes and deletions of a whole day, and then nothing more for long.
#[test]
fn segments_in_which_nothing_is_valid_all_go_with_the_next_commit() {
    let disk = Simulated::default();
    let (mut engine, _, _) = open(&disk).unwrap();
    let (mut births, mut deaths) = (Batch::default(), Batch::default());
    for commit in 1..=20_u64 {
        let key = commit.to_le_bytes();
        births.clear();
        births.put_with_state(Table::Series, &key, &[7; 300], b"state");
        deaths.delete(Table::Series, &key);
        engine.write(commit, &births).and_then(|()| engine.sync()).unwrap();
    }
    assert!(engine.segments.len() > 15, "{:?}", engine.segments);
    engine.write(21, &deaths).and_then(|()| engine.sync()).unwrap();
    engine.write(22, batch(1)).and_then(|()| engine.sync()).unwrap();
    assert!(engine.segments.len() <= 2, "{:?}", engine.segments);
    let records = open(&disk).unwrap().1;
    assert_eq!(records.iter().count(), records_after(1).iter().count());
}

/// As groups are, that one record holds whole.
#[test]
fn large_records_are_copied_no_more_often_than_small_ones() {
    let written = |bytes: usize, records: u32| {
        let disk = Simulated::default();
        let (mut engine, _, _) = open_with(&disk, Sizes::default()).unwrap();
        let (mut commit, mut batch, value) = (0, Batch::default(), vec![7; bytes]);
        let start = disk.written_bytes();
        for n in (0..records).chain((0..3 * records).map(|n| n.wrapping_mul(7) % records)) {
            commit += 1;
            batch.clear();
            batch.put(Table::Groups, &n.to_le_bytes(), &value);
            engine.write(commit, &batch).and_then(|()| engine.sync()).unwrap();
        }
        (disk.written_bytes() - start) as f64 / (4 * records as usize * bytes) as f64
    };
    let (small, large) = (written(10_000, 4_000), written(1_000_000, 40));
    assert!(large < small * 1.3, "{large} bytes are written for each, {small} for small ones");
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
        2 => (any::<u64>(), failing).prop_map(|(seed, faults)| Step::Failure { seed, faults }),
        1 => Just(Step::Crash(Crash::Process)),
        1 => torn.prop_map(|(writes, bytes)| Step::Crash(Crash::Machine { writes, bytes })),
        1 => scattered
            .prop_map(|(writes, names)| Step::Crash(Crash::Scattered { writes, names })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..Default::default() })]

    /// Records, states, deletions and births again, upkeep, failures and torn ends in any order: what
    /// is found is what a model holds after some commit since the last sync.
    #[test]
    fn whatever_happens_a_model_knows_what_is_there(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut disk = Simulated::default();
        let (mut engine, mut records, _) = open(&disk).unwrap();
        // Since the last sync, the state after it included, and what was written since.
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
                    let failed = engine.write(records.commit, &batch).and_then(|()| engine.sync());
                    prop_assert!(failed.is_err());
                    disk.set_faults(Faults::default());
                    records.commit += 1;
                    engine.write(records.commit, &unsynced).and_then(|()| engine.sync()).unwrap();
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
    engine.write(1, &put(b"a", true)).and_then(|()| engine.sync()).unwrap();
    engine.write(2, &put(b"b", false)).and_then(|()| engine.sync()).unwrap();
    for key in [b"b", b"c"] {
        let mut batch = put(b"d", true);
        batch.put_state(Table::Series, key, b"state");
        let error = engine.write(3, &batch).unwrap_err();
        assert!(error.to_string().contains("is missing"), "{error}");
    }
    let mut batch = Batch::default();
    batch.put_state(Table::Series, b"a", b"other");
    engine.write(3, &batch).and_then(|()| engine.sync()).unwrap();
    let (_, records, _) = open(&disk).unwrap();
    let found: Vec<_> = records.iter().map(|record| (record.key, record.state)).collect();
    assert_eq!(found, [(&b"a"[..], Some(&b"other"[..])), (b"b", None)]);
}

/// A frame larger than what is held of it at a time.
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
    engine.write(1, &batch).and_then(|()| engine.sync()).unwrap();
    assert_eq!(open(&disk).unwrap().1, records);
}

// === format 1 ===

/// A store as version 0.1 has written it while its format was 1: a segment with a few commits.
fn of_format_1() -> (BTreeMap<String, Vec<u8>>, Records) {
    let (magic, store) = (u64::from_le_bytes(*b"TALLYLOG"), 77_u64);
    let sum = |bytes: &[u8], seed| xxh3_64_with_seed(bytes, seed).to_le_bytes();
    let words =
        |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut log = words(&[magic, store, 1, 0]);
    log.extend(sum(&log, magic));
    let mut records = Records::default();
    let mut random = Random(3);
    for commit in 1..=20 {
        let mut batch = Batch::default();
        let mut changes = Vec::new();
        for _ in 0..3 {
            let (key, value) = ([random.below(9) as u8], vec![7; random.below(30) as usize]);
            changes.push(Table::Series as u8);
            changes.extend(1_u32.to_le_bytes());
            if random.below(4) == 0 {
                changes.extend([0xff; 4]);
                changes.extend(key);
                batch.delete(Table::Series, &key);
            } else {
                changes.extend((value.len() as u32).to_le_bytes());
                changes.extend(key);
                changes.extend(&value);
                batch.put(Table::Series, &key, &value);
            }
        }
        records.apply(&batch).unwrap();
        records.commit = commit;
        let offset = log.len() as u64;
        let mut frame = words(&[changes.len() as u64, commit, 1, records.iter().count() as u64]);
        frame.extend(changes);
        frame.extend(sum(&frame, store ^ 1_u64.rotate_left(40) ^ offset));
        log.extend(frame);
    }
    let mut mark = vec![0; SLOTS[1] as usize + SLOT_BYTES];
    let last = Mark { commit: 20, segment: 1, end: log.len() as u64 };
    mark[..SLOT_BYTES].copy_from_slice(&last.bytes());
    let files = [
        (FORMAT_FILE.to_owned(), b"Tallygate store, format 1\n".to_vec()),
        (MARK_FILE.to_owned(), mark),
        (format::segment_name(1), log),
    ];
    (files.into(), records)
}

#[test]
fn a_store_of_format_1_goes_on_in_format_2() {
    let (contents, before) = of_format_1();
    assert!(before.iter().count() > 3);
    let whole = Simulated::with(&contents);
    // It is left alone until something is to be written.
    assert_eq!(open(&whole).unwrap().1, before);
    assert_eq!(whole.contents(), contents);

    let go_on = |disk: &Simulated| -> u64 {
        let Ok((mut engine, mut records, mut acknowledged)) = open(disk) else { return 0 };
        for commit in acknowledged + 1..=60 {
            let batch = changes_to(&records, &mut Random(commit));
            if engine.write(commit, &batch).and_then(|()| engine.sync()).is_err() {
                break;
            }
            records.apply(&batch).unwrap();
            acknowledged = commit;
        }
        acknowledged
    };
    let mut expected = vec![before];
    for commit in 21..=60 {
        let mut records = expected.last().unwrap().clone();
        records.apply(&changes_to(&records, &mut Random(commit))).unwrap();
        records.commit = commit;
        expected.push(records);
    }
    assert_eq!(go_on(&whole), 60);
    assert_eq!(open(&whole).unwrap().1, expected[40]);
    let after = whole.contents();
    assert_eq!(after[FORMAT_FILE], format::format_text().as_bytes());
    assert!(!after.contains_key(&format::segment_name(1)), "upkeep has removed the old segment");

    // Whenever the machine stops.
    for stop in 0..=whole.operations() {
        let disk = Simulated::with(&contents);
        disk.set_faults(Faults { stop_at: Some(stop), ..Faults::default() });
        let acknowledged = go_on(&disk).max(20);
        for crash in [
            Crash::Process,
            Crash::Machine { writes: 0, bytes: 0 },
            Crash::Machine { writes: 0, bytes: 25 },
            Crash::Machine { writes: 1, bytes: 30 },
        ] {
            let (_, records, commit) = open(&disk.after(crash)).unwrap();
            assert!(acknowledged <= commit && commit <= acknowledged + 1, "{stop} {crash:?}");
            assert_eq!(records, expected[commit as usize - 20], "{stop} {crash:?}");
        }
    }
}

/// A small store with several segments, and what it holds.
fn small() -> (BTreeMap<String, Vec<u8>>, Records) {
    let disk = Simulated::default();
    assert_eq!(run(&disk, 1..=30), 30);
    let (mut engine, records, _) = open(&disk).unwrap();
    engine.close().unwrap();
    let contents = disk.contents();
    assert!(contents.len() >= 4, "{:?}", contents.keys());
    (contents, records)
}

/// Either the store says what is wrong, or it holds what it held.
fn refused_or_intact(contents: &BTreeMap<String, Vec<u8>>, records: &Records) -> bool {
    match open(&Simulated::with(contents)) {
        Ok((_, found, _)) => {
            assert_eq!(found, *records);
            false
        }
        Err(EngineError::Damage { path, .. } | EngineError::Newer { path, .. }) => {
            assert!(path.starts_with("simulated/"));
            true
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_flipped_byte_is_found_or_does_not_matter() {
    let (contents, records) = small();
    assert!(!refused_or_intact(&contents, &records));
    for (name, content) in &contents {
        let mut refused = 0;
        for at in 0..content.len() {
            let mut damaged = contents.clone();
            damaged.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            refused += usize::from(refused_or_intact(&damaged, &records));
        }
        let expected = match name.as_str() {
            // The other slot of the mark tells as much as is needed.
            MARK_FILE => 0,
            _ => content.len(),
        };
        assert_eq!(refused, expected, "{name}");
    }
}

#[test]
fn whatever_is_missing_or_cut_off_is_missed() {
    let (contents, records) = small();
    for (name, content) in &contents {
        let mut damaged = contents.clone();
        damaged.remove(name);
        assert!(refused_or_intact(&damaged, &records), "{name} is missing");
        for end in 0..content.len() {
            let mut damaged = contents.clone();
            damaged.get_mut(name).unwrap().truncate(end);
            let refused = refused_or_intact(&damaged, &records);
            // The first slot of the mark may be the last one written.
            assert!(refused || name == MARK_FILE, "{name} is cut off at {end}");
        }
    }
}

#[test]
fn an_older_copy_of_a_file_is_noticed() {
    let disk = Simulated::default();
    run(&disk, 1..=20);
    let old = disk.contents();
    run(&disk, 21..=40);
    let (_, records, _) = open(&disk).unwrap();
    let new = disk.contents();
    for (name, content) in old.iter().filter(|(name, _)| name.as_str() != MARK_FILE) {
        let mut mixed = new.clone();
        if mixed.insert(name.clone(), content.clone()).is_some_and(|new| new != *content) {
            assert!(refused_or_intact(&mixed, &records), "{name}");
        }
    }
    let mut mixed = old;
    mixed.insert(MARK_FILE.to_owned(), new[MARK_FILE].clone());
    assert!(refused_or_intact(&mixed, &records), "all but the mark are old");
}

#[test]
fn a_newer_format_is_left_alone() {
    let (mut contents, _) = small();
    contents.insert(FORMAT_FILE.to_owned(), b"Tallygate store, format 3\n".to_vec());
    let disk = Simulated::with(&contents);
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, EngineError::Newer { found: 3, known: FORMAT, .. }), "{error}");
    assert_eq!(disk.contents(), contents, "nothing was changed");
}

#[test]
fn what_is_refused_is_not_changed() {
    let (mut damaged, _) = small();
    let first = damaged.keys().next().unwrap().clone();
    damaged.get_mut(&first).unwrap()[70] ^= 1;
    let disk = Simulated::with(&damaged);
    open(&disk).unwrap_err();
    assert_eq!(disk.contents(), damaged);
}

/// Hours of constant overwriting, without the hours.
#[test]
fn the_disk_stays_within_three_times_of_what_is_valid() {
    stays_within(Sizes { segment_bytes: [256 << 10, 32 << 20], ahead_bytes: 64 << 10 }, 0);
    stays_within(Sizes::default(), 10 << 20);
}

fn stays_within(sizes: Sizes, more: usize) {
    let disk = Simulated::default();
    let mut engine = Disk::over(Box::new(disk.clone()), sizes).unwrap();
    engine.load(&mut each(|_| Ok(()))).unwrap();
    let (keys, value, state) = (20_000u32, [7; 70], [8; 30]);
    let key = |n: u32| format!("series {n:08} with a long text of labels");
    let mut commit = 0;
    let mut live = 0;
    let mut write = |engine: &mut Disk, batch: &Batch| {
        commit += 1;
        engine.write(commit, batch).and_then(|()| engine.sync()).unwrap();
    };
    let mut batch = Batch::default();
    for n in 0..keys {
        batch.put_with_state(Table::Series, key(n).as_bytes(), &value, &state);
        live += key(n).len() + value.len() + state.len();
    }
    write(&mut engine, &batch);
    let mut most = 0;
    for round in 0..2_000u32 {
        batch.clear();
        // A tenth of them is hot, the rest is cold but for some.
        for n in 0..100 {
            let spread = if n % 10 == 0 { keys } else { keys / 10 };
            let n = (round.wrapping_mul(97) + n).wrapping_mul(2_654_435_761) % spread;
            match n % 7 {
                0 => batch.put_with_state(Table::Series, key(n).as_bytes(), &value, &state),
                _ => batch.put_state(Table::Series, key(n).as_bytes(), &state),
            }
        }
        write(&mut engine, &batch);
        most = most.max(disk.bytes());
    }
    assert!(most < (3 * live + more) as u64, "{most} bytes for {live}, {sizes:?}");
    let usage = engine.usage();
    assert!(usage.live_bytes.abs_diff(live as u64) < live as u64 / 5, "{usage:?} {live}");
    assert_eq!(engine.index.len(), keys as usize);
    drop(engine);
    let mut engine = Disk::over(Box::new(disk), sizes).unwrap();
    let mut records = 0;
    engine
        .load(&mut each(|record| {
            assert_eq!((record.value, record.state), (&value[..], Some(&state[..])));
            records += 1;
            Ok(())
        }))
        .unwrap();
    assert_eq!(records, keys);
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
    engine.write(1, batch(1)).and_then(|()| engine.sync()).unwrap();
    assert!(engine.usage().free_bytes.is_some_and(|bytes| bytes > 0));
    drop(engine);
    std::fs::remove_dir_all(&path).unwrap();
    let error = Disk::open_to_read(&path).unwrap_err();
    assert!(matches!(error, EngineError::Missing { .. }), "{error}");
}
