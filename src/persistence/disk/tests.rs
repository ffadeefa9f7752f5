//! The engine over a disk that fails, forgets and is damaged: what was acknowledged is there, or
//! its absence is told.

use std::collections::BTreeMap;

use super::simulated::{Crash, Faults, Simulated};
use super::*;
use crate::persistence::{Table, each};

/// Small enough that few commits make several segments.
const TINY: Sizes = Sizes { segment_bytes: [300, 300], ahead_bytes: 90 };

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

fn open(disk: &Simulated) -> Result<(Disk, Records, u64), EngineError> {
    open_with(disk, TINY)
}

fn open_with(disk: &Simulated, sizes: Sizes) -> Result<(Disk, Records, u64), EngineError> {
    let mut engine = Disk::over(Box::new(disk.clone()), sizes)?;
    let mut records = Records::new();
    let commit = engine.load(&mut each(|table, key, value| {
        assert_eq!(table, Table::Series);
        let twin = records.insert(key.to_vec(), value.to_vec());
        if twin.is_some() { Err("a record comes twice".into()) } else { Ok(()) }
    }))?;
    Ok((engine, records, commit))
}

/// What the commits of a history do: a few keys, often overwritten, sometimes deleted.
fn batch(commit: u64) -> Batch {
    let mut batch = Batch::default();
    let mut random = commit.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (random >> 33) % below
    };
    for _ in 0..1 + next(4) {
        let key = [next(9) as u8];
        match next(5) {
            0 => batch.delete(Table::Series, &key),
            _ => batch.put(Table::Series, &key, &vec![commit as u8; next(60) as usize]),
        }
    }
    batch
}

fn apply(records: &mut Records, batch: &Batch) {
    for change in batch.changes() {
        match change.value {
            Some(value) => _ = records.insert(change.key.to_vec(), value.to_vec()),
            None => _ = records.remove(change.key),
        }
    }
}

/// Records after each commit, from none on.
fn history(commits: u64) -> Vec<Records> {
    let mut states = vec![Records::new()];
    for commit in 1..=commits {
        let mut next = states.last().cloned().unwrap_or_default();
        apply(&mut next, &batch(commit));
        states.push(next);
    }
    states
}

/// Writes and syncs commits until the disk stops; the last one that was acknowledged.
fn run(disk: &Simulated, commits: std::ops::RangeInclusive<u64>) -> u64 {
    let mut acknowledged = commits.start() - 1;
    let Ok((mut engine, _, _)) = open(disk) else { return acknowledged };
    for commit in commits {
        if engine.write(commit, &batch(commit)).and_then(|()| engine.sync()).is_err() {
            break;
        }
        acknowledged = commit;
    }
    acknowledged
}

#[test]
fn records_come_back_through_segments_and_upkeep() {
    let disk = Simulated::default();
    let states = history(400);
    let mut removed = false;
    for start in (1..=400).step_by(50) {
        assert_eq!(run(&disk, start..=start + 49), start + 49);
        let (engine, records, commit) = open(&disk).unwrap();
        assert_eq!((commit, &records), (start + 49, &states[start as usize + 49]));
        assert_eq!(engine.index.len(), records.len());
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
    let states = history(COMMITS + 1);
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
        for crash in crashes {
            let after = disk.after(crash);
            let (mut engine, records, commit) =
                open(&after).unwrap_or_else(|e| panic!("{stop} {crash:?}: {e}"));
            assert!(acknowledged <= commit && commit <= acknowledged + 1, "{stop} {crash:?}");
            assert_eq!(records, states[commit as usize], "{stop} {crash:?}");
            torn += usize::from(commit == acknowledged);
            // And it goes on from there.
            let next = batch(COMMITS + 1);
            let mut expected = records;
            apply(&mut expected, &next);
            engine.write(commit + 1, &next).and_then(|()| engine.sync()).unwrap();
            drop(engine);
            let (_, records, _) =
                open(&after.after(Crash::Machine { writes: 0, bytes: 0 })).unwrap();
            assert_eq!(records, expected, "{stop} {crash:?}");
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
    let states = history(60);
    for fault in faults {
        for at in 1..=50 {
            let disk = Simulated::default();
            // On a full disk there would still be room where zeros have been written ahead.
            let ahead_bytes = if fault.full_at_bytes.is_some() { 0 } else { TINY.ahead_bytes };
            let (mut engine, _, _) = open_with(&disk, Sizes { ahead_bytes, ..TINY }).unwrap();
            for commit in 1..at {
                engine.write(commit, &batch(commit)).and_then(|()| engine.sync()).unwrap();
            }
            let full_at_bytes = fault.full_at_bytes.map(|_| disk.bytes() + 20);
            disk.set_faults(Faults { full_at_bytes, ..fault });
            for _ in 0..3 {
                let failed = engine.write(at, &batch(at)).and_then(|()| engine.sync());
                assert!(failed.is_err(), "{fault:?} {at}");
            }
            for crash in [Crash::Process, Crash::Machine { writes: 0, bytes: 0 }] {
                let (_, records, commit) = open(&disk.after(crash)).unwrap();
                assert!(commit == at - 1 || commit == at);
                assert_eq!(records, states[commit as usize], "{fault:?} {at} {crash:?}");
            }
            disk.set_faults(Faults::default());
            for commit in at..at + 5 {
                engine.write(commit, &batch(commit)).and_then(|()| engine.sync()).unwrap();
                // What the system has lost of the failed writes must not be needed.
                let after = disk.after(Crash::Machine { writes: 0, bytes: 0 });
                let (_, records, found) = open(&after).unwrap();
                assert_eq!((found, &records), (commit, &states[commit as usize]), "{fault:?} {at}");
            }
        }
    }
}

#[test]
fn several_writes_may_share_a_sync() {
    let states = history(100);
    let disk = Simulated::default();
    let (mut engine, _, _) = open(&disk).unwrap();
    for commit in 1..=100 {
        engine.write(commit, &batch(commit)).unwrap();
        if commit % 7 == 0 {
            engine.sync().unwrap();
        }
        let (_, records, found) = open(&disk.after(Crash::Process)).unwrap();
        assert_eq!((found, &records), (commit, &states[commit as usize]));
        let after = disk.after(Crash::Machine { writes: 0, bytes: 0 });
        let (_, records, found) = open(&after).unwrap();
        assert!(found >= commit - commit % 7);
        assert_eq!(records, states[found as usize]);
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
    contents.insert(FORMAT_FILE.to_owned(), b"Tallygate store, format 2\n".to_vec());
    let disk = Simulated::with(&contents);
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, EngineError::Newer { found: 2, known: 1, .. }), "{error}");
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
    engine.load(&mut each(|_, _, _| Ok(()))).unwrap();
    let (keys, value) = (20_000u32, [7; 100]);
    let key = |n: u32| format!("series {n:08} with a long text of labels");
    let mut commit = 0;
    let mut live = 0;
    let mut write = |engine: &mut Disk, batch: &Batch| {
        commit += 1;
        engine.write(commit, batch).and_then(|()| engine.sync()).unwrap();
    };
    let mut batch = Batch::default();
    for n in 0..keys {
        batch.put(Table::Series, key(n).as_bytes(), &value);
        live += key(n).len() + value.len();
    }
    write(&mut engine, &batch);
    let mut most = 0;
    for round in 0..2_000u32 {
        batch.clear();
        // A tenth of them is hot, the rest is cold but for some.
        for n in 0..100 {
            let spread = if n % 10 == 0 { keys } else { keys / 10 };
            let n = (round.wrapping_mul(97) + n).wrapping_mul(2_654_435_761) % spread;
            batch.put(Table::Series, key(n).as_bytes(), &value);
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
        .load(&mut each(|_, _, found| {
            assert_eq!(found, value);
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
    let mut engine = Disk::open_existing(&path).unwrap();
    engine.load(&mut each(|_, _, _| Ok(()))).unwrap();
    engine.write(1, &batch(1)).and_then(|()| engine.sync()).unwrap();
    assert!(engine.usage().free_bytes.is_some_and(|bytes| bytes > 0));
    drop(engine);
    std::fs::remove_dir_all(&path).unwrap();
    let error = Disk::open_existing(&path).unwrap_err();
    assert!(matches!(error, EngineError::Missing { .. }), "{error}");
}
